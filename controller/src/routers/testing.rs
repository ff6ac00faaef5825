//! What must hold of every router, whatever stands in its objects. For tests.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tidegate_api::object::{Key, Object};

use super::stage::{Stage, header, mirror};
use super::{Arm, Want};

/// Any document.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e3..1e3).prop_map(Value::from),
        words().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(words(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Words that routers look for, so that random documents reach further than the first look.
fn words() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "spec",
        "rules",
        "http",
        "paths",
        "backend",
        "service",
        "name",
        "weight",
        "weighted",
        "services",
        "backends",
        "serviceName",
        "match",
        "exprs",
        "priority",
        "canary",
        "stable",
        "prefix",
        "port",
        "number",
        "tls",
        "ingressClassName",
        "main",
        "web",
    ];
    prop_oneof![
        4 => prop::sample::select(KNOWN).prop_map(str::to_owned),
        1 => "[a-z0-9./]{0,8}",
    ]
}

/// Weights, arms and routes of all kinds.
pub(super) fn any_want() -> impl Strategy<Value = Want<'static>> {
    let arms: &'static [Arm] = vec![Arm { service: "arm".into(), hash: "a1".into(), weight: 5 }].leak();
    let routes: &'static [_] = vec![
        header("hr", json!([{"headerName": "X-Beta", "headerValue": {"exact": "yes"}}])),
        mirror("mr", json!([{"method": {"exact": "GET"}}]), Some(50)),
        header("odd", json!({"not": "a list"})),
    ]
    .leak();
    (0..=100i64, prop::sample::select(vec![0usize, 1]), 0..=3usize).prop_map(move |(weight, n, m)| Want {
        weight,
        whole: 100,
        arms: &arms[..n],
        canary_hash: "c1",
        stable_hash: "s1",
        routes: &routes[..m],
        former_arms: &[],
    })
}

const MARK: &str = "unknown-field-";

/// Puts fields that nobody knows into the mappings of an object below `spec`, and into its metadata.
fn sprinkle(document: &mut Value, values: &[Value]) {
    let mut values = values.iter().cycle().cloned();
    let mut count = 0;
    let mut put = |map: &mut Map<String, Value>| {
        map.insert(format!("{MARK}{count}"), values.next().unwrap_or_default());
        count += 1;
    };
    put(document["metadata"].as_object_mut().unwrap());
    let mut open = vec![&mut document["spec"]];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items.iter_mut()),
            Value::Object(map) => {
                put(map);
                open.extend(map.iter_mut().filter(|(key, _)| !key.starts_with(MARK)).map(|(_, value)| value));
            }
            _ => {}
        }
    }
}

/// The same document without them, and how many there were.
fn swept(mut document: Value) -> (Value, usize) {
    let mut count = 0;
    let mut open = vec![&mut document];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items.iter_mut()),
            Value::Object(map) => {
                let before = map.len();
                map.retain(|key, _| !key.starts_with(MARK));
                count += before - map.len();
                open.extend(map.values_mut());
            }
            _ => {}
        }
    }
    (document, count)
}

fn edited(stage: &Stage, edit: impl Fn(&Key, &mut Value)) -> Stage {
    let mut other = Stage {
        rollout: stage.rollout.clone(),
        objects: stage.objects.clone(),
        services: stage.services.clone(),
        settings: stage.settings.clone(),
    };
    for (key, object) in &mut other.objects {
        let mut document = object.to_value();
        edit(key, &mut document);
        *object = Arc::new(Object::from_value(document).unwrap());
    }
    other
}

/// Fields that nobody knows take no part: the router writes the same with and without them, loses none of those in
/// objects that were there before, and has nothing left to do afterwards.
#[track_caller]
pub(super) fn check_foreign_fields_survive(stage: &Stage, unknown: &[Value], want: &Want<'_>) {
    let mut plain = edited(stage, |_, _| {});
    let mut strange = edited(stage, |_, document| sprinkle(document, unknown));
    let counts = |stage: &Stage| -> Vec<(Key, usize)> {
        stage.objects.iter().map(|(key, object)| (key.clone(), swept(object.to_value()).1)).collect()
    };
    let before = counts(&strange);
    plain.carry_out(want);
    strange.carry_out(want);
    let after = counts(&strange);
    for (key, count) in before {
        let kept = after.iter().find(|(other, _)| *other == key);
        assert!(kept.is_none_or(|(_, kept)| *kept >= count), "{key} lost fields");
    }
    assert_eq!(plain.objects.len(), strange.objects.len());
    for (key, object) in &strange.objects {
        assert_eq!(swept(object.to_value()).0, plain.objects[key].to_value(), "{key}");
    }
}

/// With this `spec` in each of its objects the router may refuse, but not panic; what it does it does once.
#[track_caller]
pub(super) fn check_any_document(stage: &Stage, spec: &Value, want: &Want<'_>) {
    let mut stage = edited(stage, |_, document| document["spec"] = spec.clone());
    stage.view(|router, view| {
        let _ = router.shown(view);
        let _ = router.evidence(view, want);
        let _ = router.names_hashes(view);
        let _ = router.retire(view, want);
        for object in view.objects.values() {
            let _ = router.clean_up(object, &|_| false);
        }
    });
    if stage.route(want).is_ok() {
        stage.carry_out(want);
    }
}
