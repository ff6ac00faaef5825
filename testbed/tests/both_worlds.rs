//! Simulator = live: what a scenario shows on a real server is something that it shows in the simulator, and with the
//! controller killed on the way it ends as it does there.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use futures::StreamExt;
use tidegate_sim::dice::Dice;
use tidegate_sim::reference::Difference;
use tidegate_testbed::controller::program;
use tidegate_testbed::scenarios::{Case, Fit, LONGEST, Server, Shown, find};
use tidegate_testbed::stage::install;
use tidegate_testbed::{Cluster, Suite, TestResult, run_tests};

/// They wait most of the time.
const AT_A_TIME: usize = 12;
/// A real machine may stand still at the wrong moment: what differs is played once more, with less beside it.
const PLAYS: usize = 2;

fn main() -> ExitCode {
    let suite = Suite::default()
        .test("scenarios_show_on_a_real_server_what_they_show_in_the_simulator", equal)
        .test("a_killed_controller_comes_to_the_same_end", killed);
    run_tests(suite)
}

async fn equal(cluster: Arc<Cluster>) -> TestResult {
    let suite = Both::read("story")?;
    println!("{}", suite.summary());
    install(&cluster).await?;
    suite.play(&cluster, |_, _| None, |case, shown| case.differences(&shown.tracks)).await
}

async fn killed(cluster: Arc<Cluster>) -> TestResult {
    let suite = Both::read("crash")?;
    install(&cluster).await?;
    // The first writes come with the first version; most stories go on until some forty.
    let crash_at = |case: &Case, nth: usize| {
        let seed = u64::try_from(nth).unwrap_or(0);
        let seed = case.name.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        u64::try_from(Dice::new(seed, "crash").within((3, 40))).ok()
    };
    suite.play(&cluster, crash_at, |case, shown| case.differences_at_the_end(&shown.tracks)).await
}

/// The scenarios of the repository.
struct Both {
    cases: Vec<Case>,
    sim_only: BTreeMap<String, Vec<String>>,
}

impl Both {
    fn read(suffix: &str) -> Result<Both, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let mut both = Both { cases: Vec::new(), sim_only: BTreeMap::new() };
        for (name, file) in find(&root)? {
            match Case::read(&name, &file, suffix)? {
                Fit::Both(case) => both.cases.push(*case),
                Fit::SimOnly(why) => both.sim_only.entry(why).or_default().push(name),
            }
        }
        Ok(both)
    }

    fn summary(&self) -> String {
        let only: usize = self.sim_only.values().map(Vec::len).sum();
        let mut text = format!(
            "{} scenarios in both worlds (each within {} s), {only} in the simulator only:",
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
                let server = Server { cluster, program: &program, nth, crash_at: crash_at(case, nth) };
                async move { (*case, case.play(server).await) }
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
