//! S20: a run that was not told to end is successful only if each metric that decides was measured as often as it is to
//! be, within its limits, and not by failures alone where none is forgiven.

use tidegate_api::analysis::{Count, Metric};
use tidegate_api::object::{Kind, MetricResult};
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
    let wanted = metric.consecutive_success_limit.as_ref().map_or(0, |limit| limit.number);
    if wanted > 0 && count(result.consecutive_success) >= wanted {
        return None;
    }
    match metric.times() {
        Count::Times(times) if count(result.count) < times => {
            Some(format!("was measured {} times of {times}", count(result.count)))
        }
        _ => None,
    }
}
