//! What a set of pods can carry. One predicate for steps, weights, selectors and sizes, with one rounding rule.

use tidegate_api::spec::Canary;
use tidegate_api::traffic::WHOLE;

use super::super::draft::Draft;
use super::super::scale::{Count, is_enough};
use super::decide::{pods, whole};
use crate::sabotage::Sabotage;

/// Pods that a ReplicaSet had available all through the propagation time: load balancers know them.
pub fn steadily_available(draft: &Draft<'_>, index: usize) -> i64 {
    let set = &draft.sets[index];
    let moments = draft.world.moments.get(&set.object().key());
    let stretch = draft.world.settings.propagation;
    moments.map_or(0, |moments| moments.steadily_available(draft.now, stretch)).min(set.available())
}

/// Whether a ReplicaSet can carry so many parts of the traffic with pods that load balancers know.
pub fn can_carry(draft: &Draft<'_>, spec: &Canary, index: usize, weight: i64) -> bool {
    carries(draft, spec, index, weight, steadily_available(draft, index))
}

/// The same by pods that have just become available.
pub fn will_carry(draft: &Draft<'_>, spec: &Canary, index: usize, weight: i64) -> bool {
    carries(draft, spec, index, weight, draft.sets[index].available())
}

fn carries(draft: &Draft<'_>, spec: &Canary, index: usize, weight: i64, available: i64) -> bool {
    let whole = match draft.facts.is_sabotaged(Sabotage::HundredIsWhole) {
        true => WHOLE,
        false => whole(spec),
    };
    let need = pods(weight, draft.n(), whole);
    if need == 0 || available >= need {
        return true;
    }
    let count = Count { wished: draft.sets[index].wished(), available };
    available > 0 && spec.threshold.is_some() && is_enough(spec.threshold, Some(count), need)
}

/// The most parts of the traffic that a ReplicaSet can carry.
pub fn carried(draft: &Draft<'_>, spec: &Canary, index: usize) -> i64 {
    let whole = whole(spec);
    if can_carry(draft, spec, index, whole) {
        return whole;
    }
    super::decide::parts(steadily_available(draft, index), draft.n(), whole)
}
