//! L1: at rest a Rollout is done, waits for a person, or says what is wrong.

use tidegate_api::object::Kind;

use super::{Invariant, Violation};
use crate::world::World;

/// The invariant.
pub struct ComesToAnEnd;

impl Invariant for ComesToAnEnd {
    fn name(&self) -> &'static str {
        "L1"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(status) = rollout.rollout().map(|body| &body.status) else { continue };
            let ended = match status.phase.as_deref() {
                Some("Healthy" | "Paused") => true,
                Some("Degraded") => status.message.as_deref().is_some_and(|message| !message.is_empty()),
                _ => false,
            };
            if !ended {
                let message =
                    format!("{} rests in {:?}: {:?}", rollout.meta.name, status.phase, status.message);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
