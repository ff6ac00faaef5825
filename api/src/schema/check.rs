//! Whether an object has the types that its CRD demands, told in the words of the API server.

use std::fmt;

use serde_json::{Map, Value};

use super::canonical::{integer, number_text};
use super::prune::Step;
use super::table::{Field, Merge, Shape, TypeId, View, table};
use crate::time::Stamp;

/// A value that the API server would refuse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypeError {
    /// Where it stands: `spec.strategy.canary.steps[0].setWeight`.
    pub path: String,
    /// What is wrong: `Invalid value: "string": spec.replicas in body must be of type integer: "string"`.
    pub message: String,
}

impl fmt::Display for TypeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.path, self.message)
    }
}

/// Everything the API server would refuse in an object of that kind, in alphabetical order of fields, and what it
/// lets pass though no controller could read it: numbers beyond 32 bits, lists in the place of times. Unknown
/// fields are no error, nulls count as absent, other kinds are not looked at.
pub fn type_errors(kind: &str, object: &Value) -> Vec<TypeError> {
    let Some(id) = super::kind_type(kind) else { return Vec::new() };
    let mut check = Check { path: String::new(), errors: Vec::new() };
    check.value(View::Of(&Shape::Struct(id)), object);
    if let Some(metadata) = object.get("metadata").filter(|metadata| metadata.is_object()) {
        let shape = super::object_meta();
        check.below(Step::Key("metadata"), |check| check.value(View::Of(&shape), metadata));
    }
    check.errors
}

/// The pattern of an amount as the CRDs write it.
pub(crate) const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

struct Check {
    path: String,
    errors: Vec<TypeError>,
}

impl Check {
    fn value(&mut self, view: View<'_>, value: &Value) {
        let shape = match view {
            View::Any => return,
            View::Open | View::Object => return self.demand(value.is_object(), "object", value),
            View::Of(shape) => shape,
        };
        match (shape, value) {
            (Shape::Raw, _)
            | (Shape::Bool, Value::Bool(_))
            | (Shape::Text, Value::String(_))
            | (Shape::IntOrString, Value::String(_)) => {}
            (Shape::Quantity, Value::String(text)) => self.quantity(text),
            (Shape::Time, Value::String(text)) => self.time(text),
            (Shape::Struct(id), Value::Object(map)) => self.object(*id, map),
            (Shape::Map(item), Value::Object(map)) => {
                for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                    self.below(Step::Key(key), |check| check.value(View::of(item), value));
                }
            }
            (Shape::List(item), Value::Array(items)) => {
                for (at, value) in items.iter().enumerate() {
                    self.below(Step::Item(at), |check| check.value(View::of(item), value));
                }
            }
            (Shape::Int32 | Shape::Int64 | Shape::IntOrString | Shape::Quantity, Value::Number(_))
                if integer(value).is_some() =>
            {
                if *shape == Shape::Int32 && i32::try_from(integer(value).unwrap_or(0)).is_err() {
                    let path = self.path.clone();
                    self.report(format!("Invalid value: {}: {path} must fit into 32 bits", bare(value)));
                }
            }
            (Shape::Time, _) => {
                let found = match value {
                    Value::Number(number) if number.is_i64() => "int64",
                    Value::Number(_) => "float64",
                    _ => "",
                };
                let path = self.path.clone();
                self.report(format!(
                    "Invalid value: {found:?}: {path} in body must be of type date-time: {found:?}"
                ));
            }
            _ => self.demand(false, type_name(shape), value),
        }
    }

    fn object(&mut self, id: TypeId, map: &Map<String, Value>) {
        for field in table().at(id).sorted() {
            let value = map.get(field.name).filter(|value| !value.is_null());
            self.below(Step::Key(field.name), |check| match value {
                Some(value) => check.field(field, value),
                None if field.required => check.report("Required value".to_owned()),
                None => {}
            });
        }
    }

    fn field(&mut self, field: &Field, value: &Value) {
        self.value(field.view(), value);
        let chosen = |choice: &&str| value.as_str() == Some(choice);
        if !field.one_of.is_empty() && !field.one_of.iter().any(chosen) {
            let choices: Vec<String> = field.one_of.iter().map(|choice| format!("{choice:?}")).collect();
            self.report(format!(
                "Unsupported value: {}: supported values: {}",
                bare(value),
                choices.join(", ")
            ));
        }
        if let (View::Of(Shape::List(_)), Value::Array(items)) = (field.view(), value) {
            self.duplicates(field, items);
        }
    }

    /// Lists that server-side apply merges by key may hold each key once.
    fn duplicates(&mut self, field: &Field, items: &[Value]) {
        let key_of = |item: &Value| match (&field.merge, item) {
            (Merge::Set, _) => Some(item.clone()),
            (Merge::Keyed(keys), Value::Object(map)) => {
                let known = keys.iter().filter_map(|key| Some(((*key).to_owned(), map.get(*key)?.clone())));
                Some(Value::Object(known.collect()))
            }
            _ => None,
        };
        let mut seen: Vec<Value> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let Some(key) = key_of(item) else { continue };
            if seen.contains(&key) {
                self.below(Step::Item(at), |check| check.report(format!("Duplicate value: {key}")));
            } else {
                seen.push(key);
            }
        }
    }

    fn quantity(&mut self, text: &str) {
        if !matches_quantity_pattern(text) {
            let path = self.path.clone();
            self.report(format!("Invalid value: {text:?}: {path} in body should match '{QUANTITY_PATTERN}'"));
        }
    }

    fn time(&mut self, text: &str) {
        if Stamp::parse(text).is_none() {
            let path = self.path.clone();
            self.report(format!(
                "Invalid value: {text:?}: {path} in body must be of type date-time: {text:?}"
            ));
        }
    }

    fn demand(&mut self, met: bool, wanted: &str, value: &Value) {
        if !met {
            let (found, path) = (json_type(value), self.path.clone());
            self.report(format!(
                "Invalid value: {found:?}: {path} in body must be of type {wanted}: {found:?}"
            ));
        }
    }

    fn report(&mut self, message: String) {
        self.errors.push(TypeError { path: self.path.clone(), message });
    }

    fn below(&mut self, step: Step<'_>, then: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        step.append_to(&mut self.path);
        then(self);
        self.path.truncate(length);
    }
}

/// A value as it stands in a message.
fn bare(value: &Value) -> String {
    match value {
        Value::Number(number) => number_text(number),
        other => other.to_string(),
    }
}

fn type_name(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "boolean",
        Shape::Text | Shape::Time => "string",
        Shape::Int32 | Shape::Int64 => "integer",
        Shape::IntOrString | Shape::Quantity => "integer,string",
        Shape::Struct(_) | Shape::Map(_) | Shape::Raw => "object",
        Shape::List(_) => "array",
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn matches_quantity_pattern(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let Some(suffix) = after_decimal(unsigned) else { return false };
    let power = suffix.strip_prefix(['e', 'E']).map(|power| power.strip_prefix(['+', '-']).unwrap_or(power));
    matches!(suffix, "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E")
        || matches!(suffix, "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei")
        || power.and_then(after_decimal) == Some("")
}

/// What follows a decimal number such as `1`, `1.`, `1.5` or `.5`.
fn after_decimal(text: &str) -> Option<&str> {
    let skip_digits = |text: &str| text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let whole = text.len() - skip_digits(text);
    let rest = &text[whole..];
    let Some(fraction) = rest.strip_prefix('.') else { return (whole > 0).then_some(rest) };
    let left = skip_digits(fraction);
    (whole > 0 || left < fraction.len()).then_some(&fraction[fraction.len() - left..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{apply_defaults, prune};
    use proptest::prelude::*;
    use serde_json::json;

    fn check(spec: Value, want: &[&str]) {
        let object = json!({"metadata": {"name": "r"}, "spec": spec});
        let errors: Vec<String> = type_errors("Rollout", &object).iter().map(ToString::to_string).collect();
        assert_eq!(errors, want);
    }

    #[test]
    fn wrong_types_are_told_in_the_words_of_the_api_server() {
        check(
            json!({"replicas": "three"}),
            &[
                r#"spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string""#,
            ],
        );
        check(
            json!({"replicas": 1.5, "paused": "yes"}),
            &[
                r#"spec.paused: Invalid value: "string": spec.paused in body must be of type boolean: "string""#,
                r#"spec.replicas: Invalid value: "number": spec.replicas in body must be of type integer: "number""#,
            ],
        );
        check(
            json!({"strategy": {"canary": {"maxSurge": true, "steps": {}}}}),
            &[
                r#"spec.strategy.canary.maxSurge: Invalid value: "boolean": spec.strategy.canary.maxSurge in body must be of type integer,string: "boolean""#,
                r#"spec.strategy.canary.steps: Invalid value: "object": spec.strategy.canary.steps in body must be of type array: "object""#,
            ],
        );
        check(
            json!({"strategy": {"canary": {"steps": [null, {"setWeight": "10"}]}}}),
            &[
                r#"spec.strategy.canary.steps[0]: Invalid value: "null": spec.strategy.canary.steps[0] in body must be of type object: "null""#,
                r#"spec.strategy.canary.steps[1].setWeight: Invalid value: "string": spec.strategy.canary.steps[1].setWeight in body must be of type integer: "string""#,
            ],
        );
    }

    #[test]
    fn numbers_have_ranges() {
        check(json!({"replicas": 2147483647, "minReadySeconds": 3.0}), &[]);
        check(
            json!({"replicas": 2147483648_i64}),
            &["spec.replicas: Invalid value: 2147483648: spec.replicas must fit into 32 bits"],
        );
    }

    #[test]
    fn what_is_required_is_missed() {
        check(
            json!({"strategy": {"blueGreen": {}}}),
            &["spec.strategy.blueGreen.activeService: Required value"],
        );
        check(
            json!({"strategy": {"blueGreen": {"activeService": null}}}),
            &["spec.strategy.blueGreen.activeService: Required value"],
        );
        let errors = type_errors("Rollout", &json!({}));
        assert_eq!(errors, [TypeError { path: "spec".into(), message: "Required value".into() }]);
    }

    #[test]
    fn choices_patterns_times_and_doubles_are_checked() {
        let datadog =
            json!({"spec": {"metrics": [{"name": "m", "provider": {"datadog": {"apiVersion": "v3"}}}]}});
        let errors = type_errors("AnalysisTemplate", &datadog);
        assert_eq!(errors[0].message, r#"Unsupported value: "v3": supported values: "v1", "v2""#);
        check(
            json!({"restartAt": "now"}),
            &[
                r#"spec.restartAt: Invalid value: "now": spec.restartAt in body must be of type date-time: "now""#,
            ],
        );
        let pod =
            json!({"containers": [{"name": "a"}, {"name": "a"}], "overhead": {"cpu": "1", "memory": "lots"}});
        let errors = type_errors("Rollout", &json!({"spec": {"template": {"spec": pod}}}));
        assert_eq!(
            errors[0].to_string(),
            r#"spec.template.spec.containers[1]: Duplicate value: {"name":"a"}"#
        );
        assert_eq!(errors[1].path, "spec.template.spec.overhead.memory");
        assert_eq!(errors.len(), 2);
    }

    #[test]
    fn amounts_follow_the_pattern() {
        for good in ["1", "+1.", ".5", "-1.5Gi", "1e3", "1E-.5", "0n"] {
            assert!(matches_quantity_pattern(good), "{good}");
        }
        for bad in ["", ".", "1 ", "Gi", "1gi", "1e", "1Kib", "--1"] {
            assert!(!matches_quantity_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn metadata_is_looked_at_too() {
        let errors = type_errors("Rollout", &json!({"metadata": {"labels": {"a": 1}}, "spec": {}}));
        assert_eq!(errors[0].path, "metadata.labels.a");
    }

    proptest! {
        #[test]
        fn pruning_makes_no_object_worse(value in crate::schema::testing::any_value(), kind in "Rollout|AnalysisRun|Experiment|X") {
            let before = type_errors(&kind, &value);
            let mut object = value;
            prune(&kind, &mut object);
            apply_defaults(&kind, &mut object);
            if before.is_empty() {
                prop_assert_eq!(type_errors(&kind, &object), []);
            }
        }
    }
}
