//! Deleting: preconditions, propagation, finalizers, and the grace of pods.

use serde_json::{Value, json};
use tidegate_api::object::Object;

use super::http::{Refusal, Reply, Request};
use super::rules::{self, Problem};
use super::writes::text;
use super::{Server, Target};

/// How something is to be deleted.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) policy: Option<String>,
    pub(super) grace: Option<u64>,
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
}

impl Options {
    fn read(request: &Request) -> Result<Options, Refusal> {
        let body = request.body.clone().unwrap_or(Value::Null);
        let said = |field: &str| {
            let parameter = Some(request.parameter(field).to_owned()).filter(|text| !text.is_empty());
            text(&body, field).map(str::to_owned).or(parameter)
        };
        let policy = said("propagationPolicy");
        if let Some(policy) = policy.as_deref()
            && !matches!(policy, "Foreground" | "Background" | "Orphan")
        {
            let problem = Problem::unsupported(
                "propagationPolicy",
                policy,
                &["Foreground", "Background", "Orphan", "nil"],
            );
            return Err(rules::invalid("DeleteOptions.meta.k8s.io", "", &[problem]));
        }
        let grace =
            body["gracePeriodSeconds"].as_u64().or(request.parameter("gracePeriodSeconds").parse().ok());
        let precondition = |field: &str| text(&body["preconditions"], field).map(str::to_owned);
        Ok(Options { policy, grace, uid: precondition("uid"), version: precondition("resourceVersion") })
    }

    fn conflict(&self, target: &Target, held: &Value) -> Option<Refusal> {
        let found = |field: &str| text(&held["metadata"], field).unwrap_or_default().to_owned();
        let why = match (&self.uid, &self.version) {
            (Some(uid), _) if *uid != found("uid") => format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
                 deleted and then recreated",
                found("uid")
            ),
            (_, Some(version)) if *version != found("resourceVersion") => format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record \
                 ({}). The object might have been modified",
                found("resourceVersion")
            ),
            _ => return None,
        };
        let called = target.resource.kind_called();
        let mut details = target.details();
        details["kind"] = target.resource.kind.name().into();
        let message = format!("Operation cannot be fulfilled on {called} \"{}\": {why}", target.name);
        Some(Refusal::new(409, "Conflict", message).with(details))
    }
}

impl Server {
    pub(super) fn delete(&mut self, target: &Target, request: &Request) -> Result<Reply, Refusal> {
        let options = Options::read(request)?;
        let held = self.held(target)?;
        if let Some(conflict) = options.conflict(target, &held) {
            return Err(conflict);
        }
        self.remove(target, &options)
    }

    pub(super) fn delete_collection(&mut self, target: &Target, request: &Request) -> Result<Reply, Refusal> {
        let options = Options::read(request)?;
        let list = self.list(target, request)?;
        let mut body = list.body;
        for item in body["items"].as_array_mut().into_iter().flatten() {
            let name = text(&item["metadata"], "name").unwrap_or_default().to_owned();
            let namespace = text(&item["metadata"], "namespace").unwrap_or_default().to_owned();
            let one = Target { name, namespace, ..target.again() };
            self.remove(&one, &options)?;
        }
        Ok(Reply::new(200, body))
    }

    /// Asks an object to go, as the options say.
    pub(super) fn remove(&mut self, target: &Target, options: &Options) -> Result<Reply, Refusal> {
        let held = self.held(target)?;
        let key = target.key();
        let is_going = !held["metadata"]["deletionTimestamp"].is_null();
        let mut finalizers: Vec<Value> =
            held["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let had = finalizers.clone();
        let wants = |name: &str| match name {
            "foregroundDeletion" => options.policy.as_deref().map(|policy| policy == "Foreground"),
            _ => options.policy.as_deref().map(|policy| policy == "Orphan"),
        };
        for name in ["orphan", "foregroundDeletion"] {
            match wants(name) {
                Some(true) if !finalizers.contains(&json!(name)) => finalizers.push(name.into()),
                Some(false) => finalizers.retain(|one| one != name),
                _ => {}
            }
        }
        let is_pod = target.resource.kind.name() == "Pod";
        let placed = held["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
        let grace = match (is_pod && placed, options.grace) {
            (false, _) => 0,
            (true, grace) => grace.or(held["spec"]["terminationGracePeriodSeconds"].as_u64()).unwrap_or(30),
        };
        let lingers = !finalizers.is_empty() || grace > 0;
        if is_going && lingers && finalizers == had {
            return Ok(Reply::new(200, held));
        }
        let until = self.now.plus(tidegate_api::time::Span::seconds(i64::try_from(grace).unwrap_or(0)));
        let texts: Vec<tidegate_api::object::Text> =
            finalizers.iter().filter_map(Value::as_str).map(Into::into).collect();
        let mark = |object: &mut Object| {
            object.meta.finalizers = texts;
            let mut rest = object.meta.rest.as_deref().cloned().unwrap_or_default();
            rest.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
            object.meta.rest = Some(std::sync::Arc::new(rest));
        };
        let refuse = |error| Server::refused(target, &error);
        // A pod is always asked to go first, even one that then goes at once.
        let change = self.store.delete_with(&key, None, lingers || is_pod, until, mark).map_err(refuse)?;
        let left = self.remember(&key, &change);
        if is_pod && !lingers {
            let change = self.store.delete_with(&key, None, false, until, |_| {}).map_err(refuse)?;
            self.remember(&key, &change);
        }
        if change.after.is_some() {
            return Ok(Reply::new(200, left));
        }
        if target.resource.plural == "services" {
            return Ok(Reply::new(200, held));
        }
        let mut details = target.details();
        details["uid"] = held["metadata"]["uid"].clone();
        Ok(Reply::new(
            200,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
        ))
    }
}
