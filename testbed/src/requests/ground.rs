//! A namespace with a route, two Services, pods that serve, and a proxy before it all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_crd_established;
use serde_json::{Value, json};
use tidegate_sim::world::{Millis, PodModel, PodModels};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::proxy::{self, Proxy};
use super::route::{HOST, Route};
use super::stream::{Stream, get};
use crate::kubectl::kubectl;
use crate::stand_in::Serving;
use crate::{Cluster, StandIn, TestResult};

/// No program of a control plane listens there.
const PORT: u16 = 8765;
/// Requests a second.
pub(super) const RATE: u32 = 200;
/// What one pod answers at most, in shares of all requests over all pods. A version that gets more than its pods can
/// bear shows it.
const CAPACITY: f64 = 2.5;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// How pods of a ground live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pods {
    /// So many are wanted.
    pub count: i64,
    /// From the creation of a pod until it serves, drawn for each.
    pub startup: Millis,
    /// For so many seconds a pod that was told to go serves on.
    pub pre_stop: i64,
}

impl Pods {
    /// The same in the terms of the simulator.
    pub(super) fn models(&self) -> PodModels {
        let model = PodModel { startup: self.startup, ..PodModel::instant() };
        PodModels { default: model, by_image: Vec::new() }
    }

    /// Requests a second that one of them answers at most.
    pub(super) fn capacity(&self) -> f64 {
        CAPACITY * f64::from(RATE) / self.count as f64
    }

    /// The template of one with an image, and with these labels.
    pub(super) fn template(&self, image: &str, labels: &Value) -> Value {
        let mut container = json!({"name": "web", "image": image});
        if self.pre_stop > 0 {
            container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": self.pre_stop}}});
        }
        json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}})
    }
}

/// The Services `web-stable` and `web-canary`.
pub(super) fn services(namespace: &str, stable: &Value, canary: &Value) -> [Value; 2] {
    [("web-stable", stable), ("web-canary", canary)].map(|(name, selector)| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": PORT}]}})
    })
}

/// A place for a release and its users.
pub struct Ground {
    /// Its namespace.
    pub namespace: String,
    /// An administrator.
    pub client: Client,
    /// The same, for programs.
    pub kubeconfig: PathBuf,
    /// How requests are split.
    pub route: Route,
    /// How pods live.
    pub pods: Pods,
    /// Before the pods.
    pub proxy: Proxy,
    _stand_in: StandIn,
}

impl Ground {
    /// Makes one: everything but the pods and what owns them.
    pub async fn open(
        cluster: &Cluster,
        name: &str,
        route: Route,
        pods: Pods,
    ) -> Result<Ground, Box<dyn std::error::Error>> {
        install(cluster).await?;
        let (client, kubeconfig) = (cluster.client().await?, cluster.kubeconfig().to_owned());
        apply(&client, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
        let serving = Serving { port: PORT, capacity: pods.capacity() };
        let stand_in = StandIn::serve(client.clone(), Some(name), pods.models(), seed(name), serving).await?;
        let proxy = Proxy::start(&proxy::build()??, &kubeconfig, name).await?;
        let ground = Ground {
            namespace: name.to_owned(),
            client,
            kubeconfig,
            route,
            pods,
            proxy,
            _stand_in: stand_in,
        };
        for object in route.objects(name, ground.proxy.address().port()) {
            ground.apply(&object).await?;
        }
        Ok(ground)
    }

    /// Stores an object, or changes it to be so.
    pub async fn apply(&self, object: &Value) -> Result<(), kube::Error> {
        apply(&self.client, object).await
    }

    /// Stores the Services `web-stable` and `web-canary`.
    pub async fn services(&self, stable: &Value, canary: &Value) -> Result<(), kube::Error> {
        for service in services(&self.namespace, stable, canary) {
            self.apply(&service).await?;
        }
        Ok(())
    }

    /// The template of a pod with an image, and with these labels.
    pub fn template(&self, image: &str, labels: &Value) -> Value {
        self.pods.template(image, labels)
    }

    /// A person gives the canary this weight.
    pub async fn weigh(&self, canary: i64) -> Result<(), kube::Error> {
        self.apply(&self.route.weighted(&self.namespace, self.proxy.address().port(), canary)).await
    }

    /// Users come, as soon as the proxy knows all pods that are wanted: those that it knew first could not bear them.
    pub async fn stream(&self) -> Result<Stream, String> {
        let (address, since) = (self.proxy.address(), Instant::now());
        let mut known = BTreeSet::new();
        loop {
            let answer = get(address, HOST, "/").await;
            known.extend(answer.as_ref().ok().and_then(|reply| reply.pod.clone()));
            if known.len() as i64 >= self.pods.count {
                return Ok(Stream::start(address, HOST, RATE));
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("the route serves {known:?} only: {answer:?}\n{}", self.proxy.log()));
            }
            sleep(POLL).await;
        }
    }

    /// One request past the proxy, straight to a pod: its status, or why there is none.
    pub async fn ask(&self, pod: std::net::Ipv4Addr) -> Result<u16, String> {
        get((pod, PORT).into(), HOST, "/").await.map(|reply| reply.status)
    }

    /// Looks at an object until it is as it should be.
    pub async fn until(&self, kind: (&str, &str), name: &str, holds: impl Fn(&Value) -> bool) -> TestResult {
        let api = api(&self.client, kind.0, kind.1, Some(&self.namespace));
        let since = Instant::now();
        loop {
            let object = api.get_opt(name).await?;
            let object = object.map_or(Ok(Value::Null), serde_json::to_value)?;
            if holds(&object) {
                return Ok(());
            }
            if since.elapsed() > 2 * PATIENCE {
                return Err(format!("{} {name} does not become what it should: {object:#}", kind.1).into());
            }
            sleep(POLL).await;
        }
    }

    /// All objects of a kind.
    pub async fn list(&self, kind: (&str, &str)) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
        let api = api(&self.client, kind.0, kind.1, Some(&self.namespace));
        let listed = api.list(&ListParams::default()).await?;
        Ok(listed.items.into_iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
    }

    /// Removes it all. Nobody waits until it is gone.
    pub async fn close(self) -> Result<(), kube::Error> {
        let delete = DeleteParams::background();
        if self.route == Route::HttpRoute {
            let classes = api(&self.client, "gateway.networking.k8s.io/v1", "GatewayClass", None);
            classes.delete(&self.namespace, &delete).await?;
        }
        api(&self.client, "v1", "Namespace", None).delete(&self.namespace, &delete).await.map(drop)
    }
}

/// Makes the kinds of routers, and ours, known to a cluster; once for each process.
pub async fn install(cluster: &Cluster) -> TestResult {
    static DONE: Mutex<bool> = Mutex::const_new(false);
    let mut done = DONE.lock().await;
    if *done {
        return Ok(());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |below: &str| root.join(below).display().to_string();
    let (routers, ours) = (folder("crds"), folder("../deploy/crds"));
    let arguments = ["apply", "--server-side", "--recursive", "-f", &routers, "-f", &ours];
    kubectl(cluster.kubeconfig(), &arguments, "")?;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client().await?);
    for entry in definitions.list(&ListParams::default()).await? {
        let name = entry.metadata.name.unwrap_or_default();
        await_condition(definitions.clone(), &name, is_crd_established()).await?;
    }
    *done = true;
    Ok(())
}

async fn apply(client: &Client, object: &Value) -> Result<(), kube::Error> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
    let api = api(client, text("/apiVersion"), text("/kind"), namespace);
    let parameters = PatchParams::apply("person").force();
    api.patch(text("/metadata/name"), &parameters, &Patch::Apply(object)).await.map(drop)
}

fn api(client: &Client, version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// The same story has the same pods each time.
fn seed(name: &str) -> u64 {
    name.bytes().fold(7, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()))
}
