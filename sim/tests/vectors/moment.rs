//! One moment in the life of a Rollout, written down by hand, and what one pass of the controller makes of it.
//!
//! Version `v1` is a ReplicaSet `web-v1` with the hash `v1`, whose pods run `web:v1`. What a moment does not say is
//! consistent: the stored status describes exactly the ReplicaSets that are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Body, Key, Kind, Object};
use tidegate_api::schema::steps_hash;
use tidegate_api::time::{Span, Time};
use tidegate_controller::analysis::measure::Exchange;
use tidegate_controller::cache::Cache;
use tidegate_controller::names::{DESIRED_REPLICAS, HASH_LABEL, MANAGED_BY, REVISION, SCALE_DOWN_DEADLINE};
use tidegate_controller::plan::{Need, Plan, Verb, Wake};
use tidegate_controller::question::Reply;
use tidegate_controller::rollout;
use tidegate_controller::routers::Settings;
use tidegate_controller::world::{Facts, RolloutWorld};
use tidegate_sim::cluster::patch::merge;

/// When it is.
pub const NOW: Time = Time(1_767_225_600_000);

/// So many seconds after now (before, if negative), as Kubernetes writes it.
pub fn stamp(seconds: i64) -> String {
    NOW.stamp().plus_seconds(seconds).to_string()
}

/// A Rollout and its surroundings.
#[derive(Clone)]
pub struct Moment {
    rollout: Value,
    others: BTreeMap<String, Value>,
    now: Time,
    is_counted: bool,
}

/// What a pass did.
pub struct Pass {
    /// All of it.
    pub plan: Plan,
    /// Names of evicted pods.
    pub evicted: Vec<String>,
    /// Names of deleted ReplicaSets.
    pub deleted: Vec<String>,
    /// Reasons of the Kubernetes events.
    pub events: Vec<String>,
}

impl Moment {
    /// A canary of so many replicas.
    pub fn canary(replicas: i64, strategy: Value) -> Moment {
        let steps = strategy["steps"].as_array().filter(|steps| !steps.is_empty());
        let index = if steps.is_some() { json!(0) } else { Value::Null };
        let hash = steps_hash(strategy.get("steps"));
        let status =
            json!({"canary": {}, "blueGreen": {}, "currentStepHash": hash, "currentStepIndex": index});
        Moment::new(replicas, json!({"canary": strategy}), status)
    }

    /// A blue-green Rollout with the Services `active` and `preview`, still without a hash.
    pub fn blue_green(replicas: i64, more: Value) -> Moment {
        let mut strategy = json!({"activeService": "active", "previewService": "preview"});
        merge(&mut strategy, &more);
        Moment::new(replicas, json!({"blueGreen": strategy}), json!({"canary": {}, "blueGreen": {}}))
            .service("active", "")
            .service("preview", "")
    }

    fn new(replicas: i64, strategy: Value, status: Value) -> Moment {
        let mut rollout = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-web", "generation": 1, "resourceVersion": "1",
                "annotations": {REVISION: "1"}},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "strategy": strategy,
                "template": template("v1")},
            "status": status});
        merge(
            &mut rollout,
            &json!({"status": {"observedGeneration": "1", "conditions": [
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": "-",
             "lastUpdateTime": stamp(-10), "lastTransitionTime": stamp(-10)}]}}),
        );
        Moment { rollout, others: BTreeMap::new(), now: NOW, is_counted: false }
    }

    /// A ReplicaSet, wished/available. Revisions count up in the order in which they are added.
    pub fn set(self, version: &str, size: &str) -> Moment {
        let (wished, available) = size.split_once('/').expect("wished/available");
        let number = |text: &str| text.parse::<i64>().expect("a number");
        let (wished, available) = (number(wished), number(available));
        let revision = self.others.values().filter(|o| o["kind"] == "ReplicaSet").count() + 1;
        let mut template = template(version);
        template["metadata"]["labels"][HASH_LABEL] = json!(version);
        let object = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": format!("web-{version}"), "namespace": "shop", "uid": format!("u-{version}"),
                "generation": 1, "resourceVersion": "1",
                "creationTimestamp": stamp(-3600 + i64::try_from(revision).expect("few")),
                "labels": {"app": "web", HASH_LABEL: version},
                "annotations": {REVISION: revision.to_string(), DESIRED_REPLICAS: self.rollout["spec"]["replicas"].to_string()},
                "ownerReferences": [owner("Rollout", "web")]},
            "spec": {"replicas": wished, "template": template,
                "selector": {"matchLabels": {"app": "web", HASH_LABEL: version}}},
            "status": {"replicas": wished.max(available), "readyReplicas": available, "availableReplicas": available,
                "observedGeneration": 1}});
        self.with(object)
    }

    /// The ReplicaSet of this version is the stable one.
    pub fn stable(self, version: &str) -> Moment {
        self.status(json!({"stableRS": version}))
    }

    /// The template is that of this version, and the status knows it. Revisions are as if it had just been deployed.
    pub fn current(mut self, version: &str) -> Moment {
        self.rollout["spec"]["template"] = template(version);
        let sets = self.others.values().filter(|o| o["kind"] == "ReplicaSet");
        let latest = sets.filter_map(|o| o["metadata"]["annotations"][REVISION].as_str()?.parse().ok()).max();
        let mine = self.revision_of(version);
        let revision = if mine == latest { mine } else { latest.map(|latest: i64| latest + 1) };
        if let Some(revision) = revision.map(|revision| revision.to_string()) {
            self.rollout["metadata"]["annotations"][REVISION] = json!(revision);
            if self.others.contains_key(&format!("web-{version}")) {
                self = self.annotate(version, REVISION, &revision);
            }
        }
        self.status(json!({"currentPodHash": version}))
    }

    fn revision_of(&self, version: &str) -> Option<i64> {
        self.others.get(&format!("web-{version}"))?["metadata"]["annotations"][REVISION]
            .as_str()?
            .parse()
            .ok()
    }

    /// An update from one version to another.
    pub fn update(self, stable: &str, size: &str, new: &str, new_size: &str) -> Moment {
        self.set(stable, size).set(new, new_size).stable(stable).current(new)
    }

    /// Merged into the status.
    pub fn status(mut self, patch: Value) -> Moment {
        merge(&mut self.rollout, &json!({"status": patch}));
        self
    }

    /// Merged into the specification; the status has seen it.
    pub fn spec(mut self, patch: Value) -> Moment {
        merge(&mut self.rollout, &json!({"spec": patch}));
        self
    }

    /// An annotation of a ReplicaSet.
    pub fn annotate(mut self, version: &str, key: &str, value: &str) -> Moment {
        self.edit(&format!("web-{version}"), json!({"metadata": {"annotations": {key: value}}}));
        self
    }

    /// The ReplicaSet may be scaled down so many seconds from now.
    pub fn deadline(self, version: &str, seconds: i64) -> Moment {
        self.annotate(version, SCALE_DOWN_DEADLINE, &stamp(seconds))
    }

    /// An annotation of the Rollout.
    pub fn annotate_rollout(&mut self, key: &str, value: &str) {
        merge(&mut self.rollout, &json!({"metadata": {"annotations": {key: value}}}));
    }

    /// The object is gone.
    pub fn forget(&mut self, name: &str) {
        self.others.remove(name);
    }

    /// Merged into another object.
    pub fn edit(&mut self, name: &str, patch: Value) {
        merge(self.others.get_mut(name).expect("an object of this name"), &patch);
    }

    /// A Service that the Rollout manages if it has a hash.
    pub fn service(self, name: &str, hash: &str) -> Moment {
        let mut object = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "shop", "uid": format!("u-{name}"), "resourceVersion": "1"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
        if !hash.is_empty() {
            object["metadata"]["annotations"] = json!({MANAGED_BY: "web"});
            object["spec"]["selector"][HASH_LABEL] = json!(hash);
        }
        self.with(object)
    }

    /// The active and the preview Service point there, and the status knows it.
    pub fn selected(self, active: &str, preview: &str) -> Moment {
        let status = json!({"blueGreen": {"activeSelector": active, "previewSelector": preview}});
        self.service("active", active).service("preview", preview).status(status)
    }

    /// A pod that was made so many seconds ago.
    pub fn pod(self, name: &str, version: &str, age: i64, is_available: bool) -> Moment {
        let ready = if is_available { "True" } else { "False" };
        self.with(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "uid": format!("u-{name}"), "resourceVersion": "1",
                "creationTimestamp": stamp(-age), "labels": {"app": "web", HASH_LABEL: version},
                "ownerReferences": [owner("ReplicaSet", &format!("web-{version}"))]},
            "spec": {}, "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": stamp(-age)}]}}))
    }

    /// Any other object.
    pub fn with(mut self, object: Value) -> Moment {
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        self.others.insert(name, object);
        self
    }

    /// The same, so many milliseconds later.
    pub fn later(mut self, millis: i64) -> Moment {
        self.now = self.now.plus(Span::millis(millis));
        self
    }

    /// One pass of the controller; its writes are carried out.
    pub fn pass(&mut self) -> Pass {
        self.pass_with(Settings::default(), Facts::default())
    }

    /// The same where load balancers can be asked, and this came of the question.
    pub fn pass_hearing(&mut self, reply: Reply) -> Pass {
        let mut facts = Facts::default();
        let heard = Exchange { begun: self.now, heard: self.now, replies: vec![reply] };
        facts.exchanges.insert("weights of the load balancer".into(), heard);
        self.pass_with(Settings { verify_target_groups: true, ..Settings::default() }, facts)
    }

    fn pass_with(&mut self, settings: Settings, mut facts: Facts) -> Pass {
        self.count();
        let mut cache = Cache::new(Arc::new(settings));
        let object = |value: &Value| Arc::new(Object::from_value(value.clone()).expect("an object"));
        cache.put(object(&self.rollout), Time(0));
        for other in self.others.values() {
            cache.put(object(other), Time(0));
        }
        let key = Key::new(Kind::Rollout, "shop", "web");
        let world = RolloutWorld::gather(&cache, &key).expect("the Rollout is there");
        let mut plan = rollout::plan(&world, &facts, self.now);
        for need in std::mem::take(&mut plan.needs) {
            let Need::Live(key) = need else { continue };
            let found = cache.get(&key).cloned();
            facts.live.insert(key, found);
        }
        if !facts.live.is_empty() {
            plan = rollout::plan(&world, &facts, self.now);
        }
        self.carry_out(plan)
    }

    fn carry_out(&mut self, plan: Plan) -> Pass {
        let events = plan.told.iter().map(|notice| notice.reason.to_string()).collect();
        let mut pass = Pass { plan, evicted: Vec::new(), deleted: Vec::new(), events };
        for write in &pass.plan.writes {
            let name = write.key.name.to_string();
            pass.events.extend(write.notices.iter().map(|notice| notice.reason.to_string()));
            match &write.verb {
                Verb::Create(object) => drop(self.others.insert(name, object.to_value())),
                Verb::Edit(edits) => {
                    let place = match write.key.kind {
                        Kind::Rollout => &mut self.rollout,
                        _ => self.others.get_mut(&name).expect("what is edited is there"),
                    };
                    let mut object = Object::from_value(place.clone()).expect("an object");
                    edits.iter().for_each(|edit| edit.apply(&mut object).expect("it fits"));
                    *place = object.to_value();
                }
                Verb::Delete => {
                    self.others.remove(&name);
                    pass.deleted.push(name);
                }
                Verb::Evict => pass.evicted.push(name),
            }
        }
        pass
    }

    /// Counts the pods into the status, once.
    fn count(&mut self) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        let current = self.rollout["status"]["currentPodHash"].clone();
        let sum = |field: &str, only: &dyn Fn(&Value) -> bool| -> i64 {
            let sets = self.others.values().filter(|o| o["kind"] == "ReplicaSet" && only(o));
            sets.filter_map(|set| set["status"][field].as_i64()).sum()
        };
        let is_current = |set: &Value| set["metadata"]["labels"][HASH_LABEL] == current;
        let counts = json!({"status": {"replicas": sum("replicas", &|_| true), "updatedReplicas": sum("replicas", &is_current),
            "readyReplicas": sum("readyReplicas", &|_| true), "availableReplicas": sum("availableReplicas", &|_| true)}});
        let mut status = counts;
        // What a vector says of its status comes last.
        merge(&mut status, &json!({"status": self.rollout["status"]}));
        merge(&mut self.rollout, &status);
    }

    /// Wished pods of a version.
    pub fn size(&self, version: &str) -> i64 {
        self.others[&format!("web-{version}")]["spec"]["replicas"].as_i64().expect("a number")
    }

    /// Wished pods of several versions.
    pub fn sizes<const N: usize>(&self, versions: [&str; N]) -> [i64; N] {
        versions.map(|version| self.size(version))
    }

    /// An annotation of a version's ReplicaSet.
    pub fn annotation(&self, version: &str, key: &str) -> Option<&str> {
        self.others[&format!("web-{version}")]["metadata"]["annotations"][key].as_str()
    }

    /// Whether a version's ReplicaSet waits for a deadline.
    pub fn has_deadline(&self, version: &str) -> bool {
        self.annotation(version, SCALE_DOWN_DEADLINE).is_some()
    }

    /// The hash that a Service selects; empty when there is none.
    pub fn selects(&self, service: &str) -> &str {
        self.others[service]["spec"]["selector"][HASH_LABEL].as_str().unwrap_or("")
    }

    /// Any other object.
    pub fn object(&self, name: &str) -> Option<&Value> {
        self.others.get(name)
    }

    /// Names of all ReplicaSets.
    pub fn versions(&self) -> Vec<String> {
        let sets = self.others.iter().filter(|(_, object)| object["kind"] == "ReplicaSet");
        sets.map(|(name, _)| name.clone()).collect()
    }

    /// The status.
    pub fn stored(&self) -> &Value {
        &self.rollout["status"]
    }

    /// The whole Rollout.
    pub fn rollout(&self) -> Object {
        Object::from_value(self.rollout.clone()).expect("a Rollout")
    }

    /// A condition of the status.
    pub fn condition(&self, kind: &str) -> Value {
        let conditions = self.stored()["conditions"].as_array();
        conditions.and_then(|all| all.iter().find(|c| c["type"] == kind)).cloned().unwrap_or(Value::Null)
    }

    /// The reasons for which the Rollout is paused.
    pub fn pauses(&self) -> Vec<String> {
        let pauses = self.stored()["pauseConditions"].as_array().into_iter().flatten();
        pauses.filter_map(|pause| pause["reason"].as_str().map(str::to_owned)).collect()
    }

    /// Phase and message, as the controller would write them.
    pub fn phase(&mut self) -> (String, String) {
        self.count();
        let rollout = self.rollout();
        let Body::Rollout(body) = &rollout.body else { unreachable!("made above") };
        let (phase, message) = rollout::phase(body.spec.spec(), &body.status);
        (phase.to_owned(), message)
    }
}

impl Pass {
    /// Whether the pass asked to be woken.
    pub fn has_timer(&self) -> bool {
        matches!(self.plan.wake, Wake::At(_))
    }

    /// Whether this event was recorded.
    pub fn told(&self, reason: &str) -> bool {
        self.events.iter().any(|event| event == reason)
    }
}

/// A condition that the Rollout is paused, since so many seconds.
pub fn paused(reason: &str, seconds: i64) -> Value {
    json!({"controllerPause": true, "pauseConditions": [{"reason": reason, "startTime": stamp(-seconds)}],
        "conditions": [
            {"type": "Progressing", "status": "Unknown", "reason": "RolloutPaused", "message": "Rollout is paused",
             "lastUpdateTime": stamp(-seconds), "lastTransitionTime": stamp(-seconds)},
            {"type": "Paused", "status": "True", "reason": "RolloutPaused", "message": "Rollout is paused",
             "lastUpdateTime": stamp(-seconds), "lastTransitionTime": stamp(-seconds)}]})
}

/// A status of an aborted Rollout.
pub fn aborted() -> Value {
    json!({"abort": true, "abortedAt": stamp(-10), "conditions": [
        {"type": "Progressing", "status": "False", "reason": "RolloutAborted", "message": "-",
         "lastUpdateTime": stamp(-10), "lastTransitionTime": stamp(-10)}]})
}

/// The pod template of a version.
pub fn template(version: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": format!("web:{version}")}]}})
}

fn owner(kind: &str, name: &str) -> Value {
    let api_version = if kind == "Rollout" { "argoproj.io/v1alpha1" } else { "apps/v1" };
    let uid = format!("u-{}", if kind == "Rollout" { name } else { name.trim_start_matches("web-") });
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true,
        "blockOwnerDeletion": true})
}
