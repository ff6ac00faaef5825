//! A Rollout with the objects of its router, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Object, Text};

use super::{Change, ManagedRoute, Place, Router, Settings, Trouble, View, Want, What, find};

/// The Rollout, what it names, and how the operator set routers up.
pub(super) struct Stage {
    pub rollout: Object,
    pub objects: BTreeMap<Key, Arc<Object>>,
    pub services: BTreeMap<Text, Arc<Object>>,
    pub settings: Settings,
}

impl Stage {
    /// A Rollout `web` in `prod` with this canary, and these objects. Namespaces default to `prod`.
    pub fn new(canary: Value, objects: &[Value]) -> Stage {
        Stage::with_status(canary, json!({}), objects)
    }

    /// The same with a status.
    pub fn with_status(canary: Value, status: Value, objects: &[Value]) -> Stage {
        let rollout = Object::from_value(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "prod", "uid": "u1"},
            "spec": {"replicas": 10, "strategy": {"canary": canary}}, "status": status}))
        .unwrap();
        let mut stage = Stage {
            rollout,
            objects: BTreeMap::new(),
            services: BTreeMap::new(),
            settings: Settings::default(),
        };
        for object in objects {
            stage.put(object.clone());
        }
        stage
    }

    /// Stores an object.
    pub fn put(&mut self, mut object: Value) {
        if object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!("prod");
        }
        let object = Arc::new(Object::from_value(object).unwrap());
        match object.kind.name() {
            "Service" => drop(self.services.insert(object.meta.name.clone(), object)),
            _ => drop(self.objects.insert(object.key(), object)),
        }
    }

    /// Looks with the eyes of the only router.
    pub fn view<T>(&self, look: impl FnOnce(&dyn Router, &View<'_>) -> T) -> T {
        let canary = self.rollout.rollout().unwrap().spec.spec().canary().unwrap();
        let routing = canary.traffic_routing.as_ref().unwrap();
        let stanza = &routing.routers[0];
        let at = Place { rollout: &self.rollout, canary, routing, stanza, settings: &self.settings };
        let view =
            View { at, objects: &self.objects, services: &self.services, unserved: &[], sabotage: None };
        look(find(stanza).unwrap(), &view)
    }

    /// What the router would change.
    pub fn route(&self, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        self.view(|router, view| router.route(view, want))
    }

    /// Carries the router's changes out and gives what was told; nothing more may be left to change.
    #[track_caller]
    pub fn carry_out(&mut self, want: &Want<'_>) -> Vec<String> {
        let told = self.store(self.route(want).unwrap());
        assert_eq!(self.route(want).unwrap(), [], "a second look changes something");
        told
    }

    /// The same for the labels.
    #[track_caller]
    pub fn carry_out_labels(&mut self, want: &Want<'_>) -> Vec<String> {
        let label = |stage: &Stage| stage.view(|router, view| router.label(view, want)).unwrap();
        let told = self.store(label(self));
        assert_eq!(label(self), [], "a second look changes something");
        told
    }

    fn store(&mut self, changes: Vec<Change>) -> Vec<String> {
        let mut told = Vec::new();
        for change in changes {
            match change.what {
                What::Create(document) | What::Become(document) => {
                    let object = Object::from_value((*document).clone()).unwrap();
                    assert_eq!(object.key(), change.key);
                    self.objects.insert(change.key, Arc::new(object));
                }
                What::Delete => drop(self.objects.remove(&change.key)),
            }
            told.extend(change.notices.iter().map(|(reason, message)| format!("{reason}: {message}")));
        }
        told
    }

    /// The only stored object of this kind and name.
    #[track_caller]
    pub fn document(&self, kind: &str, name: &str) -> Value {
        let is_it = |key: &&Key| key.kind.name() == kind && &*key.name == name;
        self.objects[self.objects.keys().find(is_it).unwrap()].to_value()
    }
}

/// So many percent for the canary, `c1` beside `s1`.
pub(super) fn split(weight: i64) -> Want<'static> {
    Want {
        weight,
        whole: 100,
        arms: &[],
        canary_hash: "c1",
        stable_hash: "s1",
        routes: &[],
        former_arms: &[],
    }
}

/// A header route.
pub(super) fn header(name: &str, matches: Value) -> ManagedRoute {
    let step = json!({"name": name, "match": matches});
    ManagedRoute { name: name.into(), is_mirror: false, step: Arc::new(step) }
}

/// A mirror.
pub(super) fn mirror(name: &str, matches: Value, percentage: Option<i64>) -> ManagedRoute {
    let step = json!({"name": name, "match": matches, "percentage": percentage});
    ManagedRoute { name: name.into(), is_mirror: true, step: Arc::new(step) }
}
