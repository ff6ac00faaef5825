//! `spec` of AnalysisTemplates, ClusterAnalysisTemplates and AnalysisRuns: verbatim, and as the brain sees it.
//!
//! One type serves all three, since they share their fields. Metrics may hold placeholders in any text, so what a metric
//! means is read only after those were filled in ([`Metric::read`]).

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use crate::object::{Strings, Text};
use crate::schema::integer;

/// A specification, verbatim; what it means is worked out once, on demand.
#[derive(Debug)]
pub struct AnalysisDocument {
    raw: Value,
    spec: OnceLock<AnalysisSpec>,
}

impl PartialEq for AnalysisDocument {
    fn eq(&self, other: &AnalysisDocument) -> bool {
        self.raw == other.raw
    }
}

impl AnalysisDocument {
    /// A document that nobody has looked at yet.
    pub fn new(raw: Value) -> AnalysisDocument {
        AnalysisDocument { raw, spec: OnceLock::new() }
    }

    /// As the user wrote it.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// What it means.
    pub fn spec(&self) -> &AnalysisSpec {
        self.spec.get_or_init(|| AnalysisSpec::read(&self.raw))
    }
}

/// What a template or a run asks. A best effort where types are wrong: the API server refuses those.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AnalysisSpec {
    /// `metrics`, with their placeholders.
    pub metrics: Vec<Arc<Value>>,
    /// `args`.
    pub args: Vec<Argument>,
    /// `dryRun`: which metrics decide nothing.
    pub dry_run: Vec<Text>,
    /// `measurementRetention`: how many measurements are kept.
    pub retention: Vec<Retention>,
    /// `templates`, of a template only: further templates it consists of.
    pub templates: Vec<TemplateRef>,
    /// `terminate`, of a run only.
    pub terminate: bool,
    /// `ttlStrategy`, of a run only.
    pub ttl: Option<Ttl>,
}

/// An argument of a template or a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Argument {
    /// `name`
    pub name: Text,
    /// `value`; an empty text is a value.
    pub value: Option<Text>,
    /// `valueFrom`, verbatim.
    pub value_from: Option<Arc<Value>>,
}

/// A key of a Secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: Text,
    /// The key in it.
    pub key: Text,
}

/// How many measurements of some metrics are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retention {
    /// A regular expression that names metrics.
    pub metric: Text,
    /// So many; the default for 0 and less.
    pub limit: i64,
}

/// A template that is used by its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TemplateRef {
    /// `templateName`
    pub name: Text,
    /// `clusterScope`: whether it is a ClusterAnalysisTemplate.
    pub cluster: bool,
}

/// `ttlStrategy`: how many seconds after its end a run is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ttl {
    /// However it ended.
    pub completion: Option<i64>,
    /// After it failed.
    pub failure: Option<i64>,
    /// After it succeeded.
    pub success: Option<i64>,
}

/// A number that may be written as text. One that cannot be read is 0, as in the reference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Amount {
    /// What it means.
    pub number: i64,
    /// As it was written.
    pub text: Text,
}

/// One metric, after its placeholders were filled in.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Metric {
    /// `name`
    pub name: Text,
    /// `interval`, as written; empty when absent.
    pub interval: Text,
    /// `initialDelay`, as written; empty when absent.
    pub initial_delay: Text,
    /// `count`
    pub count: Option<Amount>,
    /// `successCondition`; empty when absent.
    pub success_condition: Text,
    /// `failureCondition`; empty when absent.
    pub failure_condition: Text,
    /// `failureLimit`
    pub failure_limit: Option<Amount>,
    /// `inconclusiveLimit`
    pub inconclusive_limit: Option<Amount>,
    /// `consecutiveErrorLimit`
    pub consecutive_error_limit: Option<Amount>,
    /// `consecutiveSuccessLimit`
    pub consecutive_success_limit: Option<Amount>,
    /// `provider`, verbatim.
    pub provider: Arc<Value>,
}

/// What a Rollout asks for in a step, in the background, before or after a promotion.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RolloutAnalysis {
    /// `templates`
    pub templates: Vec<TemplateRef>,
    /// `args`
    pub args: Vec<RolloutArgument>,
    /// `dryRun`
    pub dry_run: Vec<Text>,
    /// `measurementRetention`
    pub retention: Vec<Retention>,
    /// `analysisRunMetadata.labels`
    pub labels: Strings,
    /// `analysisRunMetadata.annotations`
    pub annotations: Strings,
    /// `startingStep`, in the background only.
    pub starting_step: Option<i64>,
}

/// An argument that a Rollout hands to its runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RolloutArgument {
    /// `name`
    pub name: Text,
    /// `value`; empty when absent.
    pub value: Text,
    /// `valueFrom.podTemplateHashValue`
    pub hash_of: Option<Text>,
    /// `valueFrom.fieldRef.fieldPath`
    pub field: Option<Text>,
}

pub(crate) fn text(value: &Value) -> Text {
    value.as_str().unwrap_or_default().into()
}

pub(crate) fn some_text(value: &Value) -> Option<Text> {
    value.as_str().map(Text::from)
}

pub(crate) fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(crate) fn dry_run(value: &Value) -> Vec<Text> {
    entries(value).map(|rule| text(&rule["metricName"])).collect()
}

pub(crate) fn retention(value: &Value) -> Vec<Retention> {
    let read = |rule: &Value| Retention {
        metric: text(&rule["metricName"]),
        limit: integer(&rule["limit"]).unwrap_or(0),
    };
    entries(value).map(read).collect()
}

/// Labels or annotations of runs to be made.
pub(crate) fn metadata(raw: &Value, name: &str) -> Strings {
    let pairs = raw["analysisRunMetadata"][name].as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

fn templates(value: &Value) -> Vec<TemplateRef> {
    let read = |reference: &Value| TemplateRef {
        name: text(&reference["templateName"]),
        cluster: reference["clusterScope"] == true,
    };
    entries(value).map(read).collect()
}

impl AnalysisSpec {
    fn read(raw: &Value) -> AnalysisSpec {
        let ttl = &raw["ttlStrategy"];
        let seconds = |name: &str| integer(&ttl[name]);
        AnalysisSpec {
            metrics: entries(&raw["metrics"]).cloned().map(Arc::new).collect(),
            args: entries(&raw["args"]).map(Argument::read).collect(),
            dry_run: dry_run(&raw["dryRun"]),
            retention: retention(&raw["measurementRetention"]),
            templates: templates(&raw["templates"]),
            terminate: raw["terminate"] == true,
            ttl: ttl.is_object().then(|| Ttl {
                completion: seconds("secondsAfterCompletion"),
                failure: seconds("secondsAfterFailure"),
                success: seconds("secondsAfterSuccess"),
            }),
        }
    }

    /// The `spec` of a run that asks the same.
    pub fn to_run(&self) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, list: Vec<Value>| {
            if !list.is_empty() {
                map.insert(name.to_owned(), Value::Array(list));
            }
        };
        put("args", self.args.iter().map(Argument::to_value).collect());
        put("dryRun", self.dry_run.iter().map(|name| json!({"metricName": &**name})).collect());
        let keep = |rule: &Retention| json!({"metricName": &*rule.metric, "limit": rule.limit});
        put("measurementRetention", self.retention.iter().map(keep).collect());
        map.insert("metrics".to_owned(), self.metrics.iter().map(|metric| (**metric).clone()).collect());
        Value::Object(map)
    }

    /// Whether two runs ask the same, whatever became of them since.
    pub fn asks_the_same(&self, other: &AnalysisSpec) -> bool {
        self.metrics == other.metrics
            && self.dry_run == other.dry_run
            && self.retention == other.retention
            && self.args == other.args
    }
}

impl Argument {
    /// An argument with a value.
    pub fn plain(name: impl Into<Text>, value: impl Into<Text>) -> Argument {
        Argument { name: name.into(), value: Some(value.into()), value_from: None }
    }

    fn read(raw: &Value) -> Argument {
        let from = &raw["valueFrom"];
        Argument {
            name: text(&raw["name"]),
            value: some_text(&raw["value"]),
            value_from: from.is_object().then(|| Arc::new(from.clone())),
        }
    }

    fn to_value(&self) -> Value {
        let mut value = json!({"name": &*self.name});
        if let Some(text) = &self.value {
            value["value"] = Value::from(&**text);
        }
        if let Some(from) = &self.value_from {
            value["valueFrom"] = (**from).clone();
        }
        value
    }

    /// The key of a Secret that holds its value.
    pub fn secret(&self) -> Option<SecretKey> {
        let reference = &self.value_from.as_ref()?["secretKeyRef"];
        reference
            .is_object()
            .then(|| SecretKey { name: text(&reference["name"]), key: text(&reference["key"]) })
    }
}

impl Amount {
    fn read(raw: &Value) -> Option<Amount> {
        match raw {
            Value::Number(_) => integer(raw).map(|number| Amount { number, text: number.to_string().into() }),
            Value::String(text) => {
                let number = i64::from(text.parse::<i32>().unwrap_or(0));
                Some(Amount { number, text: text.as_str().into() })
            }
            _ => None,
        }
    }
}

/// How often a metric is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// So many times; errors do not count.
    Times(i64),
    /// As long as the run lasts.
    Unlimited,
}

impl Metric {
    /// Reads a metric whose placeholders were filled in.
    pub fn read(raw: &Value) -> Metric {
        let amount = |name: &str| Amount::read(&raw[name]);
        Metric {
            name: text(&raw["name"]),
            interval: text(&raw["interval"]),
            initial_delay: text(&raw["initialDelay"]),
            count: amount("count"),
            success_condition: text(&raw["successCondition"]),
            failure_condition: text(&raw["failureCondition"]),
            failure_limit: amount("failureLimit"),
            inconclusive_limit: amount("inconclusiveLimit"),
            consecutive_error_limit: amount("consecutiveErrorLimit"),
            consecutive_success_limit: amount("consecutiveSuccessLimit"),
            provider: Arc::new(raw["provider"].clone()),
        }
    }

    /// How often it is measured. A count of 0, or one that cannot be read, is as good as none.
    pub fn times(&self) -> Count {
        match self.count.as_ref().map_or(0, |count| count.number) {
            0 if self.interval.is_empty() => Count::Times(1),
            0 => Count::Unlimited,
            number => Count::Times(number),
        }
    }

    /// The keys under `provider`; each entry of `plugin` counts as one.
    pub fn providers(&self) -> Vec<&str> {
        let Some(map) = self.provider.as_object() else { return Vec::new() };
        let mut names = Vec::new();
        for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            let times = if name == "plugin" { value.as_object().map_or(0, Map::len) } else { 1 };
            names.extend(std::iter::repeat_n(name.as_str(), times));
        }
        names
    }
}

impl RolloutAnalysis {
    /// Reads what a Rollout asks for.
    pub fn read(raw: &Value) -> RolloutAnalysis {
        RolloutAnalysis {
            templates: templates(&raw["templates"]),
            args: entries(&raw["args"]).map(RolloutArgument::read).collect(),
            dry_run: dry_run(&raw["dryRun"]),
            retention: retention(&raw["measurementRetention"]),
            labels: metadata(raw, "labels"),
            annotations: metadata(raw, "annotations"),
            starting_step: integer(&raw["startingStep"]),
        }
    }
}

impl RolloutArgument {
    pub(crate) fn read(raw: &Value) -> RolloutArgument {
        let from = &raw["valueFrom"];
        RolloutArgument {
            name: text(&raw["name"]),
            value: text(&raw["value"]),
            hash_of: some_text(&from["podTemplateHashValue"]),
            field: some_text(&from["fieldRef"]["fieldPath"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_says_nothing_is_no_count() {
        let times = |raw: Value| Metric::read(&raw).times();
        assert_eq!(times(json!({})), Count::Times(1));
        assert_eq!(times(json!({"interval": "5s"})), Count::Unlimited);
        assert_eq!(times(json!({"interval": "5s", "count": 0})), Count::Unlimited);
        assert_eq!(times(json!({"interval": "5s", "count": "many"})), Count::Unlimited);
        assert_eq!(times(json!({"count": "3"})), Count::Times(3));
    }

    #[test]
    fn a_run_is_written_as_it_was_read() {
        let raw = json!({"metrics": [{"name": "m", "interval": "{{args.a}}"}], "dryRun": [{"metricName": "m"}],
            "args": [{"name": "a", "value": ""}, {"name": "s", "valueFrom": {"secretKeyRef": {"name": "n", "key": "k"}}}],
            "measurementRetention": [{"metricName": ".*", "limit": 3}]});
        let spec = AnalysisSpec::read(&raw);
        assert_eq!(spec.to_run(), raw);
        assert_eq!(spec.args[1].secret(), Some(SecretKey { name: "n".into(), key: "k".into() }));
        assert_eq!(spec.args[0].value.as_deref(), Some(""));
    }

    #[test]
    fn every_plugin_counts_as_a_provider() {
        let providers = |raw: Value| Metric::read(&json!({"provider": raw})).providers().len();
        assert_eq!(providers(json!({"web": {}, "job": null})), 1);
        assert_eq!(providers(json!({"plugin": {"a": {}, "b": {}}})), 2);
        assert_eq!(providers(json!(null)), 0);
    }
}
