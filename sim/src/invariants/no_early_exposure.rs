//! S10: the new version has no more users than its step allows, and a superseded one gets none.

use super::routed::{Led, allowed, percent};
use super::view::{View, Views, owner};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant, for shares of routes, and for canaries without routers, where pods are traffic. In blue-green nobody reaches the preview, and
/// S2 and S13 guard the switch.
pub struct NoEarlyExposure;

impl Invariant for NoEarlyExposure {
    fn name(&self) -> &'static str {
        "S10"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        for led in Led::of(world, what) {
            let (before, now) = led.of_new();
            let exposed = |view: &View| allowed(view).is_some_and(|most| now > most);
            if now > before && exposed(&led.truth) && known.of(led.call).all(exposed) {
                let name = &led.object.meta.name;
                let message =
                    format!("{name} leads {} to the new version, more than its step allows", percent(now));
                return Err(Violation::new(self.name(), world, message));
            }
        }
        let Happened::Stored { by: Writer::Controller, before: Some(before), after: Some(after), call } =
            what
        else {
            return Ok(());
        };
        let (Some(old), Some(new), Some(key)) = (before.replica_set(), after.replica_set(), owner(after))
        else {
            return Ok(());
        };
        let to = new.wished();
        if to <= old.wished() {
            return Ok(());
        }
        let exposed = |view: &View| most(view, &after.meta.name).is_some_and(|most| to > most);
        let truth = View::of_truth(world, &key);
        if truth.as_ref().is_some_and(exposed) && known.of(*call).all(exposed) {
            let message = format!("{} gets {to} pods, more than its step allows", after.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}

/// How many pods a set may have by this view: the weight of the step under way, and one pod of rounding.
fn most(view: &View, name: &str) -> Option<i64> {
    let body = view.rollout.rollout()?;
    let (spec, status) = (body.spec.spec(), &body.status);
    let canary = spec.canary().filter(|canary| canary.traffic_routing.is_none())?;
    let hash = view.sets.iter().find(|seen| seen.set.name() == name)?.set.hash();
    let free = status.promote_full == Some(true)
        || status.stable_hash().is_empty()
        || status.stable_hash() == hash
        // Somebody took the stable version away: there is nobody else for its users.
        || view.of_hash(status.stable_hash()).is_none()
        || spec.rollback_window > 0
        || canary.steps.is_empty();
    if free {
        return None;
    }
    let index = usize::try_from(status.index().unwrap_or(0)).unwrap_or(0);
    let weight = if status.current() != hash {
        // Superseded, or of a template whose steps have not begun.
        0
    } else if index >= canary.steps.len() {
        return None;
    } else {
        canary.steps[..=index].iter().rev().find_map(|step| step.weight).unwrap_or(0)
    };
    let wide = (i128::from(view.n()) * i128::from(weight) + 99) / 100;
    let exact = i64::try_from(wide).unwrap_or(i64::MAX);
    Some(if weight == 0 { 0 } else { exact.saturating_add(1) })
}
