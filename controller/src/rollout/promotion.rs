//! When the new version becomes the stable one, and when going back needs no steps.

use tidegate_api::spec::Canary;

use super::analysis;
use super::draft::Draft;
use super::scale::is_enough;
use super::set::{Deadline, Set};
use super::{traffic, workload};
use crate::names::EXPERIMENT_NAME;
use crate::plan::Reason;
use crate::sabotage::Sabotage;

/// Whether the current template is a rollback to a ReplicaSet so recent that no step needs to be repeated.
pub fn is_in_rollback_window(draft: &Draft<'_>) -> bool {
    let (Some(new), Some(stable)) = (draft.new_set(), draft.stable_set()) else { return false };
    let walks = draft.facts.is_sabotaged(Sabotage::WalkAllSteps);
    if walks || draft.spec.rollback_window <= 0 || new.created() >= stable.created() {
        return false;
    }
    let between = draft.sets.iter().filter(|set| {
        set.annotation(EXPERIMENT_NAME).is_none()
            && set.created() > new.created()
            && set.created() < stable.created()
    });
    i64::try_from(between.count()).is_ok_and(|count| count < draft.spec.rollback_window)
}

/// Whether the current template is a return to pods that are still there.
pub fn is_fast_rollback(draft: &Draft<'_>) -> bool {
    let (Some(new), Some(stable)) = (draft.new_set(), draft.stable_set()) else { return false };
    let is_stable = new.hash() == draft.observed.stable_hash();
    if !is_stable && new.created() >= stable.created() {
        return false;
    }
    // Looked up in the world: this pass may have taken the deadline away already.
    let within_delay = draft.spec.blue_green().is_some()
        && draft.world.sets.iter().filter(|set| *set.meta.name == *new.name()).any(|set| {
            Set::new(set.clone())
                .is_some_and(|set| matches!(set.deadline(), Deadline::At(at) if at.time() > draft.now))
        });
    is_stable || within_delay || is_in_rollback_window(draft)
}

fn fast_rollback_reason(draft: &Draft<'_>) -> Option<String> {
    if !is_fast_rollback(draft) {
        return None;
    }
    let reason = if is_in_rollback_window(draft) { "Rollback within window" } else { "Fast rollback" };
    Some(reason.to_owned())
}

// ARGO: only a Rollout that never had a stable version takes the first one unseen. A stable ReplicaSet that somebody
// deleted is no first deployment (race in the list of section 13).
fn is_initial(draft: &Draft<'_>) -> bool {
    draft.observed.stable_hash().is_empty()
}

/// Why the new version of a canary becomes stable now, if it does.
pub fn reason_for_canary(draft: &Draft<'_>, spec: &Canary) -> Option<String> {
    if is_initial(draft) {
        return Some("Initial deploy".to_owned());
    }
    if draft.is_aborted() {
        return None;
    }
    let n = draft.n();
    let new = draft.new_set()?;
    let unguarded = draft.facts.is_sabotaged(Sabotage::PromoteUnavailable);
    if new.available() < n
        && !unguarded
        && !(spec.threshold.is_some()
            && !draft.facts.is_sabotaged(Sabotage::PromoteByAll)
            && is_enough(spec.threshold, Some(new.count()), n))
    {
        return None;
    }
    if draft.is_promoting_fully() {
        return Some("Full promotion requested".to_owned());
    }
    if let Some(reason) = fast_rollback_reason(draft) {
        return Some(reason);
    }
    let count = spec.steps.len();
    // The weight of the last steps must be in force, or a router that was never told would lead nobody here.
    let is_led = count == 0 || traffic::weight_is_held(draft, spec, traffic::decide::whole(spec)).is_none();
    if !is_led {
        return None;
    }
    let done = count == 0
        || draft.observed.index().is_some_and(|index| usize::try_from(index).is_ok_and(|i| i >= count));
    done.then(|| format!("Completed all {count} canary steps"))
}

/// Why the new version of a blue-green update becomes stable now, if it does.
pub fn reason_for_blue_green(draft: &Draft<'_>) -> Option<String> {
    if is_initial(draft) || (draft.status.active().is_empty() && draft.distinct_stable().is_none()) {
        return Some("Initial deploy".to_owned());
    }
    if draft.status.active() != draft.status.current() || draft.traffic.is_unregistered {
        return None;
    }
    if draft.is_promoting_fully() {
        return Some("Full promotion requested".to_owned());
    }
    if let Some(reason) = fast_rollback_reason(draft) {
        return Some(reason);
    }
    (!draft.is_aborted() && analysis::allows_promotion(draft))
        .then(|| "Completed blue-green update".to_owned())
}

/// Makes the new version the stable one.
pub fn promote(draft: &mut Draft<'_>, reason: &str) {
    draft.course.pauses_cleared = true;
    draft.course.abort_cleared = true;
    draft.status.promote_full = None;
    let current = draft.status.current_hash.clone().unwrap_or_default();
    if draft.status.stable_hash() != &*current {
        let full = draft.is_promoting_fully();
        let completion = if full { "FastPromoted" } else { "Promoted" };
        let duration = draft.status.duration.get_or_insert_default();
        if duration.completion.is_none() {
            duration.completion = Some(completion.into());
        }
        draft.status.stable = Some(current.clone());
        swap_roles(draft);
        let message =
            format!("Rollout completed update to revision {} ({current}): {reason}", draft.revision());
        draft.tell_with_status("RolloutCompleted", message);
        draft.because(Reason::Promoted(reason.into()));
    }
    workload::retire_on_success(draft);
}

/// The Service that led to the canary leads to the stable version from now on. Only the roles change: no Service is
/// pointed elsewhere, and no request flows otherwise than before.
fn swap_roles(draft: &mut Draft<'_>) {
    if draft.spec.canary().is_none_or(|canary| canary.ping_pong.is_none()) {
        return;
    }
    let before = draft.observed.canary.as_ref().and_then(|canary| canary.stable_ping_pong.clone());
    let after = if before.as_deref() == Some("ping") { "pong" } else { "ping" };
    draft.status.canary.get_or_insert_default().stable_ping_pong = Some(after.into());
}
