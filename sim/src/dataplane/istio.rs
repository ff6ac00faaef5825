//! Istio: routes of VirtualServices to hosts or to subsets of DestinationRules.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Object, Strings, Text};

use super::{
    Backend, Door, Entry, Rule, is, list, needs_headers, number, service_of_host, spec, text, weighted,
};

const GROUP: &str = "networking.istio.io";

/// Whether Istio serves by this object.
pub fn owns(object: &Object) -> bool {
    is(object, GROUP, "VirtualService") || is(object, GROUP, "DestinationRule")
}

/// Where requests go.
pub fn read(objects: &[Arc<Object>]) -> Vec<Door> {
    let of = |name: &'static str| objects.iter().filter(move |object| object.kind.name() == name);
    let rules: Vec<&Arc<Object>> = of("DestinationRule").collect();
    let mut doors = Vec::new();
    for object in of("VirtualService") {
        for protocol in ["http", "tls", "tcp"] {
            for (at, route) in list(spec(object), protocol).iter().enumerate() {
                let name = match text(route, "name") {
                    "" => format!("{protocol}[{at}]"),
                    name => name.to_owned(),
                };
                let entries = entries(route, &object.meta.namespace, &rules);
                if !entries.is_empty() {
                    doors.push(Door::new(object, name, entries));
                }
                // The first route that fits counts; nothing comes past one that takes everything.
                if list(route, "match").is_empty() {
                    break;
                }
            }
        }
    }
    doors
}

fn entries(route: &Value, namespace: &Text, rules: &[&Arc<Object>]) -> Vec<Entry> {
    let rule = if needs_headers(list(route, "match")) { Rule::Headers } else { Rule::Weight };
    let to = |destination: &Value| backend(destination, namespace, rules);
    let destinations = list(route, "route");
    let weight = |destination: &Value| match destinations.len() {
        // A single destination needs no weight.
        1 => number(&destination["weight"]).filter(|weight| *weight > 0).unwrap_or(1),
        _ => number(&destination["weight"]).unwrap_or(0),
    };
    let pairs = destinations.iter().map(|d| (to(&d["destination"]), weight(d))).collect();
    let mut entries = weighted(rule, pairs);
    if route["mirror"].is_object() {
        let percent = &route["mirrorPercentage"]["value"];
        let percent = percent.as_i64().or_else(|| percent.as_f64().map(whole)).unwrap_or(100);
        entries.push(Entry::mirror(to(&route["mirror"]), percent));
    }
    for mirror in list(route, "mirrors") {
        entries.push(Entry::mirror(to(&mirror["destination"]), 100));
    }
    entries
}

#[expect(clippy::cast_possible_truncation, reason = "a percentage, held to its range before")]
fn whole(percent: f64) -> i64 {
    percent.clamp(0.0, 100.0).ceil() as i64
}

fn backend(destination: &Value, namespace: &Text, rules: &[&Arc<Object>]) -> Backend {
    let host = text(destination, "host");
    let service = service_of_host(namespace, host);
    let subset = text(destination, "subset");
    if subset.is_empty() {
        return Backend::Service(service);
    }
    let is_about =
        |rule: &&&Arc<Object>| service_of_host(&rule.meta.namespace, text(spec(rule), "host")) == service;
    let subsets = rules.iter().filter(is_about).flat_map(|rule| list(spec(rule), "subsets"));
    match subsets.into_iter().find(|known| text(known, "name") == subset) {
        Some(found) => {
            Backend::Subset(service, Strings::from_value(&found["labels"], "labels").unwrap_or_default())
        }
        None => Backend::Lost(service, format!("{host} has no subset {subset}").into()),
    }
}
