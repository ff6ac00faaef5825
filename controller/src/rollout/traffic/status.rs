//! What the status says about traffic: the weights asked for, whether they are verified, and what stands in the way.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Counted, Text, TrafficWeights, WeightDestination};
use tidegate_api::spec::Canary;

use super::super::conditions;
use super::super::draft::Draft;
use crate::routers::{Arm, Want};

/// Type of the condition that names what a router could not do.
pub const TROUBLE: &str = "TrafficRoutingError";

/// Services of the experiment arms that were written before.
pub fn recorded_arms(draft: &Draft<'_>) -> Vec<Text> {
    let weights = draft.observed.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    let additional = weights.and_then(|weights| weights.additional.as_ref());
    additional.into_iter().flatten().filter_map(|arm| arm.service.clone()).collect()
}

/// Whether other arms get a share now than the status says.
pub fn differ(draft: &Draft<'_>, arms: &[Arm]) -> bool {
    let weights = draft.observed.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    let recorded = weights.and_then(|weights| weights.additional.as_ref()).into_iter().flatten();
    let recorded = recorded.map(|arm| {
        let text = |text: &Option<Text>| text.clone().unwrap_or_default();
        let weight = arm.weight.map_or(0, |weight| weight.0);
        Arm { service: text(&arm.service), hash: text(&arm.hash), weight }
    });
    !recorded.eq(arms.iter().cloned())
}

/// What the status says about whether the recorded weights are in force.
pub fn recorded_verdict(draft: &Draft<'_>) -> Option<bool> {
    let weights = draft.observed.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    weights.and_then(|weights| weights.verified.as_ref()).and_then(|verified| verified.as_bool())
}

/// Whether the recorded weights are these.
pub fn is_recorded(draft: &Draft<'_>, spec: &Canary, want: &Want<'_>) -> bool {
    let recorded = draft.observed.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    recorded.is_some_and(|recorded| is_same(recorded, &weights_of(spec, want)))
}

/// Whether two weights are the same, verified or not.
fn is_same(one: &TrafficWeights, other: &TrafficWeights) -> bool {
    (&one.canary, &one.stable, &one.additional) == (&other.canary, &other.stable, &other.additional)
}

fn weights_of(spec: &Canary, want: &Want<'_>) -> TrafficWeights {
    let text = |text: &str| (!text.is_empty()).then(|| Text::from(text));
    let destination = |weight: i64, service: &str, hash: &str| WeightDestination {
        weight: Some(Counted(weight)),
        service: text(service),
        hash: text(hash),
        ..WeightDestination::default()
    };
    let arms: Vec<_> = want.arms.iter().map(|arm| destination(arm.weight, &arm.service, &arm.hash)).collect();
    let rest = want.whole - want.weight - want.arms.iter().map(|arm| arm.weight).sum::<i64>();
    TrafficWeights {
        canary: Some(destination(want.weight, &spec.canary_service, want.canary_hash)),
        stable: Some(destination(rest.max(0), &spec.stable_service, want.stable_hash)),
        additional: (!arms.is_empty()).then_some(arms),
        ..TrafficWeights::default()
    }
}

/// Records the weights that are asked for from now on.
pub fn record(draft: &mut Draft<'_>, spec: &Canary, want: &Want<'_>) {
    let mut weights = weights_of(spec, want);
    let before = draft.observed.canary.as_ref().and_then(|canary| canary.weights.clone());
    let differs = before.as_ref().is_none_or(|before| !is_same(before, &weights));
    if differs {
        let message = format!("Traffic weight updated {}", details(before.as_ref(), &weights));
        draft.tell_with_next_write("TrafficWeightUpdated", message);
    }
    // ARGO: stored whenever it changes (Q34).
    weights.verified = draft.traffic.verified.map(|verified| Arc::new(Value::Bool(verified)));
    draft.traffic.weights = Some(weights);
}

/// Leaves the recorded weights as they are, but for whether they are verified: what is held is what was recorded.
pub fn keep(draft: &mut Draft<'_>) {
    let recorded = draft.observed.canary.as_ref().and_then(|canary| canary.weights.clone());
    draft.traffic.weights = recorded.map(|mut weights| {
        weights.verified = draft.traffic.verified.map(|verified| Arc::new(Value::Bool(verified)));
        weights
    });
}

fn details(before: Option<&TrafficWeights>, after: &TrafficWeights) -> String {
    let weight = |weights: &TrafficWeights| {
        weights.canary.as_ref().and_then(|canary| canary.weight.as_ref()).map_or(0, |weight| weight.0)
    };
    let Some(before) = before else { return format!("to {}", weight(after)) };
    let mut parts = Vec::new();
    if weight(before) != weight(after) {
        parts.push(format!("from {} to {}", weight(before), weight(after)));
    }
    if before.additional != after.additional {
        let arms = after.additional.iter().flatten().map(|arm| {
            let weight = arm.weight.as_ref().map_or(0, |weight| weight.0);
            let text = |text: &Option<Text>| text.as_deref().unwrap_or("").to_owned();
            format!("{{{weight} {} {}}}", text(&arm.service), text(&arm.hash))
        });
        parts.push(format!("additional: [{}]", arms.collect::<Vec<_>>().join(" ")));
    }
    parts.join(", ")
}

/// Says in the status what a router could not do, or that nothing stands in the way any more.
// ARGO: the reference stores no status at all when a router fails, so that neither deadline nor abort are seen (Q1).
pub fn note_trouble(draft: &mut Draft<'_>) {
    let Some(trouble) = draft.traffic.trouble.clone() else {
        conditions::remove(&mut draft.status, TROUBLE);
        return;
    };
    let known = draft.status.condition(TROUBLE).and_then(|condition| condition.message.clone());
    let message = match &trouble.object {
        Some(key) => format!("{key}: {trouble}"),
        None => trouble.to_string(),
    };
    if known.as_deref() == Some(&*message) {
        return;
    }
    let reason = if trouble.is_missing { "NotFound" } else { "TrafficRoutingError" };
    let stamp = draft.stamp();
    conditions::renew(&mut draft.status, TROUBLE, "True", reason, &message, stamp);
    if let Some((reason, message)) = &trouble.event {
        draft.warn_with_status(reason, message.to_string());
    }
    draft.warn_with_status("TrafficRoutingError", trouble.to_string());
}
