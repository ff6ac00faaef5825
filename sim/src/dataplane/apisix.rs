//! Apache APISIX: the rules of an ApisixRoute, those with conditions on headers before the others.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::Object;

use super::{Backend, Door, Rule, is, list, number, service, spec, text, weighted};

/// Whether APISIX serves by this object.
pub fn owns(object: &Object) -> bool {
    is(object, "apisix.apache.org", "ApisixRoute")
}

/// Where requests go.
pub fn read(objects: &[Arc<Object>]) -> Vec<Door> {
    let mut doors = Vec::new();
    for object in objects {
        for rule in list(spec(object), "http") {
            let on_header = |condition: &Value| text(&condition["subject"], "scope") == "Header";
            let how = match list(&rule["match"], "exprs").iter().any(on_header) {
                true => Rule::Headers,
                false => Rule::Weight,
            };
            let to = |b: &Value| Backend::Service(service(&object.meta.namespace, text(b, "serviceName")));
            let weight = |backend: &Value| number(&backend["weight"]).unwrap_or(100);
            let pairs: Vec<_> = list(rule, "backends").iter().map(|b| (to(b), weight(b))).collect();
            doors.push(Door::new(object, text(rule, "name"), weighted(how, pairs)));
        }
    }
    doors
}
