//! A cluster as a command of a person uses it: one request after the other, each waited for.
//!
//! The controller's own requests are in [`crate::calls`]; what is here has no lease, no precondition and no queue,
//! because a person's command is one write and says at once how it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt, stream};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Error, ResourceExt};
use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind};
use tidegate_api::time::Time;
use tokio::runtime::Runtime;

use crate::client::{self, ClientOptions, NoClient};
use crate::clock::WallClock;
use crate::convert;

/// A request may take so long.
const LIMIT: Duration = Duration::from_secs(30);
/// Seconds after which the server ends a watch, as for the controller.
const WATCH_SECONDS: u32 = 24;
/// A watch that fails so many times in a row is given up.
const PATIENCE: u32 = 6;

/// A cluster.
pub struct Remote {
    runtime: Runtime,
    client: Client,
    namespace: String,
    clock: WallClock,
}

/// Why a request came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such object, or no such kind or subresource.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else wrote in between.
    #[error("{0}")]
    Conflict(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A body of a patch, and what kind of patch it is.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A JSON merge patch of the object.
    Merge(Value),
    /// A JSON merge patch of its status subresource.
    MergeStatus(Value),
    /// A JSON patch of the object.
    Json(Value),
}

/// How waiting for a change ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// Something changed.
    Changed,
    /// Nothing did.
    Quiet,
    /// The person pressed Ctrl-C.
    Interrupted,
}

impl Remote {
    /// Connects, without a request yet.
    pub fn connect(options: &ClientOptions) -> Result<Remote, NoClient> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| NoClient::Nowhere(error.to_string()))?;
        let (client, namespace) = runtime.block_on(client::connect(options))?;
        Ok(Remote { runtime, client, namespace, clock: WallClock::start() })
    }

    /// The namespace for objects that name none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Result<Value, Refused> {
        let api = self.api(key);
        self.wait(key, async { api.get(&key.name).await }).map(|document| whole(&key.kind, document))
    }

    /// Objects of a kind, in one namespace or in all, which a label selector picks.
    pub fn list(&self, kind: &Kind, namespace: Option<&str>, labels: &str) -> Result<Vec<Value>, Refused> {
        let key = Key::new(kind.clone(), namespace.unwrap_or(""), "");
        let api = self.api(&key);
        let params = ListParams::default().labels(labels);
        let found = self.wait(&key, async { api.list(&params).await })?;
        Ok(found.items.into_iter().map(|document| whole(kind, document)).collect())
    }

    /// Changes an object.
    pub fn patch(&self, key: &Key, change: &Change) -> Result<Value, Refused> {
        let api = self.api(key);
        let params = PatchParams::default();
        let stored = self.wait(key, async {
            match change {
                Change::Merge(body) => api.patch(&key.name, &params, &Patch::Merge(body)).await,
                Change::MergeStatus(body) => api.patch_status(&key.name, &params, &Patch::Merge(body)).await,
                Change::Json(body) => {
                    let body = serde_json::from_value(body.clone()).map_err(Error::SerdeError)?;
                    api.patch(&key.name, &params, &Patch::Json::<()>(body)).await
                }
            }
        })?;
        Ok(whole(&key.kind, stored))
    }

    /// Writes an object back whole.
    pub fn replace(&self, key: &Key, document: &Value) -> Result<Value, Refused> {
        let api = self.api(key);
        let document = sendable(document)?;
        self.wait(key, async { api.replace(&key.name, &PostParams::default(), &document).await })
            .map(|stored| whole(&key.kind, stored))
    }

    /// Makes an object.
    pub fn create(&self, key: &Key, document: &Value) -> Result<Value, Refused> {
        let api = self.api(key);
        let document = sendable(document)?;
        self.wait(key, async { api.create(&PostParams::default(), &document).await })
            .map(|stored| whole(&key.kind, stored))
    }

    /// Watches kinds in one namespace, or in all. A kind that the server does not know has no objects.
    pub fn watch(&self, kinds: &[Kind], namespace: Option<&str>) -> Watching<'_> {
        let mut changes = SelectAll::new();
        for kind in kinds {
            let api = self.api(&Key::new(kind.clone(), namespace.unwrap_or(""), ""));
            let config = watcher::Config::default().timeout(WATCH_SECONDS);
            let named = stream::repeat(kind.clone()).zip(watcher(api, config).default_backoff());
            changes.push(named.boxed());
        }
        Watching { remote: self, changes, objects: BTreeMap::new(), failures: 0, unlisted: kinds.to_vec() }
    }

    fn wait<T>(&self, key: &Key, request: impl Future<Output = Result<T, Error>>) -> Result<T, Refused> {
        let answer = self.runtime.block_on(async { tokio::time::timeout(LIMIT, request).await });
        match answer {
            Ok(answer) => answer.map_err(|error| refusal(key, &error)),
            Err(_) => Err(Refused::Other(format!("the API server did not answer within {LIMIT:?}"))),
        }
    }

    fn api(&self, key: &Key) -> Api<DynamicObject> {
        let resource = convert::resource(&key.kind);
        if key.namespace.is_empty() || key.kind.is_cluster_wide() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource)
        }
    }
}

type Named = (Kind, Result<watcher::Event<DynamicObject>, watcher::Error>);

/// Objects that are kept up to date.
pub struct Watching<'a> {
    remote: &'a Remote,
    changes: SelectAll<BoxStream<'static, Named>>,
    objects: BTreeMap<Key, Value>,
    failures: u32,
    unlisted: Vec<Kind>,
}

impl Watching<'_> {
    /// The objects as far as they are known.
    pub fn objects(&self) -> Vec<Value> {
        self.objects.values().cloned().collect()
    }

    /// Whether each kind has been listed, and none is being listed again.
    pub fn is_complete(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// Waits for the next change, for at most so long.
    pub fn wait(&mut self, limit: Duration) -> Result<Waited, Refused> {
        let next = async {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => Err(Waited::Interrupted),
                change = self.changes.next() => change.ok_or(Waited::Quiet),
                () = tokio::time::sleep(limit) => Err(Waited::Quiet),
            }
        };
        match self.remote.runtime.block_on(next) {
            Ok((kind, Ok(event))) => {
                self.failures = 0;
                self.take(kind, event);
                Ok(Waited::Changed)
            }
            Ok((kind, Err(error))) => {
                if is_unknown_kind(&error) {
                    self.unlisted.retain(|other| *other != kind);
                    return Ok(Waited::Quiet);
                }
                self.failures += 1;
                if self.failures >= PATIENCE {
                    return Err(Refused::Other(format!("the watch of {} fails: {error}", kind.name())));
                }
                Ok(Waited::Quiet)
            }
            Err(waited) => Ok(waited),
        }
    }

    fn take(&mut self, kind: Kind, event: watcher::Event<DynamicObject>) {
        let key = |document: &DynamicObject| {
            Key::new(kind.clone(), document.namespace().unwrap_or_default(), document.name_any())
        };
        match event {
            watcher::Event::Init => {
                self.objects.retain(|key, _| key.kind != kind);
                if !self.unlisted.contains(&kind) {
                    self.unlisted.push(kind);
                }
            }
            watcher::Event::InitDone => self.unlisted.retain(|other| *other != kind),
            watcher::Event::Apply(document) | watcher::Event::InitApply(document) => {
                self.objects.insert(key(&document), whole(&kind, document));
            }
            watcher::Event::Delete(document) => {
                self.objects.remove(&key(&document));
            }
        }
    }
}

fn is_unknown_kind(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(Error::Api(status)) if status.code == 404)
}

fn whole(kind: &Kind, document: DynamicObject) -> Value {
    let mut value = serde_json::to_value(&document).unwrap_or_else(|_| json!({}));
    value["apiVersion"] = Value::from(kind.api_version());
    value["kind"] = Value::from(kind.name());
    value
}

fn sendable(document: &Value) -> Result<DynamicObject, Refused> {
    serde_json::from_value(document.clone()).map_err(|error| Refused::Other(error.to_string()))
}

/// How a missing object is told, in one form for all verbs.
pub fn missing(key: &Key) -> Refused {
    let kind = key.kind.name().to_lowercase();
    let group = key.kind.group();
    let dot = if group.is_empty() { "" } else { "." };
    Refused::NotFound(format!("{kind}{dot}{group} \"{}\" not found", key.name))
}

fn refusal(key: &Key, error: &Error) -> Refused {
    match error {
        // The answer of a path that the server does not serve is no sentence of the API.
        Error::Api(status) if status.code == 404 && status.message.contains("page not found") => {
            Refused::NotFound(format!(
                "the server has no kind {} of {}",
                key.kind.name(),
                key.kind.api_version()
            ))
        }
        Error::Api(status) if status.code == 404 && !key.name.is_empty() => missing(key),
        Error::Api(status) if status.code == 404 => Refused::NotFound(status.message.clone()),
        Error::Api(status) if status.code == 409 && status.reason == "Conflict" => {
            Refused::Conflict(status.message.clone())
        }
        Error::Api(status) => Refused::Other(status.message.clone()),
        other => Refused::Other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn an_error_says_what_a_person_can_do_with_it() {
        let told = |name: &str, code: u16, reason: &str| {
            let text = if reason.is_empty() { "404 page not found" } else { "m" };
            let error = Error::Api(Status::failure(text, reason).with_code(code).boxed());
            refusal(&Key::new(Kind::Rollout, "n", name), &error)
        };
        let unknown = "the server has no kind Rollout of argoproj.io/v1alpha1".to_owned();
        assert_eq!(told("x", 404, ""), Refused::NotFound(unknown));
        let gone = Refused::NotFound("rollout.argoproj.io \"x\" not found".to_owned());
        assert_eq!(told("x", 404, "NotFound"), gone);
        assert_eq!(told("x", 409, "Conflict"), Refused::Conflict("m".to_owned()));
        assert_eq!(told("x", 409, "AlreadyExists"), Refused::Other("m".to_owned()));
        assert_eq!(told("x", 403, "Forbidden"), Refused::Other("m".to_owned()));
    }
}
