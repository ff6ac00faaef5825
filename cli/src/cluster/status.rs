//! `tidegate status`: one line a change, until the Rollout is healthy or degraded. Pipelines wait on it.

use std::time::Duration;

use clap::{ArgAction, Args};
use serde_json::Value;
use tidegate_api::duration::GoDuration;
use tidegate_api::object::{Key, Kind};
use tidegate_live::remote::Waited;

use super::change::object;
use super::view::phase;
use super::{Desk, Failure};

/// Arguments of `status`.
#[derive(Args)]
pub struct Status {
    /// Name of the Rollout
    name: String,
    /// Wait until it is healthy or degraded
    #[arg(short, long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    watch: bool,
    /// How long to wait, such as 10m; 0 for as long as it takes
    #[arg(short, long, default_value = "0", value_name = "DURATION")]
    timeout: String,
}

impl Status {
    /// Tells it once, or on every change.
    pub fn run(&self, desk: &mut Desk<'_>) -> Result<(), Failure> {
        let timeout = GoDuration::parse(&self.timeout).map_err(|error| format!("--timeout: {error}"))?;
        let key = desk.key(Kind::Rollout, &self.name);
        let (phase, message) = seen(desk.cluster.get(&key)?)?;
        if !self.watch {
            // An end is told by one word; why it is degraded stands in the error.
            let shown = if matches!(&*phase, "Healthy" | "Degraded") { "" } else { &*message };
            writeln!(desk.out, "{}", line(&phase, shown))?;
            return if phase == "Degraded" { Err(degraded(&message)) } else { Ok(()) };
        }
        follow(desk, &key, seconds(&timeout))?;
        let (phase, message) = seen(desk.cluster.get(&key)?)?;
        match &*phase {
            "Degraded" => Err(degraded(&message)),
            "Healthy" => Ok(()),
            _ => Err("Rollout status watch exceeded timeout".to_owned().into()),
        }
    }
}

/// Writes a line a change, until the end, the timeout or Ctrl-C.
fn follow(desk: &mut Desk<'_>, key: &Key, timeout: i64) -> Result<(), Failure> {
    let begun = desk.cluster.now();
    let mut watch = desk.cluster.watch(&[Kind::Rollout], Some(&key.namespace));
    let mut told = String::new();
    loop {
        let limit = if timeout > 0 {
            begun.plus_seconds(timeout).0 - desk.cluster.now().0
        } else {
            i64::from(u16::MAX)
        };
        if limit <= 0 {
            return Ok(());
        }
        if watch.wait(Duration::from_secs(limit.unsigned_abs()))? == Waited::Interrupted {
            return Ok(());
        }
        if !watch.is_complete() {
            continue;
        }
        let found = watch.objects().into_iter().find(|rollout| rollout["metadata"]["name"] == *key.name);
        let Some(rollout) = found else { return Ok(()) };
        let (phase, message) = seen(rollout)?;
        let now = line(&phase, &message);
        if now != told {
            writeln!(desk.out, "{now}")?;
            desk.out.flush()?;
            told = now;
        }
        if matches!(&*phase, "Healthy" | "Degraded") {
            return Ok(());
        }
    }
}

/// Whole seconds, rounded up: half a second is not for ever.
fn seconds(duration: &GoDuration) -> i64 {
    duration.nanos().max(0).saturating_add(999_999_999) / 1_000_000_000
}

fn seen(rollout: Value) -> Result<(String, String), Failure> {
    let rollout = object(rollout)?;
    Ok(phase(&rollout).ok_or("this is no Rollout".to_owned())?)
}

fn line(phase: &str, message: &str) -> String {
    if message.is_empty() { phase.to_owned() } else { format!("{phase} - {message}") }
}

fn degraded(message: &str) -> Failure {
    Failure::Because(format!("The rollout is in a degraded state with message: {message}"))
}
