//! The vectors of the reference's plugin, its known mistakes, and routes nobody expects.

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_api::object::Text;

use super::super::stage::{Stage, header, mirror, split};
use super::super::{Arm, Evidence, ManagedRoute, Reads, Want};

/// A Rollout with this configuration and two Services.
fn stage(config: Value, managed: &[&str], objects: &[Value]) -> Stage {
    let managed: Vec<Value> = managed.iter().map(|name| json!({"name": name})).collect();
    Stage::new(
        json!({"canaryService": "canary", "stableService": "stable",
            "trafficRouting": {"managedRoutes": managed, "plugins": {"argoproj-labs/gatewayAPI": config}}}),
        objects,
    )
}

/// The same with one HTTPRoute of these rules.
fn one(rules: Value) -> Stage {
    stage(json!({"httpRoute": "shop"}), &["beta"], &[http_route(json!({"rules": rules}))])
}

fn http_route(spec: Value) -> Value {
    of_kind("HTTPRoute", "v1", spec)
}

fn of_kind(kind: &str, version: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("gateway.networking.k8s.io/{version}"), "kind": kind,
        "metadata": {"name": "shop"}, "spec": spec})
}

/// A rule with both sides.
fn rule() -> Value {
    json!({"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": both()})
}

fn both() -> Value {
    json!([{"name": "stable", "port": 80}, {"name": "canary", "port": 81}])
}

/// Name and weight of every backend, a text a rule.
fn weights(stage: &Stage, kind: &str) -> Vec<String> {
    let document = stage.document(kind, "shop");
    let backend = |entry: &Value| match entry.get("weight") {
        Some(weight) => format!("{} {weight}", entry["name"].as_str().unwrap()),
        None => entry["name"].as_str().unwrap().to_owned(),
    };
    let rules = document["spec"]["rules"].as_array().unwrap().iter();
    rules
        .map(|rule| {
            let backends = rule["backendRefs"].as_array().into_iter().flatten();
            let all: Vec<String> = backends.map(backend).collect();
            match rule["name"].as_str() {
                Some(name) => format!("{name}: {}", all.join(", ")),
                None => all.join(", "),
            }
        })
        .collect()
}

fn beta() -> ManagedRoute {
    header("beta", json!([{"headerName": "X-Beta", "headerValue": {"exact": "yes"}}]))
}

fn rules(stage: &Stage) -> Value {
    stage.document("HTTPRoute", "shop")["spec"]["rules"].clone()
}

#[test]
fn vector_137_weights_and_label_come_and_go() {
    let mut stage = one(json!([rule()]));
    assert_eq!(stage.carry_out(&split(25)), ["UpdatedHTTPRoute: HTTPRoute `shop` set to desiredWeight '25'"]);
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 75, canary 25"]);
    let labels = |stage: &Stage| stage.document("HTTPRoute", "shop")["metadata"]["labels"].clone();
    assert_eq!(labels(&stage), json!({"rollouts.argoproj.io/gatewayapi-canary": "in-progress"}));
    assert_eq!(stage.view(|router, view| router.shown(view)), Some(25));
    stage.carry_out(&split(0));
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 100, canary 0"]);
    assert_eq!(labels(&stage), Value::Null);
    stage.carry_out(&split(100));
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 0, canary 100"]);
}

#[test]
fn the_label_can_be_another_or_none() {
    let labels = |config: Value| {
        let mut object = http_route(json!({"rules": [rule()]}));
        object["metadata"]["labels"] = json!({"mine": "1"});
        let mut stage = stage(config, &[], &[object]);
        stage.carry_out(&split(25));
        stage.document("HTTPRoute", "shop")["metadata"]["labels"].clone()
    };
    let other = json!({"httpRoute": "shop", "inProgressLabelKey": "k", "inProgressLabelValue": "v"});
    assert_eq!(labels(other), json!({"mine": "1", "k": "v"}));
    assert_eq!(labels(json!({"httpRoute": "shop", "disableInProgressLabel": true})), json!({"mine": "1"}));
}

#[test]
fn vector_138_each_rule_with_both_sides_gets_a_header_rule() {
    let mut stage = one(json!([rule(), {"backendRefs": [{"name": "img"}]}, {"backendRefs": both()}]));
    assert_eq!(
        stage.carry_out(&Want { routes: &[beta()], ..split(0) }),
        [
            "UpdatedHTTPRoute: HTTPRoute `shop` set to desiredWeight '0'",
            "UpdatedHTTPRoute: HTTPRoute `shop` set headerRoute 'beta'",
            "UpdatedHTTPRoute: HTTPRoute `shop` set headerRoute 'beta-1'",
        ]
    );
    assert_eq!(weights(&stage, "HTTPRoute")[3..], ["beta: canary", "beta-1: canary"]);
    let header = json!([{"type": "Exact", "name": "X-Beta", "value": "yes"}]);
    let backend = json!([{"group": "", "kind": "Service", "name": "canary", "port": 81}]);
    assert_eq!(
        rules(&stage)[3],
        json!({"name": "beta", "backendRefs": backend,
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}, "headers": header}]})
    );
    assert_eq!(
        rules(&stage)[4],
        json!({"name": "beta-1", "backendRefs": backend, "matches": [{"headers": header}]})
    );
    stage.carry_out(&split(0));
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 100, canary 0", "img", "stable 100, canary 0"]);
}

#[test]
fn vector_139_headers_are_joined_and_filters_copied() {
    let filters = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["a"]}}]);
    let mut source = rule();
    source["filters"] = filters.clone();
    source["matches"][0]["headers"] =
        json!([{"name": "Tenant", "value": "a"}, {"name": "x-beta", "value": "?"}]);
    let mut stage = one(json!([source]));
    stage.carry_out(&Want { routes: &[beta()], ..split(0) });
    assert_eq!(rules(&stage)[1]["filters"], filters);
    assert_eq!(
        rules(&stage)[1]["matches"][0]["headers"],
        json!([{"name": "Tenant", "value": "a"}, {"type": "Exact", "name": "X-Beta", "value": "yes"}])
    );
}

#[test]
fn vector_140_a_header_rule_keeps_its_backend() {
    let mut stage = one(json!([rule()]));
    stage.carry_out(&Want { routes: &[beta()], ..split(10) });
    stage.carry_out(&Want { routes: &[beta()], ..split(50) });
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 50, canary 50", "beta: canary"]);
}

#[test]
fn a_rule_of_the_user_with_one_side_alone_stays_as_it_is() {
    // It is neither weighted nor taken away (Q16).
    let user =
        json!([{"backendRefs": [{"name": "canary", "weight": 7}]}, {"backendRefs": [{"name": "stable"}]}]);
    let mut stage = one(json!([rule(), user[0], user[1]]));
    stage.carry_out(&Want { routes: &[beta()], ..split(100) });
    stage.carry_out(&split(100));
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 0, canary 100", "canary 7", "stable"]);
}

#[test]
fn header_routes_are_removed_one_by_one_and_changed_in_their_place() {
    let other = header("gamma", json!([{"headerName": "g", "headerValue": {"regex": "a|b"}}]));
    let mut stage =
        stage(json!({"httpRoute": "shop"}), &["beta", "gamma"], &[http_route(json!({"rules": [rule()]}))]);
    stage.carry_out(&Want { routes: &[beta(), other.clone()], ..split(0) });
    assert_eq!(weights(&stage, "HTTPRoute")[1..], ["beta: canary", "gamma: canary"]);
    let changed = header("beta", json!([{"headerName": "X-Beta", "headerValue": {"prefix": "a.b"}}]));
    stage.carry_out(&Want { routes: &[changed, other.clone()], ..split(0) });
    assert_eq!(
        rules(&stage)[1]["matches"][0]["headers"][0],
        json!({"type": "RegularExpression", "name": "X-Beta", "value": "^a\\.b.*"})
    );
    stage.carry_out(&Want { routes: &[other], ..split(0) });
    assert_eq!(weights(&stage, "HTTPRoute")[1..], ["gamma: canary"]);
}

#[test]
fn what_the_api_server_fills_in_is_no_change() {
    let mut stage = one(json!([{"backendRefs": both()}]));
    let want_routes = [beta()];
    let want = Want { routes: &want_routes, ..split(10) };
    stage.carry_out(&want);
    let mut document = stage.document("HTTPRoute", "shop");
    let made = &mut document["spec"]["rules"][1];
    made["matches"][0]["path"] = json!({"type": "PathPrefix", "value": "/"});
    made["backendRefs"][0]["weight"] = json!(1);
    stage.put(document);
    assert_eq!(stage.route(&want).unwrap(), []);
}

#[test]
fn a_rule_whose_name_was_lost_is_still_known() {
    // As where the API server keeps no names of rules.
    let canary = json!({"canaryService": "canary", "stableService": "stable",
        "steps": [{"setHeaderRoute": {"name": "beta", "match": [
            {"headerName": "X-Beta", "headerValue": {"exact": "yes"}}]}}],
        "trafficRouting": {"managedRoutes": [{"name": "beta"}], "plugins": {"argoproj-labs/gatewayAPI":
            {"httpRoutes": [{"name": "shop", "group": "policy.linkerd.io", "useHeaderRoutes": true}]}}}});
    let mut object = http_route(json!({"rules": [rule()]}));
    object["apiVersion"] = json!("policy.linkerd.io/v1beta3");
    let mut stage = Stage::new(canary, &[object]);
    let want_routes = [beta()];
    let want = Want { routes: &want_routes, ..split(10) };
    stage.carry_out(&want);
    let mut document = stage.document("HTTPRoute", "shop");
    document["spec"]["rules"][1].as_object_mut().unwrap().remove("name");
    stage.put(document);
    assert_eq!(stage.route(&want).unwrap(), []);
    stage.carry_out(&split(10));
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 90, canary 10"]);
}

#[test]
fn all_kinds_are_served_in_order() {
    let config = json!({"httpRoute": "shop", "grpcRoutes": [{"name": "shop"}], "tcpRoute": "shop", "tlsRoute": "shop"});
    let kinds =
        [("HTTPRoute", "v1"), ("GRPCRoute", "v1"), ("TCPRoute", "v1alpha2"), ("TLSRoute", "v1alpha2")];
    let objects =
        kinds.map(|(kind, version)| of_kind(kind, version, json!({"rules": [{"backendRefs": both()}]})));
    let mut stage = stage(config, &["beta"], &objects);
    // Header rules only where they are asked for: not in the GRPCRoute.
    let told = stage.carry_out(&Want { routes: &[beta()], ..split(25) });
    let kind_of = |told: &String| told.split(':').next().unwrap().to_owned();
    assert_eq!(
        told.iter().map(kind_of).collect::<Vec<_>>(),
        ["UpdatedHTTPRoute", "UpdatedHTTPRoute", "UpdatedGRPCRoute", "UpdatedTCPRoute", "UpdatedTLSRoute"]
    );
    for kind in ["GRPCRoute", "TCPRoute", "TLSRoute"] {
        assert_eq!(weights(&stage, kind), ["stable 75, canary 25"], "{kind}");
    }
}

#[test]
fn methods_of_grpc_are_kept_in_header_rules() {
    let method = json!({"service": "shop.Cart"});
    let source = json!({"matches": [{"method": method}], "backendRefs": both()});
    let mut stage = stage(
        json!({"grpcRoute": "shop"}),
        &["beta"],
        &[of_kind("GRPCRoute", "v1", json!({"rules": [source]}))],
    );
    stage.carry_out(&Want { routes: &[beta()], ..split(0) });
    let made = stage.document("GRPCRoute", "shop")["spec"]["rules"][1]["matches"][0].clone();
    assert_eq!((&made["method"], &made["headers"][0]["name"]), (&method, &json!("X-Beta")));
}

#[test]
fn errors_name_what_is_missing() {
    let trouble = |stage: &Stage| stage.route(&split(10)).unwrap_err().to_string();
    assert!(
        trouble(&stage(json!({}), &[], &[]))
            .starts_with("No routes configured. At least one of 'httpRoutes'")
    );
    assert_eq!(
        trouble(&stage(json!({"httpRoute": "shop"}), &[], &[])),
        "httproutes.gateway.networking.k8s.io \"shop\" not found"
    );
    let lacks = one(json!([{"backendRefs": [{"name": "stable"}]}]));
    assert_eq!(trouble(&lacks), "backendRef was not found in httpRoute (HTTPRoute prod/shop: spec.rules)");
    let twice = header(
        "beta",
        json!([{"headerName": "a", "headerValue": {"exact": "1"}},
        {"headerName": "A", "headerValue": {"exact": "2"}}]),
    );
    let error = one(json!([rule()])).route(&Want { routes: &[twice], ..split(10) }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "header \"A\" is matched twice, which Gateway API cannot express (HTTPRoute prod/shop: spec.rules)"
    );
}

#[test]
fn routes_may_be_selected_by_label() {
    let mut object = http_route(json!({"rules": [rule()]}));
    object["metadata"]["labels"] = json!({"app": "shop"});
    let config = json!({"namespace": "edge", "httpRouteSelector": {"matchLabels": {"app": "shop"}}});
    let mut elsewhere = object.clone();
    elsewhere["metadata"]["name"] = json!("elsewhere");
    object["metadata"]["namespace"] = json!("edge");
    let mut stage = stage(config, &[], &[object, elsewhere]);
    let reads = stage.view(|router, view| router.reads(&view.at));
    assert!(matches!(&reads[..], [Reads::Matching(kind, namespace, _)]
        if kind.name() == "HTTPRoute" && &**namespace == "edge"));
    stage.carry_out(&split(25));
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 75, canary 25"]);
    let document = stage.document("HTTPRoute", "elsewhere");
    assert_eq!(document["spec"]["rules"][0]["backendRefs"], both());
}

#[test]
fn the_pair_wins_over_plain_services() {
    let canary = json!({"canaryService": "canary", "stableService": "stable",
        "pingPong": {"pingService": "ping", "pongService": "pong"},
        "trafficRouting": {"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "shop"}}}});
    let rules = json!([{"backendRefs": [{"name": "ping"}, {"name": "pong"}]}]);
    let objects = [http_route(json!({"rules": rules}))];
    let mut stage = Stage::with_status(canary, json!({"canary": {"stablePingPong": "ping"}}), &objects);
    stage.carry_out(&split(20));
    assert_eq!(weights(&stage, "HTTPRoute"), ["ping 80, pong 20"]);
}

#[test]
fn parts_of_a_larger_whole_are_written_as_they_are() {
    let canary = json!({"canaryService": "canary", "stableService": "stable",
        "trafficRouting": {"maxTrafficWeight": 1000, "plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "shop"}}}});
    let mut stage = Stage::new(canary, &[http_route(json!({"rules": [rule()]}))]);
    stage.carry_out(&Want { whole: 1000, ..split(25) });
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 975, canary 25"]);
    assert_eq!(stage.view(|router, view| router.shown(view)), Some(25));
}

#[test]
fn arms_of_an_experiment_come_change_and_go() {
    let mut stage = one(json!([{"backendRefs": [
        {"name": "stable", "port": 80}, {"name": "mine", "weight": 3}, {"name": "canary", "port": 81}]}]));
    stage.put(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "exp-a"},
        "spec": {"ports": [{"name": "admin", "port": 1}, {"name": "http", "port": 90}]}}));
    let arm = |service: &str, weight| Arm { service: service.into(), hash: "e".into(), weight };
    let former = ["exp-a", "exp-b"].map(Text::from);
    let arms = [arm("exp-b", 20), arm("exp-a", 10)];
    stage.carry_out(&Want { arms: &arms, ..split(10) });
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 60, mine 3, canary 10, exp-a 10, exp-b 20"]);
    let backends = rules(&stage)[0]["backendRefs"].clone();
    assert_eq!(backends[3], json!({"name": "exp-a", "namespace": "prod", "port": 90, "weight": 10}));
    // Its Service is not seen yet: the canary's port.
    assert_eq!(backends[4]["port"], 81);
    assert_eq!(stage.view(|router, view| router.shown(view)), Some(10));
    stage.carry_out(&Want { arms: &[arm("exp-b", 5)], former_arms: &former, ..split(10) });
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 85, mine 3, canary 10, exp-b 5"]);
    stage.carry_out(&Want { former_arms: &former, ..split(0) });
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 100, mine 3, canary 0"]);
}

#[test]
fn a_mirror_is_for_other_routers() {
    let mut stage = one(json!([rule()]));
    let shadow = mirror("beta", json!([{"method": {"exact": "GET"}}]), None);
    stage.carry_out(&Want { routes: &[shadow], ..split(0) });
    assert_eq!(weights(&stage, "HTTPRoute"), ["stable 100, canary 0"]);
}

/// Evidence of a route of generation 2 with one parent, `web`, and this status.
fn evidence(parents: Value) -> Evidence {
    let mut object = http_route(json!({"parentRefs": [{"name": "web"}], "rules": [rule()]}));
    object["metadata"]["generation"] = json!(2);
    object["status"] = json!({"parents": parents});
    let stage = stage(json!({"httpRoute": "shop"}), &[], &[object]);
    stage.view(|router, view| router.evidence(view, &split(0)))
}

fn condition(name: &str, status: &str, generation: i64) -> Value {
    json!({"type": name, "status": status, "observedGeneration": generation,
        "reason": "Because", "message": "so it is"})
}

#[test]
fn conditions_are_evidence() {
    let parent = |name: &str, conditions: Value| {
        json!({"parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name},
            "controllerName": "c", "conditions": conditions})
    };
    let both = |first: Value, second: Value| json!([parent("web", json!([first, second]))]);
    let accepted = condition("Accepted", "True", 2);
    assert_eq!(evidence(json!([])), Evidence::None);
    assert_eq!(evidence(both(accepted.clone(), condition("ResolvedRefs", "True", 2))), Evidence::Applied);
    assert_eq!(
        evidence(both(accepted.clone(), condition("ResolvedRefs", "True", 1))),
        Evidence::NotYet("HTTPRoute \"shop\": Gateway \"web\" has not looked at generation 2 yet".into())
    );
    assert_eq!(
        evidence(both(accepted.clone(), condition("ResolvedRefs", "False", 2))),
        Evidence::NotYet(
            "HTTPRoute \"shop\": Gateway \"web\" says that ResolvedRefs is not so: Because (so it is)".into()
        )
    );
    assert_eq!(
        evidence(json!([parent("web", json!([accepted.clone()]))])),
        Evidence::NotYet("HTTPRoute \"shop\": Gateway \"web\" has not said ResolvedRefs yet".into())
    );
    let mut ageless = accepted.clone();
    ageless.as_object_mut().unwrap().remove("observedGeneration");
    assert_eq!(evidence(both(ageless, condition("ResolvedRefs", "True", 2))), Evidence::None);
    // What a parent said that the route no longer names is old.
    assert_eq!(evidence(json!([parent("gone", json!([]))])), Evidence::None);
}

/// Any JSON, with names that mean something here strewn in.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["stable", "canary", "beta", "beta-1", "", "exp"]).prop_map(Value::from),
    ];
    let field = prop::sample::select(vec![
        "rules",
        "backendRefs",
        "name",
        "weight",
        "matches",
        "headers",
        "path",
        "type",
        "value",
        "filters",
        "port",
        "parentRefs",
        "unknown",
    ]);
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(field.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A mapping with unknown fields, under names that nobody knows.
fn unknown() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("x[a-z]{0,3}", any_json(), 0..3)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn joined(mut base: Value, more: &Value) -> Value {
    let (base_map, more) = (base.as_object_mut().unwrap(), more.as_object().unwrap());
    base_map.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
    base
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(spec in any_json(), weight in 0_i64..=100, status in any_json()) {
        let arms = [Arm { service: "exp".into(), hash: "e".into(), weight: 5 }];
        let (routes, former) = ([beta()], [Text::from("x")]);
        let want = Want { routes: &routes, arms: &arms, former_arms: &former, ..split(weight) };
        for spec in [spec.clone(), json!({"rules": [spec, {"backendRefs": both()}]})] {
            let mut object = http_route(spec);
            object["status"] = status.clone();
            let mut stage = stage(json!({"httpRoute": "shop"}), &["beta"], &[object]);
            if stage.route(&want).is_ok() {
                stage.carry_out(&want);
            }
            stage.view(|router, view| (router.shown(view), router.evidence(view, &want)));
        }
    }

    #[test]
    fn what_is_unknown_survives(
        spec in unknown(), on_rule in unknown(), on_stable in unknown(), on_canary in unknown(), on_user in unknown(),
        place in 0_usize..3, weight in 0_i64..=100,
    ) {
        let source = joined(json!({"backendRefs": [
            joined(json!({"name": "stable", "weight": 100}), &on_stable),
            joined(json!({"name": "canary", "weight": 0}), &on_canary)]}), &on_rule);
        let mut all = vec![joined(json!({"name": "user"}), &on_user), joined(json!({}), &on_user)];
        all.insert(place, source);
        let object = http_route(joined(json!({"rules": all}), &spec));
        let mut stage = stage(json!({"httpRoute": "shop"}), &["beta"], &[object]);
        let before = stage.document("HTTPRoute", "shop");
        let arms = [Arm { service: "exp".into(), hash: "e".into(), weight: 5 }];
        let (routes, former) = ([beta()], [Text::from("exp")]);
        stage.carry_out(&Want { routes: &routes, arms: &arms, ..split(weight) });
        stage.carry_out(&Want { former_arms: &former, ..split(0) });
        prop_assert_eq!(stage.document("HTTPRoute", "shop"), before);
    }
}
