//! What is in the cluster before the update: the Rollout and the objects that it names.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidegate_api::object::{Kind, Object};
use tidegate_api::problem::Problem;
use tidegate_api::spec::{Spec, Strategy};
use tidegate_api::validate::service_problems;
use tidegate_controller::world::workload_key;

use super::{Refusal, routers};

/// The Rollout without `spec.paused`: as long as that stands there, nothing can be foretold but that nothing happens.
pub(super) fn unpaused(rollout: &Object, notes: &mut Vec<String>) -> Object {
    let mut document = rollout.to_value();
    match document.pointer_mut("/spec/paused") {
        Some(paused) if *paused == true => *paused = Value::Bool(false),
        _ => return rollout.clone(),
    }
    notes.push("spec.paused is taken for false: until somebody resumes, nothing happens".to_owned());
    Object::from_value(document).unwrap_or_else(|_| rollout.clone())
}

pub(super) fn namespace(object: &Object) -> &str {
    if object.meta.namespace.is_empty() { "default" } else { &object.meta.namespace }
}

/// The Services and the workload that the Rollout names. Services that are not there are made up, so that a manifest
/// can be looked at alone; a workload cannot be, for it holds the pods.
pub(super) fn surroundings(
    rollout: &Object,
    spec: &Spec,
    others: &[Object],
    notes: &mut Vec<String>,
) -> Result<Vec<Object>, Vec<Refusal>> {
    let find = |kind: &Kind, name: &str| {
        let is_it =
            |o: &&Object| o.kind == *kind && &*o.meta.name == name && namespace(o) == namespace(rollout);
        others.iter().find(is_it).cloned()
    };
    let mut found = Vec::new();
    let mut labels = spec.template.as_ref().map(|template| template.labels.clone()).unwrap_or_default();
    if let Some(reference) = &spec.workload_ref {
        let key = workload_key(&rollout.meta.namespace, reference);
        let Some(workload) = find(&key.kind, &key.name) else {
            let (kind, name) = (&reference.kind, &reference.name);
            return Err(vec![Refusal {
                path: "spec.workloadRef.name".to_owned(),
                why: format!("{kind} {name:?}, which has the pod template, is not among the files"),
            }]);
        };
        labels = match (workload.deployment(), workload.replica_set()) {
            (Some(body), _) => body.template.labels.clone(),
            (_, Some(body)) => body.template.labels.clone(),
            (None, None) => labels,
        };
        found.push(workload);
    }
    let names = match &spec.strategy {
        Strategy::Canary(canary) => {
            let pair = canary.ping_pong.iter().flat_map(|pair| [pair.ping.clone(), pair.pong.clone()]);
            let plain = [canary.stable_service.clone(), canary.canary_service.clone()];
            plain.into_iter().chain(pair).chain(routers::root_services(canary)).collect()
        }
        Strategy::BlueGreen(blue_green) => {
            vec![blue_green.active_service.clone(), blue_green.preview_service.clone()]
        }
        Strategy::Unclear => return Ok(found),
    };
    if let Strategy::Canary(canary) = &spec.strategy {
        found.extend(routers::objects(rollout, canary, others, notes)?);
    }
    for name in names.iter().filter(|name| !name.is_empty()) {
        let is_there = |object: &Object| object.kind == Kind::Service && object.meta.name == *name;
        if found.iter().any(is_there) {
            continue;
        }
        if let Some(service) = find(&Kind::Service, name) {
            found.push(service);
            continue;
        }
        notes.push(format!("Service {name} is not among the files; taken to select the pods"));
        let selector: Map<String, Value> =
            labels.iter().map(|(key, value)| (key.to_string(), Value::from(&**value))).collect();
        let document = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": &**name, "namespace": namespace(rollout)},
            "spec": {"selector": selector, "ports": [{"port": 80}]}});
        let invented = Object::from_value(document);
        let refused = |why: String| vec![Refusal { path: "spec.strategy".to_owned(), why }];
        found.push(invented.map_err(|why| refused(why.to_string()))?);
    }
    let service = |name: &str| {
        let is_it = |object: &&Object| object.kind == Kind::Service && &*object.meta.name == name;
        found.iter().find(is_it).cloned().map(Arc::new)
    };
    let services = service_problems(&rollout.meta.name, spec, &labels, &service);
    let problems: Vec<Problem> = services.missing.into_iter().chain(services.misfitting).collect();
    let refused = |problem: Problem| Refusal { path: problem.path, why: problem.detail };
    if problems.is_empty() { Ok(found) } else { Err(problems.into_iter().map(refused).collect()) }
}
