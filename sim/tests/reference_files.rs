//! The stories and recordings kept here belong together and can be read.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate_sim::reference::Recording;

fn files(folder: &str, ending: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/argo").join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    named
        .map(|(name, path)| (name.strip_suffix(ending).expect("nothing else lies here").to_owned(), path))
        .collect()
}

#[test]
fn every_story_has_its_recording() {
    let names =
        |files: Vec<(String, PathBuf)>| files.into_iter().map(|(name, _)| name).collect::<BTreeSet<String>>();
    assert_eq!(names(files("stories", ".yaml")), names(files("recordings", ".json")));
    for (name, path) in files("stories", ".yaml") {
        assert!(fs::read_to_string(path).unwrap().starts_with(&format!("name: {name}\n")), "{name}");
    }
}

#[test]
fn every_recording_can_be_read() {
    for (name, path) in files("recordings", ".json") {
        let recording =
            Recording::from_value(&serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
                .unwrap();
        assert_eq!(recording.name, name);
        assert!(recording.stable.contains_key("script"), "{name} must say how its script went");
    }
}
