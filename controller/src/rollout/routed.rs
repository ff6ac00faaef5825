//! Sizes of a canary with traffic routing: the share of traffic is not the share of pods, so each side is made as large as
//! its share needs, and nothing shrinks before traffic has left.

use tidegate_api::object::TrafficWeights;
use tidegate_api::spec::{Canary, Step, StepKind};
use tidegate_api::traffic::CanaryScale;

use super::canary::current_step;
use super::draft::Draft;
use super::replicas;
use super::scale::{Limits, Split, is_enough};
use super::services::selected_hash;
use super::set::{Deadline, Set};
use super::traffic::decide::{desired_weight, pods, recorded_hash, recorded_weight, whole};
use super::traffic::handles;
use super::workload;
use crate::names::BOUNDED_SURGE;
use crate::plan::Reason;
use crate::routers::{Router, View, places};
use crate::sabotage::Sabotage;

/// The sizes of both sides for these recorded weights (of the stored status or of this pass; none = nothing is known).
pub fn sizes(draft: &Draft<'_>, spec: &Canary, weights: Option<&TrafficWeights>) -> Split {
    let (n, whole) = (draft.n(), whole(spec));
    let least = spec.min_pods_per_replica_set.unwrap_or(0).min(n);
    let floor = |count: i64| if count == 0 { 0 } else { count.max(least) };
    let everything =
        draft.is_promoting_fully() || draft.observed.stable_hash().is_empty() || draft.is_fully_promoted();
    let scale = explicit_scale(draft, spec).filter(|_| !everything);
    let weight = match &scale {
        _ if everything => whole,
        Some(CanaryScale { replicas: Some(_), .. }) => 0,
        Some(CanaryScale { weight: Some(weight), .. }) => *weight,
        _ => desired_weight(draft, spec),
    };
    let mut canary = match scale.and_then(|scale| scale.replicas) {
        Some(replicas) => replicas,
        // ARGO: a header route leads to a pod even at weight 0; in the reference it may lead to nothing (S1).
        None => floor(pods(weight, n, whole).max(i64::from(n > 0 && has_routes(draft, spec)))),
    };
    // What a Service leads to keeps a pod where a router answers nobody without.
    if canary == 0 && n > 0 && leads_to_canary(draft, spec) && asks_for_a_canary_pod(draft, spec) {
        canary = 1;
    }
    if !spec.dynamic_stable_scale {
        return Split { canary, stable: n };
    }
    let is_lost = has_lost_its_canary(draft);
    let mut stable = if is_lost { n } else { pods(whole - weight, n, whole) };
    if let Some(weights) = weights {
        let recorded = |side: &Option<tidegate_api::object::WeightDestination>| {
            side.as_ref().and_then(|side| side.weight.as_ref()).map_or(0, |weight| weight.0)
        };
        stable = stable.max(pods(recorded(&weights.stable), n, whole));
        if draft.is_aborted() {
            canary = canary.max(pods(recorded(&weights.canary), n, whole));
        } else if is_lost && is_bounded(draft) {
            // Its places are needed where its users go.
            canary = canary.min(pods(recorded(&weights.canary), n, whole));
        }
    }
    if draft.is_promoting_fully() && draft.facts.is_sabotaged(Sabotage::GrowTheLeaving) {
        stable += draft.stable_set().map_or(0, |set| set.wished() - set.available());
    }
    Split { canary: floor(canary), stable: floor(stable) }
}

/// Whether users are led to a canary without any pod: then a stable side that has shrunk grows back for them.
// ARGO: in the reference each side waits for the other until somebody aborts (L7).
fn has_lost_its_canary(draft: &Draft<'_>) -> bool {
    let Some(new) = draft.new_set().filter(|_| draft.new != draft.stable) else { return false };
    new.available() == 0
        && !draft.facts.is_sabotaged(Sabotage::ReturnByStep)
        && recorded_weight(draft).is_some_and(|weight| weight > 0)
        && recorded_hash(draft) == new.hash()
}

/// The `setCanaryScale` in force: the last one at or before the current step, unless that says that the size follows the
/// weight again.
fn explicit_scale(draft: &Draft<'_>, spec: &Canary) -> Option<CanaryScale> {
    if draft.is_aborted() {
        return None;
    }
    let index = current_step(draft, spec)?;
    let scale = spec.steps[..=index].iter().rev().find_map(scale_of)?;
    let says_something = scale.replicas.is_some() || scale.weight.is_some();
    (!scale.matches_weight && says_something).then_some(scale)
}

/// Whether the user chose a size for the canary himself, however small.
pub fn has_explicit_scale(draft: &Draft<'_>, spec: &Canary) -> bool {
    explicit_scale(draft, spec).is_some()
}

fn scale_of(step: &Step) -> Option<CanaryScale> {
    if let StepKind::SetCanaryScale(scale) = &step.kind {
        return Some(scale.clone());
    }
    let raw = step.raw.get("setCanaryScale")?;
    Some(CanaryScale {
        replicas: raw["replicas"].as_i64(),
        weight: raw["weight"].as_i64(),
        matches_weight: raw["matchTrafficWeight"].as_bool().unwrap_or(false),
    })
}

/// Whether the pods of all versions stay within `replicas` and `maxSurge`, as an annotation may ask.
pub fn is_bounded(draft: &Draft<'_>) -> bool {
    let asked = draft.rollout().meta.annotations.get(BOUNDED_SURGE);
    asked.is_some_and(|value| &**value == "true")
}

/// A strategy in whose stead one with a bounded surge goes: its stable side shrinks as the canary's grows.
pub fn with_bounded_surge(spec: &mut Canary) {
    spec.dynamic_stable_scale |= spec.traffic_routing.is_some();
}

/// The size that a side may have now: what it has, and what the surge leaves room for. Where `maxSurge` is 0 one pod
/// may surge, or nothing could move.
fn within_surge(draft: &Draft<'_>, spec: &Canary, index: usize, size: i64) -> i64 {
    if !is_bounded(draft) || draft.facts.is_sabotaged(Sabotage::SurgeAtWill) {
        return size;
    }
    let wished = draft.sets[index].wished();
    let most = draft.n() + Limits::of_canary(spec, draft.n()).surge.max(1);
    let room = most - draft.sum(|set| set.wished().max(set.actual()));
    size.min(wished + room.max(0))
}

/// Whether pods stand as the current step wants them, with the sizes for these weights.
pub fn is_at_desired_counts(draft: &Draft<'_>, spec: &Canary, weights: Option<&TrafficWeights>) -> bool {
    let goal = sizes(draft, spec, weights);
    let stable_fits = spec.dynamic_stable_scale
        || draft
            .stable_set()
            .is_none_or(|stable| stable.wished() == goal.stable && stable.actual() == goal.stable);
    let is_complete = |stable: &Set| stable.wished() == goal.stable && stable.available() == goal.stable;
    let stable_fits = match draft.facts.is_sabotaged(Sabotage::WaitForStable) {
        true => draft.stable_set().is_some_and(is_complete),
        false => stable_fits,
    };
    is_enough(spec.threshold, draft.new_set().map(Set::count), goal.canary) && stable_fits
}

/// Changes sizes, one ReplicaSet in a pass: the stable one, the new one, then older ones.
pub fn resize(draft: &mut Draft<'_>, spec: &Canary) {
    let delay = replicas::abort_delay(draft);
    replicas::clear_deadlines(draft, delay.is_some());
    let weights = draft.observed.canary.as_ref().and_then(|canary| canary.weights.clone());
    let Split { mut canary, stable } = sizes(draft, spec, weights.as_ref());
    if draft.facts.is_sabotaged(Sabotage::AbortStable) && draft.observed.is_aborted() {
        canary = 0;
    }
    if let Some(index) = draft.stable.filter(|stable| Some(*stable) != draft.new) {
        let goes = draft.facts.is_sabotaged(Sabotage::AbortStable) && draft.observed.is_aborted();
        let target = if goes { 0 } else { bounded(draft, spec, index, stable) };
        let target = within_surge(draft, spec, index, target);
        if draft.scale(index, target, false, "its share of the traffic") {
            return;
        }
    }
    if let Some(index) = draft.new {
        let before = draft.sets[index].wished();
        if resize_new(draft, spec, index, canary, delay) {
            workload::retire_progressively(draft, before, canary);
            return;
        }
        workload::retire_progressively(draft, before, canary);
    }
    drain_others(draft, spec);
}

fn resize_new(draft: &mut Draft<'_>, spec: &Canary, index: usize, size: i64, delay: Option<i64>) -> bool {
    let wished = draft.sets[index].wished();
    let is_aborted_update = draft.is_aborted() && draft.stable.is_some() && draft.stable != draft.new;
    // A bounded surge gives the stable side the places of an aborted version, whose delay is for what is left then.
    let gives_way = is_bounded(draft) && draft.stable_set().is_some_and(|stable| stable.wished() < draft.n());
    if is_aborted_update && !gives_way {
        let keeps =
            spec.abort_scale_down_delay_seconds == Some(0) && !draft.facts.is_sabotaged(Sabotage::ZeroIsNow);
        // INVARIANT: S15, an aborted version never grows; a delay of 0 keeps what there is.
        // ARGO: the reference keeps it only where the first step is a setCanaryScale (Q13).
        if keeps {
            replicas::note_desired(draft, index);
            return false;
        }
        if let Some(delay) = delay {
            return resize_aborted(draft, spec, index, delay, size.min(wished));
        }
    }
    let size = if is_aborted_update { size.min(wished) } else { size };
    let target = match has_explicit_scale(draft, spec) {
        // A user who asks for fewer pods than the share needs is given them (S2, S3), but never none.
        true if size > 0 => size,
        _ => bounded(draft, spec, index, size),
    };
    let target = within_surge(draft, spec, index, target);
    if draft.traffic.trouble.is_some() && target > wished {
        draft.because(Reason::WaitingFor("routers before the canary grows".into()));
        return false;
    }
    draft.scale(index, target, false, "its share of the traffic")
}

/// An aborted version is kept for a while once traffic has left it and the stable version is complete.
fn resize_aborted(draft: &mut Draft<'_>, spec: &Canary, index: usize, delay: i64, size: i64) -> bool {
    match draft.sets[index].deadline() {
        Deadline::Unreadable => {
            let target = bounded(draft, spec, index, size);
            draft.scale(index, target, true, "its update was aborted")
        }
        Deadline::At(at) if at.time() > draft.now => {
            replicas::note_desired(draft, index);
            replicas::wait_for_deadline(draft, index, at);
            false
        }
        Deadline::At(_) => {
            let keeps = draft.facts.is_sabotaged(Sabotage::KeepOwnSize);
            let own = spec.steps.iter().find_map(scale_of).and_then(|scale| scale.replicas);
            let target = bounded(draft, spec, index, own.filter(|_| keeps).unwrap_or(0));
            draft.scale(index, target, true, "its update was aborted")
        }
        Deadline::None => {
            replicas::note_desired(draft, index);
            let stable = draft.stable_set().map_or(0, Set::available);
            let is_hasty = draft.facts.is_sabotaged(Sabotage::CountFromAbort);
            let is_left = is_hasty || (stable >= draft.n() && is_abandoned(draft));
            if draft.sets[index].wished() > 0 && is_left {
                let delay = if is_hasty { delay } else { delay + until_in_force(draft) };
                replicas::set_deadline(draft, index, delay);
            }
            false
        }
    }
}

/// `size`, or as many pods as what may still flow to this ReplicaSet needs.
fn bounded(draft: &mut Draft<'_>, spec: &Canary, index: usize, size: i64) -> i64 {
    let wished = draft.sets[index].wished();
    if size >= wished || draft.facts.is_sabotaged(Sabotage::ShrinkBeforeWeight) {
        return size;
    }
    if !draft.traffic.is_in_force {
        draft.because(Reason::WaitingFor(
            format!("traffic to have left before {} shrinks", draft.sets[index].name()).into(),
        ));
        return wished;
    }
    size.max(fewest(draft, spec, index)).min(wished)
}

/// Whether all routers were told to send nothing to the canary, and none that can tell denies it.
fn is_abandoned(draft: &Draft<'_>) -> bool {
    draft.traffic.weight.unwrap_or(0) == 0 && is_told(draft)
}

/// Whether routers could do what was asked of them, and none that can tell says that it is not in force.
fn is_told(draft: &Draft<'_>) -> bool {
    draft.traffic.trouble.is_none() && draft.traffic.verified != Some(false)
}

/// Seconds until what was asked of routers is in force: a delay begins when the last request has been led away (S7).
fn until_in_force(draft: &Draft<'_>) -> i64 {
    if draft.traffic.is_in_force { 0 } else { draft.world.settings.propagation.whole_seconds_up() }
}

/// The fewest pods that a ReplicaSet must keep for what may flow to it.
fn fewest(draft: &Draft<'_>, spec: &Canary, index: usize) -> i64 {
    let hash = draft.sets[index].hash();
    let (n, whole) = (draft.n(), whole(spec));
    let (to_canary, to_stable) = (draft.traffic.most, whole - draft.traffic.least);
    let selects = |side: handles::Side| {
        let names = handles::services_of(draft, spec, side);
        names
            .iter()
            .any(|name| draft.services.get(name).is_some_and(|service| selected_hash(service) == hash))
    };
    let named: Vec<_> = routers_of(draft, spec, |router, view| router.names_hashes(view));
    let is_named = named.iter().any(|name| &**name == hash);
    let is_stable = draft.stable == Some(index);
    let mut share = 0;
    if selects(handles::Side::Canary) || (is_named && !is_stable) {
        share += to_canary;
    }
    let leads_stable = selects(handles::Side::Stable) || (is_named && is_stable);
    if leads_stable {
        share += to_stable;
    }
    let primary = routers_of(draft, spec, |router, _| vec![router.needs_a_stable_pod()]).contains(&true);
    // The last pods of a stable side that shrinks for the sake of a bounded surge go when its Service has moved.
    let primary = (primary && !draft.facts.is_sabotaged(Sabotage::ShrinkPrimary)) || is_bounded(draft);
    let is_new = draft.new == Some(index);
    let header = is_new && has_routes(draft, spec);
    // The canary Service leaves an aborted version before that goes.
    let beside = is_new
        && !is_stable
        && selects(handles::Side::Canary)
        && (draft.is_aborted() || asks_for_a_canary_pod(draft, spec));
    let need = pods(share.min(whole), n, whole);
    if (leads_stable && primary) || header || beside { need.max(1.min(n)) } else { need }
}

/// Whether the canary Service leads to a current version that is not the stable one.
fn leads_to_canary(draft: &Draft<'_>, spec: &Canary) -> bool {
    let Some(new) = draft.new.filter(|_| draft.new != draft.stable && !draft.is_aborted()) else {
        return false;
    };
    let names = handles::services_of(draft, spec, handles::Side::Canary);
    let hash = draft.sets[new].hash();
    names.iter().any(|name| draft.services.get(name).is_some_and(|service| selected_hash(service) == hash))
}

fn asks_for_a_canary_pod(draft: &Draft<'_>, spec: &Canary) -> bool {
    routers_of(draft, spec, |router, _| vec![router.needs_a_canary_pod()]).contains(&true)
}

/// Whether header or mirror routes lead to the canary, whatever its weight.
fn has_routes(draft: &Draft<'_>, spec: &Canary) -> bool {
    !super::traffic::routes_of_steps(draft, spec).is_empty()
}

fn routers_of<T>(
    draft: &Draft<'_>,
    spec: &Canary,
    ask: impl Fn(&'static dyn Router, &View<'_>) -> Vec<T>,
) -> Vec<T> {
    let world = draft.world;
    let routers = places(&world.rollout, spec, &world.settings).map(|(router, _)| router);
    routers.zip(super::traffic::views(draft, spec)).flat_map(|(router, view)| ask(router, &view)).collect()
}

/// Whether anything still names this ReplicaSet: status, recorded weights, Services, subsets.
pub fn is_referenced(draft: &Draft<'_>, spec: &Canary, index: usize) -> bool {
    let hash = draft.sets[index].hash();
    if hash.is_empty() {
        return false;
    }
    let weights = draft.observed.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    let recorded = weights.into_iter().flat_map(|weights| [&weights.canary, &weights.stable]);
    let recorded = recorded.flatten().any(|side| side.hash.as_deref() == Some(hash));
    recorded
        || replicas::is_referenced(draft, index)
        || routers_of(draft, spec, |router, view| router.names_hashes(view))
            .iter()
            .any(|name| &**name == hash)
}

/// Older ReplicaSets go once nothing names them and nothing flows to them, after their delay.
// ARGO: the reference takes the pods of an interrupted update away at once (S7).
// ARGO: pods that are not available are not taken from a ReplicaSet that is still named (Q25).
fn drain_others(draft: &mut Draft<'_>, spec: &Canary) {
    if draft.facts.is_sabotaged(Sabotage::KeepSuperseded) {
        return;
    }
    let delay = spec.scale_down_delay_seconds.unwrap_or(replicas::DEFAULT_DELAY);
    let mut counted = 0;
    let n = draft.n();
    let mut room =
        draft.sum(|set| set.available().min(set.wished())) - (n - Limits::of_canary(spec, n).missing(n));
    for index in replicas::others_by_revision(draft) {
        if is_referenced(draft, spec, index) && !draft.facts.is_sabotaged(Sabotage::DrainReferenced) {
            // Within a bounded surge its pods make room for those to which its users go.
            if is_bounded(draft) {
                let target = bounded(draft, spec, index, 1.min(draft.sets[index].wished()));
                draft.scale(index, target, false, "its share of the traffic");
            }
            continue;
        }
        let set = draft.sets[index].clone();
        if room <= 0 && set.available() > 0 {
            draft.because(Reason::WaitingFor("available pods before older revisions shrink".into()));
            continue;
        }
        if !is_told(draft) {
            draft.because(Reason::WaitingFor(format!("routers before {} goes", set.name()).into()));
            continue;
        }
        if draft.traffic.is_unregistered && set.deadline() == Deadline::None {
            let what = format!("target groups to know the stable pods before {} goes", set.name());
            draft.because(Reason::WaitingFor(what.into()));
            continue;
        }
        let delay = delay + if delay > 0 { until_in_force(draft) } else { 0 };
        let is_hasty = draft.facts.is_sabotaged(Sabotage::DrainReferenced);
        let is_dropped = draft.facts.is_sabotaged(Sabotage::DropSuperseded) && !draft.is_fully_promoted();
        // With `dynamicStableScale` nobody may ask for a delay; with a bounded surge somebody may.
        let is_undelayed = spec.dynamic_stable_scale && spec.scale_down_delay_seconds.is_none();
        let size = if is_undelayed || is_hasty || is_dropped {
            0
        } else {
            let limit = spec.scale_down_delay_revision_limit;
            replicas::delayed_size(draft, index, delay, limit, set.wished(), &mut counted)
        };
        if size < set.wished() && !draft.traffic.is_in_force && !is_hasty {
            let what = format!("traffic to have left before {} goes", set.name());
            draft.because(Reason::WaitingFor(what.into()));
            continue;
        }
        if draft.scale(index, size, false, "its version is no longer used") {
            room -= set.available();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;
    use std::sync::Arc;

    use serde_json::{Value, json};
    use tidegate_api::object::{Key, Kind, Object};
    use tidegate_api::time::Time;

    use crate::cache::Cache;
    use crate::world::{Facts, RolloutWorld};

    /// Sizes of canary and stable side of ten pods, aborted at this recorded weight, with no ReplicaSet at all.
    fn sizes_of_an_abort(steps: &Value, weight: i64) -> Split {
        let recorded = json!({"canary": {"weight": weight}, "stable": {"weight": 100 - weight}});
        let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1"},
            "spec": {"replicas": 10, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
                "strategy": {"canary": {"stableService": "s", "canaryService": "c", "dynamicStableScale": true,
                    "trafficRouting": {"smi": {}}, "steps": steps}}},
            "status": {"abort": true, "stableRS": "v1", "currentPodHash": "v2", "currentStepIndex": 0,
                "canary": {"weights": recorded}}});
        let mut cache = Cache::default();
        cache.put(Arc::new(Object::from_value(rollout).expect("an object")), Time(0));
        let world =
            RolloutWorld::gather(&cache, &Key::new(Kind::Rollout, "shop", "web")).expect("it is there");
        let (facts, body) = (Facts::default(), world.rollout.rollout().expect("a Rollout").clone());
        let spec = body.spec.spec();
        let draft = Draft::new(&world, &facts, Time(0), Cow::Borrowed(spec), Vec::new());
        let weights = body.status.canary.as_ref().and_then(|canary| canary.weights.clone());
        sizes(&draft, spec.canary().expect("a canary"), weights.as_ref())
    }

    /// Vectors T13, T14 and T18.
    #[test]
    fn sizes_of_an_abort_without_replica_sets() {
        let split = |canary, stable| Split { canary, stable };
        assert_eq!(sizes_of_an_abort(&json!([{"setWeight": 20}, {"pause": {}}]), 20), split(2, 10));
        assert_eq!(sizes_of_an_abort(&json!([{"setWeight": 10}, {"pause": {}}]), 10), split(1, 10));
        assert_eq!(sizes_of_an_abort(&json!([{"setWeight": 20}, {"setWeight": 60}]), 60), split(6, 10));
    }
}
