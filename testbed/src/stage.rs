//! A namespace of a real server as a stage: what is stored there is seen, and what people do is done.
//!
//! Every version of every object goes to a [`Play`], which makes milestones of it, and into a *picture*: a world of the
//! simulator in which nothing happens by itself. Scenarios and stories look for what they wait for in the picture, and
//! work out there what a verb writes, with the very code that does so in the simulator.

pub(crate) mod sights;
mod writes;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_crd_established;
use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::{Span, Time};
use tidegate_controller::plan::Notice;
use tidegate_sim::reference::{Place, Play, Sighting};
use tidegate_sim::world::{Action, RouterModel, World};
use tokio::time::{Instant, timeout_at};

use crate::controller::{Controller, Extras};
use crate::kubectl::kubectl;
use crate::{Cluster, StandIn, TestbedError};
use sights::{Sight, Sights};

/// How long it may take until our own write is seen.
const ECHO: Duration = Duration::from_secs(5);

/// A namespace on which something is played.
pub struct Stage {
    client: Client,
    sights: Sights,
    /// What is stored, where scenarios look for it.
    pub picture: World,
    /// What was seen.
    pub play: Play,
    begin: Instant,
    /// When something other than a pod or an event changed last.
    touched: Instant,
    /// The controller under test, if it is this stage's own.
    controller: Option<Controller>,
    /// Versions of objects seen that a controller writes.
    writes: u64,
    crash_at: Option<u64>,
}

impl Stage {
    /// Makes the namespace of a place and watches it. `kinds` are watched besides those that are always watched.
    pub async fn open(client: Client, place: Place, kinds: BTreeSet<Kind>) -> Result<Stage, TestbedError> {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = json!({"metadata": {"name": place.namespace}});
        let namespace = serde_json::from_value(namespace).expect("a namespace is well-formed");
        namespaces.create(&PostParams::default(), &namespace).await?;
        let sights = Sights::open(&client, &place.namespace, kinds).await?;
        let now = Instant::now();
        Ok(Stage {
            client,
            sights,
            picture: World::picture(wall_clock()),
            play: Play::new(place),
            begin: now,
            touched: now,
            controller: None,
            writes: 0,
            crash_at: None,
        })
    }

    /// Starts a controller for this namespace alone. It is killed and started again when so many versions of what a
    /// controller writes have been seen.
    pub async fn control(
        &mut self,
        program: &Path,
        kubeconfig: &Path,
        crash_at: Option<u64>,
        extras: Extras,
    ) -> Result<(), TestbedError> {
        let namespace = self.play.place().namespace.clone();
        self.controller = Some(Controller::start_with(program, kubeconfig, Some(&namespace), extras)?);
        self.crash_at = crash_at;
        // It looks around before the first object comes.
        self.pass(Duration::from_millis(700)).await;
        Ok(())
    }

    /// From now on routers send users to the pods in the picture, as they do in the simulator: scenarios ask for the share of
    /// users that a version has.
    pub fn send_users(&mut self, routers: RouterModel) {
        // What is reported about routes is the business of their controllers, and comes from the API server.
        self.picture = World::picture_of_routers(wall_clock(), RouterModel { elb: false, ..routers }, 0);
    }

    /// Removes the namespace with everything in it. Nobody waits until it is gone.
    pub async fn close(self) -> Result<(), TestbedError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.play.place().namespace, &DeleteParams::background()).await?;
        Ok(())
    }

    /// What the controller said last.
    pub fn log(&self) -> String {
        self.controller.as_ref().map(Controller::log).unwrap_or_default()
    }

    /// Versions of objects seen so far that a controller writes.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// Kills the controller of this stage and starts it again after a while.
    pub async fn restart_controller(&mut self, down: Duration) -> Result<(), TestbedError> {
        if let Some(controller) = &mut self.controller {
            controller.kill();
        }
        self.pass(down).await;
        self.controller.as_mut().map_or(Ok(()), Controller::begin)
    }

    /// Stores a document as a person would, whatever it holds. One of the whole cluster may be there from another play.
    pub async fn create(&mut self, document: Value) -> Result<(), String> {
        let answer = writes::create(&self.client, &document).await;
        match &answer {
            Err(kube::Error::Api(status)) if status.code == 409 && is_cluster_wide(&document) => Ok(()),
            _ => self.echo(answer).await,
        }
    }

    /// Deletes the object of a document, if it is there.
    pub async fn delete(&mut self, document: &Value) {
        let Ok(object) = Object::from_value(document.clone()) else { return };
        let answer = writes::send(&self.client, Action::Delete(object.key())).await;
        // What is not there need not be deleted.
        drop(self.echo(answer).await);
    }

    /// Does what a person does. Done when it is seen.
    pub async fn act(&mut self, action: Action) -> Result<(), String> {
        let answer = writes::send(&self.client, action).await;
        self.echo(answer).await
    }

    async fn echo(&mut self, answer: Result<Option<(Key, u64)>, kube::Error>) -> Result<(), String> {
        let (key, version) = match answer {
            Ok(Some(written)) => written,
            Ok(None) => return Ok(()),
            Err(kube::Error::Api(status)) => {
                return Err(format!("refused {} {}", status.code, status.message));
            }
            Err(error) => return Err(format!("refused {error}")),
        };
        let seen = |stage: &Stage| {
            stage.picture.get(&key).is_some_and(|object| object.meta.resource_version >= version)
        };
        self.until(Instant::now() + ECHO, seen).await;
        Ok(())
    }

    /// Makes a pod ready or not ready.
    pub async fn set_ready(&mut self, stand_in: &StandIn, pod: &Key, ready: bool) -> Result<(), String> {
        stand_in.set_ready(&pod.namespace, &pod.name, ready).await
    }

    /// Looks on until it holds, which is asked after every single version seen, at most until then. Says whether it
    /// came to hold.
    pub async fn until(&mut self, end: Instant, mut holds: impl FnMut(&Stage) -> bool) -> bool {
        loop {
            if holds(self) {
                return true;
            }
            let due = self.picture.next_at().map(|at| at.since(self.picture.now()));
            let wake = due.map_or(end, |due| end.min(Instant::now() + duration(due)));
            match timeout_at(wake, self.sights.next()).await {
                Ok(Some(sight)) => self.take(sight),
                Err(_) if wake < end => {}
                Ok(None) | Err(_) => return false,
            }
            self.look_at_the_clock();
        }
    }

    /// It is later, and proxies have gone on meanwhile.
    fn look_at_the_clock(&mut self) {
        self.picture.run_until(wall_clock(), &mut ());
    }

    /// Looks on for a while.
    pub async fn pass(&mut self, span: Duration) {
        self.until(Instant::now() + span, |_| false).await;
        self.look_at_the_clock();
    }

    /// Looks on until then.
    pub async fn pass_until(&mut self, then: Instant) {
        self.until(then, |_| false).await;
        self.look_at_the_clock();
    }

    /// Looks on until nothing has changed for a while, at most for `limit`.
    pub async fn settle(&mut self, quiet: Span, limit: Span) {
        self.quiet(duration(quiet), Instant::now() + duration(limit)).await;
    }

    /// Looks on until nothing has changed for a while, at most until then.
    pub async fn quiet(&mut self, quiet: Duration, end: Instant) {
        while Instant::now() < end && self.touched.elapsed() < quiet {
            let then = (self.touched + quiet).min(end);
            self.until(then, |_| false).await;
        }
    }

    /// Looks on until something changes, at most until then.
    pub async fn change(&mut self, end: Instant) {
        let touched = self.touched;
        self.until(end, |stage| stage.touched != touched).await;
    }

    fn take(&mut self, sight: Sight) {
        let Sight { kind, gone, object: document } = sight;
        let (kind_name, name) = (kind.name().to_owned(), document["metadata"]["name"].as_str().unwrap_or(""));
        let known = self.play.current(&kind_name, name);
        let version = |document: &Value| document.pointer("/metadata/resourceVersion").cloned();
        if !gone && known.is_some_and(|known| version(known) == version(&document)) {
            return;
        }
        if !matches!(kind_name.as_str(), "Pod" | "Event") {
            self.touched = Instant::now();
        }
        if kind_name == "Event" {
            if !gone && let Some(notice) = notice(&document) {
                self.picture.hear(notice);
            }
        } else if let Ok(object) = Object::from_value(document.clone()) {
            match gone {
                true => self.picture.forget(&object.key()),
                false => self.picture.mirror(object),
            }
        }
        let at_ms = i64::try_from(self.begin.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.play.saw(Sighting { at_ms, kind: kind_name, deleted: gone, object: document });
        if matches!(kind, Kind::Rollout | Kind::ReplicaSet | Kind::Service) {
            self.writes += 1;
            self.crash_if_it_is_time();
        }
    }

    fn crash_if_it_is_time(&mut self) {
        if self.crash_at.is_some_and(|at| at <= self.writes) {
            self.crash_at = None;
            if let Some(controller) = &mut self.controller
                && let Err(error) = controller.begin()
            {
                self.play.note(format!("the controller does not start again: {error}"));
            }
        }
    }
}

/// Makes our kinds and those of all routers known to a cluster; one that knows them already keeps them.
pub async fn install(cluster: &Cluster) -> Result<(), Box<dyn std::error::Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["../deploy/crds", "crds", "crds/generated"] {
        let folder = here.join(folder).display().to_string();
        kubectl(cluster.kubeconfig(), &["apply", "--server-side", "-f", &folder], "")?;
    }
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client().await?);
    for entry in definitions.list(&ListParams::default()).await? {
        let name = entry.metadata.name.unwrap_or_default();
        await_condition(definitions.clone(), &name, is_crd_established()).await?;
    }
    Ok(())
}

/// The kind of the route that the controller makes for a Rollout all by itself: nobody stores one beforehand.
pub(crate) fn made_for(object: &Value) -> Option<Kind> {
    let smi = object.pointer("/spec/strategy/canary/trafficRouting/smi");
    smi.map(|_| Kind::new("split.smi-spec.io/v1alpha1", "TrafficSplit"))
}

/// Whether a document is for all namespaces.
pub(crate) fn is_cluster_wide(document: &Value) -> bool {
    document["kind"] == "ClusterAnalysisTemplate"
}

/// What an Event object says.
fn notice(event: &Value) -> Option<Notice> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let kind = Kind::by_name(text("/involvedObject/kind"))?;
    Some(Notice {
        about: Key::new(kind, text("/involvedObject/namespace"), text("/involvedObject/name")),
        uid: text("/involvedObject/uid").into(),
        warning: text("/type") == "Warning",
        reason: text("/reason").into(),
        message: text("/message").into(),
    })
}

/// A span of a script in the units of a real clock.
pub fn duration(span: Span) -> Duration {
    Duration::from_millis(u64::try_from(span.0).unwrap_or(0))
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the real world has a real clock")]
pub(crate) fn wall_clock() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
