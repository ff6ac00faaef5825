//! Whether what a script waits for holds now.

use serde_json::Value;

use super::names::{at, string};
use super::play::Play;
use super::states::conditions;
use super::story::{Looked, Wait};

impl Play {
    /// Whether everything the wait names holds at once.
    pub fn holds(&self, wait: &Wait) -> bool {
        wait.rollout.as_ref().is_none_or(|name| self.rollout_holds(name, wait))
            && wait.analysis_run.as_ref().is_none_or(|part| self.phase_holds("AnalysisRun", part, wait))
            && wait.experiment.as_ref().is_none_or(|part| self.phase_holds("Experiment", part, wait))
            && wait.replicas.iter().all(|(revision, count)| self.desired(revision) == Some(*count))
            && wait
                .event
                .as_ref()
                .is_none_or(|reason| self.all("Event").any(|(_, e)| string(e, "/reason") == reason))
            && wait.object.as_ref().is_none_or(|looked| self.object_holds(looked))
    }

    fn rollout_holds(&self, name: &str, wait: &Wait) -> bool {
        let Some(rollout) = self.current("Rollout", name) else { return false };
        let field = |field: &str| at(rollout, &format!("/status/{field}"));
        self.observed(rollout)
            && wait.phase.as_ref().is_none_or(|phase| string(rollout, "/status/phase") == phase)
            && wait.step.is_none_or(|step| field("currentStepIndex").and_then(Value::as_i64) == Some(step))
            && wait
                .message
                .as_ref()
                .is_none_or(|part| string(rollout, "/status/message").contains(part.as_str()))
            && wait.condition.as_ref().is_none_or(|wish| {
                conditions(rollout).iter().any(|(kind, value)| format!("{kind}={value}") == *wish)
            })
            && wait
                .counts
                .iter()
                .all(|(count, wish)| field(count).map_or(Some(0), Value::as_i64) == Some(*wish))
    }

    /// Whether the status speaks of the present spec, and of the present template of a referenced workload.
    fn observed(&self, rollout: &Value) -> bool {
        let workload = at(rollout, "/spec/workloadRef")
            .and_then(|reference| self.current(string(reference, "/kind"), string(reference, "/name")));
        workload
            .is_none_or(|workload| is_seen(workload, string(rollout, "/status/workloadObservedGeneration")))
            && is_seen(rollout, string(rollout, "/status/observedGeneration"))
    }

    fn phase_holds(&self, kind: &str, part: &str, wait: &Wait) -> bool {
        let wish = wait.phase.as_deref().unwrap_or_default();
        self.all(kind).any(|(name, object)| {
            self.names().text(name).contains(part) && string(object, "/status/phase") == wish
        })
    }

    fn desired(&self, revision: &str) -> Option<i64> {
        self.current("ReplicaSet", self.replica_set(revision)?)?.pointer("/spec/replicas")?.as_i64()
    }

    fn object_holds(&self, looked: &Looked) -> bool {
        let Some(object) = self.current(&looked.kind, &looked.name) else { return false };
        looked.path.as_ref().is_none_or(|path| {
            let found = path.split('.').try_fold(object, |value, key| value.as_object()?.get(key));
            *found.unwrap_or(&Value::Null) == looked.value
        })
    }
}

fn is_seen(object: &Value, observed: &str) -> bool {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    generation.is_some() && generation == observed.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reference::{Place, Sighting, Step, Story};

    fn wait(wait: Value) -> Wait {
        let story = json!({"name": "n", "objects": [], "script": [{"wait": wait}]});
        let Step::Wait(wait) = Story::from_value(&story).unwrap().script.remove(0) else { panic!() };
        *wait
    }

    fn play() -> Play {
        let mut play = Play::new(Place::of_story("story"));
        for (kind, object) in [
            (
                "Rollout",
                json!({"metadata": {"name": "demo", "generation": 2}, "spec": {},
                "status": {"observedGeneration": "2", "phase": "Paused", "currentStepIndex": 1, "message": "CanaryPauseStep",
                    "updatedReplicas": 3, "conditions": [{"type": "Paused", "status": "True", "reason": "RolloutPaused"}]}}),
            ),
            (
                "Rollout",
                json!({"metadata": {"name": "late", "generation": 3}, "status": {"observedGeneration": "2", "phase": "Healthy"}}),
            ),
            ("Deployment", json!({"metadata": {"name": "work", "generation": 5}, "spec": {"replicas": 0}})),
            (
                "Rollout",
                json!({"metadata": {"name": "ref", "generation": 1},
                "spec": {"workloadRef": {"kind": "Deployment", "name": "work"}},
                "status": {"observedGeneration": "1", "workloadObservedGeneration": "4"}}),
            ),
            (
                "ReplicaSet",
                json!({"metadata": {"name": "demo-aaa", "uid": "s", "labels": {"rollouts-pod-template-hash": "aaa"},
                "annotations": {"rollout.argoproj.io/revision": "1"}, "ownerReferences": [{"kind": "Rollout", "name": "demo"}]},
                "spec": {"replicas": 4}}),
            ),
            ("AnalysisRun", json!({"metadata": {"name": "demo-aaa-2"}, "status": {"phase": "Failed"}})),
            ("Event", json!({"reason": "RolloutPaused"})),
        ] {
            play.saw(Sighting { at_ms: 0, kind: kind.to_owned(), deleted: false, object });
        }
        play
    }

    #[test]
    fn what_holds_holds_at_once() {
        let play = play();
        for (wish, holds) in [
            (json!({"rollout": "demo"}), true),
            (
                json!({"rollout": "demo", "phase": "Paused", "step": 1, "message": "Pause", "updatedReplicas": 3, "availableReplicas": 0}),
                true,
            ),
            (json!({"rollout": "demo", "phase": "Healthy"}), false),
            (json!({"rollout": "demo", "step": 2}), false),
            (json!({"rollout": "demo", "message": "Healthy"}), false),
            (json!({"rollout": "demo", "updatedReplicas": 0}), false),
            (json!({"rollout": "demo", "pods": 1}), false),
            (json!({"rollout": "demo", "condition": "Paused=True(RolloutPaused)"}), true),
            (json!({"rollout": "demo", "condition": "Paused=False(RolloutPaused)"}), false),
            (json!({"rollout": "nobody"}), false),
            (json!({"replicas": {"rev1": 4}}), true),
            (json!({"replicas": {"rev1": 4, "rev2": 0}}), false),
            (json!({"analysisrun": "rev1-2", "phase": "Failed"}), true),
            (json!({"analysisrun": "rev1-2", "phase": "Running"}), false),
            (json!({"event": "RolloutPaused"}), true),
            (json!({"event": "RolloutAborted"}), false),
            (
                json!({"object": {"kind": "Deployment", "name": "work", "path": "spec.replicas", "value": 0}}),
                true,
            ),
            (
                json!({"object": {"kind": "Deployment", "name": "work", "path": "spec.replicas", "value": 1}}),
                false,
            ),
            (json!({"object": {"kind": "Deployment", "name": "work", "path": "spec.paused"}}), true),
            (json!({"object": {"kind": "Deployment", "name": "play"}}), false),
        ] {
            assert_eq!(play.holds(&wait(wish.clone())), holds, "{wish}");
        }
    }

    #[test]
    fn a_status_that_has_not_observed_the_spec_or_workload_is_of_the_past() {
        let mut play = play();
        assert!(!play.holds(&wait(json!({"rollout": "late", "phase": "Healthy"}))));
        assert!(!play.holds(&wait(json!({"rollout": "ref"}))));
        let object = json!({"metadata": {"name": "work", "generation": 4}});
        play.saw(Sighting { at_ms: 1, kind: "Deployment".to_owned(), deleted: false, object });
        assert!(play.holds(&wait(json!({"rollout": "ref"}))));
    }
}
