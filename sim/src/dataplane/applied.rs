//! Which version of each object every proxy serves by, and which endpoints it knows behind each Service.
//!
//! The API server accepts an object at once; a router's controller takes it over a little later, each proxy by itself.
//! Until then users go where the old version sent them. The same holds for the endpoints of Services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api::object::{Body, Key, Object, Strings, Text};
use tidegate_api::time::Time;
use tidegate_controller::names::HASH_LABEL;

use super::{ALL, Door, proxy_of};
use crate::world::Writer;

/// The state of all proxies. Plain data; copies share what did not change.
#[derive(Clone, Debug, Default)]
pub struct DataPlane {
    /// Whether anybody looks at it. A world without routers and users has none, and pays nothing for it.
    pub(crate) on: bool,
    pub(crate) lines: Arc<BTreeMap<Key, Line>>,
    pub(crate) behind: Arc<BTreeMap<Key, Behind>>,
    /// The doors of each kind of proxy, one list a proxy.
    doors: Arc<BTreeMap<&'static str, Vec<Vec<Door>>>>,
    /// Until when the proxies of a kind take nothing over: all of them, or the first one alone.
    pub(crate) outages: BTreeMap<&'static str, Time>,
    pub(crate) stalled: BTreeMap<&'static str, Time>,
    accepted: u64,
}

/// One object of a router on its way to the proxies.
#[derive(Clone, Debug)]
pub struct Line {
    /// The proxies that serve by it.
    pub proxy: &'static str,
    /// What each of them serves by; nothing where it knows no such object.
    pub applied: Vec<Option<Arc<Object>>>,
    /// Versions that some proxy has yet to take over, oldest first.
    pub waiting: Vec<Accepted>,
    /// When the version before the first waiting one was accepted, and when the newest one was.
    pub newest: Time,
    /// Nothing is taken over before this: the version before.
    pub(crate) not_before: Vec<Time>,
}

/// A version of an object that the API server accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub(crate) number: u64,
    /// When.
    pub at: Time,
    /// By whom it was written.
    pub by: Writer,
    /// The object; nothing when it was deleted.
    pub object: Option<Arc<Object>>,
    /// How many proxies have yet to take it over.
    left: usize,
}

/// What proxies know of a Service.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Behind {
    /// Its endpoints, by name of the pod.
    pub pods: Arc<BTreeSet<Text>>,
    /// What it selected when they were counted.
    pub selector: Strings,
    /// Since when it has selected something else; nothing when it has not.
    pub outdated: Option<Time>,
    /// Whether they are about to be counted again.
    pub(crate) asked: bool,
}

impl DataPlane {
    pub(crate) fn new(on: bool) -> DataPlane {
        DataPlane { on, ..DataPlane::default() }
    }

    /// Notes a version of an object that was accepted. Answers its number and the time before which no proxy takes it
    /// over, for each of the proxies; nothing when nobody serves by this object, or when nothing changed for them.
    pub(crate) fn accept(
        &mut self,
        key: &Key,
        (by, now, proxies): (Writer, Time, usize),
        before: Option<&Arc<Object>>,
        after: Option<&Arc<Object>>,
    ) -> Option<(u64, Vec<Time>)> {
        let proxy = proxy_of(after.or(before)?)?.name;
        if let (Some(before), Some(after)) = (before, after)
            && is_same_to_proxies(before, after)
        {
            return None;
        }
        self.accepted += 1;
        let number = self.accepted;
        let line = Arc::make_mut(&mut self.lines).entry(key.clone()).or_insert_with(|| Line {
            proxy,
            applied: vec![None; proxies],
            waiting: Vec::new(),
            newest: now,
            not_before: vec![now; proxies],
        });
        (line.proxy, line.newest) = (proxy, now);
        let left = line.applied.len();
        line.waiting.push(Accepted { number, at: now, by, object: after.cloned(), left });
        Some((number, line.not_before.clone()))
    }

    /// A proxy takes a version over. Answers the version if it was the last one to do so.
    pub(crate) fn take_over(&mut self, key: &Key, proxy: usize, number: u64) -> Option<Arc<Object>> {
        let lines = Arc::make_mut(&mut self.lines);
        let line = lines.get_mut(key)?;
        let accepted = line.waiting.iter_mut().find(|accepted| accepted.number == number)?;
        accepted.left = accepted.left.saturating_sub(1);
        let (object, is_everywhere) = (accepted.object.clone(), accepted.left == 0);
        if let Some(applied) = line.applied.get_mut(proxy) {
            *applied = object.clone();
        }
        line.waiting.retain(|accepted| accepted.left > 0);
        let kind = line.proxy;
        if line.waiting.is_empty() && line.applied.iter().all(Option::is_none) {
            lines.remove(key);
        }
        self.read_doors(kind, proxy);
        object.filter(|_| is_everywhere)
    }

    fn read_doors(&mut self, kind: &'static str, proxy: usize) {
        let Some(reader) = ALL.iter().find(|known| known.name == kind) else { return };
        let lines = self.lines.values().filter(|line| line.proxy == kind);
        let proxies = lines.clone().map(|line| line.applied.len()).max().unwrap_or(0).max(proxy + 1);
        let objects: Vec<Arc<Object>> =
            lines.filter_map(|line| line.applied.get(proxy).cloned().flatten()).collect();
        let all = Arc::make_mut(&mut self.doors).entry(kind).or_default();
        all.resize(all.len().max(proxies), Vec::new());
        all[proxy] = (reader.read)(&objects);
    }

    /// The doors as every proxy has them: for each kind of proxy one list a proxy.
    pub fn doors(&self) -> impl Iterator<Item = &Vec<Vec<Door>>> {
        self.doors.values()
    }

    /// Notes what a Service selects. Proxies go by the old endpoints until they are counted again.
    pub(crate) fn note_selector(&mut self, service: &Key, selector: &Strings, now: Time) {
        let behind = Arc::make_mut(&mut self.behind).entry(service.clone()).or_default();
        let is_other = behind.selector != *selector;
        behind.outdated = is_other.then_some(behind.outdated.unwrap_or(now));
    }

    /// The hash that a Service selected when its endpoints were counted, if it has selected another one since then.
    pub fn outdated_hash(&self, service: &Key) -> Option<(&str, Time)> {
        let behind = self.behind.get(service)?;
        let since = behind.outdated?;
        Some((behind.selector.get(HASH_LABEL).map_or("", |hash| &**hash), since))
    }
}

/// Whether proxies see no difference: metadata other than annotations, and the status, mean nothing to them.
fn is_same_to_proxies(before: &Object, after: &Object) -> bool {
    let (Body::Other(a), Body::Other(b)) = (&before.body, &after.body) else { return true };
    (Arc::ptr_eq(a, b) || a["spec"] == b["spec"]) && before.meta.annotations == after.meta.annotations
}
