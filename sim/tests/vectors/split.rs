//! Moments of canaries whose traffic routers split: the Services `stable` and `canary`, and what each router reads.

use serde_json::{Value, json};
use tidegate_sim::cluster::patch::merge;

use crate::moment::{Moment, Pass};

/// The TraefikService that most vectors look at: its weights are all there is to see.
const SPLIT: &str = "split";
/// The key of the plugin under which the reference configures Gateway API.
const GATEWAY_API: &str = "argoproj-labs/gatewayAPI";

/// A strategy with both Services and this routing.
pub fn strategy(routing: Value, more: Value) -> Value {
    let mut strategy =
        json!({"stableService": "stable", "canaryService": "canary", "trafficRouting": routing});
    merge(&mut strategy, &more);
    strategy
}

/// Routing by Traefik.
pub fn traefik() -> Value {
    json!({"traefik": {"weightedTraefikServiceName": SPLIT}})
}

/// An update from `v1` to `v2` of these sizes, the canary at this weight: so the status records it, so the router has it.
pub fn update(replicas: i64, more: Value, weight: i64, stable: &str, canary: &str) -> Moment {
    let moment = Moment::canary(replicas, strategy(traefik(), more)).update("v1", stable, "v2", canary);
    at(moment, weight, "v1", "v2").with(traefik_service(weight))
}

/// The weight is recorded for pods of these versions, and the Services select them.
pub fn at(moment: Moment, weight: i64, stable: &str, canary: &str) -> Moment {
    at_of(moment, weight, 100, stable, canary)
}

/// The same with another whole.
pub fn at_of(moment: Moment, weight: i64, whole: i64, stable: &str, canary: &str) -> Moment {
    moment.service("stable", stable).service("canary", canary).status(json!({"canary": {"weights": {
        "canary": {"weight": weight, "podTemplateHash": canary, "serviceName": "canary"},
        "stable": {"weight": whole - weight, "podTemplateHash": stable, "serviceName": "stable"}}}}))
}

/// So far along its steps.
pub fn step(index: i64) -> Value {
    json!({"currentStepIndex": index})
}

pub fn traefik_service(weight: i64) -> Value {
    json!({"apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService",
        "metadata": {"name": SPLIT, "namespace": "shop", "uid": "u-split", "generation": 1, "resourceVersion": "1"},
        "spec": {"weighted": {"services": [{"name": "stable", "port": 80, "weight": 100 - weight},
            {"name": "canary", "port": 80, "weight": weight}]}}})
}

/// The weight that the router is asked for.
pub fn weight(moment: &Moment) -> i64 {
    let services = &moment.object(SPLIT).expect("the TraefikService")["spec"]["weighted"]["services"];
    let canary = services.as_array().into_iter().flatten().find(|entry| entry["name"] == "canary");
    canary.and_then(|entry| entry["weight"].as_i64()).expect("a weight")
}

/// The weight that the status records.
pub fn recorded(moment: &Moment) -> &Value {
    &moment.stored()["canary"]["weights"]["canary"]["weight"]
}

/// How many writes a pass has for objects of this name.
pub fn writes(pass: &Pass, name: &str) -> usize {
    pass.plan.writes.iter().filter(|write| &*write.key.name == name).count()
}

/// Routing by a Gateway API route that its gateway has (or has not) taken over.
pub fn gateway() -> Value {
    json!({"plugins": {GATEWAY_API: {"httpRoute": "route", "namespace": "shop"}}})
}

pub fn http_route(weight: i64, is_accepted: bool) -> Value {
    let parent = json!({"name": "gateway"});
    let observed = if is_accepted { 1 } else { 0 };
    let condition = |kind: &str| json!({"type": kind, "status": "True", "observedGeneration": observed});
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "route", "namespace": "shop", "uid": "u-route", "generation": 1, "resourceVersion": "1",
            "labels": {"rollouts.argoproj.io/gatewayapi-canary": "in-progress"}},
        "spec": {"parentRefs": [parent], "rules": [{"backendRefs": [
            {"name": "stable", "port": 80, "weight": 100 - weight}, {"name": "canary", "port": 80, "weight": weight}]}]},
        "status": {"parents": [{"parentRef": parent, "controllerName": "example.org/gateway",
            "conditions": [condition("Accepted"), condition("ResolvedRefs")]}]}})
}

/// Routing by NGINX.
pub fn nginx(whole: i64) -> Value {
    json!({"nginx": {"stableIngress": "main"}, "maxTrafficWeight": whole})
}

pub fn ingress() -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "main", "namespace": "shop", "uid": "u-main", "generation": 1, "resourceVersion": "1"},
        "spec": {"ingressClassName": "nginx", "rules": [{"host": "shop.example.org", "http": {"paths": [
            {"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "stable", "port": {"number": 80}}}}]}}]}})
}

/// Routing by Istio, with one header route that steps may set.
pub fn istio() -> Value {
    json!({"managedRoutes": [{"name": "beta"}], "istio": {"virtualService": {"name": "mesh", "routes": ["primary"]}}})
}

/// The same, by subsets of one host.
pub fn istio_subsets() -> Value {
    json!({"istio": {"virtualService": {"name": "mesh", "routes": ["primary"]},
        "destinationRule": {"name": "subsets", "stableSubsetName": "stable", "canarySubsetName": "canary"}}})
}

/// The step that sets the header route.
pub fn beta() -> Value {
    json!({"name": "beta", "match": [{"headerName": "x-beta", "headerValue": {"exact": "yes"}}]})
}

fn virtual_service(routes: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService",
        "metadata": {"name": "mesh", "namespace": "shop", "uid": "u-mesh", "generation": 1, "resourceVersion": "1"},
        "spec": {"hosts": ["shop"], "http": routes}})
}

fn primary(weight: i64) -> Value {
    json!({"name": "primary", "route": [
        {"destination": {"host": "stable"}, "weight": 100 - weight},
        {"destination": {"host": "canary"}, "weight": weight}]})
}

/// A VirtualService at this weight.
pub fn mesh(weight: i64) -> Value {
    virtual_service(json!([primary(weight)]))
}

/// The same with the header route.
pub fn mesh_with_beta(weight: i64) -> Value {
    let beta = json!({"name": "beta", "match": [{"headers": {"x-beta": {"exact": "yes"}}}],
        "route": [{"destination": {"host": "canary"}, "weight": 100}]});
    virtual_service(json!([beta, primary(weight)]))
}

/// The same by subsets.
pub fn mesh_of_subsets(weight: i64) -> Value {
    virtual_service(json!([{"name": "primary", "route": [
        {"destination": {"host": "shop", "subset": "stable"}, "weight": 100 - weight},
        {"destination": {"host": "shop", "subset": "canary"}, "weight": weight}]}]))
}

/// The DestinationRule whose subsets select these hashes.
pub fn subsets(stable: &str, canary: &str) -> Value {
    let subset =
        |name: &str, hash: &str| json!({"name": name, "labels": {"rollouts-pod-template-hash": hash}});
    json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "DestinationRule",
        "metadata": {"name": "subsets", "namespace": "shop", "uid": "u-subsets", "generation": 1, "resourceVersion": "1",
            "annotations": {"argo-rollouts.argoproj.io/managed-by-rollouts": "web"}},
        "spec": {"host": "shop", "subsets": [subset("stable", stable), subset("canary", canary)]}})
}

/// The hashes that the subsets select: stable and canary.
pub fn selected(moment: &Moment) -> [String; 2] {
    let all = &moment.object("subsets").expect("the DestinationRule")["spec"]["subsets"];
    [0, 1].map(|at| all[at]["labels"]["rollouts-pod-template-hash"].as_str().unwrap_or("").to_owned())
}

/// Names of the routes of the VirtualService, and the canary's weight in `primary`.
pub fn routes(moment: &Moment) -> (Vec<String>, i64) {
    let http = moment.object("mesh").expect("the VirtualService")["spec"]["http"].clone();
    let http = http.as_array().cloned().unwrap_or_default();
    let names = http.iter().filter_map(|route| route["name"].as_str().map(str::to_owned)).collect();
    let primary = http.iter().find(|route| route["name"] == "primary").expect("the user's route");
    (names, primary["route"][1]["weight"].as_i64().unwrap_or(0))
}
