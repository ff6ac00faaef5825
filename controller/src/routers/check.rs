//! What is wrong with objects that `trafficRouting` names, as the condition `InvalidSpec` says it.
//!
//! The reference looks for all objects first and at their shape afterwards, so these are two lists: what is missing
//! stands behind missing Services and templates, what does not fit behind Services that do not fit.
//! DestinationRules, ApisixRoutes, TraefikServices, TrafficSplits and routes of Gateway API are not looked for here:
//! that they are missing is said when they are needed.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Key, Object};
use tidegate_api::problem::Problem;

use super::{View, istio};

const ROUTING: &str = "spec.strategy.canary.trafficRouting";

/// Objects that must exist and do not. One view a router, in any order.
pub fn missing(views: &[View<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    // ARGO: where both routers are configured, the reference looks for Ingresses of ALB alone (Q21).
    for router in ["nginx", "alb"] {
        for (view, named) in ingresses(views, router) {
            if find(view, "Ingress", &named.name).is_none() {
                problems.push(named.missing(view, "Ingress", "ingress.networking.k8s.io"));
            }
        }
    }
    for view in of(views, "istio") {
        for (named, key) in virtual_services(view) {
            if !view.objects.contains_key(&key) {
                problems.push(named.missing(view, "VirtualService", "virtualservices.networking.istio.io"));
            }
        }
    }
    for (view, named) in mappings(views) {
        if find(view, "Mapping", &named.name)
            .or_else(|| find(view, "AmbassadorMapping", &named.name))
            .is_none()
        {
            problems.push(named.missing(view, "Mapping", "mappings.getambassador.io"));
        }
    }
    problems
}

/// Objects that exist and cannot be used. One view a router, in any order.
pub fn misfitting(views: &[View<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for router in ["nginx", "alb"] {
        for (view, named) in ingresses(views, router) {
            let root =
                view.at.config()["rootService"].as_str().filter(|_| router == "alb").unwrap_or_default();
            let service = if root.is_empty() { &*view.at.canary.stable_service } else { root };
            let Some(ingress) = find(view, "Ingress", &named.name) else { continue };
            if !leads_to(&ingress.to_value(), service) {
                let detail = format!("ingress `{}` has no rules using service {service} backend", named.name);
                problems.push(named.problem(detail));
            }
        }
    }
    for view in of(views, "istio") {
        let named = virtual_services(view);
        for (key, protocol, message) in istio::shape_problems(view) {
            let Some((named, _)) = named.iter().find(|(_, known)| *known == key) else { continue };
            problems.push(named.problem(match protocol {
                Some(protocol) => {
                    format!("Istio VirtualService has invalid {protocol} routes. Error: {message}")
                }
                None => message,
            }));
        }
    }
    for (view, named) in mappings(views) {
        let mapping = find(view, "Mapping", &named.name);
        let Some(mapping) = mapping.or_else(|| find(view, "AmbassadorMapping", &named.name)) else {
            continue;
        };
        if mapping.to_value()["spec"]["weight"].as_i64().unwrap_or(0) != 0 {
            let detail = format!("Ambassador mapping {:?} can not define weight", named.name);
            problems.push(Problem::invalid("spec.weight", &*named.name, detail).at(&named.place));
        }
    }
    problems
}

/// A name in the Rollout's routing.
struct Named {
    name: String,
    /// As the user wrote it.
    written: String,
    /// The path as the reference writes it.
    path: String,
    /// Where it stands.
    place: String,
}

impl Named {
    fn new(router: &str, field: &str, index: Option<usize>, below: &str, written: &str) -> Named {
        let index = index.map(|index| format!("[{index}]")).unwrap_or_default();
        Named {
            name: written.to_owned(),
            written: written.to_owned(),
            path: format!("{ROUTING}.{router}.{field}{below}"),
            place: format!("{ROUTING}.{router}.{field}{index}{below}"),
        }
    }

    fn problem(&self, detail: String) -> Problem {
        Problem::invalid(&self.path, &*self.written, detail).at(&self.place)
    }

    fn missing(&self, view: &View<'_>, kind: &str, resource: &str) -> Problem {
        let mut detail = format!("{resource} {:?} not found", self.name);
        if let Some(unserved) = view.unserved.iter().find(|unserved| unserved.name() == kind) {
            detail.push_str(&format!(": the API server does not serve {}", unserved.api_version()));
        }
        self.problem(detail)
    }
}

/// The views of a router that is built in.
fn of<'v, 'a>(views: &'v [View<'a>], router: &str) -> impl Iterator<Item = &'v View<'a>> {
    views.iter().filter(move |view| !view.at.stanza.is_plugin && &*view.at.stanza.name == router)
}

fn find<'a>(view: &View<'a>, kind: &str, name: &str) -> Option<&'a Arc<Object>> {
    let is_it =
        |key: &Key| key.kind.name() == kind && &*key.name == name && key.namespace == *view.at.namespace();
    view.objects.iter().find(|(key, _)| is_it(key)).map(|(_, object)| object)
}

/// Ingresses that a router names, in order.
fn ingresses<'v, 'a>(views: &'v [View<'a>], router: &'static str) -> Vec<(&'v View<'a>, Named)> {
    let (single, several) = match router {
        "nginx" => ("stableIngress", "stableIngresses"),
        _ => ("ingress", "ingresses"),
    };
    let mut found = Vec::new();
    for view in of(views, router) {
        let config = view.at.config();
        if let Some(name) = config[single].as_str().filter(|name| !name.is_empty()) {
            found.push((view, Named::new(router, single, None, "", name)));
        }
        for (index, name) in texts(&config[several]) {
            found.push((view, Named::new(router, several, Some(index), "", name)));
        }
    }
    found
}

/// VirtualServices in the order in which they are treated.
fn virtual_services(view: &View<'_>) -> Vec<(Named, Key)> {
    let config = view.at.config();
    let single = &config["virtualService"];
    let mut named = Vec::new();
    if single.is_object() {
        let name = single["name"].as_str().unwrap_or_default();
        named.push(Named::new("istio", "virtualService", None, ".name", name));
    } else {
        let several = config["virtualServices"].as_array().into_iter().flatten().enumerate();
        for (index, entry) in several.filter(|(_, entry)| entry.is_object()) {
            let name = entry["name"].as_str().unwrap_or_default();
            named.push(Named::new("istio", "virtualServices", Some(index), ".name", name));
        }
    }
    let keys = istio::virtual_services(&view.at);
    let with_key = |(named, key): (Named, Key)| (Named { name: key.name.to_string(), ..named }, key);
    named.into_iter().zip(keys).map(with_key).collect()
}

fn mappings<'v, 'a>(views: &'v [View<'a>]) -> Vec<(&'v View<'a>, Named)> {
    let mut found = Vec::new();
    for view in of(views, "ambassador") {
        for (index, name) in texts(&view.at.config()["mappings"]) {
            found.push((view, Named::new("ambassador", "mappings", Some(index), "", name)));
        }
    }
    found
}

fn texts(list: &Value) -> impl Iterator<Item = (usize, &str)> {
    let all = list.as_array().into_iter().flatten().enumerate();
    all.filter_map(|(index, value)| Some((index, value.as_str()?)))
}

/// Whether any rule of an Ingress, in its new form or the old one, leads to a Service.
fn leads_to(ingress: &Value, service: &str) -> bool {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let rules = list(ingress.get("spec").and_then(|spec| spec.get("rules")));
    let paths = rules.iter().flat_map(|rule| list(rule.get("http").and_then(|http| http.get("paths"))));
    paths.into_iter().any(|path| {
        let backend = &path["backend"];
        backend["service"]["name"] == *service || backend["serviceName"] == *service
    })
}

#[cfg(test)]
mod tests {
    use super::super::stage::Stage;
    use super::*;
    use serde_json::json;

    fn both(routing: Value, objects: &[Value]) -> (Vec<String>, Vec<String>) {
        let stage = Stage::new(
            json!({"stableService": "stable", "canaryService": "canary", "trafficRouting": routing}),
            objects,
        );
        let canary = stage.rollout.rollout().unwrap().spec.spec().canary().unwrap();
        let routing = canary.traffic_routing.as_ref().unwrap();
        let views: Vec<View<'_>> = routing
            .routers
            .iter()
            .map(|stanza| {
                let settings = &stage.settings;
                let at = super::super::Place { rollout: &stage.rollout, canary, routing, stanza, settings };
                View { at, objects: &stage.objects, services: &stage.services, unserved: &[], sabotage: None }
            })
            .collect();
        let shown = |problems: Vec<Problem>| {
            let short =
                |problem: Problem| problem.to_string().replace("spec.strategy.canary.trafficRouting.", "");
            problems.into_iter().map(short).collect()
        };
        (shown(missing(&views)), shown(misfitting(&views)))
    }

    fn ingress(name: &str, service: &str) -> Value {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
            "spec": {"rules": [{}, {"http": {"paths": [{"backend": {"service": {"name": service}}}]}}]}})
    }

    fn virtual_service(name: &str, spec: Value) -> Value {
        json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService",
            "metadata": {"name": name}, "spec": spec})
    }

    #[test]
    fn what_is_missing_stands_in_the_order_of_the_reference() {
        let routing = json!({
            "ambassador": {"mappings": ["m"]},
            "istio": {"virtualServices": [{"name": "vs.mesh"}, {"name": "other"}]},
            "alb": {"ingress": "a"},
            "nginx": {"stableIngresses": ["b", "c"]}});
        let (missing, misfitting) = both(routing, &[ingress("b", "stable")]);
        assert_eq!(
            missing,
            [
                "nginx.stableIngresses: Invalid value: \"c\": ingress.networking.k8s.io \"c\" not found",
                "alb.ingress: Invalid value: \"a\": ingress.networking.k8s.io \"a\" not found",
                "istio.virtualServices.name: Invalid value: \"vs.mesh\": virtualservices.networking.istio.io \"vs\" not found",
                "istio.virtualServices.name: Invalid value: \"other\": virtualservices.networking.istio.io \"other\" not \
             found",
                "ambassador.mappings: Invalid value: \"m\": mappings.getambassador.io \"m\" not found",
            ]
        );
        assert_eq!(misfitting, Vec::<String>::new());
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let routing = json!({
            "istio": {"virtualService": {"name": "vs"}},
            "alb": {"ingress": "a", "rootService": "root"},
            "ambassador": {"mappings": ["m"]},
            "nginx": {"stableIngress": "b"}});
        let mapping = json!({"apiVersion": "getambassador.io/v2", "kind": "Mapping", "metadata": {"name": "m"},
            "spec": {"weight": 20}});
        let only_stable = json!([{"route": [{"destination": {"host": "stable"}}]}]);
        let http_and_tcp = json!({"http": only_stable, "tcp": [{}, {}]});
        let objects =
            [ingress("a", "stable"), ingress("b", "root"), mapping, virtual_service("vs", http_and_tcp)];
        let (missing, misfitting) = both(routing.clone(), &objects);
        assert_eq!(missing, Vec::<String>::new());
        assert_eq!(
            misfitting,
            [
                "nginx.stableIngress: Invalid value: \"b\": ingress `b` has no rules using service stable backend",
                "alb.ingress: Invalid value: \"a\": ingress `a` has no rules using service root backend",
                "istio.virtualService.name: Invalid value: \"vs\": Istio VirtualService has invalid HTTP routes. Error: \
             Canary Service 'canary' not found in route",
                "istio.virtualService.name: Invalid value: \"vs\": Istio VirtualService has invalid TCP routes. Error: \
             Canary Service 'canary' not found in route",
                "spec.weight: Invalid value: \"m\": Ambassador mapping \"m\" can not define weight",
            ]
        );
        let (_, misfitting) = both(routing, &[virtual_service("vs", json!({"hosts": ["h"]}))]);
        assert_eq!(
            misfitting,
            ["istio.virtualService.name: Invalid value: \"vs\": Unable to get any of the HTTP, TCP \
                                 or TLS routes for the Istio VirtualService"]
        );
    }
}
