//! Rules about the strategy. Their paths lack the strategy's name, as in the reference; their places have it.

use serde_json::Value;

use super::field::{Field, Findings};
use super::numbers::int_or_percent;
use super::{canary, routing, steps};
use crate::problem::Problem;
use crate::spec::IntOrPercent;

const SAME_ACTIVE_AND_PREVIEW: &str = "This rollout uses the same service for the active and preview services, but \
                                       two different services are required.";
const HISTORY_BELOW_SCALE_DOWN: &str =
    "This rollout's revision history limit can not be smaller than the rollout's scale down limit";

/// Exactly one strategy, and its rules.
pub(super) fn rules(spec: &Field<'_>, found: &mut Findings) {
    let strategy = spec.get("strategy");
    let (canary, blue_green) = (strategy.get("canary"), strategy.get("blueGreen"));
    let path = format!("{}.strategy", strategy.place);
    match (canary.is_set(), blue_green.is_set()) {
        (false, false) => {
            let detail = "Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'";
            found.rule(Problem::required(path, detail).at(&strategy.place));
        }
        (true, true) => {
            let both = "blueGreen: true canary: true";
            let problem = Problem::invalid(path, both, "Multiple Strategies can not be listed");
            found.rule(problem.at(&strategy.place));
        }
        (true, false) => {
            canary::rules(&canary, found);
            steps::rules(&canary, found);
            routing::rules(&canary, found);
            anti_affinity(&canary.get("antiAffinity"), found);
        }
        (false, true) => blue_green_rules(spec, &blue_green, found),
    }
}

fn blue_green_rules(spec: &Field<'_>, blue_green: &Field<'_>, found: &mut Findings) {
    let (active, preview) = (blue_green.get("activeService"), blue_green.get("previewService"));
    let name = active.text(found).unwrap_or_default();
    if name == preview.text(found).unwrap_or_default() {
        found.rule(invalid_value(&active, name, SAME_ACTIVE_AND_PREVIEW));
    }
    let limit = blue_green.get("scaleDownDelayRevisionLimit");
    let history = spec.get("revisionHistoryLimit").int32(found).unwrap_or(10);
    if limit.int32(found).is_some_and(|limit| history < limit) {
        found.rule(invalid(&limit, HISTORY_BELOW_SCALE_DOWN));
    }
    anti_affinity(&blue_green.get("antiAffinity"), found);
    share(&blue_green.get("maxUnavailable"), found);
}

fn anti_affinity(field: &Field<'_>, found: &mut Findings) {
    if field.mapping(found).is_none() {
        return;
    }
    let preferred = field.get("preferredDuringSchedulingIgnoredDuringExecution");
    let required = field.get("requiredDuringSchedulingIgnoredDuringExecution");
    if preferred.is_set() == required.is_set() {
        let value = format!(
            "antiAffinity.PreferredDuringSchedulingIgnoredDuringExecution: {} \
             antiAffinity.RequiredDuringSchedulingIgnoredDuringExecution: {}",
            preferred.is_set(),
            required.is_set()
        );
        found.rule(invalid_value(field, value, "AntiAffinity must have exactly one strategy listed"));
    }
    let weight = preferred.get("weight");
    let given = weight.int32(found).unwrap_or(0);
    if preferred.is_set() && !(1..=100).contains(&given) {
        let path = format!("{}.weight", short(&field.place));
        let problem = Problem::invalid(path, given, "AntiAffinity weight must be between 1-100");
        found.rule(problem.at(&weight.place));
    }
}

/// Shares that no number can be read from, and negative ones. The reference takes them for 0 in silence.
pub(super) fn share(field: &Field<'_>, found: &mut Findings) {
    match int_or_percent(field.value) {
        IntOrPercent::Broken(_) => found.rule(invalid(field, "must be a number or a share such as 25%")),
        IntOrPercent::Int(n) | IntOrPercent::Percent(n) if n < 0 => {
            found.rule(invalid(field, "must be greater than or equal to 0"));
        }
        IntOrPercent::Int(_) | IntOrPercent::Percent(_) => {}
    }
}

/// The path without the strategy's name.
pub(super) fn short(place: &str) -> String {
    let place = place.replacen("spec.strategy.canary", "spec.strategy", 1);
    place.replacen("spec.strategy.blueGreen", "spec.strategy", 1)
}

/// A value that a rule of the strategy does not allow.
pub(super) fn invalid(field: &Field<'_>, detail: impl Into<String>) -> Problem {
    invalid_value(field, field.value.clone(), detail)
}

/// The same, shown with another value than the field has.
pub(super) fn invalid_value(
    field: &Field<'_>,
    value: impl Into<Value>,
    detail: impl Into<String>,
) -> Problem {
    Problem::invalid(short(&field.place), value, detail).at(&field.place)
}

/// A field that a rule of the strategy demands.
pub(super) fn required(field: &Field<'_>, detail: &str) -> Problem {
    Problem::required(short(&field.place), detail).at(&field.place)
}
