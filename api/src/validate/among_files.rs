//! Rules about objects that a Rollout refers to, as far as they stand in the files at hand. For `lint`: what is not
//! there may be in the cluster, so it is a warning; what is there and does not fit is an error.

use std::sync::Arc;

use serde_json::Value;

use super::field::{Field, Findings};
use super::references::{misfits, named_services};
use super::template_problems;
use crate::object::{Body, Object, Selector, Strings, Template};
use crate::problem::Problem;
use crate::spec::Spec;

/// What was found about references.
#[derive(Debug, Default)]
pub struct References {
    /// Objects that are there and do not fit.
    pub errors: Vec<Problem>,
    /// Objects that are not there.
    pub missing: Vec<Problem>,
}

/// Finds an object among the files, by kind and name.
pub type Find<'f> = &'f dyn Fn(&str, &str) -> Option<Arc<Object>>;

/// Follows every reference of a Rollout.
pub fn references_among(rollout: &Object, find: Find<'_>) -> References {
    let mut found = References::default();
    let Some(body) = rollout.rollout() else { return found };
    let spec = body.spec.spec();
    let labels = template_labels(spec, find, &mut found);
    for (place, name) in named_services(spec) {
        let path = format!("spec.strategy.{place}");
        match find("Service", &name) {
            None => found.miss(path, "Service", &name),
            Some(service) => {
                if let Some(labels) = &labels {
                    found.errors.extend(misfits(&path, &name, &service, &rollout.meta.name, labels));
                }
            }
        }
    }
    let raw = body.spec.raw();
    let spec_field = Field::new(&raw, "spec");
    for reference in analysis_templates(&spec_field) {
        let name = text(&reference.get("templateName"));
        let kind = match reference.get("clusterScope").value {
            Value::Bool(true) => "ClusterAnalysisTemplate",
            _ => "AnalysisTemplate",
        };
        if !name.is_empty() && find(kind, name).is_none() {
            found.miss(reference.get("templateName").place, kind, name);
        }
    }
    let canary = spec_field.get("strategy").get("canary");
    follow_routers(&canary, find, &mut found);
    found
}

impl References {
    fn miss(&mut self, path: String, kind: &str, name: &str) {
        let detail = format!("{kind} {name:?} is not among the files given");
        self.missing.push(Problem::invalid(path, name, detail));
    }
}

/// Labels of the pods, which come from the referenced workload where there is one; nothing when that is not known.
fn template_labels(spec: &Spec, find: Find<'_>, found: &mut References) -> Option<Strings> {
    let Some(reference) = &spec.workload_ref else {
        return spec.template.as_ref().map(|template| template.labels.clone());
    };
    let Some(workload) = find(&reference.kind, &reference.name) else {
        found.miss("spec.workloadRef.name".to_owned(), &reference.kind, &reference.name);
        return None;
    };
    let (template, selector): (Template, Option<Arc<Selector>>) = match &workload.body {
        Body::Deployment(body) => (body.template.clone(), Some(body.selector.clone())),
        Body::ReplicaSet(body) => (body.template.clone(), Some(body.selector.clone())),
        Body::Other(value) => (Template::from_value(value["template"].clone(), "template").ok()?, None),
        _ => return None,
    };
    if let Some(selector) = spec.selector.as_ref().or(selector.as_ref()) {
        // They stand in another document; here the reference is underlined.
        let problems = template_problems(&template, selector).into_iter();
        found.errors.extend(problems.map(|problem| problem.at("spec.workloadRef.name")));
    }
    Some(template.labels)
}

fn text<'v>(field: &Field<'v>) -> &'v str {
    field.value.as_str().unwrap_or("")
}

/// Every place that names an analysis template.
fn analysis_templates<'v>(spec: &Field<'v>) -> Vec<Field<'v>> {
    // Wrong types are said by the check of the specification itself.
    let mut ignored = Findings::default();
    let (canary, blue_green) = (spec.get("strategy").get("canary"), spec.get("strategy").get("blueGreen"));
    let mut places = vec![
        canary.get("analysis").get("templates"),
        blue_green.get("prePromotionAnalysis").get("templates"),
        blue_green.get("postPromotionAnalysis").get("templates"),
    ];
    for step in canary.get("steps").mappings(&mut ignored) {
        places.push(step.get("analysis").get("templates"));
        places.push(step.get("experiment").get("analyses"));
    }
    places.iter().flat_map(|place| place.mappings(&mut ignored)).collect()
}

/// Ingresses must lead to the stable Service; VirtualServices must be there.
fn follow_routers(canary: &Field<'_>, find: Find<'_>, found: &mut References) {
    let mut ignored = Findings::default();
    let routing = canary.get("trafficRouting");
    let stable = text(&canary.get("stableService"));
    let (nginx, alb, istio) = (routing.get("nginx"), routing.get("alb"), routing.get("istio"));
    let root = match text(&alb.get("rootService")) {
        "" => stable,
        root => root,
    };
    let mut ingresses = vec![(nginx.get("stableIngress"), stable), (alb.get("ingress"), root)];
    ingresses.extend(nginx.get("stableIngresses").list(&mut ignored).into_iter().map(|i| (i, stable)));
    ingresses.extend(alb.get("ingresses").list(&mut ignored).into_iter().map(|i| (i, root)));
    for (field, service) in ingresses {
        let name = text(&field);
        if name.is_empty() {
            continue;
        }
        match find("Ingress", name) {
            None => found.miss(field.place, "Ingress", name),
            Some(ingress) if leads_to(&ingress, service) => {}
            Some(_) => {
                let detail = format!("ingress `{name}` has no rules using service {service} backend");
                found.errors.push(Problem::invalid(field.place, name, detail));
            }
        }
    }
    let mut virtual_services = vec![istio.get("virtualService").get("name")];
    virtual_services
        .extend(istio.get("virtualServices").mappings(&mut ignored).iter().map(|entry| entry.get("name")));
    for field in virtual_services {
        // `name.namespace` is another namespace; those are looked for by name alone.
        let name = text(&field).split('.').next().unwrap_or("");
        if !name.is_empty() && find("VirtualService", name).is_none() {
            found.miss(field.place, "VirtualService", name);
        }
    }
}

fn leads_to(ingress: &Object, service: &str) -> bool {
    let Body::Other(document) = &ingress.body else { return false };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&document["spec"]["rules"]).iter().flat_map(|rule| list(&rule["http"]["paths"])).any(|path| {
        let backend = &path["backend"];
        backend["service"]["name"] == service || backend["serviceName"] == service
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Arc<Object> {
        Arc::new(Object::from_value(value).unwrap())
    }

    fn check(spec: Value, others: &[Value], errors: &[&str], missing: &[&str]) {
        let rollout = object(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web"}, "spec": spec}));
        let others: Vec<Arc<Object>> = others.iter().cloned().map(object).collect();
        let find = |kind: &str, name: &str| {
            others.iter().find(|other| other.kind.name() == kind && &*other.meta.name == name).cloned()
        };
        let found = references_among(&rollout, &find);
        let text = |problems: &[Problem]| {
            problems.iter().map(|p| format!("{}: {}", p.place(), p.detail)).collect::<Vec<_>>()
        };
        assert_eq!((text(&found.errors), text(&found.missing)), (owned(errors), owned(missing)));
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn spec(strategy: Value) -> Value {
        json!({"selector": {"matchLabels": {"app": "web"}}, "strategy": strategy,
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}})
    }

    fn service(name: &str, app: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"selector": {"app": app}}})
    }

    #[test]
    fn services_are_missing_or_do_not_fit() {
        check(
            spec(json!({"blueGreen": {"activeService": "active", "previewService": "preview"}})),
            &[service("preview", "other")],
            &[
                "spec.strategy.blueGreen.previewService: Service \"preview\" has unmatch label \"app\" in rollout",
            ],
            &["spec.strategy.blueGreen.activeService: Service \"active\" is not among the files given"],
        );
    }

    #[test]
    fn analysis_templates_are_looked_for_everywhere_they_are_named() {
        let named = |name: &str| json!([{"templateName": name}]);
        let known = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
            "metadata": {"name": "known"}, "spec": {}});
        check(
            spec(json!({"canary": {"analysis": {"templates": named("a")}, "steps": [
                {"analysis": {"templates": [{"templateName": "known"}, {"templateName": "known", "clusterScope": true}]}},
                {"experiment": {"analyses": named("b")}}, 3]}})),
            &[known],
            &[],
            &[
                "spec.strategy.canary.analysis.templates[0].templateName: AnalysisTemplate \"a\" is not among the files given",
                "spec.strategy.canary.steps[0].analysis.templates[1].templateName: ClusterAnalysisTemplate \"known\" is not \
                 among the files given",
                "spec.strategy.canary.steps[1].experiment.analyses[0].templateName: AnalysisTemplate \"b\" is not among the \
                 files given",
            ],
        );
    }

    #[test]
    fn a_workload_brings_its_template() {
        let deployment = |labels: Value| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
                "spec": {"selector": {"matchLabels": {"app": "web"}},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
        };
        let referring = json!({"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "strategy": {"blueGreen": {"activeService": "active"}}});
        let active = service("active", "web");
        check(referring.clone(), &[deployment(json!({"app": "web"})), active.clone()], &[], &[]);
        check(
            referring.clone(),
            std::slice::from_ref(&active),
            &[],
            &["spec.workloadRef.name: Deployment \"app\" is not among the files given"],
        );
        check(
            referring,
            &[deployment(json!({"app": "shop"})), active],
            &[
                "spec.workloadRef.name: `selector` does not match template `labels`",
                "spec.strategy.blueGreen.activeService: Service \"active\" has unmatch label \"app\" in rollout",
            ],
            &[],
        );
    }

    #[test]
    fn ingresses_lead_to_the_stable_service() {
        let ingress = |service: &str| {
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "main"},
                "spec": {"rules": [{"http": {"paths": [{"backend": {"service": {"name": service}}}]}}]}})
        };
        let routed =
            spec(json!({"canary": {"stableService": "stable", "canaryService": "canary", "trafficRouting":
            {"nginx": {"stableIngress": "main", "stableIngresses": ["other", 3]},
             "istio": {"virtualService": {"name": "vs.ns"}}}}}));
        let services = [service("stable", "web"), service("canary", "web")];
        let missing = [
            "spec.strategy.canary.trafficRouting.nginx.stableIngresses[0]: Ingress \"other\" is not among the files given",
            "spec.strategy.canary.trafficRouting.istio.virtualService.name: VirtualService \"vs\" is not among the files given",
        ];
        let with = |service: &str| [&services[..], &[ingress(service)]].concat();
        check(routed.clone(), &with("stable"), &[], &missing);
        let wrong = "spec.strategy.canary.trafficRouting.nginx.stableIngress: ingress `main` has no rules using service \
                     stable backend";
        check(routed, &with("canary"), &[wrong], &missing);
    }
}
