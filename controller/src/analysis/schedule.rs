//! Which measurement is due, and when to look again.

use tidegate_api::analysis::Metric;
use tidegate_api::duration::GoDuration;
use tidegate_api::object::{AnalysisRunStatus, MetricResult};
use tidegate_api::time::{Span, Stamp, Time};

use super::assess::{is_counted_out, is_terminating};

/// After an error the next attempt comes after this time, whatever the interval.
const AFTER_ERROR: Span = Span::seconds(10);

/// What is to be done about a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Take a measurement.
    Start,
    /// Look again at the one in flight.
    Resume,
    /// End the one in flight.
    Terminate,
}

fn span(text: &str) -> Option<Span> {
    GoDuration::parse(text).ok().map(|duration| Span(duration.nanos().div_euclid(1_000_000)))
}

/// What is to be done now about one metric.
pub fn task(metric: &Metric, status: &AnalysisRunStatus, terminate: bool, now: Time) -> Option<Task> {
    let result = status.result(&metric.name);
    if result.is_some_and(MetricResult::is_over) {
        return None;
    }
    let terminating = is_terminating(terminate, status);
    let last = result.and_then(MetricResult::last);
    if let Some(last) = last.filter(|last| last.finished.is_none()) {
        return match last.resume {
            _ if terminating => Some(Task::Terminate),
            Some(at) if at.time() > now => None,
            _ => Some(Task::Resume),
        };
    }
    if terminating {
        return None;
    }
    let Some(last) = last else {
        if !metric.initial_delay.is_empty() {
            // Counted from the first look, so every delayed metric waits for the second one.
            let from = status.started?.time().plus(span(&metric.initial_delay)?);
            return (from <= now).then_some(Task::Start);
        }
        return Some(Task::Start);
    };
    if result.is_some_and(|result| is_counted_out(metric, result)) {
        return None;
    }
    let wait = match last.phase() {
        "Error" => AFTER_ERROR,
        _ if metric.interval.is_empty() => AFTER_ERROR,
        _ => span(&metric.interval)?,
    };
    let finished = last.finished.unwrap_or_default().time();
    (now > finished.plus(wait)).then_some(Task::Start)
}

/// The next time at which something may be due, if nothing else happens.
pub fn next(metrics: &[Metric], status: &AnalysisRunStatus) -> Option<Time> {
    let of_metric = |metric: &Metric| {
        let result = status.result(&metric.name);
        if result.is_some_and(MetricResult::is_over) {
            return None;
        }
        let Some((result, last)) = result.and_then(|result| Some((result, result.last()?))) else {
            if metric.initial_delay.is_empty() {
                return None;
            }
            return Some(status.started.map(Stamp::time)?.plus(span(&metric.initial_delay)?));
        };
        let Some(finished) = last.finished else { return Some(last.resume?.time()) };
        if is_counted_out(metric, result) {
            return None;
        }
        match last.phase() {
            "Error" => Some(finished.time().plus(AFTER_ERROR)),
            _ if metric.interval.is_empty() => None,
            _ => Some(finished.time().plus(span(&metric.interval)?)),
        }
    };
    metrics.iter().filter_map(of_metric).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: Time = Time(1_767_225_600_000);

    fn ago(seconds: i64) -> String {
        Stamp(NOW.stamp().0 - seconds).to_string()
    }

    fn status(results: Value) -> AnalysisRunStatus {
        AnalysisRunStatus::from_value(&json!({"phase": "Running", "metricResults": results}))
    }

    fn check(metric: Value, status: &AnalysisRunStatus, terminate: bool, expected: Option<Task>) {
        let mut metric = metric;
        metric["name"] = json!("m");
        assert_eq!(task(&Metric::read(&metric), status, terminate, NOW), expected, "{metric} {status:?}");
    }

    fn measured(phase: &str, started: i64, finished: i64, count: i64) -> AnalysisRunStatus {
        status(json!([{"name": "m", "phase": "Running", "count": count, "measurements":
            [{"phase": phase, "startedAt": ago(started), "finishedAt": ago(finished)}]}]))
    }

    /// Vectors P1 to P5, P16 to P18.
    #[test]
    fn a_measurement_follows_the_end_of_the_one_before() {
        let minute = || json!({"interval": "60s"});
        check(minute(), &measured("Successful", 50, 50, 1), false, None);
        check(minute(), &measured("Successful", 61, 61, 1), false, Some(Task::Start));
        check(minute(), &measured("Successful", 61, 50, 1), false, None);
        check(minute(), &measured("Successful", 60, 60, 1), false, None);
        check(json!({}), &measured("Successful", 61, 61, 1), false, None);
        check(json!({}), &status(json!([])), false, Some(Task::Start));
        check(json!({"interval": "5m"}), &measured("Error", 120, 120, 0), false, Some(Task::Start));
        check(json!({"interval": "1s"}), &measured("Error", 5, 5, 0), false, None);
        check(json!({"interval": "1s", "count": "3"}), &measured("Successful", 61, 61, 3), false, None);
    }

    /// Vectors P6 to P9.
    #[test]
    fn a_measurement_in_flight_is_looked_at_when_it_wants() {
        let in_flight = |resume: Option<i64>| {
            let mut one = json!({"phase": "Running", "startedAt": ago(60)});
            if let Some(seconds) = resume {
                one["resumeAt"] = json!(ago(seconds));
            }
            status(json!([{"name": "m", "phase": "Running", "measurements": [one]}]))
        };
        check(json!({}), &in_flight(None), false, Some(Task::Resume));
        check(json!({}), &in_flight(Some(-10)), false, None);
        check(json!({}), &in_flight(Some(10)), false, Some(Task::Resume));
        check(json!({}), &in_flight(Some(-10)), true, Some(Task::Terminate));
        check(json!({}), &status(json!([])), true, None);
    }

    /// Vectors P10, P11.
    #[test]
    fn nothing_begins_once_a_metric_has_decided() {
        let other = |dry: bool| status(json!([{"name": "a", "phase": "Failed", "dryRun": dry}]));
        check(json!({}), &other(false), false, None);
        check(json!({}), &other(true), false, Some(Task::Start));
    }

    /// Vectors P12 to P15.
    #[test]
    fn a_delay_counts_from_the_start_of_the_run() {
        let started = |seconds: i64| AnalysisRunStatus {
            started: Stamp::parse(&ago(seconds)),
            ..AnalysisRunStatus::default()
        };
        let delayed = || json!({"initialDelay": "20s"});
        check(delayed(), &AnalysisRunStatus::default(), false, None);
        check(delayed(), &started(10), false, None);
        check(delayed(), &started(21), false, Some(Task::Start));
        check(json!({"initialDelay": "bogus"}), &started(21), false, None);
    }

    /// Vectors N1 to N7.
    #[test]
    fn the_next_look_is_when_something_may_be_due() {
        let next_of = |metrics: Value, status: &AnalysisRunStatus| {
            let metrics: Vec<Metric> = metrics.as_array().expect("a list").iter().map(Metric::read).collect();
            next(&metrics, status).map(|at| at.since(NOW).0 / 1000)
        };
        let one = |raw: Value| json!([raw]);
        let done = measured("Successful", 0, 0, 1);
        assert_eq!(next_of(one(json!({"name": "m", "interval": "60s"})), &done), Some(60));
        let failed = measured("Error", 0, 0, 0);
        assert_eq!(next_of(one(json!({"name": "m", "interval": "5m"})), &failed), Some(10));
        let both = json!([{"name": "m", "interval": "20s"}, {"name": "n", "interval": "10s"}]);
        let mut two = done.clone();
        let mut second = two.results.clone().expect("one").remove(0);
        second.name = Some("n".into());
        two.results.get_or_insert_default().push(second);
        assert_eq!(next_of(both, &two), Some(10));
        let flying = status(json!([{"name": "m", "phase": "Running",
            "measurements": [{"phase": "Running", "resumeAt": ago(-7)}]}]));
        assert_eq!(next_of(one(json!({"name": "m"})), &flying), Some(7));
        let waiting = AnalysisRunStatus { started: Some(NOW.stamp()), ..AnalysisRunStatus::default() };
        assert_eq!(next_of(one(json!({"name": "m", "initialDelay": "40s"})), &waiting), Some(40));
        let over = status(json!([{"name": "m", "phase": "Successful"}]));
        assert_eq!(next_of(one(json!({"name": "m", "interval": "60s"})), &over), None);
        assert_eq!(next_of(one(json!({"name": "m", "count": 1, "interval": "60s"})), &done), None);
    }
}
