//! `cargo xtask scenario-keys`: the reference page of the scenario language, from the table that reading uses.

use std::fs;
use std::path::Path;

use tidegate_sim::scenario::keys;

/// Writes the page, or says that it is not current.
pub fn run(check: bool) -> Result<(), String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenario.md");
    let page = keys::page();
    let is_current = fs::read_to_string(&file).is_ok_and(|text| text == page);
    match (is_current, check) {
        (true, _) => Ok(()),
        (false, true) => Err("docs/scenario.md is not current, run `cargo xtask scenario-keys`".to_owned()),
        (false, false) => {
            let folder = file.parent().unwrap_or(Path::new(""));
            fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
            fs::write(&file, page).map_err(|why| format!("{}: {why}", file.display()))?;
            println!("docs/scenario.md");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_current() {
        assert_eq!(run(true), Ok(()));
    }
}
