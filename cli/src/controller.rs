//! `tidegate controller`: runs Rollouts on a cluster. The flags are the reference's, with its rules, so that the arguments
//! of existing deployments go on working (operations.md 1.1).

mod routing;
mod surroundings;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use clap::{ArgAction, Args};
use tidegate_api::duration::GoDuration;
use tidegate_api::time::Span;
use tidegate_controller::lease::Timing;
use tidegate_live::admin;
use tidegate_live::outside;
use tidegate_live::outside::addresses::Allowed;
use tidegate_live::outside::aws::AwsSettings;
use tidegate_live::process::{self, Election, Options};
use tidegate_live::telemetry::{self, Format};

use crate::Exit;
pub use crate::connection::Connection;
use crate::connection::go_bool;
use surroundings::Surroundings;

/// Runs the controller on a cluster.
#[derive(Args, Debug)]
#[command(args_override_self = true)]
pub struct Controller {
    /// Watch only the namespace of the connection (`--namespace`, or the context's)
    #[arg(long, action = ArgAction::Set, default_value = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, hide_possible_values = true)]
    namespaced: bool,
    /// Look only after objects whose label argo-rollouts.argoproj.io/controller-instance-id has this value; without one, only after those that carry no such label
    #[arg(long, default_value = "", value_name = "ID", hide_default_value = true)]
    instance_id: String,
    /// Requests to the API server a second, in the long run; 0 for no limit. More than the reference's 40, with which a wave of 300 updates takes minutes: the server's own priority and fairness protect it
    #[arg(long, default_value_t = 200.0, value_name = "N", allow_negative_numbers = true)]
    qps: f64,
    /// Requests to the API server at once
    #[arg(long, default_value_t = 400, value_name = "N", allow_negative_numbers = true)]
    burst: i64,
    /// Requests under way at the same time. There are no threads: passes wait for requests, not for each other
    #[arg(long, default_value_t = 10, value_name = "N", allow_negative_numbers = true)]
    rollout_threads: i64,
    /// Addresses, networks or `all`: what metrics may be asked of although it is loopback, link-local or the metadata of a cloud
    #[arg(long, default_value = "", value_name = "NETWORKS", hide_default_value = true)]
    allow_metric_addresses: String,
    /// Run only these controllers: `analysis` looks after AnalysisRuns and leaves everything else alone
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    controllers: Vec<String>,
    /// Show the version
    #[arg(long, action = ArgAction::Set, default_value = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, hide_possible_values = true)]
    version: bool,
    /// Port of /healthz, /livez and /readyz
    #[arg(long = "healthzPort", default_value_t = 8080, value_name = "PORT", help_heading = "Telemetry")]
    health_port: u16,
    /// Port of /metrics; `--metricsport` is its deprecated name
    #[arg(
        long = "metricsPort",
        alias = "metricsport",
        default_value_t = 8090,
        value_name = "PORT",
        help_heading = "Telemetry"
    )]
    metrics_port: u16,
    /// panic, fatal, error, warn, info, debug or trace
    #[arg(long = "loglevel", default_value = "info", value_name = "LEVEL", help_heading = "Telemetry")]
    log_level: String,
    /// text or json; text when empty
    #[arg(
        long = "logformat",
        default_value = "",
        value_name = "FORMAT",
        hide_default_value = true,
        help_heading = "Telemetry"
    )]
    log_format: String,
    /// How much the Kubernetes client library tells: 0 warnings, 1 to 3 more, 4 to 7 debugging, 8 everything
    #[arg(
        long = "kloglevel",
        default_value_t = 0,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Telemetry"
    )]
    klog_level: i64,
    /// Address for profiles, `:6060` or `host:port`. Accepted and served, but answers 501: profiles are not built in
    #[arg(
        long = "enable-pprof-address",
        default_value = "",
        value_name = "ADDRESS",
        hide_default_value = true,
        help_heading = "Telemetry"
    )]
    pprof_address: String,
    /// Take part in an election, so that one of several replicas works
    #[arg(long, help_heading = "Leader election", action = ArgAction::Set, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, hide_possible_values = true)]
    leader_elect: bool,
    /// How long a lease holds after its last renewal; more than the renew deadline
    #[arg(
        long = "leader-election-lease-duration",
        default_value = "15s",
        value_name = "DURATION",
        help_heading = "Leader election"
    )]
    lease_duration: GoDuration,
    /// A leader that could not renew for so long gives up; more than the retry period
    #[arg(
        long = "leader-election-renew-deadline",
        default_value = "10s",
        value_name = "DURATION",
        help_heading = "Leader election"
    )]
    renew_deadline: GoDuration,
    /// How often it is tried
    #[arg(
        long = "leader-election-retry-period",
        default_value = "2s",
        value_name = "DURATION",
        help_heading = "Leader election"
    )]
    retry_period: GoDuration,
    #[command(flatten)]
    routing: routing::Routing,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    idle: Idle,
}

/// Flags that existing deployments pass and that change nothing here, or not yet.
#[derive(Args, Debug)]
#[allow(dead_code, reason = "they are read to be accepted")]
struct Idle {
    /// Seconds between two full looks at the caches. Needless: watches are begun anew every 24 s, and a list that was lost is read again
    #[arg(
        long = "rollout-resync",
        default_value_t = 900,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Accepted, without effect"
    )]
    rollout_resync: i64,
    /// Needless: Experiments share the requests of `--rollout-threads`
    #[arg(
        long = "experiment-threads",
        default_value_t = 10,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Accepted, without effect"
    )]
    experiment_threads: i64,
    /// Needless: AnalysisRuns share the requests of `--rollout-threads`
    #[arg(
        long = "analysis-threads",
        default_value_t = 30,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Accepted, without effect"
    )]
    analysis_threads: i64,
    /// Needless: Services share the requests of `--rollout-threads`
    #[arg(
        long = "service-threads",
        default_value_t = 10,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Accepted, without effect"
    )]
    service_threads: i64,
    /// Needless: Ingresses are looked at by the passes of their Rollouts
    #[arg(
        long = "ingress-threads",
        default_value_t = 10,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Accepted, without effect"
    )]
    ingress_threads: i64,
    /// Needless: pods share the requests of `--rollout-threads`
    #[arg(
        long = "ephemeral-metadata-threads",
        default_value_t = 10,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Accepted, without effect"
    )]
    ephemeral_metadata_threads: i64,
    /// Needless: a pod that could not be written is tried again by the next pass
    #[arg(
        long = "ephemeral-metadata-update-pod-retries",
        default_value_t = 3,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Accepted, without effect"
    )]
    ephemeral_metadata_update_pod_retries: i64,
    /// Needless: App Mesh has ended, and a Rollout that names it is refused
    #[arg(
        long = "appmesh-crd-version",
        default_value = "v1beta2",
        value_name = "TEXT",
        help_heading = "Accepted, without effect"
    )]
    appmesh_crd_version: String,
    /// Needless: Ingresses are networking.k8s.io/v1 in every supported Kubernetes
    #[arg(
        long = "ingress-api-version",
        default_value = "",
        value_name = "TEXT",
        hide_default_value = true,
        help_heading = "Accepted, without effect"
    )]
    ingress_api_version: String,
    /// Waits for notifications
    #[arg(long = "self-service-notification-enabled", action = ArgAction::Set, default_value = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, hide_possible_values = true, help_heading = "Accepted, without effect")]
    self_service_notification_enabled: bool,
}

impl Controller {
    /// Runs until it is told to stop.
    pub fn run(&self) -> Exit {
        if self.version {
            println!("tidegate {}", env!("CARGO_PKG_VERSION"));
            return Exit::AsExpected;
        }
        let Some(level) = telemetry::level(&self.log_level) else {
            return fatal(&format!("--loglevel: `{}` is no level", self.log_level));
        };
        let format = Format::parse(&self.log_format);
        telemetry::start(level, self.klog_level, format.unwrap_or(Format::Text));
        if format.is_none() {
            tracing::warn!("--logformat: `{}` is neither text nor json; text it is", self.log_format);
        }
        let surroundings = Surroundings::read();
        for (old, new) in surroundings.deprecated() {
            tracing::warn!("--{old} is deprecated; use --{new}");
        }
        let options = match self.options(&surroundings) {
            Ok(options) => options,
            Err(why) => return logged(&why),
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return logged(&format!("the runtime does not start: {error}")),
        };
        match tokio::task::LocalSet::new().block_on(&runtime, process::run(options)) {
            Ok(()) => Exit::AsExpected,
            Err(error) => logged(&error.to_string()),
        }
    }

    fn options(&self, surroundings: &Surroundings) -> Result<Options, String> {
        if let Some(name) = self.controllers.iter().find(|name| *name != "analysis") {
            return Err(format!("unsupported controller: {name}"));
        }
        Ok(Options {
            client: self.connection.options(),
            namespaced: self.namespaced,
            instance_id: (!self.instance_id.is_empty()).then(|| self.instance_id.as_str().into()),
            qps: self.qps,
            burst: u32::try_from(self.burst).unwrap_or(if self.burst < 0 { 0 } else { u32::MAX }),
            lanes: usize::try_from(self.rollout_threads).unwrap_or(1).clamp(1, 1000),
            election: self.leader_elect.then(|| self.election(surroundings)).transpose()?,
            health_port: self.health_port,
            metrics_port: self.metrics_port,
            profile_address: self.profile_address()?,
            outside: outside::Settings {
                allowed: Allowed::parse(&self.allow_metric_addresses)
                    .map_err(|why| format!("--allow-metric-addresses: {why}"))?,
                aws: AwsSettings::read(&|name| surroundings.variable(name)),
            },
            job_namespace: surroundings
                .variable("ARGO_ROLLOUTS_ANALYSIS_JOB_NAMESPACE")
                .filter(|name| !name.is_empty())
                .map(|name| name.as_str().into()),
            surroundings: tidegate_controller::providers::Surroundings::read(
                &surroundings.namespace,
                env!("CARGO_PKG_VERSION"),
                &|name| surroundings.variable(name),
            ),
            routers: self.routing.settings(surroundings)?,
            runs_only: !self.controllers.is_empty(),
        })
    }

    fn profile_address(&self) -> Result<Option<SocketAddr>, String> {
        let given = Some(&*self.pprof_address).filter(|address| !address.is_empty());
        given.map(admin::address).transpose().map_err(|error| error.to_string())
    }

    fn election(&self, surroundings: &Surroundings) -> Result<Election, String> {
        let span = |duration: &GoDuration| Span::millis(duration.nanos() / 1_000_000);
        let timing = Timing {
            duration: span(&self.lease_duration),
            renew_deadline: span(&self.renew_deadline),
            retry: span(&self.retry_period),
        };
        if timing.duration <= timing.renew_deadline {
            return Err(
                "--leader-election-lease-duration must be more than --leader-election-renew-deadline: \
                        a leader must give up before another may begin"
                    .to_owned(),
            );
        }
        if timing.renew_deadline <= timing.retry || timing.retry <= Span::ZERO {
            return Err(
                "--leader-election-renew-deadline must be more than --leader-election-retry-period, \
                        and that more than 0"
                    .to_owned(),
            );
        }
        if timing.duration < Span::seconds(1) {
            return Err("--leader-election-lease-duration: a Lease holds whole seconds".to_owned());
        }
        let namespace = surroundings.namespace.clone();
        if namespace.is_empty() {
            return Err(
                "POD_NAMESPACE is empty: there is no namespace for the Lease of the leader election \
                        (name one, or --leader-elect=false where no other controller runs)"
                    .to_owned(),
            );
        }
        Ok(Election { namespace, identity: surroundings.identity(), timing })
    }
}

fn fatal(why: &str) -> Exit {
    eprintln!("error: {why}");
    Exit::Failed
}

/// In the form that the log pipeline reads, once there is a log.
fn logged(why: &str) -> Exit {
    tracing::error!("{why}");
    Exit::Failed
}
