//! Carries one call of the manager to the API server and says how it ended.
//!
//! Which request a write becomes is decided by the rights that installations in the field grant: services, ReplicaSets
//! and our own kinds may be patched, Deployments only updated, pods only listed and updated (operations.md 2.3).

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, EvictParams, GetParams, ListParams, Patch, PatchParams,
    PostParams, Preconditions, PropagationPolicy,
};
use kube::core::{DynamicResourceScope, Request};
use kube::{Client, Error, Resource};
use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind};
use tidegate_api::time::Span;
use tidegate_controller::edit::{self, Edit};
use tidegate_controller::plan::{Guard, Verb};
use tidegate_controller::seams::{Answer, ApiCall, ApiError};

use crate::FIELD_MANAGER;
use crate::bucket::Bucket;
use crate::clock::WallClock;
use crate::convert;
use crate::document::{Document, POD, ROLLOUT, SERVICE, SET, WHOLE};
use crate::fence::Fence;
use crate::outside::Carrier;

/// Carries calls out. Cheap to clone.
#[derive(Clone)]
pub struct Caller {
    /// The client.
    pub client: Client,
    /// How fast calls may start.
    pub bucket: Bucket,
    /// Until when they may be under way.
    pub fence: Fence,
    /// What time it is.
    pub clock: WallClock,
    /// Carries questions to everybody but the API server.
    pub carrier: Carrier,
}

impl Caller {
    /// Carries out one call that has an outcome. How many may be under way is the manager's to say: it knows who waits.
    pub async fn carry_out(&self, call: ApiCall) -> Answer {
        let is_eviction = matches!(call, ApiCall::Write { verb: Verb::Evict, .. });
        self.bucket.take().await;
        // Asked after the wait: what stood in the queue when the lease ended must not start.
        let Some(limit) = self.fence.allows(self.clock.now()) else {
            return Answer::Refused(ApiError::Unavailable("the lease is not held".into()));
        };
        let answer = match tokio::time::timeout(limit, self.request(call)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => outcome(&error),
            Err(_) => Answer::Lost,
        };
        // A disruption budget that refuses an eviction says the same, and means this one pod.
        if !is_eviction && let Answer::Refused(ApiError::TooMany(_)) = &answer {
            self.bucket.be_quiet_for(Span::millis(200));
        }
        answer
    }

    async fn request(&self, call: ApiCall) -> Result<Answer, Error> {
        match call {
            ApiCall::Get(key) => self.ask(&key, target(&key).get(&key.name, &GetParams::default())).await,
            ApiCall::Write { key, guard, verb } => match verb {
                Verb::Create(object) => {
                    let document = object.to_value().to_string().into_bytes();
                    self.ask(&key, target(&key).create(&ours(), document)).await
                }
                Verb::Edit(edits) => self.edit(&key, &guard, &edits).await,
                Verb::Delete => {
                    let params = DeleteParams {
                        preconditions: preconditions(&guard),
                        propagation_policy: Some(PropagationPolicy::Background),
                        ..DeleteParams::default()
                    };
                    self.api::<DynamicObject>(&key).delete(&key.name, &params).await?;
                    Ok(Answer::Done(None))
                }
                Verb::Evict => {
                    let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
                    let delete =
                        DeleteParams { preconditions: preconditions(&guard), ..DeleteParams::default() };
                    let params = EvictParams { delete_options: Some(delete), ..EvictParams::default() };
                    api.evict(&key.name, &params).await?;
                    Ok(Answer::Done(None))
                }
            },
            // Told to the recorder; it never comes here.
            ApiCall::Record(_) => Ok(Answer::Done(None)),
        }
    }

    async fn edit(&self, key: &Key, guard: &Guard, edits: &[Edit]) -> Result<Answer, Error> {
        let api: Api<DynamicObject> = self.api(key);
        let replaces_template =
            edits.iter().any(|edit| matches!(edit, Edit::Template(_) | Edit::TemplateDocument(_)));
        let current = match key.kind {
            // Pods may be listed, not read.
            Kind::Pod => {
                let params = ListParams::default().fields(&format!("metadata.name={}", key.name)).limit(1);
                let found = api.list(&params).await?.items.pop();
                Some(found.ok_or_else(|| not_found(key))?)
            }
            Kind::Deployment => Some(api.get(&key.name).await?),
            // A merge patch only adds to a template, and a whole one is meant.
            _ if replaces_template => Some(api.get(&key.name).await?),
            _ => None,
        };
        if let Some(current) = current {
            return self.replace(key, guard, edits, current).await;
        }
        let mut patch = edit::merge_patch(edits);
        guard_patch(&mut patch, guard);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let is_of_status = key.kind.has_status_subresource() && edits.iter().any(Edit::is_of_status);
        let (target, patch) = (target(key), Patch::Merge(patch));
        let request = if is_of_status {
            target.patch_subresource("status", &key.name, &params, &patch)
        } else {
            target.patch(&key.name, &params, &patch)
        };
        self.ask(key, request).await
    }

    /// Writes the whole object back with these edits, if it is still the one they were computed for.
    async fn replace(
        &self,
        key: &Key,
        guard: &Guard,
        edits: &[Edit],
        current: DynamicObject,
    ) -> Result<Answer, Error> {
        if let Guard::Version { uid, .. } | Guard::Identity(uid) = guard
            && current.metadata.uid.as_deref() != Some(&**uid)
        {
            return Ok(conflict(key, "is another object of this name"));
        }
        if let Guard::Version { resource_version, .. } = guard
            && current.metadata.resource_version.as_deref() != Some(&*resource_version.to_string())
        {
            return Ok(conflict(key, "was changed meanwhile"));
        }
        let types = current.types.clone();
        let mut document = serde_json::to_value(&current).map_err(Error::SerdeError)?;
        edit::apply_to_document(edits, &mut document);
        let mut document: DynamicObject = serde_json::from_value(document).map_err(Error::SerdeError)?;
        document.types = types.or_else(|| {
            Some(kube::api::TypeMeta {
                api_version: key.kind.api_version().to_owned(),
                kind: key.kind.name().to_owned(),
            })
        });
        let document = serde_json::to_vec(&document).map_err(Error::SerdeError)?;
        self.ask(key, target(key).replace(&key.name, &ours(), document)).await
    }

    /// Sends a request that is answered with the object as it is stored.
    async fn ask(
        &self,
        key: &Key,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Answer, Error> {
        let reply = self.client.request_text(request.map_err(Error::BuildRequest)?).await?;
        Ok(match key.kind {
            Kind::Rollout => stored::<ROLLOUT>(&key.kind, &reply),
            Kind::ReplicaSet | Kind::Deployment => stored::<SET>(&key.kind, &reply),
            Kind::Pod => stored::<POD>(&key.kind, &reply),
            Kind::Service => stored::<SERVICE>(&key.kind, &reply),
            _ => stored::<WHOLE>(&key.kind, &reply),
        })
    }

    fn api<K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>>(&self, key: &Key) -> Api<K> {
        let resource = convert::resource(&key.kind);
        if key.namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource)
        }
    }
}

/// Where requests about an object go.
fn target(key: &Key) -> Request {
    let namespace = (!key.namespace.is_empty()).then_some(&*key.namespace);
    Request::new(DynamicObject::url_path(&convert::resource(&key.kind), namespace))
}

fn ours() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// It was done; if the reply cannot be read, the watch will bring the object or its reader will complain.
fn stored<const PART: u8>(kind: &Kind, reply: &str) -> Answer {
    let document: Option<Document<PART>> = serde_json::from_str(reply).ok();
    let object = document.and_then(|document| document.into_object(kind).ok());
    object.map_or(Answer::Lost, |object| Answer::Done(Some(Arc::new(object))))
}

fn guard_patch(patch: &mut Value, guard: &Guard) {
    match guard {
        Guard::Absent => {}
        Guard::Version { uid, resource_version } => {
            patch["metadata"]["uid"] = json!(&**uid);
            patch["metadata"]["resourceVersion"] = json!(resource_version.to_string());
        }
        Guard::Identity(uid) => patch["metadata"]["uid"] = json!(&**uid),
    }
}

fn preconditions(guard: &Guard) -> Option<Preconditions> {
    match guard {
        Guard::Absent => None,
        Guard::Version { uid, resource_version } => Some(Preconditions {
            uid: Some(uid.to_string()),
            resource_version: Some(resource_version.to_string()),
        }),
        Guard::Identity(uid) => Some(Preconditions { uid: Some(uid.to_string()), resource_version: None }),
    }
}

fn conflict(key: &Key, why: &str) -> Answer {
    Answer::Refused(ApiError::Conflict(format!("{key} {why}").into()))
}

fn not_found(key: &Key) -> Error {
    Error::Api(kube::core::Status::failure(&format!("{key} is not there"), "NotFound").with_code(404).boxed())
}

/// What an error says about the write: refused, or unknown.
fn outcome(error: &Error) -> Answer {
    let Error::Api(status) = error else {
        // The connection was never made, so nothing was sent; after that nobody knows.
        return if was_never_sent(error) {
            Answer::Refused(ApiError::Unavailable(error.to_string().into()))
        } else {
            Answer::Lost
        };
    };
    let text = status.message.clone().into();
    Answer::Refused(match (status.code, &*status.reason) {
        (409, "AlreadyExists") => ApiError::AlreadyExists(text),
        (409, _) => ApiError::Conflict(text),
        (404, _) => ApiError::NotFound(text),
        (403 | 401, _) => ApiError::Forbidden(text),
        (429, _) => ApiError::TooMany(text),
        (503, _) => ApiError::Unavailable(text),
        // 500 and 504 come from behind the point of no return: etcd may have the write.
        (500..=599, _) => return Answer::Lost,
        _ => ApiError::Invalid(text),
    })
}

fn was_never_sent(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    matches!(error, Error::BuildRequest(_) | Error::SerdeError(_) | Error::InferConfig(_))
}

/// Longest time a call may take, whatever the lease says. For those who set up connections.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn told(code: u16, reason: &str) -> Answer {
        outcome(&Error::Api(Status::failure("m", reason).with_code(code).boxed()))
    }

    #[test]
    fn what_an_error_says_about_the_write() {
        let m = || "m".into();
        assert_eq!(told(409, "AlreadyExists"), Answer::Refused(ApiError::AlreadyExists(m())));
        assert_eq!(told(409, "Conflict"), Answer::Refused(ApiError::Conflict(m())));
        assert_eq!(told(404, "NotFound"), Answer::Refused(ApiError::NotFound(m())));
        assert_eq!(told(403, "Forbidden"), Answer::Refused(ApiError::Forbidden(m())));
        assert_eq!(told(422, "Invalid"), Answer::Refused(ApiError::Invalid(m())));
        assert_eq!(told(429, "TooManyRequests"), Answer::Refused(ApiError::TooMany(m())));
        assert_eq!(told(503, "ServiceUnavailable"), Answer::Refused(ApiError::Unavailable(m())));
        assert_eq!(told(500, "InternalError"), Answer::Lost);
        assert_eq!(told(504, "Timeout"), Answer::Lost);
    }

    #[test]
    fn a_guard_travels_with_the_patch() {
        let mut patch = json!({"status": {"phase": "Healthy"}});
        guard_patch(&mut patch, &Guard::Version { uid: "u".into(), resource_version: 7 });
        assert_eq!(
            patch,
            json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "status": {"phase": "Healthy"}})
        );
    }
}
