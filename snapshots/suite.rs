//! Every scenario against its golden trace, through insta: what changed waits in `*.snap.new` for `cargo insta review`.
//!
//! The program itself plays the scenarios and writes their traces to a folder of the build; what `tidegate test` shows
//! and what is asserted here cannot drift apart.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let got = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("snapshots");
    let played = play(&got);
    let mut trials = vec![Trial::test("expectations_and_invariants", move || as_expected(&played))];
    let golden = repository().join("snapshots");
    for path in snapshots(&got) {
        let name = path.strip_prefix(&got).unwrap_or(&path).with_extension("");
        let golden = golden.clone();
        trials.push(Trial::test(name.display().to_string(), move || is_golden(&golden, &name, &path)));
    }
    let kept = snapshots(&golden);
    trials.push(Trial::test("every_snapshot_belongs_to_a_scenario", move || belong(&kept)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn play(got: &Path) -> Output {
    // Traces of an earlier run would speak for scenarios that are gone.
    let _ = fs::remove_dir_all(got);
    let mut program = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    program.args(["test", "scenarios", "--accept", "--snapshots"]).arg(got).current_dir(repository());
    program.output().expect("the program was built")
}

fn as_expected(played: &Output) -> Result<(), Failed> {
    let said =
        format!("{}{}", String::from_utf8_lossy(&played.stdout), String::from_utf8_lossy(&played.stderr));
    if played.status.success() { Ok(()) } else { Err(said.into()) }
}

fn is_golden(golden: &Path, name: &Path, got: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(got)?;
    let trace = text.splitn(3, "---\n").nth(2).ok_or("a snapshot without a header")?;
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(golden.join(name.parent().unwrap_or(Path::new(""))));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_input_file(repository().join("scenarios").join(name).with_extension("yaml"));
    let file = name.file_name().and_then(|file| file.to_str()).unwrap_or("");
    settings.bind(|| insta::assert_snapshot!(file, trace));
    Ok(())
}

fn belong(snapshots: &[PathBuf]) -> Result<(), Failed> {
    let golden = repository().join("snapshots");
    for snapshot in snapshots {
        let name = snapshot.strip_prefix(&golden)?;
        let scenario = repository().join("scenarios").join(name).with_extension("yaml");
        if !scenario.is_file() || snapshot.extension().is_none_or(|end| end != "snap") {
            return Err(format!("{} belongs to no scenario", name.display()).into());
        }
    }
    Ok(())
}

/// Everything below a folder but source code and changes that wait for review.
fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let is_other = path.extension().is_some_and(|end| end == "rs" || end == "new");
        if path.is_dir() {
            found.extend(snapshots(&path));
        } else if !is_other {
            found.push(path);
        }
    }
    found.sort();
    found
}
