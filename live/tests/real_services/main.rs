//! Providers against the services they are for, started here on loopback with data put into them.
//!
//! The programs are Debian's, unpacked without installing them. What cannot be had is reported as ignored, and why; with
//! `TIDEGATE_REQUIRE_SERVICES=1` that is a failure.

mod debian;
mod graphite;
mod prometheus;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use tidegate_api::analysis::Metric;
use tidegate_api::object::{Key, Kind, Strings};
use tidegate_api::time::Time;
use tidegate_controller::analysis::condition::judge;
use tidegate_controller::analysis::secrets::Masks;
use tidegate_controller::providers::{Ask, Next, SoFar, Surroundings, Told, begin, resume};
use tidegate_live::clock::WallClock;
use tidegate_live::outside::addresses::Allowed;
use tidegate_live::outside::{Carrier, Settings};

/// How often a service that starts is asked whether it is there: for at most half a minute.
const KNOCKS: u32 = 300;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial("prometheus", prometheus::Programs::get, |programs| {
            on_one_thread(prometheus::story(&programs))
        }),
        trial("graphite", graphite::Programs::get, |programs| on_one_thread(graphite::story(&programs))),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A story with programs, or that they cannot be had.
fn trial<P: Send + 'static>(
    name: &'static str,
    programs: impl Fn() -> Result<P, String>,
    story: impl FnOnce(P) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    match programs() {
        Ok(programs) => Trial::test(name, move || story(programs)),
        Err(why) if is_required() => Trial::test(name, move || Err(Failed::from(why))),
        Err(why) => {
            println!("SKIPPED {name}: {why}");
            Trial::test(name, || Ok(())).with_ignored_flag(true)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests are configured by their caller")]
fn is_required() -> bool {
    std::env::var_os("TIDEGATE_REQUIRE_SERVICES").is_some_and(|value| value != "0" && !value.is_empty())
}

fn on_one_thread(story: impl Future<Output = Result<(), String>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::from(error.to_string()))?;
    tokio::task::LocalSet::new().block_on(&runtime, story).map_err(Failed::from)
}

/// What carries questions to loopback, and the clock.
fn carrier() -> Result<(Carrier, WallClock), String> {
    let clock = WallClock::start();
    let settings = Settings { allowed: Allowed::parse("127.0.0.1")?, ..Settings::default() };
    Ok((Carrier::new(settings, clock), clock))
}

/// Asks until a service that starts answers as expected.
async fn until_there(carrier: &Carrier, provider: &Value, expected: &str, now: Time) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..KNOCKS {
        last = measure(carrier, provider.clone(), "true", now).await;
        if last.starts_with(expected) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("the service does not start: {last}"))
}

/// Measures each of these, and holds the outcome to how it must begin.
async fn check(carrier: &Carrier, now: Time, cases: Vec<(Value, &str, &str)>) -> Result<(), String> {
    for (provider, condition, expected) in cases {
        let measured = measure(carrier, provider.clone(), condition, now).await;
        if !measured.starts_with(expected) {
            return Err(format!("{provider} | {condition}: {measured}, not {expected}"));
        }
    }
    Ok(())
}

/// One measurement: phase and value, or `Error: TEXT`.
async fn measure(carrier: &Carrier, provider: Value, success: &str, now: Time) -> String {
    let metric = Metric {
        name: "m".into(),
        success_condition: success.into(),
        provider: Arc::new(provider),
        ..Metric::default()
    };
    let run = Key::new(Kind::AnalysisRun, "shop", "run");
    let (secrets, surroundings, masks) = (BTreeMap::new(), Surroundings::default(), Masks::default());
    let ask = Ask {
        run: &run,
        began: None,
        metric: &metric,
        now,
        secrets: &secrets,
        surroundings: &surroundings,
        masks: &masks,
    };
    let metadata = Strings::default();
    let mut next = begin(&ask);
    for step in 0.. {
        let Ok(Next::Call(question)) = &next else { break };
        let reply = carrier.carry((**question).clone()).await;
        next = resume(&ask, SoFar { step, metadata: &metadata }, Told::Reply(&reply));
    }
    match next {
        Ok(Next::Measured(reading)) => match judge(&metric, &reading.result, now) {
            Ok(outcome) => format!("{} {}", outcome.phase(), reading.printed),
            Err(why) => format!("Error: {why}"),
        },
        Ok(other) => format!("{other:?}"),
        Err(why) => format!("Error: {why}"),
    }
}

/// A service that runs as long as this lives.
struct Running {
    child: Child,
    address: String,
    data: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

impl Running {
    /// Starts a program that serves this address, with its data in a folder that goes with it.
    fn start(command: &mut Command, address: &str, data: &Path) -> Result<Running, String> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Running { child, address: format!("http://{address}"), data: data.to_owned() })
    }
}

/// An address on loopback that nobody serves.
fn free_address() -> Result<String, String> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    free.map(|address| address.to_string()).map_err(|error| error.to_string())
}

/// An empty folder below this one, for this process.
fn fresh(folder: &Path) -> Result<PathBuf, String> {
    let data = folder.join(format!("data-{}", std::process::id()));
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data).map_err(|error| error.to_string())?;
    Ok(data)
}
