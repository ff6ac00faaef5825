//! S9: where load balancers can be asked, pods go only after they have said what they send.

use tidegate_controller::cache::named_services;
use tidegate_controller::names::HASH_LABEL;
use tidegate_controller::routers::{Reads, reads_of};

use super::view::{View, Views, owner};
use super::{Invariant, Violation};
use crate::dataplane::elb::binding;
use crate::world::{Happened, World, Writer};

/// The invariant: before a set with traffic routing shrinks, the load balancer of each Ingress has told its rules, and
/// what it told then is what the Ingress asks for now. Before an old set shrinks after a promotion, the target groups of the
/// Rollout's Services have said that they know their pods.
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
        let status = truth.rollout.rollout().map(|body| &body.status);
        let is_old = status.is_some_and(|status| {
            let hash = after.meta.labels.get(HASH_LABEL).map_or("", |hash| hash);
            status.stable_hash() == status.current() && status.stable_hash() != hash
        });
        let services = named_services(&truth.rollout);
        for binding in world.store().of_kind(&binding()).filter(|_| is_old).map(|object| object.to_value()) {
            let service = binding["spec"]["serviceRef"]["name"].as_str().unwrap_or_default();
            let group = binding["spec"]["targetGroupARN"].as_str().unwrap_or_default();
            let is_ours = services.iter().any(|key| &*key.name == service);
            if is_ours && !world.elb().said_registered(group) {
                let message =
                    format!("{} shrinks: {group} has not said that it knows its pods", after.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
