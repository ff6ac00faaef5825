//! A part of a document that is kept to the letter and hardly ever read.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

/// A part of a document, verbatim: as a tree where it is read all the time (the simulator), as text in the cache of a
/// real cluster, where the tree of a pod's specification takes ten times the room and thousands of them are held.
#[derive(Clone, Debug)]
pub struct Verbatim(Form);

#[derive(Clone, Debug)]
enum Form {
    Tree(Arc<Value>),
    /// What a serializer has written, so it can be read.
    Text(Arc<str>),
}

impl Verbatim {
    /// Kept as a tree.
    pub fn new(value: Value) -> Verbatim {
        Verbatim(Form::Tree(Arc::new(value)))
    }

    /// Kept as text; for text that is no JSON there is only null.
    pub fn from_text(text: impl Into<Arc<str>>) -> Verbatim {
        Verbatim(Form::Text(text.into()))
    }

    /// What it says. Text is read anew each time.
    pub fn value(&self) -> Cow<'_, Value> {
        match &self.0 {
            Form::Tree(value) => Cow::Borrowed(value),
            Form::Text(text) => Cow::Owned(serde_json::from_str(text).unwrap_or(Value::Null)),
        }
    }

    /// What it says, to be shared.
    pub fn tree(&self) -> Arc<Value> {
        match &self.0 {
            Form::Tree(value) => value.clone(),
            Form::Text(_) => Arc::new(self.value().into_owned()),
        }
    }

    /// The same, kept as text.
    pub fn packed(&self) -> Verbatim {
        match &self.0 {
            Form::Tree(value) => Verbatim::from_text(value.to_string()),
            Form::Text(_) => self.clone(),
        }
    }

    /// Whether it is null, or absent.
    pub fn is_null(&self) -> bool {
        match &self.0 {
            Form::Tree(value) => value.is_null(),
            Form::Text(text) => &**text == "null",
        }
    }

    /// Whether both are one and the same, without a look at what they say.
    pub fn is_shared_with(&self, other: &Verbatim) -> bool {
        match (&self.0, &other.0) {
            (Form::Tree(a), Form::Tree(b)) => Arc::ptr_eq(a, b),
            (Form::Text(a), Form::Text(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Default for Verbatim {
    fn default() -> Verbatim {
        Verbatim::new(Value::Null)
    }
}

impl PartialEq for Verbatim {
    fn eq(&self, other: &Verbatim) -> bool {
        let same_text = matches!((&self.0, &other.0), (Form::Text(a), Form::Text(b)) if a == b);
        same_text || self.is_shared_with(other) || self.value() == other.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_says_what_the_tree_says() {
        let tree = Verbatim::new(json!({"b": [1, null], "a": "x"}));
        let text = Verbatim::from_text(r#"{"b": [1, null], "a": "x"}"#);
        assert_eq!(tree, text);
        assert_eq!(*tree.packed().value(), json!({"a": "x", "b": [1, null]}));
        assert_eq!(tree.packed(), text, "other text, the same meaning");
        assert!(!tree.packed().is_shared_with(&tree) && tree.is_shared_with(&tree.clone()));
        assert_ne!(text, Verbatim::from_text("{}"));
        assert!(Verbatim::from_text("null").is_null() && Verbatim::default().is_null() && !text.is_null());
    }
}
