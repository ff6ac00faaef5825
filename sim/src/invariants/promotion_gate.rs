//! S14: a version becomes the stable one only at the end of its steps, with all its pods available, and passes no step and
//! no gate that asks for evidence without it.

use std::sync::Arc;

use tidegate_api::analysis::RolloutAnalysis;
use tidegate_api::object::{Kind, Object, RolloutBody};
use tidegate_api::spec::StepKind;
use tidegate_controller::names::HASH_LABEL;
use tidegate_controller::rollout::analysis::{ROLLOUT_TYPE, STEP_INDEX};

use super::view::{View, Views, step_of_experiment};
use super::{Invariant, Violation, rewritten};
use crate::world::{Happened, World};

/// The invariant.
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
        if let Some(gate) = unasked(world, object, before, after) {
            let message = format!("the gate {gate} is passed without a verdict");
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

/// Whether a run of this version has answered, of its own accord.
fn has_answered(run: &Object, hash: &str) -> bool {
    run.meta.labels.get(HASH_LABEL).is_some_and(|label| &**label == hash)
        && run
            .analysis_run()
            .is_some_and(|body| body.status.phase() == "Successful" && !body.spec.spec().terminate)
}

/// The gate before or after a switch that this write passes, though no run answers for it. A rollback to a version that
/// is older than the stable one may pass.
fn unasked(
    world: &World,
    rollout: &Object,
    before: &RolloutBody,
    after: &RolloutBody,
) -> Option<&'static str> {
    let (old, new) = (&before.status, &after.status);
    let spec = before.spec.spec().blue_green()?;
    let hash = new.current();
    if old.stable_hash().is_empty()
        || old.active().is_empty()
        || old.stable_hash() == hash
        || old.current() != hash
        || new.is_aborted()
        || old.promote_full == Some(true)
        || new.promote_full == Some(true)
        || before.spec.spec().rollback_window > 0
    {
        return None;
    }
    let truth = View::of_truth(world, &rollout.key())?;
    let made = |hash: &str| truth.of_hash(hash).map(|seen| seen.set.object().meta.created);
    if made(hash) < made(old.stable_hash()) {
        return None;
    }
    let asks = |asked: &Option<Arc<RolloutAnalysis>>| {
        asked.as_ref().is_some_and(|asked| !asked.templates.is_empty())
    };
    let answered = |kind: &str| {
        let mut runs = world.store().owned_by(&rollout.meta.uid, &Kind::AnalysisRun);
        runs.any(|run| {
            run.meta.labels.get(ROLLOUT_TYPE).is_some_and(|label| &**label == kind) && has_answered(run, hash)
        })
    };
    let is_switched = old.active() != hash && new.active() == hash;
    if is_switched && asks(&spec.pre_promotion_analysis) && !answered("PrePromotion") {
        return Some("before the switch");
    }
    let is_promoted = new.stable_hash() == hash;
    if is_promoted && asks(&spec.post_promotion_analysis) && !answered("PostPromotion") {
        return Some("after the switch");
    }
    None
}

/// The step with an analysis or an experiment that this write leaves, though what answers for it has not succeeded.
fn unanswered(world: &World, rollout: &Object, before: &RolloutBody, after: &RolloutBody) -> Option<usize> {
    let (old, new) = (&before.status, &after.status);
    let canary = before.spec.spec().canary()?;
    let step = usize::try_from(old.index()?).ok()?;
    let is_empty = match &canary.steps.get(step)?.kind {
        StepKind::Analysis(asked) => asked.templates.is_empty(),
        StepKind::Experiment(_) => false,
        _ => return None,
    };
    let goes_on = new.index() > old.index() && !new.is_aborted() && !super::is_another_epoch(before, after);
    // A first deployment has nothing to be compared with; a rollback goes past its steps.
    let skips = old.stable_hash().is_empty()
        || new.stable_hash() == new.current()
        || before.spec.spec().rollback_window > 0;
    if is_empty || skips || !goes_on || old.promote_full == Some(true) || new.promote_full == Some(true) {
        return None;
    }
    let is_of_step =
        |run: &Object| run.meta.labels.get(STEP_INDEX).is_some_and(|index| **index == *step.to_string());
    let mut runs = world.store().owned_by(&rollout.meta.uid, &Kind::AnalysisRun);
    let mut experiments = world.store().owned_by(&rollout.meta.uid, &Kind::Experiment);
    let answered = runs.any(|run| is_of_step(run) && has_answered(run, old.current()))
        || experiments.any(|one| {
            step_of_experiment(one) == Some(step)
                && one.meta.labels.get(HASH_LABEL).is_some_and(|hash| &**hash == old.current())
                && one.experiment().is_some_and(|body| body.status.phase() == "Successful")
        });
    (!answered).then_some(step)
}
