//! S21: of each question of a Rollout (kind, version, revision, step) at most one run is under way, of each step at most one
//! Experiment, and none begins while an inconclusive one waits for a person or where one has succeeded already; of each
//! measurement there is one Job.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::object::{Body, Kind, Measurement, Object, Text};
use tidegate_controller::analysis::job::{METRIC_NAME, RUN_UID};
use tidegate_controller::names::{HASH_LABEL, REVISION};
use tidegate_controller::rollout::analysis::{ROLLOUT_TYPE, STEP_INDEX};

use super::view::{Views, step_of_experiment};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant. Remembers the questions of Experiments that have succeeded, until an abort or other steps begin anew.
#[derive(Default)]
pub struct OneRunAQuestion(BTreeMap<Question, Text>);

/// What a run or an Experiment is about.
type Question = [Option<Text>; 5];

fn question(asker: &Object) -> Option<Question> {
    let owner = asker.meta.controller().filter(|owner| &*owner.kind == "Rollout")?;
    let label = |name: &str| asker.meta.labels.get(name).cloned();
    let revision = asker.meta.annotations.get(REVISION).cloned();
    let (kind, step) = match asker.kind {
        Kind::Experiment => (None, step_of_experiment(asker).map(|step| step.to_string().into())),
        _ => (label(ROLLOUT_TYPE), label(STEP_INDEX)),
    };
    Some([Some(owner.uid.clone()), kind, step, label(HASH_LABEL), revision])
}

/// Whether it still asks: it is not over, and nobody told it to end.
fn is_live(asker: &Object) -> bool {
    let of_run = || asker.analysis_run().map(|body| (body.status.is_over(), body.spec.spec().terminate));
    let of_experiment = || asker.experiment().map(|body| (body.status.is_over(), body.spec.spec().terminate));
    asker.meta.deleting.is_none() && of_run().or_else(of_experiment) == Some((false, false))
}

/// Two that ask the same.
fn asked_twice(world: &World, kind: &Kind) -> Option<String> {
    let mut asked: BTreeMap<Question, &Object> = BTreeMap::new();
    for asker in world.store().of_kind(kind).filter(|asker| is_live(asker)) {
        let Some(question) = question(asker) else { continue };
        if let Some(other) = asked.insert(question, asker) {
            return Some(format!("{} and {} ask the same", other.meta.name, asker.meta.name));
        }
    }
    None
}

/// Whether the Rollout of an Experiment waits for a person to say what an inconclusive one means.
fn waits_for_a_person(world: &World, experiment: &Object) -> bool {
    let mut rollouts = world.store().of_kind(&Kind::Rollout);
    let owner = experiment.meta.controller().map(|owner| &owner.uid);
    let rollout = rollouts.find(|rollout| Some(&rollout.meta.uid) == owner);
    let status = rollout.and_then(|rollout| rollout.rollout()).map(|body| &body.status);
    status.is_some_and(|status| status.is_paused_for("InconclusiveExperiment"))
}

/// Another Job that measures what this one does.
fn measured_twice<'w>(world: &'w World, job: &Object) -> Option<&'w Arc<Object>> {
    let run = job.meta.labels.get(RUN_UID)?;
    let metric = job.meta.annotations.get(METRIC_NAME)?;
    let store = world.store();
    let known = store.of_kind(&Kind::AnalysisRun).find(|one| one.meta.uid == *run)?.analysis_run()?;
    let finished = |name: &Text| {
        let measurements = known.status.result(metric).and_then(|result| result.measurements.as_ref());
        let is_of = |m: &&Measurement| {
            m.finished.is_some() && m.metadata.as_ref().and_then(|all| all.get("job-name")) == Some(name)
        };
        measurements.into_iter().flatten().any(|m| is_of(&m))
    };
    store.of_kind(&Kind::Job).find(|other| {
        other.meta.name != job.meta.name
            && other.meta.labels.get(RUN_UID) == Some(run)
            && other.meta.annotations.get(METRIC_NAME) == Some(metric)
            && other.meta.deleting.is_none()
            && !finished(&other.meta.name)
    })
}

impl OneRunAQuestion {
    /// Notes an Experiment that succeeds, and forgets those of an epoch that is over.
    fn note(&mut self, before: Option<&Object>, after: &Object) {
        let succeeded = after.experiment().is_some_and(|body| body.status.phase() == "Successful");
        if let Some(question) = question(after).filter(|_| succeeded) {
            self.0.insert(question, after.meta.name.clone());
        }
        let Some(new) = after.rollout() else { return };
        let steps = before.and_then(|before| before.rollout()).map(|body| &body.status.step_hash);
        if new.status.is_aborted() || steps.is_some_and(|steps| *steps != new.status.step_hash) {
            self.0.retain(|question, _| question[0].as_ref() != Some(&after.meta.uid));
        }
    }
}

impl Invariant for OneRunAQuestion {
    fn name(&self) -> &'static str {
        "S21"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _: &Views) -> Result<(), Violation> {
        if let Happened::Stored { before, after: Some(after), .. } = what {
            self.note(before.map(|before| &**before), after);
        }
        let Happened::Stored { by: Writer::Controller, before: None, after: Some(made), .. } = what else {
            return Ok(());
        };
        let wrong = |message: String| Err(Violation::new(self.name(), world, message));
        let name = &made.meta.name;
        match &made.kind {
            Kind::AnalysisRun | Kind::Experiment if name.len() > 253 => {
                return wrong(format!("the name of {name} is too long"));
            }
            Kind::AnalysisRun | Kind::Experiment => {
                if let Some(message) = asked_twice(world, &made.kind) {
                    return wrong(message);
                }
                if made.kind == Kind::Experiment && waits_for_a_person(world, made) {
                    return wrong(format!("{name} begins while its Rollout waits for a person"));
                }
                if let Some(other) = question(made).and_then(|question| self.0.get(&question)) {
                    return wrong(format!("{name} begins where {other} has succeeded"));
                }
            }
            Kind::Job if matches!(made.body, Body::Other(_)) => {
                if let Some(other) = measured_twice(world, made) {
                    return wrong(format!("{} and {name} measure the same", other.meta.name));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
