//! The Gateway API: rules of HTTPRoutes and their kin, and what a gateway's controller reports about them.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Object, Text};

use super::{Backend, Door, Entry, Rule, list, needs_headers, number, service, spec, text, weighted};

const GROUP: &str = "gateway.networking.k8s.io";

/// Whether gateways serve by this object.
pub fn owns(object: &Object) -> bool {
    match object.kind.group() {
        GROUP => matches!(object.kind.name(), "HTTPRoute" | "GRPCRoute" | "TCPRoute" | "TLSRoute"),
        "policy.linkerd.io" => matches!(object.kind.name(), "HTTPRoute"),
        _ => false,
    }
}

/// Where requests go.
pub fn read(objects: &[Arc<Object>]) -> Vec<Door> {
    let mut doors = Vec::new();
    for object in objects {
        for (at, rule) in list(spec(object), "rules").iter().enumerate() {
            let name = match text(rule, "name") {
                "" => format!("rules[{at}]"),
                name => name.to_owned(),
            };
            let how = match needs_headers(list(rule, "matches")) {
                true => Rule::Headers,
                false => Rule::Weight,
            };
            let to = |backend: &Value| backend_of(backend, &object.meta.namespace);
            let weight = |backend: &Value| number(&backend["weight"]).unwrap_or(1);
            let pairs = list(rule, "backendRefs").iter().map(|b| (to(b), weight(b))).collect();
            let mut entries = weighted(how, pairs);
            for filter in list(rule, "filters").iter().filter(|f| text(f, "type") == "RequestMirror") {
                let mirror = &filter["requestMirror"];
                entries.push(Entry::mirror(
                    to(&mirror["backendRef"]),
                    number(&mirror["percent"]).unwrap_or(100),
                ));
            }
            if !entries.is_empty() {
                doors.push(Door::new(object, name, entries));
            }
        }
    }
    doors
}

fn backend_of(backend: &Value, namespace: &Text) -> Backend {
    if !matches!(text(backend, "kind"), "" | "Service") {
        return Backend::Nothing(format!("{} is no Service", text(backend, "kind")).into());
    }
    let namespace = match text(backend, "namespace") {
        "" => namespace.clone(),
        other => other.into(),
    };
    Backend::Service(service(&namespace, text(backend, "name")))
}

/// What a gateway's controller reports once every proxy serves by this version of a route.
pub fn report(route: &Object) -> Value {
    let generation = route.meta.generation;
    let nobody = [json!({"group": GROUP, "kind": "Gateway", "name": "gateway"})];
    let parents = match list(spec(route), "parentRefs") {
        [] => &nobody,
        parents => parents,
    };
    let condition = |kind: &str, reason: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "message": "",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let report = |parent: &Value| {
        json!({"parentRef": parent, "controllerName": "tidegate.dev/invented-gateway", "conditions":
            [condition("Accepted", "Accepted"), condition("ResolvedRefs", "ResolvedRefs")]})
    };
    json!({ "parents": parents.iter().map(report).collect::<Vec<_>>() })
}
