//! By which name the program was called. One file serves as the reference's controller and as plugin of kubectl.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args as _, CommandFactory as _, FromArgMatches as _};

use crate::controller::Controller;
use crate::{Arguments, Command, cluster};

/// The command that was asked for. Help, versions and wrong use end the process here.
pub fn read(words: impl Iterator<Item = OsString>) -> Command {
    parse(words.collect()).unwrap_or_else(|(error, code)| {
        // Nothing is left to do where not even that can be written.
        let _ = error.print();
        std::process::exit(code)
    })
}

/// The command, or what to print and the exit code.
fn parse(words: Vec<OsString>) -> Result<Command, (clap::Error, i32)> {
    let name = words.first().and_then(|word| Path::new(word).file_stem()).unwrap_or_default();
    let is_controller = name == "rollouts-controller";
    let follows_the_reference = is_controller
        || words
            .get(1)
            .and_then(|word| word.to_str())
            .is_some_and(|word| word == "controller" || cluster::VERBS.contains(&word));
    let program = match name.to_str() {
        // As the reference's own program: nothing but the controller.
        Some("rollouts-controller") => Controller::augment_args(clap::Command::new("rollouts-controller"))
            .about("Runs the controller on a cluster"),
        Some("kubectl-tidegate") => Arguments::command().bin_name("kubectl tidegate"),
        Some("kubectl-argo-rollouts") => Arguments::command().bin_name("kubectl argo rollouts"),
        _ => Arguments::command(),
    };
    let found = program.try_get_matches_from(words).and_then(|matches| {
        if is_controller {
            Controller::from_arg_matches(&matches).map(|controller| Command::Controller(Box::new(controller)))
        } else {
            Arguments::from_arg_matches(&matches).map(|arguments| arguments.command)
        }
    });
    // Wrong use of the controller and of a verb is 1, as scripts around the reference expect it.
    found.map_err(|error| {
        let code = if follows_the_reference && error.use_stderr() { 1 } else { error.exit_code() };
        (error, code)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &str) -> Result<Command, (clap::Error, i32)> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    fn usage(line: &str) -> String {
        let Err((error, _)) = called(line) else { panic!("{line} is no question for help") };
        error.to_string()
    }

    #[test]
    fn the_name_of_the_program_says_what_it_is() {
        assert!(matches!(called("/bin/rollouts-controller --namespaced"), Ok(Command::Controller(_))));
        assert!(matches!(called("tidegate controller --namespaced"), Ok(Command::Controller(_))));
        assert!(matches!(called("kubectl-tidegate lint -f a.yaml"), Ok(Command::Lint(_))));
        assert!(matches!(called("kubectl-argo-rollouts lint -f a.yaml"), Ok(Command::Lint(_))));
        assert!(usage("rollouts-controller -h").contains("Usage: rollouts-controller [OPTIONS]"));
        assert!(usage("kubectl-tidegate -h").contains("Usage: kubectl tidegate <COMMAND>"));
        assert!(usage("kubectl-argo-rollouts lint -h").contains("Usage: kubectl argo rollouts lint"));
    }

    #[test]
    fn wrong_use_of_the_controller_and_of_verbs_is_1_and_help_is_none() {
        let code = |line: &str| called(line).map(drop).map_err(|(_, code)| code);
        assert_eq!(code("tidegate controller --no-such-flag"), Err(1));
        assert_eq!(code("rollouts-controller --no-such-flag"), Err(1));
        assert_eq!(code("rollouts-controller positional"), Err(1));
        assert_eq!(code("tidegate controller --help"), Err(0));
        assert_eq!(code("tidegate lint --no-such-flag"), Err(2));
        assert_eq!(code("tidegate promote --no-such-flag"), Err(1));
    }
}
