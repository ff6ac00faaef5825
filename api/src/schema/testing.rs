//! Values to torment the schema with.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// Words that lead deep into the table, and one that does not.
const WORDS: [&str; 30] = [
    "metadata",
    "spec",
    "template",
    "containers",
    "name",
    "image",
    "resources",
    "limits",
    "requests",
    "cpu",
    "ports",
    "containerPort",
    "strategy",
    "canary",
    "steps",
    "setWeight",
    "pause",
    "duration",
    "volumes",
    "emptyDir",
    "secret",
    "labels",
    "livenessProbe",
    "httpGet",
    "port",
    "hostNetwork",
    "metrics",
    "provider",
    "status",
    "bogus",
];

/// Any JSON at all, with keys that the table knows more often than not.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        "[0-9]{1,30}[kKmM]?i?".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(&WORDS[..]), inner), 0..6).prop_map(|entries| {
                Value::from(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>())
            }),
        ]
    })
}
