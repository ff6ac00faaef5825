//! Documents of the API server, read straight into what the cache is to hold.
//!
//! A cluster has thousands of pods, and most of what the server tells about each is read by no decision. It is skipped
//! while it is read, before it costs memory: `managedFields`, the last applied configuration, specifications of pods,
//! ports of Services. Specifications of Rollouts and of the pods of ReplicaSets stay text until somebody asks. That is
//! safe because nothing is ever written back whole from the cache: writes name fields ([`tidegate_controller::edit`]).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tidegate_api::object::{Kind, NotAnObject, Object};

/// Annotation in which `kubectl apply` keeps what it applied; as long as the object itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Everything but bookkeeping.
pub const WHOLE: u8 = 0;
/// Of a pod: whether it is there, ready since when, and going away.
pub const POD: u8 = 1;
/// Of a Service: what it selects.
pub const SERVICE: u8 = 2;

/// Of a Rollout: its specification as text.
pub const ROLLOUT: u8 = 3;
/// Of a ReplicaSet or a Deployment: the specification of its pods as text.
pub const SET: u8 = 4;

/// A document of which only a part was read: [`WHOLE`], [`POD`], [`SERVICE`], [`ROLLOUT`] or [`SET`].
#[derive(Clone, Debug)]
pub struct Document<const PART: u8> {
    /// What the client library asks for: name, namespace, version.
    meta: ObjectMeta,
    fields: Map<String, Value>,
    /// What stays text.
    large: Option<Box<RawValue>>,
}

impl<const PART: u8> Document<PART> {
    /// The object.
    pub fn into_object(self, kind: &Kind) -> Result<Object, NotAnObject> {
        let mut fields = self.fields;
        // Items of a list do not say what they are.
        fields.insert("apiVersion".to_owned(), Value::from(kind.api_version()));
        fields.insert("kind".to_owned(), Value::from(kind.name()));
        let large = self.large.map(|text| Arc::from(Box::<str>::from(text)));
        Ok(Object::from_value(Value::Object(fields))?.packed(large))
    }
}

impl<'de, const PART: u8> Deserialize<'de> for Document<PART> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader::<PART>)
    }
}

struct Reader<const PART: u8>;

impl<'de, const PART: u8> Visitor<'de> for Reader<PART> {
    type Value = Document<PART>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of Kubernetes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        let mut meta = ObjectMeta::default();
        let mut large = None;
        while let Some(field) = map.next_key::<Cow<'de, str>>()? {
            let value = match (&*field, PART) {
                ("kind" | "apiVersion", _) => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                ("metadata", _) => {
                    let metadata = map.next_value::<Metadata>()?.0;
                    let text = |field: &str| metadata.get(field)?.as_str().map(str::to_owned);
                    meta.name = text("name");
                    meta.namespace = text("namespace");
                    meta.resource_version = text("resourceVersion");
                    Value::Object(metadata)
                }
                ("spec", POD) => {
                    map.next_value::<IgnoredAny>()?;
                    json!({})
                }
                ("spec", ROLLOUT) => {
                    large = Some(map.next_value()?);
                    continue;
                }
                ("spec", SET) => {
                    let SetSpec(spec, pods) = map.next_value()?;
                    large = pods;
                    Value::Object(spec)
                }
                ("status", POD) => what_matters_of_a_pod(&map.next_value()?),
                ("spec", SERVICE) => json!({"selector": map.next_value::<Value>()?["selector"].take()}),
                (_, POD | SERVICE) => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => map.next_value()?,
            };
            fields.insert(field.into_owned(), value);
        }
        Ok(Document { meta, fields, large })
    }
}

/// `spec` of a ReplicaSet or Deployment, without that of its pods.
struct SetSpec(Map<String, Value>, Option<Box<RawValue>>);

/// A pod template, without its `spec`.
struct PodTemplate(Map<String, Value>, Option<Box<RawValue>>);

impl<'de> Deserialize<'de> for SetSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = SetSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a specification with a pod template")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SetSpec, A::Error> {
                let mut spec = SetSpec(Map::new(), None);
                while let Some(field) = map.next_key::<String>()? {
                    let value = if field == "template" {
                        let PodTemplate(template, pods) = map.next_value()?;
                        spec.1 = pods;
                        Value::Object(template)
                    } else {
                        map.next_value()?
                    };
                    spec.0.insert(field, value);
                }
                Ok(spec)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl<'de> Deserialize<'de> for PodTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = PodTemplate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pod template")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PodTemplate, A::Error> {
                let mut template = PodTemplate(Map::new(), None);
                while let Some(field) = map.next_key::<String>()? {
                    if field == "spec" {
                        template.1 = Some(map.next_value()?);
                    } else {
                        template.0.insert(field, map.next_value()?);
                    }
                }
                Ok(template)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

struct Metadata(Map<String, Value>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("metadata")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut fields = Map::new();
                while let Some(field) = map.next_key::<String>()? {
                    if field == "managedFields" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let mut value: Value = map.next_value()?;
                    if field == "annotations"
                        && let Value::Object(annotations) = &mut value
                    {
                        annotations.remove(LAST_APPLIED);
                    }
                    fields.insert(field, value);
                }
                Ok(Metadata(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn what_matters_of_a_pod(status: &Value) -> Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let ready: Vec<&Value> = conditions.filter(|condition| condition["type"] == "Ready").collect();
    json!({"phase": status["phase"], "conditions": ready})
}

impl<const PART: u8> Resource for Document<PART> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const PART: u8>(kind: &Kind, value: &Value) -> Object {
        let document: Document<PART> = serde_json::from_str(&value.to_string()).expect("a document");
        assert_eq!(document.meta.name.as_deref(), value["metadata"]["name"].as_str());
        document.into_object(kind).expect("an object")
    }

    #[test]
    fn a_pod_in_the_cache_has_its_readiness_and_little_else() {
        let object = read::<POD>(
            &Kind::Pod,
            &json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7",
                    "labels": {"a": "b"}, "managedFields": [{"manager": "kubelet"}]},
                "spec": {"containers": [{"name": "c", "image": "web:v1"}]},
                "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [
                    {"type": "Initialized", "status": "True"},
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}),
        );
        let pod = object.pod().expect("a pod");
        assert!(pod.ready && pod.phase.as_deref() == Some("Running"));
        assert_eq!(object.meta.resource_version, 7);
        assert_eq!(object.to_value()["spec"], json!({}));
        assert!(object.meta.rest.is_none(), "no managed fields");
    }

    #[test]
    fn a_service_in_the_cache_has_its_selector_only() {
        let object = read::<SERVICE>(
            &Kind::Service,
            &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
                "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}, "status": {"loadBalancer": {}}}),
        );
        assert_eq!(object.to_value()["spec"], json!({"selector": {"app": "x"}}));
    }

    #[test]
    fn a_rollout_keeps_its_specification_to_the_letter() {
        let spec = json!({"replicas": 2, "strategy": {"canary": {"maxSurge": "25%", "odd": 1e3}}});
        let object = read::<ROLLOUT>(
            &Kind::Rollout,
            &json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
                "metadata": {"name": "r", "namespace": "n", "annotations": {LAST_APPLIED: "{}", "mine": "\u{e9}\n"}},
                "spec": spec, "status": {"phase": "Healthy"}}),
        );
        assert_eq!(object.to_value()["spec"], spec);
        assert_eq!(object.meta.annotations.iter().count(), 1);
    }

    #[test]
    fn a_replica_set_keeps_what_its_pods_are_to_be() {
        let pods = json!({"containers": [{"name": "c", "image": "web:1"}], "odd": 1e3});
        let object = read::<SET>(
            &Kind::ReplicaSet,
            &json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "s", "namespace": "n"},
                "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}},
                    "template": {"metadata": {"labels": {"a": "b"}}, "spec": pods}},
                "status": {"replicas": 1, "fullyLabeledReplicas": 1}}),
        );
        let set = object.replica_set().expect("a set");
        assert_eq!((set.wished(), set.status.replicas), (2, Some(1)));
        assert_eq!((&*set.template.spec.value(), set.template.labels.len()), (&pods, 1));
        assert!(object.to_value()["status"].get("fullyLabeledReplicas").is_none(), "no decision reads it");
    }
}
