//! Watches: one per kind, each list and each change handed on as an event.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::Api;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tidegate_api::object::{Key, Kind, Text};
use tidegate_controller::analysis::job::RUN_UID;
use tidegate_controller::manager::INSTANCE_LABEL;
use tidegate_controller::names::HASH_LABEL;
use tidegate_controller::seams::Event;
use tokio::sync::mpsc::UnboundedSender;

use crate::convert;
use crate::document::{Document, POD, ROLLOUT, SERVICE, SET, WHOLE};

/// Seconds after which the server ends a watch. A connection that silently died is noticed 5 s after that at the
/// latest, which keeps it under 30 s; the default of 290 s would hide it for five minutes (simulation.md, vetting).
const WATCH_SECONDS: u32 = 24;

/// Objects in one answer of a list. More would make the first list quicker, and the memory it takes the most that is ever
/// taken.
const PAGE: u32 = 100;

/// The longest wait before a watch that failed is begun again. A kind that is not served fails until somebody installs it,
/// and is to be found soon after that.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What to watch.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this namespace; all of them without one.
    pub namespace: Option<Text>,
    /// Only Rollouts with this instance label; without one, only those that carry no such label.
    pub instance_id: Option<Text>,
}

impl Scope {
    fn selector(&self, kind: &Kind) -> Option<String> {
        match kind {
            Kind::Rollout
            | Kind::AnalysisRun
            | Kind::AnalysisTemplate
            | Kind::ClusterAnalysisTemplate
            | Kind::Experiment => Some(match &self.instance_id {
                Some(id) => format!("{INSTANCE_LABEL}={id}"),
                None => format!("!{INSTANCE_LABEL}"),
            }),
            Kind::Job => Some(RUN_UID.to_owned()),
            Kind::ReplicaSet | Kind::Pod => Some(HASH_LABEL.to_owned()),
            _ => None,
        }
    }

    fn api<const PART: u8>(&self, client: Client, kind: &Kind) -> Api<Document<PART>> {
        let resource = convert::resource(kind);
        match &self.namespace {
            Some(namespace) if !kind.is_cluster_wide() => Api::namespaced_with(client, namespace, &resource),
            _ => Api::all_with(client, &resource),
        }
    }
}

/// Watches a kind for as long as somebody listens.
pub async fn watch(client: Client, scope: Scope, kind: Kind, events: UnboundedSender<Event>) {
    match kind {
        Kind::Pod => follow::<POD>(client, scope, kind, events).await,
        Kind::Service => follow::<SERVICE>(client, scope, kind, events).await,
        Kind::Rollout => follow::<ROLLOUT>(client, scope, kind, events).await,
        Kind::ReplicaSet | Kind::Deployment => follow::<SET>(client, scope, kind, events).await,
        _ => follow::<WHOLE>(client, scope, kind, events).await,
    }
}

async fn follow<const PART: u8>(client: Client, scope: Scope, kind: Kind, events: UnboundedSender<Event>) {
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    if let Some(selector) = scope.selector(&kind) {
        config = config.labels(&selector);
    }
    let mut stream = watcher(scope.api::<PART>(client, &kind), config).backoff(Patience::default()).boxed();
    let mut listed = BTreeSet::new();
    while let Some(change) = stream.next().await {
        let event = match change {
            Ok(watcher::Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(document)) => {
                listed.insert(key_of(&kind, &document));
                read(&kind, document).map(Event::Seen)
            }
            Ok(watcher::Event::InitDone) => Some(Event::Listed(kind.clone(), std::mem::take(&mut listed))),
            Ok(watcher::Event::Apply(document)) => read(&kind, document).map(Event::Seen),
            Ok(watcher::Event::Delete(document)) => read(&kind, document).map(Event::Gone),
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
                tracing::warn!(
                    kind = kind.name(),
                    api = kind.api_version(),
                    "the API server does not serve this kind"
                );
                Some(Event::Unserved(kind.clone()))
            }
            Err(error) => {
                tracing::warn!(kind = kind.name(), %error, "the watch failed and is begun again");
                None
            }
        };
        if let Some(event) = event
            && events.send(event).is_err()
        {
            return;
        }
    }
}

/// The usual waits between failures, bounded by [`LONGEST_WAIT`].
#[derive(Default)]
struct Patience(DefaultBackoff);

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0.next().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.0.reset();
    }
}

fn key_of(kind: &Kind, document: &impl ResourceExt) -> Key {
    Key::new(kind.clone(), document.namespace().unwrap_or_default(), document.name_any())
}

/// The object; nothing, and a word in the log, when it is none that can be understood. One odd object does not stop a
/// watch.
fn read<const PART: u8>(kind: &Kind, document: Document<PART>) -> Option<Arc<tidegate_api::object::Object>> {
    let key = key_of(kind, &document);
    document
        .into_object(kind)
        .map_err(|error| tracing::error!(object = %key, %error, "an object cannot be read and is left alone"))
        .ok()
        .map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_served_is_looked_for_every_ten_seconds_at_least() {
        let waits: Vec<Duration> = Patience::default().take(40).collect();
        assert_eq!(waits.len(), 40);
        assert!(waits.iter().all(|wait| *wait <= LONGEST_WAIT), "{waits:?}");
        assert_eq!(waits.last(), Some(&LONGEST_WAIT));
    }
}
