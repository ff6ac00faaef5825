//! The DestinationRule: whose pods its subsets select.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidegate_api::object::{Object, Text};

use super::super::{Change, Trouble, View, Want, What};
use super::config::Rule;

const HASH_LABEL: &str = "rollouts-pod-template-hash";
const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";

/// Makes the subsets of both sides, and of arms of an experiment, select the pods with the given hashes.
pub(super) fn label(view: &View<'_>, want: &Want<'_>, rule: &Rule<'_>) -> Result<Option<Change>, Trouble> {
    let name = &rule.key.name;
    let missing = |trouble: Trouble| {
        trouble.telling("DestinationRuleNotFound", format!("DestinationRule `{name}` not found"))
    };
    let before = view.get(&rule.key).map_err(missing)?.to_value();
    let mut after = before.clone();
    let subsets = mapping(&mut after, "spec")
        .map(|spec| spec.entry("subsets").or_insert(Value::Null))
        .and_then(|subsets| {
            if subsets.is_null() {
                *subsets = json!([]);
            }
            subsets.as_array_mut()
        });
    let Some(subsets) = subsets else {
        return Err(Trouble::of(&rule.key, format!("spec.subsets of DestinationRule {name:?} is no list")));
    };
    // ARGO: the reference drops every subset that it does not know (Q23).
    subsets.retain(|subset| {
        let name = name_of(subset);
        let is_former = want.former_arms.iter().any(|former| &**former == name);
        let is_side = name == rule.canary || name == rule.stable;
        !is_former || is_side || want.arms.iter().any(|arm| &*arm.service == name)
    });
    for subset in subsets.iter_mut() {
        let name = name_of(subset);
        let hash = match name {
            "" => continue,
            _ if name == rule.canary => want.canary_hash,
            _ if name == rule.stable => want.stable_hash,
            _ => match want.arms.iter().find(|arm| &*arm.service == name) {
                Some(arm) => &arm.hash,
                None => continue,
            },
        };
        set_hash(subset, hash);
    }
    for arm in want.arms {
        if !subsets.iter().any(|subset| name_of(subset) == &*arm.service) {
            subsets.push(json!({"name": &*arm.service, "labels": {HASH_LABEL: &*arm.hash}}));
        }
    }
    let annotations = mapping(&mut after, "metadata")
        .map(|meta| meta.entry("annotations").or_insert_with(|| json!({})))
        .and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.insert(MANAGED_BY.to_owned(), Value::from(&*view.at.rollout.meta.name));
    }
    if after == before {
        return Ok(None);
    }
    let told = format!(
        "DestinationRule {name} subset updated ({}: {}, {}: {})",
        rule.canary, want.canary_hash, rule.stable, want.stable_hash
    );
    Ok(Some(Change {
        key: rule.key.clone(),
        what: What::Become(Arc::new(after)),
        notices: vec![("UpdatedDestinationRule".into(), told.into())],
    }))
}

/// Hashes that subsets select, in their order.
pub(super) fn hashes(rule: &Object) -> Vec<Text> {
    let document = rule.to_value();
    let subsets = document["spec"]["subsets"].as_array().into_iter().flatten();
    let hash = |subset: &Value| Some(Text::from(subset.get("labels")?.get(HASH_LABEL)?.as_str()?));
    subsets.filter_map(hash).filter(|hash| !hash.is_empty()).collect()
}

/// Takes the mark and the hashes away when the Rollout that left them no longer names the object.
pub(super) fn clean_up(rule: &Object, is_user: &dyn Fn(&str) -> bool) -> Option<Change> {
    let user = rule.meta.annotations.get(MANAGED_BY)?;
    if is_user(user) {
        return None;
    }
    let mut after = rule.to_value();
    let annotations = after["metadata"]["annotations"].as_object_mut();
    annotations.map(|annotations| annotations.remove(MANAGED_BY));
    let subsets = after.get_mut("spec").and_then(|spec| spec.get_mut("subsets"));
    for subset in subsets.and_then(Value::as_array_mut).into_iter().flatten() {
        set_hash(subset, "");
    }
    Some(Change { key: rule.key(), what: What::Become(Arc::new(after)), notices: Vec::new() })
}

fn name_of(subset: &Value) -> &str {
    subset.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Sets the hash among the labels of a subset, or removes it when it is empty.
fn set_hash(subset: &mut Value, hash: &str) {
    let Some(subset) = subset.as_object_mut() else { return };
    if hash.is_empty() {
        if let Some(labels) = subset.get_mut("labels").and_then(Value::as_object_mut) {
            let was_there = labels.remove(HASH_LABEL).is_some();
            if was_there && labels.is_empty() {
                subset.remove("labels");
            }
        }
        return;
    }
    let labels = subset.entry("labels").or_insert_with(|| json!({}));
    if !labels.is_object() {
        *labels = json!({});
    }
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(HASH_LABEL.to_owned(), Value::from(hash));
    }
}

fn mapping<'v>(document: &'v mut Value, field: &str) -> Option<&'v mut Map<String, Value>> {
    let document = document.as_object_mut()?;
    let inner = document.entry(field).or_insert_with(|| json!({}));
    inner.as_object_mut()
}
