//! S15: from an abort on, the new version does not grow until somebody retries or changes the template.

use tidegate_api::object::Kind;
use tidegate_controller::names::HASH_LABEL;

use super::{Change, Invariant, known, owner};
use crate::world::World;

/// Abort wins over everything but promote-full.
#[derive(Debug)]
pub struct AbortWins;

impl Invariant for AbortWins {
    fn name(&self) -> &'static str {
        "S15"
    }

    fn wrote(&mut self, world: &World, change: &Change<'_>) -> Result<(), String> {
        let (Some(before), Some(after)) = (change.before, change.after) else { return Ok(()) };
        if after.kind != Kind::ReplicaSet {
            return Ok(());
        }
        let size = |set: &tidegate_api::object::Object| set.replica_set().map_or(0, |body| body.wished());
        let Some(rollout) = owner(world, after) else { return Ok(()) };
        let aborted = |rollout: &tidegate_api::object::Object| {
            rollout.rollout().is_some_and(|body| {
                let observed =
                    body.status.observed_generation.as_deref() == Some(&*rollout.meta.generation.to_string());
                body.status.is_aborted() && observed && body.status.promote_full != Some(true)
            })
        };
        let hash = after.meta.labels.get(HASH_LABEL).map_or("", |hash| hash);
        let status = rollout.rollout().map(|body| body.status.clone()).unwrap_or_default();
        let scaled =
            known(world, &rollout).is_some_and(|known| known.meta.generation != rollout.meta.generation);
        if aborted(&rollout)
            && known(world, &rollout).is_some_and(|known| aborted(known))
            && !scaled
            && hash == status.current()
            && hash != status.stable_hash()
            && size(after) > size(before)
        {
            return Err(format!(
                "{} grows from {} to {} although aborted",
                after.meta.name,
                size(before),
                size(after)
            ));
        }
        Ok(())
    }
}
