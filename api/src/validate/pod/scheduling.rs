//! Where pods may run: tolerations, affinity, topology spread.

use std::collections::BTreeSet;

use super::super::field::{Field, Findings};
use super::super::{names, rollout};
use crate::problem::Problem;

const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Tolerations.
pub(super) fn tolerations(field: &Field<'_>, found: &mut Findings) {
    for toleration in field.mappings(found) {
        let (key, operator) = (toleration.get("key"), toleration.get("operator"));
        let (effect, value) =
            (toleration.get("effect"), toleration.get("value").text(found).unwrap_or_default());
        let has_key = !key.text(found).unwrap_or_default().is_empty();
        if has_key {
            rollout::label_name(&key, found);
        }
        let operator_text = operator.text(found).unwrap_or_default();
        if !has_key && operator_text != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            found.rule(Problem::invalid(&operator.place, operator_text, detail));
        }
        let effect_text = effect.text(found).unwrap_or_default();
        if toleration.get("tolerationSeconds").int64(found).is_some() && effect_text != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            found.rule(Problem::invalid(&effect.place, effect_text, detail));
        }
        match operator_text {
            "" | "Equal" => {
                let wrong = names::label_value(value);
                if !wrong.is_empty() {
                    found.rule(Problem::invalid(&operator.place, value, wrong.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                found.rule(Problem::invalid(&operator.place, value, detail));
            }
            "Exists" => {}
            other => found.not_supported(&operator, other, &["Equal", "Exists"]),
        }
        found.one_of(&effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    }
}

/// Affinity to nodes and pods.
pub(super) fn affinity(field: &Field<'_>, found: &mut Findings) {
    field.mapping(found);
    let node = field.get("nodeAffinity");
    let required = node.get(REQUIRED);
    if required.mapping(found).is_some() {
        let terms = required.get("nodeSelectorTerms");
        let all = terms.mappings(found);
        if all.is_empty() {
            found.required(&terms, "must have at least one node selector term");
        }
        all.iter().for_each(|term| node_term(term, true, found));
    }
    for term in node.get(PREFERRED).mappings(found) {
        weight(&term.get("weight"), found);
        node_term(&term.get("preference"), false, found);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let pods = field.get(name);
        for term in pods.get(REQUIRED).mappings(found) {
            pod_term(&term, found);
        }
        for term in pods.get(PREFERRED).mappings(found) {
            weight(&term.get("weight"), found);
            pod_term(&term.get("podAffinityTerm"), found);
        }
    }
}

fn weight(field: &Field<'_>, found: &mut Findings) {
    let weight = field.int32(found).unwrap_or(0);
    if !(1..=100).contains(&weight) {
        found.rule(Problem::invalid(&field.place, weight, "must be in the range 1-100"));
    }
}

fn node_term(term: &Field<'_>, judge_values: bool, found: &mut Findings) {
    for requirement in term.get("matchExpressions").mappings(found) {
        let (operator, values) = (requirement.get("operator"), requirement.get("values"));
        let items = values.list(found);
        match operator.text(found).unwrap_or_default() {
            "In" | "NotIn" if items.is_empty() => {
                found.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !items.is_empty() => {
                found
                    .forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Gt" | "Lt" if items.len() != 1 => {
                found.required(&values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => {
                let problem = Problem::invalid(&operator.place, other, "not a valid selector operator");
                found.rule(problem);
            }
        }
        rollout::label_name(&requirement.get("key"), found);
        for item in items {
            let text = item.text(found).unwrap_or_default();
            if judge_values {
                found.invalid_each(&item, names::label_value(text));
            }
        }
    }
}

fn pod_term(term: &Field<'_>, found: &mut Findings) {
    rollout::label_selector(&term.get("labelSelector"), found);
    rollout::label_selector(&term.get("namespaceSelector"), found);
    for namespace in term.get("namespaces").list(found) {
        let name = namespace.text(found).unwrap_or_default();
        let path = format!("{}.namespace", term.place);
        for detail in names::dns_label(name) {
            found.rule(Problem::invalid(&path, name, detail).at(&namespace.place));
        }
    }
    let key = term.get("topologyKey");
    if key.text(found).unwrap_or_default().is_empty() {
        found.required(&key, "can not be empty");
    }
    rollout::label_name(&key, found);
}

/// Gates that hold pods back.
pub(super) fn gates(field: &Field<'_>, found: &mut Findings) {
    let mut taken = BTreeSet::new();
    for gate in field.mappings(found) {
        let name = gate.get("name").text(found).unwrap_or_default();
        for detail in names::qualified_name(name) {
            found.rule(Problem::invalid(&gate.place, name, detail));
        }
        if !taken.insert(name) {
            found.duplicate(&gate, name);
        }
    }
}

/// Topology spread constraints.
pub(super) fn topology_spread(field: &Field<'_>, found: &mut Findings) {
    let mut seen = Vec::new();
    for constraint in field.mappings(found) {
        let skew = constraint.get("maxSkew");
        let given = skew.int32(found).unwrap_or(0);
        if given <= 0 {
            found.rule(Problem::invalid(&skew.place, given, "must be greater than zero"));
        }
        let (key, action) = (constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        if key.text(found).unwrap_or_default().is_empty() {
            found.required(&key, "can not be empty");
        } else {
            rollout::label_name(&key, found);
        }
        let action_text = action.text(found).unwrap_or_default();
        if !matches!(action_text, "DoNotSchedule" | "ScheduleAnyway") {
            found.not_supported(&action, action_text, &["DoNotSchedule", "ScheduleAnyway"]);
        }
        let pair = (key.value.clone(), action.value.clone());
        if seen.contains(&pair) {
            let path = format!("{}.{{topologyKey, whenUnsatisfiable}}", constraint.place);
            let value = format!("{{{}, {action_text}}}", key.value.as_str().unwrap_or_default());
            let problem = Problem::new(path, crate::problem::ProblemKind::Duplicate(value.into()), "");
            found.rule(problem.at(&constraint.place));
        }
        seen.push(pair);
        let domains = constraint.get("minDomains");
        if let Some(count) = domains.int32(found) {
            if count <= 0 {
                found.invalid(&domains, "must be greater than zero");
            }
            if action_text != "DoNotSchedule" {
                let detail =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action_text}");
                found.invalid(&domains, detail);
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            found.one_of(&constraint.get(policy), &["Ignore", "Honor"]);
        }
        rollout::label_selector(&constraint.get("labelSelector"), found);
    }
}
