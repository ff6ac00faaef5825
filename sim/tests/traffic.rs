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

fn third_versions() -> Vec<(&'static str, Outcome)> {
    let third = "- {once: {rollout: web, step: 3}, after: 5s, set_image: {rollout: web, image: \"web:v3\"}}";
    let play = |(name, (routing, objects)): &(&'static str, (&str, &str))| {
        (*name, story(routing, objects, "", third, "ends: Healthy"))
    };
    ROUTERS.iter().map(play).collect()
}

#[test]
fn a_third_version_midway_loses_no_request() {
    for (name, outcome) in third_versions() {
        let felt = outcome.meter().total(None);
        assert_eq!((felt.errors().0, felt.no_endpoint().0), (0, 0), "{name}:\n{}", outcome.trace());
        assert_eq!(outcome.ends["web"], "Healthy", "{name}");
    }
}

#[test]
fn a_third_version_midway_keeps_every_invariant() {
    let mut problems = Vec::new();
    third_versions().iter().for_each(|(name, outcome)| check(name, outcome, &mut problems));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn three_proxies_with_lags_of_their_own_lose_no_request() {
    through_all(
        ", routers: {propagation: 0s..900ms, proxies: 3}",
        "",
        &format!("ends: Healthy, {NOTHING_LOST}"),
    );
}

#[test]
fn a_kind_that_is_served_later_is_found() {
    let (routing, objects) = ISTIO;
    let world = ", routers: {unserved: [VirtualService]}";
    let outcome = story(routing, objects, world, "- {at: 60s, serve: VirtualService}", "ends: Healthy");
    assert_eq!(outcome.failures, [], "{}", outcome.trace());
}

#[test]
fn weights_that_are_put_back_are_written_again() {
    let mut problems = Vec::new();
    for (name, kind) in [("istio", "VirtualService"), ("traefik", "TraefikService"), ("gateway", "HTTPRoute")]
    {
        let (_, (routing, objects)) = ROUTERS.iter().find(|(known, _)| *known == name).expect("it is known");
        let put_back = format!("- {{at: 1s, fault: {{put_back: {{kind: {kind}, name: web, times: 2}}}}}}");
        let outcome = story(routing, objects, "", &put_back, &format!("ends: Healthy, {NOTHING_LOST}"));
        check(name, &outcome, &mut problems);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Proxies whose controller is away keep their weights longer than anybody waits; the aborted version keeps its pods, and
/// its users leave it as soon as the canary Service leads back.
#[test]
fn an_abort_while_a_router_is_away_loses_no_request() {
    for (name, outcome) in aborts_in_an_outage() {
        let felt = outcome.meter().total(None);
        assert_eq!((felt.errors().0, felt.no_endpoint().0), (0, 0), "{name}:\n{}", outcome.trace());
    }
}

#[test]
fn an_abort_while_a_router_is_away_keeps_every_invariant() {
    let mut problems = Vec::new();
    aborts_in_an_outage().iter().for_each(|(name, outcome)| check(name, outcome, &mut problems));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn aborts_in_an_outage() -> Vec<(&'static str, Outcome)> {
    let abort = |(name, (routing, objects)): &(&'static str, (&str, &str))| {
        let outage = format!(
            "- {{once: {{rollout: web, step: 3}}, after: 5s, fault: {{router_outage: {{router: {name}, for: 30s}}}}}}\n- {{after: 1s, abort: web}}"
        );
        (*name, story(routing, objects, "", &outage, "ends: Degraded"))
    };
    ROUTERS.iter().map(abort).collect()
}
