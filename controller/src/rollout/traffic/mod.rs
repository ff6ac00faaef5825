//! Traffic of a canary with routers: a change is a sequence of states, each of them safe by itself.
//!
//! Services, subsets, weights and sizes are several writes to several objects. Each pass reads off the objects how far
//! things are and takes the next step that is safe, with a wait on evidence before what depends on it:
//!
//! 1. What a side's Service or subset selects is changed only where the pods it will select can carry what may flow there
//!    ([`handles`]).
//! 2. The weight goes up only when the canary's Service or subset has selected the right pods for the propagation time
//!    and enough of them have been available all that time; it goes down only as far as the stable pods can carry, in
//!    the same sense ([`capacity`]). What cannot be done now is held, with a reason and an alarm.
//! 3. Nothing shrinks, is deleted or gets a deadline before what leads traffic away from it is in force: routers that
//!    offer evidence say so, of all others the objects have rested for the propagation time.
//!
//! The weight that is wanted comes from a table ([`mod@decide`]). Routers only edit documents.

pub mod capacity;
pub mod decide;
pub mod handles;
mod status;
pub mod verification;

use std::sync::Arc;

use tidegate_api::object::{Key, Object, Text};
use tidegate_api::spec::Canary;
use tidegate_api::time::Time;

use super::draft::{Draft, version_of};
use crate::cache::Moments;
use crate::edit::Edit;
use crate::plan::{Guard, IfRefused, Need, Reason, Verb};
use crate::routers::{Arm, Change, Evidence, ManagedRoute, Place, Router, Trouble, View, Want, What, places};
use crate::sabotage::Sabotage;
use decide::{Decision, decide, recorded_hash, recorded_weight, whole};

pub use status::{TROUBLE, note_trouble};

/// What a pass knows about traffic, and what it did about it.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// The most parts that any router may be sending to the canary: what the status records, what the objects show, and
    /// what they showed so lately that the data plane may not know better.
    pub most: i64,
    /// The fewest parts, likewise.
    pub least: i64,
    /// The parts for the canary that this pass leaves asked for everywhere; nothing where nothing is routed yet.
    pub weight: Option<i64>,
    /// The most and the fewest parts that are asked for now.
    pub asked: (i64, i64),
    /// Whether all of that is known; else it may be anything, as after a restart.
    pub is_known: bool,
    /// Whether all that routers and Services ask for has reached the data plane, as far as can be known.
    pub is_in_force: bool,
    /// What routers that can tell say about the weight: no as soon as one says no.
    pub verified: Option<bool>,
    /// Whether all that leads to the canary is known to lead to its pods.
    pub leads_to_canary: bool,
    /// Whether the load balancer may not know the pods that are stable now: then old ones stay.
    pub is_unregistered: bool,
    /// What must be asked before this pass can decide.
    pub needs: Vec<Need>,
    /// Whether the header and mirror routes of the steps so far are asked for.
    pub has_routes: bool,
    /// What a router could not do.
    pub trouble: Option<Trouble>,
    /// The weights for the status, where this pass knows better than before.
    pub weights: Option<tidegate_api::object::TrafficWeights>,
}

/// Takes the next safe step with Services, subsets and weights.
pub fn advance(draft: &mut Draft<'_>, spec: &Canary) {
    let world = draft.world;
    let routers: Vec<_> = places(&world.rollout, spec, &world.settings).collect();
    look(draft, spec, &routers);
    let by_subsets = routers.iter().any(|(router, at)| !router.subsets(at).is_empty());
    let labelled = routers.iter().find_map(|(router, at)| router.labelled(&view(draft, at)));
    handles::follow(draft, spec);
    // ARGO: a stable ReplicaSet that somebody deleted does not hold the weight for ever (known failure #305).
    let is_unborn = draft.stable.is_none() && draft.observed.stable_hash().is_empty();
    if routers.is_empty() || is_unborn || decide::is_blind(draft, spec) {
        return;
    }
    let decision = decide(draft, spec);
    let parts = whole(spec);
    let will_carry = |stable: usize| capacity::will_carry(draft, spec, stable, parts);
    if recorded_weight(draft).is_none() && !draft.stable.is_some_and(will_carry) {
        draft.because(Reason::WaitingFor("stable pods before traffic is routed".into()));
        return;
    }
    let arms: Vec<Arm> = match decision.has_arms {
        true => super::experiment::arms(draft, spec),
        false => Vec::new(),
    };
    let (canary_hash, stable_hash) = handles::hashes(draft, spec, &decision, labelled);
    for (index, hash) in [(draft.new, &canary_hash), (draft.stable, &stable_hash)] {
        // Pods that are not named yet may only need to have been available for longer.
        if let Some(index) = index.filter(|index| draft.sets[*index].hash() != &**hash) {
            wake_when_steady(draft, index);
        }
    }
    let former_arms = status::recorded_arms(draft);
    let want = Want {
        weight: 0,
        whole: parts,
        arms: &arms,
        canary_hash: &canary_hash,
        stable_hash: &stable_hash,
        routes: &[],
        former_arms: &former_arms,
    };
    let labels = match changes_of(draft, &routers, |router, view| router.label(view, &want)) {
        (changes, None) => changes,
        (_, Some(trouble)) => return fail(draft, trouble),
    };
    let is_labelled = labels.is_empty();
    let names_new = !by_subsets || draft.new_set().is_some_and(|new| new.hash() == &*canary_hash);
    carry_out(draft, labels);
    let weight = allowed(draft, spec, &routers, &decision, (is_labelled, names_new));
    let routes = routes_of_steps(draft, spec);
    let canary_is_ready =
        is_labelled && names_new && handles::is_ready(draft, spec, &routers, handles::Side::Canary);
    draft.traffic.leads_to_canary = canary_is_ready;
    let can_route = canary_is_ready && decision.keeps_routes;
    let weight = match routes_go_first(draft, &routers, &want, weight, can_route) {
        true => draft.traffic.asked.0,
        false => weight,
    };
    let arms = fitting(&arms, parts - weight);
    let want = Want { weight, arms: &arms, routes: if can_route { &routes } else { &[] }, ..want };
    let (changes, trouble) = changes_of(draft, &routers, |router, view| router.route(view, &want));
    if let Some(trouble) = trouble {
        // One that cannot follow keeps the others from running ahead of it; what only takes traffic off the canary is
        // done wherever it can be.
        let is_safe = weight <= draft.traffic.asked.1 && want.routes.is_empty();
        if is_safe || draft.facts.is_sabotaged(Sabotage::RunAhead) {
            carry_out(draft, changes);
        }
        return fail(draft, trouble);
    }
    draft.traffic.has_routes = can_route || routes.is_empty();
    let is_accepted = is_labelled && changes.is_empty();
    let confirmed = verification::weights(draft, spec, &routers, &want, is_accepted);
    let answers = verified(draft, &routers, &want, &changes).into_iter().chain(confirmed);
    draft.traffic.verified = answers.reduce(|all, one| all && one);
    let changed = !changes.is_empty();
    carry_out(draft, changes);
    let is_held = decision.weight != weight && recorded_weight(draft) == Some(weight);
    if !is_held || status::differ(draft, &arms) {
        status::record(draft, spec, &want);
    } else {
        status::keep(draft);
    }
    if decision.weight == weight {
        draft.because(Reason::Note(format!("weight {weight}: {}", decision.because).into()));
    }
    let traffic = &mut draft.traffic;
    traffic.most = traffic.most.max(weight);
    traffic.least = traffic.least.min(weight);
    traffic.weight = Some(weight);
    if changed || !is_labelled || confirmed == Some(false) {
        traffic.is_in_force = false;
    }
    if draft.traffic.is_in_force {
        let (changes, trouble) = changes_of(draft, &routers, |router, view| router.retire(view, &want));
        carry_out(draft, changes);
        trouble.into_iter().for_each(|trouble| fail(draft, trouble));
    }
}

/// As much of what the arms want as the canary leaves.
fn fitting(arms: &[Arm], mut left: i64) -> Vec<Arm> {
    let fit = |arm: &Arm| {
        let weight = arm.weight.clamp(0, left.max(0));
        left -= weight;
        Arm { weight, ..arm.clone() }
    };
    arms.iter().map(fit).collect()
}

/// Reads off the objects how traffic flows now, without changing anything.
pub fn look(draft: &mut Draft<'_>, spec: &Canary, routers: &[(&'static dyn Router, Place<'_>)]) {
    let recorded = recorded_weight(draft);
    let asked: Vec<i64> = recorded.into_iter().chain(shown_now(draft, routers)).collect();
    let known: Vec<i64> = asked.iter().copied().chain(shown_lately(draft, routers)).collect();
    let range = |of: &[i64]| (of.iter().copied().max().unwrap_or(0), of.iter().copied().min().unwrap_or(0));
    let (now, stretch) = (draft.now, draft.world.settings.propagation);
    let routes = draft.world.routes.keys();
    let is_known = routes.filter_map(|key| draft.world.moments.get(key)).all(|m| m.is_known(now, stretch));
    if let Some(at) = routes_rest_at(draft).filter(|_| !is_known) {
        draft.wake_at(at, "what load balancers may still go by is over");
    }
    let waits_until = rests_at(draft, routers);
    let says_no = routers.iter().any(|(router, at)| {
        let (canary, stable) = (recorded_hash(draft), draft.observed.stable_hash());
        let want = Want {
            weight: recorded.unwrap_or(0),
            whole: whole(spec),
            arms: &[],
            canary_hash: canary,
            stable_hash: stable,
            routes: &[],
            former_arms: &[],
        };
        matches!(router.evidence(&view(draft, at), &want), Evidence::NotYet(_))
    });
    let remembered = verification::remembered(draft, routers);
    draft.traffic = Traffic {
        verified: remembered,
        is_unregistered: verification::may_be_unregistered(draft, routers),
        most: range(&known).0,
        least: range(&known).1,
        asked: range(&asked),
        weight: recorded,
        is_known,
        is_in_force: waits_until.is_none() && !says_no && remembered != Some(false),
        ..Traffic::default()
    };
    if let Some(at) = waits_until {
        draft.wake_at(at, "routes and Services reach the data plane");
    }
    // Evidence may come sooner than what was replaced lately is forgotten, which still binds sizes.
    if range(&known) != range(&asked) {
        let world = draft.world;
        let rested = world.routes.keys().filter_map(|key| world.rests_at(key, stretch, now)).max();
        if let Some(at) = rested {
            draft.wake_at(at, "nobody goes by the earlier weight");
        }
    }
}

/// The weights that the objects show now.
fn shown_now(draft: &Draft<'_>, routers: &[(&'static dyn Router, Place<'_>)]) -> Vec<i64> {
    routers.iter().filter_map(|(router, at)| router.shown(&view(draft, at))).collect()
}

/// The weights that they showed so lately that some load balancer may still go by them.
fn shown_lately(draft: &Draft<'_>, routers: &[(&'static dyn Router, Place<'_>)]) -> Vec<i64> {
    let world = draft.world;
    let lately = |moments| Moments::lately(moments, draft.now, world.settings.propagation);
    let mut found = Vec::new();
    for (key, earlier) in
        world.moments.iter().flat_map(|(key, moments)| lately(moments).map(move |o| (key, o)))
    {
        let mut objects = world.routes.clone();
        objects.insert(key.clone(), earlier.clone());
        let then = |at| View { objects: &objects, ..view(draft, at) };
        found.extend(routers.iter().filter_map(|(router, at)| router.shown(&then(at))));
    }
    found
}

/// The same for a pass that only changes sizes.
pub fn look_only(draft: &mut Draft<'_>, spec: &Canary) {
    let world = draft.world;
    let routers: Vec<_> = places(&world.rollout, spec, &world.settings).collect();
    look(draft, spec, &routers);
}

/// When the last of the routes will have rested for the propagation time; nothing when all have.
fn routes_rest_at(draft: &Draft<'_>) -> Option<Time> {
    let world = draft.world;
    world.routes.keys().filter_map(|key| world.rests_at(key, world.settings.propagation, draft.now)).max()
}

/// When the last of the objects that lead traffic will have rested for the propagation time; nothing when all have.
fn rests_at(draft: &Draft<'_>, routers: &[(&'static dyn Router, Place<'_>)]) -> Option<Time> {
    let world = draft.world;
    let evident = |router: &&'static dyn Router, at: &Place<'_>| {
        let want = Want {
            weight: 0,
            whole: 1,
            arms: &[],
            canary_hash: "",
            stable_hash: "",
            routes: &[],
            former_arms: &[],
        };
        router.evidence(&view(draft, at), &want) != Evidence::None
    };
    let silent = routers.iter().any(|(router, at)| !evident(router, at));
    let routes = world.routes.keys().filter(|_| silent);
    let services: Vec<Key> = world.services.values().map(|service| service.key()).collect();
    let times = services.iter().chain(routes);
    times.filter_map(|key| world.rests_at(key, world.settings.propagation, draft.now)).max()
}

/// What a router may look at in this pass.
fn view<'v>(draft: &'v Draft<'_>, at: &Place<'v>) -> View<'v> {
    View {
        at: *at,
        objects: &draft.world.routes,
        services: &draft.services,
        unserved: &draft.facts.unserved,
        sabotage: draft.facts.sabotage,
    }
}

/// What each router of the Rollout may look at, in their order.
pub fn views<'v>(draft: &'v Draft<'_>, spec: &'v Canary) -> Vec<View<'v>> {
    let world = draft.world;
    places(&world.rollout, spec, &world.settings).map(|(_, at)| view(draft, &at)).collect()
}

/// What all routers would change, and what the first of them cannot do.
fn changes_of<'a>(
    draft: &Draft<'a>,
    routers: &[(&'static dyn Router, Place<'a>)],
    ask: impl Fn(&'static dyn Router, &View<'_>) -> Result<Vec<Change>, Trouble>,
) -> (Vec<Change>, Option<Trouble>) {
    let (mut changes, mut trouble) = (Vec::new(), None);
    for (router, at) in routers {
        match ask(*router, &view(draft, at)) {
            Ok(more) => changes.extend(more),
            Err(found) => trouble = trouble.or(Some(found)),
        }
    }
    (changes, trouble)
}

/// The weight that may be asked for now: the one that is wanted, or as far towards it as is safe.
fn allowed(
    draft: &mut Draft<'_>,
    spec: &Canary,
    routers: &[(&'static dyn Router, Place<'_>)],
    decision: &Decision,
    (is_labelled, names_new): (bool, bool),
) -> i64 {
    let (most, least) = draft.traffic.asked;
    let (parts, wanted) = (whole(spec), decision.weight);
    // What the objects show has been asked for, whatever the status came to record before a crash: a held weight does not
    // move them.
    let shown = shown_now(draft, routers);
    let low = shown.iter().copied().min().unwrap_or(least);
    let high = shown.iter().copied().max().unwrap_or(most);
    let hold = recorded_weight(draft).unwrap_or(least).clamp(low, high);
    if wanted < most {
        let Some(mut stable) = draft.stable else { return hold };
        if let Some(before) = handles::still_led_to(draft, spec, routers).filter(|_| is_labelled) {
            stable = before;
        } else if !is_labelled || !handles::is_ready(draft, spec, routers, handles::Side::Stable) {
            draft.because(Reason::WaitingFor(
                "the stable Service to be known before traffic returns to it".into(),
            ));
            return hold;
        }
        let carried = capacity::carried(draft, spec, stable);
        let weight = match draft.facts.is_sabotaged(Sabotage::ReturnBeforePods) {
            true => wanted,
            false => wanted.max(most.min(parts - carried)),
        };
        if weight > wanted {
            let what = format!("stable pods for more than {carried} of {parts} parts of the traffic");
            draft.because(Reason::WaitingFor(what.into()));
            wake_when_steady(draft, stable);
        }
        return weight;
    }
    if wanted > least {
        let Some(new) = draft.new else { return hold };
        let is_ready =
            is_labelled && names_new && handles::is_ready(draft, spec, routers, handles::Side::Canary);
        let is_users_choice = super::routed::has_explicit_scale(draft, spec)
            || draft.facts.is_sabotaged(Sabotage::WeightBeforePods);
        if !is_ready {
            draft.because(Reason::WaitingFor(
                "the canary's Service to be known before traffic goes to it".into(),
            ));
            return hold;
        }
        if !is_users_choice && !capacity::can_carry(draft, spec, new, wanted) {
            let what = format!("canary pods for {wanted} of {parts} parts of the traffic");
            draft.because(Reason::WaitingFor(what.into()));
            wake_when_steady(draft, new);
            return hold;
        }
    }
    wanted
}

/// Whether header and mirror routes have to go before the weight moves: what they match flows by weight then, and the
/// weight follows in the next pass.
fn routes_go_first<'a>(
    draft: &Draft<'a>,
    routers: &[(&'static dyn Router, Place<'a>)],
    want: &Want<'_>,
    weight: i64,
    can_route: bool,
) -> bool {
    let (most, least) = draft.traffic.asked;
    if can_route || most != least || weight == most {
        return false;
    }
    let want = Want { weight: most, routes: &[], ..*want };
    !changes_of(draft, routers, |router, view| router.route(view, &want)).0.is_empty()
}

/// Looks again when the pods that are available now have been so for the propagation time.
fn wake_when_steady(draft: &mut Draft<'_>, index: usize) {
    let world = draft.world;
    let moments = world.moments.get(&draft.sets[index].object().key());
    let since = moments.and_then(|moments| moments.available.back()).map(|(since, _)| *since);
    if let Some(at) = since.map(|since| since.plus(world.settings.propagation)).filter(|at| *at > draft.now) {
        draft.wake_at(at, "load balancers know the new pods");
    }
}

/// The header and mirror routes that the steps so far ask for, in the order of their precedence.
// ARGO: the reference sets a route while its step is the current one and loses it whenever the canary has no pod for a
// moment; here the routes follow from the steps in every pass (Q2, Q3).
pub fn routes_of_steps(draft: &Draft<'_>, spec: &Canary) -> Vec<ManagedRoute> {
    let index = draft.observed.index().and_then(|index| usize::try_from(index).ok());
    let is_under_way = !draft.is_fully_promoted() && !draft.is_aborted() && !draft.is_promoting_fully();
    let (Some(index), true) = (index, is_under_way) else { return Vec::new() };
    let managed = spec.traffic_routing.as_ref().and_then(|routing| routing.managed_routes.as_ref());
    let mut routes: Vec<ManagedRoute> = Vec::new();
    for step in spec.steps.iter().take(index.saturating_add(1)) {
        for (field, is_mirror) in [("setHeaderRoute", false), ("setMirrorRoute", true)] {
            let asked = &step.raw[field];
            let Some(name) = asked["name"].as_str() else { continue };
            routes.retain(|route| &*route.name != name);
            if asked["match"].as_array().is_some_and(|matches| !matches.is_empty()) {
                routes.push(ManagedRoute { name: name.into(), is_mirror, step: Arc::new(asked.clone()) });
            }
        }
    }
    let rank = |route: &ManagedRoute| managed?.iter().position(|name| *name == route.name);
    routes.sort_by_key(|route| rank(route).unwrap_or(usize::MAX));
    routes
}

/// Why a weight is not yet the one that all routers were told, or is denied by one that can tell.
pub fn weight_is_held(draft: &Draft<'_>, spec: &Canary, weight: i64) -> Option<String> {
    if spec.traffic_routing.as_ref().is_none_or(|routing| routing.routers.is_empty()) {
        return None;
    }
    match (&draft.traffic.trouble, draft.traffic.weight, draft.traffic.verified) {
        (Some(trouble), ..) => Some(format!("routers to take weight {weight} over: {trouble}")),
        (None, Some(now), Some(false)) if now == weight => Some(format!("weight {weight} to be confirmed")),
        (None, Some(now), _) if now == weight && weight > 0 && !draft.traffic.leads_to_canary => {
            Some(format!("weight {weight} to lead to the new pods"))
        }
        (None, Some(now), _) if now == weight => None,
        _ => Some(format!("weight {weight} to be safe")),
    }
}

/// What routers that can tell say about the weight; a change under way is not confirmed.
// ARGO: one router's answer does not hide another's (Q8).
fn verified(
    draft: &Draft<'_>,
    routers: &[(&'static dyn Router, Place<'_>)],
    want: &Want<'_>,
    changes: &[Change],
) -> Option<bool> {
    let answers = routers.iter().map(|(router, at)| router.evidence(&view(draft, at), want));
    let answers: Vec<bool> = answers
        .filter_map(|evidence| match evidence {
            Evidence::None => None,
            Evidence::Applied => Some(changes.is_empty()),
            Evidence::NotYet(_) => Some(false),
        })
        .collect();
    (!answers.is_empty()).then(|| answers.iter().all(|answer| *answer))
}

/// Plans what routers want to change.
fn carry_out(draft: &mut Draft<'_>, changes: Vec<Change>) {
    for change in changes {
        let notices =
            change.notices.iter().map(|(reason, message)| draft.notice(reason, message.to_string()));
        let notices = notices.collect();
        let held = draft.world.routes.get(&change.key).cloned();
        match (change.what, held) {
            (What::Create(document), _) => {
                let Ok(object) = Object::from_value((*document).clone()) else { continue };
                let object = Arc::new(object);
                draft.write(change.key, Guard::Absent, Verb::Create(object), notices, IfRefused::Stop);
            }
            (What::Become(document), Some(held)) => {
                let edit = Edit::Document(Arc::new(held.to_value()), document);
                draft.edit(&held, vec![edit], notices, IfRefused::Stop);
            }
            (What::Delete, Some(held)) => {
                draft.write(change.key, version_of(&held), Verb::Delete, notices, IfRefused::Stop);
            }
            (What::Become(_) | What::Delete, None) => {}
        }
    }
}

/// Notes what a router could not do. The pass goes on with what is safe without it, and is tried again.
fn fail(draft: &mut Draft<'_>, trouble: Trouble) {
    draft.because(Reason::Note(format!("cannot route: {trouble}").into()));
    draft.fail(Text::from(trouble.message.as_ref()));
    draft.traffic.is_in_force = false;
    draft.traffic.trouble.get_or_insert(trouble);
}
