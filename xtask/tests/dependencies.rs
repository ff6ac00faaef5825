//! The brain and its simulator touch no network and no runtime: such crates may not be in their trees, however deep.
//!
//! Cargo.lock tells what a crate of the registry needs; what a crate of the workspace needs stands in its manifest,
//! because the lock file does not tell tests' dependencies from the others. Optional ones count too: the answer errs on
//! the strict side.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const PURE: [(&str, &str); 3] =
    [("tidegate-api", "api"), ("tidegate-controller", "controller"), ("tidegate-sim", "sim")];
const BANNED: [&str; 12] = [
    "async-std",
    "h2",
    "hyper",
    "kube",
    "kube-client",
    "kube-runtime",
    "mio",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
];

#[test]
fn neither_network_nor_runtime_in_the_pure_crates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("the file is in the repository");
    let mut needs = locked(&read("Cargo.lock"));
    for (name, folder) in PURE {
        needs.insert(name.to_owned(), declared(&read(&format!("{folder}/Cargo.toml"))));
    }
    for (name, _) in PURE {
        assert_eq!(banned_below(name, &needs), Vec::<String>::new(), "in the tree of {name}");
    }
}

#[test]
fn a_banned_crate_is_found_however_deep() {
    let mut needs = locked(
        "[[package]]\nname = \"bridge\"\nversion = \"1.0.0\"\ndependencies = [\n \"deep\",\n \"serde 1.0.0\",\n]\n\n\
         [[package]]\nname = \"deep\"\nversion = \"1.0.0\"\ndependencies = [\n \"tokio\",\n]\n\n\
         [[package]]\nname = \"serde\"\nversion = \"1.0.0\"\n\n\
         [[package]]\nname = \"tokio\"\nversion = \"1.0.0\"\n",
    );
    needs.insert("brain".to_owned(), declared("[dependencies]\nbridge.workspace = true\n"));
    needs.insert(
        "clean".to_owned(),
        declared("[dependencies]\nserde = \"1\"\n\n[dev-dependencies]\ntokio = \"1\"\n"),
    );
    assert_eq!(banned_below("brain", &needs), ["brain > bridge > deep > tokio"]);
    assert_eq!(banned_below("clean", &needs), Vec::<String>::new());
}

#[test]
fn every_form_of_a_dependency_counts() {
    let manifest = "[package]\nname = \"a\"\n[dependencies]\n# a comment\nb.workspace = true\nc = \"1\"\n\
                    [dependencies.d]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\ne = \"1\"\n\
                    [build-dependencies]\nf = \"1\"\n[dev-dependencies]\ng = \"1\"\n[dev-dependencies.h]\n";
    assert_eq!(declared(manifest).into_iter().collect::<Vec<_>>(), ["b", "c", "d", "e", "f"]);
}

/// Paths from a crate down to each banned one.
fn banned_below(top: &str, needs: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut seen = BTreeSet::from([top.to_owned()]);
    let mut open = vec![(top.to_owned(), top.to_owned())];
    let mut found = Vec::new();
    while let Some((name, path)) = open.pop() {
        if BANNED.contains(&name.as_str()) {
            found.push(path);
            continue;
        }
        // A name that nobody knows is a dependency under another name; it may not hide one.
        let below = needs.get(&name).unwrap_or_else(|| panic!("{path} is not in Cargo.lock: is it renamed?"));
        for next in below {
            if seen.insert(next.clone()) {
                open.push((next.clone(), format!("{path} > {next}")));
            }
        }
    }
    found.sort();
    found
}

/// What each package of a lock file needs. Versions of one name are taken together.
fn locked(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let name = package.split("name = \"").nth(1).and_then(|rest| rest.split('"').next());
        let list = package.split("dependencies = [").nth(1).and_then(|rest| rest.split(']').next());
        // An entry is `name`, or `name version` where there are several.
        let entries = list.unwrap_or_default().split('"').skip(1).step_by(2);
        let names = entries.filter_map(|entry| entry.split(' ').next()).map(str::to_owned);
        needs.entry(name.expect("a package has a name").to_owned()).or_default().extend(names);
    }
    needs
}

/// What a manifest declares apart from the dependencies of tests.
fn declared(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut within = false;
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let section = section.rsplit("'.").next().unwrap_or(section);
            let (table, name) = section.split_once('.').unwrap_or((section, ""));
            within = matches!(table, "dependencies" | "build-dependencies") && name.is_empty();
            if matches!(table, "dependencies" | "build-dependencies") && !name.is_empty() {
                names.insert(name.to_owned());
            }
        } else if within {
            names.extend(line.split(['.', ' ', '=']).next().map(str::to_owned));
        }
    }
    names
}
