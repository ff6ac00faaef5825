//! Playing a script in an invented cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::sabotage::Sabotage;
use tidegate_controller::seams::ApiError;

use crate::cluster::store::Part;
use crate::invariants::{Violation, Watchdog};
use crate::scenario::{Entry, Moment, Patch, Script, Side, Simple, Verb, verbs};
use crate::trace::{Line, Trace, render};
use crate::world::{Action, Happened, Leak, Observer, Rest, World, WorldConfig};

/// The first deployment must come to rest within this time.
const SETTLING: Span = Span::seconds(3600);
/// More endless pauses than that are never promoted.
const MOST_PROMOTED: usize = 100;
/// A story ends at the latest after this time, if it does not say so itself.
const LONGEST: Span = Span::seconds(24 * 3600);

/// What came of a script.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The seed it was played with.
    pub seed: u64,
    /// The trace.
    pub lines: Vec<Line>,
    /// The phase of each Rollout at the end.
    pub ends: BTreeMap<String, String>,
    /// Whether nothing was under way at the end.
    pub at_rest: bool,
    /// How long it went on.
    pub simulated: Span,
    /// Writes of the controller.
    pub writes: u64,
    /// One number that stands for everything that happened.
    pub hash: u64,
    /// What did not come as `then` says, and the invariant that did not hold.
    pub failures: Vec<String>,
    /// The invariant that did not hold, if there is one.
    pub violation: Option<Violation>,
    /// Whether a version was really rolled out, or an update that was found under way went on.
    pub updated: bool,
    /// Endless pauses that were promoted, because the script says so: as entries that do the same.
    pub promoted: Vec<Entry>,
    /// What it took.
    pub effort: Effort,
}

/// What it took to play a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effort {
    /// Events of the world.
    pub events: u64,
    /// Passes of the last controller.
    pub passes: u64,
    /// Questions that invariants answered.
    pub checks: u64,
}

/// What is not said in a scenario, and is for tests only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setup {
    /// A guard of the controller that is taken away.
    pub sabotage: Option<Sabotage>,
    /// A source of chance that no seed governs.
    pub leak: Option<Leak>,
    /// Leaves the trace out, which costs more than everything else.
    pub silent: bool,
}

impl Outcome {
    /// The trace as text.
    pub fn trace(&self) -> String {
        render(&self.lines)
    }

    /// The run as data.
    pub fn to_value(&self) -> Value {
        json!({
            "scenario": self.scenario, "seed": self.seed, "ends": self.ends, "at_rest": self.at_rest,
            "simulated_seconds": self.simulated.0 / 1000,
            "events": self.lines.iter().map(Line::to_value).collect::<Vec<_>>(),
            "writes": self.writes, "hash": format!("{:016x}", self.hash), "failures": self.failures,
        })
    }
}

/// Plays a script to its end.
pub fn play(script: &Script) -> Outcome {
    play_with(script, Setup::default())
}

/// Plays a script to its end in a world that is set up for a test.
pub fn play_with(script: &Script, setup: Setup) -> Outcome {
    play_before(script, setup, ())
}

/// The same before somebody who watches.
pub fn play_before(script: &Script, setup: Setup, spectator: impl Observer) -> Outcome {
    Stage::new(script, setup, spectator).play()
}

struct Stage<'a, S> {
    script: &'a Script,
    world: World,
    eyes: Eyes<S>,
    begin: Time,
    limit: Time,
    /// The revision and the stable version of each Rollout at the beginning.
    first: BTreeMap<Key, (i64, Text)>,
    promoted: Vec<Entry>,
    failures: Vec<String>,
}

/// Everybody who watches.
struct Eyes<S> {
    trace: Option<Trace>,
    watchdog: Watchdog,
    spectator: S,
}

impl<S: Observer> Observer for Eyes<S> {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        if let Some(trace) = &mut self.trace {
            trace.saw(world, what);
        }
        self.watchdog.saw(world, what);
        self.spectator.saw(world, what);
    }
}

impl<'a, S: Observer> Stage<'a, S> {
    fn new(script: &'a Script, setup: Setup, spectator: S) -> Stage<'a, S> {
        let mut config = WorldConfig {
            seed: script.seed,
            pods: script.pods.clone(),
            watch_lag: script.watch_lag,
            ..WorldConfig::default()
        };
        config.settings.sabotage = setup.sabotage;
        config.interventions.leak = setup.leak;
        let world = World::without_controller(config);
        let begin = world.now();
        let eyes = Eyes { trace: None, watchdog: Watchdog::default(), spectator };
        let (first, promoted, failures) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut stage = Stage { script, world, eyes, begin, limit: begin, first, promoted, failures };
        stage.set_up(setup.silent);
        stage
    }

    /// From an empty cluster to the beginning of the story.
    fn set_up(&mut self, silent: bool) {
        let told = |world: &World| (!silent).then(|| Trace::new(world));
        // Objects with an identity were there before the controller: they are taken over as they stand.
        let found = self.script.given.iter().any(|object| !object.meta.uid.is_empty());
        if found {
            self.give(|world, object, eyes| world.place(object, eyes).map(drop));
        }
        self.world.restart(&mut self.eyes);
        let limit = self.world.now().plus(SETTLING);
        if !found {
            // A controller that has looked around before the first object comes.
            self.world.run_to_rest(limit, &mut self.eyes);
        }
        self.eyes.trace = if self.script.settled { None } else { told(&self.world) };
        let limit = self.world.now().plus(SETTLING);
        if !found {
            self.give(|world, object, eyes| world.user(Action::Create(object), eyes).map(drop));
        }
        if self.script.settled {
            let rest = self.world.run_to_rest(limit, &mut self.eyes);
            if rest == Rest::AtRest {
                self.eyes.watchdog.at_rest(&self.world);
            } else {
                self.failures.push(format!("the first deployment did not come to rest within 1h ({rest:?})"));
            }
            self.eyes.trace = told(&self.world);
        }
        self.begin = self.world.now();
        self.limit = self.begin.plus(self.script.then.within.unwrap_or(LONGEST));
        self.first = self.versions();
    }

    fn give(&mut self, make: impl Fn(&mut World, Object, &mut Eyes<S>) -> Result<(), ApiError>) {
        for object in &self.script.given {
            let name = format!("{} {}", object.kind.name(), object.meta.name);
            if let Err(why) = make(&mut self.world, object.clone(), &mut self.eyes) {
                self.failures.push(format!("given: {name} was refused: {why}"));
            }
        }
    }

    fn versions(&self) -> BTreeMap<Key, (i64, Text)> {
        let rollouts = self.world.store().of_kind(&Kind::Rollout);
        let version = |object: &Object| {
            let stable = object.rollout().map_or("", |body| body.status.stable_hash());
            (verbs::revision(object), Text::from(stable))
        };
        rollouts.map(|object| (object.key(), version(object))).collect()
    }

    fn play(mut self) -> Outcome {
        for entry in &self.script.when {
            if !self.wait_for(entry) {
                break;
            }
            self.act(&entry.verb);
        }
        let rest = self.come_to_rest();
        if let Some(trace) = &mut self.eyes.trace {
            trace.finish(&self.world);
        }
        let ends = self.ends();
        self.judge(rest, &ends);
        let passes = self.world.controller().map_or(0, |controller| controller.manager.stats().passes);
        let now = self.versions();
        Outcome {
            scenario: self.script.name.clone(),
            seed: self.script.seed,
            violation: self.eyes.watchdog.violation().cloned(),
            updated: now.iter().any(|(key, version)| self.first.get(key) != Some(version)),
            promoted: self.promoted,
            effort: Effort { events: self.world.events(), passes, checks: self.eyes.watchdog.checks() },
            lines: self.eyes.trace.map_or(Vec::new(), |trace| trace.lines().to_vec()),
            ends,
            at_rest: rest == Rest::AtRest,
            simulated: self.world.now().since(self.begin),
            writes: self.world.call_counts().writes,
            hash: self.world.chain(),
            failures: self.failures,
        }
    }

    /// Lets the world go on until the moment of an entry; says whether it came.
    fn wait_for(&mut self, entry: &Entry) -> bool {
        let limit = self.limit;
        let came = match &entry.moment {
            Moment::Next => true,
            Moment::At(at) => {
                let at = self.begin.plus(*at);
                at <= limit && self.go_to(at)
            }
            Moment::Once(condition) => {
                let ended = self.world.run_while(limit, &mut self.eyes, |world| !condition.holds(world));
                ended.is_none() || condition.holds(&self.world)
            }
        };
        if !came {
            let what = match &entry.moment {
                Moment::Once(condition) => format!("what is waited for never came: {condition}"),
                Moment::At(_) | Moment::Next => "its time lies after the end".to_owned(),
            };
            self.failures.push(format!("line {}: {what}", entry.line));
            return false;
        }
        let then = self.world.now().plus(entry.after);
        entry.after == Span::ZERO || self.go_to(then)
    }

    fn go_to(&mut self, then: Time) -> bool {
        if then <= self.world.now() {
            return true;
        }
        let rest = self.world.run_until(then, &mut self.eyes);
        if rest == Rest::AtRest {
            self.eyes.watchdog.at_rest(&self.world);
        }
        rest != Rest::Livelock
    }

    fn tell(&mut self, who: &str, what: impl Into<String>, detail: impl Into<String>) {
        if let Some(trace) = &mut self.eyes.trace {
            trace.tell(&self.world, who, what, detail);
        }
    }

    /// To the end; for plain manifests endless pauses are promoted on the way.
    fn come_to_rest(&mut self) -> Rest {
        loop {
            let rest = self.world.run_to_rest(self.limit, &mut self.eyes);
            if rest == Rest::AtRest {
                self.eyes.watchdog.at_rest(&self.world);
            }
            let (Rest::AtRest, Some(after)) = (rest, self.script.promote_after) else { return rest };
            let is_held = |object: &&Arc<Object>| {
                object
                    .rollout()
                    .is_some_and(|body| body.spec.spec().paused || !body.status.pause_conditions().is_empty())
            };
            let held = self.world.store().of_kind(&Kind::Rollout).filter(is_held);
            let held: Vec<String> = held.map(|object| object.meta.name.to_string()).collect();
            let then = self.world.now().plus(after);
            if held.is_empty() || then > self.limit || self.promoted.len() >= MOST_PROMOTED {
                return rest;
            }
            self.go_to(then);
            for name in held {
                let verb = Verb::Simple(Simple::Promote, name);
                self.act(&verb);
                let moment = Moment::At(then.since(self.begin));
                self.promoted.push(Entry { moment, after: Span::ZERO, verb, line: 0 });
            }
        }
    }

    fn ends(&self) -> BTreeMap<String, String> {
        let rollouts = self.world.store().of_kind(&Kind::Rollout);
        let phase = |object: &Object| object.rollout()?.status.phase.as_deref().map(str::to_owned);
        rollouts.map(|o| (o.meta.name.to_string(), phase(o).unwrap_or_default())).collect()
    }

    fn judge(&mut self, rest: Rest, ends: &BTreeMap<String, String>) {
        if let Some(violation) = self.eyes.watchdog.violation() {
            let seconds = violation.at.since(self.begin).0 / 1000;
            self.failures.push(format!("{} after {seconds} seconds: {}", violation.id, violation.message));
        }
        match rest {
            Rest::AtRest => {}
            Rest::TimedOut => self
                .failures
                .push(format!("not at rest after {} seconds", self.limit.since(self.begin).0 / 1000)),
            Rest::Livelock => {
                self.failures.push("so many events in one second that they never end".to_owned())
            }
        }
        for (rollout, wanted) in &self.script.then.ends {
            let concerned = ends.iter().filter(|(name, _)| rollout.is_empty() || *name == rollout);
            let mut found = 0;
            for (name, phase) in concerned {
                found += 1;
                if phase != wanted {
                    self.failures.push(format!("{name} ends {phase}, not {wanted}"));
                }
            }
            if found == 0 {
                self.failures
                    .push(format!("there is no Rollout {rollout} at the end that could be {wanted}"));
            }
        }
        for never in &self.script.then.never {
            let trace = self.eyes.trace.as_ref();
            let mut weights = trace.into_iter().flat_map(|trace| trace.weights(&never.rollout));
            let broken = weights.find(|(weight, _)| never.weight.holds(*weight));
            if let Some((weight, at)) = broken {
                self.failures.push(format!(
                    "{}: weight was {weight} after {} seconds, which may never be {}",
                    never.rollout,
                    at.0 / 1000,
                    never.weight
                ));
            }
        }
    }

    fn act(&mut self, verb: &Verb) {
        let (said, actions) = match self.writes(verb) {
            (said, Ok(actions)) => (said, actions),
            (said, Err(why)) => return self.tell("user", said, format!("refused: {why}")),
        };
        let who = if matches!(verb, Verb::Fault(_)) { "fault" } else { "user" };
        self.tell(who, said, "");
        for action in actions {
            if let Err(why) = self.world.user(action, &mut self.eyes) {
                self.tell("user", "refused", why.to_string());
            }
        }
        match verb {
            Verb::Ready { rollout, side, count, ready } => self.set_ready(rollout, *side, *count, *ready),
            Verb::RestartController => {
                self.world.crash(&mut self.eyes);
                self.world.restart(&mut self.eyes);
            }
            Verb::Fault(fault) => fault.befall(&mut self.world),
            _ => {}
        }
    }

    /// What a verb says in the trace, and what it writes.
    fn writes(&self, verb: &Verb) -> (String, Result<Vec<Action>, String>) {
        let world = &self.world;
        let rollout =
            |name: &str| verbs::rollout(world, name).ok_or_else(|| format!("there is no Rollout {name}"));
        let key = |kind: &Kind, name: &str| {
            let found = verbs::named(world, kind, name).map(|object| object.key());
            found.ok_or_else(|| format!("there is no {} {name}", kind.name()))
        };
        match verb {
            Verb::SetImage { rollout: name, container, image } => {
                let action =
                    rollout(name).and_then(|o| verbs::set_image(world, o, container.as_deref(), image));
                (format!("set_image {name} {image}"), action.map(|action| vec![action]))
            }
            Verb::Simple(simple, name) => {
                let actions = rollout(name).map(|object| verbs::simple(*simple, object, world.now()));
                (format!("{} {name}", simple.name()), actions)
            }
            Verb::Undo { rollout: name, to_revision } => {
                let said = match to_revision {
                    0 => format!("undo {name}"),
                    revision => format!("undo {name} to {revision}"),
                };
                (
                    said,
                    rollout(name)
                        .and_then(|o| verbs::undo(world, o, *to_revision))
                        .map(|action| vec![action]),
                )
            }
            Verb::Scale { rollout: name, replicas } => {
                let action = rollout(name).map(|o| vec![Action::Scale { key: o.key(), replicas: *replicas }]);
                (format!("scale {name} {replicas}"), action)
            }
            Verb::Create(objects) => {
                let actions = objects.iter().map(|object| Action::Create(object.clone())).collect();
                (format!("create {}", names(objects)), Ok(actions))
            }
            Verb::Apply(objects) => {
                (format!("apply {}", names(objects)), Ok(objects.iter().map(|o| self.applied(o)).collect()))
            }
            Verb::Delete { kind, name } => (
                format!("delete {} {name}", kind.name()),
                key(kind, name).map(|key| vec![Action::Delete(key)]),
            ),
            Verb::Patch { kind, name, patch, status } => {
                let part = if *status { Part::Status } else { Part::Main };
                let action = key(kind, name).map(|key| match patch {
                    Patch::Merge(patch) => Action::Merge { key, patch: patch.clone(), part },
                    Patch::Operations(patch) => Action::Operations { key, patch: patch.clone(), part },
                });
                (format!("patch {} {name}", kind.name()), action.map(|action| vec![action]))
            }
            Verb::Ready { rollout: name, ready, .. } => {
                let said = if *ready { "ready" } else { "unready" };
                (format!("{said} {name}"), rollout(name).map(|_| Vec::new()))
            }
            Verb::RestartController => ("restart_controller".to_owned(), Ok(Vec::new())),
            Verb::Fault(fault) => (fault.said(), Ok(Vec::new())),
            Verb::Note(text) => (format!("note: {text}"), Ok(Vec::new())),
        }
    }

    /// Makes the object, or gives the one that is there the new specification and metadata.
    fn applied(&self, object: &Object) -> Action {
        match verbs::named(&self.world, &object.kind, &object.meta.name) {
            None => Action::Create(object.clone()),
            Some(held) => {
                let mut object = object.clone();
                object.meta.namespace.clone_from(&held.meta.namespace);
                for (key, value) in held.meta.annotations.iter() {
                    if object.meta.annotations.get(key).is_none() {
                        object.meta.annotations.set(key, value.clone());
                    }
                }
                Action::Replace(object)
            }
        }
    }

    fn set_ready(&mut self, rollout: &str, side: Side, count: Option<i64>, ready: bool) {
        let Some(object) = verbs::rollout(&self.world, rollout) else { return };
        let view = crate::trace::view::View::of(&self.world, object);
        let is_meant = |set: &Object| {
            let hash = set.meta.labels.get("rollouts-pod-template-hash").map_or("", |hash| &**hash);
            match side {
                Side::Stable => hash == view.stable,
                Side::New => hash == view.new,
                Side::Revision(revision) => verbs::revision(set) == revision,
            }
        };
        let store = self.world.store();
        let sets = store.owned_by(&object.meta.uid, &Kind::ReplicaSet).filter(|set| is_meant(set));
        let mut pods: Vec<_> = sets
            .flat_map(|set| store.owned_by(&set.meta.uid, &Kind::Pod))
            .filter(|pod| pod.pod().is_some_and(|body| body.ready != ready))
            .map(|pod| pod.key())
            .collect();
        pods.sort();
        pods.truncate(count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX));
        for pod in pods {
            if let Err(why) = self.world.set_ready(&pod, ready, &mut self.eyes) {
                self.tell("user", "refused", why.to_string());
            }
        }
    }
}

fn names(objects: &[Object]) -> String {
    let names: Vec<String> = objects.iter().map(|o| format!("{} {}", o.kind.name(), o.meta.name)).collect();
    names.join(", ")
}
