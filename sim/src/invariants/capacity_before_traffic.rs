//! S2: users are sent to a version only when it can carry all of them.

use tidegate_api::object::Kind;
use tidegate_controller::rollout::services::selected_hash;

use super::routed::{Led, canary, has_size_of_its_own, need, percent, tolerance};
use super::view::{View, Views, rollout_of};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant, for routes and for the Service of a blue-green update that users reach. What a canary without routers gives users
/// is the number of its pods, which S4 and S10 watch.
pub struct CapacityBeforeTraffic;

impl Invariant for CapacityBeforeTraffic {
    fn name(&self) -> &'static str {
        "S2"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        for led in Led::of(world, what).iter().filter(|led| !led.adopts) {
            let Some(canary) = canary(&led.truth.rollout) else { continue };
            for (hash, share) in led.raised() {
                let is_special = led.most.1.special.contains(hash);
                let enough = |view: &View| {
                    let needed = need(view.n(), share, is_special);
                    let chosen = has_size_of_its_own(view)
                        && view.rollout.rollout().is_some_and(|body| body.status.current() == &**hash);
                    chosen
                        || view.of_hash(hash).map_or(0, |seen| seen.available) + tolerance(canary, needed)
                            >= needed
                };
                if enough(&led.truth) || known.of(led.call).any(enough) {
                    continue;
                }
                let available = led.truth.of_hash(hash).map_or(0, |seen| seen.available);
                let message = format!(
                    "{} leads {} of the users to {hash} with {available} of {} pods",
                    led.object.meta.name,
                    percent(share),
                    need(led.truth.n(), share, is_special)
                );
                return Err(Violation::new(self.name(), world, message));
            }
        }
        let Happened::Stored { by: Writer::Controller, before: Some(before), after: Some(after), call } =
            what
        else {
            return Ok(());
        };
        let hash = selected_hash(after);
        if after.kind != Kind::Service || hash.is_empty() || selected_hash(before) == hash {
            return Ok(());
        }
        let Some(truth) = rollout_of(world, &after.key()).and_then(|key| View::of_truth(world, &key)) else {
            return Ok(());
        };
        let active = truth.spec().and_then(|spec| spec.blue_green()).map(|spec| &*spec.active_service);
        if active != Some(&*after.meta.name) {
            return Ok(());
        }
        let carries = |view: &View| view.of_hash(hash).is_some_and(|seen| seen.available >= view.n());
        if carries(&truth) || known.of(*call).any(carries) {
            return Ok(());
        }
        let available = truth.of_hash(hash).map_or(0, |seen| seen.available);
        let message = format!("{hash} gets all users with {available} of {} pods", truth.n());
        Err(Violation::new(self.name(), world, message))
    }
}
