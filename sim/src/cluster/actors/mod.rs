//! The built-in controllers. They act on the truth, each after a delay of its own.

pub mod deployment;
pub mod endpoints;
pub mod hpa;
pub mod job;
pub mod pods;
pub mod replicaset;
pub mod routers;

use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Span;

use super::store::Change;
use crate::world::{Due, Observer, World, Writer};

impl World {
    /// Wakes every actor that a change concerns.
    pub(crate) fn wake_actors(&mut self, by: Writer, key: &Key, change: &Change) {
        let generation = |object: &Object| object.meta.generation;
        let is_new_spec = change.before.as_deref().map(generation) != change.after.as_deref().map(generation);
        match (&key.kind, &change.after) {
            (Kind::ReplicaSet, after) => {
                if after.is_some() && is_new_spec {
                    self.sync_later(key.clone());
                }
                if by != Writer::Deployments {
                    self.wake_owner(change, "Deployment", Kind::Deployment);
                }
            }
            (Kind::Pod, after) => {
                self.wake_owner(change, "ReplicaSet", Kind::ReplicaSet);
                self.wake_owner(change, "Job", Kind::Job);
                match (&change.before, after) {
                    (None, Some(pod)) => self.born(key, &pod.clone()),
                    (_, None) => drop(self.held_pods.remove(key)),
                    _ => {}
                }
            }
            (Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate | Kind::AnalysisRun, Some(_)) => {
                self.begin_counting();
            }
            (Kind::Job, Some(_)) if is_new_spec => self.sync_later(key.clone()),
            (Kind::Deployment, Some(_)) if is_new_spec => self.sync_later(key.clone()),
            (Kind::Rollout, Some(_)) if !self.loads.is_empty() => self.wake_scalers_of(key),
            (Kind::HorizontalPodAutoscaler, Some(_)) => self.sync_later(key.clone()),
            _ => {}
        }
        match (&change.before, &change.after) {
            (Some(gone), None) if self.store.dependents(&gone.meta.uid).next().is_some() => {
                self.collect_later(&gone.meta.uid.clone());
            }
            (before, Some(new)) if before.as_ref().is_none_or(|old| old.meta.owners != new.meta.owners) => {
                if let Some(missing) = new.meta.owners.iter().find(|owner| !self.is_alive(new, owner)) {
                    self.collect_later(&missing.uid.clone());
                }
            }
            _ => {}
        }
    }

    fn wake_owner(&mut self, change: &Change, name: &str, kind: Kind) {
        let object = change.after.as_ref().or(change.before.as_ref());
        if let Some(object) = object
            && let Some(owner) = object.meta.controller().filter(|owner| &*owner.kind == name)
        {
            self.sync_later(Key::new(kind, object.meta.namespace.clone(), owner.name.clone()));
        }
    }

    /// Lets the actor that looks after an object look at it, in a while.
    pub(crate) fn sync_later(&mut self, key: Key) {
        if self.syncing.contains(&key) {
            return;
        }
        let range = match key.kind {
            Kind::HorizontalPodAutoscaler => self.config.autoscaling,
            _ => self.config.reaction,
        };
        let delay = Span::millis(self.dice.actors.within(range));
        self.syncing.insert(key.clone());
        self.push(delay, Due::Sync(key));
    }

    pub(crate) fn sync(&mut self, key: Key, watch: &mut dyn Observer) {
        self.syncing.remove(&key);
        match key.kind {
            Kind::ReplicaSet => self.sync_replica_set(&key, watch),
            Kind::Deployment => self.sync_deployment(&key, watch),
            Kind::Job => self.sync_job(&key, watch),
            Kind::HorizontalPodAutoscaler => self.sync_scaler(&key, watch),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
