//! The typed bodies of the kinds that decisions read.
//!
//! Numbers are options because a document that says `0` and one that says nothing must both survive a round trip;
//! the accessors answer what Kubernetes means by an absent field.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    AnalysisRunStatus, Body, ExperimentStatus, Kind, RolloutStatus, Selector, Strings, Template, Text,
    Verbatim,
};
use crate::analysis::AnalysisDocument;
use crate::experiment::ExperimentDocument;
use crate::schema::integer;
use crate::spec::SpecDocument;
use crate::time::Stamp;

type Rest = Option<Arc<Map<String, Value>>>;

/// A Rollout.
#[derive(Clone, PartialEq, Debug)]
pub struct RolloutBody {
    /// What the user wants, verbatim and as understood.
    pub spec: Arc<SpecDocument>,
    /// What the controller remembers.
    pub status: Arc<RolloutStatus>,
    has_status: bool,
    rest: Rest,
}

/// An AnalysisRun.
#[derive(Clone, PartialEq, Debug)]
pub struct AnalysisRunBody {
    /// What is asked, verbatim and as understood.
    pub spec: Arc<AnalysisDocument>,
    /// What was found so far.
    pub status: Arc<AnalysisRunStatus>,
    has_status: bool,
    rest: Rest,
}

/// An AnalysisTemplate or ClusterAnalysisTemplate.
#[derive(Clone, PartialEq, Debug)]
pub struct AnalysisTemplateBody {
    /// What runs made of it ask, verbatim and as understood.
    pub spec: Arc<AnalysisDocument>,
    rest: Rest,
}

/// An Experiment.
#[derive(Clone, PartialEq, Debug)]
pub struct ExperimentBody {
    /// What is to run and what is asked, verbatim and as understood.
    pub spec: Arc<ExperimentDocument>,
    /// What became of it so far.
    pub status: Arc<ExperimentStatus>,
    has_status: bool,
    rest: Rest,
}

/// A ReplicaSet.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaSetBody {
    /// `spec.replicas`.
    pub replicas: Option<i64>,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: Option<i64>,
    /// `spec.selector`.
    pub selector: Arc<Selector>,
    /// `spec.template`.
    pub template: Template,
    /// Status.
    pub status: SetStatus,
    spec_rest: Rest,
    rest: Rest,
}

/// A Deployment.
#[derive(Clone, PartialEq, Debug)]
pub struct DeploymentBody {
    /// `spec.replicas`.
    pub replicas: Option<i64>,
    /// `spec.selector`.
    pub selector: Arc<Selector>,
    /// `spec.template`.
    pub template: Template,
    /// Status.
    pub status: SetStatus,
    spec_rest: Rest,
    rest: Rest,
}

/// A Pod.
#[derive(Clone, PartialEq, Debug)]
pub struct PodBody {
    /// `spec`, verbatim (shared with the template it was made from).
    pub spec: Arc<Value>,
    /// `status.phase`.
    pub phase: Option<Text>,
    /// Whether the condition `Ready` is true.
    pub ready: bool,
    /// When the condition `Ready` changed last.
    pub ready_changed: Option<Stamp>,
    status_rest: Rest,
    rest: Rest,
}

/// A Service.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceBody {
    /// `spec.selector`.
    pub selector: Strings,
    spec_rest: Rest,
    rest: Rest,
}

/// Status of a ReplicaSet or Deployment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SetStatus {
    /// Pods that exist.
    pub replicas: Option<i64>,
    /// Pods that are ready.
    pub ready: Option<i64>,
    /// Pods that have been ready for `minReadySeconds`.
    pub available: Option<i64>,
    /// Generation the numbers were counted for.
    pub observed_generation: Option<i64>,
    /// Conditions.
    pub conditions: Vec<SetCondition>,
    has_status: bool,
    rest: Rest,
}

/// A condition of a ReplicaSet, verbatim.
#[derive(Clone, PartialEq, Debug)]
pub struct SetCondition(pub Arc<Value>);

impl SetCondition {
    /// A text field of the condition; empty when absent.
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or("")
    }
}

impl RolloutBody {
    /// The same rollout with another specification.
    pub fn with_spec(&self, spec: Value) -> RolloutBody {
        RolloutBody { spec: Arc::new(SpecDocument::new(spec)), ..self.clone() }
    }

    /// The same rollout with another status.
    pub fn with_status(&self, status: RolloutStatus) -> RolloutBody {
        RolloutBody { status: Arc::new(status), has_status: true, ..self.clone() }
    }
}

impl AnalysisRunBody {
    /// A run that nobody has looked at yet.
    pub fn new(spec: Value) -> AnalysisRunBody {
        AnalysisRunBody {
            spec: Arc::new(AnalysisDocument::new(spec)),
            status: Arc::default(),
            has_status: false,
            rest: None,
        }
    }

    /// The same run with another specification.
    pub fn with_spec(&self, spec: Value) -> AnalysisRunBody {
        AnalysisRunBody { spec: Arc::new(AnalysisDocument::new(spec)), ..self.clone() }
    }

    /// The same run with another status.
    pub fn with_status(&self, status: AnalysisRunStatus) -> AnalysisRunBody {
        AnalysisRunBody { status: Arc::new(status), has_status: true, ..self.clone() }
    }
}

impl ExperimentBody {
    /// An Experiment that nobody has looked at yet.
    pub fn new(spec: Value) -> ExperimentBody {
        ExperimentBody {
            spec: Arc::new(ExperimentDocument::new(spec)),
            status: Arc::default(),
            has_status: false,
            rest: None,
        }
    }

    /// The same Experiment with another specification.
    pub fn with_spec(&self, spec: Value) -> ExperimentBody {
        ExperimentBody { spec: Arc::new(ExperimentDocument::new(spec)), ..self.clone() }
    }

    /// The same Experiment with another status.
    pub fn with_status(&self, status: ExperimentStatus) -> ExperimentBody {
        ExperimentBody { status: Arc::new(status), has_status: true, ..self.clone() }
    }
}

impl ReplicaSetBody {
    /// A ReplicaSet that has no status yet.
    pub fn new(
        replicas: i64,
        min_ready_seconds: i64,
        selector: Arc<Selector>,
        template: Template,
    ) -> ReplicaSetBody {
        ReplicaSetBody {
            replicas: Some(replicas),
            min_ready_seconds: (min_ready_seconds != 0).then_some(min_ready_seconds),
            selector,
            template,
            status: SetStatus::default(),
            spec_rest: None,
            rest: None,
        }
    }

    /// Wished pods; 1 when absent, as the API server defaults it.
    pub fn wished(&self) -> i64 {
        self.replicas.unwrap_or(1)
    }
}

impl DeploymentBody {
    /// Wished pods; 1 when absent, as the API server defaults it.
    pub fn wished(&self) -> i64 {
        self.replicas.unwrap_or(1)
    }
}

impl PodBody {
    /// A pod that has not started.
    pub fn new(spec: Arc<Value>) -> PodBody {
        PodBody {
            spec,
            phase: Some("Pending".into()),
            ready: false,
            ready_changed: None,
            status_rest: None,
            rest: None,
        }
    }

    /// Whether the pod has been ready for so many seconds.
    pub fn is_available(&self, min_ready_seconds: i64, now: Stamp) -> bool {
        let since = |changed: Stamp| changed.plus_seconds(min_ready_seconds) <= now;
        self.ready && (min_ready_seconds == 0 || self.ready_changed.is_some_and(since))
    }
}

impl SetStatus {
    /// The same status with other numbers; zero is written as absent, except for the count of pods.
    pub fn counted(&self, replicas: i64, ready: i64, available: i64, observed_generation: i64) -> SetStatus {
        let some = |n: i64| (n != 0).then_some(n);
        SetStatus {
            replicas: Some(replicas),
            ready: some(ready),
            available: some(available),
            observed_generation: some(observed_generation),
            has_status: true,
            ..self.clone()
        }
    }
}

/// Forgets what is kept beside the typed part only so that a round trip loses nothing, and keeps the large part as this
/// text: the specification of a Rollout, that of the pods of a ReplicaSet or Deployment.
pub(super) fn pack(body: &mut Body, large: Option<Arc<str>>) {
    match body {
        Body::Rollout(body) => {
            body.rest = None;
            if let Some(text) = large {
                body.spec = Arc::new(SpecDocument::packed(text));
            }
        }
        Body::ReplicaSet(ReplicaSetBody { template, status, spec_rest, rest, .. })
        | Body::Deployment(DeploymentBody { template, status, spec_rest, rest, .. }) => {
            (*spec_rest, *rest, status.rest) = (None, None, None);
            if let Some(text) = large {
                template.spec = Verbatim::from_text(text);
            }
        }
        Body::Pod(PodBody { status_rest, rest, .. }) => (*status_rest, *rest) = (None, None),
        Body::Service(ServiceBody { spec_rest, rest, .. }) => (*spec_rest, *rest) = (None, None),
        Body::AnalysisRun(_) | Body::AnalysisTemplate(_) | Body::Experiment(_) | Body::Other(_) => {}
    }
}

fn number(map: &mut Map<String, Value>, field: &str, what: &str) -> Result<Option<i64>, String> {
    match map.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            integer(&value).map(Some).ok_or_else(|| format!("{what}.{field} must be a whole number"))
        }
    }
}

fn mapping(value: Option<Value>, what: &str) -> Result<Map<String, Value>, String> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(format!("{what} must be a mapping")),
    }
}

fn rest(map: Map<String, Value>) -> Rest {
    (!map.is_empty()).then(|| Arc::new(map))
}

fn open(rest: &Rest) -> Map<String, Value> {
    rest.as_deref().cloned().unwrap_or_default()
}

fn put(map: &mut Map<String, Value>, field: &str, number: Option<i64>) {
    if let Some(number) = number {
        map.insert(field.to_owned(), Value::from(number));
    }
}

pub(super) fn read(kind: &Kind, mut map: Map<String, Value>) -> Result<Body, String> {
    Ok(match kind {
        Kind::Rollout => {
            let spec = Arc::new(SpecDocument::new(map.remove("spec").unwrap_or(Value::Null)));
            let status = map.remove("status");
            let has_status = status.as_ref().is_some_and(|status| !status.is_null());
            let status = RolloutStatus::from_value(&Value::Object(mapping(status, "status")?));
            Body::Rollout(RolloutBody { spec, status: Arc::new(status), has_status, rest: rest(map) })
        }
        Kind::AnalysisRun => {
            let spec = Arc::new(AnalysisDocument::new(map.remove("spec").unwrap_or(Value::Null)));
            let status = map.remove("status");
            let has_status = status.as_ref().is_some_and(|status| !status.is_null());
            let status = AnalysisRunStatus::from_value(&Value::Object(mapping(status, "status")?));
            Body::AnalysisRun(AnalysisRunBody { spec, status: Arc::new(status), has_status, rest: rest(map) })
        }
        Kind::Experiment => {
            let spec = Arc::new(ExperimentDocument::new(map.remove("spec").unwrap_or(Value::Null)));
            let status = map.remove("status");
            let has_status = status.as_ref().is_some_and(|status| !status.is_null());
            let status = ExperimentStatus::from_value(&Value::Object(mapping(status, "status")?));
            Body::Experiment(ExperimentBody { spec, status: Arc::new(status), has_status, rest: rest(map) })
        }
        Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate => {
            let spec = Arc::new(AnalysisDocument::new(map.remove("spec").unwrap_or(Value::Null)));
            Body::AnalysisTemplate(AnalysisTemplateBody { spec, rest: rest(map) })
        }
        Kind::ReplicaSet => {
            let mut spec = mapping(map.remove("spec"), "spec")?;
            Body::ReplicaSet(ReplicaSetBody {
                replicas: number(&mut spec, "replicas", "spec")?,
                min_ready_seconds: number(&mut spec, "minReadySeconds", "spec")?,
                selector: Arc::new(Selector::from_value(Arc::new(
                    spec.remove("selector").unwrap_or(Value::Null),
                ))),
                template: Template::from_value(
                    spec.remove("template").unwrap_or(Value::Null),
                    "spec.template",
                )?,
                status: SetStatus::read(map.remove("status"))?,
                spec_rest: rest(spec),
                rest: rest(map),
            })
        }
        Kind::Deployment => {
            let mut spec = mapping(map.remove("spec"), "spec")?;
            Body::Deployment(DeploymentBody {
                replicas: number(&mut spec, "replicas", "spec")?,
                selector: Arc::new(Selector::from_value(Arc::new(
                    spec.remove("selector").unwrap_or(Value::Null),
                ))),
                template: Template::from_value(
                    spec.remove("template").unwrap_or(Value::Null),
                    "spec.template",
                )?,
                status: SetStatus::read(map.remove("status"))?,
                spec_rest: rest(spec),
                rest: rest(map),
            })
        }
        Kind::Pod => {
            let spec = Arc::new(map.remove("spec").unwrap_or(Value::Null));
            let mut status = mapping(map.remove("status"), "status")?;
            let phase = match status.remove("phase") {
                Some(Value::String(phase)) => Some(Text::from(phase)),
                None => None,
                Some(_) => return Err("status.phase must be text".to_owned()),
            };
            let ready = status
                .get("conditions")
                .and_then(Value::as_array)
                .and_then(|all| all.iter().find(|c| c["type"] == "Ready"))
                .cloned()
                .unwrap_or(Value::Null);
            Body::Pod(PodBody {
                spec,
                phase,
                ready: ready["status"] == "True",
                ready_changed: ready["lastTransitionTime"].as_str().and_then(Stamp::parse),
                status_rest: rest(status),
                rest: rest(map),
            })
        }
        Kind::Service => {
            let mut spec = mapping(map.remove("spec"), "spec")?;
            let selector =
                Strings::from_value(&spec.remove("selector").unwrap_or(Value::Null), "spec.selector")?;
            Body::Service(ServiceBody { selector, spec_rest: rest(spec), rest: rest(map) })
        }
        _ => Body::Other(Arc::new(Value::Object(map))),
    })
}

pub(super) fn write(body: &Body) -> Map<String, Value> {
    match body {
        Body::Rollout(body) => {
            let mut map = open(&body.rest);
            if !body.spec.is_null() {
                map.insert("spec".to_owned(), body.spec.raw().into_owned());
            }
            if body.has_status {
                map.insert("status".to_owned(), body.status.to_value());
            }
            map
        }
        Body::AnalysisRun(body) => {
            let mut map = open(&body.rest);
            if !body.spec.raw().is_null() {
                map.insert("spec".to_owned(), body.spec.raw().clone());
            }
            if body.has_status {
                map.insert("status".to_owned(), body.status.to_value());
            }
            map
        }
        Body::Experiment(body) => {
            let mut map = open(&body.rest);
            if !body.spec.raw().is_null() {
                map.insert("spec".to_owned(), body.spec.raw().clone());
            }
            if body.has_status {
                map.insert("status".to_owned(), body.status.to_value());
            }
            map
        }
        Body::AnalysisTemplate(body) => {
            let mut map = open(&body.rest);
            if !body.spec.raw().is_null() {
                map.insert("spec".to_owned(), body.spec.raw().clone());
            }
            map
        }
        Body::ReplicaSet(body) => {
            let mut spec = open(&body.spec_rest);
            put(&mut spec, "minReadySeconds", body.min_ready_seconds);
            write_set(spec, &body.rest, body.replicas, &body.selector, &body.template, &body.status)
        }
        Body::Deployment(body) => write_set(
            open(&body.spec_rest),
            &body.rest,
            body.replicas,
            &body.selector,
            &body.template,
            &body.status,
        ),
        Body::Pod(body) => {
            let mut map = open(&body.rest);
            if !body.spec.is_null() {
                map.insert("spec".to_owned(), (*body.spec).clone());
            }
            let mut status = open(&body.status_rest);
            if let Some(phase) = &body.phase {
                status.insert("phase".to_owned(), Value::from(&**phase));
            }
            body.write_conditions(&mut status);
            if !status.is_empty() {
                map.insert("status".to_owned(), Value::Object(status));
            }
            map
        }
        Body::Service(body) => {
            let mut map = open(&body.rest);
            let mut spec = open(&body.spec_rest);
            if !body.selector.is_empty() {
                spec.insert("selector".to_owned(), body.selector.to_value());
            }
            if !spec.is_empty() {
                map.insert("spec".to_owned(), Value::Object(spec));
            }
            map
        }
        Body::Other(value) => value.as_object().cloned().unwrap_or_default(),
    }
}

fn write_set(
    mut spec: Map<String, Value>,
    rest: &Rest,
    replicas: Option<i64>,
    selector: &Selector,
    template: &Template,
    status: &SetStatus,
) -> Map<String, Value> {
    let mut map = open(rest);
    put(&mut spec, "replicas", replicas);
    if !selector.raw.is_null() {
        spec.insert("selector".to_owned(), (*selector.raw).clone());
    }
    if !template.is_empty() {
        spec.insert("template".to_owned(), template.to_value());
    }
    if !spec.is_empty() {
        map.insert("spec".to_owned(), Value::Object(spec));
    }
    if status.has_status {
        map.insert("status".to_owned(), status.write());
    }
    map
}

impl PodBody {
    /// Puts the typed readiness into the list of conditions, leaving the other conditions as they were.
    fn write_conditions(&self, status: &mut Map<String, Value>) {
        let mut conditions = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let known = conditions.iter().any(|c| c["type"] == "Ready");
        if !known && !self.ready && self.ready_changed.is_none() {
            return;
        }
        if !known {
            conditions.push(serde_json::json!({"type": "Ready"}));
        }
        for condition in conditions.iter_mut().filter(|c| c["type"] == "Ready") {
            let now = if self.ready { "True" } else { "False" };
            if (condition["status"] == "True") != self.ready || condition.get("status").is_none() {
                condition["status"] = Value::from(now);
            }
            if let Some(changed) = self.ready_changed
                && condition["lastTransitionTime"].as_str().and_then(Stamp::parse) != Some(changed)
            {
                condition["lastTransitionTime"] = Value::from(changed.to_string());
            }
        }
        status.insert("conditions".to_owned(), Value::Array(conditions));
    }
}

impl SetStatus {
    fn read(value: Option<Value>) -> Result<SetStatus, String> {
        let has_status = value.as_ref().is_some_and(|value| !value.is_null());
        let mut map = mapping(value, "status")?;
        let conditions = match map.remove("conditions") {
            Some(Value::Array(all)) => all.into_iter().map(|c| SetCondition(Arc::new(c))).collect(),
            None => Vec::new(),
            Some(_) => return Err("status.conditions must be a list".to_owned()),
        };
        Ok(SetStatus {
            replicas: number(&mut map, "replicas", "status")?,
            ready: number(&mut map, "readyReplicas", "status")?,
            available: number(&mut map, "availableReplicas", "status")?,
            observed_generation: number(&mut map, "observedGeneration", "status")?,
            conditions,
            has_status,
            rest: rest(map),
        })
    }

    fn write(&self) -> Value {
        let mut map = open(&self.rest);
        put(&mut map, "replicas", self.replicas);
        put(&mut map, "readyReplicas", self.ready);
        put(&mut map, "availableReplicas", self.available);
        put(&mut map, "observedGeneration", self.observed_generation);
        if !self.conditions.is_empty() {
            map.insert(
                "conditions".to_owned(),
                Value::Array(self.conditions.iter().map(|c| (*c.0).clone()).collect()),
            );
        }
        Value::Object(map)
    }
}
