//! Nothing of a user's object is lost between reading and writing.
//!
//! Kubernetes makes no difference between a null, an empty and an absent field of the metadata that it types itself,
//! nor between a null and an absent `spec` of pods; there alone the written form may differ.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Object;
use crate::schema::testing::any_value;

/// Fields of a status that are typed, and some that are not.
const STATUS: [&str; 14] = [
    "abort",
    "abortedAt",
    "pauseConditions",
    "controllerPause",
    "currentPodHash",
    "currentStepIndex",
    "replicas",
    "observedGeneration",
    "conditions",
    "canary",
    "blueGreen",
    "duration",
    "restartedAt",
    "unknown",
];

/// All five kinds need a `spec`.
fn required(value: Value) -> Value {
    if value.is_null() { json!({}) } else { value }
}

fn texts() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-z./-]{1,8}", ".{0,6}", 0..4)
        .prop_map(|map| Value::Object(map.into_iter().map(|(k, v)| (k, Value::from(v))).collect()))
}

fn metadata() -> impl Strategy<Value = Value> {
    (texts(), texts(), any_value(), any_value(), 0_i64..3).prop_map(
        |(labels, annotations, managed, odd, generation)| {
            json!({"name": "x", "namespace": "n", "labels": labels, "annotations": annotations,
                "managedFields": managed, "odd": odd, "generation": generation, "finalizers": ["f"],
                "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "7"})
        },
    )
}

/// Statuses with the right and with wrong values, and with right values in unusual forms.
fn statuses() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        any_value(),
        Just(json!(0)),
        Just(json!(1.0)),
        Just(json!(1e3)),
        Just(json!(u64::MAX)),
        Just(json!("")),
        Just(json!(false)),
        Just(json!([])),
        Just(json!({})),
        Just(json!("2026-01-01T00:00:00Z")),
        Just(json!("2026-01-01T02:00:00.25+02:00")),
        Just(json!([{"reason": "CanaryPauseStep", "startTime": "2026-01-01T02:00:00+02:00", "odd": null}])),
        Just(
            json!({"weights": {"canary": {"weight": 5, "odd": 1}}, "rolloutStartedAt": "2026-01-01T00:00:00.5Z"})
        ),
    ];
    prop::collection::vec((prop::sample::select(&STATUS[..]), value), 0..6).prop_map(|fields| {
        Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>())
    })
}

/// The form in which empty metadata is written.
fn in_written_form(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["labels", "annotations"] {
            metadata
                .retain(|key, value| key != field || value.as_object().is_some_and(|map| !map.is_empty()));
        }
        metadata.retain(|key, value| key != "generation" || *value != 0);
    }
    if let Some(map) = object.as_object_mut() {
        map.retain(|key, value| key != "spec" || !value.is_null());
    }
    object
}

fn check(object: Value) -> Result<(), TestCaseError> {
    let Ok(read) = Object::from_value(object.clone()) else {
        return Err(TestCaseError::fail(format!("cannot be read: {object}")));
    };
    let (written, wanted) = (read.to_value(), in_written_form(object));
    prop_assert_eq!(&written, &wanted);
    // Equal values may be written differently (1 and 1.0 may not).
    prop_assert_eq!(written.to_string(), wanted.to_string());
    prop_assert_eq!(Object::from_value(written).ok(), Some(read));
    Ok(())
}

proptest! {
    #[test]
    fn our_own_kinds_are_kept_whole(
        kind in "Rollout|AnalysisTemplate|ClusterAnalysisTemplate|AnalysisRun|Experiment",
        metadata in metadata(), spec in any_value().prop_map(required), status in statuses(), beside in any_value(),
    ) {
        check(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec,
            "status": status, "beside": beside}))?;
    }

    #[test]
    fn pod_templates_of_workloads_are_kept_whole(
        kind in "ReplicaSet|Deployment", labels in texts(), pod in any_value(), odd in any_value(),
        selector in any_value(), replicas in prop::option::of(any::<i32>()),
    ) {
        let mut template = json!({"metadata": {"labels": labels, "odd": odd}, "spec": pod, "rest": odd});
        let mut spec = json!({"selector": selector, "template": template, "odd": odd});
        if let Some(replicas) = replicas {
            spec["replicas"] = json!(replicas);
        }
        let object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
        let written = Object::from_value(object.clone()).expect("readable").to_value();
        template = in_written_form(template);
        let mut wanted = object;
        wanted["spec"]["template"] = template;
        if selector.is_null() {
            wanted["spec"].as_object_mut().expect("made above").remove("selector");
        }
        prop_assert_eq!(written, wanted);
    }
}
