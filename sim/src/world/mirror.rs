//! A world as a picture of another one: what a real API server stores, held where scenarios look for it.
//!
//! Scenarios and stories ask a [`World`] whether what they wait for holds and what a verb writes. A world without a
//! controller that is only ever told what is stored elsewhere answers the same questions about a real cluster, so that
//! both worlds are asked by the same code.

use std::sync::Arc;

use tidegate_api::object::{Key, Object};
use tidegate_api::time::Time;
use tidegate_controller::plan::Notice;

use super::{Recorded, World, WorldConfig};

impl World {
    /// The picture of a world in which nothing is stored yet. Nothing happens in it by itself.
    pub fn picture(now: Time) -> World {
        World::without_controller(WorldConfig { start: now, ..WorldConfig::default() })
    }

    /// It is later there.
    pub fn set_now(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// This is stored there now.
    pub fn mirror(&mut self, object: Object) {
        self.store.mirror(object);
    }

    /// This is gone there.
    pub fn forget(&mut self, key: &Key) {
        self.store.forget(key);
    }

    /// This event was recorded there.
    pub fn hear(&mut self, notice: Notice) {
        let recorded = Arc::new(Recorded { at: self.now, notice });
        Arc::make_mut(&mut self.recorded).push(recorded);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_api::object::Kind;

    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn a_picture_holds_what_it_is_told_to_the_letter() {
        let mut world = World::picture(Time(5));
        let set = |owner: &str| {
            object(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {"name": "s", "namespace": "n", "uid": "u", "resourceVersion": "77", "generation": 3,
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Rollout", "name": "r", "uid": owner}]}}))
        };
        world.mirror(set("first"));
        world.mirror(set("second"));
        let key = Key::new(Kind::ReplicaSet, "n", "s");
        let held = world.get(&key).expect("it is there");
        assert_eq!((held.meta.resource_version, held.meta.generation, &*held.meta.uid), (77, 3, "u"));
        let owned = |world: &World, uid: &str| world.store().owned_by(uid, &Kind::ReplicaSet).count();
        assert_eq!((owned(&world, "first"), owned(&world, "second")), (0, 1));
        world.forget(&key);
        assert_eq!((world.get(&key), owned(&world, "second")), (None, 0));
        world.set_now(Time(4));
        assert_eq!((world.now(), world.next_at()), (Time(5), None));
    }
}
