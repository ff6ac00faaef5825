//! The state machine around the brain: keys, queue, back-off, the pass under way and its next write.
//!
//! One pass at a time per key: gather what is known, ask what must be asked, decide, then carry the plan out one call
//! at a time, waiting for each answer. All of it is plain data: it can be cloned, compared, killed between any two
//! writes, and replayed.

mod experiments;
mod knowledge;
mod pass;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::{Span, Time};

use crate::agenda::Agenda;
use crate::analysis::measure::Exchange;
use crate::analysis::{self, RunWorld};
use crate::cache::{Cache, named_services, named_templates};
use crate::experiment::{self, ExperimentWorld};
use crate::lanes::Lanes;
use crate::plan::{Need, Notice, Plan, Wake};
use crate::providers::Surroundings;
use crate::rollout;
use crate::routers;
use crate::sabotage::Sabotage;
use crate::seams::{Answer, ApiCall, CallId, Event, Reply, Seams};
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
    /// Reads an object that was changed unseen while this pass wrote, so that the next pass does not begin from the same
    /// outdated picture.
    CatchingUp {
        wake: Wake,
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
            Some(Stage::CatchingUp { wake }) => self.end(&key, true, *wake, seams),
            Some(Stage::Hearing { .. }) | None => {}
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
