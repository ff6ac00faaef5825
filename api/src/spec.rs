//! `spec` of a Rollout: verbatim as the user wrote it, and as the brain sees it.
//!
//! The wire form mirrors the reference exactly. [`Spec`] is what decisions read: defaults applied, numbers in 64 bits,
//! steps an enum. It is made once per specification by [`crate::validate::check`], together with everything that is
//! wrong with it.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::analysis::RolloutAnalysis;
use crate::experiment::ExperimentStep;
use crate::object::{Selector, Strings, Template, Text, Verbatim};
use crate::problem::Problem;
use crate::time::Stamp;
use crate::traffic::{CanaryScale, PingPong, TrafficRouting};

/// A specification, verbatim; what it means is worked out once, on demand.
#[derive(Debug)]
pub struct SpecDocument {
    raw: Verbatim,
    is_packed: bool,
    checked: OnceLock<Checked>,
}

/// What a specification means, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The meaning; a best effort where there are problems.
    pub spec: Spec,
    /// Everything that is wrong, in the order in which the reference would find it. Empty when valid.
    /// Rules about a pod template that comes from a referenced workload are not among them.
    pub problems: Vec<Problem>,
}

impl PartialEq for SpecDocument {
    fn eq(&self, other: &SpecDocument) -> bool {
        self.raw == other.raw
    }
}

impl SpecDocument {
    /// A document that nobody has looked at yet.
    pub fn new(raw: Value) -> SpecDocument {
        SpecDocument { raw: Verbatim::new(raw), is_packed: false, checked: OnceLock::new() }
    }

    /// The same of its text, which is kept as such.
    pub fn packed(text: impl Into<Arc<str>>) -> SpecDocument {
        SpecDocument { raw: Verbatim::from_text(text), is_packed: true, checked: OnceLock::new() }
    }

    /// As the user wrote it.
    pub fn raw(&self) -> Cow<'_, Value> {
        self.raw.value()
    }

    /// Whether it is null, or absent.
    pub fn is_null(&self) -> bool {
        self.raw.is_null()
    }

    /// What it means and what is wrong with it.
    pub fn checked(&self) -> &Checked {
        self.checked.get_or_init(|| {
            let mut checked = crate::validate::check(&self.raw());
            if self.is_packed
                && let Some(template) = &mut checked.spec.template
            {
                template.spec = template.spec.packed();
            }
            checked
        })
    }

    /// What it means.
    pub fn spec(&self) -> &Spec {
        &self.checked().spec
    }
}

/// What a user wants of a Rollout.
#[derive(Clone, PartialEq, Debug)]
pub struct Spec {
    /// `replicas`; absent when the user left it out (the controller writes 1 then).
    pub replicas: Option<i64>,
    /// `selector`; absent when it comes from the referenced workload.
    pub selector: Option<Arc<Selector>>,
    /// `template`; absent when it comes from the referenced workload.
    pub template: Option<Template>,
    /// `workloadRef`.
    pub workload_ref: Option<WorkloadRef>,
    /// `minReadySeconds`, 0 when absent.
    pub min_ready_seconds: i64,
    /// `rollbackWindow.revisions`, 0 (off) when absent.
    pub rollback_window: i64,
    /// `revisionHistoryLimit`, 10 when absent.
    pub revision_history_limit: i64,
    /// `paused`.
    pub paused: bool,
    /// `progressDeadlineSeconds`, 600 when absent.
    pub progress_deadline_seconds: i64,
    /// `progressDeadlineAbort`.
    pub progress_deadline_abort: bool,
    /// `restartAt`.
    pub restart_at: Option<Stamp>,
    /// `analysis.successfulRunHistoryLimit`, 5 when absent.
    pub successful_run_history_limit: i64,
    /// `analysis.unsuccessfulRunHistoryLimit`, 5 when absent.
    pub unsuccessful_run_history_limit: i64,
    /// `strategy`.
    pub strategy: Strategy,
}

/// Where the pod template comes from when it is not in the Rollout.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkloadRef {
    /// `apiVersion`.
    pub api_version: Text,
    /// `kind`.
    pub kind: Text,
    /// `name`.
    pub name: Text,
    /// `scaleDown`.
    pub scale_down: WorkloadScaleDown,
}

/// When the referenced workload is scaled down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkloadScaleDown {
    /// `never`, or anything unknown.
    Never,
    /// `onsuccess`
    OnSuccess,
    /// `progressively`
    Progressively,
}

/// How a new version replaces the old one.
#[derive(Clone, PartialEq, Debug)]
pub enum Strategy {
    /// Step by step.
    Canary(Box<Canary>),
    /// All at once, after a preview.
    BlueGreen(Box<BlueGreen>),
    /// None or both were given; a problem says so.
    Unclear,
}

/// `strategy.canary`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Canary {
    /// `canaryService`, empty when absent.
    pub canary_service: Text,
    /// `stableService`, empty when absent.
    pub stable_service: Text,
    /// `steps`.
    pub steps: Vec<Step>,
    /// Hash of the steps, as `status.currentStepHash` carries it.
    pub steps_hash: Text,
    /// `maxSurge`.
    pub max_surge: IntOrPercent,
    /// `maxUnavailable`.
    pub max_unavailable: IntOrPercent,
    /// `antiAffinity`.
    pub anti_affinity: Option<AntiAffinity>,
    /// `canaryMetadata`.
    pub canary_metadata: Option<RoleMetadata>,
    /// `stableMetadata`.
    pub stable_metadata: Option<RoleMetadata>,
    /// `scaleDownDelaySeconds`.
    pub scale_down_delay_seconds: Option<i64>,
    /// `scaleDownDelayRevisionLimit`.
    pub scale_down_delay_revision_limit: Option<i64>,
    /// `abortScaleDownDelaySeconds`.
    pub abort_scale_down_delay_seconds: Option<i64>,
    /// `dynamicStableScale`.
    pub dynamic_stable_scale: bool,
    /// `minPodsPerReplicaSet`.
    pub min_pods_per_replica_set: Option<i64>,
    /// `replicaProgressThreshold`.
    pub threshold: Option<Threshold>,
    /// `trafficRouting`.
    pub traffic_routing: Option<TrafficRouting>,
    /// `analysis`: what is asked while the update goes on.
    pub analysis: Option<Arc<RolloutAnalysis>>,
    /// `pingPong`.
    pub ping_pong: Option<PingPong>,
}

/// `strategy.blueGreen`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BlueGreen {
    /// `activeService`.
    pub active_service: Text,
    /// `previewService`, empty when absent.
    pub preview_service: Text,
    /// `previewReplicaCount`.
    pub preview_replica_count: Option<i64>,
    /// `autoPromotionEnabled`, true when absent.
    pub auto_promotion: bool,
    /// `autoPromotionSeconds`, 0 when absent.
    pub auto_promotion_seconds: i64,
    /// `maxUnavailable`.
    pub max_unavailable: IntOrPercent,
    /// `scaleDownDelaySeconds`.
    pub scale_down_delay_seconds: Option<i64>,
    /// `scaleDownDelayRevisionLimit`.
    pub scale_down_delay_revision_limit: Option<i64>,
    /// `abortScaleDownDelaySeconds`.
    pub abort_scale_down_delay_seconds: Option<i64>,
    /// `antiAffinity`.
    pub anti_affinity: Option<AntiAffinity>,
    /// `previewMetadata`.
    pub preview_metadata: Option<RoleMetadata>,
    /// `activeMetadata`.
    pub active_metadata: Option<RoleMetadata>,
    /// `prePromotionAnalysis`: what is asked before the switch.
    pub pre_promotion_analysis: Option<Arc<RolloutAnalysis>>,
    /// `postPromotionAnalysis`: what is asked after the switch.
    pub post_promotion_analysis: Option<Arc<RolloutAnalysis>>,
}

/// One step of a canary.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// What it does. Of a step that has several keys it is the first in the order in which the reference judges
    /// completion: pause, setCanaryScale, setWeight, experiment, analysis, setHeaderRoute, setMirrorRoute, plugin.
    pub kind: StepKind,
    /// `setWeight`, also where it stands beside another key.
    pub weight: Option<i64>,
    /// As the user wrote it.
    pub raw: Arc<Value>,
}

/// What a step does. Arguments of steps that are not typed yet stand in [`Step::raw`].
#[derive(Clone, PartialEq, Debug)]
pub enum StepKind {
    /// Wait.
    Pause(Pause),
    /// Give the canary a size of its own.
    SetCanaryScale(CanaryScale),
    /// Send so many parts of the traffic to the canary.
    SetWeight(i64),
    /// Run an experiment.
    Experiment(Arc<ExperimentStep>),
    /// Run an analysis.
    Analysis(Arc<RolloutAnalysis>),
    /// Route by header.
    SetHeaderRoute,
    /// Mirror requests.
    SetMirrorRoute,
    /// Run a plugin.
    Plugin,
    /// No key that is known; a problem says so.
    Empty,
}

/// How long a pause step waits.
#[derive(Clone, PartialEq, Debug)]
pub enum Pause {
    /// Until somebody resumes.
    Forever,
    /// So many whole seconds, with the user's own text for messages.
    Seconds(i64, Text),
}

/// A number, or a share of the wished replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IntOrPercent {
    /// A number.
    Int(i64),
    /// So many hundredths.
    Percent(i64),
    /// A text that is no number; a problem says so.
    Broken(Text),
}

impl Default for IntOrPercent {
    /// The reference's default, a quarter.
    fn default() -> IntOrPercent {
        IntOrPercent::Percent(25)
    }
}

/// `replicaProgressThreshold`: how much of a ReplicaSet must be available to count as all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threshold {
    /// Of the desired pods, in hundredths.
    Percent(i64),
    /// So many pods.
    Pods(i64),
}

/// `antiAffinity`: keep pods of the new version off the nodes of the stable one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AntiAffinity {
    /// With this weight, 1 to 100.
    Preferred(i64),
    /// Always.
    Required,
}

/// Labels and annotations that pods carry as long as they play a role.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RoleMetadata {
    /// Labels.
    pub labels: Strings,
    /// Annotations.
    pub annotations: Strings,
}

impl Spec {
    /// Wished pods: `replicas`, 1 when absent.
    pub fn wished(&self) -> i64 {
        self.replicas.unwrap_or(1)
    }

    /// The canary strategy, if it is one.
    pub fn canary(&self) -> Option<&Canary> {
        if let Strategy::Canary(canary) = &self.strategy { Some(canary) } else { None }
    }

    /// The blue-green strategy, if it is one.
    pub fn blue_green(&self) -> Option<&BlueGreen> {
        if let Strategy::BlueGreen(blue_green) = &self.strategy { Some(blue_green) } else { None }
    }
}
