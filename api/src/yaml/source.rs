//! The lines of a text, and places in them.

use std::sync::Arc;

use super::source_error::{Severity, SourceError};

/// A place in a text: line and column from one, in characters; never longer than its line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// How many characters, at least 1.
    pub length: usize,
}

/// A text with its name, cut into lines.
#[derive(Debug)]
pub(super) struct Source {
    pub name: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// The index of its first character in the text.
    start: usize,
    /// Its characters without the line break.
    length: usize,
    text: Arc<str>,
}

impl Source {
    /// Lines end as YAML's do: with `\n`, `\r\n` or `\r`.
    pub fn new(name: &str, text: &str) -> Source {
        let (mut lines, mut start, mut rest) = (Vec::new(), 0, text);
        loop {
            let end = rest.find(['\n', '\r']);
            let line = &rest[..end.unwrap_or(rest.len())];
            let length = line.chars().count();
            lines.push(Line { start, length, text: line.into() });
            let Some(end) = end else { break };
            let ending = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
            start += length + ending;
            rest = &rest[end + ending..];
        }
        Source { name: name.to_owned(), lines }
    }

    /// The place of the characters from `start` to `end`, as far as they stand on one line.
    pub fn span(&self, start: usize, end: usize) -> Span {
        let at = self.lines.partition_point(|line| line.start <= start).saturating_sub(1);
        let Line { start: line_start, length, .. } = self.lines[at];
        let column = (start - line_start).min(length);
        let end = end.saturating_sub(line_start).min(length);
        Span { line: at + 1, column: column + 1, length: end.saturating_sub(column).max(1) }
    }

    pub fn error(&self, at: Span, message: impl Into<String>) -> SourceError {
        SourceError {
            severity: Severity::Error,
            name: self.name.clone(),
            line: at.line,
            column: at.column,
            length: at.length,
            message: message.into(),
            help: None,
            source_line: self.lines.get(at.line - 1).map_or_else(|| "".into(), |line| line.text.clone()),
        }
    }
}
