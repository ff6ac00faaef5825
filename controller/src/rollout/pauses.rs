//! Pauses and aborts as conditions, which also restart the progress clock on resume.

use tidegate_api::object::{PauseCondition, RolloutStatus};

use super::conditions;
use super::draft::Draft;
use super::phase::phase;
use super::set::Set;
use crate::sabotage::Sabotage;

/// The status with conditions that follow what a person did: pause, resume, retry; nothing when they already do.
pub fn note_in_conditions(draft: &Draft<'_>) -> Option<RolloutStatus> {
    let generation = draft.rollout().meta.generation.to_string();
    if draft.observed.observed_generation.as_deref() != Some(&*generation) {
        return None;
    }
    let mut status = (*draft.observed).clone();
    if !follow(draft, &mut status) {
        return None;
    }
    let (phase, message) = phase_of(draft, &status);
    status.phase = Some(phase.into());
    status.message = Some(message.into());
    super::duration::note(draft, &mut status);
    Some(status)
}

/// Phase and message of a status that this pass writes. Beside an old version that is being led away from, the pods of the
/// current one are not known by their number in the status.
// ARGO: the reference calls a rollback healthy as soon as enough pods of whatever version are there (S23).
pub fn phase_of(draft: &Draft<'_>, status: &RolloutStatus) -> (&'static str, String) {
    let (word, message) = phase(&draft.spec, status);
    let is_routed = draft.spec.canary().is_some_and(|canary| canary.traffic_routing.is_some());
    let is_short = |new: &Set| new.available() < draft.n();
    if word == "Healthy" && is_routed && draft.new_set().is_some_and(is_short) {
        return ("Progressing", "updated replicas are still becoming available".to_owned());
    }
    (word, message)
}

/// Makes the conditions of a status follow its own pauses and abort. Says whether that changed something.
// The reference writes them in a pass of their own, one status more for every pause and every resume.
pub fn follow(draft: &Draft<'_>, status: &mut RolloutStatus) -> bool {
    let now = draft.stamp();
    let paused = !status.pause_conditions().is_empty() || draft.spec.paused;
    let reason = status.condition("Progressing").and_then(|c| c.reason.clone()).unwrap_or_default();
    let aborted = &*reason == "RolloutAborted";
    let promoted = !status.stable_hash().is_empty() && status.stable_hash() == status.current();
    let mut changed = false;
    if paused != (&*reason == "RolloutPaused") && !aborted && !promoted {
        let (word, message) = if paused {
            ("RolloutPaused", "Rollout is paused")
        } else {
            ("RolloutResumed", "Rollout is resumed")
        };
        changed |= conditions::set(status, "Progressing", "Unknown", word, message, now);
    }
    if aborted && !status.is_aborted() {
        let message = "Retrying Rollout after abort";
        changed |= conditions::set(status, "Progressing", "Unknown", "RolloutRetry", message, now);
    }
    let noted = status.condition("Paused").is_some_and(|c| c.status.as_deref() == Some("True"));
    if paused != noted && !aborted {
        let value = if paused { "True" } else { "False" };
        changed |= conditions::set(status, "Paused", value, "RolloutPaused", "Rollout is paused", now);
    }
    changed
}

/// Carries the course of this pass into the status. Says what the event is, if pauses began or ended.
pub fn settle(draft: &mut Draft<'_>) {
    let aborted = draft.is_aborted() && !draft.facts.is_sabotaged(Sabotage::ForgetAbort);
    let now = draft.stamp();
    let old = draft.observed.clone();
    draft.status.pauses = None;
    draft.status.controller_pause = None;
    draft.status.abort = None;
    draft.status.aborted_at = None;
    if aborted {
        draft.status.abort = Some(true);
        draft.status.aborted_at = Some(old.aborted_at.unwrap_or(now));
        if old.aborted_at.is_none() {
            draft.status.promote_full = None;
        }
        return;
    }
    if draft.course.pauses_cleared {
        return;
    }
    let is = |p: &PauseCondition, reason: &str| p.reason.as_deref() == Some(reason);
    let mut pauses: Vec<PauseCondition> = old.pause_conditions().to_vec();
    for removed in draft.course.pauses_removed.iter().chain(&draft.course.pauses_spent) {
        pauses.retain(|p| !is(p, removed));
    }
    let mut controller_pause = old.controller_pause == Some(true);
    for added in &draft.course.pauses_added {
        if !old.pause_conditions().iter().any(|p| is(p, added)) {
            pauses.push(PauseCondition { reason: Some((*added).into()), start: Some(now), rest: None });
            controller_pause = true;
        }
    }
    if !pauses.is_empty() {
        draft.status.pauses = Some(pauses);
        draft.status.controller_pause = Some(controller_pause);
    } else if controller_pause && draft.course.pauses_removed.is_empty() {
        // A person resumed, or time did, while this pass could not act on it: the switch could not happen yet, or there
        // was only time to change sizes. That is not forgotten (S17).
        draft.status.controller_pause = Some(true);
    }
}
