//! The invented API server: requests in, replies out, over the same store that the simulated world writes to.
//!
//! What a store knows of (versions, preconditions, generations, halves of an object, finalizers) is the store's; what
//! stands here is the protocol around it: paths, patches, refusals with their causes, defaults, ownership of fields,
//! lists, watches with their history, and the garbage collector's answer to a deletion. The simulated controllers write
//! to the store directly and pay for none of it.

mod collector;
mod defaults;
mod deletes;
mod http;
mod lists;
mod names;
mod ownership;
mod rules;
mod selectors;
mod writes;

pub use http::{Method, Refusal, Reply, Request, Resource};

use serde_json::{Value, json};
use tidegate_api::object::{Key, Object};
use tidegate_api::time::{Span, Time};
use tidegate_controller::seams::ApiError;

use super::store::{Change, Store};

/// The invented API server.
#[derive(Clone, Debug)]
pub struct Server {
    store: Store,
    history: Vec<Told>,
    /// Watches may not begin before this version.
    compacted: u64,
    now: Time,
    /// Numbers for what must differ: addresses, generated names.
    drawn: u64,
}

/// One change, as watches are told it.
#[derive(Clone, Debug)]
struct Told {
    version: u64,
    key: Key,
    before: Option<Value>,
    after: Option<Value>,
    gone: Option<Value>,
}

/// What a request is about.
struct Target {
    resource: Resource,
    namespace: String,
    name: String,
    sub: String,
}

impl Default for Server {
    fn default() -> Server {
        Server::over(Store::default(), Time(1_767_225_600_000))
    }
}

impl Server {
    /// A server over what is stored already. Its history begins now.
    pub fn over(store: Store, now: Time) -> Server {
        let mut server = Server { store, history: Vec::new(), compacted: 0, now, drawn: 0 };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let place = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            let _ = server.ask(&Request::new(Method::Post, "/api/v1/namespaces").with_body(place));
        }
        server.forget();
        server
    }

    /// Everything that is stored.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Forgets its history: watches from any older version are answered with 410.
    pub fn forget(&mut self) {
        self.history.clear();
        self.compacted = self.store.version();
    }

    /// Lets a second pass.
    pub fn tick(&mut self) {
        self.now = self.now.plus(Span::seconds(1));
    }

    /// Answers a request.
    pub fn ask(&mut self, request: &Request) -> Reply {
        let answer = self.target(request).and_then(|target| {
            if !request.is_set("dryRun") && request.parameter("dryRun") != "All" {
                return self.answer(&target, request);
            }
            let answer = self.clone().answer(&target, request);
            // An identity that was drawn for nothing is not drawn again.
            let _ = self.store.draw_identity();
            answer
        });
        answer.unwrap_or_else(|refusal| refusal.reply())
    }

    fn answer(&mut self, target: &Target, request: &Request) -> Result<Reply, Refusal> {
        let no_such = || Err(nowhere());
        match (request.method, target.name.is_empty(), &*target.sub) {
            (Method::Get, true, "") if request.is_watch() => self.watch(target, request),
            (Method::Get, true, "") => self.list(target, request),
            (Method::Post, true, "") => self.create(target, request),
            (Method::Delete, true, "") => self.delete_collection(target, request),
            (_, true, _) => no_such(),
            (_, _, "status") if !target.resource.status => match target.resource.custom {
                true => Err(self.not_found(target)),
                false => no_such(),
            },
            (_, _, "scale") if !target.resource.scale => no_such(),
            (Method::Get, _, "" | "status") => self.read(target),
            (Method::Get, _, "scale") => self.read_scale(target),
            (Method::Put, _, "" | "status") => self.replace(target, request),
            (Method::Patch, _, "" | "status") => self.patch(target, request),
            (Method::Put | Method::Patch, _, "scale") => self.write_scale(target, request),
            (Method::Delete, _, "") => self.delete(target, request),
            _ => no_such(),
        }
    }

    fn target(&self, request: &Request) -> Result<Target, Refusal> {
        let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
        let (api_version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return Err(nowhere()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] if *plural != "status" => {
                (*namespace, [&[*plural], rest].concat())
            }
            rest => ("", rest.to_vec()),
        };
        let (plural, name, sub) = match rest.as_slice() {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, sub] => (*plural, *name, *sub),
            _ => return Err(nowhere()),
        };
        let resource = Resource::at(&api_version, plural).ok_or_else(nowhere)?;
        Ok(Target { resource, namespace: namespace.to_owned(), name: name.to_owned(), sub: sub.to_owned() })
    }

    fn read(&self, target: &Target) -> Result<Reply, Refusal> {
        self.held(target).map(|document| Reply::new(200, document))
    }

    fn held(&self, target: &Target) -> Result<Value, Refusal> {
        self.store.get(&target.key()).map(|object| shown(object)).ok_or_else(|| self.not_found(target))
    }

    fn not_found(&self, target: &Target) -> Refusal {
        let message = format!("{} \"{}\" not found", target.resource.called(), target.name);
        Refusal::new(404, "NotFound", message).with(target.details())
    }

    /// Remembers a change for watches; what it left of the object.
    fn remember(&mut self, key: &Key, change: &Change) -> Value {
        let show = |object: &std::sync::Arc<Object>| shown(object);
        let (before, after) = (change.before.as_ref().map(show), change.after.as_ref().map(show));
        let gone = change.gone.as_ref().map(show);
        let left = after.clone().or_else(|| gone.clone()).unwrap_or(Value::Null);
        if !change.is_idle() {
            let version = self.store.version();
            self.history.push(Told { version, key: key.clone(), before, after, gone });
        }
        left
    }

    fn refused(target: &Target, error: &ApiError) -> Refusal {
        let message = error.to_string();
        match error {
            ApiError::Conflict(_) => Refusal::new(409, "Conflict", message).with(target.details()),
            ApiError::AlreadyExists(_) => Refusal::new(409, "AlreadyExists", message).with(target.details()),
            ApiError::NotFound(_) => Refusal::new(404, "NotFound", message).with(target.details()),
            ApiError::Invalid(_) => Refusal::new(422, "Invalid", message).with(target.details()),
            ApiError::Forbidden(_) => Refusal::new(403, "Forbidden", message).with(target.details()),
            ApiError::TooMany(_) => Refusal::new(429, "TooManyRequests", message),
            ApiError::Unavailable(_) => Refusal::new(503, "ServiceUnavailable", message),
        }
    }
}

impl Target {
    fn key(&self) -> Key {
        Key::new(self.resource.kind.clone(), self.namespace.as_str(), self.name.as_str())
    }

    /// What a refusal says about what it is about.
    fn details(&self) -> Value {
        self.details_of(&self.name)
    }

    fn details_of(&self, name: &str) -> Value {
        let mut details = json!({"name": name, "kind": self.resource.plural});
        if !self.resource.kind.group().is_empty() {
            details["group"] = self.resource.kind.group().into();
        }
        details
    }
}

/// An object as it is answered.
fn shown(object: &Object) -> Value {
    let mut document = object.to_value();
    defaults::show(&object.kind, &mut document);
    document
}

fn nowhere() -> Refusal {
    Refusal::new(404, "NotFound", "the server could not find the requested resource").with(json!({}))
}

#[cfg(test)]
mod tests;
