//! Which version should have had which share of the requests, by what a Rollout said of itself.

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

/// What the Rollouts of a ground said, from when it is followed until this is dropped.
#[derive(Debug)]
pub struct Timeline {
    marks: Arc<Mutex<Vec<(Duration, Split)>>>,
    task: JoinHandle<()>,
}

/// Who gets what.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Split {
    canary: (String, i64),
    stable: (String, i64),
}

impl Timeline {
    /// Follows the Rollout of a ground in the time of a stream.
    pub fn follow(ground: &Ground, stream: &Stream) -> Timeline {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
        let rollouts: Api<DynamicObject> =
            Api::namespaced_with(ground.client.clone(), &ground.namespace, &kind);
        let marks = Arc::new(Mutex::new(Vec::new()));
        let (known, clock) = (marks.clone(), stream.clock());
        let task = tokio::spawn(async move {
            let mut seen = watcher(rollouts, Config::default()).default_backoff().applied_objects().boxed();
            while let Some(rollout) = seen.next().await {
                if let Some(split) = rollout.ok().and_then(|rollout| Split::of(&rollout.data)) {
                    known.lock().unwrap_or_else(PoisonError::into_inner).push((clock(), split));
                }
            }
        });
        Timeline { marks, task }
    }

    /// Who should have had which share, from when until when; `image` knows the image of a pod hash.
    pub fn shares(&self, end: Duration, image: impl Fn(&str) -> String) -> Vec<(Shares, Duration, Duration)> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shares: Vec<(Shares, Duration, Duration)> = Vec::new();
        for (at, split) in marks.iter() {
            let mut now = Shares::new();
            for (hash, weight) in [&split.canary, &split.stable] {
                *now.entry(image(hash)).or_default() += *weight as f64;
            }
            now.retain(|_, share| *share > 0.0);
            match shares.last_mut() {
                Some((last, ..)) if *last == now => {}
                _ => {
                    if let Some((.., until)) = shares.last_mut() {
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

impl Split {
    fn of(rollout: &Value) -> Option<Split> {
        let side = |side: &str| {
            let side = rollout.pointer(&format!("/status/canary/weights/{side}"))?;
            Some((side["podTemplateHash"].as_str()?.to_owned(), side["weight"].as_i64()?))
        };
        Some(Split { canary: side("canary")?, stable: side("stable")? })
    }
}
