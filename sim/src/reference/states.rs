//! What one version of one object shows: pairs of a track and the value it has there.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::names::{HASH, Names, REVISION, annotation, at, items, string};

/// The traffic routers' own kinds; of these only the spec is compared.
pub(super) const ROUTERS: [&str; 6] =
    ["VirtualService", "DestinationRule", "TrafficSplit", "TraefikService", "ApisixRoute", "Mapping"];

/// Routes of the Gateway API; of these the spec, too, without what an API server fills in by their definitions.
const ROUTES: [&str; 4] = ["HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"];

/// Stands for what is not there.
pub(super) const ABSENT: &str = "-";
const GONE: &str = "gone";

/// Everything this version shows, in a fixed order; a deleted object shows only that it is gone.
pub(super) fn states(kind: &str, deleted: bool, object: &Value, names: &Names) -> Vec<(String, Value)> {
    let name = names.text(string(object, "/metadata/name"));
    let mut shown = Shown { prefix: String::new(), pairs: Vec::new(), names };
    match kind {
        "Rollout" => shown.lives(format!("rollout/{name}/"), deleted, object, Shown::rollout),
        "ReplicaSet" => {
            shown.lives(format!("rs/{}/", names.of_set(object)), deleted, object, Shown::replica_set)
        }
        "Ingress" => shown.lives(format!("ingress/{name}/"), deleted, object, Shown::ingress),
        "AnalysisRun" => shown.lives(format!("analysisrun/{name}/"), deleted, object, Shown::analysis_run),
        "Experiment" => shown.lives(format!("experiment/{name}/"), deleted, object, Shown::experiment),
        "Deployment" => {
            let desired = if deleted { GONE.into() } else { or_absent(at(object, "/spec/replicas")) };
            shown.add(&format!("deployment/{name}/desired"), desired);
        }
        "Service" => shown.service(&name, deleted, object),
        router if ROUTERS.contains(&router) => {
            let spec = if deleted { GONE.into() } else { tree_or(names, at(object, "/spec"), json!({})) };
            shown.add(&format!("router/{router}/{name}"), spec);
        }
        route if ROUTES.contains(&route) => {
            let mut spec = if deleted { GONE.into() } else { tree_or(names, at(object, "/spec"), json!({})) };
            without_defaults(&mut spec);
            shown.add(&format!("router/{route}/{name}"), spec);
        }
        _ => {}
    }
    shown.pairs
}

/// Takes away from a route whatever says no more than its absence.
fn without_defaults(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_defaults),
        Value::Object(fields) => {
            fields.values_mut().for_each(without_defaults);
            fields.retain(|name, value| match (name.as_str(), &*value) {
                ("group", Value::String(group)) => {
                    !matches!(group.as_str(), "" | "gateway.networking.k8s.io")
                }
                ("kind", Value::String(kind)) => !matches!(kind.as_str(), "Service" | "Gateway"),
                ("type", Value::String(kind)) => kind != "Exact",
                ("weight", weight) => *weight != 1,
                ("percent", percent) => *percent != 100,
                ("path", path) => *path != json!({"type": "PathPrefix", "value": "/"}),
                ("matches", matches) => *matches != json!([{}]),
                _ => true,
            });
        }
        _ => {}
    }
}

/// The conditions of an object's status as `TYPE -> Status(Reason)`.
pub(super) fn conditions(object: &Value) -> BTreeMap<&str, String> {
    items(object, "/status/conditions")
        .iter()
        .map(|c| (string(c, "/type"), format!("{}({})", string(c, "/status"), string(c, "/reason"))))
        .collect()
}

/// Labels and annotations, the part of metadata that a user may see change.
pub(super) fn told_metadata(metadata: Option<&Value>, names: &Names) -> Value {
    let part = |key| tree_or(names, metadata.and_then(|m| m.get(key)).filter(|v| !v.is_null()), json!({}));
    json!({"labels": part("labels"), "annotations": part("annotations")})
}

struct Shown<'a> {
    prefix: String,
    pairs: Vec<(String, Value)>,
    names: &'a Names,
}

impl Shown<'_> {
    fn add(&mut self, field: &str, value: impl Into<Value>) {
        self.pairs.push((format!("{}{field}", self.prefix), value.into()));
    }

    fn text(&mut self, field: &str, object: &Value, pointer: &str, otherwise: &str) {
        let value = self.names.text(at(object, pointer).and_then(Value::as_str).unwrap_or(otherwise));
        self.add(field, value);
    }

    fn flag(&mut self, field: &str, object: &Value, pointer: &str) {
        self.add(field, truth(at(object, pointer)));
    }

    fn lives(&mut self, prefix: String, deleted: bool, object: &Value, rest: fn(&mut Self, &Value)) {
        self.prefix = prefix;
        self.add("exists", !deleted);
        if !deleted {
            rest(self, object);
        }
    }

    fn rollout(&mut self, rollout: &Value) {
        self.add("phase", or_absent(at(rollout, "/status/phase")));
        self.text("message", rollout, "/status/message", "");
        self.add("step", or_absent(at(rollout, "/status/currentStepIndex")));
        self.text("stable", rollout, "/status/stableRS", ABSENT);
        self.text("current", rollout, "/status/currentPodHash", ABSENT);
        self.flag("abort", rollout, "/status/abort");
        self.flag("promoteFull", rollout, "/status/promoteFull");
        self.flag("controllerPause", rollout, "/status/controllerPause");
        let reasons: Vec<&str> =
            items(rollout, "/status/pauseConditions").iter().map(|c| string(c, "/reason")).collect();
        self.add("pauseReasons", reasons);
        self.flag("paused", rollout, "/spec/paused");
        self.conditions(rollout);
        if let Some(weights) = at(rollout, "/status/canary/weights").filter(|w| truth(Some(w))) {
            self.add("weights", short_weights(&self.names.tree(weights)));
        }
        if rollout.pointer("/spec/strategy/blueGreen").is_some() {
            self.text("active", rollout, "/status/blueGreen/activeSelector", ABSENT);
            self.text("preview", rollout, "/status/blueGreen/previewSelector", ABSENT);
        }
    }

    fn replica_set(&mut self, set: &Value) {
        self.add("desired", or_absent(at(set, "/spec/replicas")));
        if let Some(revision) = annotation(set, REVISION) {
            self.add("revision", revision);
        }
        let delayed = annotation(set, "scale-down-deadline").is_some_and(|deadline| !deadline.is_empty());
        self.add("scaleDownDelay", if delayed { "set" } else { ABSENT });
        self.add("podMeta", told_metadata(at(set, "/spec/template/metadata"), self.names));
    }

    fn service(&mut self, name: &str, deleted: bool, service: &Value) {
        self.prefix = format!("service/{name}/");
        let selector = at(service, "/spec/selector").and_then(|s| s.get(HASH)).and_then(Value::as_str);
        let selector = if deleted { GONE.to_owned() } else { self.names.text(selector.unwrap_or(ABSENT)) };
        self.add("selector", selector);
        self.add(
            "managedBy",
            annotation(service, "argo-rollouts.argoproj.io/managed-by-rollouts").unwrap_or(ABSENT),
        );
    }

    /// Annotations whose text is JSON are compared as JSON: the order of fields in them says nothing.
    fn ingress(&mut self, ingress: &Value) {
        for (key, value) in
            at(ingress, "/metadata/annotations").and_then(Value::as_object).into_iter().flatten()
        {
            let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
            self.add(key, self.names.tree(parsed.as_ref().unwrap_or(value)));
        }
        self.add("rules", tree_or(self.names, at(ingress, "/spec/rules"), json!([])));
    }

    fn analysis_run(&mut self, run: &Value) {
        self.add("phase", or_absent(at(run, "/status/phase")));
        self.text("message", run, "/status/message", "");
        let role = at(run, "/metadata/labels").and_then(|labels| labels.get("rollout-type"));
        self.add("role", or_absent(role));
        if truth(at(run, "/spec/terminate")) {
            self.add("terminate", true);
        }
    }

    fn experiment(&mut self, experiment: &Value) {
        self.add("phase", or_absent(at(experiment, "/status/phase")));
        self.text("message", experiment, "/status/message", "");
        for template in items(experiment, "/status/templateStatuses") {
            let status = at(template, "/status").and_then(Value::as_str).unwrap_or(ABSENT);
            let told = format!("{status} {}", string(template, "/message"));
            self.add(&format!("template/{}", string(template, "/name")), self.names.text(told.trim()));
        }
        for run in items(experiment, "/status/analysisRuns") {
            self.add(&format!("analysis/{}", string(run, "/name")), or_absent(at(run, "/phase")));
        }
        self.conditions(experiment);
    }

    fn conditions(&mut self, object: &Value) {
        for (kind, value) in conditions(object) {
            self.add(&format!("condition/{kind}"), value);
        }
    }
}

/// Each side's weight as `HASH:WEIGHT`; lists of further destinations stay as they are.
fn short_weights(weights: &Value) -> Value {
    let Some(sides) = weights.as_object() else { return weights.clone() };
    let short = |side: &Value| match side.as_object() {
        Some(of) => format!("{}:{}", plain(of, "podTemplateHash", ABSENT), plain(of, "weight", "0")).into(),
        None => side.clone(),
    };
    sides.iter().map(|(name, side)| (name.clone(), short(side))).collect()
}

fn plain(fields: &Map<String, Value>, key: &str, otherwise: &str) -> String {
    match fields.get(key) {
        None => otherwise.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn or_absent(value: Option<&Value>) -> Value {
    value.cloned().unwrap_or_else(|| ABSENT.into())
}

fn tree_or(names: &Names, value: Option<&Value>, otherwise: Value) -> Value {
    value.map_or(otherwise, |value| names.tree(value))
}

/// Whether a field is set to something: `false`, zero and the empty are as good as absent.
fn truth(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(b)) => *b,
        Some(Value::Number(n)) => n.as_f64() != Some(0.0),
        Some(Value::String(s)) => !s.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
    }
}
