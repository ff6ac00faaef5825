//! S13: nothing moves past a pause before its time or a user's act.

use tidegate_api::spec::{Pause, StepKind};

use super::view::Views;
use super::{Invariant, Violation, is_another_epoch, rewritten};
use crate::world::{Happened, World};

/// The invariant.
pub struct PausesAreKept;

impl Invariant for PausesAreKept {
    fn name(&self) -> &'static str {
        "S13"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        let Some((before, after, _)) = rewritten(what) else { return Ok(()) };
        let spec = before.spec.spec();
        let Some(canary) = spec.canary() else { return blue_green(self.name(), world, before, after) };
        // A first deployment has nothing to compare itself with: S14 lets it become stable at once, without a step. So
        // the only move there is goes to the end.
        let count = i64::try_from(canary.steps.len()).unwrap_or(i64::MAX);
        let first = before.status.stable_hash().is_empty() && after.status.index() == Some(count);
        // Ends of a pause that somebody asked for, or that come with another version.
        let excused = is_another_epoch(before, after)
            || before.status.promote_full == Some(true)
            || after.status.is_aborted()
            || spec.rollback_window > 0
            || first
            || before.status.stable_hash() == before.status.current();
        let from = before.status.index().unwrap_or(0);
        let moves = after.status.index().unwrap_or(0) > from;
        if excused || !moves {
            return Ok(());
        }
        if spec.paused {
            return Err(Violation::new(self.name(), world, "a paused Rollout moves to another step"));
        }
        let step = usize::try_from(from).ok().and_then(|from| canary.steps.get(from));
        let Some(StepKind::Pause(pause)) = step.map(|step| &step.kind) else { return Ok(()) };
        let held =
            before.status.pause_conditions().iter().find(|p| p.reason.as_deref() == Some("CanaryPauseStep"));
        let over = match (held, pause) {
            (None, _) => before.status.controller_pause == Some(true),
            (Some(held), &Pause::Seconds(seconds, _)) => {
                held.start.is_some_and(|start| start.plus_seconds(seconds).time() <= world.now())
            }
            (Some(_), _) => false,
        };
        if over {
            return Ok(());
        }
        Err(Violation::new(self.name(), world, format!("step {from} is left before its pause is over")))
    }
}

/// The pause of a blue-green update ends by time, by a person, or with the update.
fn blue_green(
    id: &'static str,
    world: &World,
    before: &tidegate_api::object::RolloutBody,
    after: &tidegate_api::object::RolloutBody,
) -> Result<(), Violation> {
    const REASON: &str = "BlueGreenPause";
    let spec = before.spec.spec();
    let Some(blue_green) = spec.blue_green() else { return Ok(()) };
    let held = before.status.pause_conditions().iter().find(|p| p.reason.as_deref() == Some(REASON));
    let Some(held) = held.filter(|_| !after.status.is_paused_for(REASON)) else { return Ok(()) };
    let excused = is_another_epoch(before, after)
        || before.status.promote_full == Some(true)
        || before.status.checkpoint()
        || after.status.is_aborted()
        || spec.rollback_window > 0
        || before.status.active() == before.status.current()
        || after.status.active() == after.status.current();
    let seconds = blue_green.auto_promotion_seconds.max(0);
    let over = blue_green.auto_promotion
        && held.start.is_some_and(|start| start.plus_seconds(seconds).time() <= world.now());
    if excused || over {
        return Ok(());
    }
    Err(Violation::new(id, world, "the pause before promotion ends early"))
}
