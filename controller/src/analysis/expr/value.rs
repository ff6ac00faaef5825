//! What an expression computes with.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A list or a map that knows how large and how deep it is. Parts are shared, so that a short expression could make a value
/// that is endless to whoever walks through it.
#[derive(Clone, PartialEq, Debug)]
pub struct Weighed<T> {
    inner: T,
    weight: usize,
    depth: usize,
}

impl<T> std::ops::Deref for Weighed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> Weighed<T> {
    fn new(inner: T, parts: impl Fn(&T) -> Vec<&Value>) -> Weighed<T> {
        let (mut weight, mut depth) = (1_usize, 0);
        for part in parts(&inner) {
            weight = weight.saturating_add(part.weight());
            depth = depth.max(part.depth());
        }
        Weighed { inner, weight, depth: depth + 1 }
    }
}

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any number.
    Float(f64),
    /// A text.
    Text(Arc<str>),
    /// A list of which it is known beforehand that it holds numbers only.
    Numbers(Arc<Vec<f64>>),
    /// A list of anything.
    List(Arc<Weighed<Vec<Value>>>),
    /// Values by name.
    Map(Arc<Weighed<BTreeMap<Arc<str>, Value>>>),
    /// An instant, in nanoseconds since 1970.
    Time(i128),
    /// A span of time in nanoseconds.
    Duration(i64),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(text.into())
    }

    /// A list of anything.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Arc::new(Weighed::new(items, |items| items.iter().collect())))
    }

    /// A list of numbers.
    pub fn numbers(items: impl IntoIterator<Item = f64>) -> Value {
        Value::Numbers(Arc::new(items.into_iter().collect()))
    }

    /// A value of a JSON document, of which every number is a float.
    pub fn from_json(json: &serde_json::Value) -> Value {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Nil,
            Json::Bool(truth) => Value::Bool(*truth),
            Json::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Value::text(text.as_str()),
            Json::Array(items) => Value::list(items.iter().map(Value::from_json).collect()),
            Json::Object(map) => {
                Value::map(map.iter().map(|(key, value)| (key.as_str().into(), Value::from_json(value))))
            }
        }
    }

    /// Values by name.
    pub fn map(pairs: impl IntoIterator<Item = (Arc<str>, Value)>) -> Value {
        Value::Map(Arc::new(Weighed::new(pairs.into_iter().collect(), |map: &BTreeMap<_, _>| {
            map.values().collect()
        })))
    }

    /// How much work it is to walk through it.
    pub(super) fn weight(&self) -> usize {
        match self {
            Value::Text(text) => 1 + text.len() / 64,
            Value::Numbers(items) => 1 + items.len(),
            Value::List(items) => items.weight,
            Value::Map(map) => map.weight,
            _ => 1,
        }
    }

    /// How deep it is nested.
    pub(super) fn depth(&self) -> usize {
        match self {
            Value::List(items) => items.depth,
            Value::Map(map) => map.depth,
            _ => 0,
        }
    }

    /// The name of its type in the reference's language.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Numbers(_) => "[]float64",
            Value::List(_) => "[]interface {}",
            Value::Map(_) => "map[string]interface {}",
            Value::Time(_) => "time.Time",
            Value::Duration(_) => "time.Duration",
        }
    }

    /// Whether it holds nothing at all: a condition about it cannot be judged.
    pub fn is_nil_or_empty_list(&self) -> bool {
        match self {
            Value::Nil => true,
            Value::Numbers(items) => items.is_empty(),
            Value::List(items) => items.is_empty(),
            _ => false,
        }
    }

    /// The entries of a list.
    pub(super) fn items(&self) -> Option<Vec<Value>> {
        match self {
            Value::Numbers(items) => Some(items.iter().map(|number| Value::Float(*number)).collect()),
            Value::List(items) => Some((***items).to_vec()),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Equality of the language: numbers of any kind are compared, values of different kinds differ.
    pub(super) fn equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
                self.number() == other.number()
            }
            (Value::Numbers(_) | Value::List(_), Value::Numbers(_) | Value::List(_)) => {
                let (a, b) = (self.items().unwrap_or_default(), other.items().unwrap_or_default());
                a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.equals(b))
            }
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b.iter()).all(|((k, v), (other, w))| k == other && v.equals(w))
            }
            (a, b) => a == b,
        }
    }
}
