//! Which version should have had which share of the requests: the weight that the Rollout says, for the versions that its
//! Services lead to. Which version the Rollout means by its canary is not the same: while a superseded one still serves,
//! the weight is that one's.
//!
//! A controller writes the route first and its status after it. When it dies between the two, users have another weight
//! than the Rollout says until it is back. So a change of the route is a change too, from which users are given time.

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

/// Who gets what: pod hashes, and the weight of the first as the Rollout and the route say it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Split {
    canary: Option<String>,
    stable: Option<String>,
    weight: Option<i64>,
    routed: Option<i64>,
}

/// What tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Rollout,
    Service,
    /// A route that shows the canary's weight there.
    Route(&'static str),
}

impl Timeline {
    /// Follows the Rollout and the Services of a ground in the time of a stream.
    pub fn follow(ground: &Ground, stream: &Stream) -> Timeline {
        let (route, weight) = ground.route.shows_weight();
        let sources = [
            (Source::Rollout, GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout")),
            (Source::Service, GroupVersionKind::gvk("", "v1", "Service")),
            (Source::Route(weight), route),
        ];
        let told = |(source, kind)| changes(ground, kind).map(move |object| (source, object)).boxed();
        let mut changes = futures::stream::select_all(sources.map(told));
        let marks = Arc::new(Mutex::new(Vec::new()));
        let (known, clock) = (marks.clone(), stream.clock());
        let task = tokio::spawn(async move {
            let mut split = Split::default();
            while let Some((source, object)) = changes.next().await {
                split.learn(source, object.metadata.name.as_deref().unwrap_or_default(), &object.data);
                known.lock().unwrap_or_else(PoisonError::into_inner).push((clock(), split.clone()));
            }
        });
        Timeline { marks, task }
    }

    /// Who should have had which share, from when until when; `image` knows the image of a pod hash.
    pub fn shares(&self, end: Duration, image: impl Fn(&str) -> String) -> Vec<(Shares, Duration, Duration)> {
        shares(&self.marks.lock().unwrap_or_else(PoisonError::into_inner), end, image)
    }
}

fn shares(
    marks: &[(Duration, Split)],
    end: Duration,
    image: impl Fn(&str) -> String,
) -> Vec<(Shares, Duration, Duration)> {
    let mut shares: Vec<(Shares, Duration, Duration)> = Vec::new();
    let mut routed = None;
    for (at, split) in marks {
        let Some(now) = split.shares(&image) else { continue };
        match shares.last_mut() {
            Some((last, ..)) if *last == now && routed == split.routed => {}
            last => {
                if let Some((.., until)) = last {
                    *until = *at;
                }
                shares.push((now, *at, end));
                routed = split.routed;
            }
        }
    }
    shares
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
    fn learn(&mut self, source: Source, name: &str, object: &Value) {
        let weight = |pointer| object.pointer(pointer).and_then(Value::as_i64);
        let hash = || {
            object
                .pointer("/spec/selector/rollouts-pod-template-hash")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        match source {
            Source::Rollout => self.weight = weight("/status/canary/weights/canary/weight"),
            Source::Route(pointer) => self.routed = weight(pointer),
            Source::Service if name == "web-canary" => self.canary = hash(),
            Source::Service => self.stable = hash(),
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

    fn split() -> Split {
        let mut split = Split::default();
        let service = |hash: &str| json!({"spec": {"selector": {"rollouts-pod-template-hash": hash}}});
        split.learn(Source::Service, "web-canary", &service("old"));
        split.learn(Source::Service, "web-stable", &service("stable"));
        split
    }

    fn say(split: &mut Split, weight: i64) {
        let weights = json!({"canary": {"weight": weight, "podTemplateHash": "new"}});
        split.learn(Source::Rollout, "web", &json!({"status": {"canary": {"weights": weights}}}));
    }

    fn expected(old: f64) -> Shares {
        Shares::from([("old".to_owned(), old), ("stable".to_owned(), 100.0 - old)])
    }

    #[test]
    fn the_weight_is_that_of_the_version_behind_the_service() {
        let mut split = split();
        assert_eq!(split.shares(str::to_owned), None);
        say(&mut split, 40);
        assert_eq!(split.shares(str::to_owned), Some(expected(40.0)));
    }

    #[test]
    fn a_change_of_the_route_begins_anew() {
        let (pointer, second) = ("/weight", Duration::from_secs);
        let mut split = split();
        say(&mut split, 20);
        split.learn(Source::Route(pointer), "web", &json!({"weight": 20}));
        let mut marks = vec![(second(0), split.clone()), (second(3), split.clone())];
        split.learn(Source::Route(pointer), "web", &json!({"weight": 50}));
        marks.push((second(5), split.clone()));
        say(&mut split, 50);
        marks.push((second(7), split));
        let told = [
            (expected(20.0), second(0), second(5)),
            (expected(20.0), second(5), second(7)),
            (expected(50.0), second(7), second(9)),
        ];
        assert_eq!(shares(&marks, second(9), str::to_owned), told);
    }
}
