//! The garbage collector, as deletions through the API set it to work.

use serde_json::Value;
use tidegate_api::object::{Key, Kind, Object, OwnerRef};

use super::deletes::Options;
use super::http::Resource;
use super::{Server, Target, shown};
use crate::cluster::store::Part;

/// What holds an object until what it owns is gone.
const FOREGROUND: &str = "foregroundDeletion";
/// What holds an object until what it owns has let go of it.
const ORPHAN: &str = "orphan";

impl Server {
    /// Lets the garbage collector do all there is to do.
    pub fn collect_garbage(&mut self) {
        // Each round removes an object, an owner or a finalizer; when none does, it is done.
        while self.collect_once() {}
    }

    fn collect_once(&mut self) -> bool {
        let keys: Vec<Key> = self.store.all().map(|object| object.key()).collect();
        keys.iter().any(|key| self.collect_owned(key) || self.collect_owner(key))
    }

    /// An object that no owner holds any more.
    fn collect_owned(&mut self, key: &Key) -> bool {
        let Some(object) = self.store.get(key).cloned() else { return false };
        if object.meta.owners.is_empty() || object.meta.deleting.is_some() {
            return false;
        }
        let (mut held, mut lost, mut waiting) = (Vec::new(), 0, 0);
        for owner in &object.meta.owners {
            match self.owner(&object, owner) {
                None => lost += 1,
                Some(found) if is_held_by(&found, FOREGROUND) => {
                    waiting += 1;
                    held.push(owner.clone());
                }
                Some(_) => held.push(owner.clone()),
            }
        }
        let Some(target) = self.target_of(key) else { return false };
        if held.len() == waiting {
            let policy = if waiting > 0 { "Foreground" } else { "Background" };
            let has_dependents = self.store.dependents(&object.meta.uid).next().is_some();
            let policy = if has_dependents { policy } else { "Background" };
            let options = Options { policy: Some(policy.to_owned()), ..Options::default() };
            return self.remove(&target, &options).is_ok();
        }
        if lost == 0 && waiting == 0 {
            return false;
        }
        held.retain(|owner| self.owner(&object, owner).is_some_and(|found| !is_held_by(&found, FOREGROUND)));
        self.change(&target, |object| object.meta.owners = held)
    }

    /// An object that waits for what it owns.
    fn collect_owner(&mut self, key: &Key) -> bool {
        let Some(object) = self.store.get(key).cloned() else { return false };
        let (Some(target), Some(_)) = (self.target_of(key), object.meta.deleting) else { return false };
        let uid = object.meta.uid.clone();
        let dependents: Vec<Key> = self.store.dependents(&uid).cloned().collect();
        if is_held_by(&object, FOREGROUND) {
            let blocks = |key: &Key| {
                let found = self.store.get(key);
                found
                    .is_some_and(|one| one.meta.owners.iter().any(|o| o.uid == uid && o.block_owner_deletion))
            };
            if !dependents.iter().any(blocks) {
                return self
                    .change(&target, |object| object.meta.finalizers.retain(|one| &**one != FOREGROUND));
            }
        }
        if is_held_by(&object, ORPHAN) {
            for key in &dependents {
                if let Some(target) = self.target_of(key) {
                    self.change(&target, |object| object.meta.owners.retain(|owner| owner.uid != uid));
                }
            }
            return self.change(&target, |object| object.meta.finalizers.retain(|one| &**one != ORPHAN));
        }
        false
    }

    fn change(&mut self, target: &Target, edit: impl FnOnce(&mut Object)) -> bool {
        let Some(object) = self.store.get(&target.key()) else { return false };
        let mut object = (**object).clone();
        edit(&mut object);
        let document: Value = shown(&object);
        self.store_in(target, Part::Main, &document).is_ok()
    }

    fn owner(&self, object: &Object, owner: &OwnerRef) -> Option<std::sync::Arc<Object>> {
        let kind = Kind::new(&owner.api_version, &owner.kind);
        [object.meta.namespace.clone(), "".into()].into_iter().find_map(|namespace| {
            let found = self.store.get(&Key::new(kind.clone(), namespace, owner.name.clone()));
            found.filter(|found| found.meta.uid == owner.uid).cloned()
        })
    }

    fn target_of(&self, key: &Key) -> Option<Target> {
        let resource = Resource::of(&key.kind)?;
        Some(Target {
            resource,
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            sub: String::new(),
        })
    }
}

/// Whether an object that is to go waits for its collector.
fn is_held_by(object: &Object, finalizer: &str) -> bool {
    object.meta.deleting.is_some() && object.meta.finalizers.iter().any(|one| &**one == finalizer)
}
