//! All tests of the repository, one after the other.

use std::process::Command;

use crate::{crds, load, manifests, reference, scenario_keys};

/// Runs everything; an error names the first part that failed.
pub fn run() -> Result<(), String> {
    testenv(&[])?;
    proxy()?;
    cargo("unit and property tests, and a real control plane", &["test", "--workspace", "--locked"])?;
    println!("== writes of forty updates on a real control plane");
    load::run(&load::Load::of_a_test_run())?;
    cargo(
        "scenarios against their golden traces",
        &["run", "--quiet", "--locked", "-p", "tidegate", "--", "test", "scenarios"],
    )?;
    let swarm = ["run", "--quiet", "--release", "--locked", "-p", "xtask", "--", "swarm", "--lives", "20000"];
    cargo("twenty thousand drawn worlds with faults", &swarm)?;
    cargo("as many in which updates are judged", &[&swarm[..], &["--judged"]].concat())?;
    let sweep = ["run", "--quiet", "--release", "--locked", "-p", "xtask", "--", "sweep", "--lost", "5"];
    cargo("every scenario with a crash after every write", &sweep)?;
    // A process of its own: the one that runs this may have been built anew meanwhile, and then cannot be started again.
    let determinism = ["run", "--quiet", "--release", "--locked", "-p", "xtask", "--", "determinism"];
    cargo("determinism", &determinism)?;
    println!("== stories against the recordings of the incumbent");
    reference::run(&reference::Reference::of_the_repository())?;
    println!("== generated files");
    crds::run(true)?;
    manifests::run(true)?;
    scenario_keys::run(true)
}

/// Builds or runs the control plane for tests. It has a program of its own, so that this one needs no Kubernetes client.
pub fn testenv(instead: &[String]) -> Result<(), String> {
    let program = ["run", "--quiet", "--locked", "-p", "tidegate-testbed", "--"];
    let build = [String::from("build")];
    let wanted = if instead.is_empty() { &build } else { instead };
    let arguments: Vec<&str> = program.into_iter().chain(wanted.iter().map(String::as_str)).collect();
    cargo("a control plane for tests", &arguments)
}

/// Builds the proxy for tests with real requests; says so where it cannot be built.
pub fn proxy() -> Result<(), String> {
    cargo("a proxy for tests", &["run", "--quiet", "--locked", "-p", "tidegate-testbed", "--", "build-proxy"])
}

/// Plays every story of a release under real requests.
pub fn requests(stories: &[String]) -> Result<(), String> {
    proxy()?;
    let test = ["test", "--locked", "-p", "tidegate-testbed", "--test", "real_requests", "--"];
    // They mostly wait: five of them leave two cores time for the proxies.
    let all = ["--include-ignored", "--test-threads=5"];
    let stories = stories.iter().map(String::as_str);
    let arguments: Vec<&str> = test.into_iter().chain(all).chain(stories).collect();
    cargo("releases under real requests", &arguments)
}

fn cargo(what: &str, arguments: &[&str]) -> Result<(), String> {
    // Standard output belongs to the program.
    eprintln!("== {what}");
    let status =
        Command::new(env!("CARGO")).args(arguments).status().map_err(|error| format!("{what}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what}: failed")) }
}
