//! Requests and limits.

use serde_json::Value;

use super::super::field::{Field, Findings};
use super::super::names;
use crate::problem::Problem;
use crate::quantity::Quantity;

/// Applies the rules to the resources of a container.
pub(super) fn rules(resources: &Field<'_>, found: &mut Findings) {
    if resources.mapping(found).is_none() {
        return;
    }
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    list(&limits, found);
    list(&requests, found);
    let Some(requested) = requests.value.as_object() else { return };
    for (name, value) in requested {
        let limit = limits.key(name);
        let may_differ = may_be_overcommitted(name);
        if !limit.is_set() {
            if !may_differ {
                let path = &limits.place;
                let detail = "Limit must be set for non overcommitable resources";
                found.rule(Problem::required(path, detail).at(requests.key(name).place));
            }
            continue;
        }
        let (Some(wanted), Some(most)) = (quantity(value), quantity(limit.value)) else { continue };
        let rule = match may_differ {
            false if wanted != most => "must be equal to",
            true if wanted > most => "must be less than or equal to",
            _ => continue,
        };
        let detail = format!("{rule} {name} limit of {}", written(limit.value));
        found.rule(Problem::invalid(&requests.place, written(value), detail).at(requests.key(name).place));
    }
}

/// Applies the rules to a list of resources: their names, and quantities that are not negative.
pub(super) fn list(field: &Field<'_>, found: &mut Findings) {
    let Some(map) = field.mapping(found) else { return };
    for (name, value) in map {
        let entry = field.key(name);
        for detail in resource_name(name) {
            found.rule(Problem::invalid(&entry.place, name.as_str(), detail));
        }
        match quantity(value) {
            Some(amount) if amount.is_negative() => {
                let detail = "must be greater than or equal to 0";
                found.rule(Problem::invalid(&entry.place, written(value), detail));
            }
            Some(_) => {}
            None => {
                let detail = "quantities must match the regular expression \
                              '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
                found.wrong_type::<()>(&entry, detail);
            }
        }
    }
}

fn resource_name(name: &str) -> Vec<String> {
    let wrong = names::qualified_name(name);
    if !wrong.is_empty() {
        return wrong;
    }
    let standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !name.contains('/') && !standard {
        return vec!["must be a standard resource for containers".to_owned()];
    }
    Vec::new()
}

fn may_be_overcommitted(name: &str) -> bool {
    (!name.contains('/') || name.contains("kubernetes.io/")) && !name.starts_with("hugepages-")
}

fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_compare_by_what_they_mean() {
        for (one, other) in [
            (json!("1000m"), json!(1)),
            (json!("1Gi"), json!("1024Mi")),
            (json!("1e3"), json!("1k")),
            (json!("0.5"), json!("500m")),
            (json!(1.5), json!("1500m")),
        ] {
            assert_eq!(quantity(&one), quantity(&other), "{one} {other}");
            assert!(quantity(&one).is_some());
        }
        assert!(quantity(&json!("-1")) < quantity(&json!("1n")));
        for none in ["", "1x", "1.2.3", "1 Gi"] {
            assert_eq!(quantity(&json!(none)), None, "{none}");
        }
        assert!(quantity(&json!("9e999")) > quantity(&json!("1Ei")));
    }
}
