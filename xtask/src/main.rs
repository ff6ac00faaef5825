//! Tasks of the repository.

mod crds;
mod reference;
mod scenario_keys;
mod swarm;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Tasks of the repository")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Writes the CustomResourceDefinitions to deploy/crds.
    Crds {
        /// Only look whether the files are current.
        #[arg(long)]
        check: bool,
    },
    /// Plays stories in the simulator and compares them with recordings of the incumbent.
    Reference(reference::Reference),
    /// Writes the reference of the scenario language to docs/scenario.md.
    ScenarioKeys {
        /// Only look whether the page is current.
        #[arg(long)]
        check: bool,
    },
    /// Plays many drawn worlds with faults and checks every invariant. Use an optimised build.
    Swarm(swarm::Swarm),
    /// Runs all tests: unit and property tests, scenarios, stories, generated files.
    Test,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Crds { check } => crds::run(check),
        Task::Reference(task) => reference::run(&task),
        Task::ScenarioKeys { check } => scenario_keys::run(check),
        Task::Swarm(task) => swarm::run(&task),
        Task::Test => test::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
