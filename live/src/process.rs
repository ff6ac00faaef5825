//! The controller as a process: connected, elected, running, told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_api::object::Text;
use tidegate_controller::lease::{Elector, LEASE_NAME, Timing};
use tidegate_controller::manager::Settings;
use tidegate_controller::providers::Surroundings;
use tidegate_controller::routers;

use crate::admin::{self, Admin, NoServer, Role};
use crate::bucket::Bucket;
use crate::calls::Caller;
use crate::client::{self, ClientOptions, NoClient};
use crate::clock::WallClock;
use crate::driver;
use crate::election::Candidate;
use crate::fence::Fence;
use crate::metrics::Metrics;
use crate::outside::{self, Carrier};
use crate::recorder::Mailbox;
use crate::watches::Scope;

/// Longest time for giving the lease back when the process is asked to end.
const GIVE_BACK_LIMIT: Duration = Duration::from_millis(800);

/// How a controller is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which cluster, as whom.
    pub client: ClientOptions,
    /// Watch only the namespace of the connection.
    pub namespaced: bool,
    /// Look only after objects with this instance label.
    pub instance_id: Option<Text>,
    /// Requests a second in the long run; 0 for no limit.
    pub qps: f64,
    /// Requests at once.
    pub burst: u32,
    /// Passes with a request under way at the same time; those held up not counted.
    pub lanes: usize,
    /// Take part in an election; without one the controller runs at once.
    pub election: Option<Election>,
    /// Port of the probes; 0 for any.
    pub health_port: u16,
    /// Port of the metrics; 0 for any.
    pub metrics_port: u16,
    /// What the operator set for metric providers.
    pub surroundings: Surroundings,
    /// Where Jobs of analysis runs are made; in the namespace of the run without one.
    pub job_namespace: Option<Text>,
    /// How questions to metric providers are carried.
    pub outside: outside::Settings,
    /// Where profiles would be; nowhere without one.
    pub profile_address: Option<SocketAddr>,
    /// How routers are set up.
    pub routers: routers::Settings,
    /// Look after AnalysisRuns and leave everything else alone.
    pub runs_only: bool,
}

/// In which election, under which name.
#[derive(Clone, Debug)]
pub struct Election {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name that nobody else has.
    pub identity: String,
    /// How patient everybody is.
    pub timing: Timing,
}

/// Why the controller did not start.
#[derive(Debug, thiserror::Error)]
pub enum NoStart {
    /// No cluster.
    #[error(transparent)]
    Client(#[from] NoClient),
    /// No probes or no metrics. A process that nobody can see is not to run unnoticed.
    #[error(transparent)]
    Server(#[from] NoServer),
    /// A metric that cannot be. A bug.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the controller until it is told to stop, or has lost its lease.
pub async fn run(options: Options) -> Result<(), NoStart> {
    let clock = WallClock::start();
    let mut stop = std::pin::pin!(stop_signal());
    let mut metrics = Metrics::new()?.with_process()?;
    let (client, namespace) = client::connect_counted(&options.client, &metrics.requests()).await?;
    let admin = Admin::new(metrics.clone());
    // Before the election: followers are probed and scraped too.
    serve(&admin, &options).await?;
    let scope = Scope {
        namespace: options.namespaced.then(|| Text::from(&*namespace)),
        instance_id: options.instance_id.clone(),
    };
    let caller = Caller {
        client,
        bucket: Bucket::new(options.qps, options.burst, clock),
        fence: if options.election.is_some() { Fence::closed() } else { Fence::open() },
        clock,
        carrier: Carrier::new(options.outside.clone(), clock),
    };
    let mut candidate = options.election.map(|election| {
        let name = match &options.instance_id {
            Some(id) => format!("{LEASE_NAME}-{id}"),
            None => LEASE_NAME.to_owned(),
        };
        tracing::info!(
            lease = name,
            namespace = election.namespace,
            identity = election.identity,
            "stands for election"
        );
        let elector = Elector::new(election.identity, election.timing);
        let place = (&*election.namespace, &*name);
        Candidate::new(caller.client.clone(), place, &namespace, elector, clock, caller.fence.clone())
    });
    if let Some(candidate) = &mut candidate {
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = candidate.win() => tracing::info!("leads"),
        }
    }
    let settings = Settings {
        instance_id: options.instance_id,
        job_namespace: options.job_namespace,
        surroundings: Arc::new(options.surroundings),
        routers: Arc::new(options.routers),
        runs_only: options.runs_only,
        passes_at_once: Some(options.lanes.max(1)),
        ..Settings::default()
    };
    let mut mailbox = Mailbox::new(clock);
    let delivery = tokio::task::spawn_local(mailbox.clone().deliver(caller.clone()));
    let end = async {
        let lost = async {
            match &mut candidate {
                Some(candidate) => candidate.lose().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = &mut stop => {}
            () = lost => tracing::error!("the lease is lost; nothing more is written"),
        }
    };
    let left = driver::run(caller, scope, settings, &mut mailbox, &mut metrics, admin.leads(), end).await;
    delivery.abort();
    if left > 0 {
        tracing::warn!(left, "requests under way were not waited for any longer");
    }
    if let Some(candidate) = candidate.as_mut().filter(|_| left == 0) {
        // A server that does not answer keeps nobody here; the lease runs out by itself.
        let _ = tokio::time::timeout(GIVE_BACK_LIMIT, candidate.give_back()).await;
    }
    Ok(())
}

async fn serve(admin: &Admin, options: &Options) -> Result<(), NoServer> {
    let health = admin::listen("probes", "--healthzPort", admin::everywhere(options.health_port)).await?;
    let metrics = admin::listen("metrics", "--metricsPort", admin::everywhere(options.metrics_port)).await?;
    tokio::task::spawn_local(admin.clone().serve(Role::Health, health));
    tokio::task::spawn_local(admin.clone().serve(Role::Metrics, metrics));
    if let Some(address) = options.profile_address {
        let profiles = admin::listen("profiles", "--enable-pprof-address", address).await?;
        tokio::task::spawn_local(admin.clone().serve(Role::Profile, profiles));
    }
    Ok(())
}

/// Ready once the process was asked to end. Who asks twice does not want to wait.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard; only a kill ends this process");
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = term.recv() => tracing::info!("asked to end (SIGTERM)"),
        _ = int.recv() => tracing::info!("asked to end (SIGINT)"),
    }
    tokio::task::spawn_local(async move {
        tokio::select! {
            biased;
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::warn!("asked to end twice; ends without waiting");
        std::process::exit(1);
    });
}
