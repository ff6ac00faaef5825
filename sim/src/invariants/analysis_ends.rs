//! L9: when nothing is under way any more, every run and every Experiment has its verdict. Only a Job whose pod runs on and
//! on is waited for, and an Experiment without an end.

use std::sync::Arc;

use tidegate_api::object::{ExperimentBody, Kind, Object};

use super::{Invariant, Violation};
use crate::world::World;

/// The invariant.
pub struct AnalysisEnds;

impl Invariant for AnalysisEnds {
    fn name(&self) -> &'static str {
        "L9"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        if world.controller().is_none() {
            return Ok(());
        }
        for run in world.store().of_kind(&Kind::AnalysisRun) {
            let is_over = run.analysis_run().is_none_or(|body| body.status.is_over());
            if is_over || run.meta.deleting.is_some() || waits_for_a_pod(world, run) {
                continue;
            }
            let phase = run.analysis_run().map_or("", |body| body.status.phase());
            let message = format!("{} stays {phase} and nothing will ever happen to it", run.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        for experiment in world.store().of_kind(&Kind::Experiment) {
            let phase = experiment.experiment().map_or("", |body| body.status.phase());
            if experiment.meta.deleting.is_some() || !should_end(world, experiment) {
                continue;
            }
            let message =
                format!("{} stays {phase} and nothing will ever happen to it", experiment.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}

/// Whether an Experiment that is not over should be.
fn should_end(world: &World, experiment: &Object) -> bool {
    let Some(body) = experiment.experiment() else { return false };
    let (spec, status) = (body.spec.spec(), &body.status);
    if status.is_over() || spec.problem(&experiment.meta.name).is_some() {
        return false;
    }
    let mut runs = world.store().owned_by(&experiment.meta.uid, &Kind::AnalysisRun);
    let waits_for_a_run = runs.any(|run| run.analysis_run().is_some_and(|body| !body.status.is_over()));
    !(waits_for_a_run || runs_without_end(body))
}

/// Whether only a person will end an Experiment that runs.
pub(super) fn runs_without_end(body: &ExperimentBody) -> bool {
    let spec = body.spec.spec();
    let has_no_end = spec.duration.is_none() && !spec.has_required() && !spec.terminate;
    has_no_end && body.status.phase() == "Running"
}

/// Whether a Job of the run has a pod that has not ended.
fn waits_for_a_pod(world: &World, run: &Object) -> bool {
    let has_pod = |job: &Arc<Object>| {
        let mut pods = world.store().owned_by(&job.meta.uid, &Kind::Pod);
        pods.any(|pod| {
            pod.pod().is_some_and(|body| !matches!(body.phase.as_deref(), Some("Succeeded" | "Failed")))
        })
    };
    world.store().owned_by(&run.meta.uid, &Kind::Job).any(has_pod)
}
