//! ingress-nginx: an Ingress, and beside it another one that is marked as its canary.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::Object;

use super::{Backend, Door, Entry, Rule, is, list, service, spec, text};

/// Whether NGINX serves by this object.
pub fn owns(object: &Object) -> bool {
    (is(object, "networking.k8s.io", "Ingress") || is(object, "extensions", "Ingress"))
        && !super::alb::is_alb(object)
}

/// Where requests go.
pub fn read(objects: &[Arc<Object>]) -> Vec<Door> {
    let is_canary = |object: &&Arc<Object>| annotation(object, "/canary") == Some("true");
    let canaries: Vec<&Arc<Object>> = objects.iter().filter(is_canary).collect();
    let mut doors = Vec::new();
    for stable in objects.iter().filter(|object| !is_canary(object)) {
        for (host, path, name) in paths(stable) {
            let primary = Backend::Service(service(&stable.meta.namespace, name));
            let beside =
                canaries.iter().filter(|c| c.meta.namespace == stable.meta.namespace).find_map(|c| {
                    let (_, _, other) = paths(c).find(|(h, p, s)| (*h, *p) == (host, path) && *s != name)?;
                    Some((*c, other))
                });
            let mut door = Door::new(stable, format!("{host}{path}"), entries(&primary, beside));
            // An upstream without endpoints takes its alternative along; an alternative without is left out.
            door.needs = vec![primary];
            door.falls_back = true;
            door.sticky = (annotation(stable, "/affinity") == Some("cookie")).then_some(0);
            doors.push(door);
        }
    }
    doors
}

fn entries(primary: &Backend, beside: Option<(&Arc<Object>, &str)>) -> Vec<Entry> {
    let entry = |backend: Backend, parts, of, rule| Entry { backend, parts, of, rule };
    let Some((canary, name)) = beside else { return vec![entry(primary.clone(), 1, 1, Rule::Weight)] };
    let of = |suffix: &str| annotation(canary, suffix).and_then(|text| text.trim().parse::<i64>().ok());
    let total = of("/canary-weight-total").filter(|total| *total > 0).unwrap_or(100);
    let weight = of("/canary-weight").unwrap_or(0).clamp(0, total);
    let second = Backend::Service(service(&canary.meta.namespace, name));
    let mut entries = vec![
        entry(primary.clone(), total - weight, total, Rule::Weight),
        entry(second.clone(), weight, total, Rule::Weight),
    ];
    if ["/canary-by-header", "/canary-by-cookie"].iter().any(|key| annotation(canary, key).is_some()) {
        entries.push(entry(second, 1, 1, Rule::Headers));
    }
    entries
}

/// Host, path and Service of every path.
fn paths(ingress: &Object) -> impl Iterator<Item = (&str, &str, &str)> {
    let rules = list(spec(ingress), "rules").iter();
    rules.flat_map(|rule| {
        let paths = list(&rule["http"], "paths").iter();
        paths.map(|path| (text(rule, "host"), text(path, "path"), backend_name(&path["backend"])))
    })
}

/// The Service of a backend, in either version of the API.
pub(super) fn backend_name(backend: &Value) -> &str {
    match text(&backend["service"], "name") {
        "" => text(backend, "serviceName"),
        name => name,
    }
}

/// An annotation, whatever the prefix is that the operator chose.
fn annotation<'a>(object: &'a Object, suffix: &str) -> Option<&'a str> {
    let found = object.meta.annotations.iter().find(|(key, _)| key.ends_with(suffix));
    found.map(|(_, value)| &**value)
}
