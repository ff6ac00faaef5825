//! Scenarios: a story about a release, written in YAML, that a simulated cluster plays.
//!
//! A scenario says what is there (`given`), how the invented cluster behaves (`world`), what people do and when
//! (`when`), and what must come of it (`then`). [`Script::read`] turns the text into a [`Script`], pointing at the
//! line of whatever it does not understand; [`crate::play::play`] plays it.

mod condition;
mod cursor;
mod fault;
pub mod keys;
mod metrics;
mod read;
mod read_condition;
mod read_verb;
mod read_world;
#[cfg(test)]
mod tests;
pub(crate) mod users;
pub(crate) mod verbs;
mod write;

pub use fault::{Fault, Mishap};
pub use read::{Files, Load, object_of, yaml_error};
pub use users::{Amount, UsersSaw};

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_api::object::{Kind, Object};
use tidegate_api::time::{Span, Time};

use crate::metrics::series::Series;
use crate::world::{Millis, PodModels, Quality, RouterModel, TrafficModel};

/// What a scenario says.
#[derive(Clone, PartialEq, Debug)]
pub struct Script {
    /// The file's name.
    pub name: String,
    /// The idea in one sentence.
    pub about: String,
    /// What is in the cluster at the beginning.
    pub given: Vec<Object>,
    /// Whether the first deployment has come to rest before the story begins.
    pub settled: bool,
    /// Where all chance comes from.
    pub seed: u64,
    /// How pods behave.
    pub pods: PodModels,
    /// How long a change takes until a watch shows it.
    pub watch_lag: Millis,
    /// How routers and proxies behave.
    pub routers: RouterModel,
    /// The users, if they are to be counted.
    pub traffic: Option<TrafficModel>,
    /// What versions do to their users, by the end of an image.
    pub quality: Vec<(String, Quality)>,
    /// What metric providers answer.
    pub metrics: Vec<Series>,
    /// How often a metric system looks at pods.
    pub scrape: Span,
    /// What people do.
    pub when: Vec<Entry>,
    /// What must come of it.
    pub then: Then,
    /// Endless pauses are promoted after so long. For plain manifests, which have no script.
    pub promote_after: Option<Span>,
}

/// Something a person does at some moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// When.
    pub moment: Moment,
    /// How much later.
    pub after: Span,
    /// What.
    pub verb: Verb,
    /// The line it stands on.
    pub line: usize,
}

/// When something is done.
#[derive(Clone, PartialEq, Debug)]
pub enum Moment {
    /// So long after the beginning.
    At(Span),
    /// At the first moment at which all of it holds.
    Once(Box<Condition>),
    /// Right after the entry before.
    Next,
}

/// What is waited for, or what may never be. All of what is given must hold.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Condition {
    /// The Rollout it is about, if it is about one.
    pub rollout: Option<String>,
    /// The AnalysisRun it is about, if it is about one: its name, or its name without the hash in it.
    pub analysis_run: Option<String>,
    /// The Experiment that the phase and message are about.
    pub experiment: Option<String>,
    /// `status.phase`.
    pub phase: Option<String>,
    /// `status.currentStepIndex`.
    pub step: Option<i64>,
    /// The share of users that the new version has, in percent.
    pub weight: Option<Bound>,
    /// A part of `status.message`.
    pub message: Option<String>,
    /// One of `status.conditions`.
    pub condition: Option<StatusCondition>,
    /// Pods of a revision that exist.
    pub replicas: BTreeMap<i64, Bound>,
    /// Ready pods of all revisions.
    pub healthy_pods: Option<Bound>,
    /// A field of an object, or how many objects of a kind there are.
    pub object: Option<ObjectCondition>,
    /// Kubernetes events that were recorded since the entry before.
    pub event: Option<EventCondition>,
    /// The time that has passed since the entry before.
    pub time_since: Option<Span>,
}

/// What one of `status.conditions` says. What is absent may be anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatusCondition {
    /// `type`.
    pub kind: String,
    /// `status`.
    pub status: Option<String>,
    /// `reason`.
    pub reason: Option<String>,
    /// A part of `message`.
    pub message: Option<String>,
}

/// A field of an object, or how many objects of a kind there are.
#[derive(Clone, PartialEq, Debug)]
pub struct ObjectCondition {
    /// Which one; without a name or revision all of the kind.
    pub target: Target,
    /// `spec.replicas`, or `/metadata/annotations/a~1b` where names have dots.
    pub path: Option<String>,
    /// What stands there: a bound when both are numbers, null for nothing. Anything when absent.
    pub value: Option<Value>,
    /// How many objects there are.
    pub count: Option<Bound>,
}

/// Kubernetes events that were recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventCondition {
    /// Their reason.
    pub reason: String,
    /// A part of their message.
    pub message: Option<String>,
    /// How many; at least one when absent.
    pub count: Option<Bound>,
}

/// An object by its name, or a ReplicaSet by its revision, for its name contains a hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Option<String>,
    /// The Rollout that owns it.
    pub rollout: Option<String>,
    /// Its revision.
    pub revision: Option<i64>,
}

/// Where "since the entry before" begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Since {
    /// When that was.
    pub at: Time,
    /// How many Kubernetes events had been recorded then.
    pub recorded: usize,
}

/// A bound of a number: `> 20`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// How the number is compared.
    pub how: Compare,
    /// What it is compared with.
    pub with: i64,
}

/// How numbers are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `==`, or the number alone
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    More,
}

/// What a person does.
#[derive(Clone, PartialEq, Debug)]
pub enum Verb {
    /// Gives a container another image.
    SetImage {
        /// The Rollout.
        rollout: String,
        /// The container; the only one when absent.
        container: Option<String>,
        /// The image.
        image: String,
    },
    /// A verb of the command line that needs nothing but a Rollout.
    Simple(Simple, String),
    /// Goes back to a revision; the one before when 0.
    Undo {
        /// The Rollout.
        rollout: String,
        /// The revision.
        to_revision: i64,
    },
    /// Sets the wished pods.
    Scale {
        /// The Rollout.
        rollout: String,
        /// How many.
        replicas: i64,
    },
    /// Makes or replaces objects.
    Apply(Vec<Object>),
    /// Makes objects.
    Create(Vec<Object>),
    /// Deletes an object.
    Delete(Target),
    /// Changes an object.
    Patch {
        /// Which one.
        target: Target,
        /// What changes.
        patch: Patch,
        /// Whether the status subresource is meant.
        status: bool,
    },
    /// Takes the readiness of pods in hand.
    Ready {
        /// The Rollout.
        rollout: String,
        /// Whose pods.
        side: Side,
        /// How many; all when absent.
        count: Option<i64>,
        /// Ready or not.
        ready: bool,
    },
    /// Gives an autoscaler this much work to measure.
    Load {
        /// The HorizontalPodAutoscaler.
        autoscaler: String,
        /// The work there is.
        total: i64,
        /// What one pod carries.
        per_pod: i64,
    },
    /// From now on a provider answers with these values.
    Metric(Series),
    /// Tells an AnalysisRun or an Experiment to end.
    Terminate(Evidence),
    /// From now on so many requests a second.
    Traffic(i64),
    /// From now on versions do this to their users, by the end of their image.
    Quality(Vec<(String, Quality)>),
    /// The API server serves a kind from now on, or no longer.
    Serve(String, bool),
    /// Something goes wrong between the controller and the API server, or behind it.
    Fault(Fault),
    /// The controller dies and is started again at once.
    RestartController,
    /// The controller ends, and another one starts so much later.
    UpgradeController(Span),
    /// Says something in the trace.
    Note(String),
}

/// What gathers evidence, by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// An AnalysisRun.
    Run(String),
    /// An Experiment.
    Experiment(String),
}

impl Evidence {
    /// Its name.
    pub fn name(&self) -> &str {
        let (Evidence::Run(name) | Evidence::Experiment(name)) = self;
        name
    }
}

/// A verb of the command line that needs nothing but a Rollout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Simple {
    /// On to the next step, or out of a pause.
    Promote,
    /// To the end at once.
    PromoteFull,
    /// Back to the stable version.
    Abort,
    /// Once more after an abort.
    Retry,
    /// All pods anew.
    Restart,
    /// Holds the update where it is.
    Pause,
    /// Lets it go on.
    Resume,
}

/// How an object is changed.
#[derive(Clone, PartialEq, Debug)]
pub enum Patch {
    /// RFC 7396.
    Merge(Value),
    /// RFC 6902.
    Operations(Value),
}

/// Whose pods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Those of the stable version.
    Stable,
    /// Those of the new version.
    New,
    /// Those of this revision.
    Revision(i64),
}

/// What must come of a story.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Then {
    /// The line it stands on; 0 when there is none.
    pub line: usize,
    /// The phase each Rollout ends in; an empty name stands for all of them.
    pub ends: BTreeMap<String, String>,
    /// How long it may take.
    pub within: Option<Span>,
    /// What users must have felt.
    pub users_saw: Option<UsersSaw>,
    /// What may never hold.
    pub never: Vec<Condition>,
    /// What must hold at the end.
    pub holds: Vec<Condition>,
}

impl Simple {
    /// Its name, as in a scenario.
    pub fn name(self) -> &'static str {
        match self {
            Simple::Promote => "promote",
            Simple::PromoteFull => "promote_full",
            Simple::Abort => "abort",
            Simple::Retry => "retry",
            Simple::Restart => "restart",
            Simple::Pause => "pause",
            Simple::Resume => "resume",
        }
    }
}
