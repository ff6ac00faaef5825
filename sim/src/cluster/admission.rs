//! What the API server does to an object before it stores it: defaults, rules, and what a write may not touch.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Body, Kind, Object, PodBody, RolloutStatus, SetStatus};
use tidegate_controller::seams::ApiError;

use super::store::invalid;

/// Fills in what a client may leave out. The specification of a Rollout stays as written: its schema has no defaults
/// outside the pod template.
pub fn admit(object: &mut Object) {
    if object.meta.namespace.is_empty() && lives_in_a_namespace(&object.kind) {
        object.meta.namespace = "default".into();
    }
    match &mut object.body {
        Body::ReplicaSet(body) => body.replicas = body.replicas.or(Some(1)),
        Body::Deployment(body) => body.replicas = body.replicas.or(Some(1)),
        _ => {}
    }
}

/// Kinds of routers, all of which live in a namespace. Of kinds that nobody here reads it is not known.
const ROUTED: [&str; 13] = [
    "AmbassadorMapping",
    "ApisixRoute",
    "DestinationRule",
    "GRPCRoute",
    "HTTPRoute",
    "Ingress",
    "Mapping",
    "TCPRoute",
    "TLSRoute",
    "TargetGroupBinding",
    "TraefikService",
    "TrafficSplit",
    "VirtualService",
];

fn lives_in_a_namespace(kind: &Kind) -> bool {
    match kind {
        Kind::ClusterAnalysisTemplate => false,
        Kind::Other { name, .. } => ROUTED.contains(&&**name),
        _ => true,
    }
}

/// Refuses an object that no API server would store.
pub fn check(object: &Object) -> Result<(), ApiError> {
    let key = object.key();
    let refuse = |why: String| Err(invalid(&key, &why));
    if key.name.is_empty() {
        return refuse("metadata.name: Required value: name or generateName is required".to_owned());
    }
    if !is_subdomain(&key.name) {
        return refuse(format!(
            "metadata.name: Invalid value: \"{}\": a lowercase RFC 1123 subdomain must consist of lower case \
             alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
             'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            key.name
        ));
    }
    if let Some((_, value)) = object.meta.labels.iter().find(|(_, value)| !is_label_value(value)) {
        return refuse(format!(
            "metadata.labels: Invalid value: \"{value}\": a valid label must be an empty string or consist of \
             alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
             'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        ));
    }
    let (selector, template, replicas) = match &object.body {
        Body::ReplicaSet(body) => (&body.selector, &body.template, body.replicas),
        Body::Deployment(body) => (&body.selector, &body.template, body.replicas),
        Body::Rollout(body) if body.spec.raw().is_null() => return refuse("spec: Required value".to_owned()),
        _ => return Ok(()),
    };
    if let Some(replicas) = replicas.filter(|n| *n < 0) {
        return refuse(format!(
            "spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0"
        ));
    }
    if selector.raw.is_null() {
        return refuse("spec.selector: Required value".to_owned());
    }
    if selector.is_empty() {
        return refuse(format!(
            "spec.selector: Invalid value: {}: empty selector is invalid for {}",
            selector.raw,
            object.kind.name().to_ascii_lowercase()
        ));
    }
    if !selector.matches(&template.labels) {
        return refuse(format!(
            "spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`",
            template.labels.to_value()
        ));
    }
    Ok(())
}

/// Refuses a change that no API server would make.
pub fn check_update(before: &Object, after: &Object) -> Result<(), ApiError> {
    let immutable = |value: &Value| {
        Err(invalid(&after.key(), &format!("spec.selector: Invalid value: {value}: field is immutable")))
    };
    match (&before.body, &after.body) {
        (Body::ReplicaSet(old), Body::ReplicaSet(new)) if old.selector.raw != new.selector.raw => {
            immutable(&new.selector.raw)
        }
        (Body::Deployment(old), Body::Deployment(new)) if old.selector.raw != new.selector.raw => {
            immutable(&new.selector.raw)
        }
        // The rule only applies when the field stands in both versions.
        (Body::Rollout(old), Body::Rollout(new)) if !Arc::ptr_eq(&old.spec, &new.spec) => {
            match (old.spec.raw().get("selector"), new.spec.raw().get("selector")) {
                (Some(old), Some(new)) if old != new => Err(invalid(
                    &after.key(),
                    "spec.selector: Invalid value: \"object\": .spec.selector is immutable",
                )),
                _ => check(after),
            }
        }
        (Body::Rollout(_), Body::Rollout(_)) => Ok(()),
        _ => check(after),
    }
}

/// Puts back what no write may change.
pub fn carry_identity(before: &Object, after: &mut Object) {
    let (old, new) = (&before.meta, &mut after.meta);
    new.name = old.name.clone();
    new.namespace = old.namespace.clone();
    new.uid = old.uid.clone();
    new.resource_version = old.resource_version;
    new.generation = old.generation;
    new.created = old.created;
    new.deleting = old.deleting;
}

/// Takes the status away from an object of a kind that has a status subresource.
pub fn drop_status(object: &mut Object) {
    match &mut object.body {
        Body::Rollout(body) if *body.status == RolloutStatus::default() => {}
        Body::ReplicaSet(body) => body.status = SetStatus::default().counted(0, 0, 0, 0),
        Body::Deployment(body) => body.status = SetStatus::default(),
        Body::Pod(body) => *body = PodBody::new(body.spec.clone()),
        Body::Rollout(_) | Body::Other(_) if object.kind.has_status_subresource() => {
            let mut document = object.to_value();
            if document.as_object_mut().and_then(|map| map.remove("status")).is_some()
                && let Ok(without) = Object::from_value(document)
            {
                *object = without;
            }
        }
        _ => {}
    }
}

/// Puts the status back as it was before a write to the rest.
pub fn carry_status(before: &Object, after: &mut Object) {
    match (&before.body, &mut after.body) {
        // The old body with the new specification, so that a status that is absent stays absent.
        (Body::Rollout(old), Body::Rollout(new)) => {
            let mut kept = old.clone();
            kept.spec = new.spec.clone();
            *new = kept;
        }
        (Body::ReplicaSet(old), Body::ReplicaSet(new)) => new.status = old.status.clone(),
        (Body::Deployment(old), Body::Deployment(new)) => new.status = old.status.clone(),
        (Body::Pod(old), Body::Pod(new)) => {
            let mut kept = old.clone();
            kept.spec = new.spec.clone();
            *new = kept;
        }
        (Body::Other(old), Body::Other(new)) if old != new => {
            let mut document = (**new).clone();
            match (old.get("status"), document.as_object_mut()) {
                (Some(status), Some(map)) => drop(map.insert("status".to_owned(), status.clone())),
                (None, Some(map)) => drop(map.remove("status")),
                _ => {}
            }
            *new = Arc::new(document);
        }
        _ => {}
    }
}

/// The object before, with the status of the one after.
pub fn only_status(before: &Object, after: Object) -> Object {
    let mut result = before.clone();
    result.meta.rest = after.meta.rest;
    if before.kind.group() != "argoproj.io" {
        // Built-in kinds take labels and annotations along.
        result.meta.labels = after.meta.labels;
        result.meta.annotations = after.meta.annotations;
    }
    match (&mut result.body, after.body) {
        (Body::Rollout(kept), Body::Rollout(mut new)) => {
            new.spec = kept.spec.clone();
            *kept = new;
        }
        (Body::ReplicaSet(kept), Body::ReplicaSet(new)) => kept.status = new.status,
        (Body::Deployment(kept), Body::Deployment(new)) => kept.status = new.status,
        (Body::Pod(kept), Body::Pod(mut new)) => {
            new.spec = kept.spec.clone();
            *kept = new;
        }
        (Body::Other(kept), Body::Other(new)) => {
            let mut document = (**kept).clone();
            match (new.get("status"), document.as_object_mut()) {
                (Some(status), Some(map)) => drop(map.insert("status".to_owned(), status.clone())),
                (None, Some(map)) => drop(map.remove("status")),
                _ => {}
            }
            *kept = Arc::new(document);
        }
        _ => {}
    }
    result
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|part| {
            let bytes = part.as_bytes();
            let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            bytes.first().is_some_and(plain)
                && bytes.last().is_some_and(plain)
                && bytes.iter().all(|b| plain(b) || *b == b'-')
        })
}

fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.is_empty()
        || (bytes.len() <= 63
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_of_routers_live_in_a_namespace() {
        let admitted = |kind: &str| {
            let mut object =
                Object::from_value(json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": kind,
                "metadata": {"name": "web"}}))
                .unwrap();
            admit(&mut object);
            object.meta.namespace.to_string()
        };
        assert_eq!(admitted("VirtualService"), "default");
        assert_eq!(admitted("ProxyClass"), "");
    }
}
