//! A pod template: verbatim, with its labels and annotations at hand.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::{Strings, Text, Verbatim};

/// A pod template, shared between the objects that carry it.
///
/// What does not change between the templates of one revision (`spec`) is shared; metadata is typed because hash
/// labels and role metadata are written into it all the time.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Labels of the pods.
    pub labels: Strings,
    /// Annotations of the pods.
    pub annotations: Strings,
    /// Other fields of `metadata`, verbatim.
    pub meta_rest: Option<Arc<Map<String, Value>>>,
    /// `spec`, verbatim; null when absent.
    pub spec: Verbatim,
    /// Fields beside `metadata` and `spec`, verbatim.
    pub rest: Option<Arc<Map<String, Value>>>,
    has_metadata: bool,
    hash: Arc<OnceLock<Text>>,
}

impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.labels == other.labels
            && self.annotations == other.annotations
            && self.spec == other.spec
            && self.meta_rest == other.meta_rest
            && self.rest == other.rest
    }
}

impl Template {
    /// Reads a pod template; `what` is its field path, used in errors.
    pub fn from_value(value: Value, what: &str) -> Result<Template, String> {
        let mut map = match value {
            Value::Null => Map::new(),
            Value::Object(map) => map,
            _ => return Err(format!("{what} must be a mapping")),
        };
        let mut template = Template { has_metadata: map.contains_key("metadata"), ..Template::default() };
        match map.remove("metadata") {
            None | Some(Value::Null) => {}
            Some(Value::Object(mut meta)) => {
                if let Some(labels) = meta.remove("labels") {
                    template.labels = Strings::from_value(&labels, &format!("{what}.metadata.labels"))?;
                }
                if let Some(annotations) = meta.remove("annotations") {
                    template.annotations =
                        Strings::from_value(&annotations, &format!("{what}.metadata.annotations"))?;
                }
                template.meta_rest = (!meta.is_empty()).then(|| Arc::new(meta));
            }
            Some(_) => return Err(format!("{what}.metadata must be a mapping")),
        }
        template.spec = Verbatim::new(map.remove("spec").unwrap_or(Value::Null));
        template.rest = (!map.is_empty()).then(|| Arc::new(map));
        Ok(template)
    }

    /// The template as JSON.
    pub fn to_value(&self) -> Value {
        let mut map = self.rest.as_deref().cloned().unwrap_or_default();
        let mut meta = self.meta_rest.as_deref().cloned().unwrap_or_default();
        for (field, strings) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !strings.is_empty() {
                meta.insert(field.to_owned(), strings.to_value());
            }
        }
        if self.has_metadata || !meta.is_empty() {
            map.insert("metadata".to_owned(), Value::Object(meta));
        }
        if !self.spec.is_null() {
            map.insert("spec".to_owned(), self.spec.value().into_owned());
        }
        Value::Object(map)
    }

    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
            && self.annotations.is_empty()
            && self.spec.is_null()
            && self.meta_rest.is_none()
            && self.rest.is_none()
    }

    /// A copy with other labels, annotations or spec; what was computed from the old content is forgotten.
    pub fn with(&self, change: impl FnOnce(&mut Template)) -> Template {
        let mut copy = Template { hash: Arc::default(), ..self.clone() };
        change(&mut copy);
        copy
    }

    /// A value computed from the content once and shared by all copies (the pod-template hash).
    pub fn remembered(&self, compute: impl FnOnce() -> Text) -> Text {
        self.hash.get_or_init(compute).clone()
    }
}
