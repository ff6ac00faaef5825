//! `status.duration`: how long an update took and how it ended.

use tidegate_api::object::{Counted, Duration, RolloutStatus};
use tidegate_api::spec::{Pause, StepKind, Strategy};

use super::draft::Draft;
use super::set::Set;
use super::{canary, promotion};

/// Brings the duration in a new status up to date.
pub fn note(draft: &Draft<'_>, status: &mut RolloutStatus) {
    if status.condition("InvalidSpec").is_some() {
        return;
    }
    let now = draft.stamp();
    let old = &draft.observed;
    let hash_moved = !old.current().is_empty() && old.current() != &*draft.current_hash();
    let changed = old.current().is_empty()
        || match &draft.spec.strategy {
            Strategy::Canary(spec) => canary::has_changed(draft, spec),
            _ => hash_moved,
        };
    let promoted = !status.stable_hash().is_empty() && status.stable_hash() == status.current();
    let complete = promoted && draft.new_set().is_some_and(|new| new.available() >= draft.n());
    let aborted = status.is_aborted();
    let was_aborted =
        old.condition("Progressing").is_some_and(|c| c.reason.as_deref() == Some("RolloutAborted"));
    let mut duration = status.duration.clone().unwrap_or_default();
    let finish = |duration: &mut Duration, word: &str| {
        stop_pause(duration, now);
        duration.finished = Some(now);
        if duration.completion.is_none() {
            duration.completion = Some(word.into());
        }
    };
    let mut in_progress = duration.started.is_some() && duration.finished.is_none();
    if in_progress && changed {
        if is_rollback(draft) {
            let fast = promotion::is_fast_rollback(draft);
            duration.completion = Some(if fast { "FastRolledBack" } else { "RolledBack" }.into());
        } else {
            finish(&mut duration, "Superseded");
            in_progress = false;
        }
    }
    if in_progress && complete {
        finish(&mut duration, "Promoted");
        status.duration = Some(duration);
        return;
    }
    if in_progress && aborted {
        finish(&mut duration, "Aborted");
        in_progress = false;
    }
    let retry = !aborted && was_aborted;
    if !in_progress && !complete && (changed || retry) {
        duration = Duration { started: Some(now), ..Duration::default() };
        in_progress = true;
    }
    if in_progress {
        match needs_a_person(draft, status) {
            true if duration.manual_pause_started.is_none() => duration.manual_pause_started = Some(now),
            false => stop_pause(&mut duration, now),
            true => {}
        }
    }
    status.duration = duration.started.is_some().then_some(duration);
}

fn stop_pause(duration: &mut Duration, now: tidegate_api::time::Stamp) {
    if let Some(since) = duration.manual_pause_started.take() {
        let total = duration.manual_pause_seconds.map_or(0, |n| n.0);
        duration.manual_pause_seconds = Some(Counted(total.saturating_add((now.0 - since.0).max(0))));
    }
}

fn is_rollback(draft: &Draft<'_>) -> bool {
    let older = |new: &Set, stable: &Set| {
        new.hash() == draft.observed.stable_hash() || new.created() < stable.created()
    };
    matches!((draft.new_set(), draft.stable_set()), (Some(new), Some(stable)) if older(new, stable))
}

fn needs_a_person(draft: &Draft<'_>, status: &RolloutStatus) -> bool {
    let pause = |reason: &str| status.is_paused_for(reason);
    let endless = match &draft.spec.strategy {
        Strategy::Canary(spec) => {
            let step = canary::current_step(draft, spec).map(|index| &spec.steps[index].kind);
            pause("CanaryPauseStep") && matches!(step, Some(StepKind::Pause(Pause::Forever)))
        }
        Strategy::BlueGreen(spec) => pause("BlueGreenPause") && !spec.auto_promotion,
        Strategy::Unclear => false,
    };
    draft.spec.paused || endless || pause("InconclusiveAnalysisRun") || pause("InconclusiveExperiment")
}
