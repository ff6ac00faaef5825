//! The state machine around the brain: keys, queue, back-off, the pass under way and its next write.
//!
//! One pass at a time per key: gather what is known, ask what must be asked, decide, then carry the plan out one call
//! at a time, waiting for each answer. All of it is plain data: it can be cloned, compared, killed between any two
//! writes, and replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::{Span, Time};

use crate::agenda::Agenda;
use crate::cache::{Cache, references};
use crate::lanes::Lanes;
use crate::plan::{Guard, IfRefused, Need, Notice, Plan, Verb, Wake, Write};
use crate::rollout;
use crate::rollout::restart::AGAIN_AFTER;
use crate::sabotage::Sabotage;
use crate::seams::{Answer, ApiCall, ApiError, CallId, Event, Seams};
use crate::world::{Facts, RolloutWorld};

/// Kinds that are watched from the start, and must be listed before anything is decided.
pub const WATCHED: &[Kind] = &[Kind::Rollout, Kind::ReplicaSet, Kind::Pod, Kind::Service];

/// Kinds that are watched once a Rollout refers to an object of theirs. Only that Rollout waits for their list.
pub const WATCHED_ON_DEMAND: &[Kind] = &[Kind::Deployment, Kind::PodTemplate];

/// Label that says which of several controllers looks after an object.
pub const INSTANCE_LABEL: &str = "argo-rollouts.argoproj.io/controller-instance-id";

/// First wait after a failure; doubled with each further one. As in the reference's work queue.
const BACKOFF_BASE: Span = Span::millis(1);
/// Longest wait after failures. As in the reference's work queue.
const BACKOFF_CAP: Span = Span::seconds(10);

/// How a manager is set up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Look only after Rollouts with this instance label; without one, only after those that carry no such label.
    pub instance_id: Option<Text>,
    /// A guard that is taken away, to prove that its invariant notices. Never set outside tests.
    pub sabotage: Option<Sabotage>,
    /// So many passes may have a call under way, held up ones apart; any number without. See [`crate::lanes`].
    pub passes_at_once: Option<usize>,
}

/// The controller.
#[derive(Clone, Debug)]
pub struct Manager {
    settings: Settings,
    cache: Cache,
    listed: BTreeSet<Kind>,
    /// Kinds of [`WATCHED_ON_DEMAND`] that were asked for.
    asked_for: BTreeSet<Kind>,
    agenda: Agenda,
    lanes: Lanes,
    passes: BTreeMap<Key, Pass>,
    calls: BTreeMap<CallId, Key>,
    next_call: u64,
    failures: BTreeMap<Key, u32>,
    /// Pods whose eviction was refused, until they are asked for again.
    protected: BTreeMap<Key, Time>,
    stats: Stats,
    trail: BTreeMap<Key, Arc<Plan>>,
}

/// What a manager has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Passes begun.
    pub passes: u64,
    /// Writes started.
    pub writes: u64,
}

#[derive(Clone, Debug)]
struct Pass {
    stage: Stage,
    /// Versions that this pass's own writes have made, so that a later write of the same pass fits.
    versions: BTreeMap<Key, (u64, u64)>,
    failed: bool,
}

#[derive(Clone, Debug)]
enum Stage {
    Asking { waiting: Vec<Need>, facts: Facts },
    Writing { plan: Arc<Plan>, at: usize },
}

impl Manager {
    /// A manager that knows nothing yet.
    pub fn new(settings: Settings) -> Manager {
        Manager {
            lanes: Lanes::new(settings.passes_at_once),
            settings,
            cache: Cache::default(),
            listed: BTreeSet::new(),
            asked_for: BTreeSet::new(),
            agenda: Agenda::default(),
            passes: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            failures: BTreeMap::new(),
            protected: BTreeMap::new(),
            stats: Stats::default(),
            trail: BTreeMap::new(),
        }
    }

    /// What is known of the cluster.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// What was decided last for a key, with the reasons.
    pub fn last_plan(&self, key: &Key) -> Option<&Arc<Plan>> {
        self.trail.get(key)
    }

    /// Whether nothing is under way and nothing is due before this time.
    pub fn is_idle_until(&self, time: Time) -> bool {
        self.passes.is_empty() && self.agenda.next().is_none_or(|due| due > time)
    }

    /// Keys whose time has come and that wait for their pass.
    pub fn waiting(&self, now: Time) -> impl Iterator<Item = &Key> {
        self.agenda.waiting(now)
    }

    /// Takes one event, starts what follows.
    pub fn handle(&mut self, event: Event, seams: &mut impl Seams) {
        match event {
            Event::Seen(object) => self.saw(object, seams),
            Event::Gone(object) => self.lost_sight_of(&object, seams),
            Event::Listed(kind, keys) => {
                let now = seams.now();
                for object in self.cache.keep_only(&kind, &keys, self.next_call) {
                    self.touch(&object, now);
                }
                if self.asked_for.contains(&kind) && !self.listed.contains(&kind) {
                    let waiting: Vec<Key> = self.cache.referring_to_kind(&kind).cloned().collect();
                    waiting.into_iter().for_each(|key| self.agenda.add(key, now));
                }
                self.listed.insert(kind);
            }
            Event::Answered(call, answer) => self.answered(call, answer, seams),
            Event::Woken => {}
        }
        self.start_due_passes(seams);
        let oldest = self.calls.first_key_value().map_or(self.next_call, |(call, _)| call.0);
        self.cache.forget_graves(oldest);
        if let Some(next) = self.next_alarm(seams.now()) {
            seams.wake_at(next);
        }
    }

    fn next_alarm(&self, now: Time) -> Option<Time> {
        if !self.is_everything_listed() {
            // Keys that are due wait for the lists, not for time: an alarm for them would ring for ever.
            return None;
        }
        let due = self.agenda.next()?;
        if self.lanes.room(now).is_for_all() {
            return Some(due);
        }
        // Who is due has perhaps no lane: the end of a pass brings one, or that a call has taken too long.
        self.lanes.next(now).map(|free| if due > now { due.min(free) } else { free })
    }

    fn saw(&mut self, object: Arc<Object>, seams: &mut impl Seams) {
        let key = object.key();
        let known = self.cache.get(&key).is_some_and(|held| held.meta.uid == object.meta.uid);
        let Some(object) = self.learn(object, seams.now()) else { return };
        self.ask_for_kinds(&object, seams);
        if key.kind == Kind::Rollout && !known && self.is_ours(&object) {
            let message = format!("Rollout resource added to informer: {}/{}", key.namespace, key.name);
            self.record(notice(&object, "RolloutAddedToInformer", message), seams);
        }
    }

    /// Has those kinds watched that this Rollout refers to and nobody did before.
    fn ask_for_kinds(&mut self, rollout: &Object, seams: &mut impl Seams) {
        if rollout.rollout().is_none() || !self.is_ours(rollout) {
            return;
        }
        for kind in references(rollout).into_iter().map(|key| key.kind) {
            if WATCHED_ON_DEMAND.contains(&kind) && self.asked_for.insert(kind.clone()) {
                seams.watch(kind);
            }
        }
    }

    /// Whether a key refers to an object of a kind that is not known yet.
    fn waits_for_a_list(&self, key: &Key) -> bool {
        if self.asked_for.iter().all(|kind| self.listed.contains(kind)) {
            return false;
        }
        let refers = |rollout: &Arc<Object>| {
            references(rollout)
                .iter()
                .any(|key| self.asked_for.contains(&key.kind) && !self.listed.contains(&key.kind))
        };
        self.cache.get(key).is_some_and(refers)
    }

    /// Takes a version of an object and queues what it concerns. If it was news, answers it as it is held: what it shares
    /// with the version before is understood already.
    fn learn(&mut self, object: Arc<Object>, now: Time) -> Option<Arc<Object>> {
        let key = object.key();
        let before = self.cache.get(&key).cloned();
        if !self.cache.put(object) {
            return None;
        }
        let object = self.cache.get(&key).cloned()?;
        // A Service that is no longer named must lose our selector.
        for service in before.iter().flat_map(|before| services_of(before)) {
            if self.cache.referring_to(&service).next().is_none() {
                self.agenda.add(service, now);
            }
        }
        self.touch(&object, now);
        Some(object)
    }

    fn lost_sight_of(&mut self, object: &Object, seams: &mut impl Seams) {
        let key = object.key();
        if !self.cache.remove_for_good(&key, object.meta.resource_version, self.next_call) {
            return;
        }
        self.protected.remove(&key);
        if key.kind == Kind::Rollout && self.is_ours(object) {
            let message = format!("Rollout {}/{} is deleted.", key.name, key.namespace);
            self.record(notice(object, "RolloutDeleted", message), seams);
            self.failures.remove(&key);
            self.trail.remove(&key);
        }
        self.touch(object, seams.now());
    }

    /// Whether a Rollout carries our instance label.
    pub fn is_ours(&self, rollout: &Object) -> bool {
        rollout.meta.labels.get(INSTANCE_LABEL) == self.settings.instance_id.as_ref()
    }

    fn is_restarting(&self, rollout: &Key) -> bool {
        self.cache.get(rollout).and_then(|rollout| rollout.rollout()).is_some_and(|body| {
            let wanted = body.spec.spec().restart_at;
            wanted.is_some() && wanted != body.status.restarted_at
        })
    }

    /// Queues every key that a change of this object concerns.
    fn touch(&mut self, object: &Object, now: Time) {
        let key = object.key();
        let mut keys: Vec<Key> = self.cache.referring_to(&key).cloned().collect();
        match key.kind {
            Kind::Rollout => {
                keys.extend(services_of(object));
                keys.push(key);
            }
            Kind::Service => keys.push(key),
            _ => match object.meta.controller() {
                Some(owner) if &*owner.kind == "Rollout" => {
                    keys.push(Key::new(Kind::Rollout, key.namespace.clone(), owner.name.clone()));
                }
                Some(owner) if key.kind == Kind::Pod => {
                    // Pods matter to a restart under way; all else is told by the counts of their ReplicaSet.
                    let set = Key::new(Kind::ReplicaSet, key.namespace.clone(), owner.name.clone());
                    let rollout = self
                        .cache
                        .get(&set)
                        .and_then(|set| set.meta.controller())
                        .map(|owner| Key::new(Kind::Rollout, key.namespace.clone(), owner.name.clone()));
                    keys.extend(rollout.filter(|rollout| self.is_restarting(rollout)));
                }
                Some(_) => {}
                None if key.kind == Kind::ReplicaSet => {
                    let adopters = self.cache.named_like(&Kind::Rollout, &key.namespace, "");
                    let selects = |rollout: &&Arc<Object>| {
                        let spec = rollout.rollout().map(|body| body.spec.spec());
                        let selector = spec.and_then(|spec| spec.selector.as_ref());
                        selector.is_some_and(|selector| selector.matches(&object.meta.labels))
                    };
                    keys.extend(adopters.filter(selects).map(|rollout| rollout.key()));
                }
                None => {}
            },
        }
        for key in keys {
            self.agenda.add(key, now);
        }
    }

    /// Whether each kind that is always watched was listed once; nothing is decided before.
    pub fn is_everything_listed(&self) -> bool {
        WATCHED.iter().all(|kind| self.listed.contains(kind))
    }

    fn start_due_passes(&mut self, seams: &mut impl Seams) {
        if !self.is_everything_listed() {
            return;
        }
        while let Some((key, due)) = self.next_pass(seams.now()) {
            if self.waits_for_a_list(&key) {
                // The list brings it back.
                self.agenda.release(&key);
                continue;
            }
            seams.began(&key, due);
            let facts = Facts { sabotage: self.settings.sabotage, ..Facts::default() };
            self.look(key, facts, seams);
        }
    }

    /// The key that has waited longest, of those for which there is a lane.
    fn next_pass(&mut self, now: Time) -> Option<(Key, Time)> {
        let room = self.lanes.room(now);
        let Manager { agenda, lanes, .. } = self;
        if room.is_none() { None } else { agenda.take(now, |key| room.has(lanes.is_slow(key))) }
    }

    /// One look at a key: decide, and start the first call that follows.
    fn look(&mut self, key: Key, mut facts: Facts, seams: &mut impl Seams) {
        let now = seams.now();
        self.stats.passes += 1;
        let plan = match key.kind {
            Kind::Rollout => match RolloutWorld::gather(&self.cache, &key) {
                Some(world) if self.is_ours(&world.rollout) => {
                    facts.protected = self.protected_of(&world, now);
                    rollout::plan(&world, &facts, now)
                }
                _ => Plan::default(),
            },
            Kind::Service => rollout::services::plan_clean_up(&self.cache, &key, &facts),
            _ => Plan::default(),
        };
        if plan.needs.is_empty() {
            let plan = Arc::new(plan);
            self.trail.insert(key.clone(), plan.clone());
            let stage = Stage::Writing { plan, at: 0 };
            self.passes.insert(key.clone(), Pass { stage, versions: BTreeMap::new(), failed: false });
            self.go_on(&key, seams);
        } else {
            let stage = Stage::Asking { waiting: plan.needs, facts };
            self.passes.insert(key.clone(), Pass { stage, versions: BTreeMap::new(), failed: false });
            self.ask(&key, seams);
        }
    }

    /// Pods of this Rollout whose eviction was refused a moment ago.
    fn protected_of(&self, world: &RolloutWorld, now: Time) -> BTreeSet<Key> {
        if self.protected.is_empty() {
            return BTreeSet::new();
        }
        let is_protected = |pod: &Key| self.protected.get(pod).is_some_and(|until| *until > now);
        world.pods.iter().map(|pod| pod.key()).filter(is_protected).collect()
    }

    /// Starts the next write of a pass, or ends the pass.
    fn go_on(&mut self, key: &Key, seams: &mut impl Seams) {
        let Some(Pass { stage: Stage::Writing { plan, at }, versions, failed }) = self.passes.get(key) else {
            return;
        };
        let Some(write) = plan.writes.get(*at) else {
            let failed = *failed || plan.failure.is_some();
            let wake = plan.wake;
            return self.end(key, failed, wake, seams);
        };
        let guard = self.guard_of(write, versions);
        let call = ApiCall::Write { key: write.key.clone(), guard, verb: write.verb.clone() };
        self.stats.writes += 1;
        self.call(key, call, seams);
    }

    /// The precondition of a write; one that was computed from a version which this pass itself has replaced names
    /// the replacement.
    fn guard_of(&self, write: &Write, versions: &BTreeMap<Key, (u64, u64)>) -> Guard {
        match &write.guard {
            Guard::Version { uid, .. } if self.settings.sabotage == Some(Sabotage::NoPreconditions) => {
                Guard::Identity(uid.clone())
            }
            Guard::Version { uid, resource_version } => match versions.get(&write.key) {
                Some((from, to)) if from == resource_version => {
                    Guard::Version { uid: uid.clone(), resource_version: *to }
                }
                _ => write.guard.clone(),
            },
            guard => guard.clone(),
        }
    }

    fn end(&mut self, key: &Key, failed: bool, wake: Wake, seams: &mut impl Seams) {
        let now = seams.now();
        self.passes.remove(key);
        self.lanes.ended(key);
        self.agenda.release(key);
        seams.ended(key, failed);
        if failed {
            let count = self.failures.entry(key.clone()).or_default();
            let wait = BACKOFF_BASE
                .0
                .saturating_mul(1_i64.checked_shl(*count).unwrap_or(i64::MAX))
                .min(BACKOFF_CAP.0);
            *count = (*count + 1).min(20);
            self.agenda.add(key.clone(), now.plus(Span::millis(wait)));
        } else {
            self.failures.remove(key);
        }
        if let Wake::At(at) = wake {
            self.agenda.add(key.clone(), at.max(now.plus(Span::millis(1))));
        }
    }

    fn answered(&mut self, call: CallId, answer: Answer, seams: &mut impl Seams) {
        let Some(key) = self.calls.remove(&call) else { return };
        self.lanes.answered(&key, seams.now());
        // Whatever comes back is knowledge, also when the pass that asked is over.
        if let Answer::Done(Some(object)) = &answer {
            if let Some(object) = self.learn(object.clone(), seams.now()) {
                self.ask_for_kinds(&object, seams);
            }
        }
        match self.passes.get(&key).map(|pass| &pass.stage) {
            Some(Stage::Asking { .. }) => self.fact_came(&key, answer, seams),
            Some(Stage::Writing { .. }) => self.write_ended(&key, answer, seams),
            None => {}
        }
    }

    /// Asks for the first fact that is still missing; they are asked one after the other.
    fn ask(&mut self, key: &Key, seams: &mut impl Seams) {
        let Some(Pass { stage: Stage::Asking { waiting, .. }, .. }) = self.passes.get(key) else { return };
        if let Some(Need::Live(target)) = waiting.first() {
            self.call(key, ApiCall::Get(target.clone()), seams);
        }
    }

    fn fact_came(&mut self, key: &Key, answer: Answer, seams: &mut impl Seams) {
        let Some(Pass { stage: Stage::Asking { waiting, facts }, .. }) = self.passes.get_mut(key) else {
            return;
        };
        let Need::Live(target) = waiting.remove(0);
        match answer {
            Answer::Done(object) => drop(facts.live.insert(target, object)),
            Answer::Refused(ApiError::NotFound(_)) => drop(facts.live.insert(target, None)),
            Answer::Refused(_) | Answer::Lost => return self.end(key, true, Wake::OnChange, seams),
        }
        if waiting.is_empty() {
            let facts = facts.clone();
            self.passes.remove(key);
            self.look(key.clone(), facts, seams);
        } else {
            self.ask(key, seams);
        }
    }

    fn write_ended(&mut self, key: &Key, answer: Answer, seams: &mut impl Seams) {
        let Some(pass) = self.passes.get_mut(key) else { return };
        let Stage::Writing { plan, at } = &mut pass.stage else { return };
        let plan = plan.clone();
        let Some(write) = plan.writes.get(*at) else { return };
        match &answer {
            Answer::Done(object) => {
                if let (Some(object), Guard::Version { resource_version, .. }) = (object, &write.guard) {
                    let from = pass.versions.get(&write.key).map_or(*resource_version, |(from, _)| *from);
                    pass.versions.insert(write.key.clone(), (from, object.meta.resource_version));
                }
                *at += 1;
                // What was deleted or evicted counts no more, whatever a late watch still shows: a second pass that
                // took an evicted pod for an available one would evict one too many.
                if object.is_none()
                    && matches!(write.verb, Verb::Delete | Verb::Evict)
                    && let Some(held) = self.cache.get(&write.key)
                {
                    let version = held.meta.resource_version;
                    self.cache.remove(&write.key, version);
                }
                for notice in &write.notices {
                    self.record(notice.clone(), seams);
                }
                self.go_on(key, seams);
            }
            // What should go is gone.
            Answer::Refused(ApiError::NotFound(_)) if matches!(write.verb, Verb::Delete | Verb::Evict) => {
                *at += 1;
                self.go_on(key, seams);
            }
            Answer::Refused(_) | Answer::Lost => match write.if_refused {
                IfRefused::Stop => self.end(key, true, plan.wake, seams),
                IfRefused::GoOn => {
                    pass.failed = true;
                    *at += 1;
                    self.go_on(key, seams);
                }
                IfRefused::Accept => {
                    // The rest of the plan counted on it: look again, knowing that it is not to be had now.
                    let now = seams.now();
                    self.protected.retain(|_, until| *until > now);
                    self.protected.insert(write.key.clone(), now.plus(AGAIN_AFTER));
                    self.end(key, false, Wake::At(now), seams);
                }
            },
        }
    }

    fn call(&mut self, key: &Key, call: ApiCall, seams: &mut impl Seams) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.calls.insert(id, key.clone());
        self.lanes.called(key, seams.now());
        seams.start(id, call);
    }

    fn record(&mut self, notice: Notice, seams: &mut impl Seams) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        seams.start(id, ApiCall::Record(notice));
    }
}

/// The Services that a Rollout names.
fn services_of(object: &Object) -> impl Iterator<Item = Key> {
    references(object).into_iter().filter(|key| key.kind == Kind::Service)
}

fn notice(object: &Object, reason: &str, message: String) -> Notice {
    Notice {
        about: object.key(),
        uid: object.meta.uid.clone(),
        warning: false,
        reason: reason.into(),
        message: message.into(),
    }
}
