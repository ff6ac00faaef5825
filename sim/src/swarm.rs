//! The swarm: a seed draws a manifest, a person's acts and a few faults; after the faults stop the world must come to
//! rest with every invariant standing.
//!
//! A case is plain data and replays from itself, not from the order of draws: what a failure prints is the whole story.

use std::fmt;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Span;
use tidegate_controller::commands::{self, Patch};

use crate::cluster::store::Part;
use crate::dice::Dice;
use crate::invariants::{Violation, Watchdog};
use crate::world::{Action, FaultRates, Flaps, PodModel, Rest, World, WorldConfig};

/// Everything that one life of the swarm needs.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where the world's chance comes from.
    pub seed: u64,
    /// `canary`, `rolling` or `blue-green`.
    pub strategy: &'static str,
    /// The strategy as a manifest has it.
    pub manifest: Value,
    /// Wished pods.
    pub replicas: i64,
    /// What a person does, and how long after the act before.
    pub acts: Vec<(Span, Act)>,
    /// Faults per thousand calls, until a time after the first act.
    pub faults: Faults,
    /// Lag of watches, in milliseconds.
    pub lag: (i64, i64),
    /// How pods of version 2 behave.
    pub second: &'static str,
}

/// Faults per thousand calls.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "each is the fault of its name")]
pub struct Faults {
    pub conflict: u32,
    pub lost_reply: u32,
    pub crash_before: u32,
    pub crash_after: u32,
    pub refuse: u32,
}

impl Faults {
    /// The faults that may strike, or `none`.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            ("conflict", self.conflict),
            ("lost_reply", self.lost_reply),
            ("crash_before", self.crash_before),
            ("crash_after", self.crash_after),
            ("refuse", self.refuse),
        ];
        let names: Vec<_> = all.into_iter().filter(|(_, rate)| *rate > 0).map(|(name, _)| name).collect();
        if names.is_empty() { vec!["none"] } else { names }
    }
}

/// An act of a person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "each is the command of its name")]
pub enum Act {
    Image(u8),
    Promote,
    PromoteFull,
    Abort,
    Retry,
    Pause,
    Resume,
    Scale(i64),
    Restart,
    CrashController,
}

impl Act {
    /// The act without its numbers, for tables.
    pub fn verb(&self) -> &'static str {
        match self {
            Act::Image(_) => "set_image",
            Act::Promote => "promote",
            Act::PromoteFull => "promote_full",
            Act::Abort => "abort",
            Act::Retry => "retry",
            Act::Pause => "pause",
            Act::Resume => "resume",
            Act::Scale(_) => "scale",
            Act::Restart => "restart",
            Act::CrashController => "restart_controller",
        }
    }
}

/// What a life came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// Whether a second version was really rolled out.
    pub updated: bool,
    /// Questions that invariants answered.
    pub checks: u64,
    /// The chain over everything that happened.
    pub chain: u64,
}

/// Why a life failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The world did not come to rest.
    NoRest(Rest),
    /// An invariant did not hold.
    Broken(Violation),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoRest(rest) => write!(f, "no rest: {rest:?}"),
            Failure::Broken(Violation { id, at, message, .. }) => {
                write!(f, "{id} at {}: {message}", at.stamp())
            }
        }
    }
}

/// Draws a case.
pub fn draw(seed: u64) -> Case {
    let mut dice = Dice::new(seed, "case");
    let strategy =
        dice.pick(&["canary", "canary", "rolling", "blue-green", "blue-green"]).unwrap_or(&"canary");
    let manifest = match *strategy {
        "canary" => canary(&mut dice, true),
        "rolling" => canary(&mut dice, false),
        _ => blue_green(&mut dice),
    };
    let replicas = *dice.pick(&[0, 1, 1, 2, 3, 4, 5, 10, 21]).unwrap_or(&3);
    let mut acts = vec![(Span::ZERO, Act::Image(2))];
    for _ in 0..dice.between(0, 4) {
        let after = Span::millis(*dice.pick(&[0, 50, 500, 3_000, 12_000, 45_000]).unwrap_or(&500));
        let size = *dice.pick(&[0, 1, 2, 5, 12]).unwrap_or(&2);
        let version = *dice.pick(&[1, 2, 3]).unwrap_or(&3);
        let act = *dice
            .pick(&[
                Act::Image(version),
                Act::Image(version),
                Act::Promote,
                Act::PromoteFull,
                Act::Abort,
                Act::Retry,
                Act::Pause,
                Act::Resume,
                Act::Scale(size),
                Act::Restart,
                Act::CrashController,
            ])
            .unwrap_or(&Act::Promote);
        acts.push((after, act));
    }
    let mut rate = || if dice.chance(300) { 40 } else { 0 };
    let faults = Faults {
        conflict: rate(),
        lost_reply: rate(),
        crash_before: rate() / 2,
        crash_after: rate() / 2,
        refuse: rate(),
    };
    let lag = *dice.pick(&[(0, 0), (1, 20), (50, 400)]).unwrap_or(&(1, 20));
    let second = dice.pick(&["good", "good", "slow", "never", "flaps"]).unwrap_or(&"good");
    Case { seed, strategy, manifest, replicas, acts, faults, lag, second }
}

fn canary(dice: &mut Dice, with_steps: bool) -> Value {
    let surge =
        dice.pick(&[json!(0), json!(1), json!(3), json!("25%"), json!("100%")]).cloned().unwrap_or(json!(1));
    let missing = dice.pick(&[json!(1), json!(2), json!("25%"), json!("50%")]).cloned().unwrap_or(json!(1));
    let missing = if surge != json!(0) && dice.chance(400) { json!(0) } else { missing };
    let mut steps = Vec::new();
    if with_steps {
        for _ in 0..dice.between(1, 5) {
            let step = match dice.between(0, 3) {
                0 => json!({"pause": {}}),
                1 => json!({"pause": {"duration": dice.between(0, 20)}}),
                _ => json!({"setWeight": dice.pick(&[0, 1, 10, 25, 50, 99, 100]).copied().unwrap_or(10)}),
            };
            steps.push(step);
        }
    }
    json!({"canary": {"maxSurge": surge, "maxUnavailable": missing, "steps": steps}})
}

fn blue_green(dice: &mut Dice) -> Value {
    let mut manifest = json!({"activeService": "active", "previewService": "preview"});
    if dice.chance(400) {
        manifest["autoPromotionEnabled"] = json!(false);
    } else if dice.chance(400) {
        manifest["autoPromotionSeconds"] = json!(dice.between(1, 15));
    }
    if dice.chance(300) {
        manifest["previewReplicaCount"] = json!(1);
    }
    for field in ["scaleDownDelaySeconds", "abortScaleDownDelaySeconds"] {
        if dice.chance(500) {
            manifest[field] = json!(dice.pick(&[0, 1, 10]).copied().unwrap_or(1));
        }
    }
    json!({"blueGreen": manifest})
}

/// Lives a case.
pub fn live(case: &Case) -> Outcome {
    let mut life = Life::new(case);
    let mut failure = life.rest();
    let faults = case.faults;
    let until = life.world.now().plus(Span::seconds(90));
    life.world.config_mut().interventions.rates = FaultRates {
        conflict: faults.conflict,
        lost_reply: faults.lost_reply,
        crash_before: faults.crash_before,
        crash_after: faults.crash_after,
        refuse: faults.refuse,
        until,
    };
    if failure.is_none() {
        for (after, act) in &case.acts {
            let then = life.world.now().plus(*after);
            life.world.run_until(then, &mut life.watchdog);
            life.act(*act);
        }
        failure = life.rest();
    }
    // A person tidies up: what was paused by hand goes on, and no gate stays closed.
    for _ in 0..12 {
        if failure.is_some() || !life.open_gates() {
            break;
        }
        failure = life.rest();
    }
    let updated = life.world.store().of_kind(&Kind::ReplicaSet).count() > 1;
    Outcome { failure, updated, checks: life.watchdog.checks(), chain: life.world.chain() }
}

struct Life {
    world: World,
    watchdog: Watchdog,
}

const NAMESPACE: &str = "shop";

fn key() -> Key {
    Key::new(Kind::Rollout, NAMESPACE, "web")
}

impl Life {
    fn new(case: &Case) -> Life {
        let mut config = WorldConfig { seed: case.seed, watch_lag: case.lag, ..WorldConfig::default() };
        let second = match case.second {
            "slow" => PodModel { startup: (20_000, 60_000), ..PodModel::default() },
            "never" => PodModel { ready: false, ..PodModel::default() },
            "flaps" => PodModel {
                flaps: Some(Flaps { up: (3_000, 6_000), down: (1_000, 2_000), times: 3 }),
                ..PodModel::default()
            },
            _ => PodModel::default(),
        };
        config.pods.by_image.push(("web:2".to_owned(), second));
        let mut life = Life { world: World::new(config), watchdog: Watchdog::default() };
        for name in ["active", "preview"] {
            life.create(json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}));
        }
        life.create(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": NAMESPACE},
            "spec": {"replicas": case.replicas, "progressDeadlineSeconds": 60, "strategy": case.manifest,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": "web:1"}]}}}}));
        life
    }

    fn create(&mut self, value: Value) {
        if let Ok(object) = Object::from_value(value) {
            // A manifest of the swarm is always accepted; one that is not shows as a world without an update.
            let _ = self.world.user(Action::Create(object), &mut self.watchdog);
        }
    }

    fn rest(&mut self) -> Option<Failure> {
        let limit = self.world.now().plus(Span::seconds(4 * 3600));
        let rest = self.world.run_to_rest(limit, &mut self.watchdog);
        if rest != Rest::AtRest {
            return Some(Failure::NoRest(rest));
        }
        self.watchdog.at_rest(&self.world);
        self.watchdog.violation().cloned().map(Failure::Broken)
    }

    fn patch(&mut self, patches: Vec<Patch>) {
        for patch in patches {
            let (patch, part) = match patch {
                Patch::Main(patch) => (patch, Part::Main),
                Patch::Status(patch) => (patch, Part::Status),
            };
            let _ = self.world.user(Action::Merge { key: key(), patch, part }, &mut self.watchdog);
        }
    }

    fn act(&mut self, act: Act) {
        let Some(rollout) = self.world.get(&key()).cloned() else { return };
        let patches = match act {
            Act::Image(version) => match commands::set_image(&rollout, &|_| Some(format!("web:{version}"))) {
                Ok(patch) => vec![patch],
                Err(_) => Vec::new(),
            },
            Act::Promote => commands::promote(&rollout),
            Act::PromoteFull => commands::promote_full(&rollout),
            Act::Abort => commands::abort(),
            Act::Retry => commands::retry(),
            Act::Pause => commands::pause(),
            Act::Resume => commands::resume(),
            Act::Scale(n) => vec![Patch::Main(json!({"spec": {"replicas": n}}))],
            Act::Restart => commands::restart(self.world.now().stamp()),
            Act::CrashController => {
                self.world.crash(&mut self.watchdog);
                self.world.restart_later(Span::seconds(1));
                Vec::new()
            }
        };
        self.patch(patches);
    }

    /// Resumes what is paused. Says whether anything was.
    fn open_gates(&mut self) -> bool {
        let Some(rollout) = self.world.get(&key()).cloned() else { return false };
        let Some(body) = rollout.rollout() else { return false };
        let paused = body.spec.spec().paused || !body.status.pause_conditions().is_empty();
        if paused {
            self.patch(commands::promote(&rollout));
        }
        paused
    }
}
