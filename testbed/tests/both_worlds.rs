//! Simulator = live: what a scenario shows on a real server is something that it shows in the simulator, and with the
//! controller killed on the way it ends as it does there.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use futures::StreamExt;
use tidegate_sim::dice::Dice;
use tidegate_sim::reference::Difference;
use tidegate_testbed::controller::program;
use tidegate_testbed::scenarios::{Case, Fit, LONGEST, Server, Shown, find};
use tidegate_testbed::stage::install;
use tidegate_testbed::{Cluster, Suite, TestResult, run_tests};

/// They wait most of the time.
const AT_A_TIME: usize = 12;
/// A real machine may stand still at the wrong moment: what differs is played again, with less beside it.
const PLAYS: usize = 3;

/// Of a router's scenarios these are played each time, for each router; the others by command. All other scenarios are
/// played each time, where they need no haste.
const OF_EACH_ROUTER: [&str; 3] =
    ["release_moves_the_weight_step_by_step", "abort_takes_the_traffic_back", "third_version_midway"];

fn main() -> ExitCode {
    let suite = Suite::default()
        .test("scenarios_show_on_a_real_server_what_they_show_in_the_simulator", |cluster| {
            equal(cluster, Which::EachTime)
        })
        .test("a_killed_controller_comes_to_the_same_end", |cluster| killed(cluster, Which::EachTime))
        .rare("all_other_scenarios_show_what_they_show_in_the_simulator", |cluster| {
            equal(cluster, Which::ByCommand)
        })
        .rare("a_controller_killed_in_all_other_scenarios_comes_to_the_same_end", |cluster| {
            killed(cluster, Which::ByCommand)
        });
    run_tests(suite)
}

async fn equal(cluster: Arc<Cluster>, which: Which) -> TestResult {
    let suite = Both::of(which)?;
    println!("{}", suite.summary());
    install(&cluster).await?;
    suite.play(&cluster, "story", |_, _| None, |case, shown| case.differences(&shown.tracks)).await
}

async fn killed(cluster: Arc<Cluster>, which: Which) -> TestResult {
    let suite = Both::of(which)?;
    install(&cluster).await?;
    // The first writes come with the first version; most stories go on until some forty.
    let crash_at = |case: &Case, nth: usize| {
        let seed = u64::try_from(nth).unwrap_or(0);
        let seed = case.name.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        u64::try_from(Dice::new(seed, "crash").within((3, 40))).ok()
    };
    suite.play(&cluster, "crash", crash_at, |case, shown| case.differences_at_the_end(&shown.tracks)).await
}

/// Which scenarios a test plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    EachTime,
    ByCommand,
}

impl Which {
    /// Whether a scenario of this name may be among them.
    fn is(self, name: &str) -> bool {
        if let Some(part) = wanted() {
            return name.contains(&part) && self == Which::EachTime;
        }
        match (self, of_routers(name)) {
            (Which::EachTime, Some(each_time)) => each_time,
            (Which::ByCommand, Some(each_time)) => !each_time,
            (_, None) => true,
        }
    }

    /// Whether one of this name may be played in haste.
    fn may_hasten(self, name: &str) -> bool {
        self == Which::ByCommand || wanted().is_some() || of_routers(name).is_some()
    }

    /// Whether one that a real server can show is played.
    fn plays(self, case: &Case) -> bool {
        self == Which::EachTime || case.is_hasty() || of_routers(&case.name).is_some()
    }
}

/// Of a scenario of routers, whether it is one of those for each time.
fn of_routers(name: &str) -> Option<bool> {
    let story = name.rsplit('/').next().unwrap_or("");
    name.starts_with("routers/").then(|| OF_EACH_ROUTER.contains(&story))
}

/// While one works on something: only scenarios whose path contains this.
#[expect(clippy::disallowed_methods, reason = "the testbed is a tool; its callers configure it")]
fn wanted() -> Option<String> {
    std::env::var("TIDEGATE_SCENARIOS").ok().filter(|part| !part.is_empty())
}

/// The scenarios of the repository.
struct Both {
    which: Which,
    cases: Vec<Case>,
    sim_only: BTreeMap<String, Vec<String>>,
}

impl Both {
    /// What the simulator shows is worked out once for all tests.
    fn of(which: Which) -> Result<&'static Both, String> {
        static EACH_TIME: OnceLock<Result<Both, String>> = OnceLock::new();
        static BY_COMMAND: OnceLock<Result<Both, String>> = OnceLock::new();
        let both = match which {
            Which::EachTime => &EACH_TIME,
            Which::ByCommand => &BY_COMMAND,
        };
        both.get_or_init(|| Both::read(which)).as_ref().map_err(String::clone)
    }

    fn read(which: Which) -> Result<Both, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let found: Vec<_> = find(&root)?.into_iter().filter(|(name, _)| which.is(name)).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let read: Vec<(&String, Result<Fit, String>)> = std::thread::scope(|scope| {
            let parts: Vec<_> = (0..threads)
                .map(|part| {
                    let found = found.iter().skip(part).step_by(threads);
                    let read = || {
                        found
                            .map(|(name, file)| (name, Case::read(name, file, which.may_hasten(name))))
                            .collect::<Vec<_>>()
                    };
                    scope.spawn(read)
                })
                .collect();
            parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
        });
        let mut both = Both { which, cases: Vec::new(), sim_only: BTreeMap::new() };
        for (name, fit) in read {
            match fit? {
                Fit::Both(case) if which.plays(&case) => both.cases.push(*case),
                Fit::Both(_) => {}
                Fit::SimOnly(why) => both.sim_only.entry(why).or_default().push(name.clone()),
            }
        }
        Ok(both)
    }

    fn summary(&self) -> String {
        let only: usize = self.sim_only.values().map(Vec::len).sum();
        let hasty = self.cases.iter().filter(|case| case.is_hasty()).count();
        let whose = match self.which {
            Which::EachTime => "scenarios, of each router's the three that are played each time,",
            Which::ByCommand => "further scenarios",
        };
        let mut text = format!(
            "{} {whose} in both worlds (each within {} s; {hasty} of them in haste), {only} in the simulator only:",
            self.cases.len(),
            LONGEST.0 / 1000
        );
        for (why, names) in &self.sim_only {
            text += &format!("\n  {} {why}: {}", names.len(), names.join(", "));
        }
        text
    }

    async fn play(
        &self,
        cluster: &Cluster,
        suffix: &str,
        crash_at: impl Fn(&Case, usize) -> Option<u64>,
        judge: impl Fn(&Case, &Shown) -> Vec<Difference>,
    ) -> TestResult {
        let program = program()?;
        let mut open: Vec<&Case> = self.cases.iter().collect();
        // The longest first, so that none is waited for alone.
        open.sort_by_key(|case| std::cmp::Reverse(case.simulated()));
        let count = open.len();
        let mut told = String::new();
        for nth in 1..=PLAYS {
            let plays = open.iter().map(|case| {
                let crash_at = crash_at(case, nth);
                let program = &program;
                async move {
                    let play = format!("{suffix}-{nth}");
                    (*case, case.play(Server { cluster, program, play: &play, crash_at }).await)
                }
            });
            let at_a_time = if nth == 1 { AT_A_TIME } else { AT_A_TIME / 3 };
            let played: Vec<_> = futures::stream::iter(plays).buffer_unordered(at_a_time).collect().await;
            open = Vec::new();
            told = String::new();
            for (case, shown) in played {
                let shown = shown?;
                let found = judge(case, &shown);
                if found.is_empty() {
                    continue;
                }
                told += &tell(case, &shown, &found);
                open.push(case);
            }
            println!("play {nth}: {} of {count} scenarios equal", count - open.len());
            open.iter().for_each(|case| println!("  differs: {}", case.name));
            if open.is_empty() {
                return Ok(());
            }
        }
        println!("{told}");
        Err(format!("{} of {count} scenarios differ", open.len()).into())
    }
}

fn tell(case: &Case, shown: &Shown, found: &[Difference]) -> String {
    let mut text = format!("{}\n", case.name);
    for difference in found {
        text += &format!("  {}\n", difference.track);
        for expected in &difference.expected {
            text += &format!("    simulator {}\n", serde_json::to_string(expected).unwrap_or_default());
        }
        text += &format!("    live      {}\n", serde_json::to_string(&difference.got).unwrap_or_default());
    }
    text + &format!("  the controller said last:\n{}\n", shown.log)
}
