//! Golden traces on disk, in the format of insta: a header between two lines `---`, then the trace.
//!
//! The header says where a snapshot comes from and takes no part in a comparison. `cargo insta review` writes its own
//! kind of header, so one that is there is kept: accepting a change changes the trace alone.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// A golden trace.
pub struct Snapshot {
    header: String,
    trace: String,
}

const RULE: &str = "---";

impl Snapshot {
    /// A snapshot of this trace, with the header of the one before.
    pub fn of(scenario: &str, before: Option<Snapshot>, trace: &str) -> Snapshot {
        let header = before.map_or_else(|| header(scenario), |before| before.header);
        Snapshot { header, trace: trace.to_owned() }
    }

    /// Reads a file; nothing when there is none.
    pub fn read(path: &Path) -> std::io::Result<Option<Snapshot>> {
        match std::fs::read_to_string(path) {
            Ok(text) => match Snapshot::parse(&text) {
                Some(snapshot) => Ok(Some(snapshot)),
                None => {
                    Err(Error::new(ErrorKind::InvalidData, "the header between two lines `---` is missing"))
                }
            },
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why),
        }
    }

    fn parse(text: &str) -> Option<Snapshot> {
        let text = text.replace("\r\n", "\n");
        let rest = text.strip_prefix("---\n")?;
        let end =
            rest.find("\n---\n").map(|end| end + 1).or_else(|| rest.starts_with("---\n").then_some(0))?;
        let (header, trace) = rest.split_at(end);
        Some(Snapshot { header: header.to_owned(), trace: trace[RULE.len() + 1..].to_owned() })
    }

    /// The trace.
    pub fn trace(&self) -> &str {
        &self.trace
    }

    /// Whether it is a snapshot of this trace. Empty lines at the end do not count; insta drops them.
    pub fn holds(&self, trace: &str) -> bool {
        self.trace.trim_end() == trace.trim_end()
    }

    /// In which line of the file the trace begins, counted from 1.
    pub fn first_line(&self) -> usize {
        self.header.lines().count() + 3
    }

    /// Writes the file. A change that insta holds for review is settled with that.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, format!("{RULE}\n{}{RULE}\n{}", self.header, self.trace))?;
        match std::fs::remove_file(path.with_extension("snap.new")) {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        }
    }
}

/// As insta writes it: in quotes only where YAML needs them.
fn header(scenario: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    if scenario.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && scenario.chars().all(is_plain) {
        return format!("input_file: {scenario}\n");
    }
    format!("input_file: {}\n", serde_json::Value::from(scenario))
}

#[cfg(test)]
mod tests {
    use super::Snapshot;

    #[test]
    fn a_header_is_kept_and_not_compared() {
        let old = Snapshot::parse("---\nsource: snapshots/suite.rs\ninput_file: a.yaml\n---\nx\n---\ny\n");
        let old = old.expect("a snapshot");
        assert!(old.holds("x\n---\ny\n") && old.holds("x\n---\ny") && !old.holds("x\n"));
        assert_eq!(old.first_line(), 5);
        let new = Snapshot::of("b.yaml", Some(old), "z\n");
        assert_eq!(
            (new.header.as_str(), new.trace()),
            ("source: snapshots/suite.rs\ninput_file: a.yaml\n", "z\n")
        );
        assert_eq!(Snapshot::of("b.yaml", None, "z\n").header, "input_file: b.yaml\n");
        assert_eq!(Snapshot::of("b: c.yaml", None, "z\n").header, "input_file: \"b: c.yaml\"\n");
    }

    #[test]
    fn a_text_without_a_header_is_no_snapshot() {
        assert!(Snapshot::parse("00:00:00  web  created\n").is_none());
        assert!(Snapshot::parse("---\nsource: x\n").is_none());
        assert!(Snapshot::parse("---\n---\nx\n").is_some_and(|snapshot| snapshot.holds("x")));
    }
}
