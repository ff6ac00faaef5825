//! Sizes of the ReplicaSets: scale-down deadlines, and which ReplicaSets may not be touched.

use tidegate_api::spec::{Canary, Strategy};

use super::draft::Draft;
use super::services::selected_hash;
use super::set::{Deadline, Set};
use crate::edit::Edit;
use crate::names::{DESIRED_REPLICAS, SCALE_DOWN_DEADLINE};
use crate::plan::Reason;
use crate::sabotage::Sabotage;

/// Default of `scaleDownDelaySeconds` and `abortScaleDownDelaySeconds` where they apply, in seconds.
pub const DEFAULT_DELAY: i64 = 30;

/// Whether the wished number of pods changed since the current or the stable ReplicaSet was scaled last.
pub fn is_scaling_event(draft: &Draft<'_>) -> bool {
    let n = draft.n();
    let mut both = [draft.new_set(), draft.stable_set()].into_iter().flatten();
    let is_of_another_size =
        |set: &Set| set.wished() > 0 && set.desired().is_some_and(|desired| desired != n);
    let counts_all = draft.facts.is_sabotaged(Sabotage::ScaleOnly);
    both.any(is_of_another_size) || (counts_all && draft.sets.iter().any(is_of_another_size))
}

/// Whether nothing may change size: the user paused, or evidence was inconclusive.
pub fn is_halted(draft: &Draft<'_>) -> bool {
    draft.spec.paused || draft.observed.is_paused_for("InconclusiveAnalysisRun")
}

/// Takes the scale-down deadline off the current and the stable ReplicaSet.
pub fn clear_deadlines(draft: &mut Draft<'_>, keep_on_new: bool) {
    let new = draft.new.filter(|_| !keep_on_new);
    for index in [new, draft.stable.filter(|stable| Some(*stable) != draft.new)].into_iter().flatten() {
        clear_deadline(draft, index);
    }
}

/// Takes the scale-down deadline off a ReplicaSet.
pub fn clear_deadline(draft: &mut Draft<'_>, index: usize) {
    if draft.sets[index].annotation(SCALE_DOWN_DEADLINE).is_some() {
        draft.edit_set(index, vec![Edit::Annotation(SCALE_DOWN_DEADLINE.into(), None)], Vec::new());
    }
}

/// Notes that a ReplicaSet may be scaled down so many seconds from now.
pub fn set_deadline(draft: &mut Draft<'_>, index: usize, seconds: i64) {
    let seconds = if draft.facts.is_sabotaged(Sabotage::NoScaleDownDelay) { 0 } else { seconds };
    let at = draft.stamp().plus_seconds(seconds);
    let edit = Edit::Annotation(SCALE_DOWN_DEADLINE.into(), Some(at.to_string().into()));
    draft.edit_set(index, vec![edit], Vec::new());
    wait_for_deadline(draft, index, at);
}

/// Looks again when the deadline has passed.
pub fn wait_for_deadline(draft: &mut Draft<'_>, index: usize, at: tidegate_api::time::Stamp) {
    let what = format!("{} keeps its pods", draft.sets[index].name());
    draft.wake_at(at.time(), &what);
}

/// Notes the wished number of pods in a ReplicaSet that keeps its size.
pub fn note_desired(draft: &mut Draft<'_>, index: usize) {
    let n = draft.n();
    if draft.sets[index].desired() != Some(n) {
        let edit = Edit::Annotation(DESIRED_REPLICAS.into(), Some(n.to_string().into()));
        draft.edit_set(index, vec![edit], Vec::new());
    }
}

/// The size of an old ReplicaSet that is kept for a while: `keep` until its deadline, then 0. `counted` runs over the
/// ReplicaSets of one pass and is held against the limit of revisions that may wait.
// ARGO: a delay of 0 means at once, not never (Q3); the alarm has no horizon (Q4).
pub fn delayed_size(
    draft: &mut Draft<'_>,
    index: usize,
    delay: i64,
    limit: Option<i64>,
    keep: i64,
    counted: &mut i64,
) -> i64 {
    let set = draft.sets[index].clone();
    let limit = limit.unwrap_or(i64::MAX);
    let delay = if draft.facts.is_sabotaged(Sabotage::NoScaleDownDelay) { 0 } else { delay };
    match set.deadline() {
        Deadline::None if set.wished() > 0 && *counted < limit && delay > 0 => {
            *counted += 1;
            set_deadline(draft, index, delay);
            set.wished()
        }
        Deadline::None => 0,
        deadline => {
            *counted += 1;
            match deadline {
                Deadline::At(at) if *counted <= limit && at.time() > draft.now => {
                    wait_for_deadline(draft, index, at);
                    keep
                }
                _ => 0,
            }
        }
    }
}

/// Whether anything still names this ReplicaSet: the status or the selector of a Service of the Rollout.
pub fn is_referenced(draft: &Draft<'_>, index: usize) -> bool {
    let hash = draft.sets[index].hash();
    let status = &draft.observed;
    if hash.is_empty() {
        return false;
    }
    [status.stable_hash(), status.current(), status.active(), status.preview()].contains(&hash)
        || draft.services.values().any(|service| selected_hash(service) == hash)
}

/// Indices of other ReplicaSets with pods, the newest revision first; those without a revision last.
pub fn others_by_revision(draft: &Draft<'_>) -> Vec<usize> {
    let mut others = draft.others();
    others.retain(|i| draft.sets[*i].wished() > 0);
    others.sort_by_key(|i| {
        let set = &draft.sets[*i];
        let created = std::cmp::Reverse(set.created());
        (set.revision().is_none(), std::cmp::Reverse(set.revision()), created)
    });
    others
}

/// Takes pods of superseded revisions away, within the disruption budget. Says whether any size changed.
pub fn drain_others(draft: &mut Draft<'_>, canary: &Canary) -> bool {
    let mut others = draft.others();
    others.retain(|i| draft.sets[*i].wished() > 0);
    if others.is_empty() || draft.facts.is_sabotaged(Sabotage::KeepSuperseded) {
        return false;
    }
    let n = draft.n();
    let missing = super::scale::Limits::of_canary(canary, n).missing(n);
    // A set that was scaled down a moment ago still reports the pods that are about to go: they count no more.
    let available = draft.sum(|set| set.available().min(set.wished()));
    let mut scaled = false;
    // Pods that serve nobody go first.
    for index in others {
        let set = draft.sets[index].clone();
        if set.available() < set.wished() {
            scaled |= draft.scale(index, set.available(), false, "its other pods are not available");
        }
    }
    let mut room = available - (n - missing);
    for index in others_by_revision(draft) {
        if room <= 0 {
            break;
        }
        let wished = draft.sets[index].wished();
        let target = (wished - room).max(0);
        scaled |= draft.scale(index, target, false, "a newer revision replaces it");
        room -= wished - target;
    }
    if !scaled {
        draft.because(Reason::WaitingFor("available pods before older revisions shrink".into()));
    }
    scaled
}

/// For how many seconds an aborted new ReplicaSet is kept before it goes; nothing where it is not kept for a time.
pub fn abort_delay(draft: &Draft<'_>) -> Option<i64> {
    let explicit = match &draft.spec.strategy {
        Strategy::BlueGreen(spec) => spec.abort_scale_down_delay_seconds,
        Strategy::Canary(spec) if spec.traffic_routing.is_some() => match spec.abort_scale_down_delay_seconds
        {
            // It goes with its traffic.
            None if spec.dynamic_stable_scale => return None,
            delay => delay,
        },
        Strategy::Canary(_) | Strategy::Unclear => return None,
    };
    let delay = explicit.unwrap_or(DEFAULT_DELAY);
    (draft.observed.is_aborted()
        && draft.is_aborted()
        && draft.stable.is_some()
        && draft.stable != draft.new
        && delay != 0)
        .then_some(delay)
}
