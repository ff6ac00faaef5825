//! L10: at rest no more is kept than asked for: old ReplicaSets, runs and Experiments of a Rollout, measurements and Jobs of
//! a run, pods and Services of an Experiment that is over.

use std::sync::Arc;

use tidegate_api::analysis::Metric;
use tidegate_api::object::{Kind, Object};
use tidegate_controller::analysis::job::METRIC_NAME;
use tidegate_controller::analysis::rules::Rules;
use tidegate_controller::names::HASH_LABEL;
use tidegate_controller::rollout::set::Set;

use super::view::View;
use super::{Invariant, Violation};
use crate::world::World;

/// The invariant.
pub struct HistoryIsBounded;

impl Invariant for HistoryIsBounded {
    fn name(&self) -> &'static str {
        "L10"
    }

    fn at_rest(&mut self, world: &World) -> Result<(), Violation> {
        if world.controller().is_none() {
            return Ok(());
        }
        let of_kind = |kind: Kind| world.store().of_kind(&kind).cloned().collect::<Vec<_>>();
        let all = of_kind(Kind::Rollout).iter().find_map(|one| of_rollout(world, one));
        let all = all.or_else(|| of_kind(Kind::AnalysisRun).iter().find_map(|one| of_run(world, one)));
        let all = all.or_else(|| of_kind(Kind::Experiment).iter().find_map(|one| of_experiment(world, one)));
        all.map_or(Ok(()), |message| Err(Violation::new(self.name(), world, message)))
    }
}

fn exceeds(count: usize, limit: i64) -> bool {
    i64::try_from(count).is_ok_and(|count| count > limit.max(0))
}

fn of_rollout(world: &World, rollout: &Arc<Object>) -> Option<String> {
    let truth = View::of_truth(world, &rollout.key())?;
    let body = rollout.rollout()?;
    let (spec, status, name) = (body.spec.spec(), &body.status, &rollout.meta.name);
    if status.phase.as_deref() != Some("Healthy") {
        return None;
    }
    let old = |hash: &str| hash != status.current() && hash != status.stable_hash();
    let kept = truth.sets.iter().filter(|seen| old(seen.set.hash()) && seen.set.wished() == 0).count();
    if exceeds(kept, spec.revision_history_limit) {
        return Some(format!("{name} keeps {kept} old ReplicaSets"));
    }
    for kind in [Kind::AnalysisRun, Kind::Experiment] {
        // The runs that a status names are not history.
        let named = serde_json::to_string(&rollout.to_value()["status"]).unwrap_or_default();
        let is_old = |one: &&Arc<Object>| {
            one.meta.deleting.is_none() && !named.contains(&format!("\"{}\"", one.meta.name))
        };
        let others: Vec<_> = world.store().owned_by(&rollout.meta.uid, &kind).filter(is_old).collect();
        let phase = |one: &Object| match one.analysis_run() {
            Some(run) => run.status.phase().to_owned(),
            None => one.experiment().map_or("", |body| body.status.phase()).to_owned(),
        };
        let good = others.iter().filter(|one| phase(one) == "Successful").count();
        let bad =
            others.iter().filter(|one| matches!(&*phase(one), "Failed" | "Error" | "Inconclusive")).count();
        let limits = (spec.successful_run_history_limit, spec.unsuccessful_run_history_limit);
        if exceeds(good, limits.0) || exceeds(bad, limits.1) {
            return Some(format!("{name} keeps {good} good and {bad} bad {}s", kind.name()));
        }
        let hash = |one: &Object| one.meta.labels.get(HASH_LABEL).map(|hash| hash.to_string());
        let has_set = |one: &Object| {
            let hash = hash(one);
            truth.sets.iter().any(|seen| hash.as_deref() == Some(seen.set.hash()))
        };
        if let Some(orphan) = others.iter().find(|one| !has_set(one)) {
            return Some(format!("{} outlives its version", orphan.meta.name));
        }
    }
    None
}

/// Metrics whose names come from arguments are judged by tests.
fn of_run(world: &World, run: &Arc<Object>) -> Option<String> {
    let body = run.analysis_run()?;
    let spec = body.spec.spec();
    let metrics: Vec<Metric> = spec.metrics.iter().map(|raw| Metric::read(raw)).collect();
    let rules = Rules::of(spec, &metrics).ok()?;
    let jobs: Vec<_> = world.store().owned_by(&run.meta.uid, &Kind::Job).collect();
    body.status.results.iter().flatten().find_map(|result| {
        let name = result.name.clone().unwrap_or_default();
        let limit = rules.kept(&name);
        let measured = result.measurements.as_ref().map_or(0, Vec::len);
        let is_of = |job: &&&Arc<Object>| {
            job.meta.deleting.is_none() && job.meta.annotations.get(METRIC_NAME) == Some(&name)
        };
        let jobs = jobs.iter().filter(is_of).count();
        let message = format!("{} keeps {measured} measurements and {jobs} Jobs of {name}", run.meta.name);
        (measured > limit || jobs > limit).then_some(message)
    })
}

fn of_experiment(world: &World, experiment: &Arc<Object>) -> Option<String> {
    let body = experiment.experiment()?;
    // A ReplicaSet of a template that was taken out of the specification goes with the Experiment.
    let names: Vec<String> = body
        .spec
        .spec()
        .templates
        .iter()
        .map(|template| {
            tidegate_controller::experiment::set_name(&experiment.meta.name, &template.name).to_string()
        })
        .collect();
    if !body.status.is_over() || body.spec.spec().problem(&experiment.meta.name).is_some() {
        return None;
    }
    let store = world.store();
    let mut sets = store.owned_by(&experiment.meta.uid, &Kind::ReplicaSet);
    if let Some(set) = sets.find(|set| {
        names.contains(&set.meta.name.to_string())
            && set.meta.deleting.is_none()
            && Set::new((*set).clone()).is_some_and(|set| set.wished() > 0)
    }) {
        return Some(format!("{} keeps its pods, and {} is over", set.meta.name, experiment.meta.name));
    }
    let service =
        store.owned_by(&experiment.meta.uid, &Kind::Service).find(|one| one.meta.deleting.is_none())?;
    Some(format!("Service {} is kept, and {} is over", service.meta.name, experiment.meta.name))
}
