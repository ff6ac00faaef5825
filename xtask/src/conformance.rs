//! Asks the list of API behaviours, or records what the real server answers.

use std::process::Command;

/// Compares both worlds with the record; with `accept` makes the record anew.
pub fn run(accept: bool) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--quiet", "--locked", "-p", "tidegate-testbed", "--test", "conformance"]);
    if accept {
        command.env("CONFORMANCE_ACCEPT", "1");
    }
    let status = command.status().map_err(|error| format!("conformance: {error}"))?;
    if status.success() { Ok(()) } else { Err("the worlds differ".to_owned()) }
}
