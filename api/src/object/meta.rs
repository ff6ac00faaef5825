//! Metadata of an object, typed where decisions read it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Kind, Strings, Text};
use crate::time::Stamp;

/// Where an object lives. The namespace is empty for cluster-wide kinds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// The namespace.
    pub namespace: Text,
    /// The name.
    pub name: Text,
}

impl Key {
    /// The key of an object of this kind in a namespace.
    pub fn new(kind: Kind, namespace: impl Into<Text>, name: impl Into<Text>) -> Key {
        Key { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.name(), self.namespace, self.name)
    }
}

/// An owner of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnerRef {
    /// `apiVersion` of the owner.
    pub api_version: Text,
    /// Kind of the owner.
    pub kind: Text,
    /// Name of the owner.
    pub name: Text,
    /// Identity of the owner.
    pub uid: Text,
    /// Whether this owner is the one controller.
    pub controller: bool,
    /// Whether a foreground deletion of the owner waits for this object.
    pub block_owner_deletion: bool,
}

/// Metadata of an object.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Meta {
    /// Name, unique for the kind in the namespace.
    pub name: Text,
    /// Namespace; empty for cluster-wide kinds.
    pub namespace: Text,
    /// Identity over the life of the object; empty before it was stored.
    pub uid: Text,
    /// Version of the stored object; 0 before it was stored.
    pub resource_version: u64,
    /// Counts changes of the specification; 0 before it was stored.
    pub generation: i64,
    /// When it was stored first.
    pub created: Option<Stamp>,
    /// When it was asked to go away.
    pub deleting: Option<Stamp>,
    /// Labels.
    pub labels: Strings,
    /// Annotations.
    pub annotations: Strings,
    /// Owners.
    pub owners: Vec<OwnerRef>,
    /// What must happen before it may go away.
    pub finalizers: Vec<Text>,
    /// Everything else, verbatim.
    pub rest: Option<Arc<Map<String, Value>>>,
}

impl Meta {
    /// The one owner that controls this object.
    pub fn controller(&self) -> Option<&OwnerRef> {
        self.owners.iter().find(|owner| owner.controller)
    }

    pub(super) fn from_value(value: Value) -> Result<Meta, String> {
        let mut map = match value {
            Value::Null => Map::new(),
            Value::Object(map) => map,
            _ => return Err("metadata must be a mapping".to_owned()),
        };
        let mut text = |field: &str| match map.remove(field) {
            None | Some(Value::Null) => Ok(Text::default()),
            Some(Value::String(text)) => Ok(Text::from(text)),
            Some(_) => Err(format!("metadata.{field} must be text")),
        };
        let (name, namespace, uid) = (text("name")?, text("namespace")?, text("uid")?);
        let resource_version = text("resourceVersion")?;
        let resource_version = match &*resource_version {
            "" => 0,
            digits => {
                digits.parse().map_err(|_| format!("metadata.resourceVersion `{digits}` is not a number"))?
            }
        };
        let mut stamp = |field: &str| match text(field)? {
            empty if empty.is_empty() => Ok(None),
            text => Stamp::parse(&text)
                .map(Some)
                .ok_or_else(|| format!("metadata.{field} `{text}` is not a time")),
        };
        let (created, deleting) = (stamp("creationTimestamp")?, stamp("deletionTimestamp")?);
        let mut meta = Meta { name, namespace, uid, resource_version, created, deleting, ..Meta::default() };
        if let Some(generation) = map.remove("generation") {
            meta.generation = generation.as_i64().ok_or("metadata.generation must be a whole number")?;
        }
        if let Some(labels) = map.remove("labels") {
            meta.labels = Strings::from_value(&labels, "metadata.labels")?;
        }
        if let Some(annotations) = map.remove("annotations") {
            meta.annotations = Strings::from_value(&annotations, "metadata.annotations")?;
        }
        if let Some(owners) = map.remove("ownerReferences") {
            let Value::Array(owners) = owners else {
                return Err("metadata.ownerReferences must be a list".to_owned());
            };
            meta.owners = owners.iter().map(OwnerRef::from_value).collect::<Result<_, _>>()?;
        }
        if let Some(finalizers) = map.remove("finalizers") {
            let Value::Array(all) = finalizers else {
                return Err("metadata.finalizers must be a list".to_owned());
            };
            let text =
                |v: &Value| v.as_str().map(Text::from).ok_or("metadata.finalizers must be text".to_owned());
            meta.finalizers = all.iter().map(text).collect::<Result<_, _>>()?;
        }
        meta.rest = (!map.is_empty()).then(|| Arc::new(map));
        Ok(meta)
    }

    pub(super) fn to_value(&self) -> Value {
        let mut map = self.rest.as_deref().cloned().unwrap_or_default();
        let mut put = |field: &str, value: Value| map.insert(field.to_owned(), value);
        for (field, text) in [("name", &self.name), ("namespace", &self.namespace), ("uid", &self.uid)] {
            if !text.is_empty() {
                put(field, Value::from(&**text));
            }
        }
        if self.resource_version != 0 {
            put("resourceVersion", Value::from(self.resource_version.to_string()));
        }
        if self.generation != 0 {
            put("generation", Value::from(self.generation));
        }
        for (field, stamp) in [("creationTimestamp", self.created), ("deletionTimestamp", self.deleting)] {
            if let Some(stamp) = stamp {
                put(field, Value::from(stamp.to_string()));
            }
        }
        for (field, strings) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !strings.is_empty() {
                put(field, strings.to_value());
            }
        }
        if !self.owners.is_empty() {
            put("ownerReferences", Value::Array(self.owners.iter().map(OwnerRef::to_value).collect()));
        }
        if !self.finalizers.is_empty() {
            put("finalizers", Value::Array(self.finalizers.iter().map(|f| Value::from(&**f)).collect()));
        }
        Value::Object(map)
    }
}

impl OwnerRef {
    fn from_value(value: &Value) -> Result<OwnerRef, String> {
        let text = |field: &str| {
            value[field]
                .as_str()
                .map(Text::from)
                .ok_or_else(|| format!("metadata.ownerReferences: {field} must be text"))
        };
        Ok(OwnerRef {
            api_version: text("apiVersion")?,
            kind: text("kind")?,
            name: text("name")?,
            uid: text("uid")?,
            controller: value["controller"].as_bool().unwrap_or(false),
            block_owner_deletion: value["blockOwnerDeletion"].as_bool().unwrap_or(false),
        })
    }

    /// The reference as JSON.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"apiVersion": &*self.api_version, "kind": &*self.kind, "name": &*self.name, "uid": &*self.uid});
        if self.controller {
            value["controller"] = Value::Bool(true);
        }
        if self.block_owner_deletion {
            value["blockOwnerDeletion"] = Value::Bool(true);
        }
        value
    }
}
