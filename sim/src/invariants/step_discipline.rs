//! S12: within one epoch the step index never falls, and rises one by one.

use super::routed::{canary, percent};
use super::view::Views;
use super::{Invariant, Violation, is_another_epoch, rewritten};
use crate::dataplane::claims::accepted;
use crate::dataplane::flow::{WHOLE, part};
use crate::world::{Happened, World};

/// The invariant. A step to a weight is done when the routes ask for it.
pub struct StepDiscipline;

impl Invariant for StepDiscipline {
    fn name(&self) -> &'static str {
        "S12"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        let Some((before, after, object)) = rewritten(what) else { return Ok(()) };
        let count = after.spec.spec().canary().map_or(0, |canary| canary.steps.len());
        let end = i64::try_from(count).unwrap_or(i64::MAX);
        let begins = before.status.current() != after.status.current() && !before.status.current().is_empty();
        if begins && after.status.index().is_some_and(|index| index != 0 && index != end) {
            let message = format!("a new version begins at step {:?}", after.status.index());
            return Err(Violation::new(self.name(), world, message));
        }
        let (Some(from), Some(to)) = (before.status.index(), after.status.index()) else { return Ok(()) };
        if is_another_epoch(before, after) || before.status.is_aborted() || after.status.is_aborted() {
            return Ok(());
        }
        let spec = before.spec.spec();
        let full = before.status.promote_full == Some(true)
            || spec.rollback_window > 0
            || after.status.stable_hash() == after.status.current();
        if to == from + 1
            && !full
            && let Some(weight) = usize::try_from(from).ok().and_then(|at| {
                let canary = canary(object)?;
                let step = canary.steps.get(at)?.weight?;
                let whole = canary.traffic_routing.as_ref().map_or(100, |routing| routing.whole());
                Some(part(WHOLE, step, whole))
            })
            && spec.wished() > 0
        {
            // Percentages are rounded down.
            let there = accepted(world, object, None).share(after.status.current());
            if there + WHOLE / 100 <= weight {
                let message = format!(
                    "the step to {} is done while routes lead {} to the new version",
                    percent(weight),
                    percent(there)
                );
                return Err(Violation::new(self.name(), world, message));
            }
        }
        if to < from || (to > from + 1 && !full) {
            return Err(Violation::new(
                self.name(),
                world,
                format!("the step index goes from {from} to {to}"),
            ));
        }
        Ok(())
    }
}
