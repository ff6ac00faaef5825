//! S20: a run that was not told to end is successful only if each metric that decides was measured as often as it is to
//! be, within its limits, and not by failures alone where none is forgiven. An Experiment is successful only if each run
//! that it requires is, and was not told to end.

use tidegate_api::analysis::{Count, Metric};
use tidegate_api::object::{AnalysisRunBody, Key, Kind, MetricResult, Object};
use tidegate_controller::analysis::assess::crossed_limit;

use super::view::Views;
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant.
pub struct VerdictsNeedEvidence;

impl Invariant for VerdictsNeedEvidence {
    fn name(&self) -> &'static str {
        "S20"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _: &Views) -> Result<(), Violation> {
        let Happened::Stored { by: Writer::Controller, before: Some(before), after: Some(after), .. } = what
        else {
            return Ok(());
        };
        if let Some(why) = unanswered(world, before, after) {
            return Err(Violation::new(
                self.name(),
                world,
                format!("{} is successful, but {why}", after.meta.name),
            ));
        }
        let (Some(old), Some(new)) = (before.analysis_run(), after.analysis_run()) else { return Ok(()) };
        let spec = new.spec.spec();
        if after.kind != Kind::AnalysisRun || new.status.phase() != "Successful" || spec.terminate {
            return Ok(());
        }
        if old.status.phase() == "Successful" {
            return Ok(());
        }
        for metric in spec.metrics.iter().map(|raw| Metric::read(raw)) {
            // Names and numbers may come from arguments: those are judged by tests.
            if metric.name.contains("{{") || format!("{:?}", metric.count).contains("{{") {
                continue;
            }
            let result = new.status.result(&metric.name);
            if result.is_some_and(|result| result.dry_run == Some(true)) {
                continue;
            }
            if let Some(why) = lacks(&metric, result) {
                let message = format!("{} is successful, but {} {why}", after.meta.name, metric.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}

/// What an Experiment that becomes successful has not been answered.
fn unanswered(world: &World, before: &Object, after: &Object) -> Option<String> {
    let (old, new) = (before.experiment()?, after.experiment()?);
    if new.status.phase() != "Successful" || old.status.phase() == "Successful" {
        return None;
    }
    let spec = new.spec.spec();
    spec.analyses.iter().filter(|analysis| analysis.is_required).find_map(|analysis| {
        let status = new.status.run(&analysis.name);
        let name = status.and_then(|status| status.run.clone()).unwrap_or_default();
        let key = Key::new(Kind::AnalysisRun, after.meta.namespace.clone(), name);
        let run = world.get(&key).and_then(|run| run.analysis_run());
        let succeeded =
            |run: &AnalysisRunBody| run.status.phase() == "Successful" && !run.spec.spec().terminate;
        // One that was deleted has told its verdict before.
        let told = || status.map(|status| status.phase()) == Some("Successful") && world.get(&key).is_none();
        let answered = run.is_some_and(succeeded) || told();
        (!answered).then(|| format!("{} has not succeeded", analysis.name))
    })
}

/// What is missing for a metric to be a success.
fn lacks(metric: &Metric, result: Option<&MetricResult>) -> Option<String> {
    let Some(result) = result else { return Some("was never measured".to_owned()) };
    let count = |number: Option<i64>| number.unwrap_or(0);
    if let Some(crossed) = crossed_limit(metric, result) {
        return Some(format!("crossed its limit: {}", crossed.message));
    }
    let forgives = metric.failure_limit.as_ref().is_some_and(|limit| limit.number != 0)
        || metric.inconclusive_limit.as_ref().is_some_and(|limit| limit.number != 0);
    if count(result.successful) == 0 && !forgives {
        return Some("has no good measurement".to_owned());
    }
    // What was an error is no measurement.
    let real = count(result.successful) + count(result.failed) + count(result.inconclusive);
    let wanted = metric.consecutive_success_limit.as_ref().map_or(0, |limit| limit.number);
    if wanted > 0 && count(result.consecutive_success) >= wanted {
        return None;
    }
    match metric.times() {
        Count::Times(times) if real < times => Some(format!("was measured {real} times of {times}")),
        _ => None,
    }
}
