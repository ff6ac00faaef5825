//! Whatever a document is, reading it neither panics nor wraps a number.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::with;
use super::{check, warnings};

/// Names that occur in manifests, so that random documents reach deep into the rules.
const NAMES: [&str; 40] = [
    "replicas",
    "selector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "template",
    "metadata",
    "labels",
    "annotations",
    "spec",
    "containers",
    "initContainers",
    "name",
    "ports",
    "env",
    "valueFrom",
    "volumes",
    "resources",
    "requests",
    "limits",
    "strategy",
    "canary",
    "blueGreen",
    "steps",
    "setWeight",
    "pause",
    "duration",
    "trafficRouting",
    "alb",
    "match",
    "maxSurge",
    "antiAffinity",
    "experiment",
    "analysis",
    "args",
    "affinity",
    "tolerations",
    "livenessProbe",
];

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..300).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[-+.0-9a-zµ%/\\[\\]']{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 96, 8, |inner| {
        let names = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(document in documents(), name in prop::sample::select(&NAMES[..])) {
        let inside = with(json!({"strategy": {"canary": {name: document}}}));
        let pod = with(json!({"template": {"spec": {"containers": [{name: document}], name: document}}}));
        for spec in [document, inside, pod] {
            for problem in check(&spec).problems.iter().chain(&warnings(&spec)) {
                prop_assert!(problem.to_string().starts_with("spec"));
                prop_assert!(problem.place().starts_with("spec"));
            }
        }
    }

    #[test]
    fn numbers_beyond_32_bits_are_a_problem_and_never_wrap(number in any::<i64>()) {
        let checked = check(&with(json!({"replicas": number})));
        let fits = i32::try_from(number).is_ok();
        prop_assert_eq!(checked.spec.replicas, fits.then_some(number));
        prop_assert_eq!(checked.problems.is_empty(), fits && number >= 0);
    }
}
