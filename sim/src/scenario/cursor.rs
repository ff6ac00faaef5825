//! A value in a document, and where it stands: whoever reads it can point at it.

use serde_json::{Map, Value};
use tidegate_api::duration::GoDuration;
use tidegate_api::time::Span;
use tidegate_api::yaml::{Document, SourceError};

pub(super) type Read<T> = Result<T, SourceError>;

/// One value of a document.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    pub document: &'a Document,
    pub path: String,
    pub value: &'a Value,
}

impl<'a> Cursor<'a> {
    pub fn root(document: &'a Document) -> Cursor<'a> {
        Cursor { document, path: String::new(), value: &document.value }
    }

    pub fn wrong<T>(&self, message: impl Into<String>) -> Read<T> {
        Err(self.document.error_at(&self.path, message))
    }

    pub fn wrong_key<T>(&self, message: impl Into<String>) -> Read<T> {
        Err(self.document.error_at_key(&self.path, message))
    }

    pub fn line(&self) -> usize {
        self.document.span(&self.path).map_or(self.document.line(), |span| span.line)
    }

    /// The line of the key that this is the value of.
    pub fn key_line(&self) -> usize {
        self.document.key_span(&self.path).map_or(self.document.line(), |span| span.line)
    }

    pub fn map(&self) -> Read<&'a Map<String, Value>> {
        match self.value {
            Value::Object(map) => Ok(map),
            _ => self.wrong("this must be a mapping"),
        }
    }

    /// The fields of a mapping that has no other keys than these.
    pub fn fields(&self, known: &[&str]) -> Read<()> {
        for (name, field) in self.entries()? {
            if !known.contains(&name) {
                let error = field.document.error_at_key(&field.path, format!("unknown key `{name}`"));
                return Err(error.with_help(format!("known here: {}", known.join(", "))));
            }
        }
        Ok(())
    }

    pub fn entries(&self) -> Read<Vec<(&'a str, Cursor<'a>)>> {
        Ok(self.map()?.iter().map(|(name, value)| (name.as_str(), self.below(name, value))).collect())
    }

    fn below(&self, name: &str, value: &'a Value) -> Cursor<'a> {
        Cursor { document: self.document, path: format!("{}[{name}]", self.path), value }
    }

    /// A field, unless it is absent or null.
    pub fn get(&self, name: &str) -> Option<Cursor<'a>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(self.below(name, value))
    }

    pub fn need(&self, name: &str) -> Read<Cursor<'a>> {
        match self.get(name) {
            Some(field) => Ok(field),
            None => self.wrong_key(format!("`{name}` is missing here")),
        }
    }

    pub fn items(&self) -> Read<Vec<Cursor<'a>>> {
        let Value::Array(items) = self.value else { return self.wrong("this must be a list") };
        Ok(items.iter().enumerate().map(|(at, value)| self.below(&at.to_string(), value)).collect())
    }

    pub fn text(&self) -> Read<&'a str> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => self.wrong("this must be text"),
        }
    }

    pub fn owned(&self) -> Read<String> {
        self.text().map(str::to_owned)
    }

    pub fn number(&self) -> Read<i64> {
        self.value.as_i64().map_or_else(|| self.wrong("this must be a whole number"), Ok)
    }

    pub fn flag(&self) -> Read<bool> {
        self.value.as_bool().map_or_else(|| self.wrong("this must be true or false"), Ok)
    }

    /// A duration such as `90s` or `1h30m`; a number alone counts seconds.
    /// The one subresource that can be meant.
    pub fn is_status(&self) -> Read<bool> {
        match self.text()? {
            "status" => Ok(true),
            _ => self.wrong("the only subresource that is written to is `status`"),
        }
    }

    pub fn span(&self) -> Read<Span> {
        let parsed = match self.value {
            Value::Number(number) => number.as_i64().map(Span::seconds),
            Value::String(text) => parse_span(text),
            _ => None,
        };
        match parsed.filter(|span| span.0 >= 0) {
            Some(span) => Ok(span),
            None => self.wrong("this must be a duration such as 90s or 1h30m"),
        }
    }

    /// A range of durations such as `2s..8s`; a single one is exact.
    pub fn millis(&self) -> Read<(i64, i64)> {
        let Some((low, high)) = self.value.as_str().and_then(|text| text.split_once("..")) else {
            return self.span().map(|span| (span.0, span.0));
        };
        match (parse_span(low.trim()), parse_span(high.trim())) {
            (Some(low), Some(high)) if 0 <= low.0 && low.0 <= high.0 => Ok((low.0, high.0)),
            _ => self.wrong("this must be a range of durations such as 2s..8s, the shorter one first"),
        }
    }
}

pub(super) fn parse_span(text: &str) -> Option<Span> {
    GoDuration::parse(text).ok().map(|duration| Span::millis(duration.nanos() / 1_000_000))
}
