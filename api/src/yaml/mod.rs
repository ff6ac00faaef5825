//! Manifests as text: YAML (and so JSON) read as `kubectl` reads it, each value with its place in the file.
//!
//! A [`Document`] is a JSON value that answers where a field stands, so that whoever finds a problem later, with a
//! field path in hand, can still point at the line: see [`Document::error_at`].

mod parse;
mod scalar;
mod source;
mod source_error;

use std::sync::Arc;

use serde_json::Value;

use parse::{Inside, Node};
use source::Source;

pub use source::Span;
pub use source_error::{Severity, SourceError};

/// One document of a text.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says. Never null.
    pub value: Value,
    root: Node,
    source: Arc<Source>,
}

/// Reads every document of a text; empty ones are left out. `name` is the file's name, or `<stdin>`.
pub fn read(name: &str, text: &str) -> Result<Vec<Document>, SourceError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Arc::new(Source::new(name, text));
    if let Some(at) = text.chars().position(|c| c.is_ascii_control() && !"\t\n\r\x7f".contains(c)) {
        return Err(source.error(source.span(at, at + 1), "a control character does not belong into text"));
    }
    let documents = parse::documents(&source, text)?;
    Ok(documents.into_iter().map(|(value, root)| Document { value, root, source: source.clone() }).collect())
}

/// The objects in the documents: a `List` (or `RolloutList` and the like) stands for its items.
pub fn objects(documents: Vec<Document>) -> Vec<Document> {
    let mut found = Vec::new();
    for document in documents {
        add_objects(document.value, document.root, &document.source, &mut found);
    }
    found
}

fn add_objects(mut value: Value, mut root: Node, source: &Arc<Source>, found: &mut Vec<Document>) {
    let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    let items = match (value.get_mut("items"), &mut root.inside) {
        (Some(Value::Array(values)), Inside::Map(fields)) if is_list => match fields.get_mut("items") {
            Some(Node { inside: Inside::List(nodes), .. }) => {
                Some((std::mem::take(values), std::mem::take(nodes)))
            }
            _ => None,
        },
        _ => None,
    };
    match items {
        Some((values, nodes)) => {
            for (value, node) in values.into_iter().zip(nodes).filter(|(value, _)| !value.is_null()) {
                add_objects(value, node, source, found);
            }
        }
        None => found.push(Document { value, root, source: source.clone() }),
    }
}

impl Document {
    /// The name of the file it stands in.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The line it starts on.
    pub fn line(&self) -> usize {
        self.root.span.line
    }

    /// Where the value of a field stands, such as `spec.strategy.canary.steps[0].setWeight` or
    /// `metadata.annotations[example.com/owner]`. For a field that is not there, the key of the nearest one around
    /// it that is. None if the path has a bracket too many or too few.
    pub fn span(&self, path: &str) -> Option<Span> {
        let (node, is_exact) = self.nearest(path)?;
        Some(if is_exact { node.span } else { node.key.unwrap_or(node.span) })
    }

    /// Where the key of a field stands: for keys that should not be there. Otherwise as [`Document::span`].
    pub fn key_span(&self, path: &str) -> Option<Span> {
        let (node, _) = self.nearest(path)?;
        Some(node.key.unwrap_or(node.span))
    }

    /// A problem with the value of a field.
    pub fn error_at(&self, path: &str, message: impl Into<String>) -> SourceError {
        self.source.error(self.span(path).unwrap_or(self.root.span), message)
    }

    /// A problem with the name of a field.
    pub fn error_at_key(&self, path: &str, message: impl Into<String>) -> SourceError {
        self.source.error(self.key_span(path).unwrap_or(self.root.span), message)
    }

    fn nearest(&self, path: &str) -> Option<(&Node, bool)> {
        let mut node = &self.root;
        for name in names(path)? {
            let next = match &node.inside {
                Inside::Map(fields) => fields.get(name),
                Inside::List(items) => name.parse().ok().and_then(|at: usize| items.get(at)),
                Inside::Nothing => None,
            };
            match next {
                Some(next) => node = next,
                None => return Some((node, false)),
            }
        }
        Some((node, true))
    }
}

/// `a.b[0][c.d/e]` as `a`, `b`, `0`, `c.d/e`.
fn names(path: &str) -> Option<Vec<&str>> {
    let (mut names, mut rest) = (Vec::new(), path);
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (name, after) = inner.split_once(']')?;
            names.push(name.trim_matches(['"', '\'']));
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.contains(']') {
                return None;
            }
            names.push(name);
            rest = after.strip_prefix('.').unwrap_or(after);
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests;
