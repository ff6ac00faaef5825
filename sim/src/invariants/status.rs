//! S23: the status is true.

use super::{Change, Invariant};
use crate::world::World;

/// `Healthy` is only said of a Rollout that has what it wants.
#[derive(Debug)]
pub struct HealthyIsTrue;

impl Invariant for HealthyIsTrue {
    fn name(&self) -> &'static str {
        "S23"
    }

    fn wrote(&mut self, _world: &World, change: &Change<'_>) -> Result<(), String> {
        let Some(rollout) = change.after else { return Ok(()) };
        let Some(body) = rollout.rollout() else { return Ok(()) };
        let status = &body.status;
        // A pass that makes a ReplicaSet leaves phase and observed generation as they were: clients compare the
        // generations before they believe the phase.
        let said = change.before.and_then(|before| before.rollout()).is_none_or(|before| {
            before.status.phase != status.phase
                || before.status.observed_generation != status.observed_generation
        });
        if !said || status.phase.as_deref() != Some("Healthy") {
            return Ok(());
        }
        let n = body.spec.spec().wished();
        let observed = status.observed_generation.as_deref() == Some(&*rollout.meta.generation.to_string());
        let counts = status.updated.unwrap_or(0) >= n && status.available.unwrap_or(0) >= n;
        if !observed || status.stable_hash() != status.current() || !counts {
            let (seen, generation) =
                (status.observed_generation.as_deref().unwrap_or("-"), rollout.meta.generation);
            let (stable, current) = (status.stable_hash(), status.current());
            return Err(format!(
                "{} is called Healthy: generation {seen} of {generation} observed, stable {stable}, current {current}, \
                 {:?} updated, {:?} available of {n}",
                rollout.meta.name, status.updated, status.available
            ));
        }
        Ok(())
    }
}
