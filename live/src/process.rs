//! The controller as a process: connected, elected, running, told to stop.

use std::rc::Rc;

use tidegate_api::object::Text;
use tidegate_controller::lease::{Elector, LEASE_NAME, Timing};
use tidegate_controller::manager::Settings;
use tokio::sync::Semaphore;

use crate::bucket::Bucket;
use crate::calls::Caller;
use crate::client::{self, ClientOptions, NoClient};
use crate::clock::WallClock;
use crate::driver::{self, Witness};
use crate::election::Candidate;
use crate::fence::Fence;
use crate::recorder::Mailbox;
use crate::watches::Scope;

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
    /// Requests under way at the same time.
    pub lanes: usize,
    /// Take part in an election; without one the controller runs at once.
    pub election: Option<Election>,
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

/// Runs the controller until it is told to stop.
pub async fn run(options: Options) -> Result<(), NoClient> {
    let clock = WallClock::start();
    let (client, namespace) = client::connect(&options.client).await?;
    let scope = Scope {
        namespace: options.namespaced.then(|| Text::from(namespace)),
        instance_id: options.instance_id.clone(),
    };
    let caller = Caller {
        client,
        bucket: Bucket::new(options.qps, options.burst, clock),
        lanes: Rc::new(Semaphore::new(options.lanes.max(1))),
        fence: if options.election.is_some() { Fence::closed() } else { Fence::open() },
        clock,
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
        Candidate::new(caller.client.clone(), place, elector, clock, caller.fence.clone())
    });
    let mut stop = std::pin::pin!(stop_signal());
    if let Some(candidate) = &mut candidate {
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = candidate.win() => tracing::info!("leads"),
        }
    }
    let settings = Settings { instance_id: options.instance_id, ..Settings::default() };
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
    let left = driver::run(caller, scope, settings, &mut mailbox, &mut Nobody, end).await;
    delivery.abort();
    if left > 0 {
        tracing::warn!(left, "requests under way were not waited for any longer");
    }
    if let Some(candidate) = candidate.as_mut().filter(|_| left == 0) {
        candidate.give_back().await;
    }
    Ok(())
}

struct Nobody;
impl Witness for Nobody {}

/// Ready once the process was asked to end.
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
}
