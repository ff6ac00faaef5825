//! S16: with no update under way an abort changes no size and no selector.

use tidegate_controller::rollout::services::selected_hash;

use super::view::{View, Views, rollout_of};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant. What only follows the wished number of pods is no effect of the abort.
pub struct AbortOfNothingIsNothing;

impl Invariant for AbortOfNothingIsNothing {
    fn name(&self) -> &'static str {
        "S16"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        let Happened::Stored { by: Writer::Controller, before: Some(before), after: Some(after), .. } = what
        else {
            return Ok(());
        };
        let Some(truth) = rollout_of(world, &after.key()).and_then(|key| View::of_truth(world, &key)) else {
            return Ok(());
        };
        let Some(body) = truth.rollout.rollout() else { return Ok(()) };
        let status = &body.status;
        let current =
            status.observed_generation.as_deref() == Some(&*truth.rollout.meta.generation.to_string());
        if !status.is_aborted() || !current || status.stable_hash() != status.current() {
            return Ok(());
        }
        let stable = status.stable_hash();
        let wrong = match (before.replica_set(), after.replica_set()) {
            (Some(old), Some(new)) => {
                let is_stable =
                    truth.of_hash(stable).is_some_and(|seen| seen.set.name() == &*after.meta.name);
                is_stable && new.wished() < old.wished() && new.wished() < truth.n()
            }
            _ => {
                after.service().is_some() && selected_hash(before) == stable && selected_hash(after) != stable
            }
        };
        if wrong {
            let message = format!("{} changes by an abort of nothing", after.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}
