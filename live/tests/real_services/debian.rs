//! Programs of Debian, without installing them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder into which these packages were unpacked: now, unless they were before.
pub fn unpacked(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("services");
    let (folder, fetched) = (root.join(name), root.join(format!("{name}-fetched")));
    let done = folder.join("complete");
    if done.is_file() {
        return Ok(folder);
    }
    let failed = |error: std::io::Error| error.to_string();
    fs::create_dir_all(&fetched).map_err(failed)?;
    finished(Command::new("apt-get").arg("download").args(packages).current_dir(&fetched))?;
    for file in fs::read_dir(&fetched).map_err(failed)?.filter_map(Result::ok) {
        if file.file_name().to_string_lossy().ends_with(".deb") {
            finished(Command::new("dpkg").arg("-x").arg(file.path()).arg(&folder))?;
        }
    }
    let _ = fs::remove_dir_all(&fetched);
    fs::write(done, "").map_err(failed)?;
    Ok(folder)
}

/// Runs a program to its end.
pub fn finished(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", command.get_program().display(), why.lines().last().unwrap_or_default()))
}
