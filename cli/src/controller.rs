//! `tidegate controller`: runs Rollouts on a cluster. The flags are the reference's, so that the arguments of existing
//! deployments go on working (operations.md 1.1).

use std::path::PathBuf;

use clap::{ArgAction, Args};
use tidegate_live::client::ClientOptions;
use tidegate_live::process::{self, Options};

use crate::Exit;

/// Runs the controller on a cluster.
#[derive(Args)]
#[command(args_override_self = true)]
pub struct Controller {
    /// Watch only the namespace of the connection (`--namespace`, or the context's)
    #[arg(long, action = ArgAction::Set, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    namespaced: bool,
    /// Look only after objects whose label argo-rollouts.argoproj.io/controller-instance-id has this value
    #[arg(long, default_value = "")]
    instance_id: String,
    /// Requests to the API server a second, in the long run; 0 for no limit
    #[arg(long, default_value_t = 200.0)]
    qps: f64,
    /// Requests to the API server at once
    #[arg(long, default_value_t = 400)]
    burst: u32,
    /// Requests for Rollouts under way at the same time
    #[arg(long, default_value_t = 10)]
    rollout_threads: usize,
    #[command(flatten)]
    connection: Connection,
}

/// Which cluster, and as whom.
#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Path of a kubeconfig
    #[arg(long, value_name = "FILE", global = true)]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long, global = true)]
    context: Option<String>,
    /// Cluster in the kubeconfig
    #[arg(long, global = true)]
    cluster: Option<String>,
    /// User in the kubeconfig
    #[arg(long, global = true)]
    user: Option<String>,
    /// Namespace
    #[arg(long, short, global = true)]
    namespace: Option<String>,
    /// Address of the API server
    #[arg(long, short, global = true)]
    server: Option<String>,
    /// Bearer token
    #[arg(long, global = true)]
    token: Option<String>,
}

impl Connection {
    /// As the client wants it.
    pub fn options(&self) -> ClientOptions {
        ClientOptions {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            namespace: self.namespace.clone(),
            server: self.server.clone(),
            token: self.token.clone(),
            ..ClientOptions::default()
        }
    }
}

impl Controller {
    /// Runs until it is told to stop.
    pub fn run(&self) -> Exit {
        tracing_subscriber::fmt().init();
        let options = Options {
            client: self.connection.options(),
            namespaced: self.namespaced,
            instance_id: (!self.instance_id.is_empty()).then(|| self.instance_id.as_str().into()),
            qps: self.qps,
            burst: self.burst,
            lanes: self.rollout_threads,
            election: None,
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("error: the runtime does not start: {error}");
                return Exit::Failed;
            }
        };
        match tokio::task::LocalSet::new().block_on(&runtime, process::run(options)) {
            Ok(()) => Exit::AsExpected,
            Err(error) => {
                eprintln!("error: {error}");
                Exit::Failed
            }
        }
    }
}
