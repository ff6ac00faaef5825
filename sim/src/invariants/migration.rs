//! S25: while a Rollout takes over from a Deployment, the two together have enough pods.

use tidegate_api::object::{Body, Kind, Object};
use tidegate_controller::rollout::scale::Limits;

use super::view::{View, Views};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant.
pub struct Migration;

fn available(deployment: &Object) -> i64 {
    match &deployment.body {
        Body::Deployment(body) => body.status.available.unwrap_or(0),
        _ => 0,
    }
}

impl Invariant for Migration {
    fn name(&self) -> &'static str {
        "S25"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        let Happened::Stored { by: Writer::Controller, before: Some(before), after: Some(after), .. } = what
        else {
            return Ok(());
        };
        let (Body::Deployment(old), Body::Deployment(new)) = (&before.body, &after.body) else {
            return Ok(());
        };
        let (from, to) = (old.wished(), new.wished());
        let refers = |rollout: &&std::sync::Arc<Object>| {
            let reference = rollout.rollout().and_then(|body| body.spec.spec().workload_ref.as_ref());
            reference.is_some_and(|reference| reference.name == after.meta.name)
        };
        let rollouts = world.store().in_namespace(&Kind::Rollout, &after.meta.namespace);
        for rollout in rollouts.filter(refers) {
            let short = |view: &View| {
                let n = view.n();
                let missing = match view.spec() {
                    Some(spec) => match (spec.canary(), spec.blue_green()) {
                        (Some(canary), _) => Limits::of_canary(canary, n).missing(n),
                        (_, Some(bg)) => Limits::of_blue_green(&bg.max_unavailable, n).missing(n),
                        _ => 0,
                    },
                    None => 0,
                };
                let mine: i64 = view.sets.iter().map(|seen| seen.kept(seen.set.wished())).sum();
                let stay = available(before).min(to);
                stay < available(before) && mine + stay < n - missing
            };
            let Some(truth) = View::of_truth(world, &rollout.key()) else { continue };
            if to < from && short(&truth) && known.about(&rollout.key()).all(short) {
                let message = format!("Deployment {} goes from {from} to {to} too early", after.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
