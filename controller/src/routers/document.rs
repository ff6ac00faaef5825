//! Edits of documents that belong to others: only what is meant changes, every other field and the order of every list
//! stay. Whatever a document holds, nothing here panics.

use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_api::object::{Key, Object, Text};

use super::{Change, Trouble, View, What};

/// What stands at a path; null where there is nothing.
pub(super) fn at<'d>(document: &'d Value, path: &[&str]) -> &'d Value {
    path.iter().fold(document, |value, field| &value[*field])
}

/// The list at a path; empty where there is none.
pub(super) fn list<'d>(document: &'d Value, path: &[&str]) -> &'d [Value] {
    at(document, path).as_array().map_or(&[], Vec::as_slice)
}

/// The list at a path, to be edited; nothing where there is none.
pub(super) fn list_mut<'d>(document: &'d mut Value, path: &[&str]) -> Option<&'d mut Vec<Value>> {
    path.iter().try_fold(document, |value, field| value.get_mut(*field))?.as_array_mut()
}

/// The text at a path; empty where there is none.
pub(super) fn text<'d>(document: &'d Value, path: &[&str]) -> &'d str {
    at(document, path).as_str().unwrap_or_default()
}

/// The mapping at a path, made where it is missing or something else.
pub(super) fn mapping<'d>(document: &'d mut Value, path: &[&str]) -> &'d mut Map<String, Value> {
    let mut map = as_mapping(document);
    for field in path {
        map = as_mapping(map.entry(*field).or_insert(Value::Null));
    }
    map
}

fn as_mapping(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made a mapping"),
    }
}

/// Sets a field of a mapping, or removes it.
pub(super) fn set(document: &mut Value, path: &[&str], field: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(mapping(document, path).insert(field.to_owned(), value)),
        None if at(document, path).get(field).is_some() => drop(mapping(document, path).remove(field)),
        None => {}
    }
}

/// A weight as objects write it: a number, or digits as text (Kubernetes quantities). Nothing when it is neither.
pub(super) fn weight(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64))
        }
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Sets `weight` of an entry. A weight that means the same stays as it is written.
pub(super) fn set_weight(entry: &mut Value, parts: i64) {
    if weight(&entry["weight"]) != Some(parts) {
        set(entry, &[], "weight", Some(Value::from(parts)));
    }
}

/// Parts of the whole that so much of a total is. Rounded up: less than what is sent must not be said.
pub(super) fn share(parts: i64, total: i64, whole: i64) -> i64 {
    if parts <= 0 || total <= 0 {
        return 0;
    }
    let (parts, total, whole) = (i128::from(parts), i128::from(total), i128::from(whole.max(0)));
    i64::try_from((parts * whole + total - 1) / total).unwrap_or(i64::MAX).min(whole as i64)
}

/// An annotation of a document.
pub(super) fn annotation<'d>(document: &'d Value, key: &str) -> Option<&'d str> {
    document["metadata"]["annotations"].get(key)?.as_str()
}

/// Sets an annotation of a document, or removes it; the last one takes the mapping with it.
pub(super) fn annotate(document: &mut Value, key: &str, value: Option<&str>) {
    set(document, &["metadata", "annotations"], key, value.map(Value::from));
    if document["metadata"]["annotations"].as_object().is_some_and(Map::is_empty) {
        set(document, &["metadata"], "annotations", None);
    }
}

/// The change that gives an object this document; nothing when it is so already.
pub(super) fn become_if_new(object: &Object, after: Value) -> Option<Change> {
    let is_new = object.to_value() != after;
    is_new.then(|| Change { key: object.key(), what: What::Become(Arc::new(after)), notices: Vec::new() })
}

/// The change that makes an object.
pub(super) fn create(key: Key, document: Value) -> Change {
    Change { key, what: What::Create(Arc::new(document)), notices: Vec::new() }
}

/// The change that takes an object away.
pub(super) fn delete(key: Key) -> Change {
    Change { key, what: What::Delete, notices: Vec::new() }
}

impl Change {
    /// With an event to record once it is done.
    pub(super) fn telling(mut self, reason: &str, message: impl Into<Text>) -> Change {
        self.notices.push((reason.into(), message.into()));
        self
    }
}

/// Trouble with a field of an object: the reference's own text, then where.
pub(super) fn trouble(key: &Key, field: &str, text: impl std::fmt::Display) -> Trouble {
    Trouble::of(key, format!("{text} ({key}: {field})"))
}

/// The name of the Rollout that controls an object.
pub(super) fn controlling_rollout(object: &Object) -> Option<&Text> {
    let owner = object.meta.controller()?;
    (&*owner.kind == "Rollout" && owner.api_version.starts_with("argoproj.io/")).then_some(&owner.name)
}

/// Gives the document of an object that the Rollout controls the Rollout's present identity. Without it the garbage
/// collector would take the object of a Rollout that was restored from a backup.
pub(super) fn adopt(document: &mut Value, view: &View<'_>) {
    let (owner, uid) = (view.owner(), &*view.at.rollout.meta.uid);
    for reference in list_mut(document, &["metadata", "ownerReferences"]).into_iter().flatten() {
        let is_ours = reference["controller"] == true
            && reference["kind"] == owner["kind"]
            && reference["name"] == owner["name"];
        if is_ours && text(reference, &["uid"]) != uid {
            set(reference, &[], "uid", Some(Value::from(uid)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_weight_that_means_the_same_stays_as_written() {
        for (before, after) in [
            (json!({"weight": "25"}), json!({"weight": "25"})),
            (json!({"weight": 25.0}), json!({"weight": 25.0})),
            (json!({"weight": 24, "x": 1}), json!({"weight": 25, "x": 1})),
            (json!({"weight": {"odd": 1}}), json!({"weight": 25})),
            (json!("no entry"), json!({"weight": 25})),
        ] {
            let mut entry = before;
            set_weight(&mut entry, 25);
            assert_eq!(entry, after);
        }
    }

    #[test]
    fn a_share_is_never_said_too_small() {
        assert_eq!(share(1, 100, 1000), 10);
        assert_eq!(share(1, 3, 100), 34);
        assert_eq!(share(0, 0, 100), 0);
        assert_eq!(share(-5, 100, 100), 0);
        assert_eq!(share(i64::MAX, 1, i64::MAX), i64::MAX);
        assert_eq!(share(200, 100, 100), 100);
    }

    #[test]
    fn the_last_annotation_takes_the_mapping_with_it() {
        let mut document = json!({"metadata": {"name": "a"}});
        annotate(&mut document, "k", None);
        assert_eq!(document, json!({"metadata": {"name": "a"}}));
        annotate(&mut document, "k", Some("v"));
        assert_eq!(annotation(&document, "k"), Some("v"));
        annotate(&mut document, "k", None);
        assert_eq!(document, json!({"metadata": {"name": "a"}}));
    }
}
