//! SMI: a TrafficSplit spreads the requests for one Service over others.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::Object;

use super::{Backend, Door, Rule, is, list, service, spec, text, weighted};

/// Whether the mesh serves by this object.
pub fn owns(object: &Object) -> bool {
    is(object, "split.smi-spec.io", "TrafficSplit")
}

/// Where requests go.
pub fn read(objects: &[Arc<Object>]) -> Vec<Door> {
    let door = |object: &Arc<Object>| {
        let to =
            |backend: &Value| Backend::Service(service(&object.meta.namespace, text(backend, "service")));
        let pairs = list(spec(object), "backends").iter().map(|b| (to(b), milli(&b["weight"])));
        Door::new(object, text(spec(object), "service"), weighted(Rule::Weight, pairs.collect()))
    };
    objects.iter().map(door).collect()
}

/// A weight, in thousandths: the first version of the API has quantities (`500m`).
fn milli(weight: &Value) -> i64 {
    let thousand = |number: i64| number.saturating_mul(1000);
    let Some(text) = weight.as_str() else { return weight.as_i64().map_or(0, thousand) };
    match text.strip_suffix('m') {
        Some(milli) => milli.parse().unwrap_or(0),
        None => text.parse().map_or(0, thousand),
    }
}
