//! S3: pods go only after their users have gone.

use tidegate_api::object::{Key, Kind};
use tidegate_controller::rollout::services::selected_hash;

use super::routed::{canary, has_size_of_its_own, need, percent, tolerance};
use super::view::{View, Views, owner};
use super::{Invariant, Violation};
use crate::dataplane::claims::most;
use crate::world::{Happened, World, Writer};

/// The invariant: what routes may lead to a set, by any mixture of what is accepted and applied, it keeps the pods for;
/// the set that the active Service of a blue-green update selects is not touched below the wished
/// number. For a canary without routers pods are the traffic, and S4 says how many may go.
pub struct TrafficBeforeScaleDown;

impl Invariant for TrafficBeforeScaleDown {
    fn name(&self) -> &'static str {
        "S3"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        let Happened::Stored { by: Writer::Controller, before: Some(before), after: Some(after), call } =
            what
        else {
            return Ok(());
        };
        let (Some(old), Some(new), Some(key)) = (before.replica_set(), after.replica_set(), owner(after))
        else {
            return Ok(());
        };
        let (from, to) = (old.wished(), new.wished());
        if to >= from {
            return Ok(());
        }
        if let Some(truth) = View::of_truth(world, &key)
            && let Some(canary) = canary(&truth.rollout)
            && let Some(seen) = truth.sets.iter().find(|seen| seen.set.name() == &*after.meta.name)
        {
            let hash = seen.set.hash();
            let claims = most(world, &truth.rollout, None);
            let (share, is_special) = (claims.share(hash), claims.special.contains(hash));
            let wrong = |view: &View| {
                let needed = need(view.n(), share, is_special);
                let chosen = has_size_of_its_own(view)
                    && view.rollout.rollout().is_some_and(|body| body.status.current() == hash);
                to + tolerance(canary, needed) < needed && !chosen
            };
            if wrong(&truth) && known.of(*call).all(wrong) {
                let message = format!(
                    "{} from {from} to {to}: {} of the users may be on it",
                    after.meta.name,
                    percent(share)
                );
                return Err(Violation::new(self.name(), world, message));
            }
        }
        let wrong = |view: &View| {
            let active =
                view.spec().and_then(|spec| spec.blue_green()).map(|spec| spec.active_service.clone());
            let service = active.map(|name| Key::new(Kind::Service, key.namespace.clone(), name));
            let Some(service) = service.and_then(|key| world.get(&key)) else { return false };
            let served = view.of_hash(selected_hash(service));
            served.is_some_and(|seen| {
                seen.set.name() == &*after.meta.name && seen.kept(to) < view.n().min(seen.kept(from))
            })
        };
        if View::of_truth(world, &key).is_some_and(|truth| wrong(&truth)) && known.of(*call).all(wrong) {
            let message = format!("{} from {from} to {to}: users are still on it", after.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}
