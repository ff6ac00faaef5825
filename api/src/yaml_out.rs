//! JSON values printed as YAML for files that people read and diff: block style, keys in order, one form for
//! every value.

use serde_json::Value;

/// The value as a YAML document.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(&mut out, value, 0),
        Value::Array(items) if !items.is_empty() => block(&mut out, value, 0),
        _ => {
            out.push_str(&inline(value));
            out.push('\n');
        }
    }
    out
}

/// Writes a mapping or list that is not empty, each entry on lines of its own.
fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) => {
            for (at, (key, value)) in map.iter().enumerate() {
                if at > 0 || indent == 0 || out.ends_with('\n') {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str(&text(key));
                out.push(':');
                entry(out, value, indent);
            }
        }
        Value::Array(items) => {
            for value in items {
                out.push_str(&" ".repeat(indent));
                out.push('-');
                item(out, value, indent);
            }
        }
        _ => {}
    }
}

/// Writes what stands behind a key. Lists are not indented below it, as Kubernetes' own tools print them.
fn entry(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(out, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(out, value, indent);
        }
        _ => {
            out.push(' ');
            out.push_str(&inline(value));
            out.push('\n');
        }
    }
}

/// Writes what stands behind a dash: a mapping begins on the same line.
fn item(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push(' ');
            block(out, value, indent + 2);
        }
        _ => entry(out, value, indent + 2),
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        other => other.to_string(),
    }
}

/// A text bare where YAML cannot take it for anything else, quoted where it might.
fn text(text: &str) -> String {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.' || c == '/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./ ()".contains(c);
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str())
        || text.starts_with('.') && text[1..].starts_with(|c: char| c.is_ascii_digit() || "nNiI".contains(c));
    if starts_well
        && text.chars().all(is_plain)
        && !text.ends_with(' ')
        && !is_word
        && text != "."
        && text != "..."
    {
        text.to_owned()
    } else {
        // A JSON text is a YAML text.
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_printed_in_blocks() {
        let value =
            json!({"b": [1, {"x": true, "y": {}}, [], [2, [3]]], "a": {"deep": {"er": null}}, "empty": []});
        let want = "a:\n  deep:\n    er: null\nb:\n- 1\n- x: true\n  \"y\": {}\n- []\n-\n  - 2\n  -\n    - 3\nempty: []\n";
        assert_eq!(to_yaml(&value), want);
        assert_eq!(to_yaml(&json!("x")), "x\n");
        assert_eq!(to_yaml(&json!({})), "{}\n");
    }

    #[test]
    fn texts_are_quoted_where_they_must_be() {
        let check = |given: &str, want: &str| assert_eq!(text(given), want);
        check("argoproj.io/v1", "argoproj.io/v1");
        check(".spec.selector is immutable", ".spec.selector is immutable");
        check("", "\"\"");
        check("no", "\"no\"");
        check("10", "\"10\"");
        check("a: b", "\"a: b\"");
        check(".5", "\".5\"");
        check("a\nb", "\"a\\nb\"");
        check("trailing ", "\"trailing \"");
    }
}
