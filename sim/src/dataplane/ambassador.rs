//! Ambassador: Mappings of the same prefix share its requests; one without a weight takes what the others leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::object::{Key, Object, Text};

use super::{Backend, Door, Entry, Rule, number, service_of_host, spec, text};

/// Whether Ambassador serves by this object.
pub fn owns(object: &Object) -> bool {
    matches!(object.kind.group(), "getambassador.io" | "x.getambassador.io")
        && matches!(object.kind.name(), "Mapping" | "AmbassadorMapping")
}

/// Where requests go.
pub fn read(objects: &[Arc<Object>]) -> Vec<Door> {
    let mut groups: BTreeMap<(Text, String), Vec<&Arc<Object>>> = BTreeMap::new();
    for object in objects {
        let spec = spec(object);
        let host = if spec["hostname"].is_string() { "hostname" } else { "host" };
        let matched =
            format!("{}{}{}{}", text(spec, host), text(spec, "prefix"), spec["headers"], spec["method"]);
        groups.entry((object.meta.namespace.clone(), matched)).or_default().push(object);
    }
    groups.into_values().filter_map(|group| door(&group)).collect()
}

fn door(group: &[&Arc<Object>]) -> Option<Door> {
    let weight = |object: &Object| number(&spec(object)["weight"]).map(|weight| weight.clamp(0, 100));
    let given: i64 = group.iter().filter_map(|object| weight(object)).sum();
    let others = i64::try_from(group.iter().filter(|object| weight(object).is_none()).count()).unwrap_or(1);
    let first = group.iter().find(|object| weight(object).is_none()).or(group.first())?;
    let headers = spec(first)["headers"].as_object().is_some_and(|headers| !headers.is_empty());
    let rule = if headers { Rule::Headers } else { Rule::Weight };
    // Weights alone that do not make a whole are taken as they are to each other.
    let whole = if others == 0 { given.max(1) } else { 100.max(given) };
    let entry = |object: &&Arc<Object>| {
        let backend = Backend::Service(destination(&object.meta.namespace, text(spec(object), "service")));
        let (parts, of) = match weight(object) {
            Some(weight) => (weight, whole),
            None => (whole - given, whole.saturating_mul(others)),
        };
        Entry { backend, parts, of, rule }
    };
    Some(Door::new(first, text(spec(first), "prefix"), group.iter().map(entry).collect()))
}

/// `https://shop-canary:8080` is the Service shop-canary.
fn destination(namespace: &Text, service: &str) -> Key {
    let bare = service.split_once("://").map_or(service, |(_, rest)| rest);
    let host = bare.split([':', '/']).next().unwrap_or("");
    service_of_host(namespace, host)
}
