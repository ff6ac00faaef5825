//! The vectors of the reference for ALB, and objects nobody expects.

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_api::object::Object;

use super::super::stage::{Stage, header, mirror, split};
use super::super::testing::{any_json, any_want, check_any_document, check_foreign_fields_survive};
use super::super::{Arm, ManagedRoute, What};
use super::*;

const ACTION: &str = "alb.ingress.kubernetes.io/actions.stable";

fn stage_of(routing: Value, objects: &[Value]) -> Stage {
    Stage::new(
        json!({"canaryService": "canary", "stableService": "stable", "trafficRouting": routing}),
        objects,
    )
}

fn stage(managed: &[&str], objects: &[Value]) -> Stage {
    let managed: Vec<Value> = managed.iter().map(|name| json!({"name": name})).collect();
    let alb = json!({"ingress": "main", "servicePort": 80});
    stage_of(json!({"managedRoutes": managed, "alb": alb}), objects)
}

fn ingress(name: &str, services: &[&str]) -> Value {
    let paths: Vec<Value> = services.iter().map(|service| path("/*", service)).collect();
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "annotations": {"kubernetes.io/ingress.class": "alb"}},
        "spec": {"rules": [{"http": {"paths": paths}}]}})
}

fn path(path: &str, service: &str) -> Value {
    json!({"path": path, "pathType": "ImplementationSpecific",
        "backend": {"service": {"name": service, "port": {"name": "use-annotation"}}}})
}

fn main() -> Value {
    ingress("main", &["stable"])
}

fn annotations(stage: &Stage) -> Value {
    stage.document("Ingress", "main")["metadata"]["annotations"].clone()
}

/// Services and weights in an action.
fn weights(stage: &Stage, ingress: &str, key: &str) -> Vec<String> {
    let document = stage.document("Ingress", ingress);
    let action: Value =
        serde_json::from_str(document["metadata"]["annotations"][key].as_str().unwrap()).unwrap();
    let groups = action["ForwardConfig"]["TargetGroups"].as_array().unwrap().iter();
    groups.map(|group| format!("{} {}", group["ServiceName"].as_str().unwrap(), group["Weight"])).collect()
}

/// The Services of all paths, rule by rule.
fn services(stage: &Stage) -> Vec<Vec<String>> {
    let document = stage.document("Ingress", "main");
    let paths = |rule: &Value| -> Vec<String> {
        let paths = list(rule, &["http", "paths"]).iter();
        paths.map(|path| format!("{} {}", path["path"].as_str().unwrap(), service_of(path))).collect()
    };
    list(&document, &["spec", "rules"]).iter().map(paths).collect()
}

#[track_caller]
fn check_trouble(stage: &Stage, text: &str) {
    let trouble = stage.route(&split(10)).unwrap_err();
    assert!(trouble.message.contains(text), "{trouble}");
}

fn agent(name: &str) -> ManagedRoute {
    header(name, json!([{"headerName": "Agent", "headerValue": {"exact": "Chrome"}}]))
}

#[test]
fn v43_ingress_missing_or_without_the_service() {
    check_trouble(&stage(&[], &[]), "ingresses.networking.k8s.io \"main\" not found");
    check_trouble(
        &stage(&[], &[ingress("main", &["other"])]),
        "ingress does not have service `stable` in rules (Ingress prod/main: spec.rules)",
    );
}

#[test]
fn v44_v46_one_patch_and_then_none() {
    let mut bare = main();
    bare["metadata"].as_object_mut().unwrap().remove("annotations");
    let mut stage = stage(&[], &[bare]);
    assert_eq!(stage.view(|router, view| router.shown(view)), None);
    assert_eq!(
        stage.carry_out(&split(10)),
        ["PatchingALBIngress: Updating Ingress `main` to desiredWeight '10'"]
    );
    assert_eq!(
        annotations(&stage),
        json!({ACTION: r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"canary","ServicePort":"80","Weight":10},{"ServiceName":"stable","ServicePort":"80","Weight":90}]}}"#,
            bookkeeping::KEY: r#"{"web":["alb.ingress.kubernetes.io/actions.stable"]}"#})
    );
    assert_eq!(stage.view(|router, view| router.shown(view)), Some(10));
}

#[test]
fn v45_broken_bookkeeping_is_told() {
    for broken in ["test", "[]", r#"{"web": 1}"#, r#"{"web": [1]}"#] {
        let mut ingress = main();
        ingress["metadata"]["annotations"][bookkeeping::KEY] = json!(broken);
        check_trouble(
            &stage(&[], &[ingress]),
            "metadata.annotations[rollouts.argoproj.io/managed-alb-annotations]",
        );
    }
}

#[test]
fn bookkeeping_of_other_rollouts_stays() {
    let mut ingress = main();
    ingress["metadata"]["annotations"][bookkeeping::KEY] = json!(r#"{"other": ["x"], "web": null}"#);
    let mut stage = stage(&[], &[ingress]);
    stage.carry_out(&split(10));
    assert_eq!(
        annotations(&stage)[bookkeeping::KEY],
        r#"{"other":["x"],"web":["alb.ingress.kubernetes.io/actions.stable"]}"#
    );
}

#[test]
fn v47_v48_every_ingress_that_differs_is_written() {
    let alb = json!({"alb": {"ingresses": ["a", "b", "a"], "servicePort": 80}});
    let mut stage = stage_of(alb.clone(), &[ingress("a", &["stable"]), ingress("b", &["stable"])]);
    assert_eq!(stage.route(&split(10)).unwrap().len(), 2);
    stage.carry_out(&split(10));
    stage.put(ingress("b", &["stable"]));
    let changes = stage.route(&split(10)).unwrap();
    assert_eq!(changes.iter().map(|change| &*change.key.name).collect::<Vec<_>>(), ["b"]);
    stage.carry_out(&split(40));
    stage.put(ingress("a", &["stable"]));
    assert_eq!(stage.view(|router, view| router.shown(view)), Some(40));
    // None is written when one cannot be.
    assert!(stage_of(alb, &[ingress("a", &["stable"])]).route(&split(10)).is_err());
}

#[test]
fn v50_bad_stickiness_is_refused_before_anything_is_written() {
    let sticky = json!({"enabled": true, "durationSeconds": 0});
    let alb = json!({"ingress": "main", "servicePort": 80, "stickinessConfig": sticky});
    check_trouble(&stage_of(json!({"alb": alb}), &[main()]), "between 1 and 604800 seconds");
}

#[test]
fn v52_v53_arms_stand_between_the_sides() {
    let arm = |service: &str, weight| Arm { service: service.into(), hash: "h".into(), weight };
    let mut stage = stage(&[], &[main()]);
    stage.carry_out(&Want { arms: &[arm("ex-svc-1", 5), arm("ex-svc-2", 5)], ..split(10) });
    assert_eq!(weights(&stage, "main", ACTION), ["canary 10", "ex-svc-1 5", "ex-svc-2 5", "stable 80"]);
    stage.carry_out(&Want { arms: &[arm("1", 20), arm("2", 20)], ..split(0) });
    assert_eq!(weights(&stage, "main", ACTION), ["canary 0", "1 20", "2 20", "stable 60"]);
    stage.carry_out(&split(0));
    assert_eq!(weights(&stage, "main", ACTION), ["canary 0", "stable 100"]);
}

#[test]
fn v54_v55_the_pair_wins_over_the_two_services() {
    let root = "alb.ingress.kubernetes.io/actions.root";
    for (services, status, weight, found) in [
        (json!({}), "", 25, ["ping 25", "pong 75"]),
        (json!({}), "ping", 25, ["pong 25", "ping 75"]),
        (json!({}), "ping", 0, ["pong 0", "ping 100"]),
        (json!({}), "pong", 0, ["ping 0", "pong 100"]),
        (json!({"stableService": "stable", "canaryService": "canary"}), "pong", 25, ["ping 25", "pong 75"]),
    ] {
        let mut canary = services;
        canary["pingPong"] = json!({"pingService": "ping", "pongService": "pong"});
        canary["trafficRouting"] =
            json!({"alb": {"ingress": "main", "servicePort": 80, "rootService": "root"}});
        let status = json!({"canary": {"stablePingPong": status}});
        let mut stage = Stage::with_status(canary, status, &[ingress("main", &["root"])]);
        stage.carry_out(&split(weight));
        assert_eq!(weights(&stage, "main", root), found);
        assert_eq!(stage.view(|router, view| router.shown(view)), Some(weight));
    }
}

#[test]
fn v56_a_header_route_is_an_action_conditions_and_a_path_in_front() {
    let mut stage = stage(&["beta"], &[main()]);
    stage.carry_out(&split(10));
    assert_eq!(
        stage.carry_out(&Want { routes: &[agent("beta")], ..split(10) }),
        ["PatchingALBIngress: Updating Ingress `main` to headerRoute 'beta'"]
    );
    let found = annotations(&stage);
    assert_eq!(
        found["alb.ingress.kubernetes.io/actions.beta"],
        r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"canary","ServicePort":"80","Weight":100}]}}"#
    );
    assert_eq!(
        found["alb.ingress.kubernetes.io/conditions.beta"],
        r#"[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"Agent","values":["Chrome"]}}]"#
    );
    assert_eq!(
        found[bookkeeping::KEY],
        r#"{"web":["alb.ingress.kubernetes.io/actions.stable","alb.ingress.kubernetes.io/actions.beta","alb.ingress.kubernetes.io/conditions.beta"]}"#
    );
    let document = stage.document("Ingress", "main");
    assert_eq!(
        document["spec"]["rules"],
        json!([{"http": {"paths": [path("/*", "beta"), path("/*", "stable")]}}])
    );
    assert_eq!(stage.view(|router, view| router.shown(view)), Some(10));
}

#[test]
fn v59_a_route_that_is_not_wanted_goes_entirely() {
    let mut stage = stage(&["beta"], &[ingress("main", &["stable", "action1"])]);
    let mut with_action = stage.document("Ingress", "main");
    with_action["metadata"]["annotations"]["alb.ingress.kubernetes.io/actions.action1"] = json!("kept");
    stage.put(with_action);
    stage.carry_out(&split(10));
    let before = stage.document("Ingress", "main");
    stage.carry_out(&Want { routes: &[agent("beta")], ..split(10) });
    assert_ne!(stage.document("Ingress", "main"), before);
    let gone = header("beta", Value::Null);
    assert_eq!(
        stage.carry_out(&Want { routes: &[gone], ..split(10) }),
        ["PatchingALBIngress: Updating Ingress `main` removing managed routes"]
    );
    assert_eq!(stage.document("Ingress", "main"), before);
}

#[test]
fn a_route_goes_too_when_managed_routes_no_longer_names_it() {
    let mut first = stage(&["beta"], &[main()]);
    first.carry_out(&Want { routes: &[agent("beta")], ..split(10) });
    let mut second = stage(&[], &[first.document("Ingress", "main")]);
    second.carry_out(&split(10));
    assert_eq!(services(&second), [["/* stable"]]);
    assert_eq!(annotations(&second).get("alb.ingress.kubernetes.io/conditions.beta"), None);
}

#[test]
fn v60_routes_stand_in_the_order_of_managed_routes_before_all_others() {
    let paths = ["stable", "action1", "route3", "route1", "route2"];
    let mut stage = stage(&["route1", "route2", "route3"], &[ingress("main", &paths)]);
    let routes = [agent("route1"), agent("route2"), agent("route3")];
    stage.carry_out(&Want { routes: &routes, ..split(10) });
    assert_eq!(services(&stage), [["/* route1", "/* route2", "/* route3", "/* stable", "/* action1"]]);
}

#[test]
fn header_paths_stand_only_where_the_rollout_is_reached_and_as_it_is_reached() {
    let mut ingress = main();
    ingress["spec"]["rules"] = json!([
        {"host": "a", "http": {"paths": [path("/x", "other"), path("/shop", "stable"), path("/", "stable")]}},
        {"host": "b", "http": {"paths": [path("/", "other")]}},
        {"host": "without paths"}]);
    let mut stage = stage(&["beta"], &[ingress]);
    let want = Want { routes: &[agent("beta")], ..split(10) };
    stage.carry_out(&want);
    let expected: [&[&str]; 3] =
        [&["/shop beta", "/ beta", "/x other", "/shop stable", "/ stable"], &["/ other"], &[]];
    assert_eq!(services(&stage), expected);
    // What somebody adds to the path stays.
    let mut edited = stage.document("Ingress", "main");
    edited["spec"]["rules"][0]["http"]["paths"][0]["note"] = json!("mine");
    stage.put(edited);
    stage.carry_out(&Want { weight: 20, ..want });
    assert_eq!(stage.document("Ingress", "main")["spec"]["rules"][0]["http"]["paths"][0]["note"], "mine");
}

#[test]
fn v61_mirrors_are_not_served() {
    let mut stage = stage(&["mr"], &[main()]);
    stage.carry_out(&split(10));
    let mr = mirror("mr", json!([{"method": {"exact": "GET"}}]), None);
    assert_eq!(stage.route(&Want { routes: &[mr], ..split(10) }).unwrap(), []);
}

/// The Ingress after a clean-up, if there is anything to clean up.
fn cleaned(stage: &Stage, is_user: bool) -> Option<Value> {
    let object = Object::from_value(stage.document("Ingress", "main")).unwrap();
    let change = Alb.clean_up(&object, &|name| is_user && name == "web")?;
    let What::Become(after) = change.what else { panic!() };
    Some((*after).clone())
}

#[test]
fn v71_weights_and_routes_of_a_gone_rollout_are_undone() {
    let sticky = json!({"enabled": true, "durationSeconds": 60});
    for root in ["", "root"] {
        let service = if root.is_empty() { "stable" } else { root };
        let alb =
            json!({"ingress": "main", "servicePort": 80, "rootService": root, "stickinessConfig": sticky});
        let routing = json!({"managedRoutes": [{"name": "beta"}], "alb": alb});
        let mut stage = stage_of(routing, &[ingress("main", &[service])]);
        stage.carry_out(&Want { routes: &[agent("beta")], ..split(70) });
        let mut document = stage.document("Ingress", "main");
        document["metadata"]["annotations"][bookkeeping::LEGACY] = json!("web:x");
        stage.put(document);
        assert_eq!(cleaned(&stage, true), None);
        let after = cleaned(&stage, false).unwrap();
        let mut expected = ingress("main", &[service]);
        expected["metadata"]["namespace"] = json!("prod");
        expected["metadata"]["annotations"][format!("alb.ingress.kubernetes.io/actions.{service}")] = json!(
            r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"stable","ServicePort":"80","Weight":100}],"TargetGroupStickinessConfig":{"Enabled":true,"DurationSeconds":60}}}"#
        );
        assert_eq!(after, expected);
        stage.put(after);
        assert_eq!(cleaned(&stage, false), None);
    }
}

#[test]
fn v72_what_cannot_be_understood_is_left_alone() {
    let mut stage = stage(&[], &[main()]);
    stage.carry_out(&split(10));
    let good = stage.document("Ingress", "main");
    for (key, broken) in [
        (bookkeeping::KEY, "test"),
        (ACTION, "no JSON"),
        (ACTION, r#"{"ForwardConfig": {"TargetGroups": []}}"#),
        (ACTION, r#"{"ForwardConfig": {"TargetGroups": [{"ServiceName": "stable"}]}}"#),
    ] {
        let mut document = good.clone();
        document["metadata"]["annotations"][key] = json!(broken);
        stage.put(document);
        assert_eq!(cleaned(&stage, false), None, "{key} {broken}");
    }
}

#[test]
fn v73_entries_of_users_stay_when_another_goes() {
    let mut stage = stage(&[], &[main()]);
    stage.carry_out(&split(10));
    let mut document = stage.document("Ingress", "main");
    document["metadata"]["annotations"][bookkeeping::KEY] =
        json!(format!(r#"{{"gone":["p/actions.gone"],"web":["{ACTION}"]}}"#));
    stage.put(document);
    let after = cleaned(&stage, true).unwrap();
    assert_eq!(after["metadata"]["annotations"][bookkeeping::KEY], format!(r#"{{"web":["{ACTION}"]}}"#));
    assert_eq!(after["metadata"]["annotations"][ACTION], annotations(&stage)[ACTION]);
}

proptest! {
    #[test]
    fn fields_of_others_survive(unknown in prop::collection::vec(any_json(), 1..4), want in any_want()) {
        let mut stage = stage(&["hr"], &[ingress("main", &["stable", "other"])]);
        check_foreign_fields_survive(&stage, &unknown, &want);
        stage.carry_out(&want);
        check_foreign_fields_survive(&stage, &unknown, &want);
    }

    #[test]
    fn no_document_makes_it_panic(
        spec in any_json(), annotation in any_json(), config in any_json(), want in any_want()
    ) {
        let mut ingress = main();
        ingress["metadata"]["annotations"][ACTION] = json!(annotation.to_string());
        check_any_document(&stage(&["hr"], &[ingress.clone()]), &spec, &want);
        let rules = json!({"rules": [spec, {"http": {"paths": [config, path("/", "stable")]}}]});
        check_any_document(&stage(&["hr"], &[ingress.clone()]), &rules, &want);
        ingress["metadata"]["annotations"][bookkeeping::KEY] = json!(format!(r#"{{"web":["{ACTION}"]}}"#));
        let stage = stage(&["hr"], &[ingress]);
        let _ = cleaned(&stage, false);
        if config.is_object() {
            check_any_document(&stage_of(json!({"alb": config}), &[main()]), &rules, &want);
        }
    }
}
