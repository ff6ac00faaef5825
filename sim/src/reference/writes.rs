//! What a step of a story writes, in whatever world it is played: what a command writes is decided by
//! [`tidegate_controller::commands`] from the objects as they are there.

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_controller::commands::{self, Patch};

use super::play::Play;
use super::story::{Change, Step};
use crate::cluster::store::Part;
use crate::world::{Action, World};

impl Play {
    /// The writes of a step, or why there are none. Steps that do something else write nothing.
    pub fn writes(&self, world: &World, step: &Step) -> Result<Vec<Action>, String> {
        let rollout = |name: &str| self.get(world, "Rollout", name);
        match step {
            Step::SetImage { kind, name, images } => {
                let workload = self.get(world, kind, name)?;
                let patch = commands::set_image(&workload, &|container| images.get(container).cloned())?;
                Ok(self.aimed(kind, name, vec![patch]))
            }
            Step::Abort(name) => Ok(self.aimed("Rollout", name, commands::abort())),
            Step::Retry(name) => Ok(self.aimed("Rollout", name, commands::retry())),
            Step::Pause(name) => Ok(self.aimed("Rollout", name, commands::pause())),
            Step::Resume(name) => Ok(self.aimed("Rollout", name, commands::resume())),
            Step::Restart(name) => Ok(self.aimed("Rollout", name, commands::restart(world.now().stamp()))),
            Step::Promote(name) => Ok(self.aimed("Rollout", name, commands::promote(&rollout(name)?))),
            Step::PromoteFull(name) => {
                Ok(self.aimed("Rollout", name, commands::promote_full(&rollout(name)?)))
            }
            Step::Undo { rollout: name, to } => self.undo(world, &rollout(name)?, *to),
            Step::Scale { rollout, replicas } => {
                Ok(vec![Action::Scale { key: self.key("Rollout", rollout), replicas: *replicas }])
            }
            Step::Patch { kind, name, change, subresource } => {
                let part = if subresource.as_deref() == Some("status") { Part::Status } else { Part::Main };
                let key = self.key(kind, name);
                Ok(vec![match change.clone() {
                    Change::Merge(patch) => Action::Merge { key, patch, part },
                    Change::Json(patch) => Action::Operations { key, patch, part },
                }])
            }
            Step::Apply(document) => {
                let object = self.object(document)?;
                Ok(vec![match world.get(&object.key()) {
                    None => Action::Create(object),
                    Some(_) => Action::Merge { key: object.key(), patch: document.clone(), part: Part::Main },
                }])
            }
            Step::Delete { kind, name } => Ok(vec![Action::Delete(self.key(kind, name))]),
            Step::ScaleSet { revision, replicas } => {
                let (key, patch) = (self.set(revision)?, json!({"spec": {"replicas": replicas}}));
                Ok(vec![Action::Merge { key, patch, part: Part::Main }])
            }
            Step::DeleteSet { revision } => Ok(vec![Action::Delete(self.set(revision)?)]),
            Step::RetryExperiment(part) => {
                self.aimed_at_newest("Experiment", part, commands::retry_experiment())
            }
            Step::Terminate { kind, part } => self.aimed_at_newest(kind, part, commands::terminate()),
            Step::Create(_) | Step::Readiness { .. } | Step::Web(_) | Step::Sleep(_) | Step::Wait(_) => {
                Ok(Vec::new())
            }
        }
    }

    /// A document of the story as it is to be stored here.
    pub fn placed(&self, document: &Value) -> Value {
        let place = self.place();
        let text = document.to_string().replace("$WEB", &place.web());
        let mut document: Value = serde_json::from_str(&text).unwrap_or_else(|_| document.clone());
        document["metadata"]["namespace"] = Value::from(place.namespace.as_str());
        document
    }

    /// The object that a document of the story means.
    pub fn object(&self, document: &Value) -> Result<Object, String> {
        Object::from_value(self.placed(document)).map_err(|error| format!("refused 422 {error}"))
    }

    /// The first so many pods of a revision by name; all without a count.
    pub fn some_pods(&self, revision: &str, count: Option<usize>) -> Vec<Key> {
        let pods = self.pods(revision).into_iter().take(count.unwrap_or(usize::MAX));
        pods.map(|pod| self.key("Pod", pod)).collect()
    }

    fn key(&self, kind: &str, name: &str) -> Key {
        let kind = Kind::by_name(kind).unwrap_or_else(|| Kind::new("v1", kind));
        Key::new(kind, self.place().namespace.as_str(), name)
    }

    fn get(&self, world: &World, kind: &str, name: &str) -> Result<Object, String> {
        let found = world.get(&self.key(kind, name));
        found.map(|object| (**object).clone()).ok_or_else(|| format!("refused 404 no {kind} {name}"))
    }

    fn set(&self, revision: &str) -> Result<Key, String> {
        let name = self.replica_set(revision).ok_or_else(|| format!("no replica set {revision}"))?;
        Ok(self.key("ReplicaSet", name))
    }

    fn aimed(&self, kind: &str, name: &str, patches: Vec<Patch>) -> Vec<Action> {
        let aim = |patch| {
            let (patch, part) = match patch {
                Patch::Main(patch) => (patch, Part::Main),
                Patch::Status(patch) => (patch, Part::Status),
            };
            Action::Merge { key: self.key(kind, name), patch, part }
        };
        patches.into_iter().map(aim).collect()
    }

    /// The patches, aimed at the newest object whose normalised name contains the part.
    fn aimed_at_newest(&self, kind: &str, part: &str, patches: Vec<Patch>) -> Result<Vec<Action>, String> {
        let name = self.newest(kind, part).ok_or_else(|| format!("refused 404 no {kind} {part}"))?;
        Ok(self.aimed(kind, name, patches))
    }

    fn undo(&self, world: &World, rollout: &Object, to: Option<i64>) -> Result<Vec<Action>, String> {
        let sets: Vec<_> = world.store().of_kind(&Kind::ReplicaSet).cloned().collect();
        let template = commands::undo_template(rollout, &sets, to)?;
        let workload = rollout.rollout().and_then(|body| body.spec.spec().workload_ref.clone());
        let key = match workload {
            Some(workload) => self.key(&workload.kind, &workload.name),
            None => rollout.key(),
        };
        let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
        Ok(vec![Action::Operations { key, patch, part: Part::Main }])
    }
}
