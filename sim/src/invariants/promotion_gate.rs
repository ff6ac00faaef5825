//! S14: a version becomes the stable one only at the end of its steps, with all its pods available.

use super::view::{View, Views};
use super::{Invariant, Violation, rewritten};
use crate::world::{Happened, World};

/// The invariant, as far as it needs no analysis.
pub struct PromotionGate;

impl Invariant for PromotionGate {
    fn name(&self) -> &'static str {
        "S14"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        let Some((before, after, object)) = rewritten(what) else { return Ok(()) };
        let (old, new) = (&before.status, &after.status);
        // A first deployment has nothing to be compared with; a rollback in its window needs no steps.
        if old.stable == new.stable || old.stable_hash().is_empty() || before.spec.spec().rollback_window > 0
        {
            return Ok(());
        }
        let Some(truth) = View::of_truth(world, &object.key()) else { return Ok(()) };
        let hash = new.stable_hash();
        if let Some(canary) = before.spec.spec().canary() {
            let count = i64::try_from(canary.steps.len()).unwrap_or(i64::MAX);
            let done =
                old.promote_full == Some(true) || count == 0 || old.index().is_some_and(|i| i >= count);
            if !done {
                let message = format!("{hash} becomes stable at step {:?} of {count}", old.index());
                return Err(Violation::new(self.name(), world, message));
            }
            let carries = |view: &View| view.of_hash(hash).is_some_and(|seen| seen.available >= view.n());
            if canary.threshold.is_none() && !carries(&truth) && !known.about(&object.key()).any(carries) {
                return Err(Violation::new(
                    self.name(),
                    world,
                    format!("{hash} becomes stable without its pods"),
                ));
            }
        } else if before.spec.spec().blue_green().is_some() && new.active() != hash {
            // That it could carry its users was asked when they were sent to it (S2).
            return Err(Violation::new(
                self.name(),
                world,
                format!("{hash} becomes stable before it serves"),
            ));
        }
        Ok(())
    }
}
