//! `tidegate test`: every scenario under a directory, compared with its snapshot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tidegate_sim::play::play;
use tidegate_sim::scenario::Script;

use crate::Exit;
use crate::input::{self, Input};

/// Arguments of `test`.
#[derive(Args)]
pub struct Test {
    /// Directories with scenarios.
    #[arg(default_value = "scenarios")]
    directories: Vec<PathBuf>,
    /// Where the snapshots are; by default `snapshots` beside each directory.
    #[arg(long)]
    snapshots: Option<PathBuf>,
    /// Takes the traces as they are now for the snapshots.
    #[arg(long)]
    accept: bool,
    /// How to show the result.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For CI systems that read JUnit reports.
    Junit,
}

/// What came of one scenario: what is wrong with it, if anything.
struct Verdict {
    scenario: String,
    faults: Vec<String>,
}

impl Test {
    /// Plays all scenarios.
    pub fn run(&self) -> Exit {
        let (mut verdicts, mut exit) = (Vec::new(), Exit::AsExpected);
        for directory in &self.directories {
            let mut files = BTreeMap::new();
            if let Err(why) = find(directory, &mut files) {
                eprintln!("error: {}: cannot be read: {why}", directory.display());
                return Exit::Unreadable;
            }
            for (path, text) in files {
                match self.judge(directory, &path, &text) {
                    Ok(verdict) => verdicts.push(verdict),
                    Err(fault) => {
                        exit = Exit::Unreadable;
                        verdicts.push(Verdict { scenario: path.display().to_string(), faults: vec![fault] });
                    }
                }
            }
        }
        let failed = verdicts.iter().filter(|verdict| !verdict.faults.is_empty()).count();
        match self.output {
            Output::Junit => print!("{}", junit(&verdicts, failed)),
            Output::Text => {
                for verdict in verdicts.iter().filter(|verdict| !verdict.faults.is_empty()) {
                    println!("FAILED {}", verdict.scenario);
                    verdict.faults.iter().for_each(|fault| println!("{}", indent(fault)));
                }
                println!("{} passed, {failed} failed", verdicts.len() - failed);
            }
        }
        if failed > 0 { exit.max(Exit::Failed) } else { exit }
    }

    fn judge(&self, directory: &Path, path: &Path, text: &str) -> Result<Verdict, String> {
        let name = path.display().to_string();
        let load = |file: &str| input::beside(&name, file);
        let script = Script::read(&name, text, &load).map_err(|error| error.render(false))?;
        let outcome = play(&script);
        let mut faults = outcome.failures.clone();
        let snapshot = self.snapshot(directory, path);
        let trace = outcome.trace();
        if self.accept {
            if let Err(why) = write(&snapshot, &trace) {
                faults.push(format!("cannot write {}: {why}", snapshot.display()));
            }
        } else {
            match std::fs::read_to_string(&snapshot) {
                Ok(old) if old == trace => {}
                Ok(old) => faults.push(difference(&old, &trace)),
                Err(_) => faults.push(format!("no snapshot {}: run with --accept", snapshot.display())),
            }
        }
        Ok(Verdict { scenario: name, faults })
    }

    /// The same path under the directory of snapshots, ending in `.trace`. A directory below `scenarios` keeps the
    /// part of its path that follows, so that `test scenarios/canary` finds what `test` wrote.
    fn snapshot(&self, directory: &Path, path: &Path) -> PathBuf {
        let root = directory.ancestors().find(|folder| folder.ends_with("scenarios")).unwrap_or(directory);
        let beside = || root.parent().unwrap_or(Path::new("")).join("snapshots");
        let inner = path.strip_prefix(root).unwrap_or(path);
        self.snapshots.clone().unwrap_or_else(beside).join(inner).with_extension("trace")
    }
}

/// Every scenario below a directory: YAML files that look like one. Manifests and the like lie among them.
fn find(at: &Path, files: &mut BTreeMap<PathBuf, String>) -> std::io::Result<()> {
    if at.is_file() {
        files.insert(at.to_owned(), std::fs::read_to_string(at)?);
        return Ok(());
    }
    for entry in std::fs::read_dir(at)? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if path.is_dir() {
            find(&path, files)?;
        } else if is_yaml {
            let Input { text, .. } = match input::read(&path.display().to_string()) {
                Ok(read) => read,
                Err(why) => return Err(std::io::Error::other(why.to_string())),
            };
            if text.lines().any(|line| line.starts_with("given:")) {
                files.insert(path, text);
            }
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}

/// The lines that differ, with a few around them: what both begin and end with is left out.
fn difference(old: &str, new: &str) -> String {
    const AROUND: usize = 2;
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut out = vec!["the trace differs from the snapshot:".to_owned()];
    out.extend(old[head.saturating_sub(AROUND)..head].iter().map(|line| format!("  {line}")));
    out.extend(old[head..old.len() - tail].iter().map(|line| format!("- {line}")));
    out.extend(new[head..new.len() - tail].iter().map(|line| format!("+ {line}")));
    out.extend(new[new.len() - tail..].iter().take(AROUND).map(|line| format!("  {line}")));
    out.join("\n")
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect::<String>().trim_end().to_owned()
}

fn junit(verdicts: &[Verdict], failed: usize) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out += &format!("<testsuite name=\"tidegate\" tests=\"{}\" failures=\"{failed}\">\n", verdicts.len());
    for verdict in verdicts {
        let name = escape(&verdict.scenario);
        if verdict.faults.is_empty() {
            out += &format!("  <testcase name=\"{name}\"/>\n");
        } else {
            let faults = escape(&verdict.faults.join("\n"));
            out += &format!("  <testcase name=\"{name}\"><failure>{faults}</failure></testcase>\n");
        }
    }
    out + "</testsuite>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_shows_what_changed_and_a_little_around_it() {
        let shown = difference("a\nb\nc\nd\ne\n", "a\nb\nc\nX\ne\n");
        assert_eq!(shown, "the trace differs from the snapshot:\n  b\n  c\n- d\n+ X\n  e");
        assert!(difference("a\n", "a\nb\n").ends_with("  a\n+ b"));
        assert!(difference("a\na\n", "a\n").ends_with("  a\n- a"));
    }
}
