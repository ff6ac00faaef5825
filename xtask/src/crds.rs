//! `cargo xtask crds`: the CustomResourceDefinitions as files, from the one table of types.

use std::fs;
use std::path::Path;

use tidegate_api::schema::{KINDS, crd};
use tidegate_api::yaml_out::to_yaml;

const HEADER: &str = "# Written by `cargo xtask crds`.\n";

/// Writes the files, or says which are not current.
pub fn run(check: bool) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    if check {
        let stale: Vec<String> = stale(&folder).into_iter().map(|(name, _)| name).collect();
        return if stale.is_empty() {
            Ok(())
        } else {
            Err(format!("not current, run `cargo xtask crds`: {}", stale.join(", ")))
        };
    }
    fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    for (name, text) in stale(&folder) {
        fs::write(folder.join(&name), text).map_err(|why| format!("{name}: {why}"))?;
        println!("{name}");
    }
    Ok(())
}

/// The names of the files that are missing or differ, with what should be in them.
fn stale(folder: &Path) -> Vec<(String, String)> {
    let files = KINDS.iter().map(|kind| {
        let crd = crd(kind);
        let plural = crd["spec"]["names"]["plural"].as_str().unwrap_or_default();
        (format!("{plural}.yaml"), format!("{HEADER}{}", to_yaml(&crd)))
    });
    files.filter(|(name, text)| fs::read_to_string(folder.join(name)).ok().as_deref() != Some(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_current() {
        assert_eq!(run(true), Ok(()));
    }
}
