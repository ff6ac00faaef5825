//! Patches as users send them: JSON merge patch (RFC 7396) and JSON patch (RFC 6902).

use serde_json::{Map, Value};

/// Applies a merge patch: mappings are merged, null removes, everything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// Applies a JSON patch: all of its operations or none of them. The error says which one does not fit.
pub fn apply(target: &mut Value, operations: &Value) -> Result<(), String> {
    let operations = operations.as_array().ok_or("a JSON patch must be a list of operations")?;
    let mut copy = target.clone();
    for operation in operations {
        apply_one(&mut copy, operation)?;
    }
    *target = copy;
    Ok(())
}

fn apply_one(target: &mut Value, operation: &Value) -> Result<(), String> {
    let text = |field: &str| {
        operation[field].as_str().ok_or_else(|| format!("operation {operation} needs the text `{field}`"))
    };
    let value =
        || operation.get("value").cloned().ok_or_else(|| format!("operation {operation} needs `value`"));
    let (op, path) = (text("op")?, text("path")?);
    match op {
        "add" => add(target, path, value()?),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            let new = value()?;
            // The server's library takes the replacement of a field that is not there for an addition.
            match find(target, path) {
                Ok(found) => *found = new,
                Err(_) => add_field(target, path, new)?,
            }
            Ok(())
        }
        "move" => {
            let from = text("from")?;
            if path.starts_with(&format!("{from}/")) {
                return Err(format!("`{from}` cannot be moved into itself"));
            }
            let moved = remove(target, from)?;
            add(target, path, moved)
        }
        "copy" => {
            let copied = find(target, text("from")?)?.clone();
            add(target, path, copied)
        }
        "test" => {
            let (found, wanted) = (find(target, path)?.clone(), value()?);
            match found == wanted {
                true => Ok(()),
                false => Err(format!("testing path {path} failed: it is {found}, not {wanted}")),
            }
        }
        _ => Err(format!("`{op}` is no operation of a JSON patch")),
    }
}

/// The names on a path; the empty path has none.
fn names(path: &str) -> Result<Vec<String>, String> {
    match path.strip_prefix('/') {
        Some(rest) => Ok(rest.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect()),
        None if path.is_empty() => Ok(Vec::new()),
        None => Err(format!("path `{path}` must begin with /")),
    }
}

fn missing(path: &str) -> String {
    format!("there is nothing at `{path}`")
}

fn index(name: &str, below: usize) -> Option<usize> {
    let plain = name == "0" || !name.starts_with(['0', '+']);
    name.parse().ok().filter(|at| plain && *at < below)
}

fn find<'a>(target: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    find_names(target, &names(path)?).ok_or_else(|| missing(path))
}

fn find_names<'a>(target: &'a mut Value, names: &[String]) -> Option<&'a mut Value> {
    names.iter().try_fold(target, |at, name| match at {
        Value::Object(map) => map.get_mut(name),
        Value::Array(list) => index(name, list.len()).and_then(|at| list.get_mut(at)),
        _ => None,
    })
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let mut names = names(path)?;
    let Some(last) = names.pop() else {
        *target = value;
        return Ok(());
    };
    match find_names(target, &names) {
        Some(Value::Object(map)) => drop(map.insert(last, value)),
        Some(Value::Array(list)) if last == "-" => list.push(value),
        Some(Value::Array(list)) => match index(&last, list.len() + 1) {
            Some(at) => list.insert(at, value),
            None => return Err(missing(path)),
        },
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn add_field(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let (parent, _) = path.rsplit_once('/').ok_or_else(|| missing(path))?;
    match find(target, parent)? {
        Value::Object(_) => add(target, path, value),
        _ => Err(missing(path)),
    }
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let mut names = names(path)?;
    let Some(last) = names.pop() else { return Ok(target.take()) };
    let removed = match find_names(target, &names) {
        Some(Value::Object(map)) => map.remove(&last),
        Some(Value::Array(list)) => index(&last, list.len()).map(|at| list.remove(at)),
        _ => None,
    };
    removed.ok_or_else(|| missing(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_merge_patch_follows_the_examples_of_its_rfc() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, result, "{target} with {patch}");
        }
    }

    #[test]
    fn a_json_patch_does_each_operation() {
        let start = json!({"a": [1, 2], "b/c": {"~d": 1}});
        for (operation, result) in [
            (json!({"op": "add", "path": "/a/1", "value": 9}), json!({"a": [1, 9, 2], "b/c": {"~d": 1}})),
            (json!({"op": "add", "path": "/a/-", "value": 9}), json!({"a": [1, 2, 9], "b/c": {"~d": 1}})),
            (json!({"op": "remove", "path": "/a/0"}), json!({"a": [2], "b/c": {"~d": 1}})),
            (
                json!({"op": "replace", "path": "/b~1c/~0d", "value": 2}),
                json!({"a": [1, 2], "b/c": {"~d": 2}}),
            ),
            (
                json!({"op": "move", "from": "/b~1c/~0d", "path": "/e"}),
                json!({"a": [1, 2], "b/c": {}, "e": 1}),
            ),
            (
                json!({"op": "copy", "from": "/a/0", "path": "/e"}),
                json!({"a": [1, 2], "b/c": {"~d": 1}, "e": 1}),
            ),
            (
                json!({"op": "replace", "path": "/e", "value": 1}),
                json!({"a": [1, 2], "b/c": {"~d": 1}, "e": 1}),
            ),
            (json!({"op": "test", "path": "/a", "value": [1, 2]}), start.clone()),
            (json!({"op": "replace", "path": "", "value": 7}), json!(7)),
        ] {
            let mut patched = start.clone();
            apply(&mut patched, &json!([operation])).expect("fits");
            assert_eq!(patched, result, "{operation}");
        }
    }

    #[test]
    fn a_json_patch_that_does_not_fit_changes_nothing() {
        for operation in [
            json!({"op": "remove", "path": "/x"}),
            json!({"op": "replace", "path": "/x/y", "value": 1}),
            json!({"op": "replace", "path": "/a/7", "value": 1}),
            json!({"op": "add", "path": "/x/y", "value": 1}),
            json!({"op": "add", "path": "/a/3", "value": 1}),
            json!({"op": "add", "path": "/a/01", "value": 1}),
            json!({"op": "move", "from": "/a", "path": "/a/0"}),
            json!({"op": "test", "path": "/a", "value": 1}),
            json!({"op": "add", "path": "a", "value": 1}),
            json!({"op": "add", "path": "/b"}),
            json!({"op": "shuffle", "path": "/a"}),
            json!(3),
        ] {
            let mut value = json!({"a": [1, 2]});
            let patch = json!([{"op": "add", "path": "/b", "value": 1}, operation]);
            assert!(apply(&mut value, &patch).is_err(), "{operation}");
            assert_eq!(value, json!({"a": [1, 2]}));
        }
    }
}
