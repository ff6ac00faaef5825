//! A change of one object, as a list of field edits.
//!
//! Decisions say which fields change, never what a whole object should look like: so a write can be printed and
//! compared, touches only what it means to touch, and is cheap to apply in the simulator. The live side sends the
//! same list as a JSON merge patch ([`merge_patch`]); a property test holds the two together.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidegate_api::object::{
    AnalysisRunStatus, Body, ExperimentStatus, Object, OwnerRef, RolloutStatus, Template, Text,
};
use tidegate_api::time::Stamp;

/// One field that changes.
#[derive(Clone, PartialEq, Debug)]
pub enum Edit {
    /// Sets an annotation, or removes it.
    Annotation(Text, Option<Text>),
    /// Sets a label, or removes it.
    Label(Text, Option<Text>),
    /// Replaces the owner references.
    Owners(Vec<OwnerRef>),
    /// Sets `spec.replicas` (of a Rollout, ReplicaSet or Deployment).
    Replicas(i64),
    /// Sets `spec.minReadySeconds` of a ReplicaSet.
    MinReadySeconds(i64),
    /// Replaces `spec.template` of a ReplicaSet.
    Template(Template),
    /// Replaces `spec.template` of a Rollout or Deployment with this document.
    TemplateDocument(Arc<Value>),
    /// Sets a key of a Service's selector, or removes it.
    Selector(Text, Option<Text>),
    /// Sets `spec.paused` of a Rollout.
    Paused(bool),
    /// Sets `spec.restartAt` of a Rollout.
    RestartAt(Stamp),
    /// Merges the difference of two statuses into the status of a Rollout.
    Status(Arc<RolloutStatus>, Arc<RolloutStatus>),
    /// The same for an AnalysisRun, whose status is a field like any other.
    RunStatus(Arc<AnalysisRunStatus>, Arc<AnalysisRunStatus>),
    /// The same for an Experiment.
    ExperimentStatus(Arc<ExperimentStatus>, Arc<ExperimentStatus>),
    /// Sets `spec.terminate` of an AnalysisRun or an Experiment.
    Terminate,
    /// Makes the first document the second. What both have in common stays as it is on the server, so that a field that
    /// came in between survives; a list that differs is replaced whole. Neither version nor identity are changed.
    Document(Arc<Value>, Arc<Value>),
}

/// Why an edit does not fit an object.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind} has no {field}")]
pub struct Misfit {
    kind: String,
    field: &'static str,
}

impl Edit {
    /// Whether the edit is one of the status subresource.
    pub fn is_of_status(&self) -> bool {
        matches!(self, Edit::Status(..))
    }

    /// Applies the edit in place.
    pub fn apply(&self, object: &mut Object) -> Result<(), Misfit> {
        let kind = object.kind.name().to_owned();
        let misfit = |field: &'static str| Misfit { kind: kind.clone(), field };
        match self {
            Edit::Annotation(key, Some(value)) => object.meta.annotations.set(key, value.clone()),
            Edit::Annotation(key, None) => drop(object.meta.annotations.remove(key)),
            Edit::Label(key, Some(value)) => object.meta.labels.set(key, value.clone()),
            Edit::Label(key, None) => drop(object.meta.labels.remove(key)),
            Edit::Owners(owners) => object.meta.owners.clone_from(owners),
            Edit::Replicas(n) => match &mut object.body {
                Body::Rollout(body) => {
                    *body =
                        body.with_spec(with_field(&body.spec.raw(), &["replicas"], Some(Value::from(*n))));
                }
                Body::ReplicaSet(body) => body.replicas = Some(*n),
                Body::Deployment(body) => body.replicas = Some(*n),
                _ => return Err(misfit("spec.replicas")),
            },
            Edit::MinReadySeconds(n) => match &mut object.body {
                Body::ReplicaSet(body) => body.min_ready_seconds = Some(*n).filter(|n| *n != 0),
                _ => return Err(misfit("spec.minReadySeconds")),
            },
            Edit::Template(template) => match &mut object.body {
                Body::ReplicaSet(body) => body.template = template.clone(),
                _ => return Err(misfit("spec.template")),
            },
            Edit::TemplateDocument(document) => match &mut object.body {
                Body::Rollout(body) => {
                    *body = body.with_spec(with_field(
                        &body.spec.raw(),
                        &["template"],
                        Some((**document).clone()),
                    ));
                }
                Body::Deployment(body) => {
                    body.template = Template::from_value((**document).clone(), "spec.template")
                        .map_err(|_| misfit("spec.template"))?;
                }
                _ => return Err(misfit("spec.template")),
            },
            Edit::Selector(key, value) => match (&mut object.body, value) {
                (Body::Service(body), Some(value)) => body.selector.set(key, value.clone()),
                (Body::Service(body), None) => drop(body.selector.remove(key)),
                _ => return Err(misfit("spec.selector")),
            },
            Edit::Paused(paused) => match &mut object.body {
                Body::Rollout(body) => {
                    *body =
                        body.with_spec(with_field(&body.spec.raw(), &["paused"], Some(Value::Bool(*paused))));
                }
                _ => return Err(misfit("spec.paused")),
            },
            Edit::RestartAt(at) => match &mut object.body {
                Body::Rollout(body) => {
                    *body = body.with_spec(with_field(
                        &body.spec.raw(),
                        &["restartAt"],
                        Some(Value::from(at.to_string())),
                    ));
                }
                _ => return Err(misfit("spec.restartAt")),
            },
            Edit::Status(from, to) => match &mut object.body {
                Body::Rollout(body) => {
                    let mut status = (*body.status).clone();
                    status.merge(from, to);
                    *body = body.with_status(status);
                }
                _ => return Err(misfit("status")),
            },
            Edit::RunStatus(from, to) => match &mut object.body {
                Body::AnalysisRun(body) => {
                    let mut status = (*body.status).clone();
                    status.merge(from, to);
                    *body = body.with_status(status);
                }
                _ => return Err(misfit("status")),
            },
            Edit::ExperimentStatus(from, to) => match &mut object.body {
                Body::Experiment(body) => {
                    let mut status = (*body.status).clone();
                    status.merge(from, to);
                    *body = body.with_status(status);
                }
                _ => return Err(misfit("status")),
            },
            Edit::Terminate => match &mut object.body {
                Body::Experiment(body) => {
                    let spec = with_field(body.spec.raw(), &["terminate"], Some(Value::Bool(true)));
                    *body = body.with_spec(spec);
                }
                Body::AnalysisRun(body) => {
                    let spec = with_field(body.spec.raw(), &["terminate"], Some(Value::Bool(true)));
                    *body = body.with_spec(spec);
                }
                _ => return Err(misfit("spec.terminate")),
            },
            Edit::Document(from, to) => {
                let mut document = object.to_value();
                merge(&mut document, &difference(from, to));
                *object = Object::from_value(document).map_err(|_| misfit("place for such a document"))?;
            }
        }
        Ok(())
    }

    fn write_into(&self, patch: &mut Value) {
        let opt = |value: &Option<Text>| value.as_deref().map_or(Value::Null, Value::from);
        match self {
            Edit::Annotation(key, value) => patch["metadata"]["annotations"][&**key] = opt(value),
            Edit::Label(key, value) => patch["metadata"]["labels"][&**key] = opt(value),
            Edit::Owners(owners) => {
                patch["metadata"]["ownerReferences"] = owners.iter().map(OwnerRef::to_value).collect();
            }
            Edit::Replicas(n) => patch["spec"]["replicas"] = Value::from(*n),
            Edit::MinReadySeconds(n) => patch["spec"]["minReadySeconds"] = Value::from(*n),
            // The whole template is meant, but a merge patch only adds: the live side sends this edit as JSON patch.
            Edit::Template(template) => patch["spec"]["template"] = template.to_value(),
            Edit::TemplateDocument(document) => patch["spec"]["template"] = (**document).clone(),
            Edit::Selector(key, value) => patch["spec"]["selector"][&**key] = opt(value),
            Edit::Paused(paused) => patch["spec"]["paused"] = Value::Bool(*paused),
            Edit::RestartAt(at) => patch["spec"]["restartAt"] = Value::from(at.to_string()),
            Edit::Status(from, to) => patch["status"] = Value::Object(from.patch(to)),
            Edit::RunStatus(from, to) => patch["status"] = Value::Object(from.patch(to)),
            Edit::ExperimentStatus(from, to) => patch["status"] = Value::Object(from.patch(to)),
            Edit::Terminate => patch["spec"]["terminate"] = Value::Bool(true),
            Edit::Document(from, to) => merge_into_patch(patch, &difference(from, to)),
        }
    }
}

/// The JSON merge patch from one document to another. Metadata that the server gives is left out.
fn difference(from: &Value, to: &Value) -> Value {
    let mut patch = difference_of(from, to).unwrap_or_else(|| json!({}));
    if let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
        for given in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
            metadata.remove(given);
        }
        if metadata.is_empty() {
            patch.as_object_mut().map(|patch| patch.remove("metadata"));
        }
    }
    patch
}

fn difference_of(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (from, to) else { return Some(to.clone()) };
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = after.iter().filter_map(|(key, value)| match before.get(key) {
        Some(known) => Some((key.clone(), difference_of(known, value)?)),
        None => Some((key.clone(), value.clone())),
    });
    Some(Value::Object(gone.chain(changed).collect()))
}

/// Applies a JSON merge patch (RFC 7396).
fn merge(document: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *document = patch.clone();
        return;
    };
    if !document.is_object() {
        *document = json!({});
    }
    let Value::Object(map) = document else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(map.remove(key)),
            value => merge(map.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

/// Joins two merge patches into one, where nulls stand for what goes.
fn merge_into_patch(patch: &mut Value, more: &Value) {
    match (patch, more) {
        (Value::Object(patch), Value::Object(more)) => {
            for (key, value) in more {
                merge_into_patch(patch.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (patch, more) => *patch = more.clone(),
    }
}

/// The JSON merge patch that carries these edits.
pub fn merge_patch(edits: &[Edit]) -> Value {
    let mut patch = json!({});
    for edit in edits {
        edit.write_into(&mut patch);
    }
    patch
}

/// Carries these edits out on a whole document. Templates are replaced, everything else is merged (RFC 7396).
pub fn apply_to_document(edits: &[Edit], document: &mut Value) {
    for edit in edits {
        let whole = matches!(edit, Edit::Template(_) | Edit::TemplateDocument(_));
        if whole && let Some(spec) = document.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("template");
        }
        let mut patch = json!({});
        edit.write_into(&mut patch);
        merge_into(document, patch);
    }
}

/// What the API server does with a merge patch (RFC 7396).
fn merge_into(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(map) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(&key);
        } else {
            merge_into(map.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// A copy of a document with one field set or removed; mappings on the way are made where they are missing.
fn with_field(document: &Value, path: &[&str], value: Option<Value>) -> Value {
    let mut copy = document.clone();
    let mut at = &mut copy;
    for name in &path[..path.len() - 1] {
        if !at[*name].is_object() {
            at[*name] = Value::Object(Map::new());
        }
        at = &mut at[*name];
    }
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    let (map, name) = (at.as_object_mut(), path[path.len() - 1]);
    match (map, value) {
        (Some(map), Some(value)) => drop(map.insert(name.to_owned(), value)),
        (Some(map), None) => drop(map.remove(name)),
        (None, _) => {}
    }
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_api::object::RolloutStatus;

    fn rollout() -> Object {
        Object::from_value(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "annotations": {"a": "1", "b": "2"}},
            "spec": {"replicas": 3, "strategy": {"canary": {}}},
            "status": {"abort": false, "canary": {}, "phase": "Healthy", "unknown": 1}}))
        .expect("a rollout")
    }

    fn check(edits: &[Edit]) {
        let before = rollout();
        let mut after = before.clone();
        for edit in edits {
            edit.apply(&mut after).expect("fits");
        }
        let mut patched = before.to_value();
        merge_into(&mut patched, merge_patch(edits));
        assert_eq!(Object::from_value(patched).expect("an object"), after);
        let mut document = before.to_value();
        apply_to_document(edits, &mut document);
        assert_eq!(Object::from_value(document).expect("an object"), after);
    }

    #[test]
    fn an_edit_and_its_merge_patch_do_the_same() {
        check(&[
            Edit::Annotation("a".into(), None),
            Edit::Annotation("c".into(), Some("3".into())),
            Edit::Replicas(7),
        ]);
        check(&[Edit::Paused(true), Edit::RestartAt(Stamp(0)), Edit::Label("x".into(), Some("y".into()))]);
        let from = rollout().rollout().expect("a rollout").status.clone();
        let mut to =
            RolloutStatus { abort: Some(true), canary: from.canary.clone(), ..RolloutStatus::default() };
        to.blue_green = Some(Default::default());
        check(&[Edit::Status(from, Arc::new(to))]);
    }

    #[test]
    fn a_template_is_replaced_not_merged() {
        let mut document =
            json!({"spec": {"replicas": 1, "template": {"metadata": {"labels": {"old": "1"}}}}});
        let template = json!({"metadata": {"labels": {"new": "1"}}});
        apply_to_document(&[Edit::TemplateDocument(Arc::new(template.clone()))], &mut document);
        assert_eq!(document, json!({"spec": {"replicas": 1, "template": template}}));
    }

    #[test]
    fn an_edit_that_does_not_fit_changes_nothing() {
        let mut object = rollout();
        assert!(Edit::MinReadySeconds(3).apply(&mut object).is_err());
        assert_eq!(object, rollout());
    }
}
