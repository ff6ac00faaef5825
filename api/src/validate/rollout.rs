//! Rules about what all Rollouts have: replicas, selector, template, deadlines, exactly one strategy.

use std::sync::Arc;

use serde_json::Value;

use super::field::{Field, Findings};
use super::{names, pod, strategy};
use crate::object::{Selector, Strings};
use crate::problem::{Problem, ProblemKind};

/// What the reference says, without a path, when a template stands beside a `workloadRef`.
pub(super) const TEMPLATE_BESIDE_REFERENCE: &str = "template must be empty for workload reference rollout";

/// Applies every rule that needs the specification alone.
pub(super) fn rules(spec: &Field<'_>, found: &mut Findings) {
    found.not_negative(&spec.get("replicas"));
    let refers = spec.get("workloadRef").is_set();
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if !refers {
        selector_rules(&selector, found);
    }
    if refers && has_metadata(&template, found) {
        found.rule(Problem::new(&template.place, ProblemKind::Internal, TEMPLATE_BESIDE_REFERENCE));
    }
    if !is_convertible(&selector) {
        found.invalid(&selector, "invalid label selector");
    } else if !refers {
        let meaning = Selector::from_value(Arc::new(selector.value.clone()));
        pod::template_rules(&template, &meaning, found);
    }
    found.not_negative(&spec.get("minReadySeconds"));
    found.not_negative(&spec.get("revisionHistoryLimit"));
    deadline_rules(spec, found);
    strategy::rules(spec, found);
}

fn selector_rules(selector: &Field<'_>, found: &mut Findings) {
    if !selector.is_set() {
        return found.required(selector, "Rollout has missing field '.spec.selector'");
    }
    label_selector(selector, found);
    if label_count(selector) == 0 {
        found.invalid(selector, "empty selector is invalid for deployment");
    }
}

/// The syntax of any label selector.
pub(super) fn label_selector(selector: &Field<'_>, found: &mut Findings) {
    labels(&selector.get("matchLabels"), &selector.get("matchLabels").place, found);
    for expression in selector.get("matchExpressions").mappings(found) {
        let (key, operator, values) =
            (expression.get("key"), expression.get("operator"), expression.get("values"));
        let items = values.list(found);
        match operator.text(found).unwrap_or_default() {
            "In" | "NotIn" if items.is_empty() => {
                found.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if !items.is_empty() => {
                found
                    .forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Exists" | "DoesNotExist" => {}
            other => {
                let problem = Problem::invalid(&operator.place, other, "not a valid selector operator");
                found.rule(problem);
            }
        }
        label_name(&key, found);
        for item in items {
            let wrong = names::label_value(item.text(found).unwrap_or_default());
            found.invalid_each(&item, wrong);
        }
    }
}

/// The key of a label, standing in a field of its own.
pub(super) fn label_name(key: &Field<'_>, found: &mut Findings) {
    let text = key.text(found).unwrap_or_default();
    for detail in names::qualified_name(text) {
        found.rule(Problem::invalid(&key.place, text, detail));
    }
}

/// Labels: their keys and values. `path` is where Kubernetes says they stand.
pub(super) fn labels(labels: &Field<'_>, path: &str, found: &mut Findings) {
    let Some(map) = labels.value.as_object() else { return };
    for (key, value) in map {
        let place = labels.key(key).place;
        for detail in names::qualified_name(key) {
            found.rule(Problem::invalid(path, key.as_str(), detail).at(&place));
        }
        let value = value.as_str().unwrap_or_default();
        for detail in names::label_value(value) {
            found.rule(Problem::invalid(path, value, detail).at(&place));
        }
    }
}

fn label_count(selector: &Field<'_>) -> usize {
    let labels = selector.value["matchLabels"].as_object().map_or(0, |map| map.len());
    labels + selector.value["matchExpressions"].as_array().map_or(0, Vec::len)
}

/// Whether the selector has a meaning at all; the details are told by [`label_selector`].
fn is_convertible(selector: &Field<'_>) -> bool {
    let mut details = Findings::default();
    label_selector(selector, &mut details);
    !details.has_broken_rules()
}

fn has_metadata(template: &Field<'_>, found: &mut Findings) -> bool {
    let metadata = template.get("metadata");
    let strings = |name: &str, found: &mut Findings| -> Strings { metadata.get(name).strings(found) };
    !strings("labels", found).is_empty() || !strings("annotations", found).is_empty()
}

fn deadline_rules(spec: &Field<'_>, found: &mut Findings) {
    let deadline = spec.get("progressDeadlineSeconds");
    found.not_negative(&deadline);
    let seconds = deadline.int32(found).unwrap_or(600);
    let ready = spec.get("minReadySeconds");
    if seconds <= ready.int32(found).unwrap_or(0) {
        // Where the deadline is the default, the other number is what the user can see.
        let place = if deadline.is_set() { &deadline.place } else { &ready.place };
        let problem =
            Problem::invalid(&deadline.place, Value::from(seconds), "must be greater than minReadySeconds");
        found.rule(problem.at(place));
    }
}
