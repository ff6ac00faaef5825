//! S14: a version becomes the stable one only at the end of its steps, with all its pods available.

use tidegate_api::object::{Kind, Object, RolloutBody};
use tidegate_api::spec::StepKind;
use tidegate_controller::names::HASH_LABEL;
use tidegate_controller::rollout::analysis::STEP_INDEX;

use super::view::{View, Views};
use super::{Invariant, Violation, rewritten};
use crate::world::{Happened, World};

/// The invariant. That runs before and after a switch are waited for follows from the status that names them.
pub struct PromotionGate;

impl Invariant for PromotionGate {
    fn name(&self) -> &'static str {
        "S14"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        let Some((before, after, object)) = rewritten(what) else { return Ok(()) };
        let (old, new) = (&before.status, &after.status);
        if let Some(step) = unanswered(world, object, before, after) {
            let message = format!("step {step} ends without a verdict");
            return Err(Violation::new(self.name(), world, message));
        }
        // A first deployment has nothing to be compared with; a rollback in its window needs no steps.
        if old.stable == new.stable || old.stable_hash().is_empty() || before.spec.spec().rollback_window > 0
        {
            return Ok(());
        }
        let Some(truth) = View::of_truth(world, &object.key()) else { return Ok(()) };
        let hash = new.stable_hash();
        if let Some(canary) = before.spec.spec().canary() {
            let count = i64::try_from(canary.steps.len()).unwrap_or(i64::MAX);
            let done =
                old.promote_full == Some(true) || count == 0 || old.index().is_some_and(|i| i >= count);
            if !done {
                let message = format!("{hash} becomes stable at step {:?} of {count}", old.index());
                return Err(Violation::new(self.name(), world, message));
            }
            let carries = |view: &View| view.of_hash(hash).is_some_and(|seen| seen.available >= view.n());
            if canary.threshold.is_none() && !carries(&truth) && !known.about(&object.key()).any(carries) {
                return Err(Violation::new(
                    self.name(),
                    world,
                    format!("{hash} becomes stable without its pods"),
                ));
            }
        } else if before.spec.spec().blue_green().is_some() && new.active() != hash {
            // That it could carry its users was asked when they were sent to it (S2).
            return Err(Violation::new(
                self.name(),
                world,
                format!("{hash} becomes stable before it serves"),
            ));
        }
        Ok(())
    }
}

/// The step with an analysis that this write leaves, though the run that answers for it has not succeeded.
fn unanswered(world: &World, rollout: &Object, before: &RolloutBody, after: &RolloutBody) -> Option<usize> {
    let (old, new) = (&before.status, &after.status);
    let canary = before.spec.spec().canary()?;
    let step = usize::try_from(old.index()?).ok()?;
    let StepKind::Analysis(asked) = &canary.steps.get(step)?.kind else { return None };
    let goes_on = new.index() > old.index() && !new.is_aborted() && !super::is_another_epoch(before, after);
    if asked.templates.is_empty()
        || !goes_on
        || old.promote_full == Some(true)
        || new.promote_full == Some(true)
    {
        return None;
    }
    let label = |run: &Object, name: &str| run.meta.labels.get(name).cloned();
    let mut runs = world.store().owned_by(&rollout.meta.uid, &Kind::AnalysisRun);
    let answered = runs.any(|run| {
        label(run, STEP_INDEX).as_deref() == Some(&step.to_string())
            && label(run, HASH_LABEL).as_deref() == Some(old.current())
            && run.analysis_run().is_some_and(|body| body.status.phase() == "Successful")
    });
    (!answered).then_some(step)
}
