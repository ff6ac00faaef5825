//! The control plane itself, and the pods on it.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_crd_established;
use serde_json::{Value, json};
use tidegate_sim::world::{Flaps, PodModel, PodModels};
use tidegate_testbed::kubectl::kubectl;
use tidegate_testbed::{Cluster, ControlPlane, Settings, StandIn, Suite, TestResult, programs, run_tests};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, timeout};

fn main() -> ExitCode {
    run_tests(
        Suite::default()
            .test("a_deployment_made_with_kubectl_becomes_ready_and_goes", deployment)
            .test("the_custom_resources_are_accepted", custom_resources)
            .test("pods_live_as_their_model_says", models)
            .test("jobs_end_with_the_exit_code_of_their_pods", jobs)
            .test("a_pod_lingers_for_its_termination", termination)
            .test("a_person_decides_about_readiness", readiness)
            .test("three_hundred_pods_at_once", crowd)
            .test("two_control_planes_side_by_side", side_by_side)
            .test("nothing_outlives_a_killed_owner", killed_owner),
    )
}

async fn deployment(cluster: Arc<Cluster>) -> TestResult {
    if let Cluster::Own(plane) = &*cluster {
        let seconds = plane.started_within().as_secs_f64();
        println!("control plane ready after {seconds:.1} s, {} MiB resident", plane.resident_kib() / 1024);
    }
    let place = Place::new(&cluster, "deployment", PodModel::instant()).await?;
    let manifest = workload("Deployment", "web", 3, json!({}), json!({}));
    place.kubectl(&["apply", "-f", "-"], &manifest.to_string())?;
    place.kubectl(&["rollout", "status", "deployment/web", "--timeout=30s"], "")?;
    let pods = place.kubectl(&["get", "pods", "-o", "wide", "--no-headers"], "")?;
    assert_eq!(pods.lines().count(), 3, "{pods}");
    for pod in pods.lines() {
        assert!(pod.contains("1/1") && pod.contains("Running") && pod.contains("10.244."), "{pod}");
    }
    place.kubectl(&["delete", "deployment/web", "--wait", "--timeout=30s"], "")?;
    place.until_empty().await
}

async fn custom_resources(cluster: Arc<Cluster>) -> TestResult {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    kubectl(cluster.kubeconfig(), &["apply", "--server-side", "-f", &folder.display().to_string()], "")?;
    let place = Place::new(&cluster, "resources", PodModel::instant()).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(place.client.clone());
    // `kubectl wait` gives up on an object that has no conditions yet.
    timeout(LIMIT, await_condition(definitions, "rollouts.argoproj.io", is_crd_established())).await??;
    let mut rollout = workload("Rollout", "web", 3, json!({}), json!({}));
    rollout["apiVersion"] = "argoproj.io/v1alpha1".into();
    rollout["spec"]["strategy"] = json!({"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}});
    place.kubectl(&["create", "-f", "-"], &rollout.to_string())?;
    assert_eq!(place.kubectl(&["get", "rollout", "web", "-o", "jsonpath={.spec.replicas}"], "")?, "3");
    Ok(())
}

async fn models(cluster: Arc<Cluster>) -> TestResult {
    let named = |name: &str, model| (name.to_owned(), model);
    let brief = (50, 100);
    let models = PodModels {
        default: PodModel::instant(),
        by_image: vec![
            named("never:1", PodModel { ready: false, ..PodModel::instant() }),
            named("crash:1", PodModel { crash_after: Some(brief), ..PodModel::instant() }),
            named(
                "flaps:1",
                PodModel { flaps: Some(Flaps { up: brief, down: brief, times: 2 }), ..PodModel::instant() },
            ),
        ],
    };
    let place = Place::with(&cluster, "models", models).await?;
    for image in ["never:1", "crash:1", "flaps:1"] {
        place.pod(image.trim_end_matches(":1"), image, json!({})).await?;
    }
    place.until("never", |pod| phase(pod) == "Running" && !is_ready(pod)).await?;
    place.until("crash", |pod| waits_for(pod) == Some("CrashLoopBackOff") && !is_ready(pod)).await?;
    place.until("flaps", |pod| phase(pod) == "Running" && !is_ready(pod)).await?;
    place.until("flaps", is_ready).await?;
    let late = place.pod("late", "web:1", json!({"annotations": {"fakelet/ready-after": "1500ms"}})).await?;
    let ready = place.until("late", is_ready).await?;
    assert!(ready_at(&ready) > late.metadata.creation_timestamp.as_ref().map(|time| time.0), "{ready:?}");
    Ok(())
}

async fn jobs(cluster: Arc<Cluster>) -> TestResult {
    let place = Place::new(&cluster, "jobs", PodModel::instant()).await?;
    let jobs: Api<Job> = Api::namespaced(place.client.clone(), &place.namespace);
    for (name, exit, condition) in [("good", "0", "Complete"), ("bad", "1", "Failed")] {
        let job = json!({
            "metadata": {"name": name},
            "spec": {"backoffLimit": 0, "template": {
                "metadata": {"annotations": {"fakelet/exit": exit}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "job:1"}]}}}});
        jobs.create(&PostParams::default(), &serde_json::from_value(job)?).await?;
        let ended = |job: Option<&Job>| {
            let conditions = job.and_then(|job| job.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|list| list.iter().any(|c| c.type_ == condition && c.status == "True"))
        };
        timeout(LIMIT, await_condition(jobs.clone(), name, ended)).await??;
    }
    Ok(())
}

async fn termination(cluster: Arc<Cluster>) -> TestResult {
    let model = PodModel { termination: (700, 700), ..PodModel::instant() };
    let place = Place::new(&cluster, "termination", model).await?;
    place.pod("slow", "web:1", json!({})).await?;
    place.until("slow", is_ready).await?;
    let begin = Instant::now();
    let pods = place.pods();
    pods.delete("slow", &DeleteParams::default()).await?;
    assert!(pods.get("slow").await?.metadata.deletion_timestamp.is_some());
    timeout(LIMIT, await_condition(pods, "slow", |pod: Option<&Pod>| pod.is_none())).await??;
    assert!(begin.elapsed() >= Duration::from_millis(700), "gone after {:?}", begin.elapsed());
    Ok(())
}

async fn readiness(cluster: Arc<Cluster>) -> TestResult {
    let place = Place::new(&cluster, "readiness", PodModel::instant()).await?;
    place.pod("one", "web:1", json!({})).await?;
    place.until("one", is_ready).await?;
    place.stand_in.set_ready(&place.namespace, "one", false).await?;
    assert!(!is_ready(&place.pods().get("one").await?));
    place.stand_in.set_ready(&place.namespace, "one", true).await?;
    assert!(is_ready(&place.pods().get("one").await?));
    let refused = place.stand_in.set_ready(&place.namespace, "two", true).await;
    assert_eq!(refused, Err(format!("there is no pod {}/two", place.namespace)));
    Ok(())
}

async fn crowd(cluster: Arc<Cluster>) -> TestResult {
    let place = Place::new(&cluster, "crowd", PodModel::instant()).await?;
    let deployments: Api<Deployment> = Api::namespaced(place.client.clone(), &place.namespace);
    let begin = Instant::now();
    let manifest = workload("Deployment", "web", 300, json!({}), json!({}));
    deployments.create(&PostParams::default(), &serde_json::from_value(manifest)?).await?;
    let ready = |deployment: Option<&Deployment>| {
        deployment.and_then(|deployment| deployment.status.as_ref()?.ready_replicas) == Some(300)
    };
    timeout(3 * LIMIT, await_condition(deployments.clone(), "web", ready)).await??;
    println!("300 pods ready after {:.1} s", begin.elapsed().as_secs_f64());
    let addresses: std::collections::BTreeSet<_> = place
        .pods()
        .list(&ListParams::default())
        .await?
        .into_iter()
        .filter_map(|pod| pod.status.and_then(|status| status.pod_ip))
        .collect();
    assert_eq!(addresses.len(), 300);
    deployments.delete("web", &DeleteParams::background()).await?;
    place.until_empty().await?;
    println!("300 pods gone after {:.1} s", begin.elapsed().as_secs_f64());
    if let Cluster::Own(plane) = &*cluster {
        println!("control plane then {} MiB resident", plane.resident_kib() / 1024);
    }
    Ok(())
}

async fn side_by_side(cluster: Arc<Cluster>) -> TestResult {
    let Cluster::Own(first) = &*cluster else { return Ok(()) };
    let programs = programs::Programs::get(&Settings::from_environment())??;
    let second = ControlPlane::start(&programs).await?;
    assert_ne!(first.server(), second.server());
    let namespaces: Api<Namespace> = Api::all(tidegate_testbed::client(second.kubeconfig()).await?);
    assert!(namespaces.get_opt("default").await?.is_some());
    let folder = second.folder().to_owned();
    drop(second);
    assert!(!folder.exists() && working_in(&folder).is_empty());
    Ok(())
}

async fn killed_owner(cluster: Arc<Cluster>) -> TestResult {
    let Cluster::Own(_) = &*cluster else { return Ok(()) };
    let mut owner = tokio::process::Command::new(env!("CARGO_BIN_EXE_tidegate-testbed"))
        .arg("up")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let printed = owner.stdout.take().ok_or("it prints nothing")?;
    let first = BufReader::new(printed).lines().next_line().await?.ok_or("it ended")?;
    let folder = PathBuf::from(first).parent().ok_or("a kubeconfig lies in a folder")?.to_owned();
    assert_eq!(working_in(&folder).len(), 3);
    owner.kill().await?;
    timeout(LIMIT, async {
        while folder.exists() || !working_in(&folder).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await?;
    Ok(())
}

const LIMIT: Duration = Duration::from_secs(30);

/// A namespace with a stand-in that looks after its pods.
struct Place {
    client: kube::Client,
    kubeconfig: PathBuf,
    namespace: String,
    stand_in: StandIn,
}

impl Place {
    async fn new(
        cluster: &Cluster,
        name: &str,
        model: PodModel,
    ) -> Result<Place, Box<dyn std::error::Error>> {
        Place::with(cluster, name, PodModels { default: model, by_image: Vec::new() }).await
    }

    async fn with(
        cluster: &Cluster,
        name: &str,
        models: PodModels,
    ) -> Result<Place, Box<dyn std::error::Error>> {
        let client = cluster.client().await?;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = json!({"metadata": {"generateName": format!("{name}-")}});
        let made = namespaces.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
        let namespace = made.metadata.name.ok_or("a namespace has a name")?;
        let stand_in = StandIn::start(client.clone(), Some(&namespace), models, 0).await?;
        Ok(Place { client, kubeconfig: cluster.kubeconfig().to_owned(), namespace, stand_in })
    }

    fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, Box<dyn std::error::Error>> {
        let namespace = format!("--namespace={}", self.namespace);
        let arguments: Vec<&str> =
            [namespace.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        Ok(kubectl(&self.kubeconfig, &arguments, input)?)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn pod(&self, name: &str, image: &str, metadata: Value) -> Result<Pod, Box<dyn std::error::Error>> {
        let mut metadata = metadata;
        metadata["name"] = name.into();
        let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "c", "image": image}]}});
        Ok(self.pods().create(&PostParams::default(), &serde_json::from_value(pod)?).await?)
    }

    async fn until(
        &self,
        name: &str,
        holds: impl Fn(&Pod) -> bool,
    ) -> Result<Pod, Box<dyn std::error::Error>> {
        let condition = |pod: Option<&Pod>| pod.is_some_and(&holds);
        let pod = timeout(LIMIT, await_condition(self.pods(), name, condition)).await??;
        Ok(pod.ok_or("a pod that holds is there")?)
    }

    async fn until_empty(&self) -> TestResult {
        let empty = async {
            while !self.pods().list_metadata(&ListParams::default()).await?.items.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok::<_, kube::Error>(())
        };
        Ok(timeout(2 * LIMIT, empty).await??)
    }
}

fn workload(kind: &str, name: &str, replicas: i64, metadata: Value, spec: Value) -> Value {
    let mut spec = spec;
    spec["containers"] = json!([{"name": "c", "image": "web:1"}]);
    let mut metadata = metadata;
    metadata["labels"] = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                 "template": {"metadata": metadata, "spec": spec}},
    })
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|list| list.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

fn ready_at(pod: &Pod) -> Option<k8s_openapi::jiff::Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == "Ready")?.last_transition_time.as_ref().map(|time| time.0)
}

fn waits_for(pod: &Pod) -> Option<&str> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.first()?.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

/// The processes whose command lines name a folder.
fn working_in(folder: &Path) -> Vec<u32> {
    let folder = folder.display().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id: &u32| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(&folder) && !line.contains("kill -s KILL")
        })
        .collect()
}
