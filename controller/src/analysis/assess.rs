//! From measurements to a verdict: of a metric ([`phase_of_metric`]), and of the whole run ([`assess`]).

use std::collections::BTreeSet;

use tidegate_api::analysis::{Amount, Count, Metric};
use tidegate_api::object::{AnalysisRunStatus, MetricResult, RunSummary, Text, is_final};
use tidegate_api::time::Stamp;

/// Errors in a row that are tolerated where nobody says how many.
const DEFAULT_ERROR_LIMIT: i64 = 4;

/// A limit that was crossed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crossed {
    /// What that makes of the metric.
    pub phase: &'static str,
    /// How, in the reference's words.
    pub message: String,
}

fn number(amount: &Option<Amount>) -> i64 {
    amount.as_ref().map_or(0, |amount| amount.number)
}

/// The limit that the measurements of a metric have crossed; of several the last one, as in the reference.
pub fn crossed_limit(metric: &Metric, result: &MetricResult) -> Option<Crossed> {
    let crossed = |phase, what: &str, count: i64, limit_name: &str, limit: i64| {
        (count > limit)
            .then(|| Crossed { phase, message: format!("{what} ({count}) > {limit_name} ({limit})") })
    };
    let count = |count: Option<i64>| count.unwrap_or(0);
    let failure_limit = number(&metric.failure_limit);
    let errors = metric.consecutive_error_limit.as_ref().map_or(DEFAULT_ERROR_LIMIT, |limit| limit.number);
    let inconclusive = number(&metric.inconclusive_limit);
    crossed("Error", "consecutiveErrors", count(result.consecutive_error), "consecutiveErrorLimit", errors)
        .or_else(|| {
            let counted = count(result.inconclusive);
            crossed("Inconclusive", "inconclusive", counted, "inconclusiveLimit", inconclusive)
        })
        .or_else(|| {
            let counted = count(result.failed);
            crossed("Failed", "failed", counted, "failureLimit", failure_limit).filter(|_| failure_limit >= 0)
        })
}

/// What a metric says so far.
pub fn phase_of_metric(metric: &Metric, result: &MetricResult, terminating: bool) -> &'static str {
    if let Some(phase) =
        ["Successful", "Failed", "Error", "Inconclusive"].into_iter().find(|p| *p == result.phase())
    {
        return phase;
    }
    let Some(last) = result.last() else { return if terminating { "Successful" } else { "Pending" } };
    if !is_final(last.phase()) {
        return "Running";
    }
    if let Some(crossed) = crossed_limit(metric, result) {
        return crossed.phase;
    }
    let wanted = number(&metric.consecutive_success_limit);
    if wanted > 0 && result.consecutive_success.unwrap_or(0) >= wanted {
        return "Successful";
    }
    if is_counted_out(metric, result) {
        let failures_decide = metric.failure_limit.as_ref().is_none_or(|limit| limit.number >= 0);
        return match (failures_decide, wanted > 0) {
            (true, true) => "Inconclusive",
            (false, true) => "Failed",
            _ => "Successful",
        };
    }
    if terminating { "Successful" } else { "Running" }
}

/// Whether a metric was measured as often as it is to be.
pub fn is_counted_out(metric: &Metric, result: &MetricResult) -> bool {
    matches!(metric.times(), Count::Times(times) if result.count.unwrap_or(0) >= times)
}

/// Whether a run comes to its end before all was measured: it was told to, or a metric that decides has decided against it.
pub fn is_terminating(terminate: bool, status: &AnalysisRunStatus) -> bool {
    let decides = |result: &MetricResult| {
        result.dry_run != Some(true) && matches!(result.phase(), "Failed" | "Error" | "Inconclusive")
    };
    terminate || status.results.iter().flatten().any(decides)
}

/// A metric that has come to its end in this look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// Its name.
    pub metric: Text,
    /// What it says.
    pub phase: &'static str,
}

/// How bad a phase is; unknown ones count as the best.
fn badness(phase: &str) -> usize {
    let order = ["Successful", "Running", "Pending", "Inconclusive", "Error", "Failed"];
    order.iter().position(|known| *known == phase).unwrap_or(0)
}

/// Brings a status up to date with its measurements: phases of metrics, summaries, phase and message of the run. Says which
/// metrics were decided, and whether the phase of the run changed.
pub fn assess(
    status: &mut AnalysisRunStatus,
    metrics: &[Metric],
    dry_run: &BTreeSet<Text>,
    terminate: bool,
    now: Stamp,
) -> (Vec<Decided>, bool) {
    let terminating = is_terminating(terminate, status);
    status.started.get_or_insert(now);
    let mut worst: Option<&'static str> = None;
    let mut message = if terminate { "Run Terminated".to_owned() } else { String::new() };
    let mut all_done = true;
    let (mut summary, mut dry_summary) = (RunSummary::default(), RunSummary::default());
    let mut decided = Vec::new();
    for metric in metrics {
        let is_dry = dry_run.contains(&metric.name);
        let counts = if is_dry { &mut dry_summary } else { &mut summary };
        bump(&mut counts.count);
        let results = status.results.get_or_insert_default();
        let Some(result) = results.iter_mut().find(|result| result.name.as_deref() == Some(&*metric.name))
        else {
            all_done = false;
            continue;
        };
        let phase = phase_of_metric(metric, result, terminating);
        if phase != result.phase() {
            if is_final(phase) {
                decided.push(Decided { metric: metric.name.clone(), phase });
            }
            result.message =
                result.last().and_then(|last| last.message.clone()).filter(|text| !text.is_empty());
            result.phase = Some(phase.into());
        }
        if !is_final(phase) {
            all_done = false;
            continue;
        }
        // What is counted is the limit, not the phase: a metric that was merely counted out counts as successful.
        let crossed = crossed_limit(metric, result);
        let counted = match crossed.as_ref().map(|crossed| crossed.phase) {
            Some("Failed") => &mut counts.failed,
            Some("Inconclusive") => &mut counts.inconclusive,
            Some("Error") => &mut counts.error,
            _ => &mut counts.successful,
        };
        bump(counted);
        if is_dry {
            worst = worst.or(Some("Successful"));
            if let Some(crossed) = crossed {
                result.message = Some(format!("Metric assessed {phase} due to {}", crossed.message).into());
            }
        } else if worst.is_none_or(|worst| badness(phase) > badness(worst)) {
            worst = Some(phase);
            if let Some(crossed) = crossed {
                let name = serde_json::Value::from(&*metric.name);
                message = format!("Metric {name} assessed {phase} due to {}", crossed.message);
                if let Some(text) = result.message.as_deref().filter(|text| !text.is_empty()) {
                    message.push_str(&format!(": \"Error Message: {text}\""));
                }
            }
        }
    }
    status.summary = Some(summary);
    status.dry_run_summary = Some(dry_summary);
    let (phase, message) = match worst {
        worst if terminating => (worst.unwrap_or("Successful"), message.trim().to_owned()),
        Some(worst) if all_done => (worst, message.trim().to_owned()),
        _ => ("Running", String::new()),
    };
    let changed = phase != status.phase();
    if changed {
        status.phase = Some(phase.into());
        status.message = (!message.is_empty()).then(|| message.into());
        if is_final(phase) {
            status.completed.get_or_insert(now);
        }
    }
    (decided, changed)
}

/// Counts one more.
pub fn bump(count: &mut Option<i64>) {
    *count = Some(count.unwrap_or(0).saturating_add(1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tidegate_api::object::Measurement;

    fn check(metric: Value, result: Value, expected: (&str, &str)) {
        let metric = Metric::read(&metric);
        let mut raw = json!({"name": "m", "phase": "Running", "measurements": [{"phase": "Successful"}]});
        for (key, value) in result.as_object().expect("a mapping") {
            raw[key] = value.clone();
        }
        let result = MetricResult::from_value(&raw);
        let found = (phase_of_metric(&metric, &result, false), phase_of_metric(&metric, &result, true));
        assert_eq!(found, expected, "{metric:?} {raw}");
    }

    /// Vectors M1 to M9.
    #[test]
    fn limits_decide_about_a_metric() {
        check(json!({}), json!({"measurements": []}), ("Pending", "Successful"));
        check(json!({}), json!({"measurements": [{"phase": "Running"}]}), ("Running", "Running"));
        let every = |extra: &str, limit: i64| json!({"interval": "60s", extra: limit});
        check(every("failureLimit", 2), json!({"failed": 3, "count": 3}), ("Failed", "Failed"));
        check(every("failureLimit", 3), json!({"failed": 3, "count": 3}), ("Running", "Successful"));
        check(every("inconclusiveLimit", 2), json!({"inconclusive": 3}), ("Inconclusive", "Inconclusive"));
        check(every("inconclusiveLimit", 3), json!({"inconclusive": 3}), ("Running", "Successful"));
        check(json!({}), json!({"consecutiveError": 5}), ("Error", "Error"));
        let error = json!({"consecutiveError": 4, "measurements": [{"phase": "Error"}]});
        check(json!({}), error, ("Running", "Successful"));
        check(
            json!({"count": 10, "interval": "1s", "failureLimit": 9}),
            json!({"count": 10, "failed": 9, "successful": 1}),
            ("Successful", "Successful"),
        );
    }

    /// Vectors M10 to M22.
    #[test]
    fn successes_in_a_row_decide_too() {
        let metric = |failures: i64, successes: i64, count: i64| json!({"interval": "1s", "failureLimit": failures, "consecutiveSuccessLimit": successes, "count": count});
        let result = |failed: i64, count: i64, row: i64| json!({"failed": failed, "count": count, "consecutiveSuccess": row});
        check(metric(-1, 3, 0), result(0, 3, 3), ("Successful", "Successful"));
        check(metric(-1, 5, 0), result(0, 3, 3), ("Running", "Successful"));
        check(metric(-1, 5, 7), result(0, 7, 3), ("Failed", "Failed"));
        check(metric(-1, 3, 7), result(0, 7, 3), ("Successful", "Successful"));
        check(metric(4, 4, 10), result(4, 10, 3), ("Inconclusive", "Inconclusive"));
        check(metric(4, 4, 10), result(5, 10, 3), ("Failed", "Failed"));
        check(metric(4, 4, 10), result(4, 10, 4), ("Successful", "Successful"));
        check(metric(4, 4, 10), result(5, 10, 4), ("Failed", "Failed"));
        check(metric(4, 4, 10), result(3, 8, 3), ("Running", "Successful"));
        check(metric(4, 4, 10), result(5, 8, 3), ("Failed", "Failed"));
        check(metric(4, 4, 10), result(3, 8, 4), ("Successful", "Successful"));
        check(json!({}), json!({"failed": 1, "inconclusive": 1}), ("Inconclusive", "Inconclusive"));
        check(json!({}), json!({"failed": 1, "consecutiveError": 5}), ("Error", "Error"));
    }

    #[test]
    fn the_worst_metric_gives_the_message_that_it_has() {
        let metrics = [json!({"name": "a"}), json!({"name": "b"})].map(|raw| Metric::read(&raw));
        let result = |name: &str, counter: &str, count: i64, message: Option<&str>| MetricResult {
            measurements: Some(vec![Measurement {
                phase: Some("Failed".into()),
                message: message.map(Text::from),
                ..Measurement::default()
            }]),
            ..MetricResult::from_value(&json!({"name": name, "phase": "Running", counter: count}))
        };
        let mut status = AnalysisRunStatus {
            results: Some(vec![
                result("a", "consecutiveError", 5, Some("down")),
                result("b", "failed", 1, None),
            ]),
            ..AnalysisRunStatus::default()
        };
        let (decided, changed) = assess(&mut status, &metrics, &BTreeSet::new(), false, Stamp(7));
        assert!(changed);
        assert_eq!(decided.iter().map(|d| d.phase).collect::<Vec<_>>(), ["Error", "Failed"]);
        assert_eq!(status.phase(), "Failed");
        let message = "Metric \"b\" assessed Failed due to failed (1) > failureLimit (0)";
        assert_eq!(status.message.as_deref(), Some(message));
        assert_eq!((status.started, status.completed), (Some(Stamp(7)), Some(Stamp(7))));
        assert_eq!(
            status.summary,
            Some(RunSummary { count: Some(2), failed: Some(1), error: Some(1), ..RunSummary::default() })
        );
    }
}
