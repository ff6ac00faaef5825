//! Label selectors.

use std::sync::Arc;

use serde_json::Value;

use super::{Strings, Text};

/// A label selector, kept verbatim beside what it means.
#[derive(Clone, PartialEq, Debug)]
pub struct Selector {
    /// As the user wrote it.
    pub raw: Arc<Value>,
    /// Labels that must have exactly these values.
    pub labels: Strings,
    /// Further requirements.
    pub requirements: Vec<Requirement>,
    broken: bool,
}

/// One requirement of `matchExpressions`.
#[derive(Clone, PartialEq, Debug)]
pub enum Requirement {
    /// The label has one of the values.
    In(Text, Vec<Text>),
    /// The label is absent or has none of the values.
    NotIn(Text, Vec<Text>),
    /// The label is there.
    Exists(Text),
    /// The label is absent.
    DoesNotExist(Text),
}

impl Selector {
    /// Reads a `LabelSelector`. What cannot be understood makes a selector that matches nothing and prints `<error>`.
    pub fn from_value(raw: Arc<Value>) -> Selector {
        let mut broken = false;
        let labels = Strings::from_value(&raw["matchLabels"], "matchLabels").unwrap_or_else(|_| {
            broken = true;
            Strings::default()
        });
        let mut requirements = Vec::new();
        for expression in raw["matchExpressions"].as_array().into_iter().flatten() {
            match Requirement::from_value(expression) {
                Some(requirement) => requirements.push(requirement),
                None => broken = true,
            }
        }
        Selector { raw, labels, requirements, broken }
    }

    /// Whether an object with these labels is selected. The empty selector selects nothing here: every selector
    /// that tidegate reads belongs to a workload, for which Kubernetes forbids it.
    pub fn matches(&self, labels: &Strings) -> bool {
        !self.broken
            && !self.is_empty()
            && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.requirements.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether it requires nothing.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.requirements.is_empty()
    }

    /// The selector as text, as `status.selector` carries it: sorted by key, joined by commas;
    /// `<none>` when empty, `<error>` when it cannot be understood.
    pub fn text(&self) -> String {
        self.text_with(None)
    }

    /// The same with one more label that must match.
    pub fn text_with(&self, more: Option<(&str, &str)>) -> String {
        if self.broken {
            return "<error>".to_owned();
        }
        let mut parts: Vec<(String, String)> =
            self.labels.iter().map(|(k, v)| (k.to_string(), format!("{k}={v}"))).collect();
        if let Some((key, value)) = more {
            parts.retain(|(k, _)| k != key);
            parts.push((key.to_owned(), format!("{key}={value}")));
        }
        parts.extend(self.requirements.iter().map(|r| (r.key().to_string(), r.text())));
        parts.sort();
        match parts.is_empty() {
            true => "<none>".to_owned(),
            false => parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(","),
        }
    }
}

impl Requirement {
    fn from_value(value: &Value) -> Option<Requirement> {
        let key = Text::from(value["key"].as_str()?);
        let mut values = Vec::new();
        for item in value["values"].as_array().into_iter().flatten() {
            values.push(Text::from(item.as_str()?));
        }
        values.sort();
        match value["operator"].as_str()? {
            "In" if !values.is_empty() => Some(Requirement::In(key, values)),
            "NotIn" if !values.is_empty() => Some(Requirement::NotIn(key, values)),
            "Exists" if values.is_empty() => Some(Requirement::Exists(key)),
            "DoesNotExist" if values.is_empty() => Some(Requirement::DoesNotExist(key)),
            _ => None,
        }
    }

    fn key(&self) -> &Text {
        match self {
            Requirement::In(key, _) | Requirement::NotIn(key, _) => key,
            Requirement::Exists(key) | Requirement::DoesNotExist(key) => key,
        }
    }

    fn holds(&self, labels: &Strings) -> bool {
        match self {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.get(key).is_some(),
            Requirement::DoesNotExist(key) => labels.get(key).is_none(),
        }
    }

    fn text(&self) -> String {
        match self {
            Requirement::In(key, values) => format!("{key} in ({})", values.join(",")),
            Requirement::NotIn(key, values) => format!("{key} notin ({})", values.join(",")),
            Requirement::Exists(key) => key.to_string(),
            Requirement::DoesNotExist(key) => format!("!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_print_sorted_by_key() {
        let selector = Selector::from_value(Arc::new(json!({
            "matchLabels": {"z": "1", "b": "2"},
            "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}, {"key": "a", "operator": "DoesNotExist"}]
        })));
        assert_eq!(selector.text(), "!a,b=2,c in (x,y),z=1");
        assert_eq!(selector.text_with(Some(("h", "1"))), "!a,b=2,c in (x,y),h=1,z=1");
        let labels: Strings = [("z", "1"), ("b", "2"), ("c", "x")].into_iter().collect();
        assert!(selector.matches(&labels));
    }

    #[test]
    fn what_cannot_be_understood_matches_nothing() {
        let selector =
            Selector::from_value(Arc::new(json!({"matchExpressions": [{"key": "a", "operator": "Near"}]})));
        assert_eq!(selector.text(), "<error>");
        assert!(!selector.matches(&Strings::default()));
        assert_eq!(Selector::from_value(Arc::new(json!({}))).text(), "<none>");
    }
}
