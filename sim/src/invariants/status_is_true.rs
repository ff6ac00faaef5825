//! S23: what the status says is so.

use super::{Invariant, Violation, rewritten};
use crate::world::{Happened, World};

/// The invariant, for the phases that people wait for.
pub struct StatusIsTrue;

impl Invariant for StatusIsTrue {
    fn name(&self) -> &'static str {
        "S23"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>) -> Result<(), Violation> {
        let Some((before, after, object)) = rewritten(what) else { return Ok(()) };
        let (old, status) = (&before.status, &after.status);
        let wrong = |message: String| Err(Violation::new(self.name(), world, message));
        if old == status {
            return Ok(());
        }
        match status.phase.as_deref() {
            Some("Healthy") => {
                let generation = object.meta.generation.to_string();
                // Whoever reads an older generation knows that the phase is of then.
                if status.observed_generation.as_deref() != Some(&*generation) {
                    if old.phase == status.phase {
                        return Ok(());
                    }
                    return wrong(format!(
                        "becomes Healthy, but {:?} was observed of {generation}",
                        status.observed_generation
                    ));
                }
                if status.stable_hash() != status.current() || status.current().is_empty() {
                    return wrong(format!(
                        "Healthy with stable {} and current {}",
                        status.stable_hash(),
                        status.current()
                    ));
                }
                let n = after.spec.spec().wished();
                if status.updated.unwrap_or(0) < n || status.available.unwrap_or(0) < n {
                    return wrong(format!(
                        "Healthy with {:?} updated and {:?} available of {n}",
                        status.updated, status.available
                    ));
                }
            }
            // A phase that is only carried over beside another field is of the last full pass.
            Some("Paused")
                if old.phase != status.phase
                    && status.pause_conditions().is_empty()
                    && !after.spec.spec().paused =>
            {
                return wrong("Paused without a pause".to_owned());
            }
            _ => {}
        }
        Ok(())
    }
}
