//! Kubernetes objects as the brain and the simulator hold them.
//!
//! A decision reads a handful of fields thousands of times a second; a user's object has hundreds that must
//! survive untouched. So each kind that decisions look at has a small typed body, and everything else of the
//! object is kept verbatim beside it. [`Object::from_value`] and [`Object::to_value`] are inverse: nothing is
//! lost on a round trip.

mod bodies;
mod kind;
mod meta;
#[macro_use]
mod rollout_status;
mod experiment_status;
#[cfg(test)]
mod round_trip_tests;
mod run_status;
mod selector;
mod strings;
mod template;
mod verbatim;

pub use bodies::{
    AnalysisRunBody, AnalysisTemplateBody, DeploymentBody, ExperimentBody, PodBody, ReplicaSetBody,
    RolloutBody, ServiceBody, SetCondition, SetStatus,
};
pub use experiment_status::{ExperimentRunStatus, ExperimentStatus, TemplateStatus};
pub use kind::Kind;
pub use meta::{Key, Meta, OwnerRef};
pub use rollout_status::{
    BlueGreenStatus, CanaryStatus, Condition, Counted, Duration, PauseCondition, RolloutStatus, RunStatus,
    TrafficWeights, WeightDestination,
};
pub use run_status::{AnalysisRunStatus, Measurement, MetricResult, RunSummary, is_final};
pub use selector::{Requirement, Selector};
pub use strings::{Strings, Text};
pub use template::Template;
pub use verbatim::Verbatim;

use std::sync::Arc;

use serde_json::Value;

/// One object of the cluster.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its metadata.
    pub meta: Meta,
    /// Everything else.
    pub body: Body,
}

/// What an object holds beside its metadata: typed for the kinds that decisions read, verbatim for all others.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// A Rollout.
    Rollout(RolloutBody),
    /// A ReplicaSet.
    ReplicaSet(ReplicaSetBody),
    /// A Pod.
    Pod(PodBody),
    /// A Service.
    Service(ServiceBody),
    /// A Deployment.
    Deployment(DeploymentBody),
    /// An AnalysisRun.
    AnalysisRun(AnalysisRunBody),
    /// An AnalysisTemplate or ClusterAnalysisTemplate.
    AnalysisTemplate(AnalysisTemplateBody),
    /// An Experiment.
    Experiment(ExperimentBody),
    /// Any other kind: the object without `apiVersion`, `kind` and `metadata`.
    Other(Arc<Value>),
}

/// Why a document is no object.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum NotAnObject {
    /// Something every object needs is missing or has the wrong type.
    #[error("{0}")]
    Malformed(String),
}

impl Object {
    /// Reads a document as the API server would answer it, or as a user wrote it.
    pub fn from_value(value: Value) -> Result<Object, NotAnObject> {
        let malformed = |what: &str| NotAnObject::Malformed(what.to_owned());
        let Value::Object(mut map) = value else { return Err(malformed("an object must be a mapping")) };
        let api_version = match map.remove("apiVersion") {
            Some(Value::String(text)) if !text.is_empty() => text,
            _ => return Err(malformed("apiVersion is missing or not text")),
        };
        let kind = match map.remove("kind") {
            Some(Value::String(text)) if !text.is_empty() => text,
            _ => return Err(malformed("kind is missing or not text")),
        };
        let kind = Kind::new(&api_version, &kind);
        let meta = Meta::from_value(map.remove("metadata").unwrap_or(Value::Null))
            .map_err(NotAnObject::Malformed)?;
        let body = bodies::read(&kind, map).map_err(NotAnObject::Malformed)?;
        Ok(Object { kind, meta, body })
    }

    /// The whole document, as the API server would answer it.
    pub fn to_value(&self) -> Value {
        let mut map = bodies::write(&self.body);
        map.insert("apiVersion".into(), Value::from(self.kind.api_version()));
        map.insert("kind".into(), Value::from(self.kind.name()));
        map.insert("metadata".into(), self.meta.to_value());
        Value::Object(map)
    }

    /// The same for a cache from which nothing is ever written back whole: what no decision reads is forgotten, and the
    /// large part, which is hardly ever read, is kept as this text: the specification of a Rollout, the one of the pods
    /// of a ReplicaSet or Deployment.
    pub fn packed(mut self, large: Option<Arc<str>>) -> Object {
        self.meta.rest = None;
        bodies::pack(&mut self.body, large);
        self
    }

    /// Where the object lives.
    pub fn key(&self) -> Key {
        Key { kind: self.kind.clone(), namespace: self.meta.namespace.clone(), name: self.meta.name.clone() }
    }

    /// The Rollout in it, if it is one.
    pub fn rollout(&self) -> Option<&RolloutBody> {
        if let Body::Rollout(body) = &self.body { Some(body) } else { None }
    }

    /// The ReplicaSet in it, if it is one.
    pub fn replica_set(&self) -> Option<&ReplicaSetBody> {
        if let Body::ReplicaSet(body) = &self.body { Some(body) } else { None }
    }

    /// The Pod in it, if it is one.
    pub fn pod(&self) -> Option<&PodBody> {
        if let Body::Pod(body) = &self.body { Some(body) } else { None }
    }

    /// The Service in it, if it is one.
    pub fn service(&self) -> Option<&ServiceBody> {
        if let Body::Service(body) = &self.body { Some(body) } else { None }
    }

    /// The AnalysisRun in it, if it is one.
    pub fn analysis_run(&self) -> Option<&AnalysisRunBody> {
        if let Body::AnalysisRun(body) = &self.body { Some(body) } else { None }
    }

    /// The AnalysisTemplate or ClusterAnalysisTemplate in it, if it is one.
    pub fn analysis_template(&self) -> Option<&AnalysisTemplateBody> {
        if let Body::AnalysisTemplate(body) = &self.body { Some(body) } else { None }
    }

    /// The Experiment in it, if it is one.
    pub fn experiment(&self) -> Option<&ExperimentBody> {
        if let Body::Experiment(body) = &self.body { Some(body) } else { None }
    }

    /// The Deployment in it, if it is one.
    pub fn deployment(&self) -> Option<&DeploymentBody> {
        if let Body::Deployment(body) = &self.body { Some(body) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check_round_trip(value: Value) {
        let object = Object::from_value(value.clone()).unwrap();
        assert_eq!(object.to_value(), value);
    }

    #[test]
    fn nothing_of_a_user_object_is_lost() {
        check_round_trip(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}, "managedFields": [{"manager": "m"}]},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"x": "y"}}, "strange": 1.5,
                     "template": {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [], "odd": "25"}}},
            "status": {"replicas": 2, "readyReplicas": 1, "other": [null, {}]}, "extra": true}));
        check_round_trip(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"selector": {"app": "x"}, "ports": [{"port": 80, "targetPort": "http"}], "clusterIP": "None"}}));
        check_round_trip(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "r", "generation": 4},
            "spec": {"replicas": 2, "strategy": {"canary": {"maxSurge": "25%", "steps": [{"pause": {"duration": "1h30m"}}]}}},
            "status": {"blueGreen": {}, "canary": {}, "currentStepIndex": 0, "future": {"a": 1}}}));
        check_round_trip(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": {"name": "r"},
            "spec": {"metrics": [{"name": "m", "count": "3", "provider": {"job": {}}}], "args": [{"name": "a", "value": ""}]},
            "status": {"phase": "", "metricResults": [{"name": "m", "phase": "Running", "count": 0, "odd": [1],
                "measurements": [{"phase": "Failed", "value": "1", "startedAt": "2026-01-01T00:00:00Z", "metadata": {"a": "b"}}]}],
                "dryRunSummary": {}, "future": null}}));
        check_round_trip(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "metadata": {"name": "e"},
            "spec": {"templates": [{"name": "a", "odd": 1}], "duration": "1m"},
            "status": {"phase": "", "templateStatuses": [{"name": "a", "replicas": 0, "readyReplicas": 0, "odd": {}}],
                "analysisRuns": [{"name": "r", "analysisRun": "", "phase": ""}], "conditions": [], "future": 1}}));
        check_round_trip(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "ClusterAnalysisTemplate", "metadata": {"name": "t"},
            "spec": {"metrics": 3, "odd": {}}, "other": 1}));
        check_round_trip(
            json!({"apiVersion": "x.io/v2", "kind": "Thing", "metadata": {"name": "t"}, "data": {"k": 1e3}}),
        );
    }

    #[test]
    fn what_is_packed_means_the_same() {
        let spec = json!({"replicas": 2, "strategy": {"canary": {"steps": [{"pause": {}}]}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}});
        let read = |spec: Value| {
            let head = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": spec,
                "metadata": {"name": "r", "generateName": "r-"}, "status": {"phase": "Healthy"}});
            Object::from_value(head).unwrap()
        };
        let (whole, packed) = (read(spec.clone()), read(Value::Null).packed(Some(spec.to_string().into())));
        let (whole_body, packed_body) = (whole.rollout().unwrap(), packed.rollout().unwrap());
        assert_eq!(packed_body.spec, whole_body.spec);
        assert_eq!(packed_body.spec.spec(), whole_body.spec.spec());
        assert_eq!((&packed_body.status, &packed.meta.rest), (&whole_body.status, &None));
        assert_eq!(packed.to_value()["spec"], spec);
    }

    #[test]
    fn what_is_no_object_says_why() {
        assert!(Object::from_value(json!([1])).is_err());
        assert!(Object::from_value(json!({"kind": "Pod"})).is_err());
        assert!(
            Object::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": 1}}}))
                .is_err()
        );
    }
}
