//! The kubelets: how pods come to life, fail, and go.

use std::sync::Arc;

use tidegate_api::object::{Body, Key, Kind, Object, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::plan::Guard;
use tidegate_controller::seams::ApiError;

use crate::cluster::life::{Life, Stage};
use crate::cluster::store::{Change, Part, not_found};
use crate::world::{Due, Millis, Observer, World, Writer};

impl World {
    /// A new pod: its start is drawn.
    pub(crate) fn born(&mut self, key: &Key, pod: &Arc<Object>) {
        let startup = Life::of(&self.config.pods, pod).startup();
        self.next_stage(key, &pod.meta.uid, startup, Stage::Runs);
    }

    pub(crate) fn live(&mut self, key: &Key, uid: &Text, stage: Stage, watch: &mut dyn Observer) {
        let Some(pod) = self.store.get(key).filter(|pod| pod.meta.uid == *uid).cloned() else { return };
        if stage == Stage::Gone {
            let outcome = self.store.delete(key, Some(&Guard::Identity(uid.clone())), false, self.now);
            let _ = self.settle(Writer::Pods, None, key, outcome, watch);
            return;
        }
        if pod.meta.deleting.is_some() {
            return;
        }
        let mut turn = Life::of(&self.config.pods, &pod).turn(stage);
        if self.held_pods.contains(key) {
            turn = turn.in_hand(stage);
        }
        if let Some(look) = turn.look {
            self.set_pod(key, look.phase, look.ready, watch);
        }
        for (after, next) in turn.then {
            self.next_stage(key, uid, after, next);
        }
    }

    fn next_stage(&mut self, key: &Key, uid: &Text, after: Millis, stage: Stage) {
        let after = Span::millis(self.dice.pods.within(after));
        self.push(after, Due::Pod { key: key.clone(), uid: uid.clone(), stage });
    }

    fn set_pod(&mut self, key: &Key, phase: &str, ready: bool, watch: &mut dyn Observer) {
        let outcome = set_pod(&mut self.store, key, phase, ready, self.now);
        let _ = self.settle(Writer::Pods, None, key, outcome, watch);
    }

    /// A person makes a pod ready or not ready; from now on its model leaves the pod alone.
    pub fn set_ready(
        &mut self,
        key: &Key,
        ready: bool,
        watch: &mut dyn Observer,
    ) -> Result<Option<Arc<Object>>, ApiError> {
        if key.kind == Kind::Pod && self.store.get(key).is_some() {
            self.held_pods.insert(key.clone());
        }
        let outcome = set_pod(&mut self.store, key, "Running", ready, self.now);
        self.settle(Writer::Pods, None, key, outcome, watch)
    }

    /// Deletes an object now; a pod whose model says so is marked, and goes when it has terminated.
    pub(crate) fn delete_now(&mut self, key: &Key, guard: Option<&Guard>) -> Result<Change, ApiError> {
        if key.kind != Kind::Pod {
            return self.store.delete(key, guard, false, self.now);
        }
        let Some(pod) = self.store.get(key).cloned() else { return Err(not_found(key)) };
        let termination = Life::of(&self.config.pods, &pod).termination();
        let lingers = termination != (0, 0);
        let change = self.store.delete(key, guard, lingers, self.now)?;
        if lingers && !change.is_idle() {
            self.next_stage(key, &pod.meta.uid, termination, Stage::Gone);
        }
        Ok(change)
    }
}

fn set_pod(
    store: &mut crate::cluster::store::Store,
    key: &Key,
    phase: &str,
    ready: bool,
    now: Time,
) -> Result<Change, ApiError> {
    store.update(key, None, Part::Status, |object| {
        if let Body::Pod(body) = &mut object.body {
            if body.phase.as_deref() != Some(phase) {
                body.phase = Some(phase.into());
            }
            if body.ready != ready || body.ready_changed.is_none() {
                body.ready = ready;
                body.ready_changed = Some(now.stamp());
            }
        }
        Ok(())
    })
}
