//! The program `tidegate`: arguments, the command, the exit code.
//!
//! Exit codes: 0 as expected; 1 an expectation or an invariant failed; 2 wrong use or unreadable input; 3 the world
//! outside failed. The controller and the verbs against a cluster know only 0 and 1, as the reference does.

mod called;
mod cluster;
mod connection;
mod controller;
mod glob;
mod input;
mod lint;
mod output;
mod plan;
mod progress;
mod simulate;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Progressive delivery for Kubernetes, decided by code that can be played through before it runs.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the controller on a cluster.
    Controller(Box<controller::Controller>),
    /// Plays scenarios or plain manifests in a simulated cluster.
    Simulate(simulate::Simulate),
    /// Shows what an update of a manifest will do, step by step, and what an abort does at each step.
    Plan(plan::Plan),
    /// Plays every scenario under a directory and compares the traces with the snapshots.
    Test(test::Test),
    /// Shows all that is wrong with manifests.
    Lint(lint::Lint),
    #[command(flatten)]
    Cluster(Box<cluster::Verb>),
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Exit {
    AsExpected = 0,
    Failed = 1,
    Unreadable = 2,
    OutsideFailed = 3,
}

fn main() -> ExitCode {
    let exit = match called::read(std::env::args_os()) {
        Command::Controller(controller) => controller.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Plan(plan) => plan.run(),
        Command::Test(test) => test.run(),
        Command::Lint(lint) => lint.run(),
        Command::Cluster(verb) => verb.run(),
    };
    ExitCode::from(exit as u8)
}
