//! How the invented cluster behaves. Every number has a default that resembles a small healthy cluster.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tidegate_api::object::Kind;
use tidegate_api::time::{Span, Time};
use tidegate_controller::manager::Settings;
use tidegate_controller::providers::Surroundings;

use crate::metrics::MetricsModel;

/// A range of milliseconds, both ends included, to draw a delay from.
pub type Millis = (i64, i64);

/// Everything that is decided before the first event.
#[derive(Clone, PartialEq, Debug)]
pub struct WorldConfig {
    /// Where all chance comes from.
    pub seed: u64,
    /// What time it is at the beginning.
    pub start: Time,
    /// How the controller is set up.
    pub settings: Settings,
    /// How long a change takes until a watch shows it.
    pub watch_lag: Millis,
    /// The same for single kinds, where it differs.
    pub watch_lag_of: BTreeMap<Kind, Millis>,
    /// How long a call takes to the API server, and its answer back.
    pub call_latency: Millis,
    /// How long a built-in controller takes to react.
    pub reaction: Millis,
    /// How long the garbage collector takes.
    pub collection: Millis,
    /// How long an autoscaler takes to react.
    pub autoscaling: Millis,
    /// How pods behave.
    pub pods: PodModels,
    /// How routers and proxies behave.
    pub routers: RouterModel,
    /// The users; nobody looks at them when absent.
    pub traffic: Option<TrafficModel>,
    /// What versions do to their users, by the end of an image; the first entry that fits counts.
    pub quality: Vec<(String, Quality)>,
    /// What metric providers answer.
    pub metrics: MetricsModel,
    /// What goes wrong between the controller and the API server.
    pub interventions: Interventions,
    /// So many events within one simulated second are a livelock.
    pub livelock: u64,
}

impl Default for WorldConfig {
    fn default() -> WorldConfig {
        WorldConfig {
            seed: 0,
            start: Time(1_767_225_600_000),
            // Secrets with the credentials of providers are read in the namespace that the quick start makes.
            settings: Settings {
                surroundings: Arc::new(Surroundings {
                    namespace: "argo-rollouts".into(),
                    ..Surroundings::default()
                }),
                ..Settings::default()
            },
            watch_lag: (1, 20),
            watch_lag_of: BTreeMap::new(),
            call_latency: (1, 5),
            reaction: (5, 15),
            collection: (5, 50),
            autoscaling: (10, 100),
            pods: PodModels::default(),
            routers: RouterModel::default(),
            traffic: None,
            quality: Vec::new(),
            metrics: MetricsModel::default(),
            interventions: Interventions::default(),
            livelock: 200_000,
        }
    }
}

/// How routers and proxies behave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouterModel {
    /// From the moment at which an object is accepted until a proxy serves by it.
    pub propagation: Millis,
    /// The same for single routers, where it differs.
    pub propagation_of: BTreeMap<String, Millis>,
    /// How many proxies there are, each with an equal share of the users.
    pub proxies: usize,
    /// How long endpoints lag behind pods and Services.
    pub endpoints: Millis,
    /// Whether load balancers of AWS can be asked, and the controller asks them.
    pub elb: bool,
    /// Kinds that the API server does not serve, by name, and from when on it does.
    pub unserved: BTreeMap<String, Option<Time>>,
}

impl Default for RouterModel {
    fn default() -> RouterModel {
        RouterModel {
            propagation: (50, 400),
            propagation_of: BTreeMap::new(),
            proxies: 1,
            endpoints: (10, 100),
            elb: false,
            unserved: BTreeMap::new(),
        }
    }
}

/// The users of every Rollout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrafficModel {
    /// Requests a second, from so long after the beginning on.
    pub rps: Vec<(Span, i64)>,
    /// When the first of these begins: the beginning of the story.
    pub since: Time,
    /// How long a session lasts where a router keeps users where they are.
    pub sessions: Span,
    /// Requests of a thousand that carry what header routes ask for.
    pub matching: i64,
    /// The Service that users call where no router stands before it, by Rollout.
    pub services: BTreeMap<String, String>,
}

impl Default for TrafficModel {
    fn default() -> TrafficModel {
        TrafficModel {
            rps: vec![(Span::ZERO, 100)],
            since: Time::default(),
            sessions: Span::seconds(300),
            matching: 0,
            services: BTreeMap::new(),
        }
    }
}

/// What a version truly does to its users.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quality {
    /// Requests of a million that it answers with an error.
    pub errors: i64,
    /// How long an answer takes.
    pub latency: Option<Span>,
    /// Requests a second that one pod carries; those beyond are errors.
    pub capacity: Option<i64>,
}

/// How pods behave, by image.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PodModels {
    /// Pods that nothing else is said about.
    pub default: PodModel,
    /// Pods with a container whose image ends so; the first entry that fits counts.
    pub by_image: Vec<(String, PodModel)>,
}

impl PodModels {
    /// The model of a pod with these images.
    pub fn of<'a>(&self, images: impl IntoIterator<Item = &'a str>) -> &PodModel {
        if self.by_image.is_empty() {
            return &self.default;
        }
        let images: Vec<&str> = images.into_iter().collect();
        let fits = |(suffix, _): &&(String, PodModel)| images.iter().any(|i| i.ends_with(suffix.as_str()));
        self.by_image.iter().find(fits).map_or(&self.default, |(_, model)| model)
    }
}

/// The life of a pod. Annotations of the pod overrule it: `fakelet/ready-after`, `fakelet/fail`, `fakelet/exit`.
#[derive(Clone, PartialEq, Debug)]
pub struct PodModel {
    /// From its creation until it runs.
    pub startup: Millis,
    /// Whether it is ever ready.
    pub ready: bool,
    /// How long after it is ready it fails for good.
    pub crash_after: Option<Millis>,
    /// Loses readiness and gets it back.
    pub flaps: Option<Flaps>,
    /// It ends as soon as it runs, with this exit code.
    pub exit: Option<i64>,
    /// From its deletion until it is gone; at once when both ends are zero.
    pub termination: Millis,
}

/// How a pod loses its readiness and gets it back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flaps {
    /// How long it stays ready.
    pub up: Millis,
    /// How long it is not.
    pub down: Millis,
    /// How often it happens: a pod that flaps for ever never lets the world come to rest.
    pub times: u32,
}

impl Default for PodModel {
    fn default() -> PodModel {
        PodModel {
            startup: (2_000, 8_000),
            ready: true,
            crash_after: None,
            flaps: None,
            exit: None,
            termination: (0, 0),
        }
    }
}

impl PodModel {
    /// A pod that is ready as soon as it exists.
    pub fn instant() -> PodModel {
        PodModel { startup: (0, 0), ..PodModel::default() }
    }
}

/// What goes wrong on the way between the controller and the API server.
#[derive(Clone, PartialEq, Debug)]
pub struct Interventions {
    /// What happens to single writes that are yet to come, each once. Of two that fit, the first one counts, and the
    /// other one waits.
    pub on_next: Vec<NextWrite>,
    /// What happens to all others.
    pub rates: FaultRates,
    /// How long after a crash the controller is started again.
    pub restart_after: Span,
    /// Chance that no seed governs. Set only by the check of the check that there is none.
    pub leak: Option<Leak>,
}

impl Default for Interventions {
    fn default() -> Interventions {
        Interventions {
            on_next: Vec::new(),
            rates: FaultRates::default(),
            restart_after: Span::seconds(1),
            leak: None,
        }
    }
}

/// A source of chance that no seed governs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leak {
    /// The random order of the standard library's hash maps makes calls slower.
    HashOrder,
}

impl Leak {
    pub(super) fn delay(self) -> i64 {
        match self {
            // One number of many that differ from map to map.
            Leak::HashOrder => i64::from(RandomState::new().hash_one(0_u8).to_le_bytes()[0] % 8 / 7),
        }
    }
}

/// What happens to a write that is yet to come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextWrite {
    /// Of this kind of object; of any when absent.
    pub kind: Option<Kind>,
    /// Only writes of a status count.
    pub of_status: bool,
    /// So many are let through first.
    pub skip: u64,
    /// What happens to it.
    pub strike: Strike,
}

impl NextWrite {
    /// Something happens to a write, whatever it is of, after so many others.
    pub fn after(skip: u64, strike: Strike) -> NextWrite {
        NextWrite { kind: None, of_status: false, skip, strike }
    }

    /// Something happens to the write of a status after so many others.
    pub fn of_status_after(skip: u64, strike: Strike) -> NextWrite {
        NextWrite { of_status: true, ..NextWrite::after(skip, strike) }
    }
}

/// What happens to one write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strike {
    /// The API server refuses it, as if computed from an outdated version.
    Conflict,
    /// An API server that is too busy refuses it.
    TooMany,
    /// An API server that is not there refuses it.
    Unavailable,
    /// It is carried out, but the answer never comes.
    LostReply,
    /// It is neither carried out nor answered.
    LostRequest,
    /// The controller dies before it is carried out.
    CrashBefore,
    /// The controller dies after it was carried out, before it knows.
    CrashAfter,
    /// It takes so much longer to get there.
    Slow(Span),
}

/// How often things go wrong by chance: so many writes of a thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultRates {
    /// Refused as computed from an outdated version.
    pub conflict: u32,
    /// Without an answer; carried out or not.
    pub lost_reply: u32,
    /// The controller dies before.
    pub crash_before: u32,
    /// The controller dies after.
    pub crash_after: u32,
    /// Refused by a server that is too busy or not there.
    pub refuse: u32,
    /// No fault begins at this time or later.
    pub until: Time,
}

impl Default for FaultRates {
    fn default() -> FaultRates {
        FaultRates {
            conflict: 0,
            lost_reply: 0,
            crash_before: 0,
            crash_after: 0,
            refuse: 0,
            until: Time(i64::MAX),
        }
    }
}

impl FaultRates {
    /// Whether anything can go wrong by chance at this time.
    pub fn are_on(&self, now: Time) -> bool {
        now < self.until
            && self.conflict + self.lost_reply + self.crash_before + self.crash_after + self.refuse > 0
    }
}
