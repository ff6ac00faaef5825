//! The controller that is measured: a process of its own, and what the system says about it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::scrape::{Requests, page};
use crate::ControlPlane;
use crate::control_plane::free_ports;

const POLL: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Controller {
    child: Child,
    metrics: u16,
    health: u16,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    /// Resident now, KiB.
    pub(super) resident: u64,
    /// Of it not backed by a file, KiB.
    pub(super) anonymous: u64,
    /// The most that was ever resident, KiB.
    pub(super) peak: u64,
}

impl Controller {
    pub(super) fn start(
        program: &Path,
        plane: &ControlPlane,
        log: Option<&Path>,
    ) -> Result<Controller, String> {
        let [metrics, health] = free_ports().map_err(|error| error.to_string())?;
        let log = match log {
            Some(path) => {
                let file = File::options().create(true).append(true).open(path);
                Stdio::from(file.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => Stdio::null(),
        };
        let mut command = Command::new(program);
        command
            .arg("controller")
            .arg(format!("--kubeconfig={}", plane.kubeconfig().display()))
            .arg(format!("--metricsPort={metrics}"))
            .arg(format!("--healthzPort={health}"))
            .env("POD_NAMESPACE", "default")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // It goes when the control plane goes.
            .process_group(plane.group());
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Controller { child, metrics, health })
    }

    /// Once it leads it can tell about Rollouts; a follower cannot.
    pub(super) async fn until_it_leads(&mut self) -> Result<(), String> {
        self.until("does not lead", |text| text.contains("workqueue_depth")).await
    }

    /// So many Rollouts have had a pass.
    pub(super) async fn until_passes(&mut self, rollouts: u64) -> Result<(), String> {
        self.until("has not looked at every Rollout", |text| {
            let looked_at = text.lines().filter(|line| line.starts_with("rollout_reconcile_count{")).count();
            looked_at as u64 >= rollouts
        })
        .await
    }

    async fn until(&mut self, otherwise: &str, is_so: impl Fn(&str) -> bool) -> Result<(), String> {
        let since = Instant::now();
        loop {
            if page(self.metrics, "/metrics").await.is_ok_and(|text| is_so(&text)) {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the controller has ended: {status}"));
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("the controller {otherwise} after {PATIENCE:?}"));
            }
            sleep(POLL).await;
        }
    }

    /// What it used, and then what it counted: the scrape itself costs something.
    pub(super) async fn look(&self) -> Result<(Usage, Requests), String> {
        let usage = self.usage()?;
        page(self.health, "/healthz").await?;
        Ok((usage, Requests::read(&page(self.metrics, "/metrics").await?)))
    }

    pub(super) fn usage(&self) -> Result<Usage, String> {
        let folder = format!("/proc/{}", self.child.id());
        let read = |name: &str| {
            let path = format!("{folder}/{name}");
            fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
        };
        let status = read("status")?;
        let kib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
            line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        Ok(Usage {
            cpu: cpu(&read("stat")?, read("schedstat").ok().as_deref(), kib("Threads:")),
            resident: kib("VmRSS:"),
            anonymous: kib("RssAnon:"),
            peak: kib("VmHWM:"),
        })
    }

    /// Asks it to end, and waits for that.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        asked.map_err(|error| format!("kill: {error}"))?;
        self.child.wait().map(drop).map_err(|error| format!("the controller does not end: {error}"))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Time on a core: in nanoseconds where the system says so of the only thread, else in hundredths of a second.
fn cpu(stat: &str, nanoseconds: Option<&str>, threads: u64) -> Duration {
    let exact =
        nanoseconds.filter(|_| threads == 1).and_then(|text| text.split_whitespace().next()?.parse().ok());
    if let Some(exact) = exact {
        return Duration::from_nanos(exact);
    }
    // The name of the program may hold blanks and brackets; all that follows it does not.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(ticks(11).saturating_add(ticks(12)).saturating_mul(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_on_a_core_is_exact_where_it_can_be() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 120 30 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu(stat, Some("1234567 5 6\n"), 1), Duration::from_nanos(1_234_567));
        assert_eq!(cpu(stat, Some("1234567 5 6\n"), 2), Duration::from_millis(1500));
        assert_eq!(cpu(stat, None, 1), Duration::from_millis(1500));
    }
}
