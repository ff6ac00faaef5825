//! The simulated API server and the real one, asked the same list; see `tidegate_testbed::conformance`.
//!
//! `CONFORMANCE_ACCEPT=1` records the real server's replies instead of comparing them.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Map, Value};
use tidegate_sim::cluster::api::Server;
use tidegate_testbed::conformance::case::Case;
use tidegate_testbed::conformance::real::Real;
use tidegate_testbed::conformance::{AREAS, Asked, accept, cases, expected, play};
use tidegate_testbed::kubectl::kubectl;
use tidegate_testbed::programs::Programs;
use tidegate_testbed::{ControlPlane, Settings, client};
use tokio::runtime::Runtime;

/// All that is asked of whom.
struct Question {
    area: &'static str,
    number: usize,
    case: Case,
    expected: Option<Value>,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = Arguments::from_args();
    let accepting = accepting();
    let mut questions = Vec::new();
    for area in AREAS {
        let recorded = if accepting { Map::new() } else { expected(area)? };
        for (at, case) in cases(area)?.cases.into_iter().enumerate() {
            let expected = recorded.get(&case.about).cloned();
            questions.push(Arc::new(Question { area, number: at + 1, case, expected }));
        }
    }
    if arguments.list {
        let names = questions.iter().flat_map(|question| [question.name("simulated"), question.name("real")]);
        return Ok(libtest_mimic::run(&arguments, names.map(|name| Trial::test(name, || Ok(()))).collect())
            .exit_code());
    }
    let plane = begin()?;
    if accepting {
        let plane = plane.ok_or("replies are recorded from a real server, and there is none")?;
        record(&questions, plane.kubeconfig())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut trials = Vec::new();
    for question in &questions {
        let mine = question.clone();
        trials.push(Trial::test(question.name("simulated"), move || mine.check(&mut Server::default())));
    }
    for question in &questions {
        let (mine, name) = (question.clone(), question.name("real"));
        trials.push(match &plane {
            Some(plane) => {
                let kubeconfig = plane.kubeconfig().to_owned();
                Trial::test(name, move || mine.check(&mut real(&kubeconfig)?))
            }
            None => Trial::test(name, || Ok(())).with_ignored_flag(true),
        });
    }
    // Most of the time of a case on the real server is waiting.
    arguments.test_threads = arguments.test_threads.or(Some(8));
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

impl Question {
    fn name(&self, world: &str) -> String {
        format!("{world}::{}::{}", self.area, self.case.about.replace(' ', "_"))
    }

    fn namespace(&self) -> String {
        format!("conformance-{}-{}", self.area.replace('_', "-"), self.number)
    }

    fn check(&self, world: &mut dyn Asked) -> Result<(), Failed> {
        let found = play(&self.case, &self.namespace(), world)?;
        let Some(expected) = &self.expected else { return Err("no reply was recorded for this case".into()) };
        match differences(expected, &found, String::new()) {
            all if all.is_empty() => Ok(()),
            all => Err(all.join("\n").into()),
        }
    }
}

/// Where two documents differ, one line a place.
fn differences(expected: &Value, found: &Value, at: String) -> Vec<String> {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort();
            names.dedup();
            let below = |name: &String| differences(&expected[name], &found[name], format!("{at}.{name}"));
            names.into_iter().flat_map(below).collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.flat_map(|(place, (a, b))| differences(a, b, format!("{at}[{place}]"))).collect()
        }
        _ if expected == found => Vec::new(),
        _ => vec![format!("{at}:\n  expected {expected}\n  found    {found}")],
    }
}

/// A control plane with nobody in it who writes, but for the garbage collector.
fn begin() -> Result<Option<ControlPlane>, Box<dyn std::error::Error>> {
    let settings = Settings::from_environment();
    if settings.kubeconfig.is_some() {
        println!("SKIPPED the real server: a borrowed one has controllers that would answer too");
        return Ok(None);
    }
    let programs = match Programs::get(&settings)? {
        Ok(programs) => programs,
        Err(missing) if settings.required => return Err(missing.into()),
        Err(missing) => {
            println!("SKIPPED the real server: {missing}");
            return Ok(None);
        }
    };
    let start = ControlPlane::start_with(&programs, &["garbage-collector-controller"]);
    let plane = runtime()?.block_on(start)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    kubectl(plane.kubeconfig(), &["apply", "--server-side", "-f", &folder.display().to_string()], "")?;
    kubectl(
        plane.kubeconfig(),
        &["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"],
        "",
    )?;
    Ok(Some(plane))
}

fn real(kubeconfig: &Path) -> Result<Real, String> {
    let runtime = runtime().map_err(|error| error.to_string())?;
    let client = runtime.block_on(client(kubeconfig)).map_err(|error| error.to_string())?;
    Ok(Real { runtime, client })
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn record(questions: &[Arc<Question>], kubeconfig: &Path) -> Result<(), String> {
    let next = AtomicUsize::new(0);
    let mut told: Vec<(usize, Result<Value, String>)> = std::thread::scope(|scope| {
        let work = || {
            let mut told = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(question) = questions.get(at) else { return told };
                let outcome = real(kubeconfig)
                    .and_then(|mut real| play(&question.case, &question.namespace(), &mut real));
                told.push((at, outcome));
            }
        };
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("recording does not panic")).collect()
    });
    told.sort_by_key(|(at, _)| *at);
    for area in AREAS {
        let mut replies = Map::new();
        for (at, outcome) in told.iter().filter(|(at, _)| questions[*at].area == area) {
            let about = &questions[*at].case.about;
            match outcome {
                Ok(found) => drop(replies.insert(about.clone(), found.clone())),
                Err(why) => eprintln!("{area}: {about}: {why}"),
            }
        }
        println!("{area}: {} cases", replies.len());
        accept(area, &replies)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a test program is configured by its caller")]
fn accepting() -> bool {
    std::env::var_os("CONFORMANCE_ACCEPT").is_some_and(|value| value != "0")
}
