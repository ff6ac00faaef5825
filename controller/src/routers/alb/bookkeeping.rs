//! Which annotations of an Ingress belong to which Rollout, as the Ingress itself notes it.

use serde_json::{Map, Value};
use tidegate_api::object::Object;

use super::super::document::annotate;

/// The annotation: a mapping from a Rollout's name to its annotations.
pub(super) const KEY: &str = "rollouts.argoproj.io/managed-alb-annotations";
/// What earlier versions of the reference wrote; only ever removed.
pub(super) const LEGACY: &str = "rollouts.argoproj.io/managed-alb-actions";

/// The annotation, to be edited. Entries of other Rollouts stay as they are.
pub(super) struct Bookkeeping {
    rollouts: Map<String, Value>,
}

impl Bookkeeping {
    pub fn read(object: &Object) -> Result<Bookkeeping, String> {
        let Some(text) = object.meta.annotations.get(KEY) else {
            return Ok(Bookkeeping { rollouts: Map::new() });
        };
        match serde_json::from_str(text) {
            Ok(Value::Object(rollouts)) if rollouts.values().all(is_list_of_text) => {
                Ok(Bookkeeping { rollouts })
            }
            Ok(_) => Err("not a mapping of names to lists of annotations".to_owned()),
            Err(error) => Err(format!("invalid JSON: {error}")),
        }
    }

    pub fn rollouts(&self) -> impl Iterator<Item = &str> {
        self.rollouts.keys().map(String::as_str)
    }

    pub fn keys(&self, rollout: &str) -> Vec<String> {
        let keys = self.rollouts.get(rollout).and_then(Value::as_array).into_iter().flatten();
        keys.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub fn add(&mut self, rollout: &str, key: &str) {
        if self.keys(rollout).iter().any(|known| known == key) {
            return;
        }
        let entry = self.rollouts.entry(rollout).or_insert(Value::Null);
        match entry {
            Value::Array(keys) => keys.push(Value::from(key)),
            _ => *entry = Value::from(vec![key]),
        }
    }

    pub fn remove(&mut self, rollout: &str, key: &str) {
        if let Some(Value::Array(keys)) = self.rollouts.get_mut(rollout) {
            keys.retain(|known| known != key);
        }
    }

    pub fn forget(&mut self, rollout: &str) {
        self.rollouts.remove(rollout);
    }

    /// Writes it back; nothing is left of it when no Rollout is.
    pub fn write(self, document: &mut Value) {
        let text = (!self.rollouts.is_empty()).then(|| Value::Object(self.rollouts).to_string());
        annotate(document, KEY, text.as_deref());
    }
}

fn is_list_of_text(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}
