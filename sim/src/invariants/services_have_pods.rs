//! S1: no Service or route that users reach is pointed at nothing.

use tidegate_api::object::Kind;
use tidegate_controller::rollout::services::selected_hash;

use super::routed::{Led, canary, percent};
use super::view::{View, Views, rollout_of};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant. With no pods wished there is nothing to protect.
pub struct ServicesHavePods;

impl Invariant for ServicesHavePods {
    fn name(&self) -> &'static str {
        "S1"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        for led in Led::of(world, what) {
            for (hash, share) in led.raised() {
                let empty =
                    |view: &View| view.n() > 0 && view.of_hash(hash).is_none_or(|seen| seen.available == 0);
                if empty(&led.truth) && known.of(led.call).all(empty) {
                    let name = &led.object.meta.name;
                    let message =
                        format!("{name} leads {} to {hash}, which has no available pod", percent(share));
                    return Err(Violation::new(self.name(), world, message));
                }
            }
        }
        let Happened::Stored { by: Writer::Controller, before, after: Some(after), call } = what else {
            return Ok(());
        };
        if after.kind != Kind::Service {
            return Ok(());
        }

        let hash = selected_hash(after);
        if hash.is_empty() || before.is_some_and(|before| selected_hash(before) == hash) {
            return Ok(());
        }
        let Some(key) = rollout_of(world, &after.key()) else { return Ok(()) };
        let empty = |view: &View| view.n() > 0 && view.of_hash(hash).is_none_or(|seen| seen.available == 0);
        let Some(truth) = View::of_truth(world, &key) else { return Ok(()) };
        // Where routers lead, what a Service selects matters as soon as something leads to it.
        if canary(&truth.rollout).is_some() {
            return Ok(());
        }
        if empty(&truth) && known.of(*call).all(empty) {
            let message =
                format!("Service {} is pointed at {hash}, which has no available pod", after.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}
