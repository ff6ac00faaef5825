//! Everything that a namespace stores, as it comes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tidegate_api::object::Kind;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::TestbedError;

/// Whatever is served has been listed after this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// One version of one object.
pub(crate) struct Sight {
    pub kind: Kind,
    pub gone: bool,
    pub object: Value,
}

enum News {
    Seen(Sight),
    /// A watch has shown all there was.
    Listed,
}

/// Watches of one namespace; they end with this value.
pub(crate) struct Sights {
    news: UnboundedReceiver<News>,
    _watches: JoinSet<()>,
}

impl Sights {
    pub(crate) async fn open(
        client: &Client,
        namespace: &str,
        more: BTreeSet<Kind>,
    ) -> Result<Sights, TestbedError> {
        Sights::of(client, namespace, always().into_iter().chain(more).collect()).await
    }

    /// Watches of these kinds alone.
    pub(crate) async fn of(
        client: &Client,
        namespace: &str,
        kinds: BTreeSet<Kind>,
    ) -> Result<Sights, TestbedError> {
        let (sender, news) = unbounded_channel();
        let mut watches = JoinSet::new();
        let kinds: BTreeSet<Kind> = kinds.into_iter().filter(|kind| !kind.is_cluster_wide()).collect();
        let count = kinds.len();
        let names: Vec<String> =
            kinds.iter().map(|kind| format!("{} {}", kind.api_version(), kind.name())).collect();
        for kind in kinds {
            let api = Api::namespaced_with(client.clone(), namespace, &resource(&kind));
            watches.spawn(watch(api, kind, sender.clone()));
        }
        let mut sights = Sights { news, _watches: watches };
        // Nothing is in a new namespace that matters; what comes from now on is seen.
        match timeout(PATIENCE, sights.listed(count)).await {
            Ok(true) => Ok(sights),
            Ok(false) => Err(TestbedError::Start("the watches ended".to_owned())),
            Err(_) => Err(TestbedError::Start(format!("a kind is not served: one of {names:?}"))),
        }
    }

    /// Waits until all have shown all there was; says whether they did.
    async fn listed(&mut self, count: usize) -> bool {
        let mut listed = 0;
        while listed < count {
            match self.news.recv().await {
                Some(News::Listed) => listed += 1,
                Some(News::Seen(_)) => {}
                None => return false,
            }
        }
        true
    }

    pub(crate) async fn next(&mut self) -> Option<Sight> {
        loop {
            if let News::Seen(sight) = self.news.recv().await? {
                return Some(sight);
            }
        }
    }
}

/// What milestones are made of.
fn always() -> [Kind; 6] {
    [Kind::Rollout, Kind::ReplicaSet, Kind::Deployment, Kind::Pod, Kind::Service, Kind::new("v1", "Event")]
}

/// Where the API serves a kind.
pub(crate) fn resource(kind: &Kind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    let kind_of = GroupVersionKind::gvk(group, version, kind.name());
    match kind.plural() {
        Some(plural) => ApiResource::from_gvk_with_plural(&kind_of, plural),
        None => ApiResource::from_gvk(&kind_of),
    }
}

async fn watch(api: Api<DynamicObject>, kind: Kind, news: UnboundedSender<News>) {
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        let (gone, object) = match event {
            Ok(Event::InitApply(object) | Event::Apply(object)) => (false, object),
            Ok(Event::Delete(object)) => (true, object),
            Ok(Event::InitDone) => {
                let _ = news.send(News::Listed);
                continue;
            }
            // A watch that broke begins anew by itself.
            Ok(Event::Init) | Err(_) => continue,
        };
        let mut object = serde_json::to_value(object).unwrap_or_default();
        // Items of a list do not say what they are.
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.name().into();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let _ = news.send(News::Seen(Sight { kind: kind.clone(), gone, object }));
    }
}
