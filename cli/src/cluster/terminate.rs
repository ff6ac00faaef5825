//! `tidegate terminate`: ends an AnalysisRun or an Experiment early.

use clap::{Args, Subcommand};
use tidegate_api::object::Kind;
use tidegate_controller::commands;

use super::change::carry_out;
use super::{Desk, Failure};

/// Arguments of `terminate`.
#[derive(Args)]
pub struct Terminate {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// AnalysisRuns.
    #[command(visible_aliases = ["ar", "analysisruns"])]
    Analysisrun {
        /// Names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Experiments.
    #[command(visible_aliases = ["exp", "experiments"])]
    Experiment {
        /// Names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

impl Terminate {
    /// One after the other, up to the first failure.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        // ARGO: the reference says of a terminated experiment that it was retried.
        let (kind, word, names) = match &self.what {
            What::Analysisrun { names } => (Kind::AnalysisRun, "analysisRun", names),
            What::Experiment { names } => (Kind::Experiment, "experiment", names),
        };
        for name in names {
            carry_out(desk.cluster, &desk.key(kind.clone(), name), &commands::terminate())?;
            writeln!(desk.out, "{word} '{name}' terminated")?;
        }
        Ok(())
    }
}
