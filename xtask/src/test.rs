//! All tests of the repository, one after the other.

use std::process::Command;

use crate::{crds, determinism, manifests, reference, scenario_keys};

/// Runs everything; an error names the first part that failed.
pub fn run() -> Result<(), String> {
    cargo("unit and property tests", &["test", "--workspace", "--locked"])?;
    cargo(
        "scenarios against their golden traces",
        &["run", "--quiet", "--locked", "-p", "tidegate", "--", "test", "scenarios"],
    )?;
    let swarm = ["run", "--quiet", "--release", "--locked", "-p", "xtask", "--", "swarm", "--lives", "20000"];
    cargo("twenty thousand drawn worlds with faults", &swarm)?;
    println!("== determinism");
    determinism::run(&determinism::Determinism::of_a_test_run())?;
    println!("== stories against the recordings of the incumbent");
    reference::run(&reference::Reference::of_the_repository())?;
    println!("== generated files");
    crds::run(true)?;
    manifests::run(true)?;
    scenario_keys::run(true)
}

fn cargo(what: &str, arguments: &[&str]) -> Result<(), String> {
    println!("== {what}");
    let status =
        Command::new(env!("CARGO")).args(arguments).status().map_err(|error| format!("{what}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what}: failed")) }
}
