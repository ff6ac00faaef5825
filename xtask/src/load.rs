//! `cargo xtask load`: what a wave of updates costs the controller. The measuring is a program of the testbed.

use std::process::Command;

use clap::Args;

/// What is to be measured, in which build.
#[derive(Args)]
pub struct Load {
    /// Build for development: quick to build, and good for counts only.
    #[arg(long)]
    dev: bool,
    /// Handed on: `--rollouts N`, `--pods N`, `--updates N`, `--idle SECONDS`, `--check`, `--log FILE`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    measured: Vec<String>,
}

impl Load {
    /// Small, and of counts alone: times belong to the machine.
    pub fn of_a_test_run() -> Load {
        let measured = ["--rollouts", "40", "--idle", "10", "--check"].map(str::to_owned);
        Load { dev: true, measured: measured.into() }
    }
}

/// Builds controller and testbed, and measures.
pub fn run(task: &Load) -> Result<(), String> {
    // Two builds: one for both would join the features of both, and measure a program that nobody installs.
    for package in ["tidegate", "tidegate-testbed"] {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "-p", package]);
        if !task.dev {
            build.arg("--release");
        }
        done("build", &mut build)?;
    }
    // This program lies in TARGET/PROFILE; what was built lies below the same TARGET.
    let own = std::env::current_exe().map_err(|why| why.to_string())?;
    let target = own.ancestors().nth(2).ok_or("this program lies in no target folder")?;
    let program = target.join(if task.dev { "debug" } else { "release" }).join("tidegate-testbed");
    done("load", Command::new(program).arg("load").args(&task.measured))
}

fn done(what: &str, command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(why) => Err(format!("{what}: {why}")),
    }
}
