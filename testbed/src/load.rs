//! What a wave of updates costs: `cargo xtask load`.
//!
//! One run is a life in five parts, each told on standard error while it goes on: Rollouts are created, all are given
//! another image at once, all stand still, the controller is started anew, and what it took is printed. Counts come from
//! the controller's own `/metrics`, times and memory from the system. The pods and the person who changes the images
//! are this process's work, on the same machine; the figures of the controller are of its process alone.

mod fleet;
mod process;
mod scrape;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_crd_established;
use tidegate_sim::world::{PodModel, PodModels};
use tokio::time::{Instant, sleep};

use crate::kubectl::kubectl;
use crate::{Cluster, Settings, StandIn, Testbed, TestbedError, begin};
use fleet::Fleet;
use process::{Controller, Usage};
use scrape::Requests;

/// Steps of the canary under load: three weights and a pause of a second between each two.
const STEPS: [i64; 3] = [20, 50, 80];
/// After the last change, until the echoes of our own writes have come.
const SETTLING: Duration = Duration::from_secs(4);
/// A run that takes longer than that says so and ends.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Goals, for 300 rollouts of 3 pods.
const CPU_MILLIS: f64 = 12.0;
const WRITES: f64 = 18.0;
/// What a run may need so that the checks pass: the goal is missed, and is not to be missed by more.
const MOST_WRITES: f64 = 28.0;
const UPDATED_SECONDS: f64 = 85.0;
const IDLE_CORE_PERCENT: f64 = 0.1;
const RESIDENT_MIB: f64 = 20.0;

/// What is to be measured.
#[derive(Args, Clone, Debug)]
pub struct Load {
    /// So many Rollouts.
    #[arg(long, default_value_t = 300)]
    rollouts: usize,
    /// Of so many pods each.
    #[arg(long, default_value_t = 3)]
    pods: usize,
    /// So many updates of all of them, one after the other.
    #[arg(long, default_value_t = 1)]
    updates: usize,
    /// So many seconds of rest are measured.
    #[arg(long, default_value_t = 30)]
    idle: u64,
    /// The program to measure; without, the one that lies beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Fail when there are more writes than the goals allow. Counts only: times belong to the machine.
    #[arg(long)]
    check: bool,
    /// Where the controller's log goes; nowhere without.
    #[arg(long)]
    log: Option<PathBuf>,
}

impl Load {
    /// Measures and prints.
    pub async fn run(&self) -> Result<(), String> {
        let settings = Settings { kubeconfig: None, required: true, ..Settings::from_environment() };
        let ready = begin(&settings).await.map_err(|error| error.to_string())?;
        let Testbed::Ready(cluster) = ready else {
            return Err("a control plane of our own was asked for".into());
        };
        let outcome = tokio::time::timeout(PATIENCE, self.measure(&cluster)).await;
        let report = outcome.map_err(|_| format!("not done after {PATIENCE:?}"))??;
        print!("{report}");
        if self.check { report.check() } else { Ok(()) }
    }

    async fn measure(&self, cluster: &Cluster) -> Result<Report, String> {
        let say = |error: TestbedError| error.to_string();
        let Cluster::Own(plane) = cluster else {
            return Err("a control plane of our own was asked for".into());
        };
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
        kubectl(plane.kubeconfig(), &["apply", "--server-side", "-k", &crds.display().to_string()], "")?;
        // `kubectl wait` gives up on an object that has no conditions yet.
        let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client().await.map_err(say)?);
        let served = await_condition(definitions, "rollouts.argoproj.io", is_crd_established());
        served.await.map_err(|error| error.to_string())?;
        let pods = cluster.client().await.map_err(say)?;
        let models = PodModels { default: PodModel::instant(), by_image: Vec::new() };
        let _stand_in = StandIn::start(pods, None, models, 0).await.map_err(say)?;
        let mut fleet =
            Fleet::new(cluster.client().await.map_err(say)?, self.rollouts, self.pods, &STEPS).await?;

        let program = self.program.clone().map_or_else(beside_us, Ok)?;
        let mut controller = Controller::start(&program, plane, self.log.as_deref())?;
        controller.until_it_leads().await?;
        eprintln!("{} Rollouts of {} pods are created", self.rollouts, self.pods);
        let created = Instant::now();
        fleet.create().await?;
        fleet.until_all_are_done("healthy").await?;
        let mut report = Report::new(self, created.elapsed());

        for number in 1..=self.updates {
            sleep(SETTLING).await;
            eprintln!("update {number}: all images are changed");
            let (usage, requests) = controller.look().await?;
            let since = Instant::now();
            fleet.update(number).await?;
            let changed = since.elapsed();
            fleet.until_all_are_done("updated").await?;
            let took = since.elapsed();
            sleep(SETTLING).await;
            let (usage_after, requests_after) = controller.look().await?;
            report.updates.push(Update {
                changed,
                took,
                cpu: usage_after.cpu.saturating_sub(usage.cpu),
                requests: requests_after.since(&requests),
                passes: requests_after.passes.saturating_sub(requests.passes),
                usage: usage_after,
            });
        }

        eprintln!("waiting for the last event to be told");
        until_quiet(&controller).await?;
        eprintln!("at rest for {} s", self.idle);
        let (_, requests) = controller.look().await?;
        let usage = controller.usage()?;
        let since = Instant::now();
        sleep(Duration::from_secs(self.idle)).await;
        let usage_after = controller.usage()?;
        let share = usage_after.cpu.saturating_sub(usage.cpu).as_secs_f64() / since.elapsed().as_secs_f64();
        let (_, requests_after) = controller.look().await?;
        report.idle = Some((share * 100.0, requests_after.since(&requests)));

        eprintln!("the controller is started anew");
        controller.stop()?;
        let since = Instant::now();
        let mut controller = Controller::start(&program, plane, self.log.as_deref())?;
        controller.until_it_leads().await?;
        let led = since.elapsed();
        controller.until_passes(self.rollouts as u64).await?;
        let took = since.elapsed();
        report.cold = Some(Cold { led, took, usage: controller.usage()? });
        Ok(report)
    }
}

/// Events are told one after the other, beside everything else, and long after a wave of updates is over.
async fn until_quiet(controller: &Controller) -> Result<(), String> {
    let (_, mut before) = controller.look().await?;
    loop {
        sleep(SETTLING).await;
        let (_, after) = controller.look().await?;
        if after.since(&before).is_of_rest() {
            return Ok(());
        }
        before = after;
    }
}

fn beside_us() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("where this program lies: {error}"))?;
    Ok(own.with_file_name("tidegate"))
}

struct Report {
    rollouts: usize,
    pods: usize,
    created: Duration,
    updates: Vec<Update>,
    idle: Option<(f64, Requests)>,
    cold: Option<Cold>,
}

struct Update {
    changed: Duration,
    took: Duration,
    cpu: Duration,
    requests: Requests,
    passes: u64,
    usage: Usage,
}

struct Cold {
    led: Duration,
    took: Duration,
    usage: Usage,
}

impl Report {
    fn new(load: &Load, created: Duration) -> Report {
        let Load { rollouts, pods, .. } = *load;
        Report { rollouts, pods, created, updates: Vec::new(), idle: None, cold: None }
    }

    fn writes_per_rollout(&self, update: &Update) -> f64 {
        update.requests.writes() as f64 / self.rollouts as f64
    }

    /// What belongs to the controller and not to the machine.
    fn check(&self) -> Result<(), String> {
        for update in &self.updates {
            let writes = self.writes_per_rollout(update);
            if writes > MOST_WRITES {
                return Err(format!("{writes:.1} writes per rollout and update; {MOST_WRITES} are the most"));
            }
        }
        match &self.idle {
            Some((_, requests)) if requests.writes() > 0 => {
                Err(format!("{} writes at rest; only the Lease may be renewed", requests.writes()))
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let n = self.rollouts as f64;
        writeln!(
            f,
            "{} rollouts of {} pods, steps {STEPS:?} with a second between",
            self.rollouts, self.pods
        )?;
        row(f, "created until all are healthy", format!("{:.1} s", self.created.as_secs_f64()), "")?;
        for (place, update) in self.updates.iter().enumerate() {
            writeln!(f, "update {}", place + 1)?;
            let cpu = update.cpu.as_secs_f64() * 1000.0 / n;
            row(f, "CPU per rollout", format!("{cpu:.2} ms"), &format!("{CPU_MILLIS} ms"))?;
            let writes = self.writes_per_rollout(update);
            row(f, "writes per rollout, without events", format!("{writes:.2}"), &WRITES.to_string())?;
            let took = format!("{:.1} s", update.took.as_secs_f64());
            row(f, "from the change until all are updated", took, &format!("{UPDATED_SECONDS} s"))?;
            row(f, "of it changing all images", format!("{:.1} s", update.changed.as_secs_f64()), "")?;
            row(f, "passes per rollout", format!("{:.1}", update.passes as f64 / n), "")?;
            resident(f, &update.usage)?;
            requests(f, &update.requests, n)?;
        }
        if let Some((share, told)) = &self.idle {
            writeln!(f, "at rest")?;
            row(f, "CPU", format!("{share:.3} % of a core"), &format!("{IDLE_CORE_PERCENT} %"))?;
            row(f, "writes but the Lease", told.writes().to_string(), "0")?;
            requests(f, told, 1.0)?;
        }
        if let Some(cold) = &self.cold {
            writeln!(f, "started anew")?;
            row(f, "until it leads", format!("{:.2} s", cold.led.as_secs_f64()), "")?;
            row(f, "until each had its first pass", format!("{:.2} s", cold.took.as_secs_f64()), "")?;
            row(f, "CPU until then", format!("{:.0} ms", cold.usage.cpu.as_secs_f64() * 1000.0), "")?;
            resident(f, &cold.usage)?;
        }
        Ok(())
    }
}

fn row(f: &mut std::fmt::Formatter<'_>, what: &str, measured: String, goal: &str) -> std::fmt::Result {
    let goal = if goal.is_empty() { String::new() } else { format!("  (goal {goal})") };
    writeln!(f, "  {what:<40} {measured:>16}{goal}")
}

fn resident(f: &mut std::fmt::Formatter<'_>, usage: &Usage) -> std::fmt::Result {
    let mib = |kib: u64| kib as f64 / 1024.0;
    row(f, "resident", format!("{:.1} MiB", mib(usage.resident)), &format!("{RESIDENT_MIB} MiB"))?;
    row(f, "of it anonymous", format!("{:.1} MiB", mib(usage.anonymous)), "")?;
    row(f, "peak", format!("{:.1} MiB", mib(usage.peak)), &format!("{RESIDENT_MIB} MiB"))
}

fn requests(f: &mut std::fmt::Formatter<'_>, requests: &Requests, n: f64) -> std::fmt::Result {
    for ((verb, kind, code), count) in requests.counts.iter().filter(|(_, count)| **count > 0) {
        row(f, &format!("{verb} {kind} {code}"), format!("{:.2}", *count as f64 / n), "")?;
    }
    Ok(())
}
