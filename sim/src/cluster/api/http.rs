//! Requests and replies as an API server knows them, without the wire.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_api::object::Kind;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Reads, lists, watches.
    Get,
    /// Creates.
    Post,
    /// Replaces.
    Put,
    /// Patches.
    Patch,
    /// Deletes.
    Delete,
}

/// One request.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// What is done.
    pub method: Method,
    /// To what: `/apis/apps/v1/namespaces/default/replicasets/web/scale`.
    pub path: String,
    /// Parameters.
    pub query: BTreeMap<String, String>,
    /// What the body is; tells the kinds of patches apart.
    pub content_type: String,
    /// The body.
    pub body: Option<Value>,
    /// Who asks, as the ownership of fields calls it unless the request says otherwise.
    pub manager: String,
}

/// One reply.
#[derive(Clone, PartialEq, Debug)]
pub struct Reply {
    /// The status code.
    pub code: u16,
    /// An object, a list or a `Status`.
    pub body: Value,
    /// What a watch told.
    pub events: Vec<Value>,
    /// Whether it is the answer to a watch.
    pub is_watch: bool,
}

impl Request {
    /// A request without parameters and body.
    pub fn new(method: Method, path: &str) -> Request {
        Request {
            method,
            path: path.to_owned(),
            query: BTreeMap::new(),
            content_type: "application/json".to_owned(),
            body: None,
            manager: "tester".to_owned(),
        }
    }

    /// The same with a body.
    pub fn with_body(mut self, body: Value) -> Request {
        self.body = Some(body);
        self
    }

    /// A parameter; empty where it is not given.
    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// Whether a parameter is set to true.
    pub fn is_set(&self, name: &str) -> bool {
        matches!(self.parameter(name), "true" | "1")
    }

    /// Whether it asks for changes to come.
    pub fn is_watch(&self) -> bool {
        self.method == Method::Get && self.is_set("watch")
    }

    /// Path and parameters as they stand in a request line.
    pub fn target(&self) -> String {
        let mut target = self.path.clone();
        for (at, (name, value)) in self.query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target += &format!("{name}={}", escaped(value));
        }
        target
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

impl Reply {
    /// A reply with a body.
    pub fn new(code: u16, body: Value) -> Reply {
        Reply { code, body, events: Vec::new(), is_watch: false }
    }

    /// The answer to a watch.
    pub fn watched(events: Vec<Value>) -> Reply {
        Reply { code: 200, body: Value::Null, events, is_watch: true }
    }
}

/// A refusal: what a `Status` says.
#[derive(Clone, PartialEq, Debug)]
pub struct Refusal {
    /// The status code.
    pub code: u16,
    /// The reason, one word.
    pub reason: &'static str,
    /// What people read.
    pub message: String,
    /// What programs read.
    pub details: Value,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, reason, message: message.into(), details: Value::Null }
    }

    /// The same with details.
    pub fn with(mut self, details: Value) -> Refusal {
        self.details = details;
        self
    }

    /// The request makes no sense.
    pub fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(400, "BadRequest", message)
    }

    /// The `Status`.
    pub fn status(&self) -> Value {
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code});
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }

    /// The reply.
    pub fn reply(&self) -> Reply {
        Reply::new(self.code, self.status())
    }
}

/// How a kind is served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    /// The kind.
    pub kind: Kind,
    /// Its plural.
    pub plural: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it is described by a CRD.
    pub custom: bool,
    /// Whether plain writes leave the status alone, and the subresource writes it.
    pub status: bool,
    /// Whether it has a scale.
    pub scale: bool,
}

/// (apiVersion, kind, plural, namespaced, status, scale)
const SERVED: [(&str, &str, &str, bool, bool, bool); 18] = [
    ("argoproj.io/v1alpha1", "Rollout", "rollouts", true, true, true),
    ("argoproj.io/v1alpha1", "AnalysisTemplate", "analysistemplates", true, false, false),
    ("argoproj.io/v1alpha1", "ClusterAnalysisTemplate", "clusteranalysistemplates", false, false, false),
    ("argoproj.io/v1alpha1", "AnalysisRun", "analysisruns", true, false, false),
    ("argoproj.io/v1alpha1", "Experiment", "experiments", true, false, false),
    ("apps/v1", "ReplicaSet", "replicasets", true, true, true),
    ("apps/v1", "Deployment", "deployments", true, true, true),
    ("v1", "Pod", "pods", true, true, false),
    ("v1", "Service", "services", true, true, false),
    ("v1", "ConfigMap", "configmaps", true, false, false),
    ("v1", "Secret", "secrets", true, false, false),
    ("v1", "Event", "events", true, false, false),
    ("v1", "Namespace", "namespaces", false, true, false),
    ("v1", "ServiceAccount", "serviceaccounts", true, false, false),
    ("coordination.k8s.io/v1", "Lease", "leases", true, false, false),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true, true, false),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", true, true, false),
    ("batch/v1", "Job", "jobs", true, true, false),
];

impl Resource {
    fn from_row(row: &(&str, &str, &'static str, bool, bool, bool)) -> Resource {
        let (api_version, kind, plural, namespaced, status, scale) = row;
        let custom = *api_version == "argoproj.io/v1alpha1";
        Resource {
            kind: Kind::new(api_version, kind),
            plural,
            namespaced: *namespaced,
            custom,
            status: *status,
            scale: *scale,
        }
    }

    /// How a kind is served, if it is.
    pub fn of(kind: &Kind) -> Option<Resource> {
        let row = SERVED.iter().find(|row| row.0 == kind.api_version() && row.1 == kind.name());
        row.map(Resource::from_row)
    }

    /// What is served under a group, a version and a plural.
    pub fn at(api_version: &str, plural: &str) -> Option<Resource> {
        SERVED.iter().find(|row| row.0 == api_version && row.2 == plural).map(Resource::from_row)
    }

    /// The path of its collection, in a namespace or in all.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let api_version = self.kind.api_version();
        let root = if api_version.contains('/') { "/apis" } else { "/api" };
        match namespace {
            Some(namespace) => format!("{root}/{api_version}/namespaces/{namespace}/{}", self.plural),
            None => format!("{root}/{api_version}/{}", self.plural),
        }
    }

    /// As refusals call it: `rollouts.argoproj.io`.
    pub fn called(&self) -> String {
        match self.kind.group() {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Its kind as refusals call it: `Rollout.argoproj.io`.
    pub fn kind_called(&self) -> String {
        match self.kind.group() {
            "" => self.kind.name().to_owned(),
            group => format!("{}.{group}", self.kind.name()),
        }
    }
}
