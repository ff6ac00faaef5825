//! From documents of the API server to objects of the brain, and back.
//!
//! A cluster has thousands of pods and a controller that holds all of each is a controller that is killed for its
//! memory. What no decision reads is dropped here, before it reaches the cache: `managedFields`, the last applied
//! configuration, specifications of pods, ports of Services. That is safe because nothing is ever written back whole
//! from the cache: writes name fields ([`tidegate_controller::edit`]).

use kube::api::{ApiResource, DynamicObject};
use serde_json::{Map, Value, json};
use tidegate_api::object::{Kind, NotAnObject, Object};

/// Annotation in which `kubectl apply` keeps what it applied; as long as the object itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Where the API serves a kind.
pub fn resource(kind: &Kind) -> ApiResource {
    let api_version = kind.api_version();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let plural = kind.plural().map_or_else(|| plural_of(kind.name()), str::to_owned);
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.name().to_owned(),
        plural,
    }
}

/// The plural of a kind that is not known by heart, as Kubernetes guesses it.
fn plural_of(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if lower.ends_with(['s', 'x']) || lower.ends_with("ch") => format!("{lower}es"),
        _ => format!("{lower}s"),
    }
}

/// An object as the cache is to hold it.
pub fn to_cache(kind: &Kind, document: DynamicObject) -> Result<Object, NotAnObject> {
    let mut document = document;
    document.metadata.managed_fields = None;
    if let Some(annotations) = &mut document.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    match kind {
        Kind::Pod => document.data = what_matters_of_a_pod(&document.data),
        Kind::Service => document.data = json!({"spec": {"selector": document.data["spec"]["selector"]}}),
        _ => {}
    }
    whole(kind, document)
}

/// The whole object.
pub fn whole(kind: &Kind, document: DynamicObject) -> Result<Object, NotAnObject> {
    let metadata = serde_json::to_value(&document.metadata)
        .map_err(|error| NotAnObject::Malformed(format!("metadata: {error}")))?;
    let mut map = match document.data {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    map.insert("apiVersion".to_owned(), Value::from(kind.api_version()));
    map.insert("kind".to_owned(), Value::from(kind.name()));
    map.insert("metadata".to_owned(), metadata);
    Object::from_value(Value::Object(map))
}

/// Decisions ask whether a pod is there, ready since when, and going away.
fn what_matters_of_a_pod(data: &Value) -> Value {
    let ready: Vec<&Value> = data["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|c| c["type"] == "Ready")
        .collect();
    json!({"spec": {}, "status": {"phase": data["status"]["phase"], "conditions": ready}})
}

/// A document to send.
pub fn to_send(object: &Object) -> Result<DynamicObject, serde_json::Error> {
    serde_json::from_value(object.to_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn a_pod_in_the_cache_has_its_readiness_and_little_else() {
        let pod = document(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"},
                "managedFields": [{"manager": "kubelet"}]},
            "spec": {"containers": [{"name": "c", "image": "web:v1"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [
                {"type": "Initialized", "status": "True"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}));
        let object = to_cache(&Kind::Pod, pod).expect("a pod");
        let pod = object.pod().expect("a pod");
        assert!(pod.ready && pod.phase.as_deref() == Some("Running"));
        assert_eq!(object.meta.resource_version, 7);
        assert_eq!(object.to_value()["spec"], json!({}));
        assert!(object.meta.rest.is_none(), "no managed fields");
    }

    #[test]
    fn a_rollout_keeps_its_specification_to_the_letter() {
        let spec = json!({"replicas": 2, "strategy": {"canary": {"maxSurge": "25%", "odd": 1e3}}});
        let rollout = document(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "r", "namespace": "n", "annotations": {LAST_APPLIED: "{}", "mine": "1"}},
            "spec": spec, "status": {"phase": "Healthy"}}));
        let object = to_cache(&Kind::Rollout, rollout).expect("a rollout");
        assert_eq!(object.to_value()["spec"], spec);
        assert_eq!(object.meta.annotations.iter().count(), 1);
    }

    #[test]
    fn plurals_are_guessed_as_kubernetes_guesses_them() {
        for (kind, plural) in
            [("Ingress", "ingresses"), ("NetworkPolicy", "networkpolicies"), ("Gateway", "gateways")]
        {
            assert_eq!(resource(&Kind::new("x.io/v1", kind)).plural, plural);
        }
        assert_eq!(resource(&Kind::Rollout).plural, "rollouts");
    }
}
