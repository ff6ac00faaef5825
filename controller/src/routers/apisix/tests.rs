//! The vectors of the reference for APISIX, and objects nobody expects.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::stage::{Stage, header, split};
use super::super::testing::{any_json, any_want, check_any_document, check_foreign_fields_survive};
use super::super::{Want, What};
use super::*;

fn stage_of(managed: Value, route: Value, objects: &[Value]) -> Stage {
    Stage::new(
        json!({"canaryService": "canary", "stableService": "stable",
            "trafficRouting": {"managedRoutes": managed, "apisix": {"route": route}}}),
        objects,
    )
}

fn stage(managed: Value, spec: Value) -> Stage {
    stage_of(managed, json!({"name": "main"}), &[route("main", spec)])
}

fn route(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "metadata": {"name": name}, "spec": spec})
}

fn rule(name: &str) -> Value {
    json!({"name": name, "match": {"paths": ["/*"], "hosts": ["shop.local"]}, "backends": [
        {"serviceName": "stable", "servicePort": 80}, {"serviceName": "canary", "servicePort": 80}]})
}

fn spec() -> Value {
    json!({"http": [rule("main")]})
}

fn weights(stage: &Stage) -> Vec<Value> {
    let document = stage.document("ApisixRoute", "main");
    let rules = document["spec"]["http"].as_array().unwrap().iter();
    rules.map(|rule| json!([rule["backends"][0]["weight"], rule["backends"][1]["weight"]])).collect()
}

fn beta() -> ManagedRoute {
    header("beta", json!([{"headerName": "X-Beta", "headerValue": {"exact": "yes"}}]))
}

fn managed() -> Value {
    json!([{"name": "beta"}])
}

#[track_caller]
fn check_trouble(stage: &Stage, want: &Want<'_>, text: &str) {
    let trouble = stage.route(want).unwrap_err();
    assert!(trouble.message.starts_with(text), "{trouble}");
}

#[test]
fn v117_what_is_missing_is_told() {
    let http = |rules: Value| stage(Value::Null, json!({"http": rules}));
    let no_http = "spec.http was not found in Apisix Route manifest";
    check_trouble(&stage(Value::Null, json!({})), &split(10), no_http);
    check_trouble(&http(json!([rule("other")])), &split(10), "Apisix http route rule main not found");
    check_trouble(&http(json!([{}])), &split(10), "Apisix http route rule name field not found");
    let mut half = rule("main");
    half["backends"].as_array_mut().unwrap().pop();
    check_trouble(&http(json!([half])), &split(10), "apisix route canary backend was not found");
    let nothing = stage_of(Value::Null, json!({"name": "main"}), &[]);
    check_trouble(&nothing, &split(10), "apisixroutes.apisix.apache.org \"main\" not found");
}

#[test]
fn v118_weights_move_and_only_when_they_differ() {
    let mut stage = stage(Value::Null, spec());
    assert_eq!(stage.view(|router, view| router.shown(view)), Some(50));
    for (weight, found) in
        [(5, json!([95, 5])), (50, json!([50, 50])), (100, json!([0, 100])), (0, json!([100, 0]))]
    {
        assert_eq!(stage.carry_out(&split(weight)), [""; 0]);
        assert_eq!(weights(&stage), [found]);
        assert_eq!(stage.view(|router, view| router.shown(view)), Some(weight));
    }
}

#[test]
fn only_the_rules_that_are_named_get_weights() {
    let spec = json!({"http": [rule("a"), rule("b"), rule("c")]});
    let mut stage =
        stage_of(Value::Null, json!({"name": "main", "rules": ["c", "a"]}), &[route("main", spec)]);
    stage.carry_out(&split(25));
    assert_eq!(weights(&stage), [json!([75, 25]), json!([null, null]), json!([75, 25])]);
}

#[test]
fn v119_a_header_route_is_a_copy_one_step_above() {
    let mut stage = stage(managed(), spec());
    let three = header(
        "beta",
        json!([{"headerName": "X-Beta", "headerValue": {"exact": "yes"}},
            {"headerName": "R", "headerValue": {"regex": "v"}}, {"headerName": "P", "headerValue": {"prefix": "v.1"}}]),
    );
    stage.carry_out(&Want { routes: &[three], ..split(25) });
    let made = stage.document("ApisixRoute", "beta");
    let expression = |name: &str, op: &str, value: &str| json!({"subject": {"scope": "Header", "name": name}, "op": op, "value": value});
    assert_eq!(
        made,
        json!({"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute",
            "metadata": {"name": "beta", "namespace": "prod", "ownerReferences": [
                {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "u1",
                    "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"http": [{"name": "main", "priority": 1,
                "match": {"paths": ["/*"], "hosts": ["shop.local"], "exprs": [
                    expression("X-Beta", "Equal", "yes"), expression("R", "RegexMatch", "v"),
                    expression("P", "RegexMatch", "^v\\.1.*")]},
                "backends": [{"serviceName": "canary", "servicePort": 80, "weight": 100}]}]}})
    );
}

#[test]
fn v120_an_existing_header_route_keeps_its_priority() {
    let mut stage = stage(managed(), spec());
    let want = Want { routes: &[beta()], ..split(25) };
    stage.carry_out(&want);
    let mut made = stage.document("ApisixRoute", "beta");
    made["spec"]["http"][0]["priority"] = json!(2);
    made["spec"]["http"][0]["match"]["exprs"] = json!([]);
    stage.put(made);
    stage.carry_out(&want);
    let made = stage.document("ApisixRoute", "beta");
    assert_eq!(made["spec"]["http"][0]["priority"], 2);
    assert_eq!(made["spec"]["http"][0]["match"]["exprs"][0]["value"], "yes");
}

#[test]
fn v121_a_route_of_somebody_else_is_refused_and_never_deleted() {
    let mut stage = stage(managed(), spec());
    stage.put(route("beta", spec()));
    let want = Want { routes: &[beta()], ..split(25) };
    check_trouble(&stage, &want, "duplicate ApisixRoute [beta] already exists");
    stage.carry_out(&split(25));
    stage.document("ApisixRoute", "beta");
}

#[test]
fn v122_a_header_route_goes_when_it_is_not_wanted() {
    let mut stage = stage(managed(), spec());
    stage.carry_out(&Want { routes: &[beta()], ..split(25) });
    let without = header("beta", Value::Null);
    let gone = stage.route(&Want { routes: &[without], ..split(25) }).unwrap();
    assert_eq!((gone.len(), &*gone[0].key.name, &gone[0].what), (1, "beta", &What::Delete));
    stage.carry_out(&split(25));
    assert_eq!(stage.route(&split(25)).unwrap(), []);
    assert_eq!(stage.objects.len(), 1);
}

#[test]
fn v123_without_managed_routes_nothing_is_deleted() {
    let mut made = stage(managed(), spec());
    made.carry_out(&Want { routes: &[beta()], ..split(25) });
    let mut stage = stage(Value::Null, spec());
    stage.put(made.document("ApisixRoute", "beta"));
    stage.carry_out(&split(25));
    let left = Object::from_value(stage.document("ApisixRoute", "beta")).unwrap();
    // Only when nobody names it any more it goes.
    assert_eq!(Apisix.clean_up(&left, &|name| name == "web"), None);
    assert_eq!(Apisix.clean_up(&left, &|_| false).unwrap().what, What::Delete);
    let users = Object::from_value(stage.document("ApisixRoute", "main")).unwrap();
    assert_eq!(Apisix.clean_up(&users, &|_| false), None);
}

#[test]
fn conditions_of_the_rule_stay_in_its_header_route() {
    let mut with_condition = rule("main");
    with_condition["match"]["exprs"] = json!([{"op": "Equal", "value": "de"}]);
    let mut stage = stage(managed(), json!({"http": [with_condition, rule("other")]}));
    stage.carry_out(&Want { routes: &[beta()], ..split(25) });
    let http = stage.document("ApisixRoute", "beta")["spec"]["http"].clone();
    assert_eq!(http.as_array().unwrap().len(), 1);
    assert_eq!(http[0]["match"]["exprs"][0]["value"], "de");
    assert_eq!(http[0]["match"]["exprs"][1]["value"], "yes");
}

proptest! {
    #[test]
    fn fields_of_others_survive(unknown in prop::collection::vec(any_json(), 1..4), want in any_want()) {
        check_foreign_fields_survive(&stage(json!([{"name": "hr"}]), spec()), &unknown, &want);
    }

    #[test]
    fn no_document_makes_it_panic(
        spec in any_json(), rule in any_json(), config in any_json(), want in any_want()
    ) {
        let managed = json!([{"name": "hr"}]);
        let mut stage = stage(managed.clone(), self::spec());
        stage.carry_out(&want);
        check_any_document(&stage, &spec, &want);
        check_any_document(&stage, &json!({"http": [rule, self::rule("main")]}), &want);
        check_any_document(&stage_of(managed, config, &[route("main", spec)]), &rule, &want);
    }
}
