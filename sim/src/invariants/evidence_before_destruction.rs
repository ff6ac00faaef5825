//! S9: where load balancers can be asked, pods go only after they have said what they send.

use tidegate_controller::routers::{Reads, reads_of};

use super::view::{View, Views, owner};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant: before a set with traffic routing shrinks, the load balancer of each Ingress has told its rules, and
/// what it told then is what the Ingress asks for now.
pub struct EvidenceBeforeDestruction;

impl Invariant for EvidenceBeforeDestruction {
    fn name(&self) -> &'static str {
        "S9"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        if !world.config().routers.elb {
            return Ok(());
        }
        let Happened::Stored { by: Writer::Controller, before: Some(before), after: Some(after), .. } = what
        else {
            return Ok(());
        };
        let (Some(old), Some(new), Some(key)) = (before.replica_set(), after.replica_set(), owner(after))
        else {
            return Ok(());
        };
        let Some(truth) = View::of_truth(world, &key).filter(|_| new.wished() < old.wished()) else {
            return Ok(());
        };
        for reads in reads_of(&truth.rollout, &world.config().settings.routers) {
            let Reads::One(ingress) = reads else { continue };
            let Some(now) = world.get(&ingress) else { continue };
            let told = world.elb().told(&ingress);
            if told.is_none_or(|told| told.meta.annotations != now.meta.annotations) {
                let message = format!(
                    "{} from {} to {}: the load balancer of {} has not said that it does what is asked",
                    after.meta.name,
                    old.wished(),
                    new.wished(),
                    ingress.name
                );
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
