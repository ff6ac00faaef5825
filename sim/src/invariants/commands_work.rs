//! L12: at rest each command has had its effect.

use std::collections::BTreeMap;

use tidegate_api::object::{Key, Kind, RolloutBody};

use super::view::Views;
use super::{Invariant, Violation, has_planned_pause, is_another_epoch};
use crate::world::{Happened, World, Writer};

/// The invariant. Remembers what a person asked for last; another template, an abort or a new pause by hand calls the
/// rest off.
#[derive(Default)]
pub struct CommandsWork(BTreeMap<Key, Asked>);

#[derive(Default)]
struct Asked {
    /// Past this step of this version, out of its planned pause.
    resume: Option<(String, Option<i64>)>,
    promote_full: bool,
    retry: bool,
}

impl Invariant for CommandsWork {
    fn name(&self) -> &'static str {
        "L12"
    }

    fn saw(&mut self, _world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        let Happened::Stored { by, before: Some(before), after: Some(after), .. } = what else {
            return Ok(());
        };
        let (Some(old), Some(new)) = (before.rollout(), after.rollout()) else { return Ok(()) };
        let asked = self.0.entry(after.key()).or_default();
        if *by == Writer::User {
            note(asked, old, new);
        } else if new.status.is_aborted() || is_another_epoch(old, new) {
            *asked = Asked::default();
        }
        Ok(())
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(body) = rollout.rollout() else { continue };
            let (spec, status) = (body.spec.spec(), &body.status);
            let invalid = status.condition("InvalidSpec").is_some();
            let wrong = |what: &str| {
                let message = format!("{}: {what} had no effect", rollout.meta.name);
                Err(Violation::new("L12", world, message))
            };
            let done = status.stable_hash() == status.current();
            let mut failed = None;
            if let Some(asked) = self.0.get(&rollout.key()).filter(|_| !spec.paused && !invalid) {
                let bad = status.phase.as_deref() == Some("Degraded");
                if asked.promote_full && !done && !bad {
                    failed = Some("promote --full");
                }
                if asked.retry && status.is_aborted() {
                    failed = Some("retry");
                }
                let here = (status.current().to_owned(), status.index());
                if asked.resume.as_ref() == Some(&here) && !done && has_planned_pause(status) {
                    failed = Some("promote");
                }
            }
            let restarting = spec.restart_at.is_some_and(|at| at.time() < world.now());
            let bad = status.phase.as_deref() != Some("Progressing");
            if restarting && status.restarted_at != spec.restart_at && !invalid && !spec.paused && !bad {
                failed = Some("restart");
            }
            if !spec.paused && status.message.as_deref() == Some("manually paused") {
                failed = Some("resume");
            }
            if spec.paused && status.phase.as_deref() == Some("Progressing") {
                failed = Some("pause");
            }
            if let Some(what) = failed {
                return wrong(what);
            }
        }
        self.0.clear();
        Ok(())
    }
}

/// Notes what a person's write asks for.
fn note(asked: &mut Asked, old: &RolloutBody, new: &RolloutBody) {
    if old.spec.spec().template != new.spec.spec().template {
        *asked = Asked::default();
    }
    let (before, after) = (&old.status, &new.status);
    if after.is_aborted() {
        *asked = Asked::default();
        return;
    }
    if before.is_aborted() {
        *asked = Asked { retry: true, ..Asked::default() };
    }
    // A promotion out of a pause for want of evidence has its effect when the question is asked again. A planned pause
    // that comes then is the first of its kind (S13).
    if has_planned_pause(before) && after.pause_conditions().is_empty() {
        asked.resume = Some((after.current().to_owned(), after.index()));
    }
    asked.promote_full |= after.promote_full == Some(true) && before.promote_full != Some(true);
}
