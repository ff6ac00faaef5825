//! The vectors of the reference for Istio, and objects nobody expects.

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_api::object::{Object, Text};

use super::super::stage::{Stage, header, mirror, split};
use super::super::{Arm, Router, Want};
use super::{Istio, config, resolve};

/// A Rollout with this `trafficRouting.istio` and two Services.
fn stage(istio: Value, managed: &[&str], objects: &[Value]) -> Stage {
    let managed: Vec<Value> = managed.iter().map(|name| json!({"name": name})).collect();
    Stage::new(
        json!({"canaryService": "canary", "stableService": "stable",
            "trafficRouting": {"managedRoutes": managed, "istio": istio}}),
        objects,
    )
}

/// The same with one VirtualService, whose HTTP routes are given by name.
fn one(routes: &[&str], managed: &[&str], spec: Value) -> Stage {
    stage(
        json!({"virtualService": {"name": "vs", "routes": routes}}),
        managed,
        &[virtual_service("vs", spec)],
    )
}

fn virtual_service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService",
        "metadata": {"name": name}, "spec": spec})
}

fn destination_rule(spec: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "DestinationRule",
        "metadata": {"name": "dr"}, "spec": spec})
}

fn route(name: &str) -> Value {
    let mut route = json!({"route": destinations(100, 0)});
    if !name.is_empty() {
        route["name"] = json!(name);
    }
    route
}

fn destinations(stable: i64, canary: i64) -> Value {
    json!([{"destination": {"host": "stable"}, "weight": stable}, {"destination": {"host": "canary"}, "weight": canary}])
}

/// Host (or subset) and weight of every destination, a text a route.
fn weights(stage: &Stage, section: &str) -> Vec<String> {
    let document = stage.document("VirtualService", "vs");
    let destination = |entry: &Value| {
        let to = &entry["destination"];
        let name = to["subset"].as_str().or(to["host"].as_str()).unwrap();
        format!("{name} {}", entry["weight"])
    };
    let routes = document["spec"][section].as_array().unwrap().iter();
    routes
        .map(|route| {
            let all: Vec<String> = route["route"].as_array().unwrap().iter().map(destination).collect();
            match route["name"].as_str() {
                Some(name) => format!("{name}: {}", all.join(", ")),
                None => all.join(", "),
            }
        })
        .collect()
}

/// What is wrong, without the object and the field that it is told with.
fn trouble(stage: &Stage, want: &Want<'_>) -> String {
    let trouble = stage.route(want).unwrap_err().to_string();
    let (text, place) = trouble.split_once(" (VirtualService prod/vs: spec").unwrap();
    assert!(["", ".http", ".tls", ".tcp"].contains(&place.trim_end_matches(')')), "{place}");
    text.to_owned()
}

fn arm(service: &str, weight: i64) -> Arm {
    Arm { service: service.into(), hash: "e1".into(), weight }
}

fn former(names: &[&str]) -> Vec<Text> {
    names.iter().map(|name| Text::from(*name)).collect()
}

#[test]
fn vector_74_only_named_routes_are_weighted() {
    let mut stage = one(&["primary"], &[], json!({"http": [route("primary"), route("secondary")]}));
    assert_eq!(
        stage.carry_out(&split(20)),
        ["Updated VirtualService: VirtualService `vs` set to desiredWeight '20'"]
    );
    assert_eq!(weights(&stage, "http"), ["primary: stable 80, canary 20", "secondary: stable 100, canary 0"]);
    assert_eq!(stage.view(|router, view| router.shown(view)), Some(20));
}

#[test]
fn vector_75_the_only_route_needs_no_name() {
    let mut stage = one(&[], &[], json!({"http": [route("")]}));
    stage.carry_out(&split(10));
    assert_eq!(weights(&stage, "http"), ["stable 90, canary 10"]);
}

#[test]
fn vectors_76_and_77_routes_by_name() {
    let none = |_: &str| false;
    assert_eq!(resolve::http(&[route("foo"), route("")], &[], &none), Ok(vec![1]));
    assert_eq!(
        resolve::http(&[route("foo")], &["bar"], &none),
        Err("HTTP Route 'bar' is not found in the defined Virtual Service.".to_owned())
    );
}

#[test]
fn vector_78_two_routes_must_be_told_apart() {
    let stage = one(&[], &[], json!({"http": [route("a"), route("b")]}));
    assert_eq!(
        trouble(&stage, &split(0)),
        "spec.http[] should be set in VirtualService and it must have exactly one route when omitting \
         spec.strategy.canary.trafficRouting.istio.virtualService.routes"
    );
}

/// TLS or TCP routes with these matches.
fn matched(matches: &[Value]) -> Value {
    matches.iter().map(|matched| json!({"match": matched, "route": destinations(100, 0)})).collect()
}

#[test]
fn vectors_79_and_80_tls_routes_go_by_port_and_hosts() {
    let by_port = matched(&[json!([{"port": 3000}]), json!([{"port": 3001}])]);
    let istio = |tls: Value| json!({"virtualService": {"name": "vs", "tlsRoutes": tls}});
    let mut stage =
        stage(istio(json!([{"port": 3000}])), &[], &[virtual_service("vs", json!({"tls": by_port}))]);
    stage.carry_out(&split(30));
    assert_eq!(weights(&stage, "tls"), ["stable 70, canary 30", "stable 100, canary 0"]);

    let by_host = matched(&[
        json!([{"port": 3000, "sniHosts": ["foo.bar.com", "bar.foo.com"]}, {"sniHosts": ["localhost"]}]),
        json!([{"port": 3001, "sniHosts": ["localhost"]}]),
    ]);
    let hosts = json!([{"port": 3000, "sniHosts": ["localhost", "foo.bar.com", "bar.foo.com"]}]);
    let mut stage = self::stage(istio(hosts), &[], &[virtual_service("vs", json!({"tls": by_host}))]);
    stage.carry_out(&split(30));
    assert_eq!(weights(&stage, "tls"), ["stable 70, canary 30", "stable 100, canary 0"]);
}

#[test]
fn vector_81_tcp_routes_go_by_port() {
    let tcp = matched(&[json!([{"port": 3000}]), json!([{"port": 3001}])]);
    let istio = |port: i64| json!({"virtualService": {"name": "vs", "tcpRoutes": [{"port": port}]}});
    let object = virtual_service("vs", json!({"tcp": tcp}));
    let mut fits = stage(istio(3000), &[], std::slice::from_ref(&object));
    fits.carry_out(&split(30));
    assert_eq!(weights(&fits, "tcp"), ["stable 70, canary 30", "stable 100, canary 0"]);
    assert_eq!(
        trouble(&stage(istio(9), &[], &[object]), &split(30)),
        "No matching TCP routes found in the defined Virtual Service."
    );
}

#[test]
fn vector_82_all_protocols_at_once() {
    let mut stage = stage(
        json!({"virtualService": {"name": "vs", "routes": ["primary"], "tlsRoutes": [{"port": 443}],
            "tcpRoutes": [{"port": 3306}]}}),
        &[],
        &[virtual_service(
            "vs",
            json!({"http": [route("primary")], "tls": matched(&[json!([{"port": 443}])]),
                "tcp": matched(&[json!([{"port": 3306}])])}),
        )],
    );
    stage.carry_out(&split(20));
    assert_eq!(weights(&stage, "http"), ["primary: stable 80, canary 20"]);
    assert_eq!(weights(&stage, "tls"), ["stable 80, canary 20"]);
    assert_eq!(weights(&stage, "tcp"), ["stable 80, canary 20"]);
}

#[test]
fn vector_83_a_pair_swaps_roles() {
    let canary = json!({"pingPong": {"pingService": "ping", "pongService": "pong"},
        "trafficRouting": {"istio": {"virtualService": {"name": "vs"}}}});
    let to = |host: &str| json!({"destination": {"host": host}, "weight": 50});
    let object = virtual_service("vs", json!({"http": [{"route": [to("ping"), to("pong")]}]}));
    let mut stage = Stage::with_status(canary, json!({"canary": {"stablePingPong": "ping"}}), &[object]);
    stage.carry_out(&split(20));
    assert_eq!(weights(&stage, "http"), ["ping 80, pong 20"]);
}

#[test]
fn vector_84_nothing_to_change() {
    let stage = one(&[], &[], json!({"http": [route("")]}));
    assert_eq!(stage.route(&split(0)).unwrap(), []);
}

#[test]
fn vectors_85_and_86_arms_come_and_go() {
    let port = json!({"number": 8080});
    let mut stage = one(
        &[],
        &[],
        json!({"http": [{"route": [
        {"destination": {"host": "stable.prod"}, "weight": 100},
        {"destination": {"host": "canary.prod", "port": port}}]}]}),
    );
    let (arms, names) =
        ([arm("exp-canary", 20), arm("exp-baseline", 20)], former(&["exp-baseline", "exp-canary"]));
    stage.carry_out(&Want { arms: &arms, ..split(10) });
    assert_eq!(
        weights(&stage, "http"),
        ["stable.prod 50, canary.prod 10, exp-baseline.prod 20, exp-canary.prod 20"]
    );
    let document = stage.document("VirtualService", "vs");
    assert_eq!(document["spec"]["http"][0]["route"][2]["destination"]["port"], port);
    stage.carry_out(&Want { arms: &arms[..1], former_arms: &names, ..split(10) });
    assert_eq!(weights(&stage, "http"), ["stable.prod 70, canary.prod 10, exp-canary.prod 20"]);
    stage.carry_out(&Want { former_arms: &names, ..split(10) });
    assert_eq!(weights(&stage, "http"), ["stable.prod 90, canary.prod 10"]);
}

#[test]
fn destinations_of_the_user_keep_their_weight() {
    let other = json!({"destination": {"host": "legacy"}, "weight": 30});
    let mut stage = one(
        &[],
        &[],
        json!({"http": [{"route": [
        {"destination": {"host": "stable"}, "weight": 70}, other, {"destination": {"host": "canary"}}]}]}),
    );
    stage.carry_out(&split(20));
    assert_eq!(weights(&stage, "http"), ["stable 50, legacy 30, canary 20"]);
    stage.carry_out(&split(100));
    assert_eq!(weights(&stage, "http"), ["stable 0, legacy 30, canary 100"]);
}

/// One host with subsets, `web`.
fn by_subset(canary: Value, destinations: Value, subsets: Value) -> Stage {
    let mut canary = canary;
    canary["trafficRouting"] = json!({"managedRoutes": [{"name": "it"}], "istio": {
        "virtualService": {"name": "vs"},
        "destinationRule": {"name": "dr", "canarySubsetName": "canary", "stableSubsetName": "stable",
            "additionalSubsetNames": ["legacy"]}}});
    let rule = destination_rule(json!({"host": "web", "subsets": subsets}));
    Stage::new(canary, &[virtual_service("vs", json!({"http": [{"route": destinations}]})), rule])
}

fn subset(name: &str, weight: i64) -> Value {
    json!({"destination": {"host": "web", "subset": name}, "weight": weight})
}

#[test]
fn vector_87_additional_subsets_keep_their_weight() {
    let all = json!([subset("stable", 80), subset("canary", 0), subset("legacy", 20)]);
    let mut stage = by_subset(json!({}), all, json!([]));
    stage.carry_out(&split(10));
    assert_eq!(weights(&stage, "http"), ["stable 70, canary 10, legacy 20"]);
}

#[test]
fn a_subset_says_more_than_the_host_it_shares() {
    // Both destinations lead to the Service that is the canary's as well (Q39).
    let canary = json!({"canaryService": "web", "stableService": "other"});
    let mut stage = by_subset(canary, json!([subset("stable", 100), subset("canary", 0)]), json!([]));
    stage.carry_out(&split(10));
    assert_eq!(weights(&stage, "http"), ["stable 90, canary 10"]);
}

#[test]
fn vectors_88_and_89_both_sides_must_be_there() {
    let to = |host: &str| json!({"destination": {"host": host}});
    let fits = one(&[], &[], json!({"http": [{"route": [to("stable.namespace"), to("canary.namespace")]}]}));
    assert!(fits.route(&split(5)).is_ok());
    let lacks = by_subset(json!({}), json!([subset("canary", 0), subset("other", 100)]), json!([]));
    assert_eq!(trouble(&lacks, &split(5)), "Stable DestinationRule subset 'stable' not found in route");
    let lacks = one(&[], &[], json!({"http": [{"route": [to("stable")]}]}));
    assert_eq!(trouble(&lacks, &split(5)), "Canary Service 'canary' not found in route");
    let empty = one(&[], &[], json!({"http": []}));
    assert_eq!(
        trouble(&empty, &split(5)),
        "Unable to get any of the HTTP, TCP or TLS routes for the Istio VirtualService"
    );
}

#[test]
fn vectors_90_and_91_subsets_select_hashes() {
    let mut stage = by_subset(
        json!({}),
        json!([subset("stable", 100), subset("canary", 0)]),
        json!([{"name": "stable", "labels": {"version": "v3"}},
            {"name": "canary", "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}}]),
    );
    let want = Want { canary_hash: "abc123", stable_hash: "def456", ..split(0) };
    assert_eq!(
        stage.carry_out_labels(&want),
        ["UpdatedDestinationRule: DestinationRule dr subset updated (canary: abc123, stable: def456)"]
    );
    let rule = stage.document("DestinationRule", "dr");
    assert_eq!(
        rule["spec"]["subsets"],
        json!([{"name": "stable", "labels": {"version": "v3", "rollouts-pod-template-hash": "def456"}},
            {"name": "canary", "labels": {"rollouts-pod-template-hash": "abc123"},
             "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}}])
    );
    assert_eq!(
        rule["metadata"]["annotations"],
        json!({"argo-rollouts.argoproj.io/managed-by-rollouts": "web"})
    );
    let named = stage.view(|router, view| router.names_hashes(view));
    assert_eq!(named, [Text::from("def456"), Text::from("abc123")]);
}

#[test]
fn vector_92_a_missing_destination_rule_is_told() {
    let mut stage = by_subset(json!({}), json!([]), json!([]));
    stage.objects.retain(|key, _| key.kind.name() != "DestinationRule");
    let trouble = stage.view(|router, view| router.label(view, &split(0))).unwrap_err();
    assert_eq!(trouble.to_string(), "destinationrules.networking.istio.io \"dr\" not found");
    assert!(trouble.is_missing);
    assert_eq!(
        trouble.event,
        Some(("DestinationRuleNotFound".into(), "DestinationRule `dr` not found".into()))
    );
}

#[test]
fn vector_93_arms_have_subsets() {
    let sides = json!([{"name": "stable"}, {"name": "canary"}, {"name": "mine"}]);
    let mut stage = by_subset(json!({}), json!([]), sides);
    let names = |stage: &Stage| -> Vec<String> {
        let rule = stage.document("DestinationRule", "dr");
        let subsets = rule["spec"]["subsets"].as_array().unwrap().iter();
        subsets.map(|subset| subset["name"].as_str().unwrap().to_owned()).collect()
    };
    let (arms, known) = ([arm("exp-svc", 5), arm("exp-svc2", 5)], former(&["exp-svc", "exp-svc2"]));
    stage.carry_out_labels(&Want { arms: &arms[..1], ..split(0) });
    assert_eq!(names(&stage), ["stable", "canary", "mine", "exp-svc"]);
    stage.carry_out_labels(&Want { arms: &arms, former_arms: &known[..1], ..split(0) });
    assert_eq!(names(&stage), ["stable", "canary", "mine", "exp-svc", "exp-svc2"]);
    stage.carry_out_labels(&Want { arms: &arms[1..], former_arms: &known, ..split(0) });
    assert_eq!(names(&stage), ["stable", "canary", "mine", "exp-svc2"]);
}

#[test]
fn without_a_destination_rule_there_is_nothing_to_label() {
    let stage = one(&[], &[], json!({"http": [route("")]}));
    assert_eq!(stage.view(|router, view| router.label(view, &split(0))).unwrap(), []);
}

fn firefox(name: &str) -> super::super::ManagedRoute {
    header(name, json!([{"headerName": "agent", "headerValue": {"exact": "firefox"}}]))
}

#[test]
fn vectors_97_and_98_a_header_route_comes_first_and_once() {
    let mut stage = one(&["primary"], &["it"], json!({"http": [route("primary"), route("secondary")]}));
    let before = stage.document("VirtualService", "vs");
    let routes = [firefox("it")];
    assert_eq!(
        stage.carry_out(&Want { routes: &routes, ..split(0) }),
        ["Updated VirtualService: VirtualService `vs` set headerRoute 'it'"]
    );
    assert_eq!(
        stage.document("VirtualService", "vs")["spec"]["http"][0],
        json!({"name": "it", "match": [{"headers": {"agent": {"exact": "firefox"}}}],
            "route": [{"weight": 100, "destination": {"host": "canary"}}]})
    );
    assert_eq!(
        weights(&stage, "http")[1..],
        ["primary: stable 100, canary 0", "secondary: stable 100, canary 0"]
    );
    // Two matches are alternatives.
    let either = header(
        "it",
        json!([{"headerName": "a", "headerValue": {"prefix": "x"}},
        {"headerName": "b", "headerValue": {"regex": "y.*"}}]),
    );
    stage.carry_out(&Want { routes: &[either], ..split(0) });
    assert_eq!(
        stage.document("VirtualService", "vs")["spec"]["http"][0]["match"],
        json!([{"headers": {"a": {"prefix": "x"}}}, {"headers": {"b": {"regex": "y.*"}}}])
    );
    assert_eq!(
        stage.carry_out(&split(0)),
        ["Updated VirtualService: VirtualService `vs` removed all managed routes."]
    );
    assert_eq!(stage.document("VirtualService", "vs"), before);
}

#[test]
fn vector_99_a_header_route_leads_to_the_subset() {
    let mut stage = by_subset(json!({}), json!([subset("stable", 100), subset("canary", 0)]), json!([]));
    stage.carry_out(&Want { routes: &[firefox("it")], ..split(0) });
    let document = stage.document("VirtualService", "vs");
    assert_eq!(
        document["spec"]["http"][0]["route"],
        json!([{"weight": 100, "destination": {"host": "web", "subset": "canary"}}])
    );
}

#[test]
fn vector_100_ports_are_copied_and_other_fields_survive() {
    let to = |host: &str, port: i64| json!({"destination": {"host": host, "port": {"number": port}}});
    let user = json!({"name": "primary", "retries": {"attempts": 2}, "corsPolicy": {"allowOrigin": ["x"]},
        "route": [to("stable", 1), to("canary", 8443)]});
    let mut stage = one(&["primary"], &["it"], json!({"hosts": ["h"], "http": [user]}));
    let before = stage.document("VirtualService", "vs");
    stage.carry_out(&Want { routes: &[firefox("it")], ..split(0) });
    let document = stage.document("VirtualService", "vs");
    assert_eq!(document["spec"]["http"][0]["route"][0]["destination"]["port"]["number"], 8443);
    stage.carry_out(&split(0));
    // The stable weight was not written before; all else is as it was.
    let mut expected = before;
    expected["spec"]["http"][0]["route"][0]["weight"] = json!(100);
    assert_eq!(stage.document("VirtualService", "vs"), expected);
}

#[test]
fn a_canary_with_two_ports_has_no_managed_routes() {
    let to = |host: &str, port: i64| json!({"destination": {"host": host, "port": {"number": port}}});
    let user = json!({"name": "primary", "route": [to("stable", 1), to("canary", 1), to("canary", 2)]});
    let stage = one(&[], &["it"], json!({"http": [user]}));
    assert!(
        trouble(&stage, &Want { routes: &[firefox("it")], ..split(0) })
            .starts_with("HTTP Route 'primary' has several canary destinations")
    );
}

#[test]
fn vector_101_a_mirror_copies_the_route() {
    let mut stage = one(&["primary"], &["m"], json!({"http": [route("primary")]}));
    let matches =
        json!([{"method": {"exact": "GET"}, "path": {"prefix": "/"}, "headers": {"h": {"exact": "v"}}}]);
    stage.carry_out(&Want { routes: &[mirror("m", matches.clone(), None)], ..split(20) });
    assert_eq!(
        stage.document("VirtualService", "vs")["spec"]["http"][0],
        json!({"name": "m", "route": destinations(80, 20), "mirror": {"host": "canary"},
            "match": [{"method": {"exact": "GET"}, "uri": {"prefix": "/"}, "headers": {"h": {"exact": "v"}}}],
            "mirrorPercentage": {"value": 100}})
    );
    stage.carry_out(&Want { routes: &[mirror("m", matches, Some(90))], ..split(20) });
    let document = stage.document("VirtualService", "vs");
    assert_eq!(document["spec"]["http"][0]["mirrorPercentage"], json!({"value": 90}));
}

#[test]
fn vectors_102_and_103_mirrors_follow_the_weights() {
    let get = json!([{"method": {"exact": "GET"}}]);
    let mirrors = ["m2", "m3", "m1"].map(|name| mirror(name, get.clone(), None));
    let want = |weight: i64| Want { routes: &mirrors, ..split(weight) };
    let both = json!({"http": [route("primary"), route("secondary")]});
    let mut stage = one(&["primary", "secondary"], &["m2", "m3", "m1"], both);
    stage.carry_out(&want(40));
    let names: Vec<String> =
        weights(&stage, "http").iter().map(|route| route.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["m2", "m3", "m1", "primary", "secondary"]);
    assert_eq!(weights(&stage, "http")[0], "m2: stable 60, canary 40");

    // With the route left out, too: mirrors are not taken for the user's routes (Q6).
    let mut stage = one(&[], &["m2", "m3", "m1"], json!({"http": [route("")]}));
    stage.carry_out(&want(30));
    stage.carry_out(&want(40));
    assert_eq!(weights(&stage, "http")[0], "m2: stable 60, canary 40");
    assert_eq!(weights(&stage, "http")[3], "stable 60, canary 40");
}

#[test]
fn the_only_route_of_the_user_is_told_from_managed_ones() {
    let mut stage = one(&[], &["it"], json!({"http": [route("primary")]}));
    stage.carry_out(&Want { routes: &[firefox("it")], ..split(10) });
    stage.carry_out(&Want { routes: &[firefox("it")], ..split(30) });
    assert_eq!(weights(&stage, "http"), ["it: canary 100", "primary: stable 70, canary 30"]);
}

#[test]
fn routes_without_a_name_are_not_multiplied() {
    let mut stage =
        one(&["primary"], &["it"], json!({"http": [route(""), route(""), route("primary"), route("")]}));
    stage.carry_out(&Want { routes: &[firefox("it")], ..split(10) });
    assert_eq!(stage.document("VirtualService", "vs")["spec"]["http"].as_array().unwrap().len(), 5);
}

#[test]
fn vector_104_managed_routes_go_and_all_others_stay() {
    let mut stage = one(
        &["primary"],
        &["hr1", "hr2"],
        json!({"http": [route("hr1"), route("hr2"), route("primary"), route("user")]}),
    );
    stage.carry_out(&split(0));
    assert_eq!(weights(&stage, "http"), ["primary: stable 100, canary 0", "user: stable 100, canary 0"]);
}

#[test]
fn vectors_105_and_106_nothing_is_done_by_halves() {
    // The reference goes on with the others and fails when it comes to weights.
    let several = json!({"virtualServices": [{"name": "vs"}, {"name": "gone"}, {"name": "third"}]});
    let objects = ["vs", "third"].map(|name| virtual_service(name, json!({"http": [route("")]})));
    let mut stage = stage(several, &[], &objects);
    let missing = stage.route(&split(10)).unwrap_err();
    assert_eq!(missing.to_string(), "virtualservices.networking.istio.io \"gone\" not found");
    assert_eq!(
        missing.event,
        Some(("VirtualServiceNotFound".into(), "VirtualService `gone` not found".into()))
    );
    stage.put(virtual_service("gone", json!({"http": [route("")]})));
    assert_eq!(stage.carry_out(&split(10)).len(), 3);
}

#[test]
fn vector_107_what_is_no_route_stays() {
    let mut stage = one(&["primary"], &["it"], json!({"http": ["text", route("primary")]}));
    stage.carry_out(&split(10));
    assert_eq!(stage.document("VirtualService", "vs")["spec"]["http"][0], json!("text"));
    let stage = one(&[], &["it"], json!({"http": ["text"]}));
    assert!(trouble(&stage, &split(10)).starts_with("spec.http[] should be set"));
}

#[test]
fn vector_108_a_name_may_carry_its_namespace() {
    assert_eq!(config::parse_name("virtualservice.example.istio"), ("virtualservice.example", Some("istio")));
    assert_eq!(config::parse_name("test.namespace.cluster.local"), ("test", Some("namespace")));
    assert_eq!(config::parse_name("test"), ("test", None));
    let mut elsewhere = virtual_service("vs", json!({"http": [route("")]}));
    elsewhere["metadata"]["namespace"] = json!("mesh");
    let mut stage = stage(json!({"virtualService": {"name": "vs.mesh"}}), &[], &[elsewhere]);
    stage.carry_out(&split(10));
    assert_eq!(weights(&stage, "http"), ["stable 90, canary 10"]);
}

#[test]
fn vector_109_a_rule_that_nobody_names_is_left_clean() {
    let mut rule = destination_rule(json!({"host": "web", "subsets": [
        {"name": "stable", "labels": {"v": "1", "rollouts-pod-template-hash": "a"}},
        {"name": "canary", "labels": {"rollouts-pod-template-hash": "b"}, "trafficPolicy": {}}]}));
    assert_eq!(Istio.clean_up(&Object::from_value(rule.clone()).unwrap(), &|_| false), None);
    rule["metadata"]["annotations"] =
        json!({"argo-rollouts.argoproj.io/managed-by-rollouts": "web", "mine": "1"});
    let object = Object::from_value(rule).unwrap();
    assert_eq!(Istio.clean_up(&object, &|name| name == "web"), None);
    let Some(change) = Istio.clean_up(&object, &|_| false) else { panic!("nothing is cleaned up") };
    let super::super::What::Become(document) = change.what else { panic!("{:?}", change.what) };
    assert_eq!(document["metadata"]["annotations"], json!({"mine": "1"}));
    assert_eq!(
        document["spec"]["subsets"],
        json!([{"name": "stable", "labels": {"v": "1"}}, {"name": "canary", "trafficPolicy": {}}])
    );
}

#[test]
fn a_smaller_unit_is_rounded_towards_the_stable_side() {
    let mut stage = one(&[], &[], json!({"http": [route("")]}));
    stage.carry_out(&Want { whole: 1000, ..split(25) });
    assert_eq!(weights(&stage, "http"), ["stable 98, canary 2"]);
}

/// Any JSON, with names that mean something here strewn in.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["stable", "canary", "primary", "it", "", "x", "."]).prop_map(Value::from),
    ];
    let field = prop::sample::select(vec![
        "http",
        "tls",
        "tcp",
        "route",
        "destination",
        "host",
        "subset",
        "weight",
        "name",
        "match",
        "mirror",
        "subsets",
        "labels",
        "port",
        "sniHosts",
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
    fn no_document_makes_it_panic(spec in any_json(), weight in 0_i64..=100) {
        let routes = [firefox("it"), mirror("m", json!([{"method": {"exact": "GET"}}]), Some(5))];
        let arms = [arm("exp", 5)];
        let want = Want { routes: &routes, arms: &arms, former_arms: &former(&["x"]), ..split(weight) };
        let mut stage = one(&[], &["it", "m"], spec.clone());
        if stage.route(&want).is_ok() {
            stage.carry_out(&want);
        }
        stage.view(|router, view| router.shown(view));
        let mut stage = by_subset(json!({}), json!([]), json!([]));
        stage.put(destination_rule(spec.clone()));
        if stage.view(|router, view| router.label(view, &want)).is_ok() {
            stage.carry_out_labels(&want);
        }
        stage.view(|router, view| router.names_hashes(view));
        let _ = Istio.clean_up(&Object::from_value(destination_rule(spec)).unwrap(), &|_| false);
    }

    #[test]
    fn what_is_unknown_survives(
        spec in unknown(), on_route in unknown(), on_stable in unknown(), on_canary in unknown(),
        on_user in unknown(), place in 0_usize..3, weight in 0_i64..=100,
    ) {
        let to = |host: &str, weight: i64| json!({"destination": {"host": host}, "weight": weight});
        let primary = joined(json!({"name": "primary", "route": [
            joined(to("stable", 100), &on_stable), joined(to("canary", 0), &on_canary)]}), &on_route);
        let mut http = vec![joined(json!({"name": "user"}), &on_user), joined(json!({}), &on_user)];
        http.insert(place, primary);
        let mut stage = one(&["primary"], &["it", "m"], joined(json!({"http": http}), &spec));
        let before = stage.document("VirtualService", "vs");
        let routes = [firefox("it"), mirror("m", json!([{"method": {"exact": "GET"}}]), Some(5))];
        let arms = [arm("exp", 5)];
        stage.carry_out(&Want { routes: &routes, arms: &arms, ..split(weight) });
        stage.carry_out(&Want { former_arms: &former(&["exp"]), ..split(0) });
        prop_assert_eq!(stage.document("VirtualService", "vs"), before);
    }
}
