//! Tasks of the repository.

mod conformance;
mod crds;
mod determinism;
mod image;
mod load;
mod manifests;
mod reference;
mod router_crds;
mod scenario_keys;
mod swarm;
mod sweep;
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
    /// Asks the list of API behaviours of the simulated server and of the real one.
    Conformance {
        /// Record what the real server answers instead.
        #[arg(long)]
        accept: bool,
    },
    /// Writes the CustomResourceDefinitions to deploy/crds.
    Crds {
        /// Only look whether the files are current.
        #[arg(long)]
        check: bool,
    },
    /// Measures what updates of many Rollouts cost the controller, on a real control plane. Builds what it needs.
    Load(load::Load),
    /// Writes install.yaml, namespace-install.yaml and the Helm chart from deploy/base.
    Manifests {
        /// Only look whether the files are current.
        #[arg(long)]
        check: bool,
    },
    /// Builds Traefik for tests with real requests into target/proxy. Takes minutes the first time.
    Proxy,
    /// Proves that a seed is a life: twice, in two processes, on two threads, in two builds.
    Determinism(determinism::Determinism),
    /// Plays stories in the simulator and compares them with recordings of the incumbent.
    Reference(reference::Reference),
    /// Plays all releases under real requests, through a real proxy. Takes twenty minutes.
    Requests {
        /// Only stories whose name contains this, and options of the test program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        stories: Vec<String>,
    },
    /// Copies the CustomResourceDefinitions of routers from the Go modules of their projects to testbed/crds.
    RouterCrds,
    /// Builds the program of the image and looks whether it is static. Takes minutes.
    Static,
    /// Writes the reference of the scenario language to docs/scenario.md.
    ScenarioKeys {
        /// Only look whether the page is current.
        #[arg(long)]
        check: bool,
    },
    /// Plays many drawn worlds with faults and checks every invariant. Use an optimised build.
    Swarm(swarm::Swarm),
    /// Kills the controller after every write of every scenario. Use an optimised build.
    Sweep(sweep::Sweep),
    /// Runs all tests: unit and property tests, a real control plane, scenarios, stories, generated files.
    Test,
    /// Builds a Kubernetes control plane for tests into target/testenv; with `up`, runs one.
    Testenv {
        /// What to do instead: `up`, with its own options.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        instead: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Conformance { accept } => conformance::run(accept),
        Task::Crds { check } => crds::run(check),
        Task::Load(task) => load::run(&task),
        Task::Manifests { check } => manifests::run(check),
        Task::Determinism(task) => determinism::run(&task),
        Task::Proxy => test::proxy(),
        Task::Requests { stories } => test::requests(&stories),
        Task::Reference(task) => reference::run(&task),
        Task::RouterCrds => router_crds::run(),
        Task::Static => image::run(),
        Task::ScenarioKeys { check } => scenario_keys::run(check),
        Task::Swarm(task) => swarm::run(&task),
        Task::Sweep(task) => sweep::run(&task),
        Task::Test => test::run(),
        Task::Testenv { instead } => test::testenv(&instead),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
