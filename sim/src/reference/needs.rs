//! What a story needs beyond pods and Services: those whose need is not built yet are skipped, not failed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::names::{items, string};
use super::story::{Change, Step, Story};

const EXPERIMENT: &str = "an experiment";
/// Everything a story may need, in the order in which it is told.
pub(super) const NEEDS: [&str; 1] = [EXPERIMENT];

/// Whether the story needs "an experiment".
pub fn needs(story: &Story) -> Vec<&'static str> {
    let mut found = BTreeSet::new();
    for object in &story.objects {
        of_object(string(object, "/kind"), object, &mut found);
    }
    for step in &story.script {
        of_step(step, &mut found);
    }
    NEEDS.into_iter().filter(|need| found.contains(need)).collect()
}

fn of_step(step: &Step, found: &mut BTreeSet<&'static str>) {
    match step {
        Step::Apply(object) | Step::Create(object) => of_object(string(object, "/kind"), object, found),
        Step::Patch { kind, change: Change::Merge(patch), .. } => of_object(kind, patch, found),
        Step::Patch { kind, change: Change::Json(operations), .. } => {
            for operation in
                items(operations, "").iter().filter(|operation| string(operation, "/op") != "remove")
            {
                let value = operation.get("value").cloned().unwrap_or_default();
                of_object(kind, &at_path(string(operation, "/path"), value), found);
            }
        }
        Step::Terminate { kind, .. } => of_object(kind, &Value::Null, found),
        Step::RetryExperiment(_) => _ = found.insert(EXPERIMENT),
        Step::Wait(wait) => found.extend(wait.experiment.as_ref().map(|_| EXPERIMENT)),
        Step::SetImage { .. } | Step::Abort(_) | Step::Promote(_) | Step::PromoteFull(_) | Step::Retry(_) => {
        }
        Step::Pause(_) | Step::Resume(_) | Step::Restart(_) | Step::Undo { .. } | Step::Scale { .. } => {}
        Step::Delete { .. } | Step::ScaleSet { .. } | Step::DeleteSet { .. } | Step::Readiness { .. } => {}
        Step::Web(_) | Step::Sleep(_) => {}
    }
}

fn of_object(kind: &str, object: &Value, found: &mut BTreeSet<&'static str>) {
    match kind {
        "Experiment" => _ = found.insert(EXPERIMENT),
        "Rollout" => {
            object.pointer("/spec/strategy").into_iter().for_each(|strategy| of_strategy(strategy, found))
        }
        _ => {}
    }
}

/// Looks through everything under `strategy` except the metadata, whose keys are the user's own.
fn of_strategy(value: &Value, found: &mut BTreeSet<&'static str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| of_strategy(item, found)),
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                match key.as_str() {
                    "experiment" => _ = found.insert(EXPERIMENT),
                    key if key.ends_with("Metadata") => {}
                    _ => of_strategy(value, found),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The value as it would stand in a document, list positions read as keys.
fn at_path(path: &str, value: Value) -> Value {
    path.split('/')
        .skip(1)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .fold(value, |value, key| json!({key: value}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(objects: Value, script: Value) -> String {
        needs(&Story::from_value(&json!({"name": "n", "objects": objects, "script": script})).unwrap())
            .join(", ")
    }

    fn rollout(strategy: Value) -> Value {
        json!([{"kind": "Rollout", "metadata": {"name": "demo"}, "spec": {"strategy": strategy}}])
    }

    fn patched(patch: Value) -> String {
        let mut patch = patch;
        patch["kind"] = json!("Rollout");
        patch["name"] = json!("demo");
        needed(json!([]), json!([{"patch": patch}]))
    }

    #[test]
    fn objects_tell_what_they_need() {
        for (strategy, need) in [
            (json!({"canary": {"steps": [{"setWeight": 1}, {"setCanaryScale": {"weight": 5}}, {}]}}), ""),
            (
                json!({"canary": {"trafficRouting": {}, "canaryMetadata": {"labels": {"experiment": "x"}}}}),
                "",
            ),
            (json!({"canary": {"analysis": {"templates": []}}}), ""),
            (
                json!({"canary": {"steps": [{"analysis": {}}, {"experiment": {"templates": []}}]}}),
                "an experiment",
            ),
            (json!({"blueGreen": {"activeService": "a", "prePromotionAnalysis": null}}), ""),
        ] {
            assert_eq!(needed(rollout(strategy.clone()), json!([])), need, "{strategy}");
        }
        assert_eq!(
            needed(json!([{"kind": "Experiment", "metadata": {"name": "t"}}]), json!([])),
            "an experiment"
        );
        assert_eq!(needed(json!([{"kind": "Ingress", "metadata": {"name": "t"}}]), json!([])), "");
    }

    #[test]
    fn so_do_steps_of_the_script() {
        let steps = || json!([{"experiment": {"templates": []}}]);
        assert_eq!(
            patched(json!({"merge": {"spec": {"strategy": {"canary": {"steps": steps()}}}}})),
            "an experiment"
        );
        assert_eq!(patched(json!({"merge": {"spec": {"strategy": {"canary": {"steps": null}}}}})), "");
        let operation =
            |op, path, value: Value| patched(json!({"json": [{"op": op, "path": path, "value": value}]}));
        assert_eq!(operation("add", "/spec/strategy/canary/steps/0", steps()[0].clone()), "an experiment");
        assert_eq!(operation("remove", "/spec/strategy/canary/steps", json!(null)), "");
        assert_eq!(operation("replace", "/spec/replicas", json!(3)), "");
        assert_eq!(
            needed(json!([]), json!([{"create": rollout(json!({"canary": {"steps": steps()}}))[0]}])),
            "an experiment"
        );
        assert_eq!(needed(json!([]), json!([{"terminate": {"experiment": "x"}}])), "an experiment");
        assert_eq!(needed(json!([]), json!([{"terminate": {"analysisrun": "x"}}])), "");
    }
}
