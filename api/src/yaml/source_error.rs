//! A problem at a place in a file, shown with an excerpt and a caret.

use std::fmt::{self, Write};
use std::sync::Arc;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Severity {
    /// Worth a look; nothing is refused.
    Warning,
    /// Refused.
    #[default]
    Error,
}

/// A problem at a place in a file. Lines and columns count from one, in characters; line 0 is the file as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceError {
    /// Error or warning.
    pub severity: Severity,
    /// The file's name, or `<stdin>`.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters the caret underlines.
    pub length: usize,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line as it stands in the file.
    pub source_line: Arc<str>,
}

/// A tab is shown as this many spaces.
const TAB: usize = 4;
/// An excerpt is at most this many terminal columns wide.
const WIDEST: usize = 100;

impl SourceError {
    /// The same problem with advice.
    pub fn with_help(mut self, help: impl Into<String>) -> SourceError {
        self.help = Some(help.into());
        self
    }

    /// The same problem, as a warning.
    pub fn as_warning(mut self) -> SourceError {
        self.severity = Severity::Warning;
        self
    }

    /// The problem with its excerpt, as several lines of text, each ended by a newline.
    pub fn render(&self, color: bool) -> String {
        let ink = |code: &'static str| if color { code } else { "" };
        let (strong, gutter, end) = (ink("\x1b[1m"), ink("\x1b[1;34m"), ink("\x1b[0m"));
        let (word, alarm) = match self.severity {
            Severity::Error => ("error", ink("\x1b[1;31m")),
            Severity::Warning => ("warning", ink("\x1b[1;33m")),
        };
        let mut out = String::new();
        let number = self.line.to_string();
        let pad = " ".repeat(number.len());
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{alarm}{word}{end}{strong}: {}{end}", printable(&self.message));
        if self.line == 0 {
            let _ = writeln!(out, "{pad}{gutter}-->{end} {}", printable(&self.name));
        } else {
            let excerpt = Excerpt::of(&self.source_line, self.column, self.length);
            let carets = "^".repeat(excerpt.width);
            let _ = writeln!(
                out,
                "{pad}{gutter}-->{end} {}:{}:{}",
                printable(&self.name),
                self.line,
                self.column
            );
            let _ = writeln!(out, "{pad} {gutter}|{end}");
            let _ = writeln!(out, "{}", format!("{gutter}{number} |{end} {}", excerpt.text).trim_end());
            let _ = writeln!(out, "{pad} {gutter}|{end} {}{alarm}{carets}{end}", " ".repeat(excerpt.before));
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "{pad} {gutter}={end} {strong}help{end}: {}", printable(help));
        }
        out
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.name, self.message),
            _ => write!(f, "{}:{}:{}: {}", self.name, self.line, self.column, self.message),
        }
    }
}

impl std::error::Error for SourceError {}

/// The part of a line that is shown: `before` terminal columns, then `width` underlined ones.
struct Excerpt {
    text: String,
    before: usize,
    width: usize,
}

impl Excerpt {
    fn of(line: &str, column: usize, length: usize) -> Excerpt {
        let start = column.saturating_sub(1);
        // Only the surroundings of the caret can ever be shown, however long the line is.
        let skipped = start.saturating_sub(WIDEST);
        let mut cells: Vec<(char, usize)> =
            line.chars().skip(skipped).take(3 * WIDEST).map(|c| (shown(c), cell_width(c))).collect();
        let start = (start - skipped).min(cells.len());
        let end = start.saturating_add(length).min(cells.len());
        let width_of = |cells: &[(char, usize)]| cells.iter().map(|cell| cell.1).sum::<usize>();

        let cut_left = skipped > 0 || width_of(&cells[..end]) > WIDEST;
        let mut first = 0;
        if cut_left {
            // The caret stands a third into the excerpt.
            first = start;
            while first > 0 && width_of(&cells[first - 1..start]) <= WIDEST / 3 {
                first -= 1;
            }
        }
        let cut_left = cut_left && (first > 0 || skipped > 0);
        let mut last = first;
        while last < cells.len() && width_of(&cells[first..=last]) <= WIDEST {
            last += 1;
        }
        let cut_right = last < cells.len();
        cells.truncate(last);
        let end = end.min(last);

        let mut text = String::from(if cut_left { "…" } else { "" });
        for (c, width) in &cells[first..] {
            match c {
                '\t' => text.extend(std::iter::repeat_n(' ', *width)),
                c => text.push(*c),
            }
        }
        text.push_str(if cut_right { "…" } else { "" });
        let start = start.min(end);
        Excerpt {
            text,
            before: usize::from(cut_left) + width_of(&cells[first..start.max(first)]),
            width: width_of(&cells[start..end]).max(1),
        }
    }
}

/// No character of a file may steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { shown(c) }).collect()
}

fn shown(c: char) -> char {
    match c {
        '\t' => '\t',
        // Marks that reverse or hide what follows them.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
            '\u{fffd}'
        }
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// How many terminal columns a character takes: the common wide blocks (East Asian scripts, emoji) take two,
/// combining marks none.
fn cell_width(c: char) -> usize {
    match c {
        '\t' => TAB,
        '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}
