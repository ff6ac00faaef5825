//! Canary: steps move the share of the new version. Without traffic routing the share of pods is the share of traffic;
//! with it, [`super::traffic`] moves the weight and [`super::routed`] sizes both sides.

use tidegate_api::object::{CanaryStatus, Counted};
use tidegate_api::spec::{Canary, StepKind};

use super::draft::Draft;
use super::scale::{Basic, Limits, Split, is_enough};
use super::set::Set;
use super::{
    analysis, experiment, history, promotion, replicas, restart, role_metadata, routed, services, status,
    traffic, workload,
};
use crate::plan::Plan;
use crate::sabotage::Sabotage;
use crate::steps::{self, Progress};

/// One pass of a canary.
pub fn advance(mut draft: Draft<'_>, spec: &Canary) -> Plan {
    if has_changed(&draft, spec) {
        return sync(draft, spec);
    }
    if draft.facts.is_sabotaged(Sabotage::GiveUpOnGaps) && has_gap(&draft, spec) {
        draft.fail("a number that nobody counted on");
        return draft.finish_without_status();
    }
    let limits = Limits::of_canary(spec, draft.n());
    if restart::restart(&mut draft, limits) > 0 {
        return draft.finish_without_status();
    }
    role_metadata::sync(&mut draft);
    history::clean_up(&mut draft);
    lead_traffic(&mut draft, spec);
    traffic::verification::registration_of_canary(&mut draft, spec);
    if !draft.traffic.needs.is_empty() {
        return draft.need_of_traffic();
    }
    experiment::follow(&mut draft, spec);
    if analysis::follow_canary(&mut draft, spec) {
        return sync(draft, spec);
    }
    // ARGO: a pause by hand holds an update, not its abort (S13, L5).
    let goes_back = draft.is_aborted() && !draft.facts.is_sabotaged(Sabotage::HaltAborts);
    let halted = replicas::is_halted(&draft) && !goes_back;
    if !halted && !restart::is_counting(&draft) {
        match spec.traffic_routing {
            Some(_) => routed::resize(&mut draft, spec),
            None => {
                let weight = weight(&draft, spec);
                resize(&mut draft, spec, weight);
            }
        }
    }
    sync(draft, spec)
}

/// Where the reference divides by nothing, gives more than everything, reads a weight that is not there, or waits for
/// pods that never come before it looks at anything else.
fn has_gap(draft: &Draft<'_>, spec: &Canary) -> bool {
    let available = draft.new_set().map_or(0, Set::available);
    let is_short = draft.n() == 0 || available > draft.n();
    let has_no_weights = current_step(draft, spec).is_some_and(|index| match &spec.steps[index].kind {
        StepKind::Experiment(step) => step.templates.iter().all(|template| template.weight.is_none()),
        _ => false,
    });
    let is_by_subset = spec.traffic_routing.is_some() && spec.canary_service.is_empty();
    let has_no_pod = available == 0 && draft.new_set().is_some_and(|new| new.wished() > 0);
    (is_by_subset && has_no_pod && draft.stable != draft.new)
        || (spec.dynamic_stable_scale && draft.is_promoting_fully() && is_short)
        || (has_no_weights && draft.observed.canary().experiment.is_none())
}

/// Points Services, and routers where there are some.
fn lead_traffic(draft: &mut Draft<'_>, spec: &Canary) {
    match spec.traffic_routing {
        Some(_) => traffic::advance(draft, spec),
        None => services::follow_canary(draft, spec),
    }
}

/// One pass while the wished number of pods differs from the one the ReplicaSets were scaled for: sizes only.
pub fn rescale(mut draft: Draft<'_>, spec: &Canary) -> Plan {
    // The index is still that of the template before: sizes wait until the status is of this one, or a template that
    // comes together with another number of pods would get all of them at once (S10).
    if has_changed(&draft, spec) {
        return sync(draft, spec);
    }
    // A full promotion ends that pause, in a pass that comes only when sizes are as wished (L12).
    // scenarios/analysis/inconclusive_then_scaled_and_promoted_fully.yaml
    let waits = draft.observed.is_paused_for(analysis::INCONCLUSIVE) && !draft.is_promoting_fully();
    let is_held = waits || restart::is_counting(&draft);
    if spec.traffic_routing.is_some() {
        if !is_held {
            traffic::look_only(&mut draft, spec);
            routed::resize(&mut draft, spec);
        }
        return keep_status(draft);
    }
    let mut weight = weight(&draft, spec);
    if draft.spec.paused && !draft.is_aborted() {
        // ARGO: a paused Rollout still follows its wished number of pods (Q19), at the share it has reached. Of few pods that
        // may be more than the step allows, which is rounding and no share that more pods are to have (S10).
        weight = weight.min(share_reached(&draft));
    }
    if !is_held {
        resize(&mut draft, spec, weight);
    }
    keep_status(draft)
}

/// Ends a pass that only changed sizes.
fn keep_status(mut draft: Draft<'_>) -> Plan {
    draft.status = (*draft.observed).clone();
    status::count_for_scaling(&mut draft);
    status::persist(draft)
}

/// Returns traffic and pods to the stable version, and nothing else.
pub fn fall_back(draft: &mut Draft<'_>, spec: &Canary) {
    lead_traffic(draft, spec);
    match spec.traffic_routing {
        Some(_) => routed::resize(draft, spec),
        None => resize(draft, spec, 0),
    }
}

/// Whether template or steps are not the ones the stored status is about.
pub fn has_changed(draft: &Draft<'_>, spec: &Canary) -> bool {
    let observed = &draft.observed;
    let steps = observed.step_hash.as_deref().unwrap_or("");
    steps.is_empty()
        || steps != &*spec.steps_hash
        || (!observed.current().is_empty() && observed.current() != &*draft.current_hash())
}

/// The step under way; nothing without steps or when all are done. A missing index is read as 0.
pub fn current_step(draft: &Draft<'_>, spec: &Canary) -> Option<usize> {
    let index = usize::try_from(draft.observed.index().unwrap_or(0)).unwrap_or(0);
    (index < spec.steps.len()).then_some(index)
}

/// The share of the canary that the current step asks for, in hundredths.
fn weight(draft: &Draft<'_>, spec: &Canary) -> i64 {
    let everything =
        draft.is_promoting_fully() || draft.observed.stable_hash().is_empty() || draft.is_fully_promoted();
    if everything {
        return 100;
    }
    if draft.is_aborted() && !draft.facts.is_sabotaged(Sabotage::AbortKeepsPods) {
        return 0;
    }
    if draft.facts.is_sabotaged(Sabotage::LastWeightFirst) {
        return spec.steps.iter().rev().find_map(|step| step.weight).unwrap_or(100);
    }
    match current_step(draft, spec) {
        None => 100,
        Some(index) => spec.steps[..=index].iter().rev().find_map(|step| step.weight).unwrap_or(0),
    }
}

/// The share that the canary has reached by pods, rounded up.
fn share_reached(draft: &Draft<'_>) -> i64 {
    let wished = |set: Option<&Set>| set.map_or(0, Set::wished);
    let (canary, stable) = (wished(draft.new_set()), wished(draft.distinct_stable()));
    match canary + stable {
        0 => 0,
        total => i64::try_from((i128::from(canary) * 100 + i128::from(total) - 1) / i128::from(total))
            .unwrap_or(100),
    }
}

fn basic(draft: &Draft<'_>, spec: &Canary, weight: i64) -> Basic {
    let mut n = draft.n();
    if draft.facts.is_sabotaged(Sabotage::SizeFromPods) && !draft.observed.pause_conditions().is_empty() {
        n = draft.sum(Set::wished);
    }
    let mut limits = Limits::of_canary(spec, n);
    if draft.facts.is_sabotaged(Sabotage::ScaleDownWithoutBudget) {
        limits.unavailable = n;
    }
    Basic {
        n,
        weight,
        limits,
        canary: draft.new_set().map(Set::count),
        stable: draft.distinct_stable().map(Set::count),
        older: draft.others().iter().map(|i| draft.sets[*i].wished()).sum(),
    }
}

/// Changes one size: of the stable ReplicaSet, else of the new one, else of older ones. One change a pass is what
/// makes the arithmetic of surge and missing pods safe.
fn resize(draft: &mut Draft<'_>, spec: &Canary, weight: i64) {
    replicas::clear_deadlines(draft, false);
    let Split { mut canary, stable } = basic(draft, spec, weight).next();
    if draft.facts.is_sabotaged(Sabotage::AbortStable) && draft.observed.is_aborted() {
        canary = 0;
    }
    if draft.facts.is_sabotaged(Sabotage::NeverShrink) {
        canary = canary.max(draft.new_set().map_or(0, Set::wished));
    }
    let because = format!("weight {weight}");
    if let (Some(index), true) = (draft.stable, draft.stable != draft.new) {
        if stable == 0 && draft.sets[index].wished() > 0 && !services::hand_over(draft, spec, index) {
            return;
        }
        if draft.scale(index, stable, false, &because) {
            return;
        }
    }
    if let Some(index) = draft.new {
        let before = draft.sets[index].wished();
        let scaled = draft.scale(index, canary, false, &because);
        workload::retire_progressively(draft, before, canary);
        if scaled {
            return;
        }
    }
    replicas::drain_others(draft, spec);
}

/// Whether pods stand as the current step wants them.
pub fn is_at_desired_counts(draft: &Draft<'_>, spec: &Canary) -> bool {
    if spec.traffic_routing.is_some() {
        return routed::is_at_desired_counts(draft, spec, draft.traffic.weights.as_ref());
    }
    is_at_counts_of_the_share(draft, spec)
}

/// The same, whatever weights were recorded.
pub fn is_at_desired_counts_without_weights(draft: &Draft<'_>, spec: &Canary) -> bool {
    routed::is_at_desired_counts(draft, spec, None)
}

fn is_at_counts_of_the_share(draft: &Draft<'_>, spec: &Canary) -> bool {
    let basic = basic(draft, spec, weight(draft, spec));
    let next = basic.goal();
    let stable_fits = match draft.stable_set() {
        Some(stable) if draft.stable != draft.new => {
            stable.wished() == next.stable && stable.actual() == next.stable
        }
        Some(_) => true,
        // ARGO: a stable ReplicaSet that somebody deleted does not hold the steps for ever (known failure #305).
        None => true,
    };
    let others: i64 = draft.others().iter().map(|i| draft.sets[*i].available()).sum();
    is_enough(spec.threshold, draft.new_set().map(Set::count), next.canary) && stable_fits && others == 0
}

/// The status of this pass: moves the step index, promotes, aborts.
fn sync(mut draft: Draft<'_>, spec: &Canary) -> Plan {
    status::begin(&mut draft);
    let count = i64::try_from(spec.steps.len()).unwrap_or(i64::MAX);
    let has_steps = count > 0;
    let (available, actual) = (draft.sum(Set::available), draft.sum(Set::actual));
    let observed = draft.observed.clone();
    draft.status.available = Some(available);
    draft.status.hpa = Some(actual);
    draft.status.selector = draft.spec.selector.as_ref().map(|selector| selector.text().into());
    draft.status.stable = observed.stable.clone();
    draft.status.step_hash = Some(spec.steps_hash.clone());
    let old = observed.canary();
    let mut canary = CanaryStatus { stable_ping_pong: old.stable_ping_pong, ..CanaryStatus::default() };
    let is_routed = spec.traffic_routing.as_ref().is_some_and(|routing| !routing.routers.is_empty());
    canary.weights = match draft.traffic.weights.clone() {
        weights @ Some(_) => weights,
        None if is_routed => old.weights,
        None => None,
    };
    draft.status.canary = Some(canary);
    traffic::note_trouble(&mut draft);
    let set_index = |draft: &mut Draft<'_>, index: i64| {
        draft.status.step_index = has_steps.then_some(Counted(index));
    };

    if has_changed(&draft, spec) {
        let template_changed = !observed.current().is_empty() && observed.current() != &*draft.current_hash();
        status::reset(&mut draft);
        set_index(&mut draft, 0);
        if has_steps {
            if draft
                .new_set()
                .is_some_and(|new| !new.hash().is_empty() && new.hash() == observed.stable_hash())
            {
                // ARGO: no event when only the steps of an idle Rollout were edited (Q27).
                if template_changed {
                    draft.tell_with_status("SkipSteps", "Rollback to stable ReplicaSets".to_owned());
                }
                set_index(&mut draft, count);
            } else if promotion::is_in_rollback_window(&draft)
                && draft.new_set().is_some_and(|new| new.wished() > 0)
            {
                let message = "Rollback to active ReplicaSets within RollbackWindow".to_owned();
                draft.tell_with_status("SkipSteps", message);
                set_index(&mut draft, count);
            }
        }
        return status::persist(draft);
    }
    let mut index = observed.index().unwrap_or(0);
    if draft.is_promoting_fully() || promotion::is_in_rollback_window(&draft) {
        draft.course.pauses_cleared = true;
        draft.course.abort_cleared = true;
        index = count;
    }
    if let Some(reason) = promotion::reason_for_canary(&draft, spec) {
        set_index(&mut draft, count);
        promotion::promote(&mut draft, &reason);
        return status::persist(draft);
    }
    if draft.is_aborted() {
        let is_stable = draft.new_set().is_some_and(|new| new.hash() == observed.stable_hash());
        set_index(&mut draft, if is_stable { count } else { 0 });
        return status::persist(draft);
    }
    if !draft.spec.paused
        && !analysis::holds_steps(&draft)
        && let Some(step) = usize::try_from(index).ok().and_then(|index| spec.steps.get(index))
    {
        match steps::advance(step, &mut draft, spec) {
            Progress::Done => {
                index += if draft.facts.is_sabotaged(Sabotage::TwoStepsAtOnce) { 2 } else { 1 };
                draft.course.pauses_removed.push("CanaryPauseStep");
                let text = steps::text(step);
                draft.because(crate::plan::Reason::StepDone { index: index - 1, what: text.clone().into() });
                let message = format!("Rollout step {index}/{count} completed ({text})");
                draft.tell_with_status("RolloutStepCompleted", message);
            }
            Progress::Holding(why) => draft.because(crate::plan::Reason::WaitingFor(why.into())),
        }
    }
    set_index(&mut draft, index);
    status::persist(draft)
}
