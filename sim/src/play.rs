//! Playing a script in an invented cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::sabotage::Sabotage;

use crate::cluster::actors::hpa::Load;
use crate::invariants::{Violation, Watchdog};
use crate::metrics::MetricsModel;
use crate::reference::{Place, Record};
use crate::scenario::{Condition, Entry, Moment, Script, Simple, Since, Verb, verbs};
use crate::trace::{Detection, Detections, Line, Trace, clock, render};
use crate::traffic::Meter;
use crate::world::{Action, Happened, Interventions, Observer, Rest, World, WorldConfig};

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
    /// How many times an invariant was asked.
    pub checks: u64,
    /// The first violation of each invariant.
    pub violations: Vec<Violation>,
    /// What did not come as it should: refused objects, moments that never came, what `then` says, invariants.
    pub failures: Vec<Failure>,
    begin: Time,
    record: Record,
    meter: Meter,
    detections: Vec<Detection>,
}

/// Something that did not come as it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The line of the scenario that asks for it; 0 when none does.
    pub line: usize,
    /// What came instead.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

impl Outcome {
    /// The trace as text.
    pub fn trace(&self) -> String {
        render(&self.lines)
    }

    /// The sequence of distinct values that each independent thing took, from the first object on: the tracks that
    /// recordings of the incumbent hold.
    pub fn milestones(&self) -> BTreeMap<String, Vec<Value>> {
        self.milestones_at(&Place::default())
    }

    /// The same, with lasting names for the words of a place.
    pub fn milestones_at(&self, place: &Place) -> BTreeMap<String, Vec<Value>> {
        self.record.tracks(place)
    }

    /// What the users of each Rollout felt; nothing where nobody counted them.
    pub fn users(&self) -> Value {
        let felt = self.meter.felt().map(|(name, felt)| (name.to_string(), felt.to_value()));
        match self.meter.is_on() {
            true => felt.collect::<Map<_, _>>().into(),
            false => Value::Null,
        }
    }

    /// What users felt.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The versions that evidence found out.
    pub fn detections(&self) -> &[Detection] {
        &self.detections
    }

    /// The run as data; `docs/output.md` tells the shape.
    pub fn to_value(&self) -> Value {
        let violation = |violation: &Violation| {
            let objects: Vec<String> = violation.objects.iter().map(named).collect();
            json!({"at_ms": violation.at.since(self.begin).0, "id": violation.id, "objects": objects,
                "message": violation.message})
        };
        json!({
            "scenario": self.scenario, "seed": self.seed, "ends": self.ends, "at_rest": self.at_rest,
            "simulated_seconds": self.simulated.0 / 1000,
            "events": self.lines.iter().map(Line::to_value).collect::<Vec<_>>(),
            "milestones": self.milestones(),
            "users": self.users(),
            "detections": self.detections.iter().map(Detection::to_value).collect::<Vec<_>>(),
            "invariants": {"checks": self.checks,
                "violations": self.violations.iter().map(violation).collect::<Vec<_>>()},
            "writes": self.writes, "hash": format!("{:016x}", self.hash),
        })
    }
}

/// `invariant S13 broken at 00:00:05 by Rollout web: a paused Rollout moves to another step`.
fn broken(violation: &Violation, begin: Time) -> String {
    let at = match violation.at.since(begin) {
        before if before.0 < 0 => "before the beginning".to_owned(),
        at => format!("at {}", clock(at)),
    };
    let objects: Vec<String> = violation.objects.iter().map(named).collect();
    let by = if objects.is_empty() { String::new() } else { format!(" by {}", objects.join(", ")) };
    format!("invariant {} broken {at}{by}: {}", violation.id, violation.message)
}

fn named(key: &Key) -> String {
    format!("{} {}", key.kind.name(), key.name)
}

/// What a scenario does not say, and is for tests only.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Setup {
    /// What goes wrong between the controller and the API server.
    pub interventions: Interventions,
    /// A guard of the controller that is taken away.
    pub sabotage: Option<Sabotage>,
    /// Leaves trace and milestones out. `never` is not judged then: it is held to the trace.
    pub silent: bool,
    /// No invariant watches: for plays whose milestones alone are wanted, of stories that are judged elsewhere.
    pub unjudged: bool,
}

/// A script that was lived through, with the world at its end.
pub struct Life {
    /// What came of it.
    pub outcome: Outcome,
    /// The world at the end.
    pub world: World,
    /// Whether a version was really rolled out, or an update that was found under way went on.
    pub updated: bool,
    /// Endless pauses that were promoted, because the script says so: as entries that do the same.
    pub promoted: Vec<Entry>,
}

/// Plays a script to its end, with every invariant watching.
pub fn play(script: &Script) -> Outcome {
    play_with(script, Setup::default())
}

/// Plays a script under unusual conditions.
pub fn play_with(script: &Script, setup: Setup) -> Outcome {
    live(script, setup).outcome
}

/// Plays a script and keeps the world.
pub fn live(script: &Script, setup: Setup) -> Life {
    Stage::new(script, setup, None).play()
}

/// Plays a script before somebody who watches too.
pub fn live_before(script: &Script, setup: Setup, spectator: &mut dyn Observer) -> Life {
    Stage::new(script, setup, Some(spectator)).play()
}

fn versions(world: &World) -> BTreeMap<Key, (i64, Text)> {
    let version = |object: &Object| {
        let stable = object.rollout().map_or("", |body| body.status.stable_hash());
        (verbs::revision(object), Text::from(stable))
    };
    world.store().of_kind(&Kind::Rollout).map(|object| (object.key(), version(object))).collect()
}

/// Everybody who watches a play.
struct Watch<'a> {
    spectator: Option<&'a mut dyn Observer>,
    trace: Trace,
    /// What may never hold, and where its events and times are counted from.
    never: Vec<Condition>,
    since: Since,
    /// What held all the same, and when first.
    broken: Vec<(Condition, Span)>,
    /// Whether the trace is told already; the first deployment of a settled scenario is not.
    telling: bool,
    silent: bool,
    watchdog: Watchdog,
    record: Record,
    /// Counts what users feel, from the beginning of the story.
    meter: Option<Meter>,
    /// What evidence found out meanwhile; nobody looks where no evidence is asked for.
    detections: Option<Detections>,
}

impl Observer for Watch<'_> {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        self.watchdog.saw(world, what);
        if let Some(spectator) = &mut self.spectator {
            spectator.saw(world, what);
        }
        if let Some(meter) = &mut self.meter {
            let before = meter.counted_until();
            meter.saw(world, what);
            if let Some(detections) = &mut self.detections {
                if meter.counted_until() != before {
                    detections.note(meter);
                }
                detections.saw(world, what);
            }
        }
        if !self.silent {
            self.record.saw(world, what);
        }
        if self.telling && !self.silent {
            self.trace.saw(world, what);
            self.look_for_what_may_never_be(world, what);
        }
    }
}

impl Watch<'_> {
    fn look_for_what_may_never_be(&mut self, world: &World, what: &Happened<'_>) {
        if self.never.is_empty() || !matches!(what, Happened::Stored { .. } | Happened::Recorded(_)) {
            return;
        }
        let since = self.since;
        let broken = self.never.extract_if(.., |condition| condition.is_so(world, since));
        self.broken.extend(broken.map(|condition| (condition, world.now().since(since.at))));
    }
}

struct Stage<'a> {
    script: &'a Script,
    world: World,
    watch: Watch<'a>,
    begin: Time,
    /// How many Kubernetes events had been recorded at the beginning.
    recorded: usize,
    /// When the last entry was.
    last: Since,
    limit: Time,
    /// The revision and the stable version of each Rollout at the beginning.
    first: BTreeMap<Key, (i64, Text)>,
    promoted: Vec<Entry>,
    failures: Vec<Failure>,
}

impl<'a> Stage<'a> {
    fn new(script: &'a Script, setup: Setup, spectator: Option<&'a mut dyn Observer>) -> Stage<'a> {
        let mut config = WorldConfig {
            seed: script.seed,
            pods: script.pods.clone(),
            watch_lag: script.watch_lag,
            routers: script.routers.clone(),
            traffic: script.traffic.clone(),
            quality: script.quality.clone(),
            metrics: MetricsModel {
                series: script.metrics.clone(),
                scrape: script.scrape,
                ..MetricsModel::default()
            },
            interventions: setup.interventions,
            ..WorldConfig::default()
        };
        if config.routers.elb {
            Arc::make_mut(&mut config.settings.routers).verify_target_groups = true;
        }
        config.settings.sabotage = setup.sabotage;
        let mut world = World::without_controller(config);
        // Objects with an identity were there before the controller, and are taken over as they stand. Else the
        // controller has looked around before the first object comes.
        let is_inherited = |object: &Object| !object.meta.uid.is_empty();
        let inherits = script.given.iter().any(is_inherited);
        if !inherits {
            world.restart(&mut ());
            let limit = world.now().plus(SETTLING);
            world.run_to_rest(limit, &mut ());
        }
        let (begin, limit) = (world.now(), world.now().plus(SETTLING));
        let mut watch = Watch {
            spectator,
            trace: Trace::new(&world),
            never: script.then.never.clone(),
            since: Since { at: begin, recorded: 0 },
            broken: Vec::new(),
            telling: !script.settled && !inherits,
            silent: setup.silent,
            watchdog: if setup.unjudged { Watchdog::blind() } else { Watchdog::default() },
            record: Record::new(begin),
            meter: None,
            detections: None,
        };
        let mut failures = Vec::new();
        for object in &script.given {
            let made = match is_inherited(object) {
                true => world.place(object.clone(), &mut watch),
                false => world.user(Action::Create(object.clone()), &mut watch),
            };
            if let Err(why) = made {
                watch.record.note(format!("create {} refused {why}", object.kind.name()));
                failures.push(failure(format!("given: {} was refused: {why}", named(&object.key()))));
            }
        }
        if inherits {
            if !script.given.iter().any(|object| object.kind == Kind::Pod) {
                // The pods of what was running are there too.
                world.run_to_rest(limit, &mut watch);
            }
            (watch.trace, watch.telling) = (Trace::new(&world), !script.settled);
            world.restart(&mut watch);
        }
        if script.settled {
            let rest = world.run_to_rest(limit, &mut watch);
            match rest {
                Rest::AtRest => watch.watchdog.at_rest(&world),
                Rest::TimedOut | Rest::Livelock => failures
                    .push(failure(format!("the first deployment did not come to rest within 1h ({rest:?})"))),
            }
            (watch.trace, watch.telling) = (Trace::new(&world), true);
        }
        let begin = world.now();
        let limit = begin.plus(script.then.within.unwrap_or(LONGEST));
        let last = Since { at: begin, recorded: world.recorded().len() };
        watch.since = last;
        if let Some(traffic) = &mut world.config_mut().traffic {
            traffic.since = begin;
        }
        watch.meter = (!setup.silent || script.then.users_saw.is_some()).then(|| Meter::begin(&world));
        let is_template = |object: &Object| object.analysis_template().is_some();
        watch.detections = (!setup.silent && script.given.iter().any(is_template)).then(Detections::default);
        if let (Some(detections), Some(meter)) = (&mut watch.detections, &watch.meter) {
            detections.note(meter);
        }
        let (recorded, first, promoted) = (last.recorded, versions(&world), Vec::new());
        Stage { script, world, watch, begin, recorded, last, limit, first, promoted, failures }
    }

    fn play(mut self) -> Life {
        for entry in &self.script.when {
            if !self.wait_for(entry) {
                break;
            }
            self.act(&entry.verb);
            self.last = Since { at: self.world.now(), recorded: self.world.recorded().len() };
        }
        let rest = self.come_to_rest();
        let meter = self.users();
        self.watch.trace.finish(&self.world);
        if meter.is_on() {
            for (name, felt) in meter.felt() {
                let what = format!("{name} {} requests", felt.requests());
                self.watch.trace.tell(&self.world, "users", what, felt.said());
            }
        }
        let mut detections = self.watch.detections.take().unwrap_or_default();
        detections.note(&meter);
        let detections = detections.all();
        for found in &detections {
            let what = format!("{} {} taken back", found.rollout, found.image);
            self.watch.trace.tell(&self.world, "users", what, found.said());
        }
        let ends = self.ends();
        self.judge(rest, &ends);
        let saw = self.script.then.users_saw.iter().flat_map(|saw| saw.complaints(&meter));
        self.failures.extend(saw.map(|message| Failure { line: self.script.then.line, message }));
        let violations = self.watch.watchdog.violations().to_vec();
        self.failures.extend(violations.iter().map(|violation| failure(broken(violation, self.begin))));
        let outcome = Outcome {
            scenario: self.script.name.clone(),
            seed: self.script.seed,
            lines: self.watch.trace.lines().to_vec(),
            ends,
            at_rest: rest == Rest::AtRest,
            simulated: self.world.now().since(self.begin),
            writes: self.world.call_counts().writes,
            hash: self.world.chain(),
            checks: self.watch.watchdog.checks(),
            violations,
            failures: self.failures,
            begin: self.begin,
            record: self.watch.record,
            meter,
            detections,
        };
        let now = versions(&self.world);
        let updated = now.iter().any(|(key, version)| self.first.get(key) != Some(version));
        Life { outcome, world: self.world, updated, promoted: self.promoted }
    }

    /// What users felt until now.
    fn users(&mut self) -> Meter {
        let mut meter = self.watch.meter.take().unwrap_or_default();
        meter.finish(&self.world);
        meter
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
                // The clock alone is no event: it is moved to the time that must have passed at least.
                let since = self.last;
                let least = since.at.plus(condition.time_since.unwrap_or(Span::ZERO));
                let in_time = least <= limit && self.go_to(least);
                let waits = |world: &World| in_time && !condition.holds(world, since);
                let ended = self.world.run_while(limit, &mut self.watch, waits);
                if ended == Some(Rest::AtRest) {
                    self.watch.watchdog.at_rest(&self.world);
                }
                let came = condition.holds(&self.world, since);
                self.watch.record.note(if came { "wait ok" } else { "wait timed out" });
                came
            }
        };
        if !came {
            let what = match &entry.moment {
                Moment::Once(condition) => format!("what is waited for never came: {condition}"),
                Moment::At(_) | Moment::Next => "its time lies after the end".to_owned(),
            };
            self.failures.push(Failure { line: entry.line, message: what });
            return false;
        }
        let then = self.world.now().plus(entry.after);
        entry.after == Span::ZERO || self.go_to(then)
    }

    fn go_to(&mut self, then: Time) -> bool {
        if then <= self.world.now() {
            return true;
        }
        let rest = self.world.run_until(then, &mut self.watch);
        if rest == Rest::AtRest {
            self.watch.watchdog.at_rest(&self.world);
        }
        rest != Rest::Livelock
    }

    /// To the end; for plain manifests endless pauses are promoted on the way.
    fn come_to_rest(&mut self) -> Rest {
        loop {
            let rest = self.world.run_to_rest(self.limit, &mut self.watch);
            if rest == Rest::AtRest {
                self.watch.watchdog.at_rest(&self.world);
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
        let then = &self.script.then;
        let wrong = |message: String| Failure { line: then.line, message };
        match rest {
            Rest::AtRest => {}
            Rest::TimedOut => self
                .failures
                .push(wrong(format!("not at rest after {} seconds", self.limit.since(self.begin).0 / 1000))),
            Rest::Livelock => {
                self.failures.push(wrong("so many events in one second that they never end".to_owned()));
            }
        }
        for (rollout, wanted) in &then.ends {
            let concerned = ends.iter().filter(|(name, _)| rollout.is_empty() || *name == rollout);
            let mut found = 0;
            for (name, phase) in concerned {
                found += 1;
                if phase != wanted {
                    self.failures.push(wrong(format!("{name} ends {phase}, not {wanted}")));
                }
            }
            if found == 0 {
                self.failures
                    .push(wrong(format!("there is no Rollout {rollout} at the end that could be {wanted}")));
            }
        }
        let beginning = Since { at: self.begin, recorded: self.recorded };
        for condition in then.holds.iter().filter(|condition| !condition.is_so(&self.world, beginning)) {
            self.failures.push(wrong(format!("at the end it does not hold: {condition}")));
        }
        for (condition, at) in &self.watch.broken {
            self.failures.push(wrong(format!("{}: it may never be that {condition}", clock(*at))));
        }
    }

    fn act(&mut self, verb: &Verb) {
        let (said, actions) = (verb.said(), verb.writes(&self.world));
        let word = said.split([' ', ':']).next().unwrap_or("").to_owned();
        let actions = match actions {
            Ok(actions) => actions,
            Err(why) => {
                self.watch.record.note(format!("{word} refused: {why}"));
                return self.watch.trace.tell(&self.world, "user", said, format!("refused: {why}"));
            }
        };
        let who = if matches!(verb, Verb::Fault(_)) { "fault" } else { "user" };
        self.watch.trace.tell(&self.world, who, said, "");
        let mut went = "ok".to_owned();
        for action in actions {
            if let Err(why) = self.world.user(action, &mut self.watch) {
                self.watch.trace.tell(&self.world, "user", "refused", why.to_string());
                went = format!("refused {why}");
            }
        }
        match verb {
            Verb::Ready { ready, .. } => {
                for pod in verb.pods(&self.world) {
                    if let Err(why) = self.world.set_ready(&pod, *ready, &mut self.watch) {
                        self.watch.trace.tell(&self.world, "user", "refused", why.to_string());
                    }
                }
            }
            Verb::RestartController => {
                self.world.crash(&mut self.watch);
                self.world.restart(&mut self.watch);
            }
            Verb::UpgradeController(down) => {
                self.world.crash(&mut self.watch);
                self.world.restart_later(*down);
            }
            Verb::Load { autoscaler, total, per_pod } => {
                let found = verbs::named(&self.world, &Kind::HorizontalPodAutoscaler, autoscaler);
                if let Some(key) = found.map(|object| object.key()) {
                    self.world.set_load(&key, Load { total: *total, per_pod: *per_pod });
                }
            }
            Verb::Fault(fault) => fault.begin(&mut self.world),
            Verb::Traffic(rps) => {
                self.world.turn(&mut self.watch, |config| {
                    config.traffic.get_or_insert_default().rps = vec![(Span::ZERO, *rps)];
                });
            }
            Verb::Metric(series) => self.world.script(series.clone()),
            Verb::Quality(qualities) => self.world.turn(&mut self.watch, |config| {
                for (image, quality) in qualities {
                    config.quality.retain(|(known, _)| known != image);
                    config.quality.push((image.clone(), *quality));
                }
                config.quality.sort_by(|(a, _), (b, _)| (b.len(), a).cmp(&(a.len(), b)));
            }),
            Verb::Serve(kind, is_served) => self.world.serve(kind, *is_served, &mut self.watch),
            _ => {}
        }
        if !matches!(verb, Verb::Note(_)) {
            self.watch.record.note(format!("{word} {went}"));
        }
    }
}

fn failure(message: String) -> Failure {
    Failure { line: 0, message }
}
