//! Requests and limits.

use serde_json::Value;

use super::super::field::{Field, Findings};
use super::super::names;
use crate::problem::Problem;

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
            Some(amount) if amount < 0 => {
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

/// A quantity in billionths; one beyond all bounds counts as the largest.
fn quantity(value: &Value) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (base, exponent) = scale(suffix)?;
    let digits = whole.chars().chain(fraction.chars());
    let mut amount: i128 = 0;
    for digit in digits.map(|c| i128::from(c.to_digit(10).unwrap_or(0))) {
        amount = amount.saturating_mul(10).saturating_add(digit);
    }
    let tens = 9 + exponent - i64::try_from(fraction.len()).ok()?;
    amount = amount.saturating_mul(base);
    for _ in 0..tens.unsigned_abs().min(60) {
        amount = if tens > 0 { amount.saturating_mul(10) } else { amount / 10 };
    }
    Some(sign * amount)
}

/// A suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i64)> {
    let binary = |power: u32| Some((1_i128 << (10 * power), 0));
    match suffix {
        "n" => Some((1, -9)),
        "u" => Some((1, -6)),
        "m" => Some((1, -3)),
        "" => Some((1, 0)),
        "k" => Some((1, 3)),
        "M" => Some((1, 6)),
        "G" => Some((1, 9)),
        "T" => Some((1, 12)),
        "P" => Some((1, 15)),
        "E" => Some((1, 18)),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
            Some((1, i64::from(exponent)))
        }
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
        for none in ["", "1x", "1.2.3", "m", "1 Gi"] {
            assert_eq!(quantity(&json!(none)), None, "{none}");
        }
        assert!(quantity(&json!("9e999999")) > quantity(&json!("1Ei")));
    }
}
