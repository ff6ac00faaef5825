//! S15: an abort stands until somebody retries or changes the template, and meanwhile nothing goes forward.

use super::routed::{Led, percent};
use super::view::{View, Views, owner};
use super::{Invariant, Violation, rewritten};
use crate::world::{Happened, World, Writer};

/// The invariant. A full promotion of an update that was aborted already, and a rollback window in the manifest, are the
/// user's own wish.
pub struct AbortWins;

impl Invariant for AbortWins {
    fn name(&self) -> &'static str {
        "S15"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        for led in Led::of(world, what) {
            let (before, now) = led.of_new();
            if now > before && is_aborted(&led.truth) && known.of(led.call).all(is_aborted) {
                let name = &led.object.meta.name;
                let message = format!("{name} leads {} to a version that is aborted", percent(now));
                return Err(Violation::new(self.name(), world, message));
            }
        }
        if let Some((before, after, _)) = rewritten(what) {
            let (old, new) = (&before.status, &after.status);
            let excused = (old.promote_full == Some(true) && old.aborted_at.is_some())
                || old.current() != new.current()
                || old.step_hash != new.step_hash
                || old.stable_hash() == old.current()
                || old.stable_hash().is_empty()
                || before.spec.spec().rollback_window > 0;
            if old.is_aborted() && !excused {
                if !new.is_aborted() {
                    return Err(Violation::new(self.name(), world, "the controller takes an abort back"));
                }
                if old.stable != new.stable {
                    return Err(Violation::new(self.name(), world, "an aborted update is promoted"));
                }
            }
            return Ok(());
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
        if new.wished() <= old.wished() {
            return Ok(());
        }
        let grows = |view: &View| {
            let Some(body) = view.rollout.rollout() else { return false };
            let status = &body.status;
            let is_new =
                view.of_hash(status.current()).is_some_and(|seen| seen.set.name() == &*after.meta.name);
            body.spec.spec().canary().is_some()
                && status.is_aborted()
                && is_new
                && status.current() != status.stable_hash()
                && !status.stable_hash().is_empty()
                && !(status.promote_full == Some(true) && status.aborted_at.is_some())
                && body.spec.spec().rollback_window <= 0
                && status.observed_generation.as_deref() == Some(&*view.rollout.meta.generation.to_string())
        };
        if View::of_truth(world, &key).is_some_and(|truth| grows(&truth)) && known.of(*call).all(grows) {
            let message = format!("{} grows although its update is aborted", after.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}

/// Whether an update is aborted by this view, and nothing excuses that it goes on.
fn is_aborted(view: &View) -> bool {
    let Some(body) = view.rollout.rollout() else { return false };
    let status = &body.status;
    status.is_aborted()
        && status.current() != status.stable_hash()
        && !status.stable_hash().is_empty()
        && !(status.promote_full == Some(true) && status.aborted_at.is_some())
        && body.spec.spec().rollback_window <= 0
        && status.observed_generation.as_deref() == Some(&*view.rollout.meta.generation.to_string())
}
