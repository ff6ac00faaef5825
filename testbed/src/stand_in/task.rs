//! The one task of the stand-in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use tidegate_api::object::{Object, Text};
use tidegate_api::time::Stamp;
use tidegate_sim::cluster::life::{Containers, Life, Look, Stage};
use tidegate_sim::dice::Dice;
use tidegate_sim::world::{Millis, PodModels};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::serve::{Server, Serving};
use super::status::{self, Birth};
use super::{NODE, Order};
use crate::TestbedError;

/// So many writes are under way at a time: enough to be quick, few enough to leave the API server to others.
const WRITES: usize = 16;
/// After an answer that says nothing about the pod, the write is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// Addresses are distinct among all stand-ins of this process.
static ADDRESSES: AtomicU32 = AtomicU32::new(0);

type Done = oneshot::Sender<Result<(), String>>;

/// Namespace and name.
type Name = (String, String);

/// A pod that is looked after.
struct Tracked {
    object: Object,
    birth: Birth,
    /// Whether it was last shown ready, and since when.
    ready: Option<(bool, Stamp)>,
    /// A person decides about its readiness.
    held: bool,
    dying: bool,
    writes: VecDeque<Write>,
    /// Writes of one pod are done one after the other.
    writing: bool,
    /// Answers requests, if it does.
    server: Option<Server>,
}

/// What is to be written.
enum Write {
    Bind,
    Show(Look, Option<Done>),
    Remove,
}

enum Outcome {
    Written,
    /// The pod is gone, or another one bears its name.
    Gone,
    /// Nothing is known about what became of it.
    Again,
}

pub(super) async fn invent_node(client: &Client) -> Result<(), TestbedError> {
    let now = now().to_string();
    let capacity = json!({"cpu": "1000", "memory": "1000Gi", "pods": "10000"});
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}},
        "status": {
            "capacity": capacity, "allocatable": capacity,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "StandIn", "message": "invented",
                            "lastHeartbeatTime": now, "lastTransitionTime": now}],
        },
    });
    let nodes: Api<Node> = Api::all(client.clone());
    let node: Node = serde_json::from_value(node).expect("a node is well-formed");
    match nodes.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        outcome => outcome.map(drop).map_err(TestbedError::from),
    }
}

pub(super) async fn look_after(
    client: Client,
    namespace: Option<String>,
    models: PodModels,
    dice: Dice,
    mut orders: mpsc::UnboundedReceiver<Order>,
    serving: Option<Serving>,
) {
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
    let pods: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let mut events = watcher(pods, watcher::Config::default()).default_backoff().boxed();
    let mut ward = Ward {
        client,
        models,
        serving,
        dice,
        pods: BTreeMap::new(),
        listed: None,
        due: BTreeMap::new(),
        sequence: 0,
        waiting: VecDeque::new(),
        under_way: FuturesUnordered::new(),
    };
    loop {
        ward.start_writes();
        let next = ward.due.first_key_value().map(|((at, _), _)| *at);
        tokio::select! {
            biased;
            Some((pod, write, outcome)) = ward.under_way.next(), if !ward.under_way.is_empty() => {
                ward.wrote(&pod, write, outcome);
            }
            Some(order) = orders.recv() => ward.order(order),
            Some(event) = events.next() => ward.saw(event),
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => ward.fire(),
        }
    }
}

/// The pods that are looked after, what is due, and what is being written.
struct Ward {
    client: Client,
    models: PodModels,
    serving: Option<Serving>,
    dice: Dice,
    pods: BTreeMap<Name, Tracked>,
    /// The names seen so far while the watch lists anew: what is missing at the end is gone.
    listed: Option<BTreeSet<Name>>,
    due: BTreeMap<(Instant, u64), (Name, Due)>,
    sequence: u64,
    /// Pods with something to write, in the order of their asking.
    waiting: VecDeque<Name>,
    under_way: FuturesUnordered<BoxFuture<'static, (Pod, Write, Outcome)>>,
}

enum Due {
    Stage(Stage),
    /// A write that went wrong may be tried again.
    Again,
}

/// One life under a name: a successor of the same name is another pod.
struct Pod {
    name: Name,
    uid: Text,
}

impl Ward {
    fn saw(&mut self, event: Result<Event<DynamicObject>, watcher::Error>) {
        match event {
            Ok(Event::Init) => self.listed = Some(BTreeSet::new()),
            Ok(Event::InitApply(pod)) => {
                if let (Some(listed), Some(name)) = (&mut self.listed, name_of(&pod)) {
                    listed.insert(name);
                }
                self.changed(pod);
            }
            Ok(Event::InitDone) => {
                if let Some(listed) = self.listed.take() {
                    self.pods.retain(|name, _| listed.contains(name));
                }
            }
            Ok(Event::Apply(pod)) => self.changed(pod),
            Ok(Event::Delete(pod)) => {
                let uid = pod.metadata.uid.clone();
                if let Some(name) = name_of(&pod)
                    && self
                        .pods
                        .get(&name)
                        .is_some_and(|known| Some(&*known.object.meta.uid) == uid.as_deref())
                {
                    self.pods.remove(&name);
                }
            }
            // The watch begins anew by itself, after a pause.
            Err(_) => {}
        }
    }

    fn changed(&mut self, pod: DynamicObject) {
        let Some(name) = name_of(&pod) else { return };
        let Some(object) = read(&pod) else { return };
        let is_new = self.pods.get(&name).is_none_or(|known| known.object.meta.uid != object.meta.uid);
        if is_new {
            self.met(&name, object);
        } else if let Some(known) = self.pods.get_mut(&name) {
            known.object = object;
        }
        let Some(known) = self.pods.get_mut(&name) else { return };
        if known.object.meta.deleting.is_some() && !known.dying {
            known.dying = true;
            let termination = Life::of(&self.models, &known.object).termination();
            self.later(&name, termination, Stage::Gone);
        }
    }

    /// A pod seen for the first time. One that runs already has been brought to life by a stand-in before this one.
    fn met(&mut self, name: &Name, object: Object) {
        let address = status::address(ADDRESSES.fetch_add(1, Ordering::Relaxed));
        let body = object.pod();
        let is_bound = body.is_some_and(|body| body.spec["nodeName"].is_string());
        let is_begun = body.is_some_and(|body| body.phase.as_deref().is_some_and(|phase| phase != "Pending"));
        let startup = Life::of(&self.models, &object).startup();
        let tracked = Tracked {
            ready: body.filter(|_| is_begun).and_then(|body| Some((body.ready, body.ready_changed?))),
            object,
            birth: Birth { address, at: now() },
            held: false,
            dying: false,
            writes: VecDeque::new(),
            writing: false,
            server: None,
        };
        let is_dying = tracked.object.meta.deleting.is_some();
        self.pods.insert(name.clone(), tracked);
        if is_begun || is_dying {
            return;
        }
        if !is_bound {
            self.write(name, Write::Bind);
        }
        self.later(name, startup, Stage::Runs);
    }

    fn later(&mut self, name: &Name, after: Millis, stage: Stage) {
        let after = u64::try_from(self.dice.within(after)).unwrap_or(0);
        self.push(name.clone(), Duration::from_millis(after), Due::Stage(stage));
    }

    fn push(&mut self, name: Name, after: Duration, due: Due) {
        self.sequence += 1;
        self.due.insert((Instant::now() + after, self.sequence), (name, due));
    }

    /// What is due first happens now.
    fn fire(&mut self) {
        let Some((_, (name, due))) = self.due.pop_first() else { return };
        let Some(pod) = self.pods.get_mut(&name) else { return };
        match due {
            Due::Again => {
                pod.writing = false;
                self.waiting.push_back(name);
            }
            Due::Stage(Stage::Gone) => {
                if pod.dying {
                    if let Some(server) = pod.server.take() {
                        server.end();
                    }
                    self.write(&name, Write::Remove);
                }
            }
            Due::Stage(_) if pod.dying => {}
            Due::Stage(stage) => {
                let mut turn = Life::of(&self.models, &pod.object).turn(stage);
                if pod.held {
                    turn = turn.in_hand(stage);
                }
                if let Some(look) = turn.look {
                    if let Some(serving) = self.serving {
                        pod.serve(look, serving);
                    }
                    self.write(&name, Write::Show(look, None));
                }
                for (after, next) in turn.then {
                    self.later(&name, after, next);
                }
            }
        }
    }

    fn order(&mut self, order: Order) {
        let Order { pod: name, ready, done } = order;
        match self.pods.get_mut(&name).filter(|pod| !pod.dying) {
            Some(pod) => {
                pod.held = true;
                let look = Look { phase: "Running", ready, containers: Containers::Run };
                self.write(&name, Write::Show(look, Some(done)));
            }
            None => drop(done.send(Err(format!("there is no pod {}/{}", name.0, name.1)))),
        }
    }

    fn write(&mut self, name: &Name, write: Write) {
        if let Some(pod) = self.pods.get_mut(name) {
            pod.writes.push_back(write);
            self.waiting.push_back(name.clone());
        }
    }

    fn start_writes(&mut self) {
        while self.under_way.len() < WRITES {
            let Some(name) = self.waiting.pop_front() else { return };
            let Some(pod) = self.pods.get_mut(&name).filter(|pod| !pod.writing) else { continue };
            let Some(write) = pod.writes.pop_front() else { continue };
            pod.writing = true;
            let document = match &write {
                Write::Bind | Write::Remove => Value::Null,
                Write::Show(look, _) => pod.show(*look),
            };
            let who = Pod { name, uid: pod.object.meta.uid.clone() };
            let client = self.client.clone();
            self.under_way.push(
                async move {
                    let outcome = carry_out(client, &who, &write, document).await;
                    (who, write, outcome)
                }
                .boxed(),
            );
        }
    }

    fn wrote(&mut self, who: &Pod, write: Write, outcome: Outcome) {
        let Some(pod) = self.pods.get_mut(&who.name).filter(|pod| pod.object.meta.uid == who.uid) else {
            return;
        };
        match outcome {
            Outcome::Written => {
                if let Write::Show(_, Some(done)) = write {
                    // Whoever asked may have gone.
                    let _ = done.send(Ok(()));
                }
                pod.writing = false;
                self.waiting.push_back(who.name.clone());
            }
            Outcome::Gone => {
                // Nothing more to write; that it is gone is for the watch to say.
                pod.writes.clear();
                pod.writing = false;
            }
            Outcome::Again => {
                pod.writes.push_front(write);
                self.push(who.name.clone(), AGAIN, Due::Again);
            }
        }
    }
}

impl Tracked {
    /// Containers that run answer, before anybody is told that they are ready.
    fn serve(&mut self, look: Look, serving: Serving) {
        if !matches!(look.containers, Containers::Run) {
            self.server = None;
        } else if self.server.is_none() {
            let containers = self.object.pod().map(|body| &body.spec["containers"]);
            let image = containers.and_then(|list| list[0]["image"].as_str()).unwrap_or("");
            match Server::start(self.birth.address, image, serving) {
                Ok(server) => self.server = Some(server),
                Err(error) => eprintln!("{} does not serve: {error}", self.object.meta.name),
            }
        }
    }

    fn show(&mut self, look: Look) -> Value {
        let now = now();
        let since = match self.ready {
            Some((ready, since)) if ready == look.ready => since,
            _ => now,
        };
        self.ready = Some((look.ready, since));
        status::patch(&self.object, look, self.birth, since, now)
    }
}

async fn carry_out(client: Client, who: &Pod, write: &Write, document: Value) -> Outcome {
    let (namespace, name) = &who.name;
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client, namespace);
    let precondition = Preconditions { uid: Some(who.uid.to_string()), resource_version: None };
    let done = match write {
        Write::Bind => {
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding",
                "metadata": {"name": name, "uid": &*who.uid},
                "target": {"kind": "Node", "name": NODE},
            });
            let answer: Result<Value, _> =
                pods.create_subresource("binding", name, &PostParams::default(), &binding).await;
            answer.map(drop)
        }
        Write::Show(..) => {
            let mut document = document;
            document["metadata"] = json!({"uid": &*who.uid});
            pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(document)).await.map(drop)
        }
        Write::Remove => {
            let parameters = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(precondition),
                ..DeleteParams::default()
            };
            pods.delete(name, &parameters).await.map(drop)
        }
    };
    match done {
        Ok(()) => Outcome::Written,
        // Not there, or another one of the same name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Outcome::Gone,
        Err(kube::Error::Api(status)) if (400..429).contains(&status.code) => {
            eprintln!("the stand-in was refused: pod {namespace}/{name}: {}", status.message);
            Outcome::Gone
        }
        Err(_) => Outcome::Again,
    }
}

fn name_of(pod: &DynamicObject) -> Option<Name> {
    Some((pod.metadata.namespace.clone()?, pod.metadata.name.clone()?))
}

fn read(pod: &DynamicObject) -> Option<Object> {
    let mut value = serde_json::to_value(pod).ok()?;
    // Items of a list do not say what they are.
    value["apiVersion"] = "v1".into();
    value["kind"] = "Pod".into();
    Object::from_value(value).ok()
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the real world has a real clock")]
fn now() -> Stamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Stamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
