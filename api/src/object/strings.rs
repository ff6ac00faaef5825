//! Shared text and shared maps of text: labels, annotations, selectors.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Text that is copied by counting, not by copying.
pub type Text = Arc<str>;

/// A map from text to text that is shared until it is changed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Strings(Option<Arc<BTreeMap<Text, Text>>>);

impl Strings {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Text> {
        self.0.as_ref()?.get(key)
    }

    /// Sets a key.
    pub fn set(&mut self, key: &str, value: impl Into<Text>) {
        Arc::make_mut(self.0.get_or_insert_default()).insert(key.into(), value.into());
    }

    /// Removes a key; says whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(map) = &mut self.0 else { return false };
        if !map.contains_key(key) {
            return false;
        }
        let map = Arc::make_mut(map);
        map.remove(key);
        if map.is_empty() {
            self.0 = None;
        }
        true
    }

    /// Every pair, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Text)> {
        self.0.iter().flat_map(|map| map.iter())
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |map| map.len())
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a mapping of text to text; `what` names it in the error. Null is the empty map.
    pub fn from_value(value: &Value, what: &str) -> Result<Strings, String> {
        let map = match value {
            Value::Null => return Ok(Strings::default()),
            Value::Object(map) => map,
            _ => return Err(format!("{what} must be a mapping of text to text")),
        };
        let mut strings = Strings::default();
        for (key, value) in map {
            match value {
                Value::String(text) => strings.set(key, text.as_str()),
                _ => return Err(format!("{what}[{key}] must be text")),
            }
        }
        Ok(strings)
    }

    /// The map as JSON.
    pub fn to_value(&self) -> Value {
        Value::Object(self.iter().map(|(k, v)| (k.to_string(), Value::from(&**v))).collect::<Map<_, _>>())
    }
}

impl<K: Into<Text>, V: Into<Text>> FromIterator<(K, V)> for Strings {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Strings {
        let map: BTreeMap<Text, Text> = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Strings((!map.is_empty()).then(|| Arc::new(map)))
    }
}
