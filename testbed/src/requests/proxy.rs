//! Traefik: built once, and started for one namespace.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::stream::get;
use crate::TestbedError;
use crate::control_plane::free_ports;
use crate::credentials::random_hex;
use crate::golang::{GoProgram, repository, required};
use crate::guard::Guard;

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Builds the proxy, unless it is built; answers where it is, or why there is none. A proxy that cannot be built is no
/// error: its many modules come from many places.
pub fn build() -> Result<Result<PathBuf, String>, TestbedError> {
    let module = repository().join("proxy");
    let go_mod = fs::read_to_string(module.join("go.mod")).map_err(TestbedError::io("read proxy/go.mod"))?;
    let version = required(&go_mod, "github.com/traefik/traefik/v3").unwrap_or_default();
    let traefik = GoProgram {
        what: format!("Traefik {version}"),
        module,
        sources: &["go.mod", "go.sum"],
        package: "github.com/traefik/traefik/v3/cmd/traefik",
        stamp: String::new(),
        name: "proxy",
    };
    match traefik.build() {
        Ok(folder) => Ok(folder.map(|folder| folder.join("proxy"))),
        Err(TestbedError::Build(why)) => Ok(Err(format!("the proxy could not be built: {why}"))),
        Err(error) => Err(error),
    }
}

/// A running proxy. It goes with this value.
#[derive(Debug)]
pub struct Proxy {
    guard: Guard,
    folder: PathBuf,
    address: SocketAddr,
}

impl Proxy {
    /// Starts one that serves the routes of a namespace, and waits until it is up.
    pub async fn start(program: &Path, kubeconfig: &Path, namespace: &str) -> Result<Proxy, TestbedError> {
        let folder = std::env::temp_dir().join(format!("tidegate-proxy-{}", random_hex()?));
        fs::create_dir(&folder).map_err(TestbedError::io("create the proxy's folder"))?;
        let [web, ping] = free_ports()?;
        let mut command = command(program, kubeconfig, namespace, &folder, [web, ping])?;
        let guard = Guard::begin(&mut command, &folder).map_err(TestbedError::io("start the proxy"))?;
        let mut proxy = Proxy { guard, folder, address: SocketAddr::from(([127, 0, 0, 1], web)) };
        proxy.until_up(SocketAddr::from(([127, 0, 0, 1], ping))).await?;
        Ok(proxy)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process that it is.
    pub fn process(&self) -> u32 {
        self.guard.ids()[0]
    }

    /// What it said last.
    pub fn log(&self) -> String {
        let text = fs::read(self.folder.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    async fn until_up(&mut self, ping: SocketAddr) -> Result<(), TestbedError> {
        let since = Instant::now();
        while get(ping, "ping", "/ping").await.map(|reply| reply.status) != Ok(200) {
            if self.guard.ended().is_some() || since.elapsed() > PATIENCE {
                return Err(TestbedError::Start(format!("the proxy; its log ends with:\n{}", self.log())));
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

fn command(
    program: &Path,
    kubeconfig: &Path,
    namespace: &str,
    folder: &Path,
    [web, ping]: [u16; 2],
) -> Result<Command, TestbedError> {
    let log = File::create(folder.join("log")).map_err(TestbedError::io("create the proxy's log"))?;
    let errors = log.try_clone().map_err(TestbedError::io("share the proxy's log"))?;
    let mut command = Command::new(program);
    command
        .env("KUBECONFIG", kubeconfig)
        .arg(format!("--entryPoints.web.address=127.0.0.1:{web}"))
        .arg(format!("--entryPoints.ping.address=127.0.0.1:{ping}"))
        .args(["--ping=true", "--ping.entryPoint=ping"])
        .arg("--providers.kubernetesCRD=true")
        .arg(format!("--providers.kubernetesCRD.namespaces={namespace}"))
        .arg("--providers.kubernetesGateway=true")
        .arg(format!("--providers.kubernetesGateway.namespaces={namespace}"))
        // Classes belong to no namespace; each proxy takes its own.
        .arg(format!("--providers.kubernetesGateway.labelSelector=proxy={namespace}"))
        // It gathers changes for two seconds otherwise: as long as a pod may be given to know that it goes.
        .arg("--providers.providersThrottleDuration=200ms")
        .args(["--global.checkNewVersion=false", "--global.sendAnonymousUsage=false", "--log.level=INFO"])
        // Two cores for everything: the proxy must not believe that they are its own.
        .env("GOMAXPROCS", "2");
    command.current_dir(folder).stdin(Stdio::null()).stdout(log).stderr(errors);
    Ok(command)
}
