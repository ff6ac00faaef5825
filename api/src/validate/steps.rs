//! Rules about the steps of a canary.

use serde_json::Value;

use super::canary::has_plugins;
use super::field::{Field, Findings};
use super::names;
use super::strategy::{invalid, invalid_value, required, short};
use crate::duration::{PauseSeconds, pause_seconds};
use crate::problem::Problem;

const ONE_KEY: &str =
    "Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin or pause";
const HEADER_ROUTERS: &str = "SetHeaderRoute requires TrafficRouting, supports Istio and ALB and Apisix";
const MIRROR_ROUTERS: &str = "SetMirrorRoute requires TrafficRouting, supports Istio and Plugins";
const MATCH_ONLY_EXACT: &str = "SetHeaderRoute match value invalid. ALB supports 'exact' value only";
const MATCH_TOO_MUCH: &str =
    "StringMatch match value must have exactly one of the following: exact, regex, prefix";
const MATCH_NOTHING: &str =
    "StringMatch value missed, match value must have one of the following: exact, regex, prefix";
const NO_MANAGED_ROUTES: &str =
    "Rollout has missing field 'spec.strategy.canary.trafficRouting.managedRoutes'";
const UNKNOWN_ROUTE: &str =
    "Steps define a route that does not exist in spec.strategy.canary.trafficRouting.managedRoutes";
const EXPERIMENT_WEIGHT_ALONE: &str =
    "Experiment template weight cannot be set unless TrafficRouting is enabled";
const EXPERIMENT_WEIGHT_ROUTERS: &str = "Experiment template weight is only available for TrafficRouting with SMI, \
                                         ALB, Istio and Plugins at this time";
const UNKNOWN_FIELD_PATH: &str =
    "Analyses arguments must refer to valid object metadata supported by downwardAPI";

/// Applies the rules to each step in turn.
pub(super) fn rules(canary: &Field<'_>, found: &mut Findings) {
    let routing = canary.get("trafficRouting");
    let most = routing.get("maxTrafficWeight").int32(found).unwrap_or(100);
    for step in canary.get("steps").mappings(found) {
        one_key(&step, found);
        let weight = step.get("setWeight");
        if weight.int32(found).is_some_and(|weight| !(0..=most).contains(&weight)) {
            found.rule(invalid(&weight, format!("SetWeight needs to be between 0 and {most}")));
        }
        pause(&step.get("pause").get("duration"), found);
        let scale = step.get("setCanaryScale");
        if scale.is_set() && !routing.is_set() {
            // The caret belongs under the step: what is missing has no line.
            let detail = "SetCanaryScale requires TrafficRouting to be set";
            found.rule(required(&routing, detail).at(&scale.place));
        }
        header_route(&step.get("setHeaderRoute"), &routing, found);
        mirror_route(&step.get("setMirrorRoute"), &routing, found);
        managed_routes(&step, &routing, found);
        experiment_weights(&step.get("experiment"), &routing, found);
        arguments(&step, found);
    }
}

fn one_key(step: &Field<'_>, found: &mut Findings) {
    let absent = |name: &str| !step.get(name).is_set();
    let counted = ["setWeight", "pause", "experiment", "analysis"];
    if counted.iter().filter(|name| step.get(name).is_set()).count() > 1 {
        let value = format!(
            "step.Experiment: {} step.Pause: {} step.SetWeight: {} step.Analysis: {}",
            !absent("experiment"),
            !absent("pause"),
            !absent("setWeight"),
            !absent("analysis")
        );
        found.rule(invalid_value(step, value, ONE_KEY));
    }
    let others = ["setCanaryScale", "setHeaderRoute", "setMirrorRoute", "plugin"];
    if counted.iter().chain(&others).all(|name| absent(name)) {
        // Here the reference prints whether a key is missing, where above it prints whether it is there.
        let value = "step.Experiment: true step.Pause: true step.SetWeight: true step.Analysis: true \
                     step.SetCanaryScale: true step.SetHeaderRoute: true step.SetMirrorRoute: true step.Plugin: true";
        found.rule(invalid_value(step, value, ONE_KEY));
    }
}

fn pause(duration: &Field<'_>, found: &mut Findings) {
    if !duration.is_set() {
        return;
    }
    let seconds = match pause_seconds(duration.value) {
        PauseSeconds::Seconds(seconds) => seconds,
        // What cannot be read is -1 second to the reference, and so to its message.
        PauseSeconds::Invalid | PauseSeconds::Indefinite => -1,
    };
    if seconds < 0 {
        found.rule(invalid_value(duration, seconds, "Duration needs to be greater than 0"));
    }
}

fn header_route(route: &Field<'_>, routing: &Field<'_>, found: &mut Findings) {
    if !route.is_set() {
        return;
    }
    let by_alb = routing.get("alb").is_set();
    let fits =
        by_alb || routing.get("istio").is_set() || routing.get("apisix").is_set() || has_plugins(routing);
    if !fits {
        return found.rule(invalid(route, HEADER_ROUTERS));
    }
    for entry in route.get("match").mappings(found) {
        let value = entry.get("headerValue");
        if !by_alb || !value.is_set() {
            string_match(&value, &entry, found);
        } else if !has(&value, "exact") || has(&value, "regex") || has(&value, "prefix") {
            found.rule(invalid_value(&entry, value.value.clone(), MATCH_ONLY_EXACT));
        }
    }
}

fn mirror_route(route: &Field<'_>, routing: &Field<'_>, found: &mut Findings) {
    if !route.is_set() {
        return;
    }
    if !routing.get("istio").is_set() && !has_plugins(routing) {
        found.rule(invalid(route, MIRROR_ROUTERS));
    }
    for entry in route.get("match").mappings(found) {
        for name in ["method", "path"] {
            let value = entry.get(name);
            if value.is_set() {
                string_match(&value, &entry, found);
            }
        }
    }
}

/// A match names exactly one way of comparing. The reference blames the entry, not the value in it.
fn string_match(value: &Field<'_>, entry: &Field<'_>, found: &mut Findings) {
    let detail = match ["exact", "regex", "prefix"].iter().filter(|name| has(value, name)).count() {
        0 => MATCH_NOTHING,
        1 => return,
        _ => MATCH_TOO_MUCH,
    };
    found.rule(invalid_value(entry, value.value.clone(), detail));
}

fn has(field: &Field<'_>, name: &str) -> bool {
    field.get(name).value.as_str().is_some_and(|text| !text.is_empty())
}

fn managed_routes(step: &Field<'_>, routing: &Field<'_>, found: &mut Findings) {
    let routes = ["setHeaderRoute", "setMirrorRoute"].map(|name| step.get(name));
    if !routing.is_set() || !routes.iter().any(Field::is_set) {
        return;
    }
    let managed = routing.get("managedRoutes");
    if !managed.is_set() {
        return found.rule(required(&managed, NO_MANAGED_ROUTES));
    }
    let known = managed.mappings(found);
    for route in routes.iter().filter(|route| route.is_set()) {
        let name = route.get("name").text(found).unwrap_or_default();
        if !known.iter().any(|known| known.get("name").value.as_str().unwrap_or_default() == name) {
            found.rule(invalid_value(route, name, UNKNOWN_ROUTE));
        }
    }
}

fn experiment_weights(experiment: &Field<'_>, routing: &Field<'_>, found: &mut Findings) {
    let fits = ["alb", "smi", "istio"].iter().any(|name| routing.get(name).is_set()) || has_plugins(routing);
    for template in experiment.get("templates").mappings(found) {
        let weight = template.get("weight");
        if weight.int32(found).is_none() {
            continue;
        }
        if !routing.is_set() {
            found.rule(invalid(&weight, EXPERIMENT_WEIGHT_ALONE));
        } else if !fits {
            found.rule(invalid(&weight, EXPERIMENT_WEIGHT_ROUTERS));
        }
    }
}

/// Arguments of analyses may be taken from the Rollout's own metadata, as far as Kubernetes knows the path.
fn arguments(step: &Field<'_>, found: &mut Findings) {
    let mut args = Vec::new();
    for analysis in step.get("experiment").get("analyses").mappings(found) {
        args.extend(analysis.get("args").mappings(found));
    }
    args.extend(step.get("analysis").get("args").mappings(found));
    let all = Value::Array(args.iter().map(|arg| arg.value.clone()).collect());
    for arg in &args {
        let path = arg.get("valueFrom").get("fieldRef").get("fieldPath");
        let text = path.text(found).unwrap_or_default();
        if text.starts_with("metadata") && !is_known_path(text) {
            let at = format!("{}.analyses", short(&step.place));
            found.rule(Problem::invalid(at, all.clone(), UNKNOWN_FIELD_PATH).at(&path.place));
        }
    }
}

fn is_known_path(path: &str) -> bool {
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        return match map {
            "metadata.annotations" => names::qualified_name(&key.to_ascii_lowercase()).is_empty(),
            "metadata.labels" => names::qualified_name(key).is_empty(),
            _ => false,
        };
    }
    matches!(
        path,
        "metadata.annotations" | "metadata.labels" | "metadata.name" | "metadata.namespace" | "metadata.uid"
    )
}
