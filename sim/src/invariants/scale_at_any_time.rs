//! L8: at rest the sizes fit the wished number of pods, whenever it changed.

use tidegate_api::object::{Key, Kind};
use tidegate_controller::rollout::scale::{Limits, approximate};
use tidegate_controller::rollout::services::selected_hash;

use super::routed::{has_size_of_its_own, need};
use super::view::View;
use super::{Invariant, Violation, is_for_want_of_evidence};
use crate::world::World;

/// The invariant, for an update that is done or rests in a pause. Where pods are missing, budgets come first (S4).
pub struct ScaleAtAnyTime;

impl Invariant for ScaleAtAnyTime {
    fn name(&self) -> &'static str {
        "L8"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(truth) = View::of_truth(world, &rollout.key()) else { continue };
            let message = wrong(world, &truth);
            if let Some(message) = message {
                let message = format!("{} rests with {message}", rollout.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}

/// What is wrong with the sizes, if anything.
fn wrong(world: &World, truth: &View) -> Option<String> {
    let body = truth.rollout.rollout()?;
    let (spec, status, n) = (body.spec.spec(), &body.status, truth.n());
    let whole = truth.sets.iter().all(|seen| seen.available == seen.set.wished());
    if spec.paused || !whole {
        return None;
    }
    let size = |hash: &str| truth.of_hash(hash).map_or(0, |seen| seen.set.wished());
    let (new, stable) = (size(status.current()), size(status.stable_hash()));
    if let Some(blue_green) = spec.blue_green() {
        let key = Key::new(Kind::Service, truth.rollout.meta.namespace.clone(), &*blue_green.active_service);
        let active = size(selected_hash(world.get(&key)?));
        let rests = matches!(status.phase.as_deref(), Some("Healthy" | "Paused"));
        return (rests && active != n).then(|| format!("{active} of {n} pods for its users"));
    }
    let canary = spec.canary()?;
    match status.phase.as_deref() {
        Some("Healthy") => (new != n).then(|| format!("{new} pods of {n}")),
        // Where somebody took the stable version away, the new one has all the pods.
        Some("Paused") if truth.of_hash(status.stable_hash()).is_none() => None,
        // Evidence stops an update on its way, too.
        Some("Paused") if status.pause_conditions().iter().any(is_for_want_of_evidence) => None,
        Some("Paused") if status.current() != status.stable_hash() => {
            let index = usize::try_from(status.index().unwrap_or(0)).ok()?;
            let begun = canary.steps.get(..=index)?;
            let weight = begun.iter().rev().find_map(|step| step.weight).unwrap_or(0);
            if let Some(routing) = &canary.traffic_routing {
                let share =
                    crate::dataplane::flow::part(crate::dataplane::flow::WHOLE, weight, routing.whole());
                let needed = need(n, share, false);
                let short = (new < needed && !has_size_of_its_own(truth))
                    || (stable != n && !canary.dynamic_stable_scale);
                return short
                    .then(|| format!("{new} new and {stable} stable pods at weight {weight} of {n}"));
            }
            let goal = approximate(n, weight, 100, Limits::of_canary(canary, n).surge);
            (new != goal.canary || stable != goal.stable)
                .then(|| format!("{new} new and {stable} stable pods at weight {weight} of {n}"))
        }
        _ => None,
    }
}
