//! What is accepted but probably not what its author meant. Shown by `lint`; the controller does not care.

use serde_json::Value;

use super::field::{Field, Findings};
use super::numbers::int_or_percent;
use crate::problem::Problem;
use crate::spec::IntOrPercent;
use crate::traffic::GATEWAY_API;

const STEP_KEYS: [&str; 8] = [
    "pause",
    "setCanaryScale",
    "setWeight",
    "experiment",
    "analysis",
    "setHeaderRoute",
    "setMirrorRoute",
    "plugin",
];
const ROUTERS: [&str; 9] =
    ["istio", "nginx", "alb", "smi", "ambassador", "appMesh", "traefik", "apisix", "plugins"];

/// Doubts about a specification, in the order of its fields.
pub(super) fn of(spec: &Value) -> Vec<Problem> {
    let spec = Field::new(spec, "spec");
    let mut doubts = Vec::new();
    let canary = spec.get("strategy").get("canary");
    let blue_green = spec.get("strategy").get("blueGreen");
    for share in [canary.get("maxSurge"), canary.get("maxUnavailable"), blue_green.get("maxUnavailable")] {
        share_without_percent(&share, &mut doubts);
    }
    services_without_routing(&canary, &mut doubts);
    routing(&canary.get("trafficRouting"), &mut doubts);
    steps(&canary, &mut doubts);
    routers_and_strategy(&canary, &mut doubts);
    replicas(&spec, &mut doubts);
    doubts
}

fn doubt(field: &Field<'_>, detail: impl Into<String>, doubts: &mut Vec<Problem>) {
    doubts.push(Problem::invalid(&field.place, field.value.clone(), detail));
}

fn share_without_percent(field: &Field<'_>, doubts: &mut Vec<Problem>) {
    let Some(text) = field.value.as_str() else { return };
    if let IntOrPercent::Percent(share) = int_or_percent(field.value)
        && !text.contains('%')
    {
        doubt(field, format!("text is a share: this is {share} %, not {share} pods"), doubts);
    }
}

fn services_without_routing(canary: &Field<'_>, doubts: &mut Vec<Problem>) {
    if canary.get("trafficRouting").is_set() {
        return;
    }
    for name in ["stableService", "canaryService"] {
        let service = canary.get(name);
        if service.value.as_str().is_some_and(|name| !name.is_empty()) {
            let detail =
                "without trafficRouting it splits no traffic: weights are reached by numbers of pods alone";
            doubt(&service, detail, doubts);
        }
    }
}

fn routing(routing: &Field<'_>, doubts: &mut Vec<Problem>) {
    if routing.value.is_object() && ROUTERS.iter().all(|router| !routing.get(router).is_set()) {
        doubt(routing, "names no known router: traffic would stay as it is", doubts);
    }
}

/// What a router cannot do for this strategy.
fn routers_and_strategy(canary: &Field<'_>, doubts: &mut Vec<Problem>) {
    let routing = canary.get("trafficRouting");
    let dynamic = canary.get("dynamicStableScale");
    if routing.get("nginx").is_set() && dynamic.value == &Value::Bool(true) {
        let detail = "ingress-nginx answers 503 as soon as the stable Service has no pods, even where the canary gets \
                      everything";
        doubt(&dynamic, detail, doubts);
    }
    let is_only_gateway_api =
        routing.get("plugins").key(GATEWAY_API).is_set() && !routing.get("istio").is_set();
    for step in canary.get("steps").list(&mut Findings::default()) {
        let mirror = step.get("setMirrorRoute");
        if is_only_gateway_api && mirror.is_set() {
            doubt(&mirror, "mirrors nothing: Gateway API routes are not given mirrors here", doubts);
        }
    }
}

fn steps(canary: &Field<'_>, doubts: &mut Vec<Problem>) {
    let steps = canary.get("steps").list(&mut Findings::default());
    for step in steps {
        let keys: Vec<&str> = STEP_KEYS.into_iter().filter(|key| step.get(key).is_set()).collect();
        if let [first, _, ..] = keys[..] {
            let detail = format!(
                "has several keys ({}); `{first}` alone decides when it is complete",
                keys.join(", ")
            );
            doubt(&step, detail, doubts);
        }
    }
}

/// Numbers of pods that an autoscaler may well reach.
fn replicas(spec: &Field<'_>, doubts: &mut Vec<Problem>) {
    let replicas = spec.get("replicas");
    if replicas.value.as_i64() == Some(0) {
        doubt(&replicas, "no pods are wished, so an update is done at once", doubts);
    }
    let least = spec.get("strategy").get("canary").get("minPodsPerReplicaSet");
    let wished = replicas.value.as_i64().unwrap_or(1);
    if least.value.as_i64().is_some_and(|least| least > wished) {
        doubt(&least, format!("is more than the {wished} pods that are wished"), doubts);
    }
}
