//! Releases by the controller: what a user does, and what other users feel meanwhile.
//!
//! No request may fail, from two seconds after a change of weight each version gets its share, within three points, and
//! over the whole story the simulator says the same.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidegate_sim::dice::Dice;
use tidegate_testbed::controller::{Controller, built};
use tidegate_testbed::requests::{
    Act, Case, Comparison, Ground, HEARD, Manner, Report, Simulated, Timeline, image,
};
use tidegate_testbed::{Cluster, TestResult};
use tokio::process::Command;
use tokio::time::sleep;

const ROLLOUT: (&str, &str) = ("argoproj.io/v1alpha1", "Rollout");
const REPLICA_SET: (&str, &str) = ("apps/v1", "ReplicaSet");
const POINTS: f64 = 3.0;
/// How often a story is played at most, while the machine stands still.
const PLAYS: usize = 3;

/// Plays a case. What goes wrong while the machine stands still is no measurement: then it is played again.
pub async fn play(cluster: Arc<Cluster>, case: Case) -> TestResult {
    let name = case.name();
    let simulated = Simulated::play(case)?;
    for nth in 1..=PLAYS {
        let namespace = if nth == 1 { name.clone() } else { format!("{name}-{nth}") };
        let (report, mut verdict) = once(&cluster, &namespace, case).await?;
        let comparison = Comparison::of(&simulated, &report);
        for complaint in comparison.complaints() {
            writeln!(verdict.wrong, "  {complaint}")?;
        }
        println!("{namespace}: {report}{}", verdict.wrong);
        let (total, furthest) = (report.total(), verdict.furthest);
        println!("{namespace}: {total} requests, {furthest:.1} points off a weight at most; {comparison}");
        if verdict.wrong.is_empty() {
            return Ok(());
        }
        if !report.stood_still() || nth == PLAYS {
            return Err(format!("{name}: {} requests failed\n{}", report.failed(), verdict.wrong).into());
        }
        println!("{name}: the machine stood still");
    }
    Ok(())
}

async fn once(
    cluster: &Cluster,
    namespace: &str,
    case: Case,
) -> Result<(Report, Verdict), Box<dyn std::error::Error>> {
    let ground = Ground::open(cluster, namespace, case.route, case.pods()).await?;
    ground.services(&Case::selector(), &Case::selector()).await?;
    let mut controller = Controller::start(&built()?, &ground.kubeconfig, Some(namespace))?;
    let release = Release { ground, case };
    let told = release.run(&mut controller).await;
    let (report, timeline) =
        told.map_err(|error| format!("{error}\nthe controller said last:\n{}", controller.log()))?;
    let verdict = release.judge(&report, &timeline).await?;
    release.ground.close().await?;
    Ok((report, verdict))
}

struct Release {
    ground: Ground,
    case: Case,
}

/// What became of a release.
#[derive(Default)]
struct Verdict {
    /// What was not as it should be: nothing.
    wrong: String,
    /// How many points a version's share was off its weight at most.
    furthest: f64,
}

impl Release {
    async fn run(
        &self,
        controller: &mut Controller,
    ) -> Result<(Report, Timeline), Box<dyn std::error::Error>> {
        self.ground.apply(&self.case.rollout(&self.ground.namespace, "v1")).await?;
        self.until_released("v1").await?;
        let stream = self.ground.stream().await?;
        let timeline = Timeline::follow(&self.ground, &stream);
        if self.case.manner == Manner::Killed {
            let lives = lives(controller, &self.ground.namespace);
            let done = self.act();
            tokio::pin!(lives, done);
            // Only the story ends.
            tokio::select! {
                outcome = &mut done => outcome?,
                outcome = &mut lives => outcome?,
            }
        } else {
            self.act().await?;
        }
        Ok((stream.stop().await, timeline))
    }

    async fn act(&self) -> TestResult {
        for act in self.case.acts() {
            match act {
                Act::Image(version) => {
                    self.verb(&["set", "image", "web", &format!("web={}", image(version))]).await?;
                }
                Act::Abort => self.verb(&["abort", "web"]).await?,
                Act::PromoteFull => self.verb(&["promote", "web", "--full"]).await?,
                Act::Released(version) => self.until_released(version).await?,
                Act::Weight(percent) => self.until(|rollout| weight(rollout) == Some(percent)).await?,
                Act::Alone => self.until_alone().await?,
                Act::Rest(time) => sleep(time).await,
            }
        }
        Ok(())
    }

    async fn verb(&self, arguments: &[&str]) -> TestResult {
        let mut command = Command::new(built()?);
        command.args(arguments).arg("--kubeconfig").arg(&self.ground.kubeconfig);
        let output = command.args(["-n", &self.ground.namespace]).output().await?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    }

    async fn until(&self, holds: impl Fn(&Value) -> bool) -> TestResult {
        self.ground.until(ROLLOUT, "web", holds).await
    }

    async fn until_released(&self, version: &str) -> TestResult {
        let image = image(version);
        let is_released = |rollout: &Value| {
            let text = |pointer: &str| rollout.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let generation = rollout.pointer("/metadata/generation").and_then(Value::as_i64);
            text("/spec/template/spec/containers/0/image") == image
                && text("/status/phase") == "Healthy"
                && text("/status/observedGeneration").parse().ok() == generation
                && text("/status/stableRS") == text("/status/currentPodHash")
        };
        self.until(is_released).await
    }

    async fn until_alone(&self) -> TestResult {
        let count = Some(self.ground.pods.count);
        let is_alone = |rollout: &Value| {
            rollout.pointer("/status/replicas").and_then(Value::as_i64) == count
                && rollout.pointer("/status/availableReplicas").and_then(Value::as_i64) == count
        };
        self.until(is_alone).await
    }

    async fn judge(
        &self,
        report: &Report,
        timeline: &Timeline,
    ) -> Result<Verdict, Box<dyn std::error::Error>> {
        let sets = self.ground.list(REPLICA_SET).await?;
        let image = |hash: &str| {
            let is_it = |set: &&Value| set["metadata"]["labels"]["rollouts-pod-template-hash"] == hash;
            let image = sets.iter().find(is_it).and_then(|set| {
                set.pointer("/spec/template/spec/containers/0/image")?.as_str().map(str::to_owned)
            });
            image.unwrap_or_else(|| hash.to_owned())
        };
        let mut verdict = Verdict::default();
        for ((second, cause), count) in report.failures() {
            writeln!(verdict.wrong, "  second {second}: {count} failed: {cause}")?;
        }
        let end = report.answers.last().map(|answer| answer.at).unwrap_or_default();
        for (shares, from, until) in timeline.shares(end, image) {
            let from = from + HEARD;
            if until < from + Duration::from_secs(1) {
                continue;
            }
            let off = report.off(&shares, from, until);
            verdict.furthest = verdict.furthest.max(off);
            if off > POINTS {
                writeln!(verdict.wrong, "  {off:.1} points off {shares:?} in {from:.1?}..{until:.1?}")?;
            }
        }
        Ok(verdict)
    }
}

/// Kills the controller now and then, and starts it again.
async fn lives(controller: &mut Controller, seed: &str) -> TestResult {
    let seed = seed.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut dice = Dice::new(seed, "lives");
    loop {
        sleep(Duration::from_millis(u64::try_from(dice.within((500, 6_000)))?)).await;
        controller.kill();
        sleep(Duration::from_millis(u64::try_from(dice.within((0, 1_500)))?)).await;
        controller.begin()?;
    }
}

fn weight(rollout: &Value) -> Option<i64> {
    rollout.pointer("/status/canary/weights/canary/weight").and_then(Value::as_i64)
}
