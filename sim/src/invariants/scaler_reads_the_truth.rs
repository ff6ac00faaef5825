//! S24: an autoscaler that reads the status reads the number of pods that it may count.

use tidegate_api::object::Kind;

use super::view::View;
use super::{Invariant, Violation};
use crate::world::World;

/// The invariant, at rest: before, counts may lag behind.
pub struct ScalerReadsTheTruth;

impl Invariant for ScalerReadsTheTruth {
    fn name(&self) -> &'static str {
        "S24"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(truth) = View::of_truth(world, &rollout.key()) else { continue };
            let Some(status) = rollout.rollout().map(|body| &body.status) else { continue };
            let active = status.active();
            let serves = |seen: &&super::view::Seen| active.is_empty() || seen.set.hash() == active;
            let pods: usize = truth
                .sets
                .iter()
                .filter(serves)
                .map(|seen| world.store().owned_by(&seen.set.object().meta.uid, &Kind::Pod).count())
                .sum();
            // Without a count nothing was decided yet, as for a Rollout that is refused.
            if let Some(read) = status.hpa
                && i64::try_from(pods) != Ok(read)
            {
                let message =
                    format!("{} says {read} pods to its scaler, there are {pods}", rollout.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
