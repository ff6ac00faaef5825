//! What a person or a program of theirs does to the cluster, with one write each.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Body, Key, Kind, Object};
use tidegate_controller::edit::Edit;
use tidegate_controller::plan::Guard;
use tidegate_controller::seams::ApiError;

use super::World;
use super::observe::{Observer, Writer};
use crate::cluster::patch;
use crate::cluster::store::{Change, Part, invalid, not_found, outdated};

/// One write of a user.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Makes an object.
    Create(Object),
    /// Replaces an object (`kubectl replace`); in this version if the new one names one.
    Replace(Object),
    /// Merges a document into an object (RFC 7396).
    Merge {
        /// Which object.
        key: Key,
        /// What is merged into it.
        patch: Value,
        /// The half that is meant.
        part: Part,
    },
    /// Changes a document by operations (RFC 6902).
    Operations {
        /// Which object.
        key: Key,
        /// The list of operations.
        patch: Value,
        /// The half that is meant.
        part: Part,
    },
    /// Changes fields. Edits of the status alone go to the status.
    Edit {
        /// Which object.
        key: Key,
        /// The fields.
        edits: Vec<Edit>,
    },
    /// Sets the wished pods through the scale subresource.
    Scale {
        /// Which object.
        key: Key,
        /// How many.
        replicas: i64,
    },
    /// Deletes an object in the background.
    Delete(Key),
    /// Evicts a pod, if budgets allow.
    Evict(Key),
}

impl World {
    /// A user writes, now. The object as it is stored afterwards; nothing when it is gone.
    pub fn user(
        &mut self,
        action: Action,
        watch: &mut dyn Observer,
    ) -> Result<Option<Arc<Object>>, ApiError> {
        let (key, outcome) = self.act(action);
        self.settle(Writer::User, None, &key, outcome, watch)
    }

    /// Puts an object into the store with its status and identity, as if it had been there all along.
    pub fn place(
        &mut self,
        object: Object,
        watch: &mut dyn Observer,
    ) -> Result<Option<Arc<Object>>, ApiError> {
        let mut admitted = object.clone();
        crate::cluster::admission::admit(&mut admitted);
        let outcome = self.store.place(object, self.now);
        self.settle(Writer::Beginning, None, &admitted.key(), outcome, watch)
    }

    /// Whoever it is writes, now: what is judged is who wrote, so tests can play the controller by hand.
    pub fn write_as(
        &mut self,
        by: Writer,
        action: Action,
        watch: &mut dyn Observer,
    ) -> Result<Option<Arc<Object>>, ApiError> {
        let (key, outcome) = self.act(action);
        self.settle(by, None, &key, outcome, watch)
    }

    /// Whether the API server serves this kind now.
    pub fn serves(&self, kind: &Kind) -> bool {
        match self.config.routers.unserved.get(kind.name()) {
            None => true,
            Some(from) => from.is_some_and(|from| from <= self.now),
        }
    }

    /// From now on the API server serves this kind, or does so no longer.
    pub fn serve(&mut self, kind: &str, is_served: bool, watch: &mut dyn Observer) {
        self.turn(watch, |config| match is_served {
            true => drop(config.routers.unserved.remove(kind)),
            false => drop(config.routers.unserved.insert(kind.to_owned(), None)),
        });
        self.relist(kind);
    }

    fn act(&mut self, action: Action) -> (Key, Result<Change, ApiError>) {
        match action {
            Action::Create(mut object) => {
                crate::cluster::admission::admit(&mut object);
                let key = object.key();
                let outcome = self.store.create(object, self.now);
                (key, outcome)
            }
            Action::Replace(mut object) => {
                crate::cluster::admission::admit(&mut object);
                let (key, version) = (object.key(), object.meta.resource_version);
                let outcome = match self.store.get(&key) {
                    Some(held) if version != 0 && version != held.meta.resource_version => {
                        Err(outdated(&key))
                    }
                    _ => self.store.update(&key, None, Part::Main, |old| {
                        share(old, &mut object);
                        *old = object;
                        Ok(())
                    }),
                };
                (key, outcome)
            }
            Action::Merge { key, patch: document, part } => {
                let outcome = self.rewrite(&key, part, |value| {
                    patch::merge(value, &document);
                    Ok(())
                });
                (key, outcome)
            }
            Action::Operations { key, patch: operations, part } => {
                let outcome = self.rewrite(&key, part, |value| patch::apply(value, &operations));
                (key, outcome)
            }
            Action::Edit { key, edits } => {
                let part = match !edits.is_empty() && edits.iter().all(Edit::is_of_status) {
                    true => Part::Status,
                    false => Part::Main,
                };
                let outcome = self.store.edit(&key, None, part, &edits);
                (key, outcome)
            }
            Action::Scale { key, replicas } if replicas < 0 => {
                let why =
                    format!("spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0");
                let outcome = Err(invalid(&key, &why));
                (key, outcome)
            }
            Action::Scale { key, replicas } => {
                let outcome = self.store.edit(&key, None, Part::Main, &[Edit::Replicas(replicas)]);
                (key, outcome)
            }
            Action::Delete(key) => {
                let outcome = self.delete_now(&key, None);
                (key, outcome)
            }
            Action::Evict(key) => {
                let outcome = self.evict_now(&key, None);
                (key, outcome)
            }
        }
    }

    /// Changes an object as a document, as the API server does for a patch.
    fn rewrite(
        &mut self,
        key: &Key,
        part: Part,
        change: impl FnOnce(&mut Value) -> Result<(), String>,
    ) -> Result<Change, ApiError> {
        let held = self.store.get(key).cloned().ok_or_else(|| not_found(key))?;
        let mut document = held.to_value();
        change(&mut document).map_err(|why| invalid(key, &why))?;
        let mut object = Object::from_value(document).map_err(|why| invalid(key, &why.to_string()))?;
        // A patch that names a version or an identity is meant for that one only.
        let meta = &object.meta;
        let guard = Guard::Version {
            uid: if meta.uid.is_empty() { held.meta.uid.clone() } else { meta.uid.clone() },
            resource_version: if meta.resource_version == 0 {
                held.meta.resource_version
            } else {
                meta.resource_version
            },
        };
        if object.kind != held.kind || object.meta.name != held.meta.name {
            return Err(invalid(
                key,
                "metadata.name: Invalid value: the name and kind of an object do not change",
            ));
        }
        share(&held, &mut object);
        self.store.update(key, Some(&guard), part, |old| {
            *old = object;
            Ok(())
        })
    }
}

/// Keeps what did not change in one piece, so that what was worked out about a specification is not worked out again.
fn share(old: &Object, new: &mut Object) {
    if let (Body::Rollout(old), Body::Rollout(new)) = (&old.body, &mut new.body)
        && old.spec == new.spec
    {
        new.spec = old.spec.clone();
    }
}
