//! What leads to pods: Services and subsets. Where each of them points, and when it may point elsewhere.

use tidegate_api::object::{Key, Text};
use tidegate_api::spec::Canary;

use super::super::draft::Draft;
use super::super::services::{selected_hash, switch};
use super::capacity::can_carry;
use super::decide::{Decision, is_returning_to_stable, recorded_hash, whole};
use crate::names::MANAGED_BY;
use crate::plan::Reason;
use crate::routers::{Place, Router};
use crate::sabotage::Sabotage;

/// One of the two sides of a canary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The version that users have had.
    Stable,
    /// The version on trial.
    Canary,
}

/// The Services of one side: the plain one, and the one of the pair that plays this role.
pub fn services_of(draft: &Draft<'_>, spec: &Canary, side: Side) -> Vec<Text> {
    let is_stable = side == Side::Stable;
    let plain = if is_stable { &spec.stable_service } else { &spec.canary_service };
    let pair = paired(draft, spec, side);
    let leaves_plain = pair.is_some() && draft.facts.is_sabotaged(Sabotage::FollowThePair);
    let plain = Some(plain.clone()).filter(|_| !leaves_plain);
    plain.into_iter().chain(pair).filter(|name| !name.is_empty()).collect()
}

/// The Service of the pair that plays this role.
fn paired(draft: &Draft<'_>, spec: &Canary, side: Side) -> Option<Text> {
    let pair = spec.ping_pong.as_ref()?;
    let status = draft.observed.canary.as_ref();
    let ping_is_stable = status.is_some_and(|status| status.stable_ping_pong.as_deref() == Some("ping"));
    let wants_ping = ping_is_stable == (side == Side::Stable);
    Some(if wants_ping { pair.ping.clone() } else { pair.pong.clone() })
}

/// The ReplicaSet of one side.
fn set_of(draft: &Draft<'_>, side: Side) -> Option<usize> {
    match side {
        Side::Stable => draft.stable,
        Side::Canary => draft.new,
    }
}

/// Points Services at their ReplicaSets, each where that is safe now.
pub fn follow(draft: &mut Draft<'_>, spec: &Canary) {
    let parts = whole(spec);
    let (most, least) = (draft.traffic.most, draft.traffic.least);
    for name in services_of(draft, spec, Side::Stable) {
        point(draft, spec, &name, draft.stable, parts - least, true);
    }
    if let Some(name) = paired(draft, spec, Side::Canary) {
        // ARGO: the reference leaves the idle Service of the pair on the old pods when it takes them away (S8, Q35); here it
        // follows the stable version once nothing flows through it.
        match draft.is_fully_promoted() {
            true if most > 0 || !draft.traffic.is_in_force => {}
            true => point(draft, spec, &name, draft.stable, most, true),
            false => point(draft, spec, &name, draft.new, most, false),
        }
    }
    // ARGO: the reference points it at the canary and back at the stable pods in every pass of an abort (Q4, Q14).
    let target = match draft.is_aborted() {
        true if draft.facts.is_sabotaged(Sabotage::FlapAfterAbort) => flapped(draft, &spec.canary_service),
        true if draft.facts.is_sabotaged(Sabotage::LeaveOnAborted) => None,
        true if most == 0 && draft.traffic.is_in_force => draft.stable,
        true => None,
        false if is_returning_to_stable(draft, spec) => None,
        false => draft.new,
    };
    point(draft, spec, &spec.canary_service, target, most, true);
}

/// The side on which a Service is not: what two halves of a pass make of it that each have a rule of their own.
fn flapped(draft: &Draft<'_>, name: &Text) -> Option<usize> {
    let stable = draft.stable?;
    let selects_stable = selected_hash(draft.services.get(name)?) == draft.sets[stable].hash();
    if selects_stable { draft.new } else { Some(stable) }
}

/// Points a Service at a ReplicaSet that can carry what may flow through it. Before the first adoption the Service may
/// select pods of every version, so that all of them must be available.
fn point(
    draft: &mut Draft<'_>,
    spec: &Canary,
    name: &Text,
    target: Option<usize>,
    share: i64,
    needs_pods: bool,
) {
    let Some(service) = draft.services.get(name).filter(|_| !name.is_empty()).cloned() else { return };
    let Some(index) = target else { return };
    let (hash, old) = (draft.sets[index].hash().to_owned(), selected_hash(&service).to_owned());
    if old == hash {
        return;
    }
    let set = &draft.sets[index];
    let is_adopted = service.meta.annotations.get(MANAGED_BY).is_some();
    let is_whole = set.is_fully_available() || draft.facts.is_sabotaged(Sabotage::SwitchAtFirstPod);
    let lacks_pods = needs_pods && (set.available() == 0 || set.wished() == 0 || (!is_adopted && !is_whole));
    let share = if draft.traffic.is_known { share } else { whole(spec) };
    let is_first = !is_adopted && old.is_empty();
    let is_hasty = *name == spec.canary_service && draft.facts.is_sabotaged(Sabotage::RelabelBeforeWeight);
    if !is_hasty && (lacks_pods || (share > 0 && !is_first && !can_carry(draft, spec, index, share))) {
        let what = format!("pods of {} before Service {name} moves", draft.sets[index].name());
        draft.because(Reason::WaitingFor(what.into()));
        super::wake_when_steady(draft, index);
        return;
    }
    switch(draft, name, &hash);
    draft.traffic.is_in_force = false;
    let at = draft.now.plus(draft.world.settings.propagation);
    draft.wake_at(at, "the Service reaches the data plane");
}

/// The hashes by which routers may name the pods of the two sides now: the current ones where what flows there can be
/// carried, else those that the objects show. Where all lead through Services the hashes are for the record only.
// ARGO: only a subset whose pods really change waits, and for those pods only (Q7).
pub fn hashes(
    draft: &Draft<'_>,
    spec: &Canary,
    decision: &Decision,
    labelled: Option<(Text, Text)>,
) -> (Text, Text) {
    let parts = whole(spec);
    let (most, least) = (draft.traffic.most, draft.traffic.least);
    let recorded: Text = recorded_hash(draft).into();
    let hash_of = |index: Option<usize>| Text::from(index.map_or("", |index| draft.sets[index].hash()));
    let (new, stable) = (hash_of(draft.new), hash_of(draft.stable));
    let Some((shown, shown_stable)) = labelled else {
        let weights = draft.observed.canary.as_ref().and_then(|canary| canary.weights.clone());
        let before = weights.and_then(|weights| weights.stable?.hash).unwrap_or_default();
        let leads =
            |name: &Text| draft.services.get(name).is_some_and(|service| selected_hash(service) == &*stable);
        let is_led = before.is_empty() || services_of(draft, spec, Side::Stable).iter().all(leads);
        let canary = if decision.stays_with_recorded { recorded } else { new };
        return (canary, if is_led { stable } else { before });
    };
    let may = |target: Option<usize>, share: i64| {
        let share = if draft.traffic.is_known { share } else { parts };
        let is_hasty = draft.facts.is_sabotaged(Sabotage::RelabelBeforeWeight);
        is_hasty || share == 0 || target.is_some_and(|index| can_carry(draft, spec, index, share))
    };
    let is_first = recorded.is_empty();
    let goes_back = draft.is_aborted() && !draft.facts.is_sabotaged(Sabotage::LeaveOnAborted);
    let has_left = most == 0 && draft.traffic.is_in_force;
    let canary = match decision.stays_with_recorded {
        true => recorded,
        // ARGO: the reference leaves the subset on an aborted version when its pods go (S8, #2576).
        false if goes_back && has_left && draft.stable.is_some() => stable.clone(),
        false if goes_back => shown,
        false if new == shown || is_first || may(draft.new, most) => new,
        false => shown,
    };
    let may_move = stable == shown_stable || is_first || may(draft.stable, parts - least);
    // What leads to pods that somebody deleted has nowhere else to lead.
    let may_move = may_move && draft.stable.is_some();
    (canary, if may_move { stable } else { shown_stable })
}

/// Whether everything that leads to one side has selected its pods for the propagation time.
pub fn is_ready(
    draft: &Draft<'_>,
    spec: &Canary,
    routers: &[(&'static dyn Router, Place<'_>)],
    side: Side,
) -> bool {
    if draft.facts.is_sabotaged(Sabotage::NoPropagationWait) {
        return true;
    }
    let world = draft.world;
    let Some(index) = set_of(draft, side) else { return false };
    let hash = draft.sets[index].hash();
    let rests = |key: &Key| world.rests_at(key, world.settings.propagation, draft.now).is_none();
    // As they were before this pass: a Service that it switches has yet to reach anybody.
    let services_rest = services_of(draft, spec, side).iter().all(|name| {
        world
            .services
            .get(name)
            .is_some_and(|service| selected_hash(service) == hash && rests(&service.key()))
    });
    services_rest && routers.iter().flat_map(|(router, at)| router.subsets(at)).all(|key| rests(&key))
}

/// The ReplicaSet to which everything that leads to the stable side still leads, where all pods of the version that was
/// promoted have failed: whoever is on those has nobody else (S1).
pub fn still_led_to(
    draft: &Draft<'_>,
    spec: &Canary,
    routers: &[(&'static dyn Router, Place<'_>)],
) -> Option<usize> {
    let is_deserted = draft.stable_set().is_some_and(|stable| stable.available() == 0);
    if !is_deserted || !draft.is_fully_promoted() {
        return None;
    }
    let world = draft.world;
    let rests = |key: &Key| world.rests_at(key, world.settings.propagation, draft.now).is_none();
    let mut hashes = Vec::new();
    for name in services_of(draft, spec, Side::Stable) {
        let service = world.services.get(&name).filter(|service| rests(&service.key()))?;
        hashes.push(Text::from(selected_hash(service)));
    }
    if !routers.iter().flat_map(|(router, at)| router.subsets(at)).all(|key| rests(&key)) {
        return None;
    }
    let views = super::views(draft, spec);
    let labelled = routers.iter().zip(&views).filter_map(|((router, _), view)| router.labelled(view));
    hashes.extend(labelled.map(|(_, stable)| stable));
    let (first, others) = hashes.split_first()?;
    if first.is_empty() || others.iter().any(|hash| hash != first) {
        return None;
    }
    draft.sets.iter().position(|set| set.hash() == &**first)
}
