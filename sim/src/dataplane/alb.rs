//! AWS load balancers: an Ingress whose annotations say what its backends do.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::Object;

use super::{Backend, Door, Rule, is, list, nginx, number, service, spec, text, weighted};

/// Whether a load balancer serves by this object.
pub fn owns(object: &Object) -> bool {
    (is(object, "networking.k8s.io", "Ingress") || is(object, "extensions", "Ingress")) && is_alb(object)
}

/// Whether an Ingress is meant for a load balancer of AWS.
pub(super) fn is_alb(object: &Object) -> bool {
    let class = object.meta.annotations.get("kubernetes.io/ingress.class").map(|class| &**class);
    class.or_else(|| spec(object)["ingressClassName"].as_str()) == Some("alb")
        || object.meta.annotations.iter().any(|(key, _)| key.starts_with("alb.ingress.kubernetes.io/"))
}

/// Where requests go.
pub fn read(objects: &[Arc<Object>]) -> Vec<Door> {
    let mut doors = Vec::new();
    for object in objects {
        let paths = list(spec(object), "rules").iter().flat_map(|rule| list(&rule["http"], "paths"));
        for path in paths {
            let name = nginx::backend_name(&path["backend"]);
            let rule = if annotation(object, "conditions", name).is_some_and(asks_for_headers) {
                Rule::Headers
            } else {
                Rule::Weight
            };
            let to = |name: &str| Backend::Service(service(&object.meta.namespace, name));
            let Some(action) = annotation(object, "actions", name) else {
                doors.push(Door::new(object, name, weighted(rule, vec![(to(name), 1)])));
                continue;
            };
            let action: Value = serde_json::from_str(action).unwrap_or_default();
            let forward = field(&action, "forwardConfig");
            let groups = field(forward, "targetGroups").as_array().map_or(&[][..], Vec::as_slice);
            let weight = |group: &Value| match groups.len() {
                1 => number(field(group, "weight")).unwrap_or(1),
                _ => number(field(group, "weight")).unwrap_or(0),
            };
            let pair =
                |group: &Value| (to(field(group, "serviceName").as_str().unwrap_or("")), weight(group));
            let mut entries = weighted(rule, groups.iter().map(pair).collect());
            if entries.is_empty() {
                entries = weighted(rule, vec![(Backend::Nothing("the action cannot be read".into()), 1)]);
            }
            let mut door = Door::new(object, name, entries);
            let stickiness = field(forward, "targetGroupStickinessConfig");
            if field(stickiness, "enabled") == true {
                door.sticky = Some(number(field(stickiness, "durationSeconds")).unwrap_or(0));
            }
            doors.push(door);
        }
    }
    doors
}

fn asks_for_headers(conditions: &str) -> bool {
    let conditions: Value = serde_json::from_str(conditions).unwrap_or_default();
    let mut all = conditions.as_array().into_iter().flatten();
    all.any(|condition| text(condition, "field") == "http-header")
}

fn annotation<'a>(object: &'a Object, what: &str, name: &str) -> Option<&'a str> {
    let ending = format!("/{what}.{name}");
    let found = object.meta.annotations.iter().find(|(key, _)| key.ends_with(&ending));
    found.map(|(_, value)| &**value)
}

/// A field of an action: the controller of AWS takes `weight` as well as `Weight`.
pub(super) fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    let mut fields = value.as_object().into_iter().flatten();
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or(&Value::Null, |(_, value)| value)
}
