//! Rules about objects that a Rollout refers to. They need the cluster, so the controller asks for them in each pass.

use std::sync::Arc;

use super::rollout::TEMPLATE_BESIDE_REFERENCE;
use crate::object::{Object, Strings};
use crate::problem::Problem;
use crate::spec::{Spec, Strategy};

const HASH_LABEL: &str = "rollouts-pod-template-hash";
const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";

/// What is wrong with referenced objects, in two lists: the reference looks for all of them first.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// Those that do not exist.
    pub missing: Vec<Problem>,
    /// Those that exist and do not fit.
    pub misfitting: Vec<Problem>,
}

/// What is wrong with the Services that a specification names. `template_labels` are those of the pod template, also where it comes from a referenced workload.
pub fn service_problems(
    rollout_name: &str,
    spec: &Spec,
    template_labels: &Strings,
    services: &dyn Fn(&str) -> Option<Arc<Object>>,
) -> Lookup {
    let mut found = Lookup::default();
    for (place, name) in named_services(spec) {
        let path = format!("spec.strategy.{place}");
        match services(&name) {
            None => found.missing.push(Problem::invalid(path, &*name, format!("service {name:?} not found"))),
            Some(service) => {
                found.misfitting.extend(misfits(&path, &name, &service, rollout_name, template_labels))
            }
        }
    }
    found
}

/// Why a `workloadRef` cannot be followed whatever the cluster holds. The reference reports it before all other
/// problems and without a path; [`super::check`] lists the same in its place, with one.
pub fn workload_refusal(spec: &Spec) -> Option<&'static str> {
    let template = spec.template.as_ref()?;
    let has_metadata = !template.labels.is_empty() || !template.annotations.is_empty();
    (spec.workload_ref.is_some() && has_metadata).then_some(TEMPLATE_BESIDE_REFERENCE)
}

/// The Services in the order in which the reference looks them up.
pub(super) fn named_services(spec: &Spec) -> Vec<(&'static str, String)> {
    let mut named = Vec::new();
    match &spec.strategy {
        Strategy::BlueGreen(blue_green) => {
            named.push(("blueGreen.activeService", blue_green.active_service.to_string()));
            named.push(("blueGreen.previewService", blue_green.preview_service.to_string()));
        }
        Strategy::Canary(canary) => {
            named.push(("canary.stableService", canary.stable_service.to_string()));
            named.push(("canary.canaryService", canary.canary_service.to_string()));
            if let Some(ping_pong) = &canary.ping_pong {
                named.push(("canary.pingPong.pingService", ping_pong.ping.to_string()));
                named.push(("canary.pingPong.pongService", ping_pong.pong.to_string()));
            }
        }
        Strategy::Unclear => {}
    }
    named.retain(|(_, name)| !name.is_empty());
    named
}

/// Why a Service that is there does not fit.
pub(super) fn misfits(
    path: &str,
    name: &str,
    service: &Object,
    rollout_name: &str,
    template_labels: &Strings,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let selector = service.service().map(|service| &service.selector);
    for (key, value) in selector.into_iter().flat_map(Strings::iter) {
        if &**key != HASH_LABEL && template_labels.get(key) != Some(value) {
            let detail = format!("Service {name:?} has unmatch label {:?} in rollout", &**key);
            problems.push(Problem::invalid(path, name, detail));
        }
    }
    if service.meta.annotations.get(MANAGED_BY).is_some_and(|manager| &**manager != rollout_name) {
        let detail = format!("Service {name:?} is managed by another Rollout");
        problems.push(Problem::invalid(path, name, detail));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::check;
    use serde_json::{Value, json};

    fn service(name: &str, selector: Value, manager: Option<&str>) -> Arc<Object> {
        let annotations = manager.map_or(json!({}), |manager| json!({MANAGED_BY: manager}));
        Arc::new(
            Object::from_value(json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "annotations": annotations}, "spec": {"selector": selector}}))
            .unwrap(),
        )
    }

    fn problems(strategy: Value, known: &[Arc<Object>]) -> Vec<String> {
        let spec = check(&json!({"strategy": strategy})).spec;
        let labels: Strings = [("app", "demo")].into_iter().collect();
        let find = |name: &str| known.iter().find(|s| &*s.meta.name == name).cloned();
        let found = service_problems("demo", &spec, &labels, &find);
        found.missing.iter().chain(&found.misfitting).map(ToString::to_string).collect()
    }

    #[test]
    fn missing_services_come_first_then_those_that_do_not_fit() {
        let stable = service("stable", json!({"app": "other", "rollouts-pod-template-hash": "1"}), Some("x"));
        assert_eq!(
            problems(json!({"canary": {"stableService": "stable", "canaryService": "canary"}}), &[stable]),
            [
                "spec.strategy.canary.canaryService: Invalid value: \"canary\": service \"canary\" not found",
                "spec.strategy.canary.stableService: Invalid value: \"stable\": Service \"stable\" has unmatch label \
                 \"app\" in rollout",
                "spec.strategy.canary.stableService: Invalid value: \"stable\": Service \"stable\" is managed by \
                 another Rollout",
            ]
        );
    }

    #[test]
    fn vector_145_a_pair_is_looked_at_like_plain_services() {
        let ping = service("ping", json!({"app": "demo"}), Some("other"));
        let pair = json!({"canary": {"pingPong": {"pingService": "ping", "pongService": "pong"}}});
        assert_eq!(
            problems(pair, &[ping]),
            [
                "spec.strategy.canary.pingPong.pongService: Invalid value: \"pong\": service \"pong\" not found",
                "spec.strategy.canary.pingPong.pingService: Invalid value: \"ping\": Service \"ping\" is managed by \
                 another Rollout",
            ]
        );
    }

    #[test]
    fn services_that_fit_or_are_not_named_are_no_problem() {
        let active =
            service("active", json!({"app": "demo", "rollouts-pod-template-hash": "1"}), Some("demo"));
        assert!(problems(json!({"blueGreen": {"activeService": "active"}}), &[active]).is_empty());
    }

    #[test]
    fn a_service_of_another_rollout_is_told_by_its_labels_first() {
        let active = service("active", json!({"app": "other"}), Some("other"));
        assert_eq!(
            problems(json!({"blueGreen": {"activeService": "active"}}), &[active])[0],
            "spec.strategy.blueGreen.activeService: Invalid value: \"active\": Service \"active\" has unmatch label \
             \"app\" in rollout"
        );
    }

    #[test]
    fn a_template_beside_a_reference_is_refused_in_the_plain_words_of_the_reference() {
        let spec = |template: Value| {
            check(&json!({"workloadRef": {"kind": "Deployment"}, "template": template,
                "strategy": {"canary": {}}}))
            .spec
        };
        let refused = spec(json!({"metadata": {"labels": {"app": "demo"}}}));
        assert_eq!(workload_refusal(&refused), Some("template must be empty for workload reference rollout"));
        assert_eq!(workload_refusal(&spec(json!({"spec": {}}))), None);
    }
}
