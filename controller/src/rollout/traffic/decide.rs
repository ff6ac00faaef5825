//! Which share of the traffic the canary should have: a pure table, evaluated anew in every pass.

use tidegate_api::spec::{Canary, Step};
use tidegate_api::traffic::WHOLE;

use super::super::canary::{self, current_step};
use super::super::draft::Draft;
use super::super::routed;
use super::super::set::Set;
use crate::sabotage::Sabotage;

/// What the table says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Parts for the canary.
    pub weight: i64,
    /// Whether header and mirror routes may exist.
    pub keeps_routes: bool,
    /// Whether traffic stays with the version that the recorded weights name, though it is no longer the current one.
    pub stays_with_recorded: bool,
    /// Whether the arms of a running experiment get their share.
    pub has_arms: bool,
    /// Which row of the table it is, for the trail.
    pub because: &'static str,
}

/// Whether routers are left alone where they should not be.
pub fn is_blind(draft: &Draft<'_>, spec: &Canary) -> bool {
    let has_lived = draft.observed.condition("Healthy").is_some();
    let is_late = has_lived && recorded_weight(draft).is_none();
    let is_by_subset = draft.is_aborted() && spec.canary_service.is_empty();
    (is_by_subset && draft.facts.is_sabotaged(Sabotage::AbortByServices))
        || (is_late && draft.facts.is_sabotaged(Sabotage::RouterAtBirth))
}

/// The parts that make all of the traffic.
pub fn whole(spec: &Canary) -> i64 {
    spec.traffic_routing.as_ref().map_or(WHOLE, |routing| routing.whole())
}

/// The weight for the canary in this pass.
pub fn decide(draft: &Draft<'_>, spec: &Canary) -> Decision {
    let whole = whole(spec);
    let plain = |weight: i64, because: &'static str| Decision {
        weight: weight.clamp(0, whole),
        keeps_routes: true,
        stays_with_recorded: false,
        has_arms: false,
        because,
    };
    let bare = |weight, because| Decision { keeps_routes: false, ..plain(weight, because) };
    let available = draft.new_set().map_or(0, Set::available);
    if is_returning_to_stable(draft, spec) {
        return Decision {
            stays_with_recorded: true,
            ..bare(drained(draft, spec), "the stable version grows back first")
        };
    }
    if draft.is_fully_promoted() {
        return bare(0, "no update is under way");
    }
    if draft.is_aborted() {
        return bare(drained(draft, spec), "the update is aborted");
    }
    if available == 0 {
        return Decision { has_arms: true, ..bare(0, "the canary has no available pod") };
    }
    if draft.is_promoting_fully() {
        // ARGO: more canary pods than wished ones, or none wished, make the reference ask for more than everything (Q11, Q30).
        let weight = match (spec.dynamic_stable_scale, draft.n()) {
            (true, n) if n > 0 => parts(available, n, whole),
            (true, _) => whole,
            (false, _) => recorded_weight(draft).unwrap_or(0),
        };
        return bare(weight, "the update is promoted in full");
    }
    let Some(index) = draft.observed.index().filter(|_| !spec.steps.is_empty()) else {
        return plain(0, "a canary without steps moves no weight");
    };
    let index = usize::try_from(index).unwrap_or(0);
    let is_hasty = draft.facts.is_sabotaged(Sabotage::WeightBeforePods);
    if !is_hasty && !canary::is_at_desired_counts_without_weights(draft, spec) {
        let before = spec.steps.get(..index.min(spec.steps.len())).unwrap_or_default();
        let weight = last_weight(before).unwrap_or(0);
        if routed::is_bounded(draft) {
            // Few pods more than wished may exist, so weight and pods take turns on the way to the step.
            let goal = last_weight(spec.steps.get(..=index).unwrap_or(&spec.steps));
            let goal = if index >= spec.steps.len() { whole } else { goal.unwrap_or(0) };
            // What these pods can carry; how long they have been there is asked where the weight is allowed.
            let floor = if recorded_weight(draft).unwrap_or(0) >= weight { weight } else { 0 };
            let weight = goal.min(parts(available, draft.n(), whole)).max(floor);
            return Decision {
                has_arms: true,
                ..plain(weight, "pods for the step come as the surge allows")
            };
        }
        return Decision { has_arms: true, ..plain(weight, "pods for the step are not there yet") };
    }
    match current_step(draft, spec) {
        Some(index) => {
            let weight = last_weight(&spec.steps[..=index]).unwrap_or(0);
            Decision { has_arms: true, ..plain(weight, "the step says so") }
        }
        None => plain(whole, "all steps are done"),
    }
}

/// The weight of the last `setWeight` among these steps.
pub fn last_weight(steps: &[Step]) -> Option<i64> {
    steps.iter().rev().find_map(|step| step.weight)
}

/// The canary weight that the stored status records.
pub fn recorded_weight(draft: &Draft<'_>) -> Option<i64> {
    let weights = draft.observed.canary.as_ref()?.weights.as_ref()?;
    Some(weights.canary.as_ref()?.weight.map_or(0, |weight| weight.0))
}

/// The hash of the canary in the recorded weights; empty when there is none.
pub fn recorded_hash<'d>(draft: &'d Draft<'_>) -> &'d str {
    let weights = draft.observed.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    weights.and_then(|weights| weights.canary.as_ref()?.hash.as_deref()).unwrap_or("")
}

/// Whether the template went back to the stable one while the stable ReplicaSet had been made smaller: traffic stays where
/// it is until that has grown.
pub fn is_returning_to_stable(draft: &Draft<'_>, spec: &Canary) -> bool {
    let recorded = recorded_hash(draft);
    draft.is_fully_promoted()
        && spec.traffic_routing.is_some()
        && spec.dynamic_stable_scale
        && recorded_weight(draft).is_some()
        && draft.new_set().is_some_and(|new| recorded != new.hash() && new.available() < draft.n())
        // ARGO: once nothing flows to the other version there is nothing to wait for.
        && recorded_weight(draft) != Some(0)
}

/// `of` pods out of `n` as parts of the whole, rounded down.
pub fn parts(of: i64, n: i64, whole: i64) -> i64 {
    let exact = i128::from(of.max(0)) * i128::from(whole) / i128::from(n.max(1));
    i64::try_from(exact).unwrap_or(whole).clamp(0, whole)
}

/// So many parts of `n` pods, rounded up: the one rounding rule from weights to pods.
pub fn pods(weight: i64, n: i64, whole: i64) -> i64 {
    let (whole, product) = (i128::from(whole.max(1)), i128::from(weight.max(0)) * i128::from(n.max(0)));
    i64::try_from((product + whole - 1) / whole).unwrap_or(i64::MAX)
}

/// The weight on the way back to the stable version: none at once, unless that was made smaller and must grow first.
pub fn drained(draft: &Draft<'_>, spec: &Canary) -> i64 {
    if draft.facts.is_sabotaged(Sabotage::ReturnBeforePods) {
        return 0;
    }
    let (whole, n) = (whole(spec), draft.n());
    let (true, Some(stable), Some(_)) =
        (spec.dynamic_stable_scale && n > 0, draft.stable_set(), draft.new_set())
    else {
        return 0;
    };
    let carried = parts(stable.available(), n, whole);
    let expected = (whole - carried).max(0);
    let Some(current) = recorded_weight(draft) else { return expected.max(desired_weight(draft, spec)) };
    // ARGO: the reference leaves everybody on the version that is left until the stable one carries all that is to return
    // at first, and until it carries everything where the template went back. Here each pod of it takes its part back
    // after an abort, and also from pods that are gone (L5).
    let is_by_step = draft.facts.is_sabotaged(Sabotage::ReturnByStep);
    if is_by_step && carried < whole - desired_weight(draft, spec) {
        return current;
    }
    let takes_turns = routed::is_bounded(draft) || is_lost(draft, spec, current);
    let wanted = if takes_turns && !is_by_step { 0 } else { desired_weight(draft, spec) };
    expected.max(wanted).min(current)
}

/// Whether the version that the recorded weights name lacks pods for its share.
fn is_lost(draft: &Draft<'_>, spec: &Canary, recorded: i64) -> bool {
    let named = draft.sets.iter().find(|set| !set.hash().is_empty() && set.hash() == recorded_hash(draft));
    named.map_or(0, Set::available) < pods(recorded, draft.n(), whole(spec)).min(1)
}

/// The weight that sizes of a canary with a shrinking stable set are made for.
pub fn desired_weight(draft: &Draft<'_>, spec: &Canary) -> i64 {
    let whole = whole(spec);
    if !draft.is_aborted() {
        return match current_step(draft, spec) {
            Some(index) => last_weight(&spec.steps[..=index]).unwrap_or(0),
            None => whole,
        };
    }
    let (true, Some(new), Some(stable)) = (spec.dynamic_stable_scale, draft.new_set(), draft.stable_set())
    else {
        return 0;
    };
    // ARGO: pods that are gone hold nothing back: what still flows to them is lost (L5).
    if new.available() == 0 && !draft.facts.is_sabotaged(Sabotage::ReturnByStep) {
        return 0;
    }
    let missing = draft.n() - stable.available();
    let recorded = recorded_weight(draft).unwrap_or(0);
    let bound = match spec.abort_scale_down_delay_seconds {
        None => missing.max(new.available()),
        Some(0) if draft.facts.is_sabotaged(Sabotage::ReturnByStep) => missing.max(new.available()),
        // ARGO: the pods that a delay of 0 keeps serve no more than what is led to them (L5).
        Some(0) => missing.max(new.available().min(pods(recorded, draft.n(), whole))),
        Some(_) => missing,
    };
    let fits = |weight: &i64| pods(*weight, draft.n(), whole) < bound;
    spec.steps.iter().rev().filter_map(|step| step.weight).find(fits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors T9 and T10.
    #[test]
    fn weights_become_pods_rounded_up() {
        let rows = [(0, 0), (20, 2), (25, 3), (33, 4), (99, 10), (100, 10)];
        for (weight, want) in rows {
            assert_eq!(pods(weight, 10, 100), want, "{weight}");
        }
        assert_eq!(pods(100_000_000, 23, 100_000_000), 23);
        assert_eq!((parts(5, 0, 100), parts(3, 2, 100), parts(-1, 2, 100)), (100, 100, 0));
    }
}
