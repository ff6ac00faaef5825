//! S23: what the status says is so.

use tidegate_controller::names::WORKLOAD_GENERATION;

use super::view::{View, Views};
use super::{Invariant, Violation, rewritten};
use crate::world::{Happened, World};

/// The invariant, for the phases that people wait for.
pub struct StatusIsTrue;

impl Invariant for StatusIsTrue {
    fn name(&self) -> &'static str {
        "S23"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        let Some((before, after, object)) = rewritten(what) else { return Ok(()) };
        let (old, status) = (&before.status, &after.status);
        let wrong = |message: String| Err(Violation::new(self.name(), world, message));
        if old == status {
            return Ok(());
        }
        let generation = object.meta.generation.to_string();
        let expired = |status: &tidegate_api::object::RolloutStatus| {
            let progressing = status.condition("Progressing").and_then(|c| c.reason.clone());
            progressing.as_deref() == Some("ProgressDeadlineExceeded")
        };
        if expired(status)
            && !expired(old)
            && (!status.pause_conditions().is_empty() || after.spec.spec().paused)
        {
            return wrong("a deadline ends in a pause".to_owned());
        }
        // Pods that are lost for longer than the deadline are told too, for a Rollout comes to an end (L1).
        let lacks_pods =
            |view: &View| view.of_hash(status.current()).is_none_or(|seen| seen.available < view.n());
        let is_over = !status.stable_hash().is_empty() && status.stable_hash() == status.current();
        if expired(status) && !expired(old) && is_over {
            let key = object.key();
            let truth = View::of_truth(world, &key);
            if !truth.as_ref().is_some_and(lacks_pods) && !known.about(&key).any(lacks_pods) {
                return wrong("a deadline ends though no update is under way".to_owned());
            }
        }
        match status.phase.as_deref() {
            Some("Healthy") => {
                // Whoever reads an older generation knows that the phase is of then; S23 forbids only to become
                // Healthy by what was computed from it.
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
                let is_so = |view: &View| {
                    view.of_hash(status.current()).is_some_and(|seen| seen.available >= view.n())
                };
                let key = object.key();
                let truth = View::of_truth(world, &key);
                let known = truth.as_ref().is_some_and(is_so) || known.about(&key).any(is_so);
                if old.phase != status.phase && n > 0 && !known {
                    return wrong(format!("becomes Healthy without {n} available pods"));
                }
            }
            // The status stands beside the generation it was computed from. Where that is not the latest one (a person
            // resumed and changed the template at once), a phase that is only carried over beside another field
            // claims nothing of now; S23 asks for a cause of each change of phase, and there is none yet. A referenced
            // workload has a generation of its own.
            Some("Paused")
                if (old.phase != status.phase
                    || (status.observed_generation.as_deref() == Some(&*generation)
                        && status.workload_generation
                            == object.meta.annotations.get(WORKLOAD_GENERATION).cloned()))
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
