//! L10: at rest no more old ReplicaSets are kept than asked for.

use tidegate_api::object::Kind;

use super::view::View;
use super::{Invariant, Violation};
use crate::world::World;

/// The invariant.
pub struct HistoryIsBounded;

impl Invariant for HistoryIsBounded {
    fn name(&self) -> &'static str {
        "L10"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(truth) = View::of_truth(world, &rollout.key()) else { continue };
            let Some(body) = rollout.rollout() else { continue };
            let (spec, status) = (body.spec.spec(), &body.status);
            if status.phase.as_deref() != Some("Healthy") {
                continue;
            }
            let old = |hash: &str| hash != status.current() && hash != status.stable_hash();
            let kept =
                truth.sets.iter().filter(|seen| old(seen.set.hash()) && seen.set.wished() == 0).count();
            if i64::try_from(kept).is_ok_and(|kept| kept > spec.revision_history_limit.max(0)) {
                let message = format!("{} keeps {kept} old ReplicaSets", rollout.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
