//! S7: a version that users have left keeps its pods for the time that was asked for.

use std::collections::BTreeMap;

use tidegate_api::object::{Key, Kind};
use tidegate_api::time::{Span, Time};
use tidegate_controller::rollout::services::selected_hash;
use tidegate_controller::rollout::set::Set;

use super::view::{View, Views, owner, rollout_of};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// What both delays are where nothing is said, in seconds.
const DEFAULT_DELAY: i64 = 30;

/// The invariant, for blue-green: until when versions that users have left keep their pods.
#[derive(Default)]
pub struct DelaysAreKept(BTreeMap<(Key, String), Time>);

impl Invariant for DelaysAreKept {
    fn name(&self) -> &'static str {
        "S7"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
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
            self.0.remove(&(key.clone(), new.to_owned()));
            if *by == Writer::Controller && spec.scale_down_delay_revision_limit.is_none() && !old.is_empty()
            {
                let delay = delay.unwrap_or(DEFAULT_DELAY);
                self.0.insert((key, old.to_owned()), world.now().plus(Span::seconds(delay)));
            }
            return Ok(());
        }
        let (Writer::Controller, Some(key), Some(old), Some(new)) =
            (by, owner(after), Set::new((*before).clone()), Set::new((*after).clone()))
        else {
            return Ok(());
        };
        let Some(until) = self.0.get(&(key.clone(), old.hash().to_owned())) else { return Ok(()) };
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
