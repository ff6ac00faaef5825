//! The Rollouts under load: created, changed and watched as a person would, many hands at once.

use std::collections::BTreeMap;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

const NAMESPACE: &str = "load";
/// So many requests of ours are under way at once.
const HANDS: usize = 16;

pub(super) struct Fleet {
    api: Api<DynamicObject>,
    documents: Vec<Value>,
    changes: BoxStream<'static, watcher::Result<watcher::Event<DynamicObject>>>,
    /// The generation that each Rollout was last given.
    wanted: BTreeMap<String, i64>,
    /// The generation in which each was last seen healthy.
    healthy: BTreeMap<String, i64>,
}

impl Fleet {
    pub(super) async fn new(
        client: Client,
        count: usize,
        pods: usize,
        weights: &[i64],
    ) -> Result<Fleet, String> {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}));
        let namespace = namespace.map_err(|error| error.to_string())?;
        namespaces.create(&PostParams::default(), &namespace).await.map_err(|error| error.to_string())?;
        let resource = ApiResource {
            group: "argoproj.io".into(),
            version: "v1alpha1".into(),
            api_version: "argoproj.io/v1alpha1".into(),
            kind: "Rollout".into(),
            plural: "rollouts".into(),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &resource);
        let changes = watcher(api.clone(), watcher::Config::default()).default_backoff().boxed();
        let documents = (0..count).map(|number| document(number, pods, weights)).collect();
        Ok(Fleet { api, documents, changes, wanted: BTreeMap::new(), healthy: BTreeMap::new() })
    }

    pub(super) async fn create(&mut self) -> Result<(), String> {
        let api = &self.api;
        let made = stream::iter(&self.documents).map(|document| async move {
            let document = serde_json::from_value(document.clone()).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &document).await
        });
        self.wanted = generations(made.buffer_unordered(HANDS).try_collect().await)?;
        Ok(())
    }

    pub(super) async fn update(&mut self, number: usize) -> Result<(), String> {
        let api = &self.api;
        let patch = json!({"spec": {"template": {"spec": {"containers": containers(number)}}}});
        let patch = &Patch::Merge(patch);
        let made = stream::iter(self.wanted.keys())
            .map(|name| async move { api.patch(name, &PatchParams::default(), patch).await });
        let wanted = generations(made.buffer_unordered(HANDS).try_collect().await)?;
        self.wanted = wanted;
        Ok(())
    }

    /// Each was seen healthy in the generation that it was given.
    pub(super) async fn until_all_are_done(&mut self, word: &str) -> Result<(), String> {
        let mut told = 0;
        loop {
            let is_done = |(name, wanted): &(&String, &i64)| self.healthy.get(*name) >= Some(*wanted);
            let done = self.wanted.iter().filter(is_done).count();
            if done >= told + self.wanted.len().div_ceil(4) {
                told = done;
                eprintln!("  {done} of {} are {word}", self.wanted.len());
            }
            if done == self.wanted.len() {
                return Ok(());
            }
            let Some(change) = self.changes.next().await else { return Err("the watch has ended".into()) };
            // A watch that fails is begun again by itself.
            if let Ok(watcher::Event::Apply(rollout) | watcher::Event::InitApply(rollout)) = change
                && let Some(generation) = healthy_in(&rollout)
            {
                self.healthy.insert(rollout.name_any(), generation);
            }
        }
    }
}

fn generations(made: kube::Result<Vec<DynamicObject>>) -> Result<BTreeMap<String, i64>, String> {
    let made = made.map_err(|error| error.to_string())?;
    Ok(made.iter().map(|rollout| (rollout.name_any(), rollout.metadata.generation.unwrap_or(0))).collect())
}

/// The generation in which a Rollout is healthy and all of one version.
fn healthy_in(rollout: &DynamicObject) -> Option<i64> {
    let status = &rollout.data["status"];
    let is_done = status["phase"] == "Healthy" && status["stableRS"] == status["currentPodHash"];
    let observed = status["observedGeneration"].as_str()?.parse().ok()?;
    (is_done && rollout.metadata.generation == Some(observed)).then_some(observed)
}

fn containers(number: usize) -> Value {
    json!([{
        "name": "web", "image": format!("web:v{number}"),
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "LEVEL", "value": "info"}, {"name": "REGION", "value": "one"}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
    }])
}

fn document(number: usize, pods: usize, weights: &[i64]) -> Value {
    let name = format!("app-{number:05}");
    let mut steps = Vec::new();
    for (place, weight) in weights.iter().enumerate() {
        if place > 0 {
            steps.push(json!({"pause": {"duration": "1s"}}));
        }
        steps.push(json!({"setWeight": weight}));
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": pods,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"canary": {"steps": steps}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers(0)}},
        },
    })
}
