//! What a person does, as requests.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, EvictParams, Patch, PatchParams, PostParams};
use kube::core::Status;
use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind};
use tidegate_sim::cluster::store::Part;
use tidegate_sim::world::Action;

use super::sights::resource;

/// The object that was written and its version; nothing when it is on its way out.
type Answer = Result<Option<(Key, u64)>, kube::Error>;

/// Stores a document as it is. The API server is to judge it, not we.
pub(super) async fn create(client: &Client, document: &Value) -> Answer {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let kind = Kind::new(text("/apiVersion"), text("/kind"));
    let key = Key::new(kind, text("/metadata/namespace"), text("/metadata/name"));
    let object: DynamicObject = serde_json::from_value(document.clone()).map_err(kube::Error::SerdeError)?;
    let stored = api(client, &key).create(&PostParams::default(), &object).await?;
    Ok(written(key, &stored))
}

pub(super) async fn send(client: &Client, action: Action) -> Answer {
    let parameters = PatchParams::default();
    match action {
        Action::Create(object) => create(client, &object.to_value()).await,
        Action::Replace(object) => {
            let key = object.key();
            let api = api(client, &key);
            let held = api.get(&key.name).await?;
            let mut object: DynamicObject =
                serde_json::from_value(object.to_value()).map_err(kube::Error::SerdeError)?;
            object.metadata.resource_version = held.metadata.resource_version;
            let stored = api.replace(&key.name, &PostParams::default(), &object).await?;
            Ok(written(key, &stored))
        }
        Action::Merge { key, patch, part } => {
            let (api, patch) = (api(client, &key), Patch::Merge(patch));
            let stored = match part {
                Part::Main => api.patch(&key.name, &parameters, &patch).await?,
                Part::Status => api.patch_status(&key.name, &parameters, &patch).await?,
            };
            Ok(written(key, &stored))
        }
        Action::Operations { key, patch, part } => {
            let operations = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
            let (api, patch) = (api(client, &key), Patch::Json::<()>(operations));
            let stored = match part {
                Part::Main => api.patch(&key.name, &parameters, &patch).await?,
                Part::Status => api.patch_status(&key.name, &parameters, &patch).await?,
            };
            Ok(written(key, &stored))
        }
        Action::Scale { key, replicas } => {
            let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
            let scale = api(client, &key).patch_scale(&key.name, &parameters, &patch).await?;
            let version = scale.metadata.resource_version.and_then(|version| version.parse().ok());
            Ok(version.map(|version| (key, version)))
        }
        Action::Delete(key) => {
            api(client, &key).delete(&key.name, &DeleteParams::background()).await?;
            Ok(None)
        }
        Action::Evict(key) => {
            let pods: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
            pods.evict(&key.name, &EvictParams::default()).await?;
            Ok(None)
        }
        Action::Edit { key, .. } => {
            let why = format!("no person edits {} {} field by field", key.kind.name(), key.name);
            Err(kube::Error::Api(Box::new(Status::failure(&why, "NotSupported").with_code(405))))
        }
    }
}

fn api(client: &Client, key: &Key) -> Api<DynamicObject> {
    match key.kind.is_cluster_wide() {
        true => Api::all_with(client.clone(), &resource(&key.kind)),
        false => Api::namespaced_with(client.clone(), &key.namespace, &resource(&key.kind)),
    }
}

fn written(key: Key, stored: &DynamicObject) -> Option<(Key, u64)> {
    let version = stored.metadata.resource_version.as_deref()?.parse().ok()?;
    Some((key, version))
}
