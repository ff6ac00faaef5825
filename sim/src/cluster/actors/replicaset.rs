//! The ReplicaSet controller: as many pods as wished, and a status that counts them.

use std::cmp::Reverse;
use std::sync::Arc;

use tidegate_api::object::{Body, Key, Kind, Object, OwnerRef, PodBody, Text};
use tidegate_api::time::{Stamp, Time};
use tidegate_controller::plan::Guard;

use crate::cluster::store::Part;
use crate::world::{Due, Observer, World, Writer};

impl World {
    pub(crate) fn sync_replica_set(&mut self, key: &Key, watch: &mut dyn Observer) {
        let Some(set) = self.store.get(key).cloned() else {
            self.recounts.remove(key);
            return;
        };
        // Counted before anything is changed, as the real one counts: its own changes come back as news later.
        self.write_status(key, &set, watch);
        if set.meta.deleting.is_some() {
            return;
        }
        let Some(body) = set.replica_set() else { return };
        let mut pods = self.active_pods(&set);
        let (have, wished) = (i64::try_from(pods.len()).unwrap_or(i64::MAX), body.wished());
        // As the real one does, it starts slowly: one pod, then two, then four …, so that a template that the API server
        // refuses costs one call. The first pod is ready before the last one is made.
        let burst = if have < wished { self.bursts.get(key).copied().unwrap_or(1) } else { 0 };
        if have < wished {
            self.bursts.insert(key.clone(), burst.saturating_mul(2));
        } else {
            self.bursts.remove(key);
        }
        for _ in have..wished.min(have.saturating_add(burst)) {
            let pod = self.pod_of(&set);
            let key = pod.key();
            let outcome = self.store.create(pod, self.now);
            let _ = self.settle(Writer::ReplicaSets, None, &key, outcome, watch);
        }
        if have > wished {
            pods.sort_by_cached_key(|pod| rank(pod));
            let surplus = usize::try_from(have - wished).unwrap_or(0);
            for pod in pods.iter().take(surplus) {
                let key = pod.key();
                let outcome = self.delete_now(&key, Some(&Guard::Identity(pod.meta.uid.clone())));
                let _ = self.settle(Writer::ReplicaSets, None, &key, outcome, watch);
            }
        }
    }

    /// A pod has become available by waiting: only the status changes.
    pub(crate) fn recount(&mut self, key: &Key, watch: &mut dyn Observer) {
        if self.recounts.get(key).is_some_and(|at| *at <= self.now) {
            self.recounts.remove(key);
            if let Some(set) = self.store.get(key).cloned() {
                self.write_status(key, &set, watch);
            }
        }
    }

    fn write_status(&mut self, key: &Key, set: &Arc<Object>, watch: &mut dyn Observer) {
        let Some(body) = set.replica_set() else { return };
        let (now, min_ready) = (self.now.stamp(), body.min_ready_seconds.unwrap_or(0));
        let (mut replicas, mut ready, mut available) = (0, 0, 0);
        let mut next: Option<Time> = None;
        for pod in self.store.owned_by(&set.meta.uid, &Kind::Pod) {
            let Some(state) = pod.pod().filter(|_| is_active(pod)) else { continue };
            replicas += 1;
            ready += i64::from(state.ready);
            if state.is_available(min_ready, now) {
                available += 1;
            } else if let Some(changed) = state.ready_changed.filter(|_| state.ready) {
                let at = changed.plus_seconds(min_ready).time();
                next = Some(next.map_or(at, |known| known.min(at)));
            }
        }
        if let Some(at) = next
            && self.recounts.get(key).is_none_or(|known| at < *known)
        {
            self.recounts.insert(key.clone(), at);
            self.push_at(at, Due::Recount(key.clone()));
        }
        let status = body.status.counted(replicas, ready, available, set.meta.generation);
        if status == body.status {
            return;
        }
        let guard = Guard::Identity(set.meta.uid.clone());
        let outcome = self.store.update(key, Some(&guard), Part::Status, |object| {
            if let Body::ReplicaSet(body) = &mut object.body {
                body.status = status;
            }
            Ok(())
        });
        let _ = self.settle(Writer::ReplicaSets, None, key, outcome, watch);
    }

    fn active_pods(&self, set: &Object) -> Vec<Arc<Object>> {
        self.store.owned_by(&set.meta.uid, &Kind::Pod).filter(|pod| is_active(pod)).cloned().collect()
    }

    fn pod_of(&mut self, set: &Object) -> Object {
        self.pods_made += 1;
        let (template, meta) = match set.replica_set() {
            Some(body) => (body.template.clone(), &set.meta),
            None => (Default::default(), &set.meta),
        };
        let mut pod = Object {
            kind: Kind::Pod,
            meta: Default::default(),
            body: Body::Pod(PodBody::new(template.spec.tree())),
        };
        pod.meta.name = pod_name(&meta.name, self.pods_made);
        pod.meta.namespace = meta.namespace.clone();
        pod.meta.labels = template.labels;
        pod.meta.annotations = template.annotations;
        pod.meta.owners = vec![OwnerRef {
            api_version: "apps/v1".into(),
            kind: "ReplicaSet".into(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            controller: true,
            block_owner_deletion: true,
        }];
        pod
    }
}

/// Whether the ReplicaSet controller counts a pod.
pub(crate) fn is_active(pod: &Object) -> bool {
    let ended = |body: &PodBody| matches!(body.phase.as_deref(), Some("Succeeded" | "Failed"));
    pod.meta.deleting.is_none() && pod.pod().is_some_and(|body| !ended(body))
}

/// The order in which pods are given up: first those that do least, then the cheapest, then those that became ready
/// last, then the youngest.
fn rank(pod: &Object) -> (bool, bool, i64, i64, i64, Reverse<Text>) {
    let (running, ready, since) = pod.pod().map_or((false, false, None), |body| {
        let running = body.phase.as_deref() == Some("Running");
        (running, body.ready, body.ready_changed.filter(|_| body.ready))
    });
    let cost = pod.meta.annotations.get("controller.kubernetes.io/pod-deletion-cost");
    let cost = cost.and_then(|cost| cost.parse().ok()).unwrap_or(0);
    let latest_first = |stamp: Option<Stamp>| stamp.map_or(0, |stamp| -stamp.0);
    (
        running,
        ready,
        cost,
        latest_first(since),
        latest_first(pod.meta.created),
        Reverse(pod.meta.name.clone()),
    )
}

/// The name of the n-th pod of the world: the set's name and five characters that grow in the order of the alphabet.
pub(super) fn pod_name(set: &str, number: u64) -> Text {
    const LETTERS: &[u8] = b"2456789bcdfghjklmnpqrstvwxz";
    let mut left = number;
    let mut tail = [0_u8; 5];
    for place in tail.iter_mut().rev() {
        let letter = usize::try_from(left % 27).expect("less than 27");
        *place = LETTERS[letter];
        left /= 27;
    }
    let tail = std::str::from_utf8(&tail).expect("letters are ASCII");
    let mut name = String::with_capacity(set.len() + 6);
    name.push_str(set);
    name.push('-');
    name.push_str(tail);
    name.into()
}
