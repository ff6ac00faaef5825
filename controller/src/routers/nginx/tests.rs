//! The vectors of the reference for NGINX, and objects nobody expects.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::stage::{Stage, split};
use super::super::testing::{any_json, any_want, check_any_document, check_foreign_fields_survive};
use super::super::{Want, What};
use super::*;

const WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";

/// A Rollout `web` with this `trafficRouting` and the Services `stable` and `canary`.
fn stage_of(routing: Value, objects: &[Value]) -> Stage {
    Stage::new(
        json!({"canaryService": "canary", "stableService": "stable", "trafficRouting": routing}),
        objects,
    )
}

fn stage(objects: &[Value]) -> Stage {
    stage_of(json!({"nginx": {"stableIngress": "main"}}), objects)
}

fn ingress(name: &str, metadata: Value, spec: Value) -> Value {
    let mut object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name}, "spec": spec});
    for (key, value) in metadata.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    object
}

fn rule(path: &str, service: &str) -> Value {
    json!({"host": "a.example", "http": {"paths": [
        {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}]}})
}

fn stable() -> Value {
    ingress("main", json!({}), json!({"ingressClassName": "nginx-ext", "rules": [rule("/", "stable")]}))
}

/// The only change's difference from what is stored, as a merge patch.
#[track_caller]
fn patch(stage: &Stage, want: &Want<'_>) -> Value {
    let changes = stage.route(want).unwrap();
    let [Change { key, what: What::Become(after), .. }] = &changes[..] else { panic!("{changes:?}") };
    difference(&stage.objects[key].to_value(), after)
}

fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return after.clone() };
    let mut patch = serde_json::Map::new();
    for key in before.keys().chain(after.keys()) {
        if before.get(key) != after.get(key) {
            let difference = match (before.get(key), after.get(key)) {
                (Some(before), Some(after)) => difference(before, after),
                (_, after) => after.cloned().unwrap_or_default(),
            };
            patch.insert(key.clone(), difference);
        }
    }
    Value::Object(patch)
}

#[track_caller]
fn check_trouble(stage: &Stage, text: &str) -> Trouble {
    let trouble = stage.route(&split(10)).unwrap_err();
    assert!(trouble.message.contains(text), "{trouble}");
    trouble
}

fn annotations(stage: &Stage) -> Value {
    stage.document("Ingress", "web-main-canary")["metadata"]["annotations"].clone()
}

#[test]
fn v28_canary_ingress_is_made_from_the_stable_one() {
    let mut stage = stage(&[stable()]);
    assert_eq!(
        stage.carry_out(&split(10)),
        ["CreatingCanaryIngress: Creating canary ingress `web-main-canary` with weight `10`"]
    );
    let canary = stage.document("Ingress", "web-main-canary");
    assert_eq!(
        canary,
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "web-main-canary", "namespace": "prod",
                "annotations": {"nginx.ingress.kubernetes.io/canary": "true", WEIGHT: "10"},
                "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web",
                    "uid": "u1", "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"ingressClassName": "nginx-ext", "rules": [rule("/", "canary")]}})
    );
}

#[test]
fn v29_v30_only_what_differs_is_written() {
    let mut stage = stage(&[stable()]);
    stage.carry_out(&split(10));
    assert_eq!(patch(&stage, &split(15)), json!({"metadata": {"annotations": {WEIGHT: "15"}}}));
    assert_eq!(
        stage.carry_out(&split(15)),
        ["PatchingCanaryIngress: Updating Ingress `web-main-canary` to desiredWeight '15'"]
    );
    stage.put(ingress(
        "main",
        json!({}),
        json!({"ingressClassName": "nginx-ext", "rules": [rule("/bar", "stable")]}),
    ));
    assert_eq!(patch(&stage, &split(15)), json!({"spec": {"rules": [rule("/bar", "canary")]}}));
}

#[test]
fn v31_class_annotation_is_copied_and_goes_with_the_stable_one() {
    let with_class = json!({"annotations": {"kubernetes.io/ingress.class": "nginx", "foo": "bar"}});
    let spec = json!({"rules": [rule("/", "stable")]});
    let mut stage = stage(&[ingress("main", with_class, spec.clone())]);
    stage.carry_out(&split(10));
    assert_eq!(annotations(&stage)["kubernetes.io/ingress.class"], "nginx");
    assert_eq!(annotations(&stage)["foo"], Value::Null);
    stage.put(ingress("main", json!({}), spec));
    stage.carry_out(&split(10));
    assert_eq!(annotations(&stage), json!({"nginx.ingress.kubernetes.io/canary": "true", WEIGHT: "10"}));
}

#[test]
fn v32_tls_is_that_of_the_stable_ingress() {
    let tls = json!([{"hosts": ["a.example"], "secretName": "s"}]);
    let mut stage =
        stage(&[ingress("main", json!({}), json!({"tls": tls.clone(), "rules": [rule("/", "stable")]}))]);
    stage.carry_out(&split(10));
    assert_eq!(stage.document("Ingress", "web-main-canary")["spec"]["tls"], tls);
    stage.put(stable());
    stage.carry_out(&split(10));
    assert_eq!(stage.document("Ingress", "web-main-canary")["spec"].get("tls"), None);
}

#[test]
fn v33_additional_annotations_get_the_prefix_and_leave_with_the_field() {
    let nginx = json!({"stableIngress": "main",
        "additionalIngressAnnotations": {"canary-by-header": "X-Foo", "nginx.ingress.kubernetes.io/x": "y"},
        "canaryIngressAnnotations": {"annotation-prefix.some.group/some-key": "v"}});
    let mut first = stage_of(json!({"nginx": nginx}), &[stable()]);
    first.carry_out(&split(15));
    let found = annotations(&first);
    assert_eq!(found["nginx.ingress.kubernetes.io/canary-by-header"], "X-Foo");
    assert_eq!(found["nginx.ingress.kubernetes.io/x"], "y");
    assert_eq!(found["annotation-prefix.some.group/some-key"], "v");
    // Q20: what is removed from the Rollout goes, what others added stays.
    let mut canary = first.document("Ingress", "web-main-canary");
    canary["metadata"]["annotations"]["other"] = json!("kept");
    canary["metadata"]["labels"] = json!({"team": "kept"});
    let mut second = stage(&[stable(), canary]);
    second.carry_out(&split(15));
    assert_eq!(
        annotations(&second),
        json!({"nginx.ingress.kubernetes.io/canary": "true", WEIGHT: "15", "other": "kept"})
    );
    assert_eq!(second.document("Ingress", "web-main-canary")["metadata"]["labels"]["team"], "kept");
}

#[test]
fn another_prefix_leaves_nothing_of_the_first() {
    let prefixed = |prefix| json!({"maxTrafficWeight": 1000, "nginx": {"stableIngress": "main", "annotationPrefix": prefix}});
    let mut stage = stage_of(prefixed("a.io"), &[stable()]);
    stage.carry_out(&Want { whole: 1000, ..split(15) });
    assert_eq!(annotations(&stage)["a.io/canary-weight-total"], "1000");
    let mut stage = stage_of(prefixed("b.io"), &[stable(), stage.document("Ingress", "web-main-canary")]);
    stage.carry_out(&Want { whole: 1000, ..split(15) });
    let keys: Vec<_> = annotations(&stage).as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["b.io/canary", "b.io/canary-weight", "b.io/canary-weight-total", OWN_ANNOTATIONS]);
}

#[test]
fn v34_canary_is_set_and_foreign_keys_are_kept() {
    let mut stage = stage(&[stable()]);
    stage.carry_out(&split(15));
    let mut canary = stage.document("Ingress", "web-main-canary");
    canary["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary"] = json!("false");
    canary["metadata"]["annotations"]["foreign"] = json!("v");
    canary["spec"]["defaultBackend"] = json!({"service": {"name": "canary"}});
    stage.put(canary);
    stage.carry_out(&split(15));
    assert_eq!(stage.document("Ingress", "web-main-canary")["spec"].get("defaultBackend"), None);
    assert_eq!(annotations(&stage)["nginx.ingress.kubernetes.io/canary"], "true");
    assert_eq!(annotations(&stage)["foreign"], "v");
}

#[test]
fn v35_total_is_written_only_where_the_rollout_has_one() {
    let routing = json!({"maxTrafficWeight": 1000, "nginx": {"stableIngress": "main"}});
    let mut plain = stage(&[stable()]);
    plain.carry_out(&split(10));
    let canary = plain.document("Ingress", "web-main-canary");
    let mut stage = stage_of(routing, &[stable(), canary]);
    let want = Want { whole: 1000, ..split(15) };
    assert_eq!(
        patch(&stage, &want),
        json!({"metadata": {"annotations": {WEIGHT: "15",
            "nginx.ingress.kubernetes.io/canary-weight-total": "1000"}}})
    );
    stage.carry_out(&want);
    assert_eq!(stage.view(|router, view| router.shown(view)), Some(15));
}

#[test]
fn v36_v37_stable_ingress_missing_or_without_the_service() {
    let missing = check_trouble(&stage(&[]), "error retrieving stableIngress `main` from cache");
    assert!(missing.is_missing);
    let other = ingress("main", json!({}), json!({"rules": [rule("/", "other")]}));
    check_trouble(&stage(&[other]), "ingress `main` has no rules using service stable backend");
}

#[test]
fn v38_canary_of_somebody_else_is_refused_and_that_of_a_predecessor_taken_over() {
    let mut stage = stage(&[stable()]);
    stage.carry_out(&split(10));
    let mut canary = stage.document("Ingress", "web-main-canary");
    canary["metadata"]["ownerReferences"][0]["uid"] = json!("before");
    stage.put(canary.clone());
    stage.carry_out(&split(10));
    let taken = stage.document("Ingress", "web-main-canary");
    assert_eq!(taken["metadata"]["ownerReferences"][0]["uid"], "u1");
    canary["metadata"]["ownerReferences"][0]["name"] = json!("another");
    stage.put(canary.clone());
    check_trouble(&stage, "canary ingress `web-main-canary` controlled by different object");
    canary["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    stage.put(canary);
    check_trouble(&stage, "controlled by different object");
}

#[test]
fn v39_nothing_is_written_twice() {
    let mut stage = stage(&[stable()]);
    stage.carry_out(&split(15));
    assert_eq!(stage.route(&split(15)).unwrap(), []);
}

#[test]
fn v41_long_names_are_cut() {
    let stable = "s".repeat(300);
    let stage = stage_of(json!({"nginx": {"stableIngress": stable}}), &[]);
    stage.view(|_, view| {
        let name = canary_key(&view.at, &stable).name;
        assert_eq!(name.len(), 253);
        assert!(name.ends_with("s-canary"));
    });
}

#[test]
fn v42_several_ingresses_or_none_of_them() {
    let routing = json!({"nginx": {"stableIngresses": ["a", "b", "a"]}});
    let named = |name| ingress(name, json!({}), json!({"rules": [rule("/", "stable")]}));
    let mut both = stage_of(routing.clone(), &[named("a"), named("b")]);
    assert_eq!(both.carry_out(&split(5)).len(), 2);
    check_trouble(&stage_of(routing, &[named("a")]), "`b`");
}

#[test]
fn example_of_5_5_keeps_other_paths_of_a_rule() {
    let path = |path: &str, service: &str| {
        json!({"path": path, "pathType": "Prefix",
            "backend": {"service": {"name": service, "port": {"number": 80}}}})
    };
    let spec = json!({"defaultBackend": {"service": {"name": "stable"}}, "rules": [
        {"host": "shop", "http": {"paths": [path("/", "stable"), path("/img", "img")]}},
        {"host": "admin", "http": {"paths": [path("/", "admin")]}},
        {"host": "no paths"}, {"host": "bucket", "http": {"paths": [{"path": "/", "backend": {"resource": {}}}]}}]});
    let mut stage = stage(&[ingress("main", json!({}), spec)]);
    stage.carry_out(&split(0));
    assert_eq!(
        stage.document("Ingress", "web-main-canary")["spec"],
        json!({"rules": [{"host": "shop", "http": {"paths": [path("/", "canary"), path("/img", "img")]}}]})
    );
}

#[test]
fn canary_of_a_former_stable_ingress_loses_its_weight_first_and_goes_later() {
    let mut stage = stage(&[stable()]);
    stage.carry_out(&split(30));
    let mut old = stage.document("Ingress", "web-main-canary");
    old["metadata"]["name"] = json!("web-old-canary");
    stage.put(old);
    assert_eq!(stage.view(|router, view| router.shown(view)), Some(30));
    let retire = |stage: &Stage| stage.view(|router, view| router.retire(view, &split(0))).unwrap();
    assert_eq!(retire(&stage), []);
    stage.carry_out(&split(30));
    assert_eq!(stage.document("Ingress", "web-old-canary")["metadata"]["annotations"][WEIGHT], "0");
    let [gone] = &retire(&stage)[..] else { panic!() };
    assert_eq!((&*gone.key.name, &gone.what), ("web-old-canary", &What::Delete));
}

#[test]
fn canary_of_a_rollout_without_nginx_is_cleaned_up() {
    let mut stage = stage(&[stable()]);
    stage.carry_out(&split(30));
    let clean_up = |stage: &Stage, is_user: bool| {
        let key = stage.objects.keys().find(|key| &*key.name == "web-main-canary").unwrap();
        Nginx.clean_up(&stage.objects[key], &|name| is_user && name == "web")
    };
    assert_eq!(clean_up(&stage, true), None);
    let Some(Change { what: What::Become(zero), .. }) = clean_up(&stage, false) else { panic!() };
    assert_eq!(zero["metadata"]["annotations"][WEIGHT], "0");
    stage.put((*zero).clone());
    assert_eq!(clean_up(&stage, false).unwrap().what, What::Delete);
    // Nothing but canaries is touched.
    assert_eq!(Nginx.clean_up(&Object::from_value(stable()).unwrap(), &|_| false), None);
}

#[test]
fn shown_is_nothing_without_ingresses_and_zero_without_a_canary() {
    assert_eq!(stage(&[]).view(|router, view| router.shown(view)), None);
    assert_eq!(stage(&[stable()]).view(|router, view| router.shown(view)), Some(0));
}

proptest! {
    #[test]
    fn fields_of_others_survive(unknown in prop::collection::vec(any_json(), 1..4), want in any_want()) {
        let mut stage = stage(&[stable()]);
        check_foreign_fields_survive(&stage, &unknown, &want);
        stage.carry_out(&split(50));
        check_foreign_fields_survive(&stage_of(json!({"nginx": {"stableIngress": "main"}}), &[
            stable(), stage.document("Ingress", "web-main-canary")]), &unknown[..0], &want);
    }

    #[test]
    fn no_document_makes_it_panic(spec in any_json(), config in any_json(), want in any_want()) {
        let objects = [stable(), ingress("web-main-canary", json!({}), json!({}))];
        check_any_document(&stage(&objects), &spec, &want);
        if config.is_object() {
            check_any_document(&stage_of(json!({"nginx": config}), &objects), &spec, &want);
        }
    }
}
