//! S12 and S13: steps are walked one by one, and pauses are kept.

use std::sync::Arc;

use tidegate_api::object::{Object, RolloutStatus};
use tidegate_api::spec::{Pause, StepKind};

use super::{Change, Invariant};
use crate::world::World;

/// The step index moves by one, or jumps for a stated reason.
#[derive(Debug)]
pub struct Discipline;

/// An endless pause ends only by an act of a person.
#[derive(Debug)]
pub struct PausesAreKept;

fn statuses<'a>(change: &Change<'a>) -> Option<(&'a Arc<Object>, &'a RolloutStatus, &'a RolloutStatus)> {
    let (before, after) = (change.before?, change.after?);
    Some((after, &before.rollout()?.status, &after.rollout()?.status))
}

/// Whether both statuses are about the same update.
fn same_update(before: &RolloutStatus, after: &RolloutStatus) -> bool {
    before.current() == after.current()
        && before.step_hash == after.step_hash
        && before.is_aborted() == after.is_aborted()
        && before.promote_full != Some(true)
}

impl Invariant for Discipline {
    fn name(&self) -> &'static str {
        "S12"
    }

    fn wrote(&mut self, _world: &World, change: &Change<'_>) -> Result<(), String> {
        let Some((rollout, before, after)) = statuses(change) else { return Ok(()) };
        let (Some(from), Some(to)) = (before.index(), after.index()) else { return Ok(()) };
        if !same_update(before, after) || after.is_aborted() || from == to {
            return Ok(());
        }
        let steps = rollout
            .rollout()
            .and_then(|body| body.spec.spec().canary())
            .map_or(0, |canary| canary.steps.len());
        let end = i64::try_from(steps).unwrap_or(i64::MAX);
        if to < from || (to > from + 1 && to != end) {
            return Err(format!("step {from} of {} becomes step {to}", rollout.meta.name));
        }
        Ok(())
    }
}

impl Invariant for PausesAreKept {
    fn name(&self) -> &'static str {
        "S13"
    }

    fn wrote(&mut self, _world: &World, change: &Change<'_>) -> Result<(), String> {
        let Some((rollout, before, after)) = statuses(change) else { return Ok(()) };
        if !same_update(before, after)
            || after.is_aborted()
            || !before.is_paused_for("CanaryPauseStep")
            || after.is_paused_for("CanaryPauseStep")
        {
            return Ok(());
        }
        let canary = rollout.rollout().and_then(|body| body.spec.spec().canary());
        let index = before.index().and_then(|index| usize::try_from(index).ok());
        let step = canary.zip(index).and_then(|(canary, index)| canary.steps.get(index));
        if step.is_some_and(|step| step.kind == StepKind::Pause(Pause::Forever))
            && after.stable_hash() == before.stable_hash()
        {
            return Err(format!("the controller ends an endless pause of {}", rollout.meta.name));
        }
        Ok(())
    }
}
