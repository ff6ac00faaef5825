//! The status of a pass: begun with counts, filled by the strategy, written with conditions and phase.

use std::borrow::Cow;

use tidegate_api::object::Text;
use tidegate_api::problem::Problem;
use tidegate_api::spec::{Spec, Strategy};
use tidegate_api::time::Time;
use tidegate_api::validate;

use super::draft::Draft;
use super::phase::phase;
use super::set::Set;
use super::{analysis, blue_green, conditions, duration, experiment, pauses, traffic};
use crate::names::WORKLOAD_GENERATION;
use crate::plan::{Plan, Reason};
use crate::routers;
use crate::sabotage::Sabotage;
use crate::world::{Facts, RolloutWorld};

/// Everything that is wrong with the Rollout, in the order in which the reference would find it.
pub fn problems(draft: &Draft<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(body) = draft.rollout().rollout() else { return problems };
    let checked = body.spec.checked();
    if draft.spec.workload_ref.is_some()
        && let (Some(template), Some(selector)) = (&draft.spec.template, &draft.spec.selector)
    {
        problems.extend(validate::template_problems(template, selector));
    }
    if !draft.facts.is_sabotaged(Sabotage::TrustTemplates) {
        problems.extend(checked.problems.iter().cloned());
    }
    if problems.is_empty() && !draft.facts.is_sabotaged(Sabotage::ShareServices) {
        let labels = draft.spec.template.as_ref().map(|t| t.labels.clone()).unwrap_or_default();
        let service = |name: &str| draft.services.get(name).cloned();
        let services = validate::service_problems(draft.name(), &draft.spec, &labels, &service);
        let views = draft.spec.canary().map(|canary| traffic::views(draft, canary)).unwrap_or_default();
        problems.extend(services.missing);
        problems.extend(routers::check::missing(&views));
        problems.extend(analysis::problems(draft));
        problems.extend(services.misfitting);
        problems.extend(routers::check::misfitting(&views));
    }
    problems
}

/// Refuses a Rollout of which not even the template is known.
pub fn refuse(world: &RolloutWorld, facts: &Facts, now: Time, problem: &str) -> Plan {
    let Some(body) = world.rollout.rollout() else { return Plan::default() };
    let draft = Draft::new(world, facts, now, Cow::<Spec>::Borrowed(body.spec.spec()), Vec::new());
    refuse_draft(draft, problem)
}

/// Says in the status what is wrong and leaves everything else as it is. Nothing needs an alarm: a change of the
/// Rollout or of what it refers to brings the next look.
pub fn refuse_draft(mut draft: Draft<'_>, problem: &str) -> Plan {
    let message = format!("The Rollout \"{}\" is invalid: {problem}", draft.name());
    draft.because(Reason::Refused(message.clone().into()));
    let mut status = (*draft.observed).clone();
    let known = status.condition("InvalidSpec").and_then(|c| c.message.clone());
    if known.as_deref() != Some(&*message) {
        conditions::renew(&mut status, "InvalidSpec", "True", "InvalidSpec", &message, draft.stamp());
    }
    status.observed_generation = Some(draft.rollout().meta.generation.to_string().into());
    let (phase, message) = phase(&draft.spec, &status);
    status.phase = Some(phase.into());
    status.message = Some(message.into());
    draft.status = status;
    draft.finish()
}

/// The fields that every full pass begins with.
pub fn begin(draft: &mut Draft<'_>) {
    let observed = draft.observed.clone();
    draft.status.conditions = observed.conditions.clone();
    if !draft.facts.is_sabotaged(Sabotage::InvalidForEver) {
        conditions::remove(&mut draft.status, "InvalidSpec");
    }
    draft.status.current_hash = Some(draft.current_hash());
    draft.status.replicas = Some(draft.sum(Set::actual));
    draft.status.updated = Some(draft.new_set().map_or(0, Set::actual));
    draft.status.ready = Some(draft.sum(Set::ready));
    draft.status.collisions = observed.collisions;
    draft.status.promote_full = observed.promote_full;
}

/// Counts of blue-green: users see the active ReplicaSet only.
pub fn count_active(draft: &mut Draft<'_>, active: &str) {
    let all = (draft.sum(Set::ready), draft.sum(Set::available), draft.sum(Set::actual));
    let set = blue_green::active_set(draft, active);
    let (ready, available, actual) = set.map_or(all, |set| (set.ready(), set.available(), set.actual()));
    let selector = match set {
        Some(set) => Some(set.body().selector.text()),
        None => draft.spec.selector.as_ref().map(|selector| selector.text()),
    };
    draft.status.ready = Some(ready);
    draft.status.available = Some(available);
    draft.status.hpa = match draft.facts.is_sabotaged(Sabotage::CountEveryVersion) {
        true => Some(all.2),
        false => Some(actual),
    };
    draft.status.selector = selector.map(Text::from);
}

/// The counts that a scale-only pass brings up to date; all others stay.
pub fn count_for_scaling(draft: &mut Draft<'_>) {
    let all = (draft.sum(Set::available), draft.sum(Set::actual));
    let (available, actual) = match &draft.spec.strategy {
        Strategy::BlueGreen(_) => blue_green::active_set(draft, draft.observed.active())
            .map_or(all, |set| (set.available(), set.actual())),
        _ => all,
    };
    draft.status.available = Some(available);
    draft.status.hpa = Some(actual);
}

/// Forgets everything that belonged to another template or other steps.
pub fn reset(draft: &mut Draft<'_>) {
    if draft.facts.is_sabotaged(Sabotage::CarryOver) {
        return;
    }
    draft.course.pauses_cleared = true;
    draft.course.abort_cleared = true;
    draft.course.abort = None;
    draft.status.promote_full = None;
    // ARGO: a restart under way ends with a new template, whose pods are all new (Q43).
    let template_changed =
        !draft.observed.current().is_empty() && draft.observed.current() != &*draft.current_hash();
    if template_changed && draft.spec.restart_at.is_some_and(|at| at.time() < draft.now) {
        draft.status.restarted_at = draft.spec.restart_at;
    }
}

/// Completes the status and ends the pass.
pub fn persist(mut draft: Draft<'_>) -> Plan {
    draft.status.observed_generation = match draft.facts.is_sabotaged(Sabotage::ForgetObservedGeneration) {
        true => draft.observed.observed_generation.clone(),
        false => Some(draft.rollout().meta.generation.to_string().into()),
    };
    draft.status.workload_generation = match &draft.spec.workload_ref {
        Some(_) => draft.rollout().meta.annotations.get(WORKLOAD_GENERATION).cloned(),
        None => None,
    };
    conditions::abort_at_deadline(&mut draft);
    analysis::record(&mut draft);
    experiment::record(&mut draft);
    pauses::settle(&mut draft);
    if draft.is_aborted() && draft.spec.canary().is_some_and(|canary| !canary.steps.is_empty()) {
        let fully = draft.new_set().is_some_and(|new| new.hash() == draft.observed.stable_hash());
        if !fully {
            draft.status.step_index = Some(tidegate_api::object::Counted(0));
        }
    }
    conditions::summarise(&mut draft);
    let (before, after) = (draft.observed.pause_conditions().len(), draft.status.pause_conditions().len());
    if (before == 0) != (after == 0) {
        let mut status = std::mem::take(&mut draft.status);
        pauses::follow(&draft, &mut status);
        draft.status = status;
    }
    let (word, message) = pauses::phase_of(&draft, &draft.status);
    draft.status.phase = Some(word.into());
    draft.status.message = Some(message.into());
    let mut status = std::mem::take(&mut draft.status);
    duration::note(&draft, &mut status);
    draft.status = status;
    if before == 0 && after > 0 {
        let reason = draft.status.pause_conditions()[0].reason.clone().unwrap_or_default();
        draft.tell_with_status("RolloutPaused", format!("Rollout is paused ({reason})"));
    }
    if before > 0 && after == 0 && !draft.is_aborted() {
        draft.tell_with_status("RolloutResumed", "Rollout is resumed".to_owned());
    }
    if draft.observed.means(&draft.status)
        && let Some(at) = conditions::next_deadline_check(&draft)
    {
        draft.wake_at(at, "the progress deadline");
    }
    draft.finish()
}
