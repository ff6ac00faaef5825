//! Metric providers: each turns a metric into questions, and replies into a value.
//!
//! A provider is pure. [`begin`] gives the first thing to do; while that is a call, its reply goes to [`resume`], and so on
//! until there is a value ([`Next::Measured`]: the conditions of the metric decide), an outcome ([`Next::Decided`]: the
//! provider judges by itself), or a time to look again ([`Next::Again`]: the measurement stays in flight). A reply that is
//! lost is asked for again from the start: a measurement that is not stored has not begun.
//!
//! One file a provider, one line here. Jobs are not asked over HTTP: [`crate::analysis::job`].

mod cloud_watch;
mod datadog;
mod graphite;
mod influxdb;
mod kayenta;
mod new_relic;
mod prometheus;
mod shared;
mod skywalking;
#[cfg(test)]
mod testing;
mod wavefront;
mod web;

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tidegate_api::analysis::Metric;
use tidegate_api::object::{Key, Strings, Text};
use tidegate_api::problem::Problem;
use tidegate_api::time::{Stamp, Time};

use crate::analysis::condition::Outcome;
use crate::analysis::expr::Value;
use crate::analysis::secrets::{Masks, SecretData};
use crate::question::{Hidden, Question, Reply};

/// Every provider.
pub const ALL: &[&dyn Provider] = &[
    &prometheus::Prometheus,
    &kayenta::Kayenta,
    &web::Web,
    &datadog::Datadog,
    &wavefront::Wavefront,
    &new_relic::NewRelic,
    &cloud_watch::CloudWatch,
    &graphite::Graphite,
    &influxdb::InfluxDb,
    &skywalking::SkyWalking,
];

/// What one measurement is asked with.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The AnalysisRun.
    pub run: &'a Key,
    /// When that run began; absent at its first look.
    pub began: Option<Stamp>,
    /// The metric, with its arguments filled in.
    pub metric: &'a Metric,
    /// When the measurement began: the same in each call of one measurement, whatever time it is by then.
    pub now: Time,
    /// The Secrets that [`needs`] named, or why one cannot be had.
    pub secrets: &'a BTreeMap<Key, Result<SecretData, Text>>,
    /// What the operator set.
    pub surroundings: &'a Surroundings,
    /// Secrets among the arguments.
    pub masks: &'a Masks,
}

/// What the operator set for all measurements, read once from the environment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Surroundings {
    /// The controller's own namespace: `POD_NAMESPACE`, that of its service account, or `argo-rollouts`.
    pub namespace: Text,
    /// `ARGO_ROLLOUTS_PROMETHEUS_ADDRESS`
    pub prometheus: Option<Text>,
    /// `DD_API_KEY`, `DD_APP_KEY`, `DD_ADDRESS`: all three or nothing.
    pub datadog: Option<DatadogKeys>,
    /// The version of the controller, as it names itself to others.
    pub version: Text,
    /// Seconds by which local time is ahead of UTC; SkyWalking is asked in local time.
    pub utc_offset: i64,
}

impl Surroundings {
    /// Reads what variables say.
    pub fn read(namespace: &str, version: &str, variable: &dyn Fn(&str) -> Option<String>) -> Surroundings {
        let text = |name: &str| variable(name).map(Text::from);
        let datadog = |api: Text, app: Text, address: Text| DatadogKeys {
            api: Hidden::new(api),
            app: Hidden::new(app),
            address,
        };
        let all = (text("DD_API_KEY"), text("DD_APP_KEY"), text("DD_ADDRESS"));
        Surroundings {
            namespace: namespace.into(),
            prometheus: text("ARGO_ROLLOUTS_PROMETHEUS_ADDRESS").filter(|address| !address.is_empty()),
            datadog: match all {
                (Some(api), Some(app), Some(address)) => Some(datadog(api, app, address)),
                _ => None,
            },
            version: version.into(),
            utc_offset: 0,
        }
    }
}

/// Credentials for Datadog from the environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatadogKeys {
    /// `DD_API_KEY`
    pub api: Hidden,
    /// `DD_APP_KEY`
    pub app: Hidden,
    /// `DD_ADDRESS`
    pub address: Text,
}

/// How far a measurement has come.
#[derive(Clone, Copy, Debug)]
pub struct SoFar<'a> {
    /// Replies of this attempt before this one: 0 for the reply to the first call.
    pub step: u32,
    /// Metadata of the stored measurement; empty when none is stored yet.
    pub metadata: &'a Strings,
}

/// What a provider is told.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// The time of [`Next::Again`] has come. Begins an attempt of its own: the reply to what follows has step 0.
    Time,
    /// What came of [`Next::Call`].
    Reply(&'a Reply),
}

/// What is to be done next.
#[derive(Clone, PartialEq, Debug)]
pub enum Next {
    /// Ask this; then [`resume`].
    Call(Box<Question>),
    /// Store the measurement as running, with this metadata, and resume it then.
    Again {
        /// When.
        at: Time,
        /// What is kept with the measurement.
        metadata: Strings,
    },
    /// There is a value. The conditions of the metric decide.
    Measured(Reading),
    /// The provider has judged. The conditions of the metric are not asked.
    Decided {
        /// What came out.
        outcome: Outcome,
        /// `value` of the measurement.
        value: Text,
        /// Metadata of the measurement.
        metadata: Strings,
    },
}

/// A value that was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Reading {
    /// `result` of the conditions.
    pub result: Value,
    /// `value` of the measurement: the numbers as the service or the reference prints them.
    pub printed: Text,
    /// Whether the measurement keeps `value` where a condition cannot be judged.
    pub keeps_value: bool,
    /// Metadata of the measurement.
    pub metadata: Strings,
}

impl Reading {
    /// A value, with the form in which it is shown.
    pub fn new(result: Value, printed: impl Into<Text>) -> Reading {
        Reading { result, printed: printed.into(), keeps_value: false, metadata: Strings::default() }
    }
}

/// Why there is no value: the measurement is an Error with this text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProviderProblem(pub String);

impl From<String> for ProviderProblem {
    fn from(text: String) -> ProviderProblem {
        ProviderProblem(text)
    }
}

impl From<&str> for ProviderProblem {
    fn from(text: &str) -> ProviderProblem {
        ProviderProblem(text.to_owned())
    }
}

/// Turns a metric into questions and replies into a value.
pub trait Provider: Sync {
    /// Its key under `provider`.
    fn name(&self) -> &'static str;

    /// Its name in exported metrics.
    fn type_name(&self) -> &'static str;

    /// What is wrong with its part of a metric, as far as it can be seen before measuring; `at` is the path of that part.
    fn check(&self, _stanza: &Json, _at: &str) -> Vec<Problem> {
        Vec::new()
    }

    /// Secrets that it must know before it can begin.
    fn needs(&self, _ask: &Ask<'_>) -> Vec<Key> {
        Vec::new()
    }

    /// Credentials of its own, which must not be shown in anything that it says.
    fn masks(&self, _ask: &Ask<'_>) -> Vec<Text> {
        Vec::new()
    }

    /// What is kept with the results of the metric, once.
    fn metadata(&self, _ask: &Ask<'_>) -> Strings {
        Strings::default()
    }

    /// The first thing to do for a measurement.
    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem>;

    /// The next thing to do for a measurement.
    fn resume(&self, ask: &Ask<'_>, so_far: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem>;
}

/// The provider of a metric. Of several the first in the order of the reference; none for a Job.
pub fn of(metric: &Metric) -> Result<&'static dyn Provider, ProviderProblem> {
    let found = ALL.iter().find(|provider| is_set(&metric.provider[provider.name()]));
    found.copied().ok_or_else(|| format!("no valid provider in metric '{}'", metric.name).into())
}

fn is_set(stanza: &Json) -> bool {
    !stanza.is_null()
}

/// What is wrong with the provider of a metric as written in a template; `at` is the path of `provider`.
pub fn check(provider: &Json, at: &str) -> Vec<Problem> {
    let set = ALL.iter().filter(|one| is_set(&provider[one.name()]));
    set.flat_map(|one| one.check(&provider[one.name()], &format!("{at}.{}", one.name()))).collect()
}

/// The name of a metric's provider in exported metrics.
pub fn type_name(provider: &Json) -> &'static str {
    if is_set(&provider["job"]) && !is_set(&provider["prometheus"]) {
        return "Job";
    }
    match ALL.iter().find(|one| is_set(&provider[one.name()])) {
        Some(one) => one.type_name(),
        None if is_set(&provider["plugin"]) => "RPCPlugin",
        None => "Unknown Provider",
    }
}

/// Secrets that must be read before [`begin`] and [`resume`]; what cannot be read is told to them too.
pub fn needs(ask: &Ask<'_>) -> Vec<Key> {
    of(ask.metric).map(|provider| provider.needs(ask)).unwrap_or_default()
}

/// What is kept with the results of the metric, once, without secrets.
pub fn metadata(ask: &Ask<'_>) -> Strings {
    of(ask.metric).map(|provider| hidden(&provider.metadata(ask), &masks(provider, ask))).unwrap_or_default()
}

/// The first thing to do for a measurement. What it says holds no secret.
pub fn begin(ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
    let provider = of(ask.metric)?;
    without_secrets(provider.begin(ask), provider, ask)
}

/// The next thing to do for a measurement. What it says holds no secret.
pub fn resume(ask: &Ask<'_>, so_far: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
    let provider = of(ask.metric)?;
    without_secrets(provider.resume(ask, so_far, told), provider, ask)
}

fn masks(provider: &dyn Provider, ask: &Ask<'_>) -> Masks {
    let mut masks = ask.masks.clone();
    provider.masks(ask).iter().for_each(|secret| masks.add(secret));
    masks
}

fn hidden(metadata: &Strings, masks: &Masks) -> Strings {
    metadata.iter().map(|(key, value)| (key.clone(), Text::from(masks.hide(value)))).collect()
}

fn without_secrets(
    next: Result<Next, ProviderProblem>,
    provider: &dyn Provider,
    ask: &Ask<'_>,
) -> Result<Next, ProviderProblem> {
    let masks = masks(provider, ask);
    let text = |text: &Text| Text::from(masks.hide(text));
    Ok(match next.map_err(|problem| ProviderProblem(masks.hide(&problem.0)))? {
        Next::Call(question) => Next::Call(Box::new(Question { masks, ..*question })),
        Next::Again { at, metadata } => Next::Again { at, metadata: hidden(&metadata, &masks) },
        Next::Measured(reading) => Next::Measured(Reading {
            printed: text(&reading.printed),
            metadata: hidden(&reading.metadata, &masks),
            ..reading
        }),
        Next::Decided { outcome, value, metadata } => {
            Next::Decided { outcome, value: text(&value), metadata: hidden(&metadata, &masks) }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tidegate_api::yaml;

    use super::*;

    fn names(folder: &str) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut names: Vec<String> =
            files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_lowercase()).collect();
        names.sort();
        names
    }

    #[test]
    fn every_file_is_a_provider_in_the_list_and_has_a_page() {
        let of_providers = |extra: &[&str]| {
            let mut all: Vec<String> = ALL.iter().map(|one| one.name().to_lowercase()).collect();
            all.extend(extra.iter().map(|name| (*name).to_owned()));
            all.sort();
            all
        };
        let files: Vec<String> = names("src/providers").iter().map(|name| name.replace('_', "")).collect();
        assert_eq!(files, of_providers(&["mod", "shared", "testing"]));
        assert_eq!(names("../docs/providers"), of_providers(&["job", "readme"]));
    }

    /// The manifest of each page names one provider, and nothing is wrong with it.
    #[test]
    fn the_pages_show_manifests_without_problems() {
        for one in ALL {
            let name = one.name();
            let path = format!("{}/../docs/providers/{}.md", env!("CARGO_MANIFEST_DIR"), name.to_lowercase());
            let page = fs::read_to_string(&path).unwrap();
            let manifest = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
            let documents = yaml::read(&path, manifest).unwrap();
            let metric = Metric::read(&documents[0].value["spec"]["metrics"][0]);
            let provider = &metric.provider;
            assert_eq!(of(&metric).unwrap().name(), name);
            assert_eq!(check(provider, "provider"), Vec::new(), "{name}");
        }
    }

    #[test]
    fn of_several_providers_the_first_counts_and_of_none_none() {
        let metric =
            |provider: Json| Metric { name: "m".into(), provider: provider.into(), ..Metric::default() };
        let of = |provider: Json| of(&metric(provider)).map(|one| one.name()).map_err(|why| why.0);
        assert_eq!(of(serde_json::json!({"web": {}, "prometheus": {}})), Ok("prometheus"));
        assert_eq!(of(serde_json::json!({"web": null})), Err("no valid provider in metric 'm'".to_owned()));
        let names = ["prometheus", "job", "influxdb", "skywalking", "plugin", "nothing"];
        let types: Vec<&str> = names.iter().map(|name| type_name(&serde_json::json!({*name: {}}))).collect();
        assert_eq!(types, ["Prometheus", "Job", "Influxdb", "skywalking", "RPCPlugin", "Unknown Provider"]);
    }

    #[test]
    fn the_operator_says_where_metrics_are() {
        let read = |variables: &[(&str, &str)]| {
            let found = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            Surroundings::read("argo", "1", &found)
        };
        let two =
            [("DD_API_KEY", "a"), ("DD_APP_KEY", "b"), ("ARGO_ROLLOUTS_PROMETHEUS_ADDRESS", "http://p")];
        let some = read(&two);
        assert_eq!((some.prometheus.as_deref(), some.datadog), (Some("http://p"), None));
        let all = read(&[two[0], two[1], ("DD_ADDRESS", "http://d")]);
        assert_eq!(all.datadog.map(|keys| keys.address.to_string()).as_deref(), Some("http://d"));
    }
}
