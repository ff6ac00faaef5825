//! What is known of the cluster: fed by watches, and by the replies to our own writes.
//!
//! Watches lag, and each at its own pace, so two rules make the cache safe to decide on. It only moves forward: a
//! version older than the one held is dropped, whoever brings it (the reference wrote replies over newer versions and
//! stayed blind until a restart). And it is never older than our own last write, because every reply goes in as well.
//! What was deleted leaves a mark, so that a late watch event cannot bring it back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, Text};

/// Objects by key, with the indexes that decisions need.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cache {
    objects: BTreeMap<Key, Arc<Object>>,
    /// Objects by the identity of their controller.
    owned: BTreeMap<Text, BTreeSet<Key>>,
    /// ReplicaSets that nobody controls, by namespace.
    orphans: BTreeMap<Text, BTreeSet<Key>>,
    /// Rollouts by the objects they refer to.
    references: BTreeMap<Key, BTreeSet<Key>>,
    /// Last known version of deleted objects.
    graves: BTreeMap<Key, u64>,
}

impl Cache {
    /// The object, as far as is known.
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// Takes a version of an object. Says whether it was news.
    pub fn put(&mut self, object: Arc<Object>) -> bool {
        let key = object.key();
        let version = object.meta.resource_version;
        if self.graves.get(&key).is_some_and(|grave| *grave >= version) {
            return false;
        }
        if let Some(held) = self.objects.get(&key) {
            if held.meta.resource_version >= version {
                return false;
            }
            let held = held.clone();
            self.unlink(&key, &held);
        }
        self.graves.remove(&key);
        self.link(&key, &object);
        self.objects.insert(key, object);
        true
    }

    /// Takes the news that an object is gone; `version` is the last one it had. Says whether it was news.
    pub fn remove(&mut self, key: &Key, version: u64) -> bool {
        let grave = self.graves.entry(key.clone()).or_default();
        *grave = (*grave).max(version);
        match self.objects.get(key) {
            // A new object of the same name was seen already: this is old news about its predecessor.
            Some(held) if held.meta.resource_version > version => {
                self.graves.remove(key);
                false
            }
            Some(held) => {
                let held = held.clone();
                self.unlink(key, &held);
                self.objects.remove(key);
                true
            }
            None => false,
        }
    }

    /// Takes a complete list of a kind: what is not in it is gone. Returns what went.
    pub fn keep_only(&mut self, kind: &Kind, keys: &BTreeSet<Key>) -> Vec<Arc<Object>> {
        let gone: Vec<Arc<Object>> =
            self.of_kind(kind).filter(|object| !keys.contains(&object.key())).cloned().collect();
        for object in &gone {
            self.remove(&object.key(), object.meta.resource_version);
        }
        gone
    }

    /// Every object of a kind.
    pub fn of_kind<'a>(&'a self, kind: &Kind) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let kind = kind.clone();
        let start = Key::new(kind.clone(), "", "");
        self.objects.range(start..).take_while(move |(key, _)| key.kind == kind).map(|(_, object)| object)
    }

    /// Objects of a kind in a namespace whose names begin so.
    pub fn named_like<'a>(
        &'a self,
        kind: &Kind,
        namespace: &'a str,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let kind = kind.clone();
        self.objects
            .range(Key::new(kind.clone(), namespace, prefix)..)
            .take_while(move |(key, _)| {
                key.kind == kind && &*key.namespace == namespace && key.name.starts_with(prefix)
            })
            .map(|(_, object)| object)
    }

    /// Objects of a kind that are controlled by this identity.
    pub fn owned_by<'a>(&'a self, uid: &str, kind: Kind) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let keys = self.owned.get(uid).into_iter().flatten();
        keys.filter(move |key| key.kind == kind).filter_map(|key| self.objects.get(key))
    }

    /// ReplicaSets of a namespace that nobody controls.
    pub fn orphans_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.orphans.get(namespace).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }

    /// Rollouts that refer to an object, present or not.
    pub fn referring_to(&self, key: &Key) -> impl Iterator<Item = &Key> {
        self.references.get(key).into_iter().flatten()
    }

    fn link(&mut self, key: &Key, object: &Object) {
        match object.meta.controller() {
            Some(owner) => drop(self.owned.entry(owner.uid.clone()).or_default().insert(key.clone())),
            None if key.kind == Kind::ReplicaSet => {
                self.orphans.entry(key.namespace.clone()).or_default().insert(key.clone());
            }
            None => {}
        }
        for target in references(object) {
            self.references.entry(target).or_default().insert(key.clone());
        }
    }

    fn unlink(&mut self, key: &Key, object: &Object) {
        match object.meta.controller() {
            Some(owner) => leave(&mut self.owned, &owner.uid, key),
            None if key.kind == Kind::ReplicaSet => leave(&mut self.orphans, &key.namespace, key),
            None => {}
        }
        for target in references(object) {
            leave(&mut self.references, &target, key);
        }
    }
}

fn leave<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Key>>, at: &K, key: &Key) {
    if let Some(set) = index.get_mut(at) {
        set.remove(key);
        if set.is_empty() {
            index.remove(at);
        }
    }
}

/// The objects that a Rollout names in its specification.
pub fn references(object: &Object) -> Vec<Key> {
    let Some(rollout) = object.rollout() else { return Vec::new() };
    let spec = rollout.spec.spec();
    let service = |name: &Text| Key::new(Kind::Service, object.meta.namespace.clone(), name.clone());
    let mut keys = Vec::new();
    if let Some(canary) = spec.canary() {
        keys.extend([&canary.canary_service, &canary.stable_service].map(service));
    }
    if let Some(blue_green) = spec.blue_green() {
        keys.extend([&blue_green.active_service, &blue_green.preview_service].map(service));
    }
    if let Some(workload) = &spec.workload_ref {
        keys.push(crate::world::workload_key(&object.meta.namespace, workload));
    }
    keys.retain(|key| !key.name.is_empty());
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(version: u64, label: &str) -> Arc<Object> {
        let object = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "s", "namespace": "n", "resourceVersion": version.to_string(), "labels": {"v": label}}});
        Arc::new(Object::from_value(object).expect("a service"))
    }

    #[test]
    fn it_only_moves_forward() {
        let mut cache = Cache::default();
        assert!(cache.put(service(5, "five")));
        assert!(!cache.put(service(4, "late")));
        assert!(!cache.put(service(5, "twice")));
        let key = service(5, "").key();
        assert_eq!(cache.get(&key).and_then(|o| o.meta.labels.get("v")).map(|v| &**v), Some("five"));
    }

    #[test]
    fn what_was_deleted_stays_deleted() {
        let mut cache = Cache::default();
        cache.put(service(5, ""));
        let key = service(5, "").key();
        assert!(cache.remove(&key, 6));
        assert!(!cache.put(service(6, "late")));
        assert!(cache.put(service(7, "new")));
        assert!(!cache.remove(&key, 6), "old news about the predecessor");
        assert!(cache.get(&key).is_some());
    }
}
