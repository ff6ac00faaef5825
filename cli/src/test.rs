//! `tidegate test`: every scenario under a directory, compared with its snapshot.

mod difference;
mod report;
mod snapshot;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tidegate_api::yaml::SourceError;
use tidegate_sim::play::{Failure, play};
use tidegate_sim::scenario::{Script, yaml_error};

use crate::Exit;
use crate::input::{self, Beside, Input};
use crate::output;
use crate::progress::Progress;
use difference::Difference;
use snapshot::Snapshot;

/// Arguments of `test`.
#[derive(Args)]
pub struct Test {
    /// Directories with scenarios, or single ones.
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
    /// A report for a pull request or a job summary.
    Markdown,
    /// Annotations at the lines concerned, as GitHub Actions reads them.
    Github,
}

/// What came of one scenario: what is wrong with it, if anything.
struct Verdict {
    scenario: String,
    about: String,
    faults: Vec<Fault>,
}

/// Something that is wrong with a scenario.
enum Fault {
    /// It cannot be read.
    Unreadable(SourceError),
    /// Something did not come as it should.
    Failed(Failure),
    /// There is no snapshot at this path.
    NoSnapshot(PathBuf),
    /// The trace is another one than the snapshot's.
    Differs(Difference),
    /// The snapshot cannot be written, or read though it is there.
    Outside(PathBuf, std::io::Error),
}

impl Test {
    /// Plays all scenarios.
    pub fn run(&self) -> Exit {
        let mut files = BTreeMap::new();
        for directory in &self.directories {
            let before = files.len();
            if let Err(error) = find(directory, directory, &mut files) {
                input::complain(&error);
                return Exit::Unreadable;
            }
            if files.len() == before {
                let name = directory.display().to_string();
                // Passing because of a mistyped path would be the worst way to fail.
                input::complain(&yaml_error(&name, "there is no scenario here that was not named before"));
                return Exit::Unreadable;
            }
        }
        let (mut verdicts, mut written) = (Vec::new(), 0);
        let mut progress = Progress::of(files.len());
        for (path, (directory, text)) in &files {
            progress.next(&path.display().to_string());
            verdicts.push(self.judge(directory, path, text, &mut written));
        }
        drop(progress);
        let text = match self.output {
            Output::Junit => report::junit(&verdicts),
            Output::Markdown => report::markdown(&verdicts),
            Output::Github => report::github(&verdicts),
            Output::Text => {
                let color = input::color(std::io::stdout().is_terminal());
                report::text(&verdicts, written, color)
            }
        };
        let exit = verdicts.iter().flat_map(|verdict| &verdict.faults).map(Fault::exit).max();
        output::say(&text, exit.unwrap_or(Exit::AsExpected))
    }

    fn judge(&self, directory: &Path, path: &Path, text: &str, written: &mut usize) -> Verdict {
        let mut verdict =
            Verdict { scenario: path.display().to_string(), about: String::new(), faults: Vec::new() };
        let script = match Script::read(&verdict.scenario, text, &Beside(path)) {
            Ok(script) => script,
            Err(error) => {
                verdict.faults.push(Fault::Unreadable(error));
                return verdict;
            }
        };
        let outcome = play(&script);
        verdict.about = script.about;
        let trace = outcome.trace();
        verdict.faults.extend(outcome.failures.into_iter().map(Fault::Failed));
        let at = self.snapshot(directory, path);
        let compared = match Snapshot::read(&at) {
            Err(why) => Err(Fault::Outside(at, why)),
            Ok(Some(old)) if old.holds(&trace) => Ok(()),
            Ok(old) if self.accept => {
                *written += 1;
                let new = Snapshot::of(&verdict.scenario, old, &trace);
                new.write(&at).map_err(|why| Fault::Outside(at, why))
            }
            Ok(None) => Err(Fault::NoSnapshot(at)),
            Ok(Some(old)) => Err(Fault::Differs(Difference::of(at, &old, &trace))),
        };
        verdict.faults.extend(compared.err());
        verdict
    }

    /// The same path under the directory of snapshots, ending in `.snap`. A directory below `scenarios` keeps the
    /// part of its path that follows, so that `test scenarios/canary` finds what `test` wrote.
    fn snapshot(&self, directory: &Path, path: &Path) -> PathBuf {
        let root = directory.ancestors().find(|folder| folder.ends_with("scenarios")).unwrap_or(directory);
        let root = if root.is_file() { root.parent().unwrap_or(Path::new("")) } else { root };
        let beside = || root.parent().unwrap_or(Path::new("")).join("snapshots");
        let inner = path.strip_prefix(root).unwrap_or(path);
        self.snapshots.clone().unwrap_or_else(beside).join(inner).with_extension("snap")
    }
}

impl Fault {
    fn exit(&self) -> Exit {
        match self {
            Fault::Unreadable(_) => Exit::Unreadable,
            Fault::Failed(_) | Fault::NoSnapshot(_) | Fault::Differs(_) => Exit::Failed,
            Fault::Outside(..) => Exit::OutsideFailed,
        }
    }

    /// What it is, in a few words.
    fn title(&self) -> &'static str {
        match self {
            Fault::Unreadable(_) => "cannot be read",
            Fault::Failed(_) => "not as expected",
            Fault::NoSnapshot(_) => "no snapshot",
            Fault::Differs(_) => "the trace differs",
            Fault::Outside(..) => "snapshot out of reach",
        }
    }
}

/// Every scenario below a directory: YAML files that look like one. Manifests and the like lie among them.
fn find(
    directory: &Path,
    at: &Path,
    files: &mut BTreeMap<PathBuf, (PathBuf, String)>,
) -> Result<(), SourceError> {
    let unreadable = |at: &Path, why: std::io::Error| {
        yaml_error(&at.display().to_string(), &format!("cannot be read: {why}"))
    };
    if at.is_file() {
        let Input { text, .. } = input::read(&at.display().to_string())?;
        if at == directory || text.lines().any(|line| line.starts_with("given:")) {
            files.entry(at.to_owned()).or_insert_with(|| (directory.to_owned(), text));
        }
        return Ok(());
    }
    for entry in std::fs::read_dir(at).map_err(|why| unreadable(at, why))? {
        let path = entry.map_err(|why| unreadable(at, why))?.path();
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if path.is_dir() || is_yaml {
            find(directory, &path, files)?;
        }
    }
    Ok(())
}
