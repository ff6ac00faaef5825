//! A real Kubernetes control plane for tests, without a container engine.
//!
//! A simulator whose model is wrong is worse than none, so what it claims is asked of the real thing too. [`begin`]
//! starts etcd, an API server and the built-in controllers on loopback ports, or borrows a cluster that runs already;
//! where neither is to be had it says why, and tests are skipped in plain sight. [`StandIn`] takes the place of the
//! kubelets: it brings pods to life as the simulator does, from the same [`tidegate_sim::cluster::life`].
//!
//! Tests are written with [`run_tests`]; `cargo xtask testenv up` runs a control plane in the foreground.

pub mod conformance;
pub mod control_plane;
pub mod controller;
pub mod credentials;
mod golang;
mod guard;
pub mod kubectl;
pub mod load;
pub mod own_network;
pub mod programs;
pub mod requests;
pub mod scenarios;
pub mod stage;
pub mod stand_in;
pub mod stories;
mod suite;
pub mod surroundings;

pub use control_plane::ControlPlane;
pub use programs::Settings;
pub use stand_in::StandIn;
pub use suite::{Suite, TestResult, run_tests, run_tests_apart};

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use programs::Programs;

/// Whether there is a cluster to test against.
#[derive(Debug)]
pub enum Testbed {
    /// There is one.
    Ready(Cluster),
    /// There is none, and why. Tests that need one are skipped, and counted as skipped.
    Skipped(String),
}

/// A cluster to test against.
#[derive(Debug)]
pub enum Cluster {
    /// Ours: it goes when this value does.
    Own(ControlPlane),
    /// A caller's, named by its kubeconfig; nothing else is known about it.
    Borrowed(PathBuf),
}

/// What prevents a test against a real cluster.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// Something of the operating system.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What happened.
        error: std::io::Error,
    },
    /// The control plane could not be built.
    #[error("the control plane for tests could not be built: {0}")]
    Build(String),
    /// It did not come up.
    #[error("the control plane for tests did not start: {0}")]
    Start(String),
    /// The cluster is there, but does not do what it should.
    #[error("the cluster: {0}")]
    Cluster(Box<kube::Error>),
    /// The kubeconfig is unusable.
    #[error("the kubeconfig: {0}")]
    Kubeconfig(#[from] Box<kube::config::KubeconfigError>),
    /// A cluster is required, and there is none.
    #[error("real-server tests may not be skipped here: {0}")]
    Required(String),
}

impl TestbedError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> TestbedError {
        let what = what.into();
        move |error| TestbedError::Io { what, error }
    }
}

impl From<kube::Error> for TestbedError {
    fn from(error: kube::Error) -> TestbedError {
        TestbedError::Cluster(Box::new(error))
    }
}

/// Gets a cluster: a borrowed one, else one started from a caller's programs, else one built from `testenv/` and
/// started. Each call that starts one starts another.
pub async fn begin(settings: &Settings) -> Result<Testbed, TestbedError> {
    if let Some(kubeconfig) = &settings.kubeconfig {
        return Ok(Testbed::Ready(Cluster::Borrowed(kubeconfig.clone())));
    }
    match Programs::get(settings)? {
        Ok(programs) => Ok(Testbed::Ready(Cluster::Own(ControlPlane::start(&programs).await?))),
        Err(missing) if settings.required => Err(TestbedError::Required(missing)),
        Err(missing) => Ok(Testbed::Skipped(missing)),
    }
}

impl Cluster {
    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        match self {
            Cluster::Own(own) => own.kubeconfig(),
            Cluster::Borrowed(path) => path,
        }
    }

    /// A new client with the rights of an administrator. Its connections belong to the runtime it is made in.
    pub async fn client(&self) -> Result<kube::Client, TestbedError> {
        client(self.kubeconfig()).await
    }
}

/// A client that does what a kubeconfig says.
pub async fn client(kubeconfig: &Path) -> Result<kube::Client, TestbedError> {
    let read = Kubeconfig::read_from(kubeconfig).map_err(Box::new)?;
    let config =
        kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(Box::new)?;
    Ok(kube::Client::try_from(config)?)
}
