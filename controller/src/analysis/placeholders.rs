//! `{{args.name}}`: filling arguments into the texts of a metric.

use serde_json::{Map, Value};

/// Fills every placeholder in a text. A placeholder that nobody knows is an error; the last one is named.
pub fn fill<'v>(text: &str, value_of: &dyn Fn(&str) -> Option<&'v str>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    let mut unknown = None;
    while let Some(start) = rest.find("{{") {
        filled.push_str(&rest[..start]);
        let Some(end) = rest[start..].find("}}") else {
            return Err(format!("cannot find end tag=\"}}}}\" in the template {:?}", &rest[start..]));
        };
        let tag = &rest[start + 2..start + end];
        match value_of(tag.trim()) {
            // What was filled in is not looked at again.
            Some(value) => filled.push_str(value),
            None => unknown = Some(format!("failed to resolve {{{{{tag}}}}}")),
        }
        rest = &rest[start + end + 2..];
    }
    filled.push_str(rest);
    unknown.map_or(Ok(filled), Err)
}

/// Fills every text of a document, keys included. Values stay within their text: none can add structure.
pub fn fill_document<'v>(
    document: &Value,
    value_of: &dyn Fn(&str) -> Option<&'v str>,
) -> Result<Value, String> {
    // Nearly all texts hold none.
    Ok(match document {
        Value::String(text) if text.contains("{{") => Value::String(fill(text, value_of)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill_document(item, value_of)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            let mut filled = Map::new();
            for (key, value) in map {
                filled.insert(fill(key, value_of)?, fill_document(value, value_of)?);
            }
            Value::Object(filled)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value_of(name: &str) -> Option<&'static str> {
        match name {
            "args.var" => Some("foo"),
            "args.odd" => Some("a\"b\n{{args.var}}"),
            _ => None,
        }
    }

    /// Vectors A19, A20, and what a stray brace does.
    #[test]
    fn placeholders_are_filled_once() {
        assert_eq!(fill("test-{{ args.var }}", &value_of).as_deref(), Ok("test-foo"));
        assert_eq!(fill("{{args.odd}}", &value_of).as_deref(), Ok("a\"b\n{{args.var}}"));
        assert_eq!(
            fill("{{ no }}{{args.nope}}", &value_of),
            Err("failed to resolve {{args.nope}}".to_owned())
        );
        assert_eq!(fill("{{ no }}", &value_of), Err("failed to resolve {{ no }}".to_owned()));
        assert!(fill("a {{args.var", &value_of).is_err());
        assert_eq!(fill("a }} b", &value_of).as_deref(), Ok("a }} b"));
    }

    #[test]
    fn every_text_of_a_document_is_filled() {
        let document = json!({"{{args.var}}": ["{{args.odd}}", 3, {"q": "{{args.var}}-x"}]});
        let filled = json!({"foo": ["a\"b\n{{args.var}}", 3, {"q": "foo-x"}]});
        assert_eq!(fill_document(&document, &value_of), Ok(filled));
    }
}
