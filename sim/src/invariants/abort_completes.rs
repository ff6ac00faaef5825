//! L5: at rest an aborted update has no users, and no pods but those it keeps on purpose.

use tidegate_api::object::{Key, Kind};
use tidegate_controller::rollout::services::selected_hash;

use super::routed::{canary, percent};
use super::view::View;
use super::{Invariant, Violation};
use crate::dataplane::claims::most;
use crate::dataplane::flow::{WHOLE, part};
use crate::world::World;

/// The invariant. Where the stable version cannot carry the users, they stay as long as nothing better is there.
pub struct AbortCompletes;

impl Invariant for AbortCompletes {
    fn name(&self) -> &'static str {
        "L5"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(body) = rollout.rollout().filter(|body| body.status.is_aborted()) else { continue };
            let Some(truth) = View::of_truth(world, &rollout.key()) else { continue };
            let (spec, status, n) = (body.spec.spec(), &body.status, truth.n());
            let Some(stable) = truth.of_hash(status.stable_hash()) else { continue };
            if canary(rollout).is_some() && status.stable_hash() != status.current() {
                // What the stable pods can carry has returned, however few they are.
                let share = most(world, rollout, None).share(status.current());
                if share > WHOLE - part(WHOLE, stable.available.min(n), n.max(1)) {
                    let message = format!(
                        "{} rests aborted with {} of the users on the new version, and {} stable pods of {n}",
                        rollout.meta.name,
                        percent(share),
                        stable.available
                    );
                    return Err(Violation::new(self.name(), world, message));
                }
            }
            if stable.available < stable.set.wished().min(n) || status.stable_hash() == status.current() {
                continue;
            }
            let new = truth.of_hash(status.current()).map_or(0, |seen| seen.set.wished());
            let wrong = if let Some(blue_green) = spec.blue_green() {
                let active =
                    Key::new(Kind::Service, rollout.meta.namespace.clone(), &*blue_green.active_service);
                let serves = world.get(&active).is_some_and(|s| selected_hash(s) == status.stable_hash());
                !serves || (new > 0 && blue_green.abort_scale_down_delay_seconds != Some(0))
            } else if let Some(canary) = canary(rollout) {
                let claims = most(world, rollout, None);
                claims.any(status.current()) || (new > 0 && canary.abort_scale_down_delay_seconds != Some(0))
            } else {
                new > 0
            };
            if wrong {
                let message =
                    format!("{} rests aborted with {new} pods of the new version", rollout.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
