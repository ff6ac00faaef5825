//! Starting etcd, an API server and the built-in controllers.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::TestbedError;
use crate::credentials::{SigningKeys, User, random_hex};
use crate::guard::Guard;
use crate::programs::Programs;

/// A control plane that lives as long as this value, and no longer than this process.
#[derive(Debug)]
pub struct ControlPlane {
    guard: Guard,
    folder: PathBuf,
    kubeconfig: PathBuf,
    server: String,
    started_within: Duration,
}

/// On a machine that does other things too. Ready after three or four seconds otherwise.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);
/// A port that is free when it is chosen may be taken when it is used.
const TRIES: usize = 3;

impl ControlPlane {
    /// Starts one and waits until it is ready. Several may run side by side.
    pub async fn start(programs: &Programs) -> Result<ControlPlane, TestbedError> {
        ControlPlane::start_with(programs, &CONTROLLERS).await
    }

    /// Starts one in which only these controllers run: whatever else would write is not there.
    pub async fn start_with(programs: &Programs, controllers: &[&str]) -> Result<ControlPlane, TestbedError> {
        let mut problem = String::new();
        for _ in 0..TRIES {
            match Starting::begin(programs)?.finish(programs, controllers).await {
                Err(TestbedError::Start(why)) if why.contains("address already in use") => problem = why,
                outcome => return outcome,
            }
        }
        Err(TestbedError::Start(problem))
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The address of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// How long it took until it was ready.
    pub fn started_within(&self) -> Duration {
        self.started_within
    }

    /// Where it keeps its files; among them the logs `etcd.log`, `kube-apiserver.log`, `kube-controller-manager.log`, and
    /// `audit.log`, a JSON document a line: the requests of service accounts, each there before it is answered.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process ids of etcd, the API server and the controllers.
    pub fn processes(&self) -> Vec<u32> {
        self.guard.ids()
    }

    /// The process group of all its programs. Whatever joins it ends when the control plane does.
    pub fn group(&self) -> i32 {
        self.guard.group()
    }

    /// Resident memory of all its processes in KiB; 0 where the system does not say.
    pub fn resident_kib(&self) -> u64 {
        self.guard.ids().into_iter().map(resident_kib).sum()
    }
}

/// A control plane that is coming up.
struct Starting {
    guard: Guard,
    folder: PathBuf,
    admin: User,
    manager: User,
    port: u16,
    since: Instant,
}

impl Starting {
    fn begin(programs: &Programs) -> Result<Starting, TestbedError> {
        let since = Instant::now();
        let folder = std::env::temp_dir().join(format!("tidegate-testbed-{}", random_hex()?));
        let create = |folder: &Path| fs::create_dir(folder);
        create(&folder).map_err(TestbedError::io(format!("create {}", folder.display())))?;
        let (admin, manager) = (User::new("admin")?, User::new("system:kube-controller-manager")?);
        let write = |name: &str, content: &str| {
            fs::write(folder.join(name), content).map_err(TestbedError::io(format!("write {name}")))
        };
        write("tokens.csv", &(admin.line() + &manager.line()))?;
        write("audit.yaml", AUDIT)?;
        let keys = SigningKeys::new()?;
        write("service-account.key", &keys.private)?;
        write("service-account.pub", &keys.public)?;

        let [clients, peers, port] = free_ports()?;
        let mut etcd = etcd(programs, &folder, clients, peers)?;
        let mut guard = Guard::begin(&mut etcd, &folder).map_err(TestbedError::io("start etcd"))?;
        let mut apiserver = apiserver(programs, &folder, clients, port)?;
        guard.add(&mut apiserver).map_err(TestbedError::io("start kube-apiserver"))?;
        Ok(Starting { guard, folder, admin, manager, port, since })
    }

    async fn finish(
        mut self,
        programs: &Programs,
        controllers: &[&str],
    ) -> Result<ControlPlane, TestbedError> {
        let certificate = self.certificate().await?;
        let server = format!("https://127.0.0.1:{}", self.port);
        let write = |user: &User, name: &str| {
            let path = self.folder.join(name);
            fs::write(&path, user.kubeconfig(&server, &certificate))
                .map_err(TestbedError::io(format!("write {}", path.display())))?;
            Ok::<_, TestbedError>(path)
        };
        let kubeconfig = write(&self.admin, "kubeconfig")?;
        let managers = write(&self.manager, "manager.kubeconfig")?;
        let client = crate::client(&kubeconfig).await?;
        self.until_ready(&client).await?;
        // Started earlier it would find no server, and wait longer than the server takes.
        if let Some(program) = &programs.controller_manager {
            let mut manager = controller_manager(program, &self.folder, &managers, controllers)?;
            self.guard.add(&mut manager).map_err(TestbedError::io("start kube-controller-manager"))?;
            if controllers.contains(&SERVICE_ACCOUNTS) {
                self.until_managed(&client).await?;
            }
        }
        let started_within = self.since.elapsed();
        let Starting { guard, folder, .. } = self;
        Ok(ControlPlane { guard, folder, kubeconfig, server, started_within })
    }

    /// The API server writes a certificate for itself before it listens.
    async fn certificate(&mut self) -> Result<Vec<u8>, TestbedError> {
        let (certificate, key) =
            (self.folder.join("certificates/apiserver.crt"), self.folder.join("certificates/apiserver.key"));
        loop {
            // The key is written after the certificate.
            if fs::metadata(&key).is_ok_and(|key| key.len() > 0) {
                return fs::read(&certificate).map_err(TestbedError::io("read the server's certificate"));
            }
            self.wait("no certificate").await?;
        }
    }

    async fn until_ready(&mut self, client: &kube::Client) -> Result<(), TestbedError> {
        loop {
            match get(client, "/readyz").await {
                Ok(_) => return Ok(()),
                Err(error) => self.wait(&error.to_string()).await?,
            }
        }
    }

    /// The controllers work once they have made the default service account.
    async fn until_managed(&mut self, client: &kube::Client) -> Result<(), TestbedError> {
        loop {
            match get(client, "/api/v1/namespaces/default/serviceaccounts/default").await {
                Ok(_) => return Ok(()),
                Err(error) => self.wait(&error.to_string()).await?,
            }
        }
    }

    async fn wait(&mut self, state: &str) -> Result<(), TestbedError> {
        if let Some(place) = self.guard.ended() {
            let log = ["etcd.log", "kube-apiserver.log", "kube-controller-manager.log"][place];
            return Err(TestbedError::Start(format!("{log} ends with:\n{}", self.tail(log))));
        }
        if self.since.elapsed() > PATIENCE {
            return Err(TestbedError::Start(format!("not ready after {PATIENCE:?}: {state}")));
        }
        sleep(POLL).await;
        Ok(())
    }

    fn tail(&self, log: &str) -> String {
        let text = fs::read(self.folder.join(log)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

async fn get(client: &kube::Client, path: &str) -> Result<String, TestbedError> {
    let request = http::Request::get(path).body(Vec::new()).expect("the paths asked for are well-formed");
    let answer = tokio::time::timeout(Duration::from_secs(5), client.request_text(request)).await;
    Ok(answer.map_err(|_| TestbedError::Start(format!("{path} does not answer")))??)
}

fn etcd(programs: &Programs, folder: &Path, clients: u16, peers: u16) -> Result<Command, TestbedError> {
    let address = |port: u16| format!("http://127.0.0.1:{port}");
    let mut command = program(&programs.etcd, folder, "etcd")?;
    command
        .arg("--name=testenv")
        .arg(format!("--data-dir={}", folder.join("etcd").display()))
        .arg(format!("--listen-client-urls={}", address(clients)))
        .arg(format!("--advertise-client-urls={}", address(clients)))
        .arg(format!("--listen-peer-urls={}", address(peers)))
        .arg(format!("--initial-advertise-peer-urls={}", address(peers)))
        .arg(format!("--initial-cluster=testenv={}", address(peers)))
        // Nothing here is worth keeping.
        .args(["--unsafe-no-fsync", "--log-level=warn"]);
    Ok(command)
}

/// Which requests the API server notes down: those of service accounts. Tests of rights compare them with roles; there
/// are no others, so it costs nothing elsewhere.
const AUDIT: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
}"#;

fn apiserver(programs: &Programs, folder: &Path, etcd: u16, port: u16) -> Result<Command, TestbedError> {
    let key = |part: &str| folder.join(format!("service-account.{part}"));
    let mut command = program(&programs.apiserver, folder, "kube-apiserver")?;
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"))
        .arg(format!("--secure-port={port}"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(format!("--cert-dir={}", folder.join("certificates").display()))
        .arg(format!("--token-auth-file={}", folder.join("tokens.csv").display()))
        .arg("--authorization-mode=RBAC")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-key-file={}", key("pub").display()))
        .arg(format!("--service-account-signing-key-file={}", key("key").display()))
        // Pods need no token here, and must not wait for the service account of a namespace that was just made.
        .arg("--disable-admission-plugins=ServiceAccount")
        .arg(format!("--audit-policy-file={}", folder.join("audit.yaml").display()))
        .arg(format!("--audit-log-path={}", folder.join("audit.log").display()))
        // Nobody serves at the address that a loopback server would announce.
        .arg("--endpoint-reconciler-type=none")
        .args(["--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true"]);
    Ok(command)
}

/// What an application's objects need. Nodes are not looked after: there is but one, invented, which never reports.
const CONTROLLERS: [&str; 19] = [
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "namespace-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
];

const SERVICE_ACCOUNTS: &str = "serviceaccount-controller";

fn controller_manager(
    manager: &Path,
    folder: &Path,
    kubeconfig: &Path,
    controllers: &[&str],
) -> Result<Command, TestbedError> {
    let mut command = program(manager, folder, "kube-controller-manager")?;
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--service-account-private-key-file={}", folder.join("service-account.key").display()))
        .arg(format!("--root-ca-file={}", folder.join("certificates/apiserver.crt").display()))
        .arg(format!("--controllers={}", controllers.join(",")))
        .args(["--use-service-account-credentials=false", "--leader-elect=false", "--secure-port=0"])
        // Its client must not be what load tests measure.
        .args(["--kube-api-qps=2000", "--kube-api-burst=4000"])
        // An autoscaler looks every 15 s otherwise.
        .arg("--horizontal-pod-autoscaler-sync-period=1s")
        .args(["--concurrent-replicaset-syncs=20", "--concurrent-deployment-syncs=20"])
        .args(["--concurrent-namespace-syncs=20", "--concurrent-endpoint-syncs=10"]);
    Ok(command)
}

/// A program that writes into a log of its name. It inherits nothing else: a pipe of the test runner in its hands would
/// keep whoever reads that pipe waiting.
fn program(path: &Path, folder: &Path, name: &str) -> Result<Command, TestbedError> {
    let log = folder.join(format!("{name}.log"));
    let log = File::create(&log).map_err(TestbedError::io(format!("create {}", log.display())))?;
    let errors = log.try_clone().map_err(TestbedError::io("share a log"))?;
    let mut command = Command::new(path);
    command.current_dir(folder).stdin(Stdio::null()).stdout(log).stderr(errors);
    Ok(command)
}

pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N], TestbedError> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let socket = TcpListener::bind(("127.0.0.1", 0)).map_err(TestbedError::io("find a free port"))?;
        *port = socket.local_addr().map_err(TestbedError::io("find a free port"))?.port();
        // All are held until the last is found, so that they differ.
        held.push(socket);
    }
    Ok(ports)
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let ports: [u16; 8] = free_ports().unwrap();
        let distinct: std::collections::BTreeSet<u16> = ports.into_iter().collect();
        assert_eq!(distinct.len(), 8);
    }
}
