//! The JSON that Go prints for a typed object, byte for byte, and the hashes taken of it.
//!
//! Fields come in the order of the table, empty ones are left out as their Go types say, amounts and times are
//! canonical, fields that the table does not know are dropped. A value of the wrong type counts as absent.

use std::fmt::Write;

use serde_json::{Map, Number, Value};

use super::table::{Field, Shape, Type, table};
use crate::quantity::Quantity;
use crate::time::Stamp;

/// The hash that names the ReplicaSet of a pod template.
pub fn pod_template_hash(template: &Value, collision_count: Option<i32>) -> String {
    let mut hash = Fnv32::new();
    hash.eat(canonical("PodTemplateSpec", template).as_bytes());
    if let Some(count) = collision_count {
        hash.eat(&count.to_le_bytes());
        hash.eat(&[0; 4]);
    }
    hash.safe_text()
}

/// The hash of a canary's steps; no steps have one too.
pub fn steps_hash(steps: Option<&Value>) -> String {
    let steps = match steps {
        Some(Value::Array(steps)) => steps.as_slice(),
        _ => &[],
    };
    // A list without steps does not survive the round trip before the reference hashes it.
    let step = Shape::Struct(table().find("CanaryStep").expect("the table has it"));
    let mut text = String::from(if steps.is_empty() { "null" } else { "" });
    for (at, value) in steps.iter().enumerate() {
        text.push(if at == 0 { '[' } else { ',' });
        write(&mut text, &step, value);
    }
    text.push_str(if steps.is_empty() { "" } else { "]" });
    let mut hash = Fnv32::new();
    hash.eat(text.as_bytes());
    hash.safe_text()
}

/// The JSON of a value of the named type.
pub(crate) fn canonical(type_name: &str, value: &Value) -> String {
    let id = table().find(type_name).expect("the table has it");
    let mut text = String::with_capacity(1024);
    write(&mut text, &Shape::Struct(id), value);
    text
}

fn write(out: &mut String, shape: &Shape, value: &Value) {
    match shape {
        Shape::Bool => out.push_str(if value.as_bool().unwrap_or(false) { "true" } else { "false" }),
        Shape::Text => write_text(out, value.as_str().unwrap_or("")),
        Shape::Int32 | Shape::Int64 => write_integer(out, integer(value).unwrap_or(0)),
        Shape::IntOrString => match value {
            Value::String(text) => write_text(out, text),
            _ => write_integer(out, integer(value).unwrap_or(0)),
        },
        Shape::Quantity => write_text(out, &quantity_text(value)),
        Shape::Time => match value.as_str().and_then(Stamp::parse) {
            Some(stamp) => write_text(out, &stamp.to_string()),
            None => out.push_str("null"),
        },
        Shape::Raw => write_raw(out, value),
        Shape::Struct(id) => write_struct(out, table().at(*id), value),
        Shape::List(item) => match value {
            Value::Array(items) => write_list(out, items, |out, value| write(out, item, value)),
            _ => out.push_str("null"),
        },
        Shape::Map(item) => match value {
            Value::Object(entries) => write_map(out, entries, |out, value| write(out, item, value)),
            _ => out.push_str("null"),
        },
    }
}

fn write_struct(out: &mut String, of: &Type, value: &Value) {
    let map = value.as_object();
    let mut open = '{';
    for field in &of.fields {
        let value = map.and_then(|map| map.get(field.name)).unwrap_or(&Value::Null);
        if is_omitted(field, value) {
            continue;
        }
        out.push(open);
        write_text(out, field.name);
        out.push(':');
        if field.pointer && value.is_null() {
            out.push_str("null");
        } else {
            write(out, &field.shape, value);
        }
        open = ',';
    }
    out.push_str(if open == '{' { "{}" } else { "}" });
}

/// Whether Go's `omitempty` leaves the field out.
pub(crate) fn is_omitted(field: &Field, value: &Value) -> bool {
    if field.always_written {
        return false;
    }
    if !fits(&field.shape, value) {
        return field.pointer || !is_struct(&field.shape);
    }
    !field.pointer && is_empty(&field.shape, value)
}

/// Whether a value that fits its shape is what Go has when nothing was said.
pub(crate) fn is_empty(shape: &Shape, value: &Value) -> bool {
    match (shape, value) {
        (Shape::Bool, value) => *value == Value::Bool(false),
        (Shape::Int32 | Shape::Int64, value) => integer(value) == Some(0),
        (Shape::Text, Value::String(text)) => text.is_empty(),
        (Shape::List(_), Value::Array(items)) => items.is_empty(),
        (Shape::Map(_), Value::Object(entries)) => entries.is_empty(),
        _ => false,
    }
}

/// Shapes that are structs in Go, which `omitempty` never leaves out.
fn is_struct(shape: &Shape) -> bool {
    matches!(shape, Shape::Struct(_) | Shape::Quantity | Shape::IntOrString)
}

/// Whether the value is of the JSON type that the shape expects; null never is.
pub(crate) fn fits(shape: &Shape, value: &Value) -> bool {
    match (shape, value) {
        (_, Value::Null) => false,
        (Shape::Bool, Value::Bool(_))
        | (Shape::Text | Shape::IntOrString | Shape::Quantity, Value::String(_))
        | (Shape::Quantity, Value::Number(_))
        | (Shape::Struct(_) | Shape::Map(_), Value::Object(_))
        | (Shape::List(_), Value::Array(_))
        | (Shape::Raw, _) => true,
        (Shape::Int32 | Shape::Int64 | Shape::IntOrString, Value::Number(_)) => integer(value).is_some(),
        (Shape::Time, Value::String(text)) => Stamp::parse(text).is_some(),
        _ => false,
    }
}

/// The whole number a value is, however it is written: to Kubernetes `1e3` and `1000.0` are 1000. Everything that
/// reads numbers asks here.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let float = value.as_f64()?;
        let exact = float.fract() == 0.0 && float.abs() < 9e15;
        // Exact: far below 2^53.
        exact.then_some(float as i64)
    })
}

/// The canonical text of an amount; what is none is kept.
pub(crate) fn quantity_text(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number_text(number),
        _ => "0".to_owned(),
    };
    Quantity::parse(&text).map_or(text, |quantity| quantity.to_string())
}

fn write_integer(out: &mut String, number: i64) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{number}");
}

fn write_list(out: &mut String, items: &[Value], mut write: impl FnMut(&mut String, &Value)) {
    out.push('[');
    for (at, value) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, value);
    }
    out.push(']');
}

fn write_map(out: &mut String, entries: &Map<String, Value>, mut write: impl FnMut(&mut String, &Value)) {
    out.push('{');
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(out, key);
        out.push(':');
        write(out, value);
    }
    out.push('}');
}

fn write_raw(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => write_list(out, items, write_raw),
        Value::Object(entries) => write_map(out, entries, write_raw),
    }
}

/// A text as Go's encoder writes it, fit to stand in HTML.
fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// A number as Go prints it: plain between 10^-6 and 10^21, with an exponent beyond.
pub(crate) fn number_text(number: &Number) -> String {
    let (true, Some(float)) = (number.is_f64(), number.as_f64()) else { return number.to_string() };
    let size = float.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{float}");
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, power)) if !power.starts_with('-') => format!("{digits}e+{power:0>2}"),
        _ => text,
    }
}

/// FNV-1a of 32 bits.
struct Fnv32(u32);

impl Fnv32 {
    fn new() -> Fnv32 {
        Fnv32(0x811c_9dc5)
    }

    fn eat(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    /// The decimal digits in an alphabet that spells no words.
    fn safe_text(&self) -> String {
        const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        self.0.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % 27])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(template: Value, json: &str, hash: &str) {
        assert_eq!(canonical("PodTemplateSpec", &template), json);
        assert_eq!(pod_template_hash(&template, None), hash);
    }

    #[test]
    fn templates_hash_as_in_the_reference() {
        check(json!({}), r#"{"metadata":{},"spec":{"containers":null}}"#, "658c46c486");
        check(Value::Null, r#"{"metadata":{},"spec":{"containers":null}}"#, "658c46c486");
        check(
            json!({"metadata": {"labels": {"app": "dynamic-stable-scale"}, "creationTimestamp": null},
                   "spec": {"readinessGates": [{"conditionType": "argoproj.io/e2e-readiness"}], "unknown": 1,
                            "containers": [{"name": "dynamic-stable-scale", "image": "nginx:1.19-alpine",
                                            "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
                                            "resources": {"requests": {"memory": "16Mi", "cpu": "5m"}}}]}}),
            r#"{"metadata":{"labels":{"app":"dynamic-stable-scale"}},"spec":{"containers":[{"name":"dynamic-stable-scale","image":"nginx:1.19-alpine","ports":[{"name":"http","containerPort":80,"protocol":"TCP"}],"resources":{"requests":{"cpu":"5m","memory":"16Mi"}}}],"readinessGates":[{"conditionType":"argoproj.io/e2e-readiness"}]}}"#,
            "6b56c8cdb4",
        );
    }

    #[test]
    fn the_collision_count_changes_the_hash_even_when_zero() {
        let template = json!({"metadata": {"labels": {"app": "canary-scaledowndelay"}},
            "spec": {"containers": [{"name": "canary-scaledowndelay", "image": "nginx:1.19-alpine",
                "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}}}]}});
        assert_eq!(pod_template_hash(&template, None), "674d8cf959");
        assert_eq!(pod_template_hash(&template, Some(0)), "68785fb4f5");
        assert_eq!(pod_template_hash(&template, Some(1)), "dbc977b9d");
        let _ = pod_template_hash(&template, Some(i32::MIN));
    }

    #[test]
    fn amounts_hash_by_their_canonical_form() {
        let template = |cpu: Value, request: Value| {
            json!({"metadata": {"labels": {"foo": "bar"}}, "spec": {"containers": [{"name": "container-name",
                "image": "foo/bar", "resources": {"limits": {"cpu": cpu, "memory": "8192M"},
                                                  "requests": {"cpu": request, "memory": "8192M"}}}]}})
        };
        let json = r#"{"metadata":{"labels":{"foo":"bar"}},"spec":{"containers":[{"name":"container-name","image":"foo/bar","resources":{"limits":{"cpu":"2","memory":"8192M"},"requests":{"cpu":"150m","memory":"8192M"}}}]}}"#;
        check(template(json!("2000m"), json!("150m")), json, "6f496f9f78");
        check(template(json!("2"), json!(0.15)), json, "6f496f9f78");
        check(template(json!(2), json!("0.15")), json, "6f496f9f78");
    }

    #[test]
    fn steps_hash_as_in_the_reference() {
        assert_eq!(steps_hash(None), "5ffbfbbd64");
        assert_eq!(steps_hash(Some(&Value::Null)), "5ffbfbbd64");
        assert_eq!(steps_hash(Some(&json!([]))), "5ffbfbbd64");
        assert_eq!(steps_hash(Some(&json!([{"pause": {}}]))), "6b9b86fbd5");
        assert_eq!(steps_hash(Some(&json!([{"pause": {}}, {"pause": {}}]))), "79c9b9f6bf");
        assert_eq!(steps_hash(Some(&json!([{"setWeight": 10, "comment": "dropped"}]))), "54b5fccf74");
    }

    #[test]
    fn omission_follows_the_go_types() {
        let check =
            |type_name: &str, value: Value, want: &str| assert_eq!(canonical(type_name, &value), want);
        check("CanaryStep", json!({"setWeight": 0}), r#"{"setWeight":0}"#);
        check("SetCanaryScale", json!({"matchTrafficWeight": false, "weight": null}), "{}");
        check("Container", json!({"resources": {}, "args": []}), r#"{"name":"","resources":{}}"#);
        check(
            "Container",
            json!({"resources": 3, "args": ["", null]}),
            r#"{"name":"","args":["",""],"resources":{}}"#,
        );
        check("ResourceFieldSelector", json!({"resource": "cpu"}), r#"{"resource":"cpu","divisor":"0"}"#);
        check("HTTPGetAction", json!({}), r#"{"port":0}"#);
        check("GRPCAction", json!({"port": 5}), r#"{"port":5,"service":null}"#);
        check("EmptyDirVolumeSource", json!({"sizeLimit": "0"}), r#"{"sizeLimit":"0"}"#);
        check(
            "PodSpec",
            json!({"hostUsers": false, "hostPID": false}),
            r#"{"containers":null,"hostUsers":false}"#,
        );
        check("RolloutExperimentStep", json!({}), r#"{"templates":null,"analysisRunMetadata":{}}"#);
        check(
            "ObjectMeta",
            json!({"creationTimestamp": "2024-01-01T01:00:00+01:00"}),
            r#"{"creationTimestamp":"2024-01-01T00:00:00Z"}"#,
        );
        check(
            "PluginStep",
            json!({"name": "p", "config": {"b": 1.0, "a": "<&>"}}),
            r#"{"name":"p","config":{"a":"\u003c\u0026\u003e","b":1}}"#,
        );
        check(
            "PluginStep",
            json!({"name": "a\u{1}\u{8}\u{2028}\u{7f}é"}),
            "{\"name\":\"a\\u0001\\b\\u2028\u{7f}é\"}",
        );
    }

    #[test]
    fn numbers_are_printed_as_go_prints_them() {
        let check = |float: f64, want: &str| assert_eq!(number_text(&Number::from_f64(float).unwrap()), want);
        check(1500.0, "1500");
        check(0.1, "0.1");
        check(1e21, "1e+21");
        check(1.5e-7, "1.5e-7");
        check(1e100, "1e+100");
        check(-0.0, "-0");
    }

    /// The value as text, with the keys of every mapping in falling order.
    fn backwards(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let entry = |(key, value): (&String, &Value)| {
                    format!("{}:{}", Value::from(key.as_str()), backwards(value))
                };
                format!("{{{}}}", map.iter().rev().map(entry).collect::<Vec<_>>().join(","))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(backwards).collect::<Vec<_>>().join(",")),
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn the_order_of_keys_changes_no_hash(value in crate::schema::testing::any_value()) {
            let turned: Value = serde_json::from_str(&backwards(&value)).unwrap();
            prop_assert_eq!(pod_template_hash(&turned, None), pod_template_hash(&value, None));
            prop_assert_eq!(steps_hash(Some(&turned)), steps_hash(Some(&value)));
        }

        #[test]
        fn any_value_has_a_hash(value in crate::schema::testing::any_value()) {
            prop_assert!((1..=10).contains(&pod_template_hash(&value, None).len()));
            let _ = (steps_hash(Some(&value)), canonical("Rollout", &value));
        }
    }
}
