//! S22: a run or an Experiment that its Rollout does not ask any more is told to end.
//!
//! The status names the runs that decide, and is the last write of a pass: what it has not named twice, and nobody told
//! to end, is a ghost.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, RolloutStatus};
use tidegate_controller::names::HASH_LABEL;
use tidegate_controller::rollout::analysis::STEP_INDEX;

use super::view::{Views, step_of_experiment};
use super::{Invariant, Violation, rewritten};
use crate::world::{Happened, World};

/// How many statuses may leave a run out before it is a ghost: the write that ends it may have been refused once.
const PATIENCE: u32 = 2;

/// The invariant. Counts how many statuses have left a run out.
#[derive(Default)]
pub struct NoGhosts(BTreeMap<Key, u32>);

/// Whether it still asks: it is not over, and nobody told it to end.
fn is_live(asker: &Object) -> bool {
    let of_run = || asker.analysis_run().map(|body| (body.status.is_over(), body.spec.spec().terminate));
    let of_experiment = || asker.experiment().map(|body| (body.status.is_over(), body.spec.spec().terminate));
    asker.meta.deleting.is_none() && of_run().or_else(of_experiment) == Some((false, false))
}

/// Whether it asks about the very step that its Rollout stands at. No status may name it yet: where the status that should have
/// done so was refused, because the wished number of pods had changed, each pass that only changes sizes writes one without
/// having looked, and the first full one takes it over. That there is no second one is S21.
fn is_of_the_present(status: &RolloutStatus, run: &Object) -> bool {
    let step = match run.kind {
        Kind::Experiment => step_of_experiment(run).and_then(|step| i64::try_from(step).ok()),
        _ => run.meta.labels.get(STEP_INDEX).and_then(|step| step.parse().ok()),
    };
    let version = run.meta.labels.get(HASH_LABEL).map_or("", |hash| hash);
    let is_off = status.is_aborted() || status.promote_full == Some(true);
    !is_off && step.is_some() && step == status.index() && version == status.current()
}

/// The runs and Experiments of a Rollout.
fn askers<'w>(world: &'w World, rollout: &'w Object) -> impl Iterator<Item = &'w Arc<Object>> {
    let of_kind = |kind: &'w Kind| world.store().owned_by(&rollout.meta.uid, kind);
    of_kind(&Kind::AnalysisRun).chain(of_kind(&Kind::Experiment))
}

fn names(status: &RolloutStatus, run: &Object) -> bool {
    if run.kind == Kind::Experiment {
        let named = status.canary.as_ref().and_then(|canary| canary.experiment.as_ref());
        return named == Some(&run.meta.name);
    }
    let (canary, blue_green) = (status.canary.as_ref(), status.blue_green.as_ref());
    let all = [
        canary.and_then(|canary| canary.step_run.as_ref()),
        canary.and_then(|canary| canary.background_run.as_ref()),
        blue_green.and_then(|blue_green| blue_green.pre_run.as_ref()),
        blue_green.and_then(|blue_green| blue_green.post_run.as_ref()),
    ];
    all.into_iter().flatten().any(|named| named.name.as_deref() == Some(&*run.meta.name))
}

impl Invariant for NoGhosts {
    fn name(&self) -> &'static str {
        "S22"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _: &Views) -> Result<(), Violation> {
        let Some((before, after, object)) = rewritten(what) else { return Ok(()) };
        if before.status == after.status {
            return Ok(());
        }
        for run in askers(world, object) {
            let left_out = self.0.entry(run.key()).or_default();
            let is_asked = names(&after.status, run) || is_of_the_present(&after.status, run);
            *left_out = if is_live(run) && !is_asked { *left_out + 1 } else { 0 };
            if *left_out > PATIENCE {
                let message = format!("nobody asks {} any more, and it goes on", run.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let Some(body) = rollout.rollout() else { continue };
            let mut runs = askers(world, rollout);
            if let Some(run) = runs.find(|run| is_live(run) && !names(&body.status, run)) {
                let message = format!("nobody asks {} any more, and it was not told to end", run.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
