//! The garbage collector: what nobody owns any more goes, some time later.

use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, OwnerRef, Text};
use tidegate_api::time::Span;
use tidegate_controller::plan::Guard;

use super::store::Part;
use crate::world::{Due, Observer, World, Writer};

impl World {
    /// Lets the collector look at everything that names this owner, in a while.
    pub(crate) fn collect_later(&mut self, uid: &Text) {
        let delay = Span::millis(self.dice.actors.within(self.config.collection));
        self.push(delay, Due::Collect(uid.clone()));
    }

    /// Deletes what only this owner owned, if it is gone; from the others the dangling reference is removed.
    pub(crate) fn collect(&mut self, uid: &Text, watch: &mut dyn Observer) {
        let keys: Vec<Key> = self.store.dependents(uid).cloned().collect();
        for key in keys {
            let Some(object) = self.store.get(&key).cloned() else { continue };
            let (live, gone): (Vec<OwnerRef>, Vec<OwnerRef>) =
                object.meta.owners.iter().cloned().partition(|owner| self.is_alive(&object, owner));
            if gone.is_empty() || object.meta.deleting.is_some() {
                continue;
            }
            let guard = Guard::Identity(object.meta.uid.clone());
            let outcome = if live.is_empty() {
                self.delete_now(&key, Some(&guard))
            } else {
                self.store.update(&key, Some(&guard), Part::Main, |object| {
                    object.meta.owners = live;
                    Ok(())
                })
            };
            let _ = self.settle(Writer::Garbage, None, &key, outcome, watch);
        }
    }

    /// Whether an owner that an object names is there.
    pub(crate) fn is_alive(&self, object: &Arc<Object>, owner: &OwnerRef) -> bool {
        let kind = Kind::new(&owner.api_version, &owner.kind);
        let at = |namespace: Text| Key::new(kind.clone(), namespace, owner.name.clone());
        [object.meta.namespace.clone(), Text::default()]
            .into_iter()
            .any(|namespace| self.store.get(&at(namespace)).is_some_and(|found| found.meta.uid == owner.uid))
    }
}
