//! A short life of a Rollout in the simulated cluster.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Span;
use tidegate_controller::commands::{self, Patch};
use tidegate_controller::names::{HASH_LABEL, REVISION, SCALE_DOWN_DEADLINE};
use tidegate_sim::cluster::store::Part;
use tidegate_sim::invariants::Watchdog;
use tidegate_sim::world::{Action, NextWrite, PodModel, Rest, Strike, World, WorldConfig};

/// A world with one Rollout `web`, the Services `active` and `preview`, and everything that must always hold watched.
/// Pods of the image `web:bad` are never ready, those of `web:slow` need ten seconds.
pub struct Life {
    world: World,
    watch: Watchdog,
}

impl Life {
    /// The first version is deployed and healthy.
    pub fn begin(replicas: i64, spec: Value) -> Life {
        Life::begin_with("web:1", replicas, spec)
    }

    /// The first version is deployed and at rest, well or not.
    pub fn begin_with(image: &str, replicas: i64, spec: Value) -> Life {
        Life::begin_of(image, &[], replicas, spec)
    }

    /// The first version is deployed and healthy among these objects.
    pub fn begin_among(objects: &[Value], replicas: i64, spec: Value) -> Life {
        Life::begin_of("web:1", objects, replicas, spec)
    }

    fn begin_of(image: &str, objects: &[Value], replicas: i64, spec: Value) -> Life {
        let mut config = WorldConfig::default();
        config.pods.default = PodModel { startup: (1_000, 1_000), ..PodModel::default() };
        config.pods.by_image = vec![
            ("bad".to_owned(), PodModel { ready: false, ..PodModel::default() }),
            ("slow".to_owned(), PodModel { startup: (10_000, 10_000), ..PodModel::default() }),
        ];
        let mut life = Life { world: World::new(config), watch: Watchdog::default() };
        for name in ["active", "preview"] {
            life.create(json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}));
        }
        objects.iter().for_each(|object| life.create(object.clone()));
        let mut rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image)}});
        tidegate_sim::cluster::patch::merge(&mut rollout, &json!({"spec": spec}));
        life.create(rollout);
        life.rest();
        life
    }

    fn create(&mut self, object: Value) {
        let object = Object::from_value(object).expect("an object");
        self.world.user(Action::Create(object), &mut self.watch).expect("accepted");
    }

    /// Until nothing happens any more.
    pub fn rest(&mut self) -> &mut Life {
        let limit = self.world.now().plus(Span::seconds(7200));
        assert_eq!(self.world.run_to_rest(limit, &mut self.watch), Rest::AtRest, "{}", self.describe());
        self.watch.at_rest(&self.world);
        self.check()
    }

    /// So many seconds go by.
    pub fn wait(&mut self, seconds: i64) -> &mut Life {
        let then = self.world.now().plus(Span::seconds(seconds));
        let _ = self.world.run_until(then, &mut self.watch);
        self.check()
    }

    /// Until this holds; it must hold some time.
    pub fn until(&mut self, holds: impl Fn(&Life) -> bool) -> &mut Life {
        let limit = self.world.now().plus(Span::seconds(7200));
        while !holds(self) {
            assert!(
                self.world.now() < limit && self.world.step(&mut self.watch),
                "never: {}",
                self.describe()
            );
        }
        self.check()
    }

    fn check(&mut self) -> &mut Life {
        assert!(self.watch.violation().is_none(), "{:?}", self.watch.violation());
        self
    }

    /// Merged into the Rollout.
    pub fn merge(&mut self, patch: Value) -> &mut Life {
        self.write(Patch::Main(patch))
    }

    /// Another image.
    pub fn image(&mut self, image: &str) -> &mut Life {
        self.merge(json!({"spec": {"template": template(image)}}))
    }

    /// Another number of pods.
    pub fn scale(&mut self, replicas: i64) -> &mut Life {
        self.merge(json!({"spec": {"replicas": replicas}}))
    }

    /// A disruption budget keeps so many pods.
    pub fn protect_pods(&mut self, least: i64) -> &mut Life {
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "budget", "namespace": "shop"},
            "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": "web"}}}});
        let key = Key::new(Kind::PodDisruptionBudget, "shop", "budget");
        if self.world.get(&key).is_some() {
            self.world.user(Action::Delete(key), &mut self.watch).expect("accepted");
        }
        self.create(budget);
        self
    }

    /// All pods that there are now are to be replaced.
    pub fn restart(&mut self) -> &mut Life {
        let now = self.world.now().stamp();
        self.run(|_| commands::restart(now))
    }

    /// Names of all pods.
    pub fn pods(&self) -> BTreeSet<String> {
        self.world.store().of_kind(&Kind::Pod).map(|pod| pod.meta.name.to_string()).collect()
    }

    pub fn abort(&mut self) -> &mut Life {
        self.run(|_| commands::abort())
    }

    pub fn retry(&mut self) -> &mut Life {
        self.run(|_| commands::retry())
    }

    pub fn promote(&mut self) -> &mut Life {
        self.run(commands::promote)
    }

    pub fn promote_full(&mut self) -> &mut Life {
        self.run(commands::promote_full)
    }

    fn run(&mut self, command: impl FnOnce(&Object) -> Vec<Patch>) -> &mut Life {
        for patch in command(self.rollout()) {
            self.write(patch);
        }
        self
    }

    fn write(&mut self, patch: Patch) -> &mut Life {
        let (patch, part) = match patch {
            Patch::Main(patch) => (patch, Part::Main),
            Patch::Status(patch) => (patch, Part::Status),
        };
        self.world.user(Action::Merge { key: key(), patch, part }, &mut self.watch).expect("accepted");
        self
    }

    fn rollout(&self) -> &Object {
        self.world.get(&key()).expect("the Rollout")
    }

    /// A field of the status.
    pub fn status(&self, field: &str) -> Value {
        self.rollout().to_value()["status"][field].clone()
    }

    /// The phase.
    pub fn phase(&self) -> String {
        self.status("phase").as_str().unwrap_or("").to_owned()
    }

    /// Wished pods of a revision; nothing when its ReplicaSet is gone.
    pub fn size(&self, revision: i64) -> Option<i64> {
        self.set(revision).map(|set| set.replica_set().expect("a ReplicaSet").wished())
    }

    /// Wished pods of several revisions.
    pub fn sizes<const N: usize>(&self, revisions: [i64; N]) -> [i64; N] {
        revisions.map(|revision| self.size(revision).unwrap_or(0))
    }

    /// The ReplicaSet of a revision.
    pub fn set(&self, revision: i64) -> Option<&Object> {
        let text = revision.to_string();
        let sets = self.world.store().of_kind(&Kind::ReplicaSet);
        sets.map(|set| &**set).find(|set| set.meta.annotations.get(REVISION).is_some_and(|r| **r == *text))
    }

    /// The hash of a revision.
    pub fn hash(&self, revision: i64) -> String {
        self.set(revision)
            .expect("its ReplicaSet")
            .meta
            .labels
            .get(HASH_LABEL)
            .map_or(String::new(), |hash| hash.to_string())
    }

    /// Whether a revision waits for a deadline.
    pub fn has_deadline(&self, revision: i64) -> bool {
        self.set(revision).is_some_and(|set| set.meta.annotations.get(SCALE_DOWN_DEADLINE).is_some())
    }

    /// The canary's weight, as the status records it.
    pub fn weight(&self) -> i64 {
        self.status("canary")["weights"]["canary"]["weight"].as_i64().unwrap_or(0)
    }

    /// Another object.
    pub fn object(&self, key: &Key) -> Value {
        self.world.get(key).map_or(Value::Null, |object| object.to_value())
    }

    /// The next write to an object of this kind is carried out, but the controller does not hear of it.
    pub fn lose_reply(&mut self, kind: Kind) -> &mut Life {
        let strike = NextWrite { kind: Some(kind), ..NextWrite::after(0, Strike::LostReply) };
        self.world.config_mut().interventions.on_next.push(strike);
        self
    }

    /// For so many seconds nothing is shown of this kind.
    pub fn stall(&mut self, kind: &Kind, seconds: i64) -> &mut Life {
        let until = self.world.now().plus(Span::seconds(seconds));
        self.world.stall_watch(kind, until);
        self
    }

    /// When it is.
    pub fn now(&self) -> tidegate_api::time::Time {
        self.world.now()
    }

    /// Pods that users see counted: desired, current, updated, ready, available.
    pub fn counts(&self) -> [i64; 5] {
        let desired = self.rollout().to_value()["spec"]["replicas"].as_i64().unwrap_or(0);
        let of = |field: &str| self.status(field).as_i64().unwrap_or(0);
        [desired, of("replicas"), of("updatedReplicas"), of("readyReplicas"), of("availableReplicas")]
    }

    /// The hash in the selector of a Service.
    pub fn selects(&self, service: &str) -> String {
        let service = self.world.get(&Key::new(Kind::Service, "shop", service)).expect("the Service");
        service
            .service()
            .and_then(|body| body.selector.get(HASH_LABEL))
            .map_or(String::new(), |h| h.to_string())
    }

    /// How often this event was recorded.
    pub fn told(&self, reason: &str) -> usize {
        self.world.recorded().iter().filter(|recorded| &*recorded.notice.reason == reason).count()
    }

    fn describe(&self) -> String {
        let sets = self.world.store().of_kind(&Kind::ReplicaSet);
        let sizes: Vec<String> = sets
            .map(|set| {
                let revision = set.meta.annotations.get(REVISION).map_or("?", |r| r);
                format!("rev{revision} {}", set.replica_set().expect("a ReplicaSet").wished())
            })
            .collect();
        format!("{} {} [{}]", self.phase(), self.status("message"), sizes.join(", "))
    }
}

fn key() -> Key {
    Key::new(Kind::Rollout, "shop", "web")
}

/// The pod template with this image.
pub fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}
