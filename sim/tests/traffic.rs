//! Releases through routers, as their users felt them.

use tidegate_sim::play::{Outcome, play};
use tidegate_sim::scenario::{Files, Script};

struct NoFiles;

impl Files for NoFiles {
    fn text(&self, file: &str) -> Result<String, String> {
        Err(format!("{file} is not there"))
    }

    fn matching(&self, _pattern: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// A Rollout of ten pods with its two Services, behind a router whose configuration and objects are given.
fn story(routing: &str, objects: &str, world: &str, when: &str, then: &str) -> Outcome {
    let text = format!(
        r#"
given:
- apiVersion: argoproj.io/v1alpha1
  kind: Rollout
  metadata: {{name: web, namespace: shop}}
  spec:
    replicas: 10
    selector: {{matchLabels: {{app: web}}}}
    template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: web, image: "web:v1"}}]}}}}
    strategy:
      canary:
        stableService: web-stable
        canaryService: web-canary
        trafficRouting: {routing}
        steps: [{{setWeight: 20}}, {{pause: {{duration: 60s}}}}, {{setWeight: 60}}, {{pause: {{duration: 60s}}}}]
- {{apiVersion: v1, kind: Service, metadata: {{name: web-stable, namespace: shop}}, spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}}}
- {{apiVersion: v1, kind: Service, metadata: {{name: web-canary, namespace: shop}}, spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}}}
{objects}
world: {{seed: 1{world}}}
when:
- {{at: 0s, set_image: {{rollout: web, image: "web:v2"}}}}
{when}
then: {{{then}}}
"#
    );
    let script =
        Script::read("story.yaml", &text, &NoFiles).unwrap_or_else(|why| panic!("{}", why.render(false)));
    play(&script)
}

const NGINX: (&str, &str) = (
    "{nginx: {stableIngress: web}}",
    "- {apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web, namespace: shop, annotations: {kubernetes.io/ingress.class: nginx}}, spec: {rules: [{host: web.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web-stable, port: {number: 80}}}}]}}]}}",
);
const ISTIO: (&str, &str) = (
    "{istio: {virtualService: {name: web}}}",
    "- {apiVersion: networking.istio.io/v1alpha3, kind: VirtualService, metadata: {name: web, namespace: shop}, spec: {hosts: [web], http: [{route: [{destination: {host: web-stable}, weight: 100}, {destination: {host: web-canary}, weight: 0}]}]}}",
);
const ALB: (&str, &str) = (
    "{alb: {ingress: web, servicePort: 80}}",
    "- {apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web, namespace: shop, annotations: {kubernetes.io/ingress.class: alb}}, spec: {rules: [{http: {paths: [{path: /*, pathType: Prefix, backend: {service: {name: web-stable, port: {name: use-annotation}}}}]}}]}}",
);
const SMI: (&str, &str) = ("{smi: {}}", "");
const TRAEFIK: (&str, &str) = (
    "{traefik: {weightedTraefikServiceName: web}}",
    "- {apiVersion: traefik.io/v1alpha1, kind: TraefikService, metadata: {name: web, namespace: shop}, spec: {weighted: {services: [{name: web-stable, port: 80, weight: 100}, {name: web-canary, port: 80, weight: 0}]}}}",
);
const AMBASSADOR: (&str, &str) = (
    "{ambassador: {mappings: [web]}}",
    "- {apiVersion: getambassador.io/v2, kind: Mapping, metadata: {name: web, namespace: shop}, spec: {prefix: /web/, service: \"web-stable:80\"}}",
);
const APISIX: (&str, &str) = (
    "{apisix: {route: {name: web}}}",
    "- {apiVersion: apisix.apache.org/v2, kind: ApisixRoute, metadata: {name: web, namespace: shop}, spec: {http: [{name: web, match: {paths: [\"/*\"]}, backends: [{serviceName: web-stable, servicePort: 80, weight: 100}, {serviceName: web-canary, servicePort: 80, weight: 0}]}]}}",
);
const GATEWAY: (&str, &str) = (
    "{plugins: {argoproj-labs/gatewayAPI: {httpRoute: web, namespace: shop}}}",
    "- {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: web, namespace: shop}, spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web-stable, port: 80}, {name: web-canary, port: 80}]}]}}",
);

const ROUTERS: &[(&str, (&str, &str))] = &[
    ("nginx", NGINX),
    ("istio", ISTIO),
    ("alb", ALB),
    ("smi", SMI),
    ("traefik", TRAEFIK),
    ("ambassador", AMBASSADOR),
    ("apisix", APISIX),
    ("gateway", GATEWAY),
];

const NOTHING_LOST: &str = "users_saw: {errors: 0, no_endpoint: 0}";

fn check(name: &str, outcome: &Outcome, problems: &mut Vec<String>) {
    for failure in &outcome.failures {
        problems.push(format!("{name}: {failure}\n{}", outcome.trace()));
    }
}

/// The same story through every router.
fn through_all(world: &str, when: &str, then: &str) {
    let mut problems = Vec::new();
    for (name, (routing, objects)) in ROUTERS {
        check(name, &story(routing, objects, world, when, then), &mut problems);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_release_loses_no_request() {
    through_all("", "", &format!("ends: Healthy, {NOTHING_LOST}"));
}

#[test]
fn an_abort_loses_no_request() {
    let abort = "- {once: {rollout: web, step: 3}, after: 5s, abort: web}";
    through_all("", abort, &format!("ends: Degraded, {NOTHING_LOST}"));
}

#[test]
fn a_third_version_midway_loses_no_request() {
    let third = "- {once: {rollout: web, step: 3}, after: 5s, set_image: {rollout: web, image: \"web:v3\"}}";
    for (name, (routing, objects)) in ROUTERS {
        let outcome = story(routing, objects, "", third, "ends: Healthy");
        let felt = outcome.meter().total(None);
        assert_eq!((felt.errors().0, felt.no_endpoint().0), (0, 0), "{name}:\n{}", outcome.trace());
        assert_eq!(outcome.ends["web"], "Healthy", "{name}");
    }
}

#[test]
fn three_proxies_with_lags_of_their_own_lose_no_request() {
    through_all(
        ", routers: {propagation: 0s..900ms, proxies: 3}",
        "",
        &format!("ends: Healthy, {NOTHING_LOST}"),
    );
}
