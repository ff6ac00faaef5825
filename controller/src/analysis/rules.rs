//! Rules that name metrics by regular expressions: which of them decide nothing, how many measurements are kept.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api::analysis::{AnalysisSpec, Metric};
use tidegate_api::object::Text;

use super::expr::pattern;

/// Measurements that are kept of a metric where nobody says how many.
const DEFAULT_RETENTION: usize = 10;

/// What the rules of a run say about its metrics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Metrics that decide nothing.
    pub dry_run: BTreeSet<Text>,
    retention: BTreeMap<Text, usize>,
}

impl Rules {
    /// Applies the rules to the metrics. Each must name at least one; of several about one metric the last counts.
    pub fn of(spec: &AnalysisSpec, metrics: &[Metric]) -> Result<Rules, String> {
        let mut rules = Rules::default();
        for (index, rule) in spec.dry_run.iter().enumerate() {
            let names = named(rule, metrics).ok_or_else(|| unmatched("dryRun", index))?;
            rules.dry_run.extend(names);
        }
        for (index, rule) in spec.retention.iter().enumerate() {
            let names =
                named(&rule.metric, metrics).ok_or_else(|| unmatched("measurementRetention", index))?;
            let limit = usize::try_from(rule.limit).ok().filter(|limit| *limit > 0);
            rules.retention.extend(names.into_iter().map(|name| (name, limit.unwrap_or(DEFAULT_RETENTION))));
        }
        Ok(rules)
    }

    /// How many measurements of a metric are kept.
    pub fn kept(&self, metric: &str) -> usize {
        self.retention.get(metric).copied().unwrap_or(DEFAULT_RETENTION)
    }
}

/// The metrics that a rule names; nothing when it names none. One that cannot be read names none.
fn named(rule: &str, metrics: &[Metric]) -> Option<Vec<Text>> {
    let pattern = pattern(rule).ok()?;
    let names = metrics.iter().map(|metric| &metric.name).filter(|name| pattern.is_match(name.as_bytes()));
    Some(names.cloned().collect::<Vec<_>>()).filter(|names| !names.is_empty())
}

fn unmatched(field: &str, index: usize) -> String {
    format!("{field}[{index}]: Rule didn't match any metric name(s)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tidegate_api::analysis::AnalysisDocument;

    fn rules(spec: Value) -> Result<Rules, String> {
        let metrics = ["success-rate", "latency"].map(|name| Metric::read(&json!({"name": name})));
        Rules::of(AnalysisDocument::new(spec).spec(), &metrics)
    }

    #[test]
    fn rules_search_in_names() {
        let both = rules(json!({"dryRun": [{"metricName": "rate"}], "measurementRetention":
            [{"metricName": ".*", "limit": 2}, {"metricName": "^lat", "limit": 0}]}))
        .expect("they match");
        assert_eq!(both.dry_run, BTreeSet::from(["success-rate".into()]));
        assert_eq!((both.kept("success-rate"), both.kept("latency"), both.kept("x")), (2, 10, 10));
    }

    /// Vectors S20, S21.
    #[test]
    fn a_rule_must_name_something() {
        let unmatched = |field: &str| Err(format!("{field}[0]: Rule didn't match any metric name(s)"));
        assert_eq!(rules(json!({"dryRun": [{"metricName": "abc"}]})), unmatched("dryRun"));
        assert_eq!(rules(json!({"dryRun": [{"metricName": "*"}]})), unmatched("dryRun"));
        let retention = rules(json!({"measurementRetention": [{"metricName": "abc", "limit": 1}]}));
        assert_eq!(retention, unmatched("measurementRetention"));
    }
}
