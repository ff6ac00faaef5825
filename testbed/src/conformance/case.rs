//! Cases as data.
//!
//! ```yaml
//! objects:                                   # by the names that the cases call them
//!   map: {apiVersion: v1, kind: ConfigMap, metadata: {name: map}, data: {a: "1"}}
//! cases:
//!   - about: an update that names an old version is refused
//!     given: [map]                           # created first; their replies are not compared
//!     ask:
//!       - merge: map                         # create, update, get, list, watch, merge, json, apply, delete, clear (all), gone, going
//!         body: {data: {a: "2"}}             # of a patch or a deletion
//!       - update: map
//!         with: {metadata: {resourceVersion: "1"}}   # merged into the object
//! ```
//!
//! Further fields of a request: `sub` (a subresource), `query`, `name` (another name), `everywhere` (all namespaces),
//! `ownership` (managed fields are compared too). `$map.metadata.uid` stands for a field of the latest reply about `map`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tidegate_api::object::Kind;
use tidegate_api::yaml;
use tidegate_sim::cluster::api::{Method, Request, Resource};
use tidegate_sim::cluster::patch;

use super::End;

/// The latest reply about each object.
pub type Replies = BTreeMap<String, Value>;

/// The cases of one area.
#[derive(Clone, Debug)]
pub struct Area {
    /// Its name.
    pub name: String,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// One behaviour.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it says.
    pub about: String,
    /// What is there first.
    pub given: Vec<Ask>,
    /// What is asked.
    pub asks: Vec<Ask>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The object as the case calls it.
    pub object: String,
    /// Whether managed fields are compared.
    pub ownership: bool,
    /// What it is repeated until.
    pub end: Option<End>,
    verb: String,
    document: Value,
    name: Option<String>,
    sub: Option<String>,
    everywhere: bool,
    query: BTreeMap<String, String>,
    body: Option<Value>,
}

impl Area {
    /// Reads a file.
    pub fn read(name: &str, text: &str) -> Result<Area, String> {
        let documents = yaml::read(name, text).map_err(|error| error.to_string())?;
        let value = &documents.first().ok_or_else(|| format!("{name} is empty"))?.value;
        let objects = value["objects"].as_object().cloned().unwrap_or_default();
        let cases = value["cases"].as_array().into_iter().flatten();
        let cases = cases.map(|case| Case::read(case, &objects)).collect::<Result<_, _>>()?;
        Ok(Area { name: name.to_owned(), cases })
    }
}

impl Case {
    fn read(value: &Value, objects: &Map<String, Value>) -> Result<Case, String> {
        let about = value["about"].as_str().ok_or("a case needs `about`")?.to_owned();
        let read = |field: &str| {
            let asks = value[field].as_array().into_iter().flatten();
            asks.map(|ask| Ask::read(ask, objects)).collect::<Result<Vec<_>, _>>()
        };
        let wrong = |error: String| format!("{about}: {error}");
        let (given, asks) = (read("given").map_err(wrong)?, read("ask").map_err(wrong)?);
        Ok(Case { about, given, asks })
    }
}

const VERBS: [&str; 12] = [
    "create", "update", "get", "list", "watch", "merge", "json", "apply", "delete", "clear", "gone", "going",
];

impl Ask {
    fn read(value: &Value, objects: &Map<String, Value>) -> Result<Ask, String> {
        if let Some(object) = value.as_str() {
            return Ask::read(&serde_json::json!({"create": object}), objects);
        }
        let verb = VERBS.into_iter().find(|verb| value.get(verb).is_some());
        let verb = verb.ok_or_else(|| format!("no verb in {value}"))?.to_owned();
        let object = value[&verb].as_str().ok_or_else(|| format!("{verb} needs an object"))?.to_owned();
        let mut document = objects.get(&object).cloned().ok_or_else(|| format!("no object `{object}`"))?;
        if let Some(with) = value.get("with") {
            patch::merge(&mut document, with);
        }
        let text = |field: &str| value[field].as_str().map(str::to_owned);
        let mut query = BTreeMap::new();
        for (name, value) in value["query"].as_object().into_iter().flatten() {
            query.insert(name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        Ok(Ask {
            object,
            ownership: value["ownership"].as_bool().unwrap_or(false),
            end: match &*verb {
                "gone" => Some(End::Gone),
                "going" => Some(End::Going),
                _ => None,
            },
            verb,
            document,
            name: text("name"),
            sub: text("sub"),
            everywhere: value["everywhere"].as_bool().unwrap_or(false),
            query,
            body: value.get("body").cloned(),
        })
    }

    /// The request as it is sent.
    pub fn request(&self, namespace: &str, replies: &Replies) -> Result<Request, String> {
        let text = |field: &str| self.document[field].as_str().unwrap_or_default();
        let kind = Kind::new(text("apiVersion"), text("kind"));
        let resource = Resource::of(&kind).ok_or_else(|| format!("{kind:?} is not served"))?;
        let mut path = match (resource.namespaced, self.everywhere) {
            (true, false) => resource.path(Some(namespace)),
            _ => resource.path(None),
        };
        let named = !matches!(&*self.verb, "create" | "list" | "watch" | "clear") || self.sub.is_some();
        if named {
            let own = self.document["metadata"]["name"].as_str().unwrap_or_default();
            path += &format!("/{}", self.name.as_deref().unwrap_or(own));
        }
        if let Some(sub) = &self.sub {
            path += &format!("/{sub}");
        }
        let (method, content) = match &*self.verb {
            "create" => (Method::Post, "application/json"),
            "update" => (Method::Put, "application/json"),
            "merge" => (Method::Patch, "application/merge-patch+json"),
            "json" => (Method::Patch, "application/json-patch+json"),
            "apply" => (Method::Patch, "application/apply-patch+yaml"),
            "delete" | "clear" => (Method::Delete, "application/json"),
            _ => (Method::Get, "application/json"),
        };
        let mut request = Request::new(method, &path);
        content.clone_into(&mut request.content_type);
        for (name, value) in &self.query {
            request.query.insert(name.clone(), filled_text(value, namespace, replies)?);
        }
        if self.verb == "watch" {
            request.query.insert("watch".into(), "true".into());
            request.query.entry("timeoutSeconds".into()).or_insert("1".into());
        }
        if self.verb == "apply" {
            request.query.entry("fieldManager".into()).or_insert("applier".into());
        }
        let body = match (&self.body, method) {
            (Some(body), _) => Some(body),
            (None, Method::Post | Method::Put) => Some(&self.document),
            (None, Method::Patch) if self.verb == "apply" => Some(&self.document),
            _ => None,
        };
        if let Some(body) = body {
            request.body = Some(filled(body, namespace, replies)?);
        }
        Ok(request)
    }
}

fn filled(value: &Value, namespace: &str, replies: &Replies) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => {
            let text_of = filled_text(text, namespace, replies)?;
            // A number stays a number: a generation, a count.
            Value::String(text_of)
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| filled(item, namespace, replies)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            let fields =
                map.iter().map(|(name, value)| Ok((name.clone(), filled(value, namespace, replies)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

fn filled_text(text: &str, namespace: &str, replies: &Replies) -> Result<String, String> {
    if text == "$namespace" {
        return Ok(namespace.to_owned());
    }
    let Some(reference) = text.strip_prefix('$') else { return Ok(text.to_owned()) };
    let (object, path) = reference.split_once('.').ok_or_else(|| format!("{text} names no field"))?;
    let mut found = replies.get(object).ok_or_else(|| format!("{text}: no reply yet"))?;
    for name in path.split('.') {
        found = match name.parse::<usize>() {
            Ok(at) => &found[at],
            Err(_) => &found[name],
        };
    }
    match found {
        Value::String(text) => Ok(text.clone()),
        other => Ok(other.to_string()),
    }
}
