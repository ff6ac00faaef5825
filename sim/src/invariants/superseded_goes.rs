//! L6: at rest only the current and the stable version have pods, and the one that the active Service selects.

use tidegate_api::object::Kind;
use tidegate_controller::rollout::analysis;

use super::routed::{canary, percent};
use super::view::View;
use super::{Invariant, Violation};
use crate::dataplane::claims::most;
use crate::world::World;

/// The invariant. A Rollout that the user paused, or whose new pods do not come, may still need its old ones.
pub struct SupersededGoes;

impl Invariant for SupersededGoes {
    fn name(&self) -> &'static str {
        "L6"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(truth) = View::of_truth(world, &rollout.key()) else { continue };
            let Some(body) = rollout.rollout() else { continue };
            let status = &body.status;
            let missing = truth.sets.iter().any(|seen| seen.available < seen.set.wished());
            if body.spec.spec().paused || (missing && status.phase.as_deref() == Some("Degraded")) {
                continue;
            }
            // A version that was superseded right after its switch still serves until the next switch.
            let kept = [status.current(), status.stable_hash(), status.active()];
            let other = |hash: &str| !kept.contains(&hash);
            if canary(rollout).is_some() {
                let claims = most(world, rollout, None);
                let mut claimed = claims.shares.iter().filter(|(hash, share)| **share > 0 && other(hash));
                if let Some((hash, share)) = claimed.next() {
                    let message = format!("{hash} was superseded and keeps {} of the users", percent(*share));
                    return Err(Violation::new(self.name(), world, message));
                }
            }
            // While evidence decides nothing no size changes, of old versions neither (specification of the Rollout, 7.5, and of
            // analyses, 3.15): their pods go when a person has said how it goes on, and only their users must be gone before.
            if status.is_paused_for(analysis::INCONCLUSIVE) {
                continue;
            }
            if let Some(seen) = truth.sets.iter().find(|seen| seen.set.wished() > 0 && other(seen.set.hash()))
            {
                let message = format!("{} keeps {} pods", seen.set.name(), seen.set.wished());
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
