//! `status` of a Rollout: the controller's only memory.
//!
//! Every field is an option and what tidegate does not know is kept, so that reading and writing loses nothing.
//! Writers compare *meaning* (`false`, `0`, `""` and an empty list are the same as absent, as in the reference) and
//! send only what changed: [`RolloutStatus::patch`] as JSON, [`RolloutStatus::merge`] on typed values. Both are made
//! from the one list of fields below.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Text;
use crate::time::Stamp;

/// A field of a status: how it is read, written, and when it means nothing.
pub(super) trait Field: Sized + Clone + PartialEq {
    fn read(value: &Value) -> Option<Self>;
    fn write(&self) -> Value;
    /// Whether the value means the same as an absent field.
    fn is_nothing(&self) -> bool;

    /// The JSON merge patch that turns `old` into `new`; nothing when both mean the same.
    fn change(old: Option<&Self>, new: Option<&Self>) -> Option<Value> {
        let (old, new) = (old.filter(|v| !v.is_nothing()), new.filter(|v| !v.is_nothing()));
        (old != new).then(|| new.map_or(Value::Null, Field::write))
    }

    /// Does to `stored` what the patch from `old` to `new` does.
    fn merge_field(stored: &mut Option<Self>, old: Option<&Self>, new: Option<&Self>) {
        let (old, new) = (old.filter(|v| !v.is_nothing()), new.filter(|v| !v.is_nothing()));
        if old != new {
            *stored = new.cloned();
        }
    }
}

impl Field for bool {
    fn read(value: &Value) -> Option<bool> {
        value.as_bool()
    }
    fn write(&self) -> Value {
        Value::Bool(*self)
    }
    fn is_nothing(&self) -> bool {
        !self
    }
}

impl Field for i64 {
    fn read(value: &Value) -> Option<i64> {
        value.as_i64()
    }
    fn write(&self) -> Value {
        Value::from(*self)
    }
    fn is_nothing(&self) -> bool {
        *self == 0
    }
}

/// A number whose zero is a value (a pointer in the reference).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Counted(pub i64);

impl Field for Counted {
    fn read(value: &Value) -> Option<Counted> {
        value.as_i64().map(Counted)
    }
    fn write(&self) -> Value {
        Value::from(self.0)
    }
    fn is_nothing(&self) -> bool {
        false
    }
}

impl Field for Text {
    fn read(value: &Value) -> Option<Text> {
        value.as_str().map(Text::from)
    }
    fn write(&self) -> Value {
        Value::from(&**self)
    }
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl Field for Stamp {
    fn read(value: &Value) -> Option<Stamp> {
        Stamp::parse(value.as_str()?)
    }
    fn write(&self) -> Value {
        Value::from(self.to_string())
    }
    fn is_nothing(&self) -> bool {
        false
    }
}

impl Field for Arc<Value> {
    fn read(value: &Value) -> Option<Arc<Value>> {
        Some(Arc::new(value.clone()))
    }
    fn write(&self) -> Value {
        (**self).clone()
    }
    fn is_nothing(&self) -> bool {
        match &**self {
            Value::Null => true,
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => false,
        }
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(value: &Value) -> Option<Vec<T>> {
        value.as_array()?.iter().map(T::read).collect()
    }
    fn write(&self) -> Value {
        Value::Array(self.iter().map(T::write).collect())
    }
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

/// Declares a struct of optional fields once, and from that list its reading, writing, comparing and merging.
macro_rules! fields {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $json:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, PartialEq, Debug, Default)]
        pub struct $name {
            $($(#[$doc])* pub $field: Option<$type>,)*
            /// Fields that tidegate does not know, or could not read, verbatim.
            pub rest: Option<Arc<Map<String, Value>>>,
        }

        impl $name {
            /// Reads the object; what is not understood is kept aside.
            pub fn from_value(value: &Value) -> $name {
                let mut rest = value.as_object().cloned().unwrap_or_default();
                let mut this = $name::default();
                $(if let Some(read) = rest.get($json).and_then(<$type as Field>::read) {
                    // A value in another form than ours (a time with an offset) is kept in that form as well.
                    if rest.get($json) == Some(&read.write()) {
                        rest.remove($json);
                    }
                    this.$field = Some(read);
                })*
                this.rest = (!rest.is_empty()).then(|| Arc::new(rest));
                this
            }

            /// The object as JSON, everything that was read included.
            pub fn to_value(&self) -> Value {
                let mut map = self.rest.as_deref().cloned().unwrap_or_default();
                $({
                    let kept = map.get($json).and_then(<$type as Field>::read);
                    match &self.$field {
                        Some(value) if kept.as_ref() == Some(value) => {}
                        Some(value) => drop(map.insert($json.to_owned(), value.write())),
                        // It was read and then taken away.
                        None if kept.is_some() => drop(map.remove($json)),
                        None => {}
                    }
                })*
                Value::Object(map)
            }

            /// The JSON merge patch that turns `self` into `new`: changed fields only, null for what goes.
            pub fn patch(&self, new: &$name) -> Map<String, Value> {
                let mut patch = Map::new();
                $(if let Some(change) = Field::change(self.$field.as_ref(), new.$field.as_ref()) {
                    patch.insert($json.to_owned(), change);
                })*
                patch
            }

            /// What [`Self::patch`] from `old` to `new` does to `self`, on typed values.
            pub fn merge(&mut self, old: &$name, new: &$name) {
                $(Field::merge_field(&mut self.$field, old.$field.as_ref(), new.$field.as_ref());)*
            }

            /// Whether both mean the same.
            pub fn means(&self, other: &$name) -> bool {
                true $(&& Field::change(self.$field.as_ref(), other.$field.as_ref()).is_none())*
            }
        }
    };
}

macro_rules! nested {
    ($name:ident) => {
        impl Field for $name {
            fn read(value: &Value) -> Option<$name> {
                value.is_object().then(|| $name::from_value(value))
            }
            fn write(&self) -> Value {
                self.to_value()
            }
            // An object without fields is there all the same: `canary: {}` is what clients of the reference see.
            fn is_nothing(&self) -> bool {
                false
            }
            fn change(old: Option<&$name>, new: Option<&$name>) -> Option<Value> {
                match (old, new) {
                    (None, None) => None,
                    (Some(_), None) => Some(Value::Null),
                    (None, Some(new)) => Some(Value::Object($name::default().patch(new))),
                    (Some(old), Some(new)) => {
                        Some(old.patch(new)).filter(|p| !p.is_empty()).map(Value::Object)
                    }
                }
            }
            fn merge_field(stored: &mut Option<$name>, old: Option<&$name>, new: Option<&$name>) {
                match (old, new) {
                    (None, None) => {}
                    (Some(_), None) => *stored = None,
                    (None, Some(new)) => stored.get_or_insert_default().merge(&$name::default(), new),
                    (Some(old), Some(new)) if old.means(new) => {}
                    (Some(old), Some(new)) => stored.get_or_insert_default().merge(old, new),
                }
            }
        }
    };
}

fields! {
    /// Why and since when a rollout is paused.
    PauseCondition {
        /// `CanaryPauseStep`, `BlueGreenPause`, `InconclusiveAnalysisRun` or `InconclusiveExperiment`.
        reason: Text = "reason",
        /// When the pause began.
        start: Stamp = "startTime",
    }
}
nested!(PauseCondition);

fields! {
    /// One condition of a status.
    Condition {
        /// `Progressing`, `Available`, `Paused`, `Healthy`, `Completed`, `InvalidSpec` or `ReplicaFailure`.
        kind: Text = "type",
        /// `True`, `False` or `Unknown`.
        status: Text = "status",
        /// One word for programs.
        reason: Text = "reason",
        /// A sentence for people.
        message: Text = "message",
        /// When it was written last.
        updated: Stamp = "lastUpdateTime",
        /// When `status` changed last.
        changed: Stamp = "lastTransitionTime",
    }
}
nested!(Condition);

fields! {
    /// Name, phase and message of an analysis run that decides something.
    RunStatus {
        /// Name of the AnalysisRun.
        name: Text = "name",
        /// Its phase.
        status: Text = "status",
        /// Its message.
        message: Text = "message",
    }
}

/// A run that has just been made has an empty phase. The definition of the kind demands a phase all the same: where it
/// were left out, as other empty fields are, the API server would refuse the whole status.
impl Field for RunStatus {
    fn read(value: &Value) -> Option<RunStatus> {
        value.is_object().then(|| RunStatus::from_value(value))
    }
    fn write(&self) -> Value {
        self.to_value()
    }
    fn is_nothing(&self) -> bool {
        false
    }
    fn change(old: Option<&RunStatus>, new: Option<&RunStatus>) -> Option<Value> {
        match (old, new) {
            (None, None) => None,
            (Some(_), None) => Some(Value::Null),
            (old, Some(new)) => {
                let mut patch = old.unwrap_or(&RunStatus::default()).patch(new);
                if old.is_none() || patch.contains_key("status") {
                    patch.insert("status".to_owned(), Value::from(new.status.as_deref().unwrap_or("")));
                }
                Some(patch).filter(|patch| !patch.is_empty()).map(Value::Object)
            }
        }
    }
    fn merge_field(stored: &mut Option<RunStatus>, old: Option<&RunStatus>, new: Option<&RunStatus>) {
        match (old, new) {
            (None, None) => {}
            (Some(_), None) => *stored = None,
            (Some(old), Some(new)) if old.means(new) => {}
            (old, Some(new)) => {
                let stored = stored.get_or_insert_default();
                stored.merge(old.unwrap_or(&RunStatus::default()), new);
                stored.status.get_or_insert_default();
            }
        }
    }
}

fields! {
    /// Where a share of the traffic goes.
    WeightDestination {
        /// The share, in parts of the maximum weight.
        weight: Counted = "weight",
        /// The Service it goes to.
        service: Text = "serviceName",
        /// The hash of the ReplicaSet behind it.
        hash: Text = "podTemplateHash",
    }
}
nested!(WeightDestination);

fields! {
    /// The weights a router was told last.
    TrafficWeights {
        /// To the canary.
        canary: WeightDestination = "canary",
        /// To the stable set.
        stable: WeightDestination = "stable",
        /// To the arms of an experiment.
        additional: Vec<WeightDestination> = "additional",
        /// What the router said when asked whether they are in force.
        verified: Arc<Value> = "verified",
    }
}
nested!(TrafficWeights);

fields! {
    /// What only a canary remembers.
    CanaryStatus {
        /// Weights in force.
        weights: TrafficWeights = "weights",
        /// `ping` or `pong`: which of the two Services is stable.
        stable_ping_pong: Text = "stablePingPong",
        /// The run that the current analysis step waits for.
        step_run: RunStatus = "currentStepAnalysisRunStatus",
        /// The run that watches the whole update.
        background_run: RunStatus = "currentBackgroundAnalysisRunStatus",
        /// The experiment that the current step waits for.
        experiment: Text = "currentExperiment",
        /// What step plugins remember.
        plugins: Arc<Value> = "stepPluginStatuses",
    }
}
nested!(CanaryStatus);

fields! {
    /// What only blue-green remembers.
    BlueGreenStatus {
        /// Hash in the selector of the active Service.
        active: Text = "activeSelector",
        /// Hash in the selector of the preview Service.
        preview: Text = "previewSelector",
        /// Whether the preview passed its gate and may grow to full size.
        checkpoint: bool = "scaleUpPreviewCheckPoint",
        /// The run before the switch.
        pre_run: RunStatus = "prePromotionAnalysisRunStatus",
        /// The run after the switch.
        post_run: RunStatus = "postPromotionAnalysisRunStatus",
    }
}
nested!(BlueGreenStatus);

fields! {
    /// How long an update took, and how it ended.
    Duration {
        /// When the update began.
        started: Stamp = "rolloutStartedAt",
        /// Since when it waits for a person.
        manual_pause_started: Stamp = "manualPauseStartedAt",
        /// Whole seconds spent waiting for people.
        manual_pause_seconds: Counted = "totalManualPauseDurationSeconds",
        /// When it ended.
        finished: Stamp = "finishedAt",
        /// `Promoted`, `FastPromoted`, `Aborted`, `Superseded`, `RolledBack` or `FastRolledBack`.
        completion: Text = "completionStatus",
    }
}
nested!(Duration);

fields! {
    /// `status` of a Rollout.
    RolloutStatus {
        /// The update was aborted.
        abort: bool = "abort",
        /// When the abort was first seen.
        aborted_at: Stamp = "abortedAt",
        /// Why the update is paused.
        pauses: Vec<PauseCondition> = "pauseConditions",
        /// The controller has paused and the pause is not yet cleared away.
        controller_pause: bool = "controllerPause",
        /// Hash of the current template's ReplicaSet.
        current_hash: Text = "currentPodHash",
        /// Hash of the canary steps.
        step_hash: Text = "currentStepHash",
        /// Step under way, from 0; the count of steps when all are done.
        step_index: Counted = "currentStepIndex",
        /// Pods of all ReplicaSets.
        replicas: i64 = "replicas",
        /// Pods of the current template.
        updated: i64 = "updatedReplicas",
        /// Ready pods.
        ready: i64 = "readyReplicas",
        /// Available pods.
        available: i64 = "availableReplicas",
        /// Pods that an autoscaler should count.
        hpa: i64 = "HPAReplicas",
        /// Selector of the pods that an autoscaler should count.
        selector: Text = "selector",
        /// Hash collisions so far.
        collisions: Counted = "collisionCount",
        /// Generation this status was computed from, in decimal digits.
        observed_generation: Text = "observedGeneration",
        /// Conditions, the one changed last at the end.
        conditions: Vec<Condition> = "conditions",
        /// Hash of the stable ReplicaSet.
        stable: Text = "stableRS",
        /// The `restartAt` that was carried out last.
        restarted_at: Stamp = "restartedAt",
        /// A person asked to skip all that is left.
        promote_full: bool = "promoteFull",
        /// `Healthy`, `Progressing`, `Paused` or `Degraded`.
        phase: Text = "phase",
        /// Why it is in this phase.
        message: Text = "message",
        /// Generation of the referenced workload this status was computed from.
        workload_generation: Text = "workloadObservedGeneration",
        /// Canary only.
        canary: CanaryStatus = "canary",
        /// Blue-green only.
        blue_green: BlueGreenStatus = "blueGreen",
        /// What verification of one load balancer found.
        alb: Arc<Value> = "alb",
        /// What verification of several load balancers found.
        albs: Arc<Value> = "albs",
        /// How long the update took.
        duration: Duration = "duration",
    }
}

impl RolloutStatus {
    /// The step under way, if one is recorded.
    pub fn index(&self) -> Option<i64> {
        self.step_index.map(|n| n.0)
    }

    /// Whether the update was aborted.
    pub fn is_aborted(&self) -> bool {
        self.abort == Some(true)
    }

    /// The stable hash; empty when there is none.
    pub fn stable_hash(&self) -> &str {
        self.stable.as_deref().unwrap_or("")
    }

    /// The hash of the current template; empty when there is none.
    pub fn current(&self) -> &str {
        self.current_hash.as_deref().unwrap_or("")
    }

    /// Why the update is paused; empty when it is not.
    pub fn pause_conditions(&self) -> &[PauseCondition] {
        self.pauses.as_deref().unwrap_or_default()
    }

    /// Whether it is paused for this reason.
    pub fn is_paused_for(&self, reason: &str) -> bool {
        self.pause_conditions().iter().any(|p| p.reason.as_deref() == Some(reason))
    }

    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().flatten().find(|c| c.kind.as_deref() == Some(kind))
    }

    /// What only a canary remembers.
    pub fn canary(&self) -> CanaryStatus {
        self.canary.clone().unwrap_or_default()
    }

    /// Hash in the selector of the active Service; empty when unknown.
    pub fn active(&self) -> &str {
        self.blue_green.as_ref().and_then(|b| b.active.as_deref()).unwrap_or("")
    }

    /// Hash in the selector of the preview Service; empty when unknown.
    pub fn preview(&self) -> &str {
        self.blue_green.as_ref().and_then(|b| b.preview.as_deref()).unwrap_or("")
    }

    /// Whether the preview passed its gate.
    pub fn checkpoint(&self) -> bool {
        self.blue_green.as_ref().is_some_and(|b| b.checkpoint == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(old: Value, new: Value, expected: Value) {
        let (old, new) = (RolloutStatus::from_value(&old), RolloutStatus::from_value(&new));
        assert_eq!(Value::Object(old.patch(&new)), expected);
        let mut stored = old.clone();
        stored.merge(&old, &new);
        assert_eq!(stored.to_value()["canary"], new.to_value()["canary"]);
    }

    #[test]
    fn a_run_is_never_noted_without_a_phase() {
        let run = |name: &str, phase: &str| json!({"canary": {"currentStepAnalysisRunStatus": {"name": name, "status": phase}}});
        let step = |patch: Value| json!({"canary": {"currentStepAnalysisRunStatus": patch}});
        check(json!({"canary": {}}), run("a", ""), run("a", ""));
        check(run("a", ""), run("a", "Running"), step(json!({"status": "Running"})));
        check(run("a", "Successful"), run("b", ""), run("b", ""));
        check(run("a", ""), run("b", ""), step(json!({"name": "b"})));
        check(run("a", ""), json!({"canary": {}}), step(Value::Null));
        check(run("a", "Running"), run("a", "Running"), json!({}));
    }
}
