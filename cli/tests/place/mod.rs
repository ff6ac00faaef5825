//! A namespace of a real API server with pods that come to life, and the real program beside it.
#![allow(dead_code, reason = "helpers of tests; each file uses a part of them")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests against real programs measure real time"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_sim::world::{PodModel, PodModels};
use tidegate_testbed::kubectl::kubectl;
use tidegate_testbed::{Cluster, StandIn};
use tokio::sync::OnceCell;

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How long a test waits for a state, at most.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Look after one namespace only.
pub const NAMESPACED: &str = "--namespaced";
const POLL: Duration = Duration::from_millis(40);

/// Annotation with the revision of a Rollout or a ReplicaSet.
pub const REVISION: &str = "rollout.argoproj.io/revision";
/// Label with the hash of a pod template.
pub const HASH: &str = "rollouts-pod-template-hash";

/// A namespace with a stand-in that looks after its pods.
pub struct Place {
    pub client: kube::Client,
    pub kubeconfig: PathBuf,
    pub namespace: String,
    _stand_in: Option<StandIn>,
}

impl Place {
    /// A fresh namespace whose name begins like this. The definitions of our kinds are there.
    pub async fn new(cluster: &Arc<Cluster>, name: &str) -> Outcome<Place> {
        define(cluster).await?;
        let client = cluster.client().await?;
        let namespace = json!({"metadata": {"generateName": format!("{name}-")}});
        let made = ask(&client, "POST", "/api/v1/namespaces", None, Some(&namespace)).await?;
        let namespace = made["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Place::existing(cluster, &namespace).await
    }

    /// A namespace that is there.
    pub async fn existing(cluster: &Arc<Cluster>, namespace: &str) -> Outcome<Place> {
        let client = cluster.client().await?;
        let models = PodModels { default: PodModel::instant(), by_image: Vec::new() };
        let stand_in = StandIn::start(client.clone(), Some(namespace), models, 0).await?;
        let kubeconfig = cluster.kubeconfig().to_owned();
        Ok(Place { client, kubeconfig, namespace: namespace.to_owned(), _stand_in: Some(stand_in) })
    }

    /// What kubectl prints.
    pub fn kubectl(&self, words: &[&str], input: &str) -> Outcome<String> {
        let namespace = format!("--namespace={}", self.namespace);
        let words: Vec<&str> = words.iter().copied().chain([namespace.as_str()]).collect();
        Ok(kubectl(&self.kubeconfig, &words, input)?)
    }

    /// Where objects are: `rollouts`, `rollouts/web` or `rollouts/web/status`.
    pub fn path(&self, object: &str) -> String {
        let group = match object.split(['/', '?']).next().unwrap_or_default() {
            "rollouts" | "analysisruns" => "apis/argoproj.io/v1alpha1",
            "replicasets" | "deployments" => "apis/apps/v1",
            "roles" => "apis/rbac.authorization.k8s.io/v1",
            "leases" => "apis/coordination.k8s.io/v1",
            "poddisruptionbudgets" => "apis/policy/v1",
            "horizontalpodautoscalers" => "apis/autoscaling/v2",
            _ => "api/v1",
        };
        format!("/{group}/namespaces/{}/{object}", self.namespace)
    }

    pub async fn get(&self, object: &str) -> Outcome<Value> {
        ask(&self.client, "GET", &self.path(object), None, None).await
    }

    pub async fn create(&self, kind: &str, object: &Value) -> Outcome<Value> {
        ask(&self.client, "POST", &self.path(kind), None, Some(object)).await
    }

    /// A JSON merge patch.
    pub async fn patch(&self, object: &str, patch: Value) -> Outcome<Value> {
        let kind = Some("application/merge-patch+json");
        ask(&self.client, "PATCH", &self.path(object), kind, Some(&patch)).await
    }

    /// The objects of a kind, in the order of their names.
    pub async fn list(&self, kind: &str) -> Outcome<Vec<Value>> {
        Ok(self.get(kind).await?["items"].as_array().cloned().unwrap_or_default())
    }

    /// Those of them that a Rollout's selector `app` names.
    pub async fn list_of(&self, kind: &str, app: &str) -> Outcome<Vec<Value>> {
        self.list(&format!("{kind}?labelSelector=app%3D{app}")).await
    }

    /// Waits until something holds of an object; says in what state it is left when it does not.
    pub async fn until(&self, object: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Outcome<Value> {
        let begin = Instant::now();
        loop {
            let found = self.get(object).await.unwrap_or_default();
            if holds(&found) {
                return Ok(found);
            }
            if begin.elapsed() > LIMIT {
                let (spec, status) = (&found["spec"], &found["status"]);
                return Err(format!("{object} is not {what}; spec {spec} status {status}").into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a Rollout is in a phase, seen with its present specification.
    pub async fn until_phase(&self, rollout: &str, phase: &str) -> Outcome<Value> {
        self.until(&format!("rollouts/{rollout}"), phase, |found| is_in_phase(found, phase)).await
    }

    /// Waits until a Rollout holds at a step.
    pub async fn until_paused_at(&self, rollout: &str, step: i64) -> Outcome<Value> {
        self.until(&format!("rollouts/{rollout}"), &format!("paused at step {step}"), |found| {
            let has_reason = found["status"]["pauseConditions"].as_array().is_some_and(|all| !all.is_empty());
            is_in_phase(found, "Paused") && found["status"]["currentStepIndex"] == step && has_reason
        })
        .await
    }

    /// Starts the program on this namespace alone, without an election.
    pub fn controller(&self) -> Outcome<Program> {
        Program::start(&self.kubeconfig, &self.namespace, &[NAMESPACED, "--leader-elect=false"])
    }

    /// Starts one of several of which one works at a time.
    pub fn candidate(&self) -> Outcome<Program> {
        Program::start(&self.kubeconfig, &self.namespace, &[NAMESPACED])
    }
}

fn is_in_phase(found: &Value, phase: &str) -> bool {
    let observed = found["status"]["observedGeneration"].as_str().and_then(|text| text.parse::<i64>().ok());
    found["status"]["phase"] == phase && observed == found["metadata"]["generation"].as_i64()
}

/// One request, told in plain words.
pub async fn ask(
    client: &kube::Client,
    method: &str,
    path: &str,
    content_type: Option<&str>,
    body: Option<&Value>,
) -> Outcome<Value> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", content_type.unwrap_or("application/json"))
        .body(body.map(|body| body.to_string().into_bytes()).unwrap_or_default())?;
    client.request(request).await.map_err(|error| format!("{method} {path}: {error}").into())
}

/// The definitions of our kinds, once for all tests of a program.
async fn define(cluster: &Arc<Cluster>) -> Outcome<()> {
    static DEFINED: OnceCell<Result<(), String>> = OnceCell::const_new();
    let define = || async {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds").display().to_string();
        kubectl(cluster.kubeconfig(), &["apply", "--server-side", "-f", &folder], "")?;
        until_served(cluster).await.map_err(|error| error.to_string())
    };
    Ok(DEFINED.get_or_init(define).await.clone()?)
}

/// A definition is served a moment after it was applied.
pub async fn until_served(cluster: &Arc<Cluster>) -> Outcome<()> {
    let client = cluster.client().await?;
    let begin = Instant::now();
    while let Err(error) = ask(&client, "GET", "/apis/argoproj.io/v1alpha1/rollouts", None, None).await {
        if begin.elapsed() > LIMIT {
            return Err(error);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// The program `tidegate controller`, as long as this value lives.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it with this kubeconfig, as if its pod were in this namespace.
    pub fn start(kubeconfig: &Path, namespace: &str, words: &[&str]) -> Outcome<Program> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id = std::process::id();
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{namespace}-{id}-{count}.log"));
        let out = File::create(&log)?;
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("controller")
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--namespace={namespace}"))
            // Several run side by side here: the system picks their ports.
            .args(["--healthzPort=0", "--metricsPort=0"])
            .args(words)
            .env("POD_NAMESPACE", namespace)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Program { child, log })
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails if the API server refused it something, or if it has ended.
    pub fn expect_well(&mut self) -> Outcome<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the controller ended with {status}:\n{}", self.log()).into());
        }
        let log = self.log();
        let bad = |line: &&str| line.to_lowercase().contains("forbidden") || line.contains("panicked");
        match log.lines().find(bad) {
            Some(line) => Err(format!("the controller says: {line}").into()),
            None => Ok(()),
        }
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub async fn stop(mut self) -> Outcome<(ExitStatus, Duration)> {
        let begin = Instant::now();
        Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status()?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, begin.elapsed()));
            }
            if begin.elapsed() > LIMIT {
                return Err("the controller does not end".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A test that fails leaves the log of its controller behind.
        if !std::thread::panicking() {
            let _ = fs::remove_file(&self.log);
        }
    }
}

/// Text at a place of a document; nothing if it is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Which objects these are.
pub fn uids(objects: &[Value]) -> std::collections::BTreeSet<String> {
    objects.iter().map(|object| text(object, "/metadata/uid").to_owned()).collect()
}

/// A time from now on, as objects hold it.
pub fn time_in(seconds: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let at = i64::try_from(now.as_secs()).unwrap_or(0) + seconds;
    tidegate_api::time::Stamp(at).to_string()
}
