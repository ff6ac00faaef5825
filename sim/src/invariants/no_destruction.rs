//! S8: nothing that a Service selects or a route leads to is taken away.

use tidegate_api::object::{Key, Kind};
use tidegate_controller::rollout::services::selected_hash;
use tidegate_controller::rollout::set::Set;

use super::routed::{canary, percent};
use super::view::{View, Views, owner, service_names};
use super::{Invariant, Violation};
use crate::dataplane::claims::most;
use crate::world::{Happened, World, Writer};

/// The invariant. With no pods wished there is nothing to protect.
pub struct NoDestruction;

impl Invariant for NoDestruction {
    fn name(&self) -> &'static str {
        "S8"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        let Happened::Stored { by: Writer::Controller, before: Some(before), after, call } = what else {
            return Ok(());
        };
        let (Some(set), Some(key)) = (Set::new((*before).clone()), owner(before)) else { return Ok(()) };
        let size = after.and_then(|after| after.replica_set()).map(|set| set.wished());
        if size.is_some_and(|size| size > 0 || set.wished() == 0) {
            return Ok(());
        }
        let Some(truth) = View::of_truth(world, &key) else { return Ok(()) };
        // A set that is deleted is no longer in the truth; one that goes to 0 is protected while its pods serve.
        let serves = truth.sets.iter().any(|seen| seen.set.name() == set.name() && seen.available > 0);
        if truth.n() == 0 || known.of(*call).any(|view| view.n() == 0) || (size.is_some() && !serves) {
            return Ok(());
        }
        if let Some(canary) = canary(&truth.rollout) {
            let claims = most(world, &truth.rollout, None);
            if claims.any(set.hash()) {
                let share = percent(claims.share(set.hash()));
                let message = format!("{} goes while routes lead {share} to it", set.name());
                return Err(Violation::new(self.name(), world, message));
            }
            // A Service through which nobody comes may be without pods: that of a stable side that is scaled with its
            // weight, and that of a canary of which a step asks for none.
            let plays_its_part = truth.rollout.rollout().is_some_and(|body| {
                let is_stable = body.status.stable_hash() == set.hash();
                let is_current = body.status.current() == set.hash() && !body.status.is_aborted();
                (is_stable && canary.dynamic_stable_scale) || (is_current && !is_stable)
            });
            if plays_its_part {
                return Ok(());
            }
        }
        for name in service_names(&truth.rollout) {
            let key = Key::new(Kind::Service, before.meta.namespace.clone(), name);
            if world.get(&key).is_some_and(|service| selected_hash(service) == set.hash()) {
                let message = format!("{} goes while Service {name} selects it", set.name());
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
