//! The state machine around the brain: keys, queue, back-off, the pass under way and its next write.
//!
//! One pass at a time per key: gather what is known, ask what must be asked, decide, then carry the plan out one call
//! at a time, waiting for each answer. All of it is plain data: it can be cloned, compared, killed between any two
//! writes, and replayed.

mod experiments;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::{Span, Time};

use crate::agenda::Agenda;
use crate::analysis::measure::Exchange;
use crate::analysis::secrets::SecretData;
use crate::analysis::{self, RunWorld};
use crate::cache::{Cache, named_services, named_templates, references};
use crate::experiment::{self, ExperimentWorld};
use crate::lanes::Lanes;
use crate::plan::{Guard, IfRefused, Need, Notice, Plan, Verb, Wake, Write};
use crate::providers::Surroundings;
use crate::rollout;
use crate::rollout::restart::AGAIN_AFTER;
use crate::routers;
use crate::sabotage::Sabotage;
use crate::seams::{Answer, ApiCall, ApiError, CallId, Event, Reply, Seams};
use crate::world::{Facts, RolloutWorld};

/// Kinds that are watched from the start, and must be listed before anything is decided.
pub const WATCHED: &[Kind] = &[Kind::Rollout, Kind::ReplicaSet, Kind::Pod, Kind::Service];

/// Kinds that are watched once a Rollout refers to an object of theirs, beside those of its routers
/// ([`routers::reads_of`]). Only that Rollout waits for their list.
pub const WATCHED_ON_DEMAND: &[Kind] = &[
    Kind::Deployment,
    Kind::PodTemplate,
    Kind::AnalysisRun,
    Kind::Experiment,
    Kind::AnalysisTemplate,
    Kind::ClusterAnalysisTemplate,
    Kind::Job,
];

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
    /// Where Jobs of analysis runs are made; in the namespace of the run without one.
    pub job_namespace: Option<Text>,
    /// What the operator set for metric providers.
    pub surroundings: Arc<Surroundings>,
    /// How routers are set up.
    pub routers: Arc<routers::Settings>,
    /// Look after AnalysisRuns and leave everything else alone, as tools that only measure want it.
    pub runs_only: bool,
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
    /// Kinds among them that the API server does not serve, as far as is known.
    unserved: BTreeSet<Kind>,
    agenda: Agenda,
    lanes: Lanes,
    passes: BTreeMap<Key, Pass>,
    calls: BTreeMap<CallId, Key>,
    next_call: u64,
    failures: BTreeMap<Key, u32>,
    /// Pods whose eviction was refused, until they are asked for again.
    protected: BTreeMap<Key, Time>,
    /// Before when nobody is asked on behalf of these keys.
    patience: BTreeMap<Key, Time>,
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
    /// Reads objects, one after the other.
    Asking {
        waiting: Vec<Key>,
        facts: Facts,
    },
    /// Waits for replies to questions, which were all asked together. `lost` once one was.
    Hearing {
        waiting: BTreeMap<CallId, Text>,
        facts: Facts,
        lost: bool,
    },
    Writing {
        plan: Arc<Plan>,
        at: usize,
    },
}

impl Manager {
    /// A manager that knows nothing yet.
    pub fn new(settings: Settings) -> Manager {
        Manager {
            lanes: Lanes::new(settings.passes_at_once),
            cache: Cache::new(settings.routers.clone()),
            settings,
            unserved: BTreeSet::new(),
            listed: BTreeSet::new(),
            asked_for: BTreeSet::new(),
            agenda: Agenda::default(),
            passes: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            failures: BTreeMap::new(),
            protected: BTreeMap::new(),
            patience: BTreeMap::new(),
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
        // Both stand alone too. Where the API does not serve them, nobody but a Rollout with such steps waits for them.
        for kind in [Kind::AnalysisRun, Kind::Experiment] {
            if self.asked_for.insert(kind.clone()) {
                seams.watch(kind);
            }
        }
        match event {
            Event::Seen(object) => self.saw(object, seams),
            Event::Gone(object) => self.lost_sight_of(&object, seams),
            Event::Listed(kind, keys) => {
                let now = seams.now();
                for object in self.cache.keep_only(&kind, &keys, self.next_call) {
                    self.touch(&object, now);
                }
                let was_unserved = self.unserved.remove(&kind);
                self.is_listed(kind, was_unserved, now);
            }
            Event::Unserved(kind) => {
                let now = seams.now();
                for object in self.cache.keep_only(&kind, &BTreeSet::new(), self.next_call) {
                    self.touch(&object, now);
                }
                let is_news = self.unserved.insert(kind.clone());
                self.is_listed(kind, is_news, now);
            }
            Event::Answered(call, answer) => self.answered(call, answer, seams),
            Event::Replied(call, reply) => self.replied(call, reply, seams),
            Event::Woken => {}
        }
        self.start_due_passes(seams);
        let oldest = self.calls.first_key_value().map_or(self.next_call, |(call, _)| call.0);
        self.cache.forget_graves(oldest);
        if let Some(next) = self.next_alarm(seams.now()) {
            seams.wake_at(next);
        }
    }

    /// All that there is of a kind is known now. Whoever waited for it, or for a change in whether it is served, looks again.
    fn is_listed(&mut self, kind: Kind, is_news: bool, now: Time) {
        if self.asked_for.contains(&kind) && (is_news || !self.listed.contains(&kind)) {
            let referring: Vec<Key> = self.cache.referring_to_kind(&kind).cloned().collect();
            let waiting = self.with_users_of_templates(referring);
            waiting.into_iter().for_each(|key| self.agenda.add(key, now));
            let waits = |rollout: &&Arc<Object>| match kind {
                Kind::AnalysisRun => asks(rollout),
                Kind::Experiment => experiments::has_experiments(rollout),
                _ => false,
            };
            let waiting = self.cache.of_kind(&Kind::Rollout).filter(waits);
            waiting.for_each(|rollout| self.agenda.add(rollout.key(), now));
            self.cache.of_kind(&Kind::Experiment).for_each(|one| self.agenda.add(one.key(), now));
        }
        self.listed.insert(kind);
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

    /// Has those kinds watched that this object refers to and nobody did before.
    fn ask_for_kinds(&mut self, rollout: &Object, seams: &mut impl Seams) {
        let refers = matches!(
            rollout.kind,
            Kind::Rollout | Kind::AnalysisRun | Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate
        );
        if !refers || !self.is_ours(rollout) {
            return;
        }
        let measures_by_job = |metric: &Arc<serde_json::Value>| metric["provider"]["job"].is_object();
        let needs_jobs = rollout
            .analysis_run()
            .is_some_and(|run| !run.status.is_over() && run.spec.spec().metrics.iter().any(measures_by_job));
        if needs_jobs && self.asked_for.insert(Kind::Job) {
            seams.watch(Kind::Job);
        }
        let of_routers = routers::reads_of(rollout, &self.settings.routers);
        let of_routers: Vec<Kind> = of_routers.iter().map(|reads| reads.kind().clone()).collect();
        let others = references(rollout, &self.settings.routers).into_iter().map(|key| key.kind);
        let others: Vec<Kind> = others.filter(|kind| WATCHED_ON_DEMAND.contains(kind)).collect();
        for kind in of_routers.into_iter().chain(others) {
            if !WATCHED.contains(&kind) && self.asked_for.insert(kind.clone()) {
                seams.watch(kind);
            }
        }
    }

    /// Whether a key refers to an object of a kind that is not known yet.
    fn waits_for_a_list(&self, key: &Key) -> bool {
        if self.asked_for.iter().all(|kind| self.listed.contains(kind)) {
            return false;
        }
        let is_unknown = |key: &Key| self.asked_for.contains(&key.kind) && !self.listed.contains(&key.kind);
        let refers = |rollout: &Arc<Object>| {
            references(rollout, &self.settings.routers).iter().any(is_unknown)
                || (asks(rollout) && !self.listed.contains(&Kind::AnalysisRun))
                || self
                    .cache
                    .templates_of(rollout)
                    .values()
                    .flat_map(|one| named_templates(one))
                    .any(|k| is_unknown(&k))
        };
        self.cache.get(key).is_some_and(|object| refers(object) || self.waits_for_experiments(object))
    }

    /// Takes a version of an object and queues what it concerns. If it was news, answers it as it is held: what it shares
    /// with the version before is understood already.
    fn learn(&mut self, object: Arc<Object>, now: Time) -> Option<Arc<Object>> {
        let key = object.key();
        let before = self.cache.get(&key).cloned();
        if !self.cache.put(object, now) {
            return None;
        }
        let object = self.cache.get(&key).cloned()?;
        // What is no longer named must lose what was left there.
        let settings = self.settings.routers.clone();
        let named_before = before.iter().flat_map(|before| references(before, &settings));
        let named_now = references(&object, &settings);
        for left in named_before.filter(|key| !key.name.is_empty() && !named_now.contains(key)) {
            self.agenda.add(left, now);
        }
        self.touch(&object, now);
        if object.rollout().is_some() && experiments::arms_differ(before.as_deref(), &object) {
            self.experiments_of(&object).into_iter().for_each(|key| self.agenda.add(key, now));
        }
        // Measurements come and go; what a run says concerns its Rollout only when it says something else.
        let phase = |object: &Object| object.analysis_run().map(|run| run.status.phase().to_owned());
        if before.is_none_or(|before| phase(&before) != phase(&object)) {
            self.touch_asker(&object, now);
        }
        Some(object)
    }

    /// Queues the Rollout or the Experiment that asks with this run.
    fn touch_asker(&mut self, run: &Object, now: Time) {
        if run.analysis_run().is_some() {
            experiments::asker(run).into_iter().for_each(|key| self.agenda.add(key, now));
        }
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
            for left in references(object, &self.settings.routers) {
                self.agenda.add(left, seams.now());
            }
            self.experiments_of(object).into_iter().for_each(|key| self.agenda.add(key, seams.now()));
            self.failures.remove(&key);
            self.patience.remove(&key);
            self.trail.remove(&key);
        }
        if matches!(key.kind, Kind::AnalysisRun | Kind::Experiment) {
            self.failures.remove(&key);
            self.trail.remove(&key);
            self.touch_asker(object, seams.now());
        }
        self.touch(object, seams.now());
    }

    /// These keys, and instead of each template who refers to it.
    fn with_users_of_templates(&self, keys: Vec<Key>) -> BTreeSet<Key> {
        let (mut found, mut waiting) = (BTreeSet::new(), keys);
        while let Some(key) = waiting.pop() {
            let is_template = matches!(key.kind, Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate);
            if found.insert(key.clone()) && is_template {
                waiting.extend(self.cache.referring_to(&key).cloned());
            }
        }
        found.retain(|key| !matches!(key.kind, Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate));
        found
    }

    /// Whether a kind is watched for the sake of routers.
    fn is_of_routers(&self, kind: &Kind) -> bool {
        matches!(kind, Kind::Other { .. }) && self.asked_for.contains(kind)
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
        let referring: Vec<Key> = self.cache.referring_to(&key).cloned().collect();
        let mut keys: Vec<Key> = self.with_users_of_templates(referring).into_iter().collect();
        keys.extend(self.concerned_by_experiments(object));
        match key.kind {
            Kind::Rollout => {
                keys.extend(services_of(object));
                keys.push(key);
            }
            Kind::Service | Kind::AnalysisRun => keys.push(key),
            Kind::Job => keys.extend(analysis::job::run_of(object)),
            _ if self.is_of_routers(&key.kind) => {
                let owner = object.meta.controller().filter(|owner| &*owner.kind == "Rollout");
                keys.extend(
                    owner.map(|owner| Key::new(Kind::Rollout, key.namespace.clone(), owner.name.clone())),
                );
                keys.push(key);
            }
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
                    let job = Key::new(Kind::Job, key.namespace.clone(), owner.name.clone());
                    let job = self.cache.get(&job).filter(|job| job.meta.uid == owner.uid);
                    keys.extend(job.and_then(|job| analysis::job::run_of(job)));
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
            let unserved = self.unserved.iter().cloned().collect();
            let facts = Facts { sabotage: self.settings.sabotage, unserved, ..Facts::default() };
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
            ref kind if self.settings.runs_only && *kind != Kind::AnalysisRun => Plan::default(),
            Kind::Rollout => match RolloutWorld::gather(&self.cache, &key) {
                Some(world) if self.is_ours(&world.rollout) => {
                    facts.protected = self.protected_of(&world, now);
                    facts.patience = self.patience.get(&key).copied();
                    rollout::plan(&world, &facts, now)
                }
                _ => Plan::default(),
            },
            Kind::AnalysisRun => {
                match RunWorld::gather(
                    &self.cache,
                    &key,
                    self.settings.job_namespace.as_ref(),
                    &self.settings.surroundings,
                ) {
                    Some(world) if self.is_ours(&world.run) => analysis::plan(&world, &facts, now),
                    _ => Plan::default(),
                }
            }
            Kind::Experiment => match ExperimentWorld::gather(&self.cache, &key) {
                Some(world) if self.is_ours(&world.experiment) => experiment::plan(&world, &facts, now),
                _ => Plan::default(),
            },
            Kind::Service => rollout::services::plan_clean_up(&self.cache, &key, &facts),
            _ => routers::plan_clean_up(&self.cache, &key),
        };
        if plan.needs.is_empty() {
            match plan.patience {
                Some(until) => drop(self.patience.insert(key.clone(), until)),
                None => drop(self.patience.remove(&key)),
            }
            let plan = Arc::new(plan);
            self.trail.insert(key.clone(), plan.clone());
            let stage = Stage::Writing { plan, at: 0 };
            self.passes.insert(key.clone(), Pass { stage, versions: BTreeMap::new(), failed: false });
            self.go_on(&key, seams);
            return;
        }
        // Objects first: questions may depend on them, and are listed again by the next look.
        let live = |need: &Need| if let Need::Live(key) = need { Some(key.clone()) } else { None };
        let waiting: Vec<Key> = plan.needs.iter().filter_map(live).collect();
        if waiting.is_empty() {
            return self.put_questions(key, plan.needs, facts, seams);
        }
        let stage = Stage::Asking { waiting, facts };
        self.passes.insert(key.clone(), Pass { stage, versions: BTreeMap::new(), failed: false });
        self.ask(&key, seams);
    }

    /// Asks all questions of a pass together.
    fn put_questions(&mut self, key: Key, needs: Vec<Need>, mut facts: Facts, seams: &mut impl Seams) {
        let now = seams.now();
        let mut waiting = BTreeMap::new();
        for need in needs {
            let Need::Reply(part, question) = need else { continue };
            let fresh = Exchange { begun: now, heard: now, replies: Vec::new() };
            facts.exchanges.entry(part.clone()).or_insert(fresh);
            let id = CallId(self.next_call);
            self.next_call += 1;
            self.calls.insert(id, key.clone());
            waiting.insert(id, part);
            seams.ask(id, *question);
        }
        let stage = Stage::Hearing { waiting, facts, lost: false };
        self.passes.insert(key, Pass { stage, versions: BTreeMap::new(), failed: false });
    }

    fn replied(&mut self, call: CallId, reply: Reply, seams: &mut impl Seams) {
        let Some(key) = self.calls.remove(&call) else { return };
        let Some(Pass { stage: Stage::Hearing { waiting, facts, lost }, .. }) = self.passes.get_mut(&key)
        else {
            return;
        };
        let Some(part) = waiting.remove(&call) else { return };
        *lost |= reply == Reply::Lost;
        if let Some(exchange) = facts.exchanges.get_mut(&part) {
            exchange.heard = seams.now();
            exchange.replies.push(reply);
        }
        if !waiting.is_empty() {
            return;
        }
        if *lost {
            // Nothing of the attempt is stored: all of it is asked again.
            return self.end(&key, true, Wake::OnChange, seams);
        }
        let facts = std::mem::take(facts);
        self.passes.remove(&key);
        self.look(key, facts, seams);
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
            let (wake, told) = (plan.wake, plan.told.clone());
            told.into_iter().for_each(|notice| self.record(notice, seams));
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
        if let Answer::Done(Some(object)) = &answer
            && is_kept(&object.kind)
            && let Some(object) = self.learn(object.clone(), seams.now())
        {
            self.ask_for_kinds(&object, seams);
        }
        match self.passes.get(&key).map(|pass| &pass.stage) {
            Some(Stage::Asking { .. }) => self.fact_came(&key, answer, seams),
            Some(Stage::Writing { .. }) => self.write_ended(&key, answer, seams),
            Some(Stage::Hearing { .. }) | None => {}
        }
    }

    /// Asks for the first fact that is still missing; they are asked one after the other.
    fn ask(&mut self, key: &Key, seams: &mut impl Seams) {
        let Some(Pass { stage: Stage::Asking { waiting, .. }, .. }) = self.passes.get(key) else { return };
        if let Some(target) = waiting.first() {
            self.call(key, ApiCall::Get(target.clone()), seams);
        }
    }

    fn fact_came(&mut self, key: &Key, answer: Answer, seams: &mut impl Seams) {
        let Some(Pass { stage: Stage::Asking { waiting, facts }, .. }) = self.passes.get_mut(key) else {
            return;
        };
        let target = waiting.remove(0);
        match answer {
            Answer::Done(Some(object)) if target.kind == Kind::Secret => {
                drop(facts.secrets.insert(target, Ok(SecretData::of(&object))));
            }
            Answer::Refused(ApiError::NotFound(_)) if target.kind == Kind::Secret => {
                let why = format!("secrets \"{}\" not found", target.name);
                drop(facts.secrets.insert(target, Err(why.into())));
            }
            Answer::Refused(ApiError::Forbidden(why)) if target.kind == Kind::Secret => {
                drop(facts.secrets.insert(target, Err(why)));
            }
            // What may never be seen is an answer too, or a measurement would wait for ever (L9).
            Answer::Refused(ApiError::Forbidden(why)) if target.kind == Kind::Job => {
                drop(facts.refused.insert(target, why));
            }
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
                IfRefused::Tell => match answer {
                    Answer::Refused(
                        ApiError::Invalid(why) | ApiError::Forbidden(why) | ApiError::NotFound(why),
                    ) => {
                        let mut facts = Facts { sabotage: self.settings.sabotage, ..Facts::default() };
                        facts.refused.insert(write.key.clone(), why);
                        self.passes.remove(key);
                        self.look(key.clone(), facts, seams);
                    }
                    _ => self.end(key, true, plan.wake, seams),
                },
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

/// Whether a Rollout asks with analysis runs.
fn asks(rollout: &Object) -> bool {
    !named_templates(rollout).is_empty()
}

/// Whether objects of this kind may stay in memory. Secrets are read, used and forgotten.
fn is_kept(kind: &Kind) -> bool {
    *kind != Kind::Secret
}

/// The Services that a Rollout names.
fn services_of(object: &Object) -> impl Iterator<Item = Key> {
    named_services(object).into_iter()
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
