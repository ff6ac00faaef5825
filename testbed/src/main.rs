//! Runs a control plane for tests by hand: `cargo xtask testenv`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidegate_sim::scenario::Script;
use tidegate_sim::world::{PodModel, PodModels};
use tidegate_testbed::load::Load;
use tidegate_testbed::scenarios::Beside;
use tidegate_testbed::stories::{self, Folder};
use tidegate_testbed::{
    Cluster, ControlPlane, Settings, StandIn, Testbed, TestbedError, begin, programs, requests,
};

#[derive(Parser)]
#[command(about = "A Kubernetes control plane for tests")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds it, unless it is built.
    Build,
    /// Builds the proxy for tests with real requests, unless it is built.
    BuildProxy,
    /// Runs one in the foreground, with pods that come to life, until it is interrupted.
    Up {
        /// Pods behave as this scenario says; without, they are ready at once and obey their `fakelet/` annotations.
        #[arg(long)]
        scenario: Option<PathBuf>,
        /// No pod comes to life.
        #[arg(long)]
        without_pods: bool,
    },
    /// Measures what updates cost the controller.
    Load(Load),
    /// Plays stories with the controller of this repository on a control plane of its own, and compares them with
    /// recordings of the incumbent.
    Reference(Folder),
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Build => build(),
        Command::BuildProxy => build_proxy(),
        Command::Reference(folder) => reference(&folder).await,
        Command::Up { scenario, without_pods } => up(scenario.as_deref(), without_pods).await,
        Command::Load(load) => load.run().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let programs = programs::build().map_err(|error| error.to_string())??;
    println!("{}", programs.apiserver.with_file_name("testenv").display());
    Ok(())
}

/// Its many modules come from many places: where it cannot be built, that is said, and tests are skipped.
fn build_proxy() -> Result<(), String> {
    match requests::build().map_err(|error| error.to_string())? {
        Ok(program) => println!("{}", program.display()),
        Err(why) => println!("SKIPPED the proxy: {why}"),
    }
    Ok(())
}

async fn up(scenario: Option<&Path>, without_pods: bool) -> Result<(), String> {
    let say = |error: TestbedError| error.to_string();
    let (models, seed) = scenario.map_or(Ok((instant(), 0)), pods_of)?;
    let settings = Settings { kubeconfig: None, required: true, ..Settings::from_environment() };
    let Testbed::Ready(Cluster::Own(plane)) = begin(&settings).await.map_err(say)? else {
        return Err("a control plane of our own was asked for".into());
    };
    let client = tidegate_testbed::client(plane.kubeconfig()).await.map_err(say)?;
    let _stand_in = match without_pods {
        true => None,
        false => Some(StandIn::start(client, None, models, seed).await.map_err(say)?),
    };
    describe(&plane);
    // An interrupt ends this process, and that ends all others.
    std::future::pending().await
}

async fn reference(folder: &Folder) -> Result<(), String> {
    let settings = Settings { required: true, ..Settings::from_environment() };
    let Testbed::Ready(cluster) = begin(&settings).await.map_err(|error| error.to_string())? else {
        return Err("there is no cluster".into());
    };
    let tally = stories::compare(&cluster, folder).await.map_err(|error| error.to_string())?;
    println!("{tally}");
    match tally.played() == tally.equal_state() {
        true => Ok(()),
        false => Err("stories differ".to_owned()),
    }
}

fn describe(plane: &ControlPlane) {
    println!("{}", plane.kubeconfig().display());
    eprintln!(
        "{} ready after {:.1} s, {} MiB; export KUBECONFIG={}",
        plane.server(),
        plane.started_within().as_secs_f64(),
        plane.resident_kib() / 1024,
        plane.kubeconfig().display()
    );
}

fn instant() -> PodModels {
    PodModels { default: PodModel::instant(), by_image: Vec::new() }
}

fn pods_of(scenario: &Path) -> Result<(PodModels, u64), String> {
    let name = scenario.display().to_string();
    let text = fs::read_to_string(scenario).map_err(|error| format!("{name}: {error}"))?;
    let script = Script::read(&name, &text, &Beside(scenario)).map_err(|error| format!("{name}: {error}"))?;
    Ok((script.pods, script.seed))
}
