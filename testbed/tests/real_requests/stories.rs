//! Releases by the controller: what a user does, and what other users feel meanwhile.
//!
//! No request may fail, and from two seconds after a change of weight each version gets its share, within three points.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_sim::dice::Dice;
use tidegate_testbed::controller::{Controller, built};
use tidegate_testbed::requests::{Ground, Pods, Report, Route, Timeline};
use tidegate_testbed::{Cluster, TestResult};
use tokio::process::Command;
use tokio::time::sleep;

const ROLLOUT: (&str, &str) = ("argoproj.io/v1alpha1", "Rollout");
const REPLICA_SET: (&str, &str) = ("apps/v1", "ReplicaSet");
const COUNT: i64 = 5;
/// A change of weight may take so long until it is felt.
const HEARD: Duration = Duration::from_secs(2);
const POINTS: f64 = 3.0;
/// How often a story is played at most, while the machine stands still.
const PLAYS: usize = 3;

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Story {
    /// One new version.
    Release,
    /// Another after it.
    TwoInARow,
    /// A third version while the second has half of all requests.
    ThirdMidway,
    /// The first again while the second has half of all requests.
    BackMidway,
    /// The second is aborted at 80 %.
    Abort,
    /// The second is promoted past all steps at 20 %.
    PromoteFull,
}

/// How it is different from a plain release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// It is not.
    Plain,
    /// The stable side shrinks as the canary grows.
    Dynamic,
    /// What is superseded goes after a second.
    Hasty,
    /// The controller is killed at random moments.
    Killed,
    /// Pods need one second to start, or twenty.
    Uneven,
    /// Both.
    UnevenDynamic,
}

/// Every story, and whether it is played each time.
pub fn all() -> Vec<(Story, Manner, Route, bool)> {
    let stories = [
        Story::Release,
        Story::TwoInARow,
        Story::ThirdMidway,
        Story::BackMidway,
        Story::Abort,
        Story::PromoteFull,
    ];
    let manners = [
        Manner::Plain,
        Manner::Dynamic,
        Manner::Hasty,
        Manner::Killed,
        Manner::Uneven,
        Manner::UnevenDynamic,
    ];
    let each_time = [
        (Story::Release, Manner::Plain, Route::TraefikService),
        (Story::ThirdMidway, Manner::Dynamic, Route::HttpRoute),
        (Story::BackMidway, Manner::Killed, Route::HttpRoute),
        (Story::Abort, Manner::Hasty, Route::TraefikService),
    ];
    let mut all = Vec::new();
    for route in [Route::TraefikService, Route::HttpRoute] {
        for manner in manners {
            all.extend(
                stories.map(|story| (story, manner, route, each_time.contains(&(story, manner, route)))),
            );
        }
    }
    all
}

/// Its name: also that of its namespace.
pub fn name(story: Story, manner: Manner, route: Route) -> String {
    let word = |debug: String| {
        let mut word = String::new();
        for letter in debug.chars() {
            if letter.is_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.extend(letter.to_lowercase());
        }
        word
    };
    format!("{}-{}-{}", word(format!("{story:?}")), word(format!("{manner:?}")), route.word())
}

/// Plays a story. What goes wrong while the machine stands still is no measurement: then it is played again.
pub async fn play(cluster: Arc<Cluster>, story: Story, manner: Manner, route: Route) -> TestResult {
    let name = name(story, manner, route);
    for nth in 1..=PLAYS {
        let namespace = if nth == 1 { name.clone() } else { format!("{name}-{nth}") };
        let (report, verdict) = once(&cluster, &namespace, story, manner, route).await?;
        println!("{namespace}: {report}{verdict}");
        if verdict.is_empty() {
            return Ok(());
        }
        if !report.stood_still() || nth == PLAYS {
            return Err(format!("{name}: {} requests failed\n{verdict}", report.failed()).into());
        }
        println!("{name}: the machine stood still");
    }
    Ok(())
}

async fn once(
    cluster: &Cluster,
    namespace: &str,
    story: Story,
    manner: Manner,
    route: Route,
) -> Result<(Report, String), Box<dyn std::error::Error>> {
    let startup = match manner {
        Manner::Uneven | Manner::UnevenDynamic => (1_000, 20_000),
        _ => (2_000, 2_000),
    };
    let ground = Ground::open(cluster, namespace, route, Pods { count: COUNT, startup, pre_stop: 3 }).await?;
    let services = json!({"app": "web"});
    ground.services(&services, &services).await?;
    let mut controller = Controller::start(&built()?, &ground.kubeconfig, Some(namespace))?;
    let release = Release { ground, manner };
    let told = release.run(story, &mut controller).await;
    let (report, timeline) =
        told.map_err(|error| format!("{error}\nthe controller said last:\n{}", controller.log()))?;
    let verdict = release.judge(&report, &timeline).await?;
    release.ground.close().await?;
    Ok((report, verdict))
}

struct Release {
    ground: Ground,
    manner: Manner,
}

impl Release {
    async fn run(
        &self,
        story: Story,
        controller: &mut Controller,
    ) -> Result<(Report, Timeline), Box<dyn std::error::Error>> {
        self.ground.apply(&self.rollout("v1")).await?;
        self.until_released("v1").await?;
        let stream = self.ground.stream().await?;
        let timeline = Timeline::follow(&self.ground, &stream);
        sleep(HEARD).await;
        match self.manner {
            Manner::Killed => {
                let lives = lives(controller, &self.ground.namespace);
                let done = self.act(story);
                tokio::pin!(lives, done);
                // Only the story ends.
                tokio::select! {
                    outcome = &mut done => outcome?,
                    outcome = &mut lives => outcome?,
                }
            }
            _ => self.act(story).await?,
        }
        sleep(2 * HEARD).await;
        Ok((stream.stop().await, timeline))
    }

    async fn act(&self, story: Story) -> TestResult {
        match story {
            Story::Release => self.release("v2").await?,
            Story::TwoInARow => {
                self.release("v2").await?;
                self.release("v3").await?;
            }
            Story::ThirdMidway => {
                self.midway("v2", 50).await?;
                self.release("v3").await?;
            }
            Story::BackMidway => {
                self.midway("v2", 50).await?;
                self.release("v1").await?;
            }
            Story::Abort => {
                self.midway("v2", 80).await?;
                self.verb(&["abort", "web"]).await?;
                self.ground.until(ROLLOUT, "web", |rollout| weight(rollout) == Some(0)).await?;
            }
            Story::PromoteFull => {
                self.midway("v2", 20).await?;
                self.verb(&["promote", "web", "--full"]).await?;
                self.until_released("v2").await?;
            }
        }
        // Until what is superseded has gone, for this is when users would notice.
        self.until_alone().await
    }

    async fn release(&self, version: &str) -> TestResult {
        self.set_image(version).await?;
        self.until_released(version).await
    }

    /// A new version, until it has had its weight for a while.
    async fn midway(&self, version: &str, percent: i64) -> TestResult {
        self.set_image(version).await?;
        self.ground.until(ROLLOUT, "web", |rollout| weight(rollout) == Some(percent)).await?;
        sleep(HEARD + Duration::from_secs(1)).await;
        Ok(())
    }

    async fn set_image(&self, version: &str) -> TestResult {
        self.verb(&["set", "image", "web", &format!("web={}", image(version))]).await
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
        self.ground.until(ROLLOUT, "web", is_released).await
    }

    async fn until_alone(&self) -> TestResult {
        let is_alone = |rollout: &Value| {
            rollout.pointer("/status/replicas").and_then(Value::as_i64) == Some(COUNT)
                && rollout.pointer("/status/availableReplicas").and_then(Value::as_i64) == Some(COUNT)
        };
        self.ground.until(ROLLOUT, "web", is_alone).await
    }

    /// What was not as it should be: nothing.
    async fn judge(
        &self,
        report: &Report,
        timeline: &Timeline,
    ) -> Result<String, Box<dyn std::error::Error>> {
        let sets = self.ground.list(REPLICA_SET).await?;
        let image = |hash: &str| {
            let is_it = |set: &&Value| set["metadata"]["labels"]["rollouts-pod-template-hash"] == hash;
            let image = sets.iter().find(is_it).and_then(|set| {
                set.pointer("/spec/template/spec/containers/0/image")?.as_str().map(str::to_owned)
            });
            image.unwrap_or_else(|| hash.to_owned())
        };
        let mut verdict = String::new();
        for ((second, cause), count) in report.failures() {
            verdict += &format!("  second {second}: {count} failed: {cause}\n");
        }
        let end = report.answers.last().map(|answer| answer.at).unwrap_or_default();
        for (shares, from, until) in timeline.shares(end, image) {
            let from = from + HEARD;
            if until < from + Duration::from_secs(1) {
                continue;
            }
            let off = report.off(&shares, from, until);
            if off > POINTS {
                verdict += &format!("  {off:.1} points off {shares:?} in {from:.1?}..{until:.1?}\n");
            }
        }
        Ok(verdict)
    }

    fn rollout(&self, version: &str) -> Value {
        let labels = json!({"app": "web"});
        let step = |weight: i64| [json!({"setWeight": weight}), json!({"pause": {"duration": "4s"}})];
        let steps = [20, 50, 80].map(step).concat();
        let mut canary = json!({
            "stableService": "web-stable", "canaryService": "web-canary",
            "trafficRouting": self.ground.route.traffic_routing(),
            "steps": steps,
        });
        match self.manner {
            Manner::Dynamic | Manner::UnevenDynamic => canary["dynamicStableScale"] = true.into(),
            Manner::Hasty => {
                canary["scaleDownDelaySeconds"] = 1.into();
                canary["abortScaleDownDelaySeconds"] = 1.into();
            }
            // Half a minute otherwise, in which nothing happens.
            Manner::Plain | Manner::Killed | Manner::Uneven => {
                canary["scaleDownDelaySeconds"] = 6.into();
                canary["abortScaleDownDelaySeconds"] = 6.into();
            }
        }
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": self.ground.namespace},
            "spec": {"replicas": COUNT, "selector": {"matchLabels": labels},
                "template": self.ground.template(&image(version), &labels), "strategy": {"canary": canary}}})
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

fn image(version: &str) -> String {
    format!("shop/web:{version}")
}

fn weight(rollout: &Value) -> Option<i64> {
    rollout.pointer("/status/canary/weights/canary/weight").and_then(Value::as_i64)
}
