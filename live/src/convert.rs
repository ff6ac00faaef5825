//! From documents of the API server to objects of the brain, and back. What the cache holds is read by
//! [`crate::document`].

use kube::api::{ApiResource, DynamicObject};
use serde_json::{Map, Value};
use tidegate_api::object::{Kind, NotAnObject, Object};

/// Where the API serves a kind.
pub fn resource(kind: &Kind) -> ApiResource {
    let api_version = kind.api_version();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.name().to_owned(),
        plural: kind.plural_or_guess().into_owned(),
    }
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

/// A document to send.
pub fn to_send(object: &Object) -> Result<DynamicObject, serde_json::Error> {
    serde_json::from_value(object.to_value())
}

#[cfg(test)]
mod tests {
    use super::*;

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
