//! Rules about traffic: of the canary that is routed, and of each router by itself.

use serde_json::{Value, json};

use super::tests::{breaks, shown, with};
use super::warnings;

#[test]
fn rules_of_canaries_with_routing() {
    let services = "Canary service and Stable service must to be set to use Traffic Routing";
    let canary = |mut canary: Value, routing: Value| {
        canary["trafficRouting"] = routing;
        json!({"strategy.canary": canary})
    };
    for (router, config) in [
        ("alb", json!({"ingress": "i"})),
        ("istio", json!({"virtualService": {"name": "vs"}})),
        ("smi", json!({})),
        ("apisix", json!({})),
        ("ambassador", json!({"mappings": ["m"]})),
        ("nginx", json!({"stableIngress": "i"})),
        ("traefik", json!({})),
    ] {
        breaks(
            canary(json!({}), json!({router: config})),
            &[
                &format!("spec.strategy.stableService: Invalid value: \"\": {services}"),
                &format!("spec.strategy.canaryService: Invalid value: \"\": {services}"),
            ],
        );
    }
    breaks(
        canary(json!({}), json!({"istio": {"virtualService": {"name": "vs"}, "destinationRule": {}}})),
        &[],
    );
    breaks(canary(json!({}), json!({})), &[]);
    breaks(
        canary(
            json!({"scaleDownDelaySeconds": 1, "dynamicStableScale": true}),
            json!({"maxTrafficWeight": 1000}),
        ),
        &[
            "spec.strategy.dynamicStableScale: Invalid value: true: Canary dynamicStableScale cannot be used with \
             scaleDownDelaySeconds",
            "spec.strategy.trafficRouting.maxTrafficWeight: Invalid value: 1000: Canary maxTrafficWeight in traffic \
             routing only supported in Nginx and Plugins",
        ],
    );
    breaks(
        canary(
            json!({"steps": [{"setWeight": 1001}]}),
            json!({"maxTrafficWeight": 1000, "plugins": gateway_api()}),
        ),
        &["spec.strategy.steps[0].setWeight: Invalid value: 1001: SetWeight needs to be between 0 and 1000"],
    );
    breaks(
        canary(json!({"pingPong": {}}), json!({"alb": {"ingress": "i"}})),
        &[
            "spec.strategy.pingPong.pingService: Invalid value: \"\": Ping service and Pong service must to be set to \
             use Ping-Pong feature",
            "spec.strategy.pingPong.pongService: Invalid value: \"\": Ping service and Pong service must to be set to \
             use Ping-Pong feature",
            "spec.strategy.pingPong.pingService: Invalid value: \"\": This rollout uses the same service for the ping \
             and pong services, but two different services are required.",
            "spec.strategy.trafficRouting.alb.rootService: Invalid value: \"\": Root service field is required for \
             the configuration with ALB and ping-pong feature enabled",
        ],
    );
    breaks(
        canary(
            json!({"pingPong": {"pingService": "a", "pongService": "b"}, "stableService": "s", "canaryService": "c"}),
            json!({"smi": {}}),
        ),
        &[
            "spec.strategy.trafficRouting.alb: Invalid value: null: Ping-pong feature works with the ALB, Istio, and \
             plugin-based traffic routers only",
        ],
    );
    let services = json!({"stableService": "s", "canaryService": "c"});
    let mut with_steps = services.clone();
    with_steps["steps"] = json!([
        {"setHeaderRoute": {"name": "h", "match": [{"headerValue": {"prefix": "x"}}, {}]}},
        {"setMirrorRoute": {"name": "m"}},
        {"experiment": {"templates": [{"weight": 1}]}}]);
    breaks(
        canary(with_steps.clone(), json!({"alb": {"ingress": "i"}, "managedRoutes": [{"name": "h"}]})),
        &[
            "spec.strategy.steps[0].setHeaderRoute.match[0]: Invalid value: {\"prefix\":\"x\"}: SetHeaderRoute match \
             value invalid. ALB supports 'exact' value only",
            "spec.strategy.steps[0].setHeaderRoute.match[1]: Invalid value: null: StringMatch value missed, match \
             value must have one of the following: exact, regex, prefix",
            "spec.strategy.steps[1].setMirrorRoute: Invalid value: {\"name\":\"m\"}: SetMirrorRoute requires \
             TrafficRouting, supports Istio and Plugins",
            "spec.strategy.steps[1].setMirrorRoute: Invalid value: \"m\": Steps define a route that does not exist in \
             spec.strategy.canary.trafficRouting.managedRoutes",
        ],
    );
    let no_routes = "spec.strategy.trafficRouting.managedRoutes: Required value: Rollout has missing field \
                     'spec.strategy.canary.trafficRouting.managedRoutes'";
    breaks(
        canary(with_steps, json!({"apisix": {}})),
        &[
            "spec.strategy.steps[0].setHeaderRoute.match[1]: Invalid value: null: StringMatch value missed, match \
             value must have one of the following: exact, regex, prefix",
            no_routes,
            "spec.strategy.steps[1].setMirrorRoute: Invalid value: {\"name\":\"m\"}: SetMirrorRoute requires \
             TrafficRouting, supports Istio and Plugins",
            no_routes,
            "spec.strategy.steps[2].experiment.templates[0].weight: Invalid value: 1: Experiment template weight is \
             only available for TrafficRouting with SMI, ALB, Istio and Plugins at this time",
        ],
    );
}

fn gateway_api() -> Value {
    json!({"argoproj-labs/gatewayAPI": {"httpRoute": "r"}})
}

#[test]
fn rules_of_each_router_by_itself() {
    let routed = |routing: Value| json!({"strategy.canary": {"stableService": "s", "canaryService": "c", "trafficRouting": routing}});
    let path = "spec.strategy.canary.trafficRouting";
    let breaks = |routing: Value, expected: &[&str]| {
        let expected: Vec<String> = expected.iter().map(|text| format!("{path}.{text}")).collect();
        breaks(routed(routing), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let ingresses = "Either StableIngress or StableIngresses must be configured.";
    breaks(json!({"nginx": {}}), &[&format!("nginx: Internal error: {ingresses} Neither are configured.")]);
    breaks(
        json!({"nginx": {"stableIngress": "a", "stableIngresses": ["b"]}}),
        &[&format!("nginx: Internal error: {ingresses} Both are configured.")],
    );
    breaks(
        json!({"alb": {"ingresses": []}}),
        &["alb: Internal error: Either Ingress or Ingresses must be configured. Neither are configured."],
    );
    let either = "istio: Internal error: either VirtualService or VirtualServices must be configured";
    breaks(json!({"istio": {}}), &[either]);
    breaks(
        json!({"istio": {"virtualService": {"name": "a"}, "virtualServices": [{"name": "a"}]}}),
        &[either],
    );
    breaks(json!({"istio": {"virtualServices": [{"name": "a"}]}}), &[]);
    breaks(
        json!({"ambassador": {"mappings": []}}),
        &["ambassador.mappings: Invalid value: null: must provide at least one mapping"],
    );
    breaks(
        json!({"appMesh": {}}),
        &[
            "appMesh: Forbidden: AWS App Mesh has ended; use another router, for example istio, or Gateway API \
           through plugins[argoproj-labs/gatewayAPI]",
        ],
    );
    breaks(
        json!({"plugins": {"me/mine": {}}}),
        &["plugins[me/mine]: Unsupported value: \"me/mine\": supported values: \"argoproj-labs/gatewayAPI\""],
    );
    breaks(
        json!({"plugins": gateway_api(), "maxTrafficWeight": 0}),
        &["maxTrafficWeight: Invalid value: 0: must be at least 1"],
    );
    breaks(json!({"plugins": gateway_api(), "maxTrafficWeight": 1_000_000}), &[]);
    breaks(
        json!({"plugins": gateway_api(), "maxTrafficWeight": 1_000_001}),
        &[
            "maxTrafficWeight: Invalid value: 1000001: must be at most 1000000, the greatest weight of a backend in \
           Gateway API",
        ],
    );
    breaks(json!({"nginx": {"stableIngress": "a"}, "maxTrafficWeight": 100_000_000}), &[]);
}

#[test]
fn the_configuration_of_gateway_api() {
    let found = |config: Value| {
        let routing = json!({"plugins": {"argoproj-labs/gatewayAPI": config}});
        let all = shown(&with(json!({"strategy.canary": {"trafficRouting": routing}})));
        let path = "spec.strategy.canary.trafficRouting.plugins[argoproj-labs/gatewayAPI]";
        all.iter().map(|text| text.replacen(path, "@", 1)).collect::<Vec<_>>()
    };
    let route = json!({"name": "r", "useHeaderRoutes": true, "group": "policy.linkerd.io"});
    assert_eq!(found(json!({"httpRoutes": [route], "namespace": "edge"})), Vec::<String>::new());
    assert_eq!(
        found(json!({"grpcRouteSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}})),
        Vec::<String>::new()
    );
    assert_eq!(
        found(json!({"httpRouteSelector": {"matchLabels": {}}})),
        ["@.httpRouteSelector: Invalid value: {\"matchLabels\":{}}: selects nothing: name labels"]
    );
    assert!(found(json!({}))[0].starts_with("@: Invalid value: {}: No routes configured. At least one of"));
    assert_eq!(
        found(json!({"tcpRoutes": [{"group": "x"}], "httpRoute": 3})),
        [
            "@.httpRoute: Invalid value: 3: must be text (in quotes)",
            "@.tcpRoutes[0].name: Required value",
            "@.tcpRoutes[0].group: Unsupported value: \"x\": supported values: \"gateway.networking.k8s.io\", \
             \"policy.linkerd.io\"",
        ]
    );
}

#[test]
fn vectors_141_to_144_rules_of_traffic() {
    let canary = |steps: Value, routing: Value| {
        json!({"strategy.canary": {"stableService": "s", "canaryService": "c", "steps": steps,
            "trafficRouting": routing}})
    };
    let istio = json!({"virtualService": {"name": "vs"}});
    breaks(
        canary(json!([]), json!({"maxTrafficWeight": 200, "istio": istio})),
        &[
            "spec.strategy.trafficRouting.maxTrafficWeight: Invalid value: 200: Canary maxTrafficWeight in traffic \
           routing only supported in Nginx and Plugins",
        ],
    );
    let nginx = json!({"stableIngress": "i"});
    let heavy = json!([{"setWeight": 150}]);
    breaks(canary(heavy.clone(), json!({"maxTrafficWeight": 200, "nginx": nginx})), &[]);
    breaks(
        canary(heavy, json!({"nginx": nginx})),
        &["spec.strategy.steps[0].setWeight: Invalid value: 150: SetWeight needs to be between 0 and 100"],
    );
    let by_prefix = json!([{"setHeaderRoute": {"name": "h",
        "match": [{"headerName": "a", "headerValue": {"prefix": "x"}}]}}]);
    let managed = json!([{"name": "h"}]);
    breaks(
        canary(by_prefix.clone(), json!({"alb": {"ingress": "i"}, "managedRoutes": managed})),
        &[
            "spec.strategy.steps[0].setHeaderRoute.match[0]: Invalid value: {\"prefix\":\"x\"}: SetHeaderRoute match \
           value invalid. ALB supports 'exact' value only",
        ],
    );
    breaks(canary(by_prefix.clone(), json!({"istio": istio, "managedRoutes": managed})), &[]);
    breaks(
        canary(by_prefix, json!({"istio": istio, "managedRoutes": [{"name": "other"}]})),
        &[
            "spec.strategy.steps[0].setHeaderRoute: Invalid value: \"h\": Steps define a route that does not exist in \
           spec.strategy.canary.trafficRouting.managedRoutes",
        ],
    );
}

#[test]
fn what_a_router_cannot_do_is_doubted() {
    let doubts = |changes: Value| -> Vec<String> {
        warnings(&with(changes)).iter().map(|p| format!("{}: {}", p.path, p.detail)).collect()
    };
    assert_eq!(
        doubts(json!({"strategy.canary": {"dynamicStableScale": true, "trafficRouting": {"nginx": {}}}})),
        [
            "spec.strategy.canary.dynamicStableScale: ingress-nginx answers 503 as soon as the stable Service has no \
          pods, even where the canary gets everything"
        ]
    );
    assert_eq!(
        doubts(json!({"strategy.canary": {"steps": [{"setMirrorRoute": {"name": "m"}}],
            "trafficRouting": {"plugins": gateway_api()}}})),
        [
            "spec.strategy.canary.steps[0].setMirrorRoute: mirrors nothing: Gateway API routes are not given mirrors \
          here"
        ]
    );
}
