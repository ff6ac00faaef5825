//! L1: a world that has come to rest has come to a rest that somebody can explain.

use tidegate_api::object::Kind;

use super::Invariant;
use crate::world::World;

/// Healthy, Paused with a pause, or Degraded with a cause.
#[derive(Debug)]
pub struct Convergence;

impl Invariant for Convergence {
    fn name(&self) -> &'static str {
        "L1"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), String> {
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(body) = rollout.rollout() else { continue };
            let status = &body.status;
            let fine = match status.phase.as_deref() {
                Some("Healthy") => status.stable_hash() == status.current(),
                Some("Paused") => body.spec.spec().paused || !status.pause_conditions().is_empty(),
                Some("Degraded") => status.message.as_deref().is_some_and(|message| !message.is_empty()),
                _ => false,
            };
            if !fine {
                return Err(format!(
                    "{} rests as {:?}: {:?}",
                    rollout.meta.name, status.phase, status.message
                ));
            }
        }
        Ok(())
    }
}
