//! What a single write does, question by question, with the answers of a real API server.

use super::*;
use crate::cluster::patch::merge;
use serde_json::{Value, json};
use tidegate_api::object::RolloutStatus;
use tidegate_api::time::Stamp;

const NOW: Time = Time(1_767_225_600_500);

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn rollout() -> Object {
    object(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "demo", "namespace": "n"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "demo"}}},
        "status": {"phase": "Healthy"}}))
}

fn set() -> Object {
    object(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "x", "namespace": "n"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}}))
}

fn with(object: Object) -> (Store, Key, Arc<Object>) {
    let mut store = Store::default();
    let key = object.key();
    let stored = store.create(object, NOW).expect("created").after.expect("stored");
    (store, key, stored)
}

/// Merges a document into an object, as a user's patch would.
fn patched(store: &mut Store, key: &Key, part: Part, patch: Value) -> Result<Arc<Object>, ApiError> {
    let edit = |held: &mut Object| {
        let mut document = held.to_value();
        merge(&mut document, &patch);
        *held = object(document);
        Ok(())
    };
    store.update(key, None, part, edit).map(|change| change.after.expect("still there"))
}

fn version_of(object: &Object) -> Guard {
    Guard::Version { uid: object.meta.uid.clone(), resource_version: object.meta.resource_version }
}

fn message(outcome: Result<Change, ApiError>) -> String {
    outcome.expect_err("refused").to_string()
}

#[test]
fn a_new_object_gets_its_identity_and_loses_its_status() {
    let (_, _, stored) = with(rollout());
    assert_eq!(&*stored.meta.uid, "00000001-0000-4000-8000-000000000001");
    assert_eq!((stored.meta.resource_version, stored.meta.generation), (1, 1));
    assert_eq!(stored.meta.created, Some(Stamp(1_767_225_600)));
    assert_eq!(stored.to_value().get("status"), None);
    let (_, _, stored) = with(set());
    let body = stored.replica_set().expect("a set");
    assert_eq!((body.replicas, body.status.replicas), (Some(1), Some(0)));
}

#[test]
fn a_second_object_of_the_same_name_is_refused() {
    let (mut store, _, _) = with(set());
    assert_eq!(message(store.create(set(), NOW)), "replicasets.apps \"x\" already exists");
    assert_eq!(store.version(), 1);
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut store = Store::default();
    let key = rollout().key();
    assert_eq!(message(store.delete(&key, None, false, NOW)), "rollouts.argoproj.io \"demo\" not found");
    assert_eq!(message(store.edit(&key, None, Part::Main, &[])), "rollouts.argoproj.io \"demo\" not found");
    let key = Key::new(Kind::Pod, "n", "p");
    assert_eq!(message(store.edit(&key, None, Part::Main, &[])), "pods \"p\" not found");
}

#[test]
fn a_write_computed_from_an_older_version_is_refused() {
    let (mut store, key, old) = with(set());
    store.edit(&key, Some(&version_of(&old)), Part::Main, &[Edit::Replicas(5)]).expect("fits");
    let refused = store.edit(&key, Some(&version_of(&old)), Part::Main, &[Edit::Replicas(6)]);
    assert!(matches!(refused, Err(ApiError::Conflict(_))));
    assert_eq!(
        message(refused),
        "Operation cannot be fulfilled on replicasets.apps \"x\": the object has been modified; please apply your \
         changes to the latest version and try again"
    );
    assert!(matches!(store.delete(&key, Some(&version_of(&old)), false, NOW), Err(ApiError::Conflict(_))));
    let identity = Guard::Identity(old.meta.uid.clone());
    store.edit(&key, Some(&identity), Part::Main, &[Edit::Replicas(7)]).expect("any version will do");
}

#[test]
fn a_write_meant_for_a_predecessor_is_refused() {
    let (mut store, key, old) = with(set());
    store.delete(&key, None, false, NOW).expect("deleted");
    store.create(set(), NOW).expect("created again");
    let guard = Guard::Identity(old.meta.uid.clone());
    for outcome in [
        store.edit(&key, Some(&guard), Part::Main, &[Edit::Replicas(5)]),
        store.delete(&key, Some(&guard), false, NOW),
    ] {
        assert!(matches!(outcome, Err(ApiError::Conflict(_))), "{outcome:?}");
    }
}

#[test]
fn a_write_that_changes_nothing_is_no_new_version() {
    let (mut store, key, old) = with(set());
    let change = store.edit(&key, None, Part::Main, &[Edit::Replicas(1)]).expect("fits");
    assert!(change.is_idle());
    assert_eq!(change.after, Some(old));
    assert_eq!(store.version(), 1);
}

#[test]
fn the_generation_counts_changes_of_the_specification() {
    let (mut store, key, _) = with(rollout());
    for (part, patch, generation) in [
        (Part::Main, json!({"metadata": {"annotations": {"a": "b"}}}), 1),
        (Part::Main, json!({"spec": {"replicas": 3}}), 2),
        (Part::Status, json!({"status": {"phase": "Paused"}}), 2),
        (Part::Main, json!({"spec": {"strategy": {"canary": {}}}}), 3),
    ] {
        let object = patched(&mut store, &key, part, patch.clone()).expect("fits");
        assert_eq!(object.meta.generation, generation, "{patch}");
    }
}

#[test]
fn kinds_count_generations_each_in_their_way() {
    let meta = json!({"name": "x", "namespace": "n"});
    for (document, patch, before, after) in [
        // Without a status subresource every change outside the metadata counts.
        (
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": meta, "spec": {}}),
            json!({"status": {"phase": "Running"}}),
            1,
            2,
        ),
        (
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "metadata": meta, "spec": {}}),
            json!({"metadata": {"labels": {"a": "b"}}}),
            1,
            1,
        ),
        (
            json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {"a": "b"}}}),
            json!({"spec": {"selector": {"a": "c"}}}),
            0,
            0,
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {}}),
            json!({"data": {"a": "b"}}),
            0,
            0,
        ),
        (
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": {}}),
            json!({"spec": {"minAvailable": 1}}),
            1,
            2,
        ),
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
                "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}}}),
            json!({"metadata": {"annotations": {"a": "b"}}}),
            1,
            2,
        ),
    ] {
        let (mut store, key, stored) = with(object(document));
        assert_eq!(stored.meta.generation, before, "{key}");
        let object = patched(&mut store, &key, Part::Main, patch).expect("fits");
        assert_eq!(object.meta.generation, after, "{key}");
    }
}

#[test]
fn each_half_of_an_object_is_written_on_its_own() {
    let (mut store, key, _) = with(rollout());
    let both = json!({"spec": {"replicas": 9}, "status": {"phase": "Paused"}});
    let object = patched(&mut store, &key, Part::Main, both.clone()).expect("fits");
    let body = object.rollout().expect("a rollout");
    assert_eq!((body.spec.raw()["replicas"].as_i64(), body.status.phase.as_deref()), (Some(9), None));
    assert_eq!(object.to_value().get("status"), None, "a status that was absent stays absent");

    let both = json!({"spec": {"replicas": 5}, "status": {"phase": "Paused"}});
    let object = patched(&mut store, &key, Part::Status, both).expect("fits");
    let body = object.rollout().expect("a rollout");
    assert_eq!(
        (body.spec.raw()["replicas"].as_i64(), body.status.phase.as_deref()),
        (Some(9), Some("Paused"))
    );

    let (mut store, key, _) = with(set());
    let both = json!({"spec": {"replicas": 9}, "status": {"replicas": 4}});
    let object = patched(&mut store, &key, Part::Status, both).expect("fits");
    let body = object.replica_set().expect("a set");
    assert_eq!((body.wished(), body.status.replicas), (1, Some(4)));
}

#[test]
fn kinds_without_the_subresource_have_no_place_for_a_status_write() {
    let run = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": {"name": "x", "namespace": "n"}, "spec": {}, "status": {"phase": "Running"}});
    let (mut store, key, stored) = with(object(run));
    assert_eq!(stored.to_value()["status"]["phase"], "Running", "its status is an ordinary field");
    let refused = patched(&mut store, &key, Part::Status, json!({"status": {"phase": "Failed"}}));
    assert_eq!(refused, Err(ApiError::NotFound("the server could not find the requested resource".into())));
}

#[test]
fn a_status_edit_merges_only_what_changed() {
    let (mut store, key, _) = with(rollout());
    patched(&mut store, &key, Part::Status, json!({"status": {"phase": "Paused", "message": "m"}}))
        .expect("fits");
    let from = Arc::new(RolloutStatus { phase: Some("Paused".into()), ..RolloutStatus::default() });
    let to = Arc::new(RolloutStatus { phase: Some("Healthy".into()), ..RolloutStatus::default() });
    let change = store.edit(&key, None, Part::Status, &[Edit::Status(from, to)]).expect("fits");
    let after = change.after.expect("still there");
    let status = &after.rollout().expect("a rollout").status;
    assert_eq!((status.phase.as_deref(), status.message.as_deref()), (Some("Healthy"), Some("m")));
}

#[test]
fn metadata_that_belongs_to_the_server_cannot_be_written() {
    let (mut store, key, before) = with(set());
    let patch = json!({"metadata": {"generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z",
        "deletionTimestamp": "2001-01-01T00:00:00Z", "labels": {"a": "b"}}});
    let object = patched(&mut store, &key, Part::Main, patch).expect("fits");
    assert_eq!(object.meta.labels.get("a").map(|v| &**v), Some("b"));
    assert_eq!((object.meta.generation, object.meta.created), (1, before.meta.created));
    assert_eq!(object.meta.deleting, None);
}

#[test]
fn a_finalizer_keeps_an_object_until_it_is_taken_away() {
    let mut held = set();
    held.meta.finalizers = vec!["example.com/wait".into()];
    let (mut store, key, _) = with(held);
    let change = store.delete(&key, None, false, NOW).expect("accepted");
    let going = change.after.expect("still there");
    assert_eq!((going.meta.deleting, going.meta.generation), (Some(NOW.stamp()), 2));
    assert!(store.delete(&key, None, false, NOW).expect("accepted again").is_idle());
    let change = store
        .update(&key, None, Part::Main, |object| {
            object.meta.finalizers.clear();
            Ok(())
        })
        .expect("accepted");
    assert_eq!((change.after, store.get(&key)), (None, None));
    assert_eq!(change.gone.map(|gone| gone.meta.resource_version), Some(store.version()));
}

#[test]
fn watches_hear_of_a_deletion_in_a_version_of_its_own() {
    let (mut store, key, before) = with(set());
    let change = store.delete(&key, Some(&version_of(&before)), false, NOW).expect("deleted");
    assert_eq!(change.after, None);
    assert_eq!(change.gone.map(|gone| gone.meta.resource_version), Some(2));
    assert_eq!(store.version(), 2);
}

#[test]
fn selectors_do_not_change() {
    let (mut store, key, _) = with(rollout());
    let refused =
        patched(&mut store, &key, Part::Main, json!({"spec": {"selector": {"matchLabels": {"b": "c"}}}}));
    assert_eq!(
        refused.expect_err("refused").to_string(),
        "Rollout.argoproj.io \"demo\" is invalid: spec.selector: Invalid value: \"object\": .spec.selector is immutable"
    );
    patched(&mut store, &key, Part::Main, json!({"spec": {"selector": null}})).expect("the rule needs both");

    let (mut store, key, _) = with(set());
    let more = json!({"spec": {"selector": {"matchLabels": {"b": "c"}},
        "template": {"metadata": {"labels": {"b": "c"}}}}});
    let refused = patched(&mut store, &key, Part::Main, more);
    assert_eq!(
        refused.expect_err("refused").to_string(),
        "ReplicaSet.apps \"x\" is invalid: spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"x\",\"b\":\"c\"}}: \
         field is immutable"
    );
}

#[test]
fn objects_that_no_server_would_store_are_refused() {
    for (patch, part_of_message) in [
        (json!({"metadata": {"name": "No_Way"}}), "a lowercase RFC 1123 subdomain"),
        (json!({"metadata": {"name": null}}), "metadata.name: Required value"),
        (
            json!({"metadata": {"labels": {"a": "not a label"}}}),
            "metadata.labels: Invalid value: \"not a label\"",
        ),
        (
            json!({"spec": {"replicas": -1}}),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (json!({"spec": {"selector": null}}), "spec.selector: Required value"),
        (json!({"spec": {"selector": {"matchLabels": null}}}), "empty selector is invalid for replicaset"),
        (
            json!({"spec": {"template": {"metadata": {"labels": {"app": "y"}}}}}),
            "does not match template `labels`",
        ),
    ] {
        let mut document = set().to_value();
        merge(&mut document, &patch);
        let refused = message(Store::default().create(object(document), NOW));
        assert!(refused.contains(part_of_message), "{refused}");
    }
}

#[test]
fn owners_are_found_by_their_dependents() {
    let owner = |uid: &str| tidegate_api::object::OwnerRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        name: "d".into(),
        uid: uid.into(),
        controller: true,
        block_owner_deletion: false,
    };
    let mut owned = set();
    owned.meta.owners = vec![owner("one")];
    let (mut store, key, _) = with(owned);
    assert_eq!(store.owned_by("one", &Kind::ReplicaSet).count(), 1);
    assert_eq!(store.owned_by("one", &Kind::Pod).count(), 0);
    store.edit(&key, None, Part::Main, &[Edit::Owners(vec![owner("two")])]).expect("fits");
    assert_eq!((store.dependents("one").count(), store.dependents("two").count()), (0, 1));
    store.delete(&key, None, false, NOW).expect("deleted");
    assert_eq!(store.dependents("two").count(), 0);
}
