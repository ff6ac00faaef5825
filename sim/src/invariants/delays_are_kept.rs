//! S7: a version that users have left keeps its pods for the time that was asked for.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api::object::{Key, Kind};
use tidegate_api::time::{Span, Time};
use tidegate_controller::names::BOUNDED_SURGE;
use tidegate_controller::rollout::services::selected_hash;
use tidegate_controller::rollout::set::Set;

use super::routed::canary;
use super::view::{View, Views, owner, rollout_of};
use super::{Invariant, Violation};
use crate::dataplane::claims::most;
use crate::world::{Happened, World, Writer};

/// What both delays are where nothing is said, in seconds.
const DEFAULT_DELAY: i64 = 30;

/// The invariant: until when versions that users have left keep their pods. In blue-green users leave with the Service,
/// with routers when the last proxy has taken the last route to a version over.
#[derive(Default)]
pub struct DelaysAreKept {
    until: BTreeMap<(Key, String), Time>,
    /// Versions that routes lead to.
    led: BTreeSet<(Key, String)>,
}

impl DelaysAreKept {
    /// Notes versions that no route leads to any longer, and since when.
    fn follow_routes(&mut self, world: &World, what: &Happened<'_>) {
        let concerned = match what {
            Happened::Applied(_) => true,
            Happened::Stored { before, after, .. } => {
                let object = after.or(*before);
                object.is_some_and(|object| matches!(object.kind, Kind::Service | Kind::Other { .. }))
            }
            _ => false,
        };
        if !concerned || !world.data_plane().on {
            return;
        }
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(canary) = canary(rollout) else { continue };
            let (key, claims) = (rollout.key(), most(world, rollout, None));
            let now: BTreeSet<(Key, String)> = claims
                .shares
                .iter()
                .filter(|(_, share)| **share > 0)
                .map(|(hash, _)| hash)
                .chain(&claims.by_rule)
                .map(|hash| (key.clone(), hash.to_string()))
                .collect();
            let gone: Vec<(Key, String)> =
                self.led.iter().filter(|led| led.0 == key && !now.contains(led)).cloned().collect();
            let status = rollout.rollout().map(|body| &body.status);
            let is_bounded =
                rollout.meta.annotations.get(BOUNDED_SURGE).is_some_and(|value| &**value == "true");
            let shrinks_with_weight = canary.dynamic_stable_scale || is_bounded;
            for led in gone {
                self.led.remove(&led);
                let is_aborted =
                    status.is_some_and(|status| status.is_aborted() && status.current() == led.1.as_str());
                let delay = match is_aborted {
                    // Without a delay its pods stay.
                    true if canary.abort_scale_down_delay_seconds == Some(0) => Some(i64::from(i32::MAX)),
                    // Its pods go with its traffic unless somebody asks for more.
                    true if shrinks_with_weight => canary.abort_scale_down_delay_seconds,
                    true => Some(canary.abort_scale_down_delay_seconds.unwrap_or(DEFAULT_DELAY)),
                    false if shrinks_with_weight => canary.scale_down_delay_seconds,
                    false => Some(canary.scale_down_delay_seconds.unwrap_or(DEFAULT_DELAY)),
                };
                if let Some(delay) = delay.filter(|_| canary.scale_down_delay_revision_limit.is_none()) {
                    self.until.insert(led, world.now().plus(Span::seconds(delay)));
                }
            }
            for led in now {
                self.until.remove(&led);
                self.led.insert(led);
            }
        }
    }
}

impl Invariant for DelaysAreKept {
    fn name(&self) -> &'static str {
        "S7"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        self.follow_routes(world, what);
        let Happened::Stored { by, before: Some(before), after: Some(after), call } = what else {
            return Ok(());
        };
        if after.kind == Kind::Service {
            let (old, new) = (selected_hash(before), selected_hash(after));
            let Some(truth) = rollout_of(world, &after.key()).and_then(|key| View::of_truth(world, &key))
            else {
                return Ok(());
            };
            let Some(spec) = truth.spec().and_then(|spec| spec.blue_green()) else { return Ok(()) };
            if old == new || spec.active_service != after.meta.name {
                return Ok(());
            }
            let aborted = truth.rollout.rollout().is_some_and(|body| body.status.is_aborted());
            let delay = match aborted {
                true => spec.abort_scale_down_delay_seconds,
                false => spec.scale_down_delay_seconds,
            };
            let key = truth.rollout.key();
            self.until.remove(&(key.clone(), new.to_owned()));
            if *by == Writer::Controller && spec.scale_down_delay_revision_limit.is_none() && !old.is_empty()
            {
                let delay = delay.unwrap_or(DEFAULT_DELAY);
                self.until.insert((key, old.to_owned()), world.now().plus(Span::seconds(delay)));
            }
            return Ok(());
        }
        let (Writer::Controller, Some(key), Some(old), Some(new)) =
            (by, owner(after), Set::new((*before).clone()), Set::new((*after).clone()))
        else {
            return Ok(());
        };
        let Some(until) = self.until.get(&(key.clone(), old.hash().to_owned())) else { return Ok(()) };
        let Some(truth) = View::of_truth(world, &key) else { return Ok(()) };
        let Some(status) = truth.rollout.rollout().map(|body| &body.status) else { return Ok(()) };
        // Who goes back to it has it as the new version again, with the size of one; its number says so before the status.
        let newest = truth.sets.iter().filter_map(|seen| seen.set.revision()).max();
        let is_back = status.stable_hash() == old.hash()
            || (status.current() == old.hash() && !status.is_aborted())
            || (status.current() != old.hash() && old.revision() == newest);
        // Deadlines are whole seconds, cut off.
        let over = world.now().plus(Span::seconds(1)) >= *until;
        // Meanwhile it follows the wished number, which may be another one when the write arrives.
        let n = known.of(*call).map(View::n).chain([truth.n()]).min().unwrap_or(0);
        if new.wished() < old.wished().min(n) && !over && !is_back {
            let message = format!("{} shrinks before its delay is over", old.name());
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}
