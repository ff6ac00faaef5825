//! The event heap: virtual time, the store, the actors, and the controller behind its seams.
//!
//! A world is plain data. It can be copied between any two events and continued twice; with the same seed and the same
//! actions both copies live through the same. Nothing in it knows what a rollout *should* do: that is the manager's
//! business alone.
//!
//! Of what happens here (without the brain and without observers) one core of a small cloud machine does about a
//! million a second in a release build, and copies a world of two ReplicaSets and fifteen pods in two microseconds.

mod config;
mod incarnation;
mod mirror;
mod observe;
mod user;

pub use config::{
    FaultRates, Flaps, Interventions, Leak, Millis, NextWrite, PodModel, PodModels, Quality, RouterModel,
    Strike, TrafficModel, WorldConfig,
};
pub use incarnation::{CallCounts, Incarnation};
pub use observe::{Chain, Happened, Observer, Watching, Writer};
pub use user::Action;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use tidegate_api::object::{Key, Object, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::plan::Notice;
use tidegate_controller::seams::{Answer, ApiCall, ApiError, CallId, Reply};

use crate::cluster::actors::hpa::Load;
use crate::cluster::actors::routers::Kept;
use crate::cluster::life::Stage;
use crate::cluster::store::{Change, Store};
use crate::dataplane::applied::DataPlane;
use crate::dataplane::elb::Interface;
use crate::dice::Dice;
use crate::metrics::Answers;
use crate::metrics::counters::Counters;
use incarnation::News;
use observe::digest;

/// The whole invented world at one instant.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) config: Arc<WorldConfig>,
    pub(crate) now: Time,
    pub(crate) store: Store,
    pub(crate) dice: Stock,
    /// Objects that a built-in controller is about to look at.
    pub(crate) syncing: BTreeSet<Key>,
    /// When ReplicaSets are to be counted again because a pod becomes available by time alone.
    pub(crate) recounts: BTreeMap<Key, Time>,
    /// How many pods each ReplicaSet that is growing gets next.
    pub(crate) bursts: BTreeMap<Key, i64>,
    /// Pods whose readiness a person has taken in hand.
    pub(crate) held_pods: BTreeSet<Key>,
    pub(crate) pods_made: u64,
    pub(crate) loads: BTreeMap<Key, Load>,
    /// What the proxies serve by.
    pub(crate) plane: DataPlane,
    /// What load balancers say of themselves.
    pub(crate) elb: Interface,
    /// Objects that somebody puts back as they were.
    pub(crate) kept: BTreeMap<Key, Kept>,
    pub(crate) answers: Answers,
    pub(crate) counters: Option<Box<Counters>>,
    heap: BinaryHeap<Entry>,
    sequence: u64,
    chain: Chain,
    events: u64,
    controller: Option<Incarnation>,
    incarnations: u32,
    counts: CallCounts,
    recorded: Arc<Vec<Arc<Recorded>>>,
    /// Calls started while one event was handled; empty between events, kept for its memory.
    started: Vec<(CallId, ApiCall)>,
}

/// The dice of each concern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stock {
    /// Lag of watches.
    pub watch: Dice,
    /// Latency of calls.
    pub calls: Dice,
    /// Reaction times of the built-in controllers.
    pub actors: Dice,
    /// Lives of pods.
    pub pods: Dice,
    /// Lag of routers.
    pub routers: Dice,
    /// Lag of endpoints.
    pub endpoints: Dice,
    /// Latency of metric providers.
    pub metrics: Dice,
    /// Faults by chance.
    pub faults: Dice,
    /// What becomes of calls under way in a crash.
    pub crashes: Dice,
}

/// A Kubernetes event that the controller recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// When.
    pub at: Time,
    /// What.
    pub notice: Notice,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Nothing is under way, and nothing will happen until somebody acts.
    AtRest,
    /// Something was still to happen at the limit.
    TimedOut,
    /// So many events happened within one second that they will never end.
    Livelock,
}

/// Something that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    List { to: u32, stream: usize, connection: u32 },
    Deliver { to: u32, stream: usize, connection: u32, news: News },
    Arrive { from: u32, id: CallId, call: Box<ApiCall>, strike: Option<Strike> },
    Reply { to: u32, id: CallId, answer: Answer },
    Replied { to: u32, id: CallId, reply: Reply },
    Restart,
    Sync(Key),
    Recount(Key),
    Collect(Text),
    Pod { key: Key, uid: Text, stage: Stage },
    Apply { key: Key, proxy: usize, number: u64 },
    Endpoints(Key),
    PutBack(Key),
}

#[derive(Clone, Debug)]
struct Entry {
    at: Time,
    sequence: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The heap hands out its greatest entry: the earliest one is that.
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl World {
    /// A world with nothing in it but a controller that is about to look around.
    pub fn new(config: WorldConfig) -> World {
        let mut world = World::without_controller(config);
        world.restart(&mut ());
        world
    }

    /// A world with nothing in it. [`World::restart`] starts the controller.
    pub fn without_controller(config: WorldConfig) -> World {
        let dice = |concern| Dice::new(config.seed, concern);
        let dice = Stock {
            watch: dice("watch"),
            calls: dice("calls"),
            actors: dice("actors"),
            pods: dice("pods"),
            routers: dice("routers"),
            endpoints: dice("endpoints"),
            metrics: dice("metrics"),
            faults: dice("faults"),
            crashes: dice("crashes"),
        };
        World {
            now: config.start,
            store: Store::default(),
            dice,
            syncing: BTreeSet::new(),
            recounts: BTreeMap::new(),
            bursts: BTreeMap::new(),
            held_pods: BTreeSet::new(),
            pods_made: 0,
            loads: BTreeMap::new(),
            plane: DataPlane::new(config.traffic.is_some()),
            elb: Interface::default(),
            kept: BTreeMap::new(),
            answers: Answers::default(),
            counters: None,
            config: Arc::new(config),
            heap: BinaryHeap::new(),
            sequence: 0,
            chain: Chain::default(),
            events: 0,
            controller: None,
            incarnations: 0,
            counts: CallCounts::default(),
            recorded: Arc::default(),
            started: Vec::new(),
        }
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        self.now
    }

    /// How this world behaves.
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// Changes how this world behaves from now on. What was drawn already stays drawn.
    pub fn config_mut(&mut self) -> &mut WorldConfig {
        Arc::make_mut(&mut self.config)
    }

    /// The truth: every object in its newest version.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The object, if it is there.
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.store.get(key)
    }

    /// The Kubernetes events recorded so far.
    pub fn recorded(&self) -> &[Arc<Recorded>] {
        &self.recorded
    }

    /// One number that stands for everything that has happened so far.
    pub fn chain(&self) -> u64 {
        self.chain.value()
    }

    /// How many events have happened so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The dice, to compare how often they were rolled.
    pub fn dice(&self) -> &Stock {
        &self.dice
    }

    /// When the next thing happens; nothing when the world is at rest.
    pub fn next_at(&self) -> Option<Time> {
        let alarm = self.controller.as_ref().and_then(|controller| controller.alarm);
        let next = self.heap.peek().map(|entry| (entry.at, entry.sequence));
        match (alarm, next) {
            (Some(alarm), Some(next)) => Some(alarm.min(next).0),
            (alarm, next) => alarm.or(next).map(|(at, _)| at),
        }
    }

    /// Lets the next thing happen. Says whether there was one.
    pub fn step(&mut self, watch: &mut dyn Observer) -> bool {
        let alarm = self.controller.as_ref().and_then(|controller| controller.alarm);
        let next = self.heap.peek().map(|entry| (entry.at, entry.sequence));
        if let Some(alarm) = alarm
            && next.is_none_or(|next| alarm < next)
        {
            self.now = self.now.max(alarm.0);
            self.events += 1;
            self.ring(watch);
            return true;
        }
        let Some(entry) = self.heap.pop() else { return false };
        self.now = self.now.max(entry.at);
        self.events += 1;
        self.happen(entry.due, watch);
        true
    }

    fn happen(&mut self, due: Due, watch: &mut dyn Observer) {
        match due {
            Due::List { to, stream, connection } => self.list(to, stream, connection),
            Due::Deliver { to, stream, connection, news } => {
                self.deliver((to, stream, connection), news, watch);
            }
            Due::Arrive { from, id, call, strike } => self.arrive((from, id), *call, strike, watch),
            Due::Reply { to, id, answer } => self.reply(to, id, answer, watch),
            Due::Replied { to, id, reply } => self.replied(to, id, reply, watch),
            Due::Restart => self.restart(watch),
            Due::Sync(key) => self.sync(key, watch),
            Due::Recount(key) => self.recount(&key, watch),
            Due::Collect(uid) => self.collect(&uid, watch),
            Due::Pod { key, uid, stage } => self.live(&key, &uid, stage, watch),
            Due::Apply { key, proxy, number } => self.apply(&key, proxy, number, watch),
            Due::Endpoints(service) => self.endpoints_due(&service, watch),
            Due::PutBack(key) => self.put_back_now(&key, watch),
        }
    }

    /// Lets everything happen that happens until then, and moves the clock there.
    pub fn run_until(&mut self, then: Time, watch: &mut dyn Observer) -> Rest {
        let rest = self.run_to_rest(then, watch);
        if rest != Rest::Livelock {
            self.now = self.now.max(then);
        }
        rest
    }

    /// Lets everything happen until nothing is under way, at most until the limit.
    pub fn run_to_rest(&mut self, limit: Time, watch: &mut dyn Observer) -> Rest {
        self.run_while(limit, watch, |_| true).unwrap_or(Rest::AtRest)
    }

    /// Lets things happen as long as the condition holds (it is asked before each event), until nothing is under way,
    /// or until the limit. Answers nothing when the condition ended the run.
    pub fn run_while(
        &mut self,
        limit: Time,
        watch: &mut dyn Observer,
        mut goes_on: impl FnMut(&World) -> bool,
    ) -> Option<Rest> {
        let (mut second, mut count) = (self.now.stamp(), 0);
        while goes_on(self) {
            match self.next_at() {
                None => return Some(Rest::AtRest),
                Some(at) if at > limit => {
                    self.now = self.now.max(limit);
                    return Some(Rest::TimedOut);
                }
                Some(_) => drop(self.step(watch)),
            }
            if self.now.stamp() != second {
                (second, count) = (self.now.stamp(), 0);
            }
            count += 1;
            if count > self.config.livelock {
                return Some(Rest::Livelock);
            }
        }
        None
    }

    /// Changes what users do, or what versions do to them; whoever counts is told.
    pub fn turn(&mut self, watch: &mut dyn Observer, change: impl FnOnce(&mut WorldConfig)) {
        change(self.config_mut());
        if self.config.traffic.is_some() {
            self.switch_data_plane_on();
        }
        self.wake_scalers();
        self.counted(&Happened::Turned);
        watch.saw(self, &Happened::Turned);
    }

    /// What the proxies serve by.
    pub fn data_plane(&self) -> &DataPlane {
        &self.plane
    }

    /// What load balancers have said of themselves.
    pub fn elb(&self) -> &Interface {
        &self.elb
    }

    pub(crate) fn link_applied(&mut self, key: &Key, number: u64) {
        self.chain.link(self.now, 9, number.wrapping_add(observe::text(&key.name)));
    }

    pub(crate) fn push(&mut self, after: Span, due: Due) {
        self.push_at(self.now.plus(after), due);
    }

    pub(crate) fn push_at(&mut self, at: Time, due: Due) {
        self.sequence += 1;
        self.heap.push(Entry { at: at.max(self.now), sequence: self.sequence, due });
    }

    /// Takes the outcome of a write: tells everyone who reacts to it, and the observer.
    pub(crate) fn settle(
        &mut self,
        by: Writer,
        call: Option<CallId>,
        key: &Key,
        outcome: Result<Change, ApiError>,
        watch: &mut dyn Observer,
    ) -> Result<Option<Arc<Object>>, ApiError> {
        let change = match outcome {
            Ok(change) => change,
            Err(error) => {
                watch.saw(self, &Happened::Refused { by, key, error: &error, call });
                return Err(error);
            }
        };
        if change.is_idle() {
            return Ok(change.after);
        }
        if let Some(object) = change.after.as_ref().or(change.gone.as_ref()) {
            let tag = 0x100 + by as u64 * 2 + u64::from(change.after.is_none());
            self.chain.link(self.now, tag, digest(object));
        }
        match (&change.after, &change.gone) {
            (Some(object), _) => self.show(&key.kind, News::Changed(object.clone())),
            (None, Some(object)) => self.show(&key.kind, News::Gone(object.clone())),
            (None, None) => {}
        }
        self.wake_actors(by, key, &change);
        self.wake_data_plane(by, key, &change);
        if !self.kept.is_empty() {
            self.wake_keeper(by, key);
        }
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        self.counted(&Happened::Stored { by, before, after, call });
        watch.saw(self, &Happened::Stored { by, before, after, call });
        Ok(change.after)
    }
}

#[cfg(test)]
pub(crate) mod tests;
