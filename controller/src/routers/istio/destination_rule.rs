//! The DestinationRule: whose pods its subsets select.

use serde_json::{Value, json};
use tidegate_api::object::{Object, Text};

use super::super::document::{annotate, become_if_new, list, list_mut, mapping, text, trouble};
use super::super::{Change, Trouble, View, Want};
use super::config::Rule;

const HASH_LABEL: &str = "rollouts-pod-template-hash";
const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";

/// Makes the subsets of both sides, and of arms of an experiment, select the pods with the given hashes.
pub(super) fn label(view: &View<'_>, want: &Want<'_>, rule: &Rule<'_>) -> Result<Option<Change>, Trouble> {
    let name = &rule.key.name;
    let missing = |trouble: Trouble| {
        trouble.telling("DestinationRuleNotFound", format!("DestinationRule `{name}` not found"))
    };
    let object = view.get(&rule.key).map_err(missing)?;
    let mut after = object.to_value();
    let subsets = mapping(&mut after, &["spec"]).entry("subsets").or_insert(Value::Null);
    if subsets.is_null() {
        *subsets = json!([]);
    }
    let subsets = subsets.as_array_mut();
    let Some(subsets) = subsets else {
        return Err(trouble(&rule.key, "spec.subsets", "subsets are no list"));
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
    annotate(&mut after, MANAGED_BY, Some(&view.at.rollout.meta.name));
    let told = format!(
        "DestinationRule {name} subset updated ({}: {}, {}: {})",
        rule.canary, want.canary_hash, rule.stable, want.stable_hash
    );
    Ok(become_if_new(object, after).map(|change| change.telling("UpdatedDestinationRule", told)))
}

/// The hash that the subset of this name selects; empty when there is none.
pub(super) fn hash_of(rule: &Object, subset: &str) -> Text {
    let document = rule.to_value();
    let subsets = list(&document, &["spec", "subsets"]);
    let found = subsets.iter().find(|one| name_of(one) == subset);
    found.map(|one| text(one, &["labels", HASH_LABEL])).unwrap_or_default().into()
}

/// Hashes that subsets select, in their order.
pub(super) fn hashes(rule: &Object) -> Vec<Text> {
    let document = rule.to_value();
    let hashes =
        list(&document, &["spec", "subsets"]).iter().map(|subset| text(subset, &["labels", HASH_LABEL]));
    hashes.filter(|hash| !hash.is_empty()).map(Text::from).collect()
}

/// Takes the mark and the hashes away when the Rollout that left them no longer names the object.
pub(super) fn clean_up(rule: &Object, is_user: &dyn Fn(&str) -> bool) -> Option<Change> {
    let user = rule.meta.annotations.get(MANAGED_BY)?;
    if is_user(user) {
        return None;
    }
    let mut after = rule.to_value();
    annotate(&mut after, MANAGED_BY, None);
    for subset in list_mut(&mut after, &["spec", "subsets"]).into_iter().flatten() {
        set_hash(subset, "");
    }
    become_if_new(rule, after)
}

fn name_of(subset: &Value) -> &str {
    text(subset, &["name"])
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
    let labels = subset.entry("labels").or_insert(Value::Null);
    mapping(labels, &[]).insert(HASH_LABEL.to_owned(), Value::from(hash));
}
