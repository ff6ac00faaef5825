//! Which version should have had which share of the requests: the weight that the Rollout says, for the versions that its
//! Services lead to. Which version the Rollout means by its canary is not the same: while a superseded one still serves,
//! the weight is that one's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Ground, Shares, Stream};

/// What was said in a ground, from when it is followed until this is dropped.
#[derive(Debug)]
pub struct Timeline {
    marks: Arc<Mutex<Vec<(Duration, Split)>>>,
    task: JoinHandle<()>,
}

/// Who gets what: pod hashes, and the weight of the first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Split {
    canary: Option<String>,
    stable: Option<String>,
    weight: Option<i64>,
}

impl Timeline {
    /// Follows the Rollout and the Services of a ground in the time of a stream.
    pub fn follow(ground: &Ground, stream: &Stream) -> Timeline {
        let changes = futures::stream::select(
            changes(ground, GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout")),
            changes(ground, GroupVersionKind::gvk("", "v1", "Service")),
        );
        let marks = Arc::new(Mutex::new(Vec::new()));
        let (known, clock) = (marks.clone(), stream.clock());
        let task = tokio::spawn(async move {
            let mut split = Split::default();
            let mut changes = changes.boxed();
            while let Some(object) = changes.next().await {
                split.learn(object.metadata.name.as_deref().unwrap_or_default(), &object.data);
                known.lock().unwrap_or_else(PoisonError::into_inner).push((clock(), split.clone()));
            }
        });
        Timeline { marks, task }
    }

    /// Who should have had which share, from when until when; `image` knows the image of a pod hash.
    pub fn shares(&self, end: Duration, image: impl Fn(&str) -> String) -> Vec<(Shares, Duration, Duration)> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shares: Vec<(Shares, Duration, Duration)> = Vec::new();
        for (at, split) in marks.iter() {
            let Some(now) = split.shares(&image) else { continue };
            match shares.last_mut() {
                Some((last, ..)) if *last == now => {}
                last => {
                    if let Some((.., until)) = last {
                        *until = *at;
                    }
                    shares.push((now, *at, end));
                }
            }
        }
        shares
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn changes(
    ground: &Ground,
    kind: GroupVersionKind,
) -> impl futures::Stream<Item = DynamicObject> + Send + use<> {
    let kind = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(ground.client.clone(), &ground.namespace, &kind);
    watcher(api, Config::default())
        .default_backoff()
        .applied_objects()
        .filter_map(|object| std::future::ready(object.ok()))
}

impl Split {
    fn learn(&mut self, name: &str, object: &Value) {
        let hash = || {
            object
                .pointer("/spec/selector/rollouts-pod-template-hash")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        match name {
            "web-canary" => self.canary = hash(),
            "web-stable" => self.stable = hash(),
            _ => self.weight = object.pointer("/status/canary/weights/canary/weight").and_then(Value::as_i64),
        }
    }

    fn shares(&self, image: impl Fn(&str) -> String) -> Option<Shares> {
        let (weight, mut shares) = (self.weight?, Shares::new());
        for (hash, weight) in [(&self.canary, weight), (&self.stable, 100 - weight)] {
            if weight > 0 {
                *shares.entry(image(hash.as_deref()?)).or_default() += weight as f64;
            }
        }
        Some(shares)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_weight_is_that_of_the_version_behind_the_service() {
        let mut split = Split::default();
        let service = |hash: &str| json!({"spec": {"selector": {"rollouts-pod-template-hash": hash}}});
        split.learn("web-canary", &service("old"));
        split.learn("web-stable", &service("stable"));
        assert_eq!(split.shares(str::to_owned), None);
        let weights = json!({"canary": {"weight": 40, "podTemplateHash": "new"}});
        split.learn("web", &json!({"status": {"canary": {"weights": weights}}}));
        let expected = Shares::from([("old".to_owned(), 40.0), ("stable".to_owned(), 60.0)]);
        assert_eq!(split.shares(str::to_owned), Some(expected));
    }
}
