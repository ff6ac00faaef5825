//! Secrets: read when a measurement needs them, never kept, never shown.

use std::collections::BTreeMap;
use std::fmt;

use tidegate_api::object::{Body, Object, Text};

use super::expr::bytes_of_base64;

/// What stands in place of a secret wherever one would be shown.
const MASK: &str = "*****";

/// The data of a Secret. Prints as a mask.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretData(BTreeMap<Text, Text>);

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl SecretData {
    /// What an object holds, if it is a Secret; what is no text is left out.
    pub fn of(object: &Object) -> SecretData {
        let Body::Other(document) = &object.body else { return SecretData::default() };
        let pairs = document["data"].as_object().into_iter().flatten();
        let decoded = pairs.filter_map(|(key, value)| {
            let bytes = bytes_of_base64(value.as_str()?)?;
            Some((Text::from(key.as_str()), Text::from(String::from_utf8_lossy(&bytes).as_ref())))
        });
        SecretData(decoded.collect())
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Text> {
        self.0.get(key)
    }
}

/// Secrets that must not appear in what is written or told. Prints as a mask.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Masks(Vec<Text>);

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Masks {
    /// Notes a secret.
    pub fn add(&mut self, secret: &Text) {
        if !secret.is_empty() && !self.0.contains(secret) {
            self.0.push(secret.clone());
            // A secret that contains another one goes first, or its rest would be left to be read.
            self.0.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        }
    }

    /// A text without secrets.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(&**secret, MASK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_is_read_and_never_printed() {
        let secret =
            Object::from_value(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"token": "aHVudGVyMg==", "bad": "?"}}))
            .expect("a secret");
        let data = SecretData::of(&secret);
        assert_eq!(data.get("token").map(|t| &**t), Some("hunter2"));
        assert_eq!(data.get("bad"), None);
        assert_eq!(format!("{data:?}"), MASK);
        let mut masks = Masks::default();
        for secret in ["hunter2", "", "er", "hunter2"] {
            masks.add(&secret.into());
        }
        assert_eq!(masks.hide("GET /?t=hunter2 by user"), "GET /?t=***** by us*****");
        assert_eq!(format!("{masks:?}"), MASK);
    }
}
