//! Shared text and shared maps of text: labels, annotations, selectors.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Text that is copied by counting, not by copying.
pub type Text = Arc<str>;

/// A map from text to text that is shared until it is changed. Few pairs in the order of their keys: a tree would take
/// several times the room, and each object of a cluster has two.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Strings(Option<Arc<Vec<(Text, Text)>>>);

impl Strings {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Text> {
        let pairs = self.0.as_ref()?;
        Some(&pairs[find(pairs, key).ok()?].1)
    }

    /// Sets a key.
    pub fn set(&mut self, key: &str, value: impl Into<Text>) {
        let pairs = Arc::make_mut(self.0.get_or_insert_default());
        match find(pairs, key) {
            Ok(at) => pairs[at].1 = value.into(),
            Err(at) => pairs.insert(at, (key.into(), value.into())),
        }
    }

    /// Removes a key; says whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(pairs) = &mut self.0 else { return false };
        let Ok(at) = find(pairs, key) else { return false };
        let pairs = Arc::make_mut(pairs);
        pairs.remove(at);
        if pairs.is_empty() {
            self.0 = None;
        }
        true
    }

    /// Every pair, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Text)> {
        self.0.iter().flat_map(|pairs| pairs.iter().map(|(key, value)| (key, value)))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |pairs| pairs.len())
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
        let pairs = map.iter().map(|(key, value)| match value {
            Value::String(text) => Ok((key.as_str(), text.as_str())),
            _ => Err(format!("{what}[{key}] must be text")),
        });
        pairs.collect()
    }

    /// The map as JSON.
    pub fn to_value(&self) -> Value {
        Value::Object(self.iter().map(|(k, v)| (k.to_string(), Value::from(&**v))).collect::<Map<_, _>>())
    }
}

impl<K: Into<Text>, V: Into<Text>> FromIterator<(K, V)> for Strings {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Strings {
        let map: BTreeMap<Text, Text> = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Strings((!map.is_empty()).then(|| Arc::new(map.into_iter().collect())))
    }
}

fn find(pairs: &[(Text, Text)], key: &str) -> Result<usize, usize> {
    pairs.binary_search_by(|(known, _)| (**known).cmp(key))
}
