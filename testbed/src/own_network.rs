//! A network of its own for a test program, so that pods can have the addresses that their status says.
//!
//! The program starts itself anew, in the same process, with nothing but a loopback device. All of 10.244.0.0/16 lies on
//! that, so whoever wants to answer at the address of a pod simply listens there, and the control plane, the proxy and
//! the clients, which are all children of this program, reach it. It takes `unshare` and `ip`, and either root or a
//! system that lets everyone make user namespaces. What needs the network of the machine, such as builds, is done before.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::TestbedError;

/// Set for the program that runs inside.
const INSIDE: &str = "TIDEGATE_OWN_NETWORK";
/// Run inside, before the program itself: `ip` needs the rights that only the first program in there has for sure.
const SET_UP: &str = r#"ip link set lo up && ip route add local 10.244.0.0/16 dev lo && exec "$@""#;

/// Whether this program runs in a network of its own already.
#[expect(clippy::disallowed_methods, reason = "the program that started this one was this one")]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Starts this program anew in a network of its own; comes back only if that is impossible, with the reason.
pub fn enter() -> Result<String, TestbedError> {
    let Some(flag) = ["-n", "-rn"].into_iter().find(|flag| works(flag)) else {
        return Ok("this system gives no network namespace (unshare -n, unshare -rn)".into());
    };
    let me = std::env::current_exe().map_err(TestbedError::io("find this program"))?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut command = unshare(flag);
    command.arg(me).args(arguments).env(INSIDE, "1");
    Err(TestbedError::io("start in a network of its own")(command.exec()))
}

fn works(flag: &str) -> bool {
    let mut probe = unshare(flag);
    probe.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

fn unshare(flag: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args([flag, "--", "/bin/sh", "-c", SET_UP, "sh"]);
    command
}
