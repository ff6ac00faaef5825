//! S17: no write of the controller takes back what a person has written, unless it was acted on.

use std::collections::BTreeMap;

use tidegate_api::object::Key;

use super::view::Views;
use super::{Invariant, Violation, has_planned_pause, is_another_epoch, rewritten};
use crate::world::{Happened, World, Writer};

/// The invariant. Remembers at which step of which version a person ended a planned pause. That an abort stands is S15.
#[derive(Default)]
pub struct IntentIsKept(BTreeMap<Key, (String, Option<i64>)>);

impl Invariant for IntentIsKept {
    fn name(&self) -> &'static str {
        "S17"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        if let Happened::Stored { by: Writer::User, before: Some(before), after: Some(after), .. } = what
            && let (Some(old), Some(new)) = (before.rollout(), after.rollout())
        {
            // Who ends a pause for want of evidence asks again, and has said nothing about the pauses that are planned:
            // those begin when their turn comes, and are kept (S13).
            let resumed = has_planned_pause(&old.status) && new.status.pause_conditions().is_empty();
            let point = (new.status.current().to_owned(), new.status.index());
            if resumed && !new.status.is_aborted() {
                self.0.insert(after.key(), point);
            } else if old.status.is_aborted() != new.status.is_aborted() {
                self.0.remove(&after.key());
            }
            return Ok(());
        }
        let Some((before, after, object)) = rewritten(what) else { return Ok(()) };
        let (old, new) = (&before.status, &after.status);
        if before.spec.raw() != after.spec.raw() && before.spec.spec().replicas.is_some() {
            return Err(Violation::new(self.name(), world, "the controller rewrites a specification"));
        }
        let epoch = is_another_epoch(before, after);
        let lost = old.promote_full == Some(true) && new.promote_full != Some(true);
        // An abort that comes later is the newer intent.
        let called_off = new.is_aborted() && old.aborted_at.is_none();
        if lost && !epoch && !called_off && new.stable_hash() != new.current() {
            return Err(Violation::new(self.name(), world, "a full promotion is forgotten"));
        }
        let Some((current, index)) = self.0.get(&object.key()) else { return Ok(()) };
        if epoch || new.current() != current || new.index() != *index || new.is_aborted() {
            self.0.remove(&object.key());
        } else if old.pause_conditions().is_empty() && has_planned_pause(new) {
            let message = format!("the pause at step {index:?} that a person ended begins again");
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}
