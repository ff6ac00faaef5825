//! L1: at rest a Rollout is done, waits for a person, or says what is wrong.

use tidegate_api::object::{Kind, Object, RolloutBody};
use tidegate_api::spec::{Pause, StepKind};

use super::analysis_ends::runs_without_end;
use super::{Invariant, Violation, is_for_want_of_evidence};
use crate::world::World;

/// The invariant.
pub struct ComesToAnEnd;

impl Invariant for ComesToAnEnd {
    fn name(&self) -> &'static str {
        "L1"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(status) = rollout.rollout().map(|body| &body.status) else { continue };
            let ended = match status.phase.as_deref() {
                Some("Healthy") => true,
                Some("Paused") => rollout.rollout().is_some_and(waits_for_somebody),
                Some("Progressing") => waits_for_an_experiment(world, rollout),
                Some("Degraded") => status.message.as_deref().is_some_and(|message| !message.is_empty()),
                _ => false,
            };
            if !ended {
                let message =
                    format!("{} rests in {:?}: {:?}", rollout.meta.name, status.phase, status.message);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}

/// Whether the step under way is an Experiment that only a person ends.
fn waits_for_an_experiment(world: &World, rollout: &Object) -> bool {
    let current = rollout.rollout().and_then(|body| body.status.canary.as_ref()?.experiment.clone());
    world.store().owned_by(&rollout.meta.uid, &Kind::Experiment).any(|experiment| {
        Some(&experiment.meta.name) == current.as_ref()
            && experiment.experiment().is_some_and(runs_without_end)
    })
}

/// Whether a pause is one that time does not end. One that should have ended is no rest.
fn waits_for_somebody(body: &RolloutBody) -> bool {
    let (spec, status) = (body.spec.spec(), &body.status);
    if spec.paused || status.condition("InvalidSpec").is_some() {
        return true;
    }
    // Evidence that decides nothing waits for a person, whatever else the update waits for.
    if status.pause_conditions().iter().any(is_for_want_of_evidence) {
        return true;
    }
    match (spec.canary(), spec.blue_green()) {
        (Some(canary), _) => {
            let index = usize::try_from(status.index().unwrap_or(0)).unwrap_or(0);
            let step = canary.steps.get(index).map(|step| &step.kind);
            !matches!(step, Some(StepKind::Pause(Pause::Seconds(..))))
        }
        (_, Some(blue_green)) => !blue_green.auto_promotion,
        _ => true,
    }
}
