//! A story: objects and a script, as the recordings of the incumbent were made with.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;
use tidegate_api::time::Span;

use crate::world::{PodModel, PodModels};

/// Created after everything else, once the controller knows what they refer to.
const MAIN_KINDS: &[&str] = &["Rollout", "AnalysisRun", "Experiment"];
/// How long the controller's caches get to know what was created first.
pub const HEAD_START: Span = Span::millis(700);
/// The longest wait for calm before a step that writes.
pub const PATIENCE: Span = Span::seconds(2);

/// What the recorder's kubelet needs to make a pod ready, in milliseconds: at once, but later than it is counted.
const POD_START: (i64, i64) = (10, 12);

/// The pods of a story.
pub fn pods() -> PodModels {
    PodModels { default: PodModel { startup: POD_START, ..PodModel::default() }, ..PodModels::default() }
}

/// One story, ready to be played.
#[derive(Clone, PartialEq, Debug)]
pub struct Story {
    /// Its name, that of its file too.
    pub name: String,
    /// What it is about, in one sentence.
    pub about: String,
    /// Its chapter: canary, rolling, bluegreen, traffic, analysis, experiment, operations, badspec.
    pub area: String,
    /// Manifests without a namespace. Rollouts, AnalysisRuns and Experiments are to be created last.
    pub objects: Vec<Value>,
    /// Scripted metrics by name; of each series the last value repeats.
    pub web: BTreeMap<String, Vec<Value>>,
    /// Played in order; the first step that fails ends the script.
    pub script: Vec<Step>,
    /// The play ends after so long without change …
    pub settle: Span,
    /// … and after so long in any case.
    pub settle_limit: Span,
    /// Before a step that writes, nothing may have changed for so long (waited for at most two seconds).
    pub calm: Span,
}

/// One step of a script.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Waits until all of it holds.
    Wait(Box<Wait>),
    /// Gives containers new images, by container name.
    SetImage {
        /// `Rollout` or `Deployment`.
        kind: &'static str,
        /// The workload's name.
        name: String,
        /// Container name -> image.
        images: BTreeMap<String, String>,
    },
    /// Aborts a rollout's update.
    Abort(String),
    /// Promotes a rollout by one pause or step.
    Promote(String),
    /// Promotes a rollout past everything that is left.
    PromoteFull(String),
    /// Retries an aborted rollout.
    Retry(String),
    /// Runs an experiment again, found by a part of its normalised name.
    RetryExperiment(String),
    /// Sets a rollout's `spec.paused`.
    Pause(String),
    /// Clears a rollout's `spec.paused`.
    Resume(String),
    /// Restarts a rollout's pods.
    Restart(String),
    /// Gives a rollout the template of an earlier revision, the one before when none is named.
    Undo {
        /// The rollout's name.
        rollout: String,
        /// The revision wished.
        to: Option<i64>,
    },
    /// Terminates an analysis run or an experiment, found by a part of its normalised name.
    Terminate {
        /// `AnalysisRun` or `Experiment`.
        kind: &'static str,
        /// A part of the normalised name.
        part: String,
    },
    /// Scales a rollout through its scale subresource.
    Scale {
        /// The rollout's name.
        rollout: String,
        /// Wished replicas.
        replicas: i64,
    },
    /// Patches any object.
    Patch {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// What changes.
        change: Change,
        /// The subresource the patch goes to, if any.
        subresource: Option<String>,
    },
    /// Merges a manifest into the object of its name, or creates it.
    Apply(Value),
    /// Creates an object.
    Create(Value),
    /// Deletes an object.
    Delete {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
    },
    /// A user's hand on a ReplicaSet: scales it.
    ScaleSet {
        /// The ReplicaSet's revision by its lasting name, `rev1`.
        revision: String,
        /// Wished replicas.
        replicas: i64,
    },
    /// A user's hand on a ReplicaSet: deletes it.
    DeleteSet {
        /// The ReplicaSet's revision by its lasting name, `rev1`.
        revision: String,
    },
    /// Pods of a revision lose or regain readiness: the first so many by name, all without a count.
    Readiness {
        /// Whether they regain it.
        ready: bool,
        /// The revision by its lasting name, `rev1`.
        revision: String,
        /// How many.
        count: Option<usize>,
    },
    /// New series of metrics from here on.
    Web(BTreeMap<String, Vec<Value>>),
    /// Lets time pass.
    Sleep(Span),
}

/// The content of a patch.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A merge patch.
    Merge(Value),
    /// A JSON patch: its operations.
    Json(Value),
}

/// What a script waits for. Everything that is named must hold at once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Wait {
    /// The rollout looked at; its status must have observed its spec.
    pub rollout: Option<String>,
    /// The phase of the rollout, analysis run and experiment named here.
    pub phase: Option<String>,
    /// The rollout's current step.
    pub step: Option<i64>,
    /// A part of the rollout's message.
    pub message: Option<String>,
    /// A condition of the rollout as `Type=Status(Reason)`.
    pub condition: Option<String>,
    /// Counters of the rollout's status, `updatedReplicas` and the like.
    pub counts: BTreeMap<&'static str, i64>,
    /// A part of an analysis run's normalised name.
    pub analysis_run: Option<String>,
    /// A part of an experiment's normalised name.
    pub experiment: Option<String>,
    /// Desired replicas of ReplicaSets by the lasting name of their revision.
    pub replicas: BTreeMap<String, i64>,
    /// A field of any object.
    pub object: Option<Looked>,
    /// The reason of an event.
    pub event: Option<String>,
    /// How long at most.
    pub timeout: Span,
    /// As it stands in the story: a wait that times out is reported by it.
    pub source: Value,
}

/// A field of an object that a script waits for.
#[derive(Clone, PartialEq, Debug)]
pub struct Looked {
    /// The object's kind.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// The path of the field, with dots; without one the object need only exist.
    pub path: Option<String>,
    /// What must stand there; `null` means nothing may.
    pub value: Value,
}

/// Why a story cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{at}: {what}")]
pub struct StoryError {
    /// Where in the story, `script[2].wait.phase`.
    pub at: String,
    /// What is wrong there.
    pub what: String,
}

impl Story {
    /// The objects that are created first, and those that follow once the controller knows of these.
    pub fn in_order(&self) -> (Vec<&Value>, Vec<&Value>) {
        let is_main =
            |object: &&Value| object["kind"].as_str().is_some_and(|kind| MAIN_KINDS.contains(&kind));
        self.objects.iter().partition(|object| !is_main(object))
    }
}

impl Step {
    /// The verb as it stands in the story; the `script` track says `VERB ok`.
    pub fn verb(&self) -> &'static str {
        match self {
            Step::Wait(_) => "wait",
            Step::SetImage { .. } => "set_image",
            Step::Abort(_) => "abort",
            Step::Promote(_) => "promote",
            Step::PromoteFull(_) => "promote_full",
            Step::Retry(_) | Step::RetryExperiment(_) => "retry",
            Step::Pause(_) => "pause",
            Step::Resume(_) => "resume",
            Step::Restart(_) => "restart",
            Step::Undo { .. } => "undo",
            Step::Terminate { .. } => "terminate",
            Step::Scale { .. } => "scale",
            Step::Patch { .. } => "patch",
            Step::Apply(_) => "apply",
            Step::Create(_) => "create",
            Step::Delete { .. } => "delete",
            Step::ScaleSet { .. } => "scale_set",
            Step::DeleteSet { .. } => "delete_set",
            Step::Readiness { ready: false, .. } => "unready",
            Step::Readiness { ready: true, .. } => "ready",
            Step::Web(_) => "web",
            Step::Sleep(_) => "sleep",
        }
    }

    /// Whether it writes to the API server, so that the story's calm is waited for before.
    pub fn writes(&self) -> bool {
        !matches!(self, Step::Wait(_) | Step::Web(_) | Step::Sleep(_))
    }
}
