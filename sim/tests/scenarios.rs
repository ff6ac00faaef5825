//! The folder of scenarios as a whole: no two tell the same story, and what COMPATIBILITY.md promises is shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidegate_sim::scenario::{Files, Script};
use tidegate_sim::sweep::scripts;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(below: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).expect("a folder of the repository") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|end| end == ending) {
            found.push(path);
        }
    }
}

/// Scenarios written out hold everything in themselves.
struct Nowhere;

impl Files for Nowhere {
    fn text(&self, file: &str) -> Result<String, String> {
        Err(format!("{file} is not needed"))
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        Err(format!("{pattern} is not needed"))
    }
}

#[test]
fn what_is_written_reads_as_the_same_scenario() {
    for mut script in scripts(&repository().join("scenarios")).expect("every scenario can be read") {
        let text = script.to_yaml();
        let mut again =
            Script::read(&script.name, &text, &Nowhere).unwrap_or_else(|why| panic!("{why}\n{text}"));
        // It stands on other lines.
        for script in [&mut script, &mut again] {
            script.then.line = 0;
            script.when.iter_mut().for_each(|entry| entry.line = 0);
        }
        assert_eq!(script, again, "{text}");
    }
}

#[test]
fn no_two_scenarios_have_the_same_trace() {
    let mut snapshots = Vec::new();
    files(&repository().join("snapshots"), "snap", &mut snapshots);
    let mut told: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in snapshots {
        let text = std::fs::read_to_string(&path).expect("readable");
        // What insta notes about the snapshot stands between two lines of dashes.
        let trace = text.splitn(3, "---\n").nth(2).expect("a header and a trace").to_owned();
        if let Some(other) = told.insert(trace, path.clone()) {
            panic!("{} and {} have the same trace", path.display(), other.display());
        }
    }
    assert!(told.len() >= 60, "there are {} scenarios", told.len());
}

/// The rows of the table of departures, cell by cell.
fn rows(text: &str) -> Vec<Vec<String>> {
    let from = text.split("## Safer on purpose").nth(1).expect("the section is there");
    let table = from.split("\n## ").next().unwrap_or(from);
    let is_row =
        |line: &&str| line.starts_with('|') && !line.starts_with("| Track") && !line.starts_with("|---");
    let lines = table.lines().filter(is_row);
    lines
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// Whether a name in backticks stands for a scenario, a story, or a file of the repository.
fn exists(name: &str) -> bool {
    let root = repository();
    let scenario = root.join("scenarios").join(name).with_extension("yaml");
    let story = root.join("scenarios/argo/stories").join(name).with_extension("yaml");
    scenario.is_file() || story.is_file() || root.join(name).exists()
}

#[test]
fn each_departure_names_what_shows_it() {
    let text = std::fs::read_to_string(repository().join("COMPATIBILITY.md")).expect("readable");
    let rows = rows(&text);
    assert!(rows.len() > 20, "the table was read");
    for row in rows {
        assert_eq!(row.len(), 5, "{row:?}");
        let names: Vec<&str> = row[4].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing shows it: {row:?}");
        let missing: Vec<&&str> = names.iter().filter(|name| !exists(name)).collect();
        assert!(missing.is_empty(), "{missing:?} of {:?} is not there", row[0]);
    }
}
