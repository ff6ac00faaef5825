//! `status` of an AnalysisRun: what was measured, and what it means.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::rollout_status::Field;
use super::{Strings, Text};
use crate::time::Stamp;

impl Field for Strings {
    fn read(value: &Value) -> Option<Strings> {
        value.is_object().then(|| Strings::from_value(value, "metadata").ok())?
    }
    fn write(&self) -> Value {
        self.to_value()
    }
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

fields! {
    /// One measurement of a metric.
    Measurement {
        /// `Running` while it is in flight, then what it says.
        phase: Text = "phase",
        /// Why, where that needs words.
        message: Text = "message",
        /// When the question was asked.
        started: Stamp = "startedAt",
        /// When the answer was there; absent while it is in flight.
        finished: Stamp = "finishedAt",
        /// What was measured, as the provider prints it.
        value: Text = "value",
        /// What the provider wants to remember of it.
        metadata: Strings = "metadata",
        /// When to look again at one that is in flight.
        resume: Stamp = "resumeAt",
    }
}
nested!(Measurement);

fields! {
    /// All measurements of a metric, and what they mean together.
    MetricResult {
        /// Name of the metric.
        name: Text = "name",
        /// What it says so far.
        phase: Text = "phase",
        /// The newest measurements, oldest first.
        measurements: Vec<Measurement> = "measurements",
        /// Why, where that needs words.
        message: Text = "message",
        /// Measurements that count: all but errors.
        count: i64 = "count",
        /// Those that succeeded.
        successful: i64 = "successful",
        /// Those that failed.
        failed: i64 = "failed",
        /// Those that decided nothing.
        inconclusive: i64 = "inconclusive",
        /// Attempts that measured nothing.
        error: i64 = "error",
        /// Errors in a row.
        consecutive_error: i64 = "consecutiveError",
        /// Successes in a row.
        consecutive_success: i64 = "consecutiveSuccess",
        /// Whether the metric decides nothing about the run.
        dry_run: bool = "dryRun",
        /// What the provider tells about the metric, such as the query as it was asked.
        metadata: Strings = "metadata",
    }
}
nested!(MetricResult);

fields! {
    /// How many metrics said what.
    RunSummary {
        /// All of them.
        count: i64 = "count",
        /// Those within every limit.
        successful: i64 = "successful",
        /// Those with too many failures.
        failed: i64 = "failed",
        /// Those with too many measurements that decided nothing.
        inconclusive: i64 = "inconclusive",
        /// Those with too many errors in a row.
        error: i64 = "error",
    }
}
nested!(RunSummary);

fields! {
    /// `status` of an AnalysisRun.
    AnalysisRunStatus {
        /// `Running`, `Successful`, `Failed`, `Error` or `Inconclusive`; empty before the first look.
        phase: Text = "phase",
        /// Why, where that needs words.
        message: Text = "message",
        /// What was measured, by metric.
        results: Vec<MetricResult> = "metricResults",
        /// When the first measurements were taken.
        started: Stamp = "startedAt",
        /// When it was decided.
        completed: Stamp = "completedAt",
        /// What the metrics say that decide.
        summary: RunSummary = "runSummary",
        /// What the others say.
        dry_run_summary: RunSummary = "dryRunSummary",
    }
}

/// Whether a phase of a run, a metric or a measurement is final.
pub fn is_final(phase: &str) -> bool {
    matches!(phase, "Successful" | "Failed" | "Error" | "Inconclusive")
}

impl AnalysisRunStatus {
    /// The status with which a run is made. As the reference stores it; some health checks of others tell it from a run
    /// without a status.
    pub fn unbegun() -> AnalysisRunStatus {
        AnalysisRunStatus {
            phase: Some(Text::default()),
            summary: Some(RunSummary::default()),
            ..AnalysisRunStatus::default()
        }
    }

    /// The phase; empty before the first look.
    pub fn phase(&self) -> &str {
        self.phase.as_deref().unwrap_or("")
    }

    /// Whether the run is over.
    pub fn is_over(&self) -> bool {
        is_final(self.phase())
    }

    /// What was measured of a metric.
    pub fn result(&self, metric: &str) -> Option<&MetricResult> {
        self.results.iter().flatten().find(|result| result.name.as_deref() == Some(metric))
    }
}

impl MetricResult {
    /// The phase; empty when there is none.
    pub fn phase(&self) -> &str {
        self.phase.as_deref().unwrap_or("")
    }

    /// Whether the metric is decided.
    pub fn is_over(&self) -> bool {
        is_final(self.phase())
    }

    /// The newest measurement.
    pub fn last(&self) -> Option<&Measurement> {
        self.measurements.iter().flatten().last()
    }
}

impl Measurement {
    /// The phase; empty when there is none.
    pub fn phase(&self) -> &str {
        self.phase.as_deref().unwrap_or("")
    }

    /// A measurement that ended at once, with an error.
    pub fn error(message: &str, started: Stamp, finished: Stamp) -> Measurement {
        Measurement {
            phase: Some("Error".into()),
            message: Some(message.into()),
            started: Some(started),
            finished: Some(finished),
            ..Measurement::default()
        }
    }
}
