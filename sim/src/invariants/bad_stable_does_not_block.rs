//! L7: a stable version that cannot serve does not hold up the update that would replace it.

use tidegate_api::object::Kind;

use super::routed::{canary, percent};
use super::view::View;
use super::{Invariant, Violation};
use crate::dataplane::claims::most;
use crate::world::World;

/// The invariant, for Rollouts with routers: at rest nobody waits for a stable version without pods while the new one
/// could carry everybody. A pause, an abort and a person's wish are reasons of their own.
pub struct BadStableDoesNotBlock;

impl Invariant for BadStableDoesNotBlock {
    fn name(&self) -> &'static str {
        "L7"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        for rollout in world.store().of_kind(&Kind::Rollout).filter(|rollout| canary(rollout).is_some()) {
            let Some(truth) = View::of_truth(world, &rollout.key()) else { continue };
            let Some(body) = rollout.rollout() else { continue };
            let status = &body.status;
            let available = |hash: &str| truth.of_hash(hash).map_or(0, |seen| seen.available);
            // Neither waits for the other: who leads users to pods that are gone asks for as many where they had been.
            let share = most(world, rollout, None).share(status.current());
            let wished = truth.of_hash(status.stable_hash()).map_or(truth.n(), |seen| seen.set.wished());
            let is_promoted = status.current() == status.stable_hash();
            if share > 0 && available(status.current()) == 0 && !is_promoted && wished < truth.n() {
                let message = format!(
                    "{} leads {} to a version without pods, and asks for {wished} stable ones of {}",
                    rollout.meta.name,
                    percent(share),
                    truth.n()
                );
                return Err(Violation::new(self.name(), world, message));
            }
            let waits = status.is_aborted()
                || body.spec.spec().paused
                || !status.pause_conditions().is_empty()
                || status.current() == status.stable_hash()
                || status.stable_hash().is_empty();
            let carries = truth.n() > 0 && available(status.current()) >= truth.n();
            if !waits && carries && available(status.stable_hash()) == 0 {
                let message = format!("{} waits for a stable version that has no pods", rollout.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
