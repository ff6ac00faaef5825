//! Conditions of the status: what is true of the Rollout, one sentence each.

use tidegate_api::object::{Condition, RolloutStatus};
use tidegate_api::spec::{StepKind, Strategy};
use tidegate_api::time::{Span, Stamp};

use super::draft::Draft;
use super::set::{Deadline, Set};
use super::{blue_green, canary};
use crate::sabotage::Sabotage;

/// Sets a condition unless one with the same status and reason is there. Says whether it changed. The condition that
/// changed last stands at the end; `lastTransitionTime` moves with the status only.
pub fn set(
    status: &mut RolloutStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Stamp,
) -> bool {
    let same = |c: &Condition| c.status.as_deref() == Some(value) && c.reason.as_deref() == Some(reason);
    if status.condition(kind).is_some_and(same) {
        return false;
    }
    renew(status, kind, value, reason, message, now);
    true
}

/// Sets a condition with fresh times, whatever is there.
pub fn renew(status: &mut RolloutStatus, kind: &str, value: &str, reason: &str, message: &str, now: Stamp) {
    let old = status.condition(kind).filter(|c| c.status.as_deref() == Some(value));
    let changed = old.and_then(|c| c.changed).unwrap_or(now);
    let condition = Condition {
        kind: Some(kind.into()),
        status: Some(value.into()),
        reason: Some(reason.into()),
        message: Some(message.into()),
        updated: Some(now),
        changed: Some(changed),
        rest: None,
    };
    remove(status, kind);
    status.conditions.get_or_insert_default().push(condition);
}

/// Takes a condition away.
pub fn remove(status: &mut RolloutStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|c| c.kind.as_deref() != Some(kind));
    }
}

/// Whether everything is as the user wants it.
pub fn is_healthy(draft: &Draft<'_>, status: &RolloutStatus) -> bool {
    let n = draft.n();
    let generation = draft.rollout().meta.generation.to_string();
    let counted = status.updated.unwrap_or(0) == n && status.available.unwrap_or(0) == n;
    let observed = draft.observed.observed_generation.as_deref() == Some(&*generation);
    let settled = match &draft.spec.strategy {
        Strategy::BlueGreen(spec) => {
            status.active() == status.current()
                && (spec.preview_service.is_empty() || status.preview() == status.current())
        }
        Strategy::Canary(spec) => {
            let count = i64::try_from(spec.steps.len()).unwrap_or(i64::MAX);
            status.index().is_none_or(|index| index == count)
                && !status.stable_hash().is_empty()
                && status.stable_hash() == status.current()
                && status.replicas.unwrap_or(0) == n
                && draft.traffic.trouble.is_none()
        }
        Strategy::Unclear => false,
    };
    counted && observed && settled
}

/// Whether this pass saw the update move.
fn has_progress(draft: &Draft<'_>, status: &RolloutStatus) -> bool {
    let old = &draft.observed;
    let number = |value: Option<i64>| value.unwrap_or(0);
    let older = |s: &RolloutStatus| number(s.replicas) - number(s.updated);
    let moved = match &draft.spec.strategy {
        Strategy::BlueGreen(_) => old.active() != status.active() || old.preview() != status.preview(),
        Strategy::Canary(_) => {
            let index = matches!((old.index(), status.index()), (Some(a), Some(b)) if a != b);
            old.stable_hash() != status.stable_hash()
                || index
                || left_a_question(old, status)
                || old.step_hash.as_deref().unwrap_or("") != status.step_hash.as_deref().unwrap_or("")
        }
        Strategy::Unclear => false,
    };
    number(status.updated) != number(old.updated)
        || older(status) < older(old)
        || number(status.ready) > number(old.ready)
        || number(status.available) > number(old.available)
        || moved
}

/// Whether the step's analysis or experiment was left behind. A person who promotes past it moves the index beforehand.
// ARGO: there the deadline counts the time of the question, too, and the promoted update has timed out at once (S23).
fn left_a_question(old: &RolloutStatus, new: &RolloutStatus) -> bool {
    let asked = |status: &RolloutStatus| {
        let canary = status.canary();
        (canary.step_run.and_then(|run| run.name), canary.experiment)
    };
    let ((old_run, old_experiment), (run, experiment)) = (asked(old), asked(new));
    (old_run.is_some() && old_run != run) || (old_experiment.is_some() && old_experiment != experiment)
}

/// Whether the deadline has passed without progress, judged on the stored conditions.
pub fn is_timed_out(draft: &Draft<'_>) -> bool {
    let Some(progressing) = draft.observed.condition("Progressing") else { return false };
    match progressing.reason.as_deref() {
        Some("RolloutAborted" | "RolloutPaused") => false,
        Some("ProgressDeadlineExceeded") => true,
        _ => deadline(draft).is_some_and(|deadline| deadline.time() < draft.now),
    }
}

fn deadline(draft: &Draft<'_>) -> Option<Stamp> {
    let updated = draft.observed.condition("Progressing")?.updated?;
    Some(updated.plus_seconds(draft.spec.progress_deadline_seconds))
}

/// Whether the update stands at a point where no progress is expected.
fn waits_without_limit(draft: &Draft<'_>) -> bool {
    let paused = draft.observed.condition("Paused").is_some_and(|c| c.status.as_deref() == Some("True"));
    let Strategy::Canary(spec) = &draft.spec.strategy else { return paused };
    let step = canary::current_step(draft, spec).map(|index| &spec.steps[index].kind);
    paused || matches!(step, Some(StepKind::Pause(_) | StepKind::Analysis(_) | StepKind::Experiment(_)))
}

/// Whether the current version is the stable one.
fn is_promoted(status: &RolloutStatus) -> bool {
    !status.stable_hash().is_empty() && status.stable_hash() == status.current()
}

/// Whether nothing is left that could take too long: the update is over and has its pods.
// ARGO: the reference counts on while old pods go after their delay, and says that an update has timed out which is over
// (S23, #1624).
fn is_arrived(draft: &Draft<'_>, status: &RolloutStatus) -> bool {
    is_promoted(status)
        && !draft.facts.is_sabotaged(Sabotage::CountOn)
        && draft.new_set().is_some_and(|new| new.available() >= draft.n())
}

/// Whether an old ReplicaSet lives out its delay.
// ARGO: a deadline that has passed is waited for no longer, or the clock would stand still for ever (#4971).
fn waits_for_scale_down(draft: &Draft<'_>) -> bool {
    let live = |set: &Set| matches!(set.deadline(), Deadline::At(at) if at.time() > draft.now);
    draft.others().iter().any(|i| live(&draft.sets[*i]))
}

/// Aborts the update when its deadline has passed and the user asked for that.
pub fn abort_at_deadline(draft: &mut Draft<'_>) {
    let fully_promoted = draft.status.stable_hash() == draft.status.current();
    if !draft.spec.progress_deadline_abort
        || draft.is_aborted()
        || fully_promoted
        || has_progress(draft, &draft.status)
        || waits_without_limit(draft)
        || waits_for_scale_down(draft)
        || !is_timed_out(draft)
    {
        return;
    }
    let message = format!("{} has timed out progressing.", subject(draft));
    draft.warn_with_status("RolloutAborted", message.clone());
    draft.course.abort = Some(message.into());
}

fn subject(draft: &Draft<'_>) -> String {
    match draft.new_set() {
        Some(set) => format!("ReplicaSet \"{}\"", set.name()),
        None => format!("Rollout \"{}\"", draft.name()),
    }
}

/// Writes all conditions of a full or scale-only pass.
pub fn summarise(draft: &mut Draft<'_>) {
    let now = draft.stamp();
    let mut status = std::mem::take(&mut draft.status);
    let paused = !status.pause_conditions().is_empty() || draft.spec.paused;
    let healthy = is_healthy(draft, &status);
    let mut became_unhealthy = false;
    if healthy && !paused {
        set(&mut status, "Healthy", "True", "RolloutHealthy", "Rollout is healthy", now);
    } else if status.condition("Healthy").is_some() {
        became_unhealthy =
            set(&mut status, "Healthy", "False", "RolloutHealthy", "Rollout is not healthy", now);
    }
    let completed = is_promoted(&status);
    let value = if completed { "True" } else { "False" };
    if set(&mut status, "Completed", value, "RolloutCompleted", "RolloutCompleted", now) && !completed {
        let (revision, hash) = (draft.revision(), status.current());
        let message = format!("Rollout not completed, started update to revision {revision} ({hash})");
        draft.tell_with_status("RolloutNotCompleted", message);
    }
    if draft.is_aborted() {
        let mut message = format!("Rollout aborted update to revision {}", draft.revision());
        if let Some(why) = draft.course.abort.clone() {
            message = format!("{message}: {why}");
        }
        if set(&mut status, "Progressing", "False", "RolloutAborted", &message, now) {
            draft.warn_with_status("RolloutAborted", message);
        }
    } else if healthy {
        // A pause after the switch says so here, or the two would take turns for ever.
        if completed || !paused {
            let message = format!("{} has successfully progressed.", subject(draft));
            set(&mut status, "Progressing", "True", "NewReplicaSetAvailable", &message, now);
        }
    } else if has_progress(draft, &status) || became_unhealthy {
        if completed && became_unhealthy {
            let message = "Rollout does not have minimum availability";
            renew(&mut status, "Progressing", "True", "ReplicaSetNotAvailable", message, now);
        } else {
            let message = format!("{} is progressing.", subject(draft));
            renew(&mut status, "Progressing", "True", "ReplicaSetUpdated", &message, now);
        }
    } else if !is_arrived(draft, &status)
        && !paused
        && !waits_without_limit(draft)
        && !waits_for_scale_down(draft)
        && is_timed_out(draft)
    {
        let message = format!("{} has timed out progressing.", subject(draft));
        set(&mut status, "Progressing", "False", "ProgressDeadlineExceeded", &message, now);
    }
    let n = draft.n();
    let available = match &draft.spec.strategy {
        Strategy::BlueGreen(_) => {
            blue_green::active_set(draft, status.active()).is_some_and(|set| set.is_saturated(n))
        }
        _ => draft.sum(Set::available) >= n,
    };
    let (value, message) = match available {
        true => ("True", "Rollout has minimum availability"),
        false => ("False", "Rollout does not have minimum availability"),
    };
    if draft.facts.is_sabotaged(Sabotage::StampedMessage) {
        let message = format!("{message} at {}", draft.now.0);
        renew(&mut status, "Available", value, "AvailableReason", &message, now);
    }
    set(&mut status, "Available", value, "AvailableReason", message, now);
    copy_replica_failure(draft, &mut status);
    draft.status = status;
}

fn copy_replica_failure(draft: &Draft<'_>, status: &mut RolloutStatus) {
    let failure =
        |set: &Set| set.body().status.conditions.iter().find(|c| c.text("type") == "ReplicaFailure").cloned();
    let found = draft.new_set().and_then(failure).or_else(|| draft.sets.iter().find_map(failure));
    match found {
        None => remove(status, "ReplicaFailure"),
        Some(found) => {
            let at = Stamp::parse(found.text("lastTransitionTime")).unwrap_or(draft.stamp());
            set(
                status,
                "ReplicaFailure",
                found.text("status"),
                found.text("reason"),
                found.text("message"),
                at,
            );
        }
    }
}

/// When the deadline must be looked at again, if the update is one that can time out.
pub fn next_deadline_check(draft: &Draft<'_>) -> Option<tidegate_api::time::Time> {
    let reason = draft.observed.condition("Progressing")?.reason.clone();
    let idle = is_healthy(draft, &draft.observed)
        || is_arrived(draft, &draft.observed)
        || reason.as_deref() == Some("ProgressDeadlineExceeded")
        || reason.as_deref() == Some("RolloutAborted")
        || !draft.observed.pause_conditions().is_empty()
        || draft.spec.paused
        || draft.observed.is_aborted()
        || waits_without_limit(draft)
        || waits_for_scale_down(draft);
    let at = deadline(draft)?.time().plus(Span::seconds(1));
    (!idle && at > draft.now).then_some(at)
}
