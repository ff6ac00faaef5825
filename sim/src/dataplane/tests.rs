//! Documents as users and routers write them, and where the real proxies send requests by them.

use serde_json::{Value, json};

use super::*;

fn objects(documents: &[Value]) -> Vec<Arc<Object>> {
    let object = |value: &Value| {
        let mut value = value.clone();
        value["metadata"]["namespace"] = json!("shop");
        Arc::new(Object::from_value(value).expect("an object"))
    };
    documents.iter().map(object).collect()
}

/// One line a door: its route, then each destination with its share.
fn shown(documents: &[Value]) -> Vec<String> {
    let objects = objects(documents);
    let mut lines = Vec::new();
    for proxy in ALL {
        let own: Vec<Arc<Object>> = objects.iter().filter(|object| (proxy.owns)(object)).cloned().collect();
        for door in (proxy.read)(&own) {
            let backend = |backend: &Backend| match backend {
                Backend::Service(key) => key.name.to_string(),
                Backend::Subset(key, labels) => format!("{}{}", key.name, labels.to_value()),
                Backend::Lost(_, why) | Backend::Nothing(why) => format!("({why})"),
            };
            let entry = |entry: &Entry| {
                let rule = match entry.rule {
                    Rule::Weight => "",
                    Rule::Headers => " headers",
                    Rule::Mirror => " mirror",
                };
                format!("{} {}/{}{rule}", backend(&entry.backend), entry.parts, entry.of)
            };
            let entries: Vec<String> = door.entries.iter().map(entry).collect();
            let sticky = door.sticky.map_or(String::new(), |seconds| format!(" sticky {seconds}"));
            lines.push(format!("{} {}: {}{sticky}", proxy.name, door.route, entries.join(", ")));
        }
    }
    lines
}

fn check(documents: &[Value], expected: &[&str]) {
    assert_eq!(shown(documents), expected);
}

fn ingress(name: &str, annotations: Value, service: &str) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"rules": [{"host": "shop.example.org", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}},
            {"path": "/img", "pathType": "Prefix", "backend": {"service": {"name": "img", "port": {"number": 80}}}}]}}]}})
}

#[test]
fn nginx_lets_a_canary_ingress_take_its_part_of_the_same_path() {
    let stable = ingress("shop", json!({"kubernetes.io/ingress.class": "nginx"}), "shop-stable");
    let canary = |more: Value| {
        let mut annotations = json!({"nginx.ingress.kubernetes.io/canary": "true",
            "nginx.ingress.kubernetes.io/canary-weight": "25"});
        annotations.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ingress("shop-shop-canary", annotations, "shop-canary")
    };
    check(
        std::slice::from_ref(&stable),
        &["nginx shop.example.org/: shop-stable 1/1", "nginx shop.example.org/img: img 1/1"],
    );
    check(
        &[stable.clone(), canary(json!({}))],
        &[
            "nginx shop.example.org/: shop-stable 75/100, shop-canary 25/100",
            "nginx shop.example.org/img: img 1/1",
        ],
    );
    check(
        &[
            stable,
            canary(json!({"nginx.ingress.kubernetes.io/canary-weight-total": "1000",
            "nginx.ingress.kubernetes.io/canary-by-header": "X-Beta"})),
        ],
        &[
            "nginx shop.example.org/: shop-stable 975/1000, shop-canary 25/1000, shop-canary 1/1 headers",
            "nginx shop.example.org/img: img 1/1",
        ],
    );
}

#[test]
fn a_load_balancer_does_what_the_action_of_the_backend_says() {
    let action = |canary: i64, more: &str| {
        format!(
            "{{\"Type\":\"forward\",\"ForwardConfig\":{{\"TargetGroups\":[\
             {{\"ServiceName\":\"shop-canary\",\"ServicePort\":\"443\",\"Weight\":{canary}}},\
             {{\"ServiceName\":\"shop-stable\",\"ServicePort\":\"443\",\"Weight\":{}}}]{more}}}}}",
            100 - canary
        )
    };
    let sticky = ",\"TargetGroupStickinessConfig\":{\"Enabled\":true,\"DurationSeconds\":60}";
    let object = |annotations: Value, services: &[&str]| {
        let path = |name: &&str| json!({"path": "/*", "backend": {"service": {"name": name, "port": {"name": "use-annotation"}}}});
        let paths: Vec<Value> = services.iter().map(path).collect();
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "shop", "annotations": annotations},
            "spec": {"ingressClassName": "alb", "rules": [{"http": {"paths": paths}}]}})
    };
    let root = "alb.ingress.kubernetes.io/actions.shop-root";
    check(&[object(json!({}), &["shop-root"])], &["alb shop-root: shop-root 1/1"]);
    check(
        &[object(json!({root: action(25, "")}), &["shop-root"])],
        &["alb shop-root: shop-canary 25/100, shop-stable 75/100"],
    );
    check(
        &[object(json!({root: action(0, sticky)}), &["shop-root"])],
        &["alb shop-root: shop-canary 0/100, shop-stable 100/100 sticky 60"],
    );
    let beta = json!({root: action(25, ""),
        "alb.ingress.kubernetes.io/actions.beta":
            "{\"Type\":\"forward\",\"ForwardConfig\":{\"TargetGroups\":[{\"ServiceName\":\"shop-canary\",\"Weight\":100}]}}",
        "alb.ingress.kubernetes.io/conditions.beta":
            "[{\"field\":\"http-header\",\"httpHeaderConfig\":{\"httpHeaderName\":\"X\",\"values\":[\"v\"]}}]"});
    check(
        &[object(beta, &["beta", "shop-root"])],
        &["alb beta: shop-canary 100/100 headers", "alb shop-root: shop-canary 25/100, shop-stable 75/100"],
    );
    check(
        &[object(json!({root: "no json"}), &["shop-root"])],
        &["alb shop-root: (the action cannot be read) 1/1"],
    );
}

fn virtual_service(http: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService",
        "metadata": {"name": "web-vs"}, "spec": {"hosts": ["web.example.org"], "http": http}})
}

#[test]
fn istio_splits_between_hosts_and_takes_the_first_route_that_fits() {
    let primary = json!({"name": "primary", "route": [
        {"destination": {"host": "web-stable", "port": {"number": 8080}}, "weight": 80},
        {"destination": {"host": "web-canary.shop.svc.cluster.local"}, "weight": 20}]});
    let beta = json!({"name": "beta", "match": [{"headers": {"x-beta": {"exact": "yes"}}}],
        "route": [{"weight": 100, "destination": {"host": "web-canary"}}]});
    let shadow = json!({"name": "shadow", "match": [{"method": {"exact": "GET"}}], "route": primary["route"],
        "mirror": {"host": "web-canary"}, "mirrorPercentage": {"value": 35.0}});
    let never = json!({"name": "never", "route": [{"destination": {"host": "else"}}]});
    check(
        &[virtual_service(json!([beta, shadow, primary, never]))],
        &[
            "istio beta: web-canary 100/100 headers",
            "istio shadow: web-stable 80/100, web-canary 20/100, web-canary 35/100 mirror",
            "istio primary: web-stable 80/100, web-canary 20/100",
        ],
    );
    let none =
        json!([{"route": [{"destination": {"host": "a"}, "weight": 0}, {"destination": {"host": "b"}}]}]);
    check(&[virtual_service(none)], &["istio http[0]: (all weights are 0) 1/1"]);
}

#[test]
fn istio_finds_subsets_in_the_destination_rule_of_the_host() {
    let http = json!([{"route": [
        {"destination": {"host": "web", "subset": "stable"}, "weight": 90},
        {"destination": {"host": "web", "subset": "canary"}, "weight": 10}]}]);
    let rule = |subsets: Value| {
        json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "DestinationRule",
            "metadata": {"name": "web-dr"}, "spec": {"host": "web", "subsets": subsets}})
    };
    check(
        &[
            virtual_service(http.clone()),
            rule(json!([{"name": "stable", "labels": {"h": "1"}},
            {"name": "canary", "labels": {"h": "2"}}])),
        ],
        &["istio http[0]: web{\"h\":\"1\"} 90/100, web{\"h\":\"2\"} 10/100"],
    );
    check(
        &[virtual_service(http), rule(json!([{"name": "stable"}]))],
        &["istio http[0]: web{} 90/100, (web has no subset canary) 10/100"],
    );
}

#[test]
fn smi_takes_numbers_and_quantities() {
    let split = |version: &str, canary: Value, stable: Value| {
        json!({"apiVersion": format!("split.smi-spec.io/{version}"), "kind": "TrafficSplit",
            "metadata": {"name": "shop"}, "spec": {"service": "shop-stable", "backends": [
                {"service": "shop-canary", "weight": canary}, {"service": "shop-stable", "weight": stable}]}})
    };
    let expected = ["smi shop-stable: shop-canary 25000/100000, shop-stable 75000/100000"];
    check(&[split("v1alpha1", json!("25"), json!("75"))], &expected);
    check(&[split("v1alpha2", json!(25), json!(75))], &expected);
    check(
        &[split("v1alpha1", json!("500m"), json!("1"))],
        &["smi shop-stable: shop-canary 500/1500, shop-stable 1000/1500"],
    );
}

#[test]
fn ambassador_gives_a_mapping_without_weight_the_rest() {
    let mapping = |name: &str, service: &str, more: Value| {
        let mut spec = json!({"prefix": "/shop/", "service": service});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"apiVersion": "getambassador.io/v2", "kind": "Mapping", "metadata": {"name": name}, "spec": spec})
    };
    let base = || mapping("shop", "https://shop-stable:8080", json!({}));
    check(&[base()], &["ambassador /shop/: shop-stable 100/100"]);
    check(
        &[base(), mapping("shop-canary", "shop-canary:8080", json!({"weight": 25}))],
        &["ambassador /shop/: shop-stable 75/100, shop-canary 25/100"],
    );
    check(
        &[base(), mapping("other", "beta.shop", json!({"headers": {"x-beta": "yes"}}))],
        &["ambassador /shop/: shop-stable 100/100", "ambassador /shop/: beta 100/100 headers"],
    );
}

#[test]
fn traefik_follows_services_of_its_own() {
    let service = |name: &str, spec: Value| json!({"apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService", "metadata": {"name": name}, "spec": spec});
    let weighted = json!({"weighted": {"sticky": {"cookie": {}}, "services": [
        {"name": "shop-stable", "port": 80, "weight": 75}, {"name": "shop-canary", "port": 80, "weight": 25}]}});
    check(
        &[service("shop", weighted.clone())],
        &["traefik shop: shop-stable 75/100, shop-canary 25/100 sticky 0"],
    );
    let outer = json!({"weighted": {"services": [
        {"name": "shop", "kind": "TraefikService", "weight": 1}, {"name": "legacy", "weight": 3}]}});
    check(
        &[service("a-outer", outer), service("shop", weighted)],
        &["traefik a-outer: shop-stable 75/400, shop-canary 25/400, legacy 3/4"],
    );
    let copies =
        json!({"mirroring": {"name": "shop-stable", "mirrors": [{"name": "shop-canary", "percent": 10}]}});
    check(&[service("m", copies)], &["traefik m: shop-stable 1/1, shop-canary 10/100 mirror"]);
}

#[test]
fn apisix_takes_conditions_on_headers_apart() {
    let route = |name: &str, rule: Value| {
        json!({"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "metadata": {"name": name},
            "spec": {"http": [rule]}})
    };
    let base = json!({"name": "shop", "match": {"paths": ["/*"]}, "backends": [
        {"serviceName": "shop-stable", "servicePort": 80, "weight": 75},
        {"serviceName": "shop-canary", "servicePort": 80, "weight": 25}]});
    let beta = json!({"name": "shop", "priority": 1, "match": {"paths": ["/*"],
        "exprs": [{"subject": {"scope": "Header", "name": "X-Beta"}, "op": "Equal", "value": "yes"}]},
        "backends": [{"serviceName": "shop-canary", "servicePort": 80, "weight": 100}]});
    check(
        &[route("beta", beta), route("shop", base)],
        &["apisix shop: shop-canary 100/100 headers", "apisix shop: shop-stable 75/100, shop-canary 25/100"],
    );
}

#[test]
fn a_gateway_counts_an_absent_weight_as_one() {
    let route = |rules: Value| {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "shop"},
            "spec": {"parentRefs": [{"name": "gw"}], "rules": rules}})
    };
    check(
        &[route(
            json!([{"backendRefs": [{"name": "shop-stable", "port": 80}, {"name": "shop-canary", "port": 80}]}]),
        )],
        &["gateway rules[0]: shop-stable 1/2, shop-canary 1/2"],
    );
    let matches = json!([{"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"name": "X-Beta", "value": "yes"}]}]);
    let rules = json!([
        {"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shop-canary"}}}],
         "backendRefs": [{"name": "shop-stable", "weight": 75}, {"name": "shop-canary", "weight": 25}]},
        {"name": "beta", "matches": matches, "backendRefs": [{"group": "", "kind": "Service", "name": "shop-canary"}]}]);
    check(
        &[route(rules)],
        &[
            "gateway rules[0]: shop-stable 75/100, shop-canary 25/100, shop-canary 100/100 mirror",
            "gateway beta: shop-canary 1/1 headers",
        ],
    );
}

#[test]
fn objects_that_route_nothing_are_read_by_nobody() {
    check(&[json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})], &[]);
    // Nonsense is no reason to fail.
    for kind in ["VirtualService", "DestinationRule"] {
        let object = json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x"},
            "spec": {"http": "nonsense", "subsets": [1], "hosts": {}}});
        check(&[object], &[]);
    }
}
