//! Rules about the metrics of a run. They hold after placeholders were filled in, so the controller asks when a run begins.

use std::collections::BTreeSet;

use crate::analysis::{Amount, Metric};
use crate::duration::GoDuration;

/// What is wrong with the metrics of a run, in the reference's words; the first thing only, as a run ends with it.
pub fn metric_problem(metrics: &[Metric]) -> Option<String> {
    if metrics.is_empty() {
        return Some("no metrics specified".to_owned());
    }
    let mut names = BTreeSet::new();
    metrics.iter().enumerate().find_map(|(index, metric)| {
        let problem = if names.insert(&*metric.name) {
            problem_of(metric)
        } else {
            Some(format!("duplicate name '{}'", metric.name))
        };
        problem.map(|problem| format!("metrics[{index}]: {problem}"))
    })
}

fn problem_of(metric: &Metric) -> Option<String> {
    let number = |amount: &Option<Amount>| amount.as_ref().map_or(0, |amount| amount.number);
    let (count, failures) = (number(&metric.count), number(&metric.failure_limit));
    let successes = number(&metric.consecutive_success_limit);
    let inconclusive = number(&metric.inconclusive_limit);
    let say = |text: &str| Some(text.to_owned());
    if successes < 0 {
        return say("consecutiveSuccessLimit must be >= 0");
    }
    if failures < -1 {
        return say("failureLimit must be >= 0, or -1 to be disabled");
    }
    if successes == 0 && failures == -1 {
        return say("failureLimit and consecutiveSuccessLimit cannot both be disabled");
    }
    if inconclusive < 0 {
        return say("inconclusiveLimit must be >= 0");
    }
    if number(&metric.consecutive_error_limit) < 0 {
        return say("consecutiveErrorLimit must be >= 0");
    }
    // ARGO: the reference takes a negative count for one that is reached at once, with any outcome.
    if count < 0 {
        return say("count must be >= 0");
    }
    if count > 0 && failures >= 0 && count < failures.saturating_add(successes) {
        return Some(format!(
            "count ({count}) must be >= failureLimit + consecutiveSuccessLimit ({failures} + {successes}) if both >= 0"
        ));
    }
    if count > 0 && failures < 0 && count < successes {
        return say("count must be >= consecutiveSuccessLimit");
    }
    if count > 0 && count < inconclusive {
        return say("count must be >= inconclusiveLimit");
    }
    if count > 1 && metric.interval.is_empty() {
        return say("interval must be specified when count > 1");
    }
    let unreadable = |text: &str| if text.is_empty() { None } else { GoDuration::parse(text).err() };
    if let Some(why) = unreadable(&metric.interval) {
        return Some(format!("invalid interval string: {why}"));
    }
    if let Some(why) = unreadable(&metric.initial_delay) {
        return Some(format!("invalid startDelay string: {why}"));
    }
    match metric.providers().len() {
        0 => say("no provider specified"),
        1 => None,
        _ => say("multiple providers specified"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(metrics: &[Value], expected: Option<&str>) {
        let with_provider = |raw: &Value| {
            let mut raw = raw.clone();
            if raw.get("provider").is_none() {
                raw["provider"] = json!({"web": {"url": "http://x"}});
            }
            if raw.get("name").is_none() {
                raw["name"] = json!("success-rate");
            }
            Metric::read(&raw)
        };
        let metrics: Vec<Metric> = metrics.iter().map(with_provider).collect();
        assert_eq!(metric_problem(&metrics).as_deref(), expected, "{metrics:?}");
    }

    /// Vectors V1 to V11.
    #[test]
    fn each_rule_is_broken_once() {
        check(&[], Some("no metrics specified"));
        check(
            &[json!({"count": 1, "failureLimit": 2})],
            Some(
                "metrics[0]: count (1) must be >= failureLimit + consecutiveSuccessLimit (2 + 0) if both >= 0",
            ),
        );
        check(
            &[json!({"count": 1, "inconclusiveLimit": 2})],
            Some("metrics[0]: count must be >= inconclusiveLimit"),
        );
        check(&[json!({"count": 2})], Some("metrics[0]: interval must be specified when count > 1"));
        check(
            &[json!({"interval": "60s-typo"})],
            Some(
                "metrics[0]: invalid interval string: time: unknown unit \"s-typo\" in duration \"60s-typo\"",
            ),
        );
        check(
            &[json!({"initialDelay": "60s-typo"})],
            Some(
                "metrics[0]: invalid startDelay string: time: unknown unit \"s-typo\" in duration \"60s-typo\"",
            ),
        );
        check(&[json!({}), json!({})], Some("metrics[1]: duplicate name 'success-rate'"));
        check(
            &[json!({"failureLimit": -2})],
            Some("metrics[0]: failureLimit must be >= 0, or -1 to be disabled"),
        );
        check(
            &[json!({"failureLimit": -1})],
            Some("metrics[0]: failureLimit and consecutiveSuccessLimit cannot both be disabled"),
        );
        check(
            &[json!({"provider": {"web": {}, "prometheus": {}}})],
            Some("metrics[0]: multiple providers specified"),
        );
        check(&[json!({"count": 2, "failureLimit": 2, "interval": "5s"})], None);
    }

    #[test]
    fn what_the_vectors_leave_out_is_refused_too() {
        check(&[json!({"count": -1})], Some("metrics[0]: count must be >= 0"));
        check(&[json!({"provider": {}})], Some("metrics[0]: no provider specified"));
        check(
            &[json!({"consecutiveSuccessLimit": -1})],
            Some("metrics[0]: consecutiveSuccessLimit must be >= 0"),
        );
        check(
            &[json!({"count": 1, "failureLimit": -1, "consecutiveSuccessLimit": 2})],
            Some("metrics[0]: count must be >= consecutiveSuccessLimit"),
        );
    }
}
