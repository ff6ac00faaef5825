//! One rollout at one instant, as a person would describe it: revisions instead of hashes.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_api::object::{Body, Key, Kind, Object, RolloutBody};
use tidegate_controller::world::workload_key;

use crate::dataplane::flow::Flow;
use crate::scenario::verbs::revision;
use crate::world::World;

/// The label that carries the hash of a pod template.
const HASH: &str = "rollouts-pod-template-hash";

/// The pods of one revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Set {
    pub revision: i64,
    pub hash: String,
    pub wished: i64,
    pub pods: i64,
    pub ready: i64,
}

/// How an update goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Course {
    Advancing,
    Held,
    Aborted,
    Complete,
}

/// One rollout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct View {
    pub revision: i64,
    pub new: String,
    pub stable: String,
    pub sets: Vec<Set>,
    /// Percent of the users that the new version has; 0 when there is no update.
    pub weight: i64,
    pub course: Course,
    pub pause: String,
    pub step: Option<i64>,
    pub steps: Vec<String>,
    pub phase: String,
    pub message: String,
    /// The revision that each Service selects; nothing when it selects more than one.
    pub services: BTreeMap<String, Option<i64>>,
    /// The wished pods of the Deployment that the template comes from.
    pub workload: Option<i64>,
}

impl View {
    /// How the rollout stands now.
    pub fn of(world: &World, object: &Object) -> View {
        let Some(body) = object.rollout() else { return View::nothing() };
        let status = &body.status;
        let mut sets: Vec<Set> = world
            .store()
            .owned_by(&object.meta.uid, &Kind::ReplicaSet)
            .filter_map(|set| of_set(set))
            .collect();
        sets.sort_by_key(|set| set.revision);
        let services = services(world, object, body, &sets);
        let (new, stable) = (status.current().to_owned(), status.stable_hash().to_owned());
        let paused_by_user = body.spec.spec().paused;
        let course = match () {
            () if status.is_aborted() => Course::Aborted,
            () if new == stable && !new.is_empty() => Course::Complete,
            () if paused_by_user || !status.pause_conditions().is_empty() => Course::Held,
            () => Course::Advancing,
        };
        let reasons = status.pause_conditions().iter().filter_map(|pause| pause.reason.as_deref());
        let reasons: Vec<&str> = reasons.chain(paused_by_user.then_some("spec.paused")).collect();
        let canary = body.spec.spec().canary();
        let text = |text: Option<&str>| text.unwrap_or("").to_owned();
        let mut view = View {
            revision: revision(object),
            weight: 0,
            course,
            pause: reasons.join(", "),
            step: canary.and(status.index()),
            steps: canary
                .map_or(Vec::new(), |canary| canary.steps.iter().map(|s| step_text(&s.raw)).collect()),
            phase: text(status.phase.as_deref()),
            message: text(status.message.as_deref()),
            new,
            stable,
            sets,
            services,
            workload: workload(world, object, body),
        };
        view.weight = view.share(world, object, body);
        view
    }

    /// How the rollout of this key stands now, if it is there.
    pub fn of_key(world: &World, key: &Key) -> Option<View> {
        world.get(key).map(|object| View::of(world, object))
    }

    fn nothing() -> View {
        View {
            revision: 0,
            new: String::new(),
            stable: String::new(),
            sets: Vec::new(),
            weight: 0,
            course: Course::Advancing,
            pause: String::new(),
            step: None,
            steps: Vec::new(),
            phase: String::new(),
            message: String::new(),
            services: BTreeMap::new(),
            workload: None,
        }
    }

    /// The share of users that the new version has: by what proxies do, or by the endpoints behind the Service that
    /// users reach.
    fn share(&self, world: &World, object: &Object, body: &RolloutBody) -> i64 {
        if self.new == self.stable || self.stable.is_empty() {
            return 0;
        }
        if body.spec.spec().canary().is_some_and(|canary| canary.traffic_routing.is_some()) {
            return Flow::of(world, object, 0).percent(&self.new);
        }
        if let Some(blue_green) = body.spec.spec().blue_green() {
            let active = self.services.get(&*blue_green.active_service).copied().flatten();
            let new = self.sets.iter().find(|set| set.hash == self.new).map(|set| set.revision);
            return if active.is_some() && active == new { 100 } else { 0 };
        }
        let all: i64 = self.sets.iter().map(|set| set.ready).sum();
        let new = self.sets.iter().find(|set| set.hash == self.new).map_or(0, |set| set.ready);
        if all == 0 { 0 } else { new.saturating_mul(100).saturating_add(all / 2) / all }
    }

    /// `stable 8/8 new 2/2`, ready pods of wished ones.
    pub fn pods(&self) -> String {
        let mut parts = Vec::new();
        let updating = self.new != self.stable && !self.stable.is_empty();
        for set in &self.sets {
            let name = match &set.hash {
                hash if *hash == self.stable => "stable".to_owned(),
                hash if *hash == self.new => "new".to_owned(),
                _ if set.wished == 0 && set.pods == 0 => continue,
                _ if self.stable.is_empty() => "new".to_owned(),
                _ => format!("revision {}", set.revision),
            };
            if name == "new" && !updating && set.wished == 0 && set.pods == 0 {
                continue;
            }
            parts.push(format!("{name} {}/{}", set.ready, set.wished));
        }
        parts.join(" ")
    }

    /// `step 2/5 pause(2m)`; nothing when no step is under way.
    pub fn step(&self) -> Option<String> {
        let at = usize::try_from(self.step?).ok()?;
        let text = self.steps.get(at)?;
        Some(format!("step {}/{} {text}", at + 1, self.steps.len()))
    }
}

fn of_set(set: &Object) -> Option<Set> {
    let body = set.replica_set()?;
    Some(Set {
        revision: revision(set),
        hash: set.meta.labels.get(HASH).map_or(String::new(), |hash| hash.to_string()),
        wished: body.wished(),
        pods: body.status.replicas.unwrap_or(0),
        ready: body.status.ready.unwrap_or(0),
    })
}

fn workload(world: &World, object: &Object, body: &RolloutBody) -> Option<i64> {
    let reference = body.spec.spec().workload_ref.as_ref()?;
    match &world.get(&workload_key(&object.meta.namespace, reference))?.body {
        Body::Deployment(body) => Some(body.wished()),
        _ => None,
    }
}

fn services(
    world: &World,
    object: &Object,
    body: &RolloutBody,
    sets: &[Set],
) -> BTreeMap<String, Option<i64>> {
    let spec = body.spec.spec();
    let names = match (spec.canary(), spec.blue_green()) {
        (Some(canary), _) => [&canary.stable_service, &canary.canary_service],
        (_, Some(blue_green)) => [&blue_green.active_service, &blue_green.preview_service],
        (None, None) => return BTreeMap::new(),
    };
    let mut found = BTreeMap::new();
    for service in world.store().of_kind(&Kind::Service) {
        if service.meta.namespace != object.meta.namespace || !names.contains(&&service.meta.name) {
            continue;
        }
        let hash = service.service().and_then(|body| body.selector.get(HASH));
        let revision =
            hash.and_then(|hash| sets.iter().find(|set| *set.hash == **hash)).map(|set| set.revision);
        found.insert(service.meta.name.to_string(), revision);
    }
    found
}

/// `setWeight(20)`, `pause(2m)`, `pause()`.
fn step_text(raw: &Value) -> String {
    let Some((name, value)) = raw.as_object().and_then(|map| map.iter().next()) else {
        return "nothing".to_owned();
    };
    let bare = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Null => format!("{name}()"),
        Value::Object(map) if name == "pause" => {
            format!("pause({})", map.get("duration").map_or(String::new(), bare))
        }
        Value::Object(map) if name == "analysis" => {
            let templates = map.get("templates").and_then(Value::as_array).into_iter().flatten();
            let names: Vec<&str> = templates.filter_map(|one| one["templateName"].as_str()).collect();
            format!("analysis({})", names.join(", "))
        }
        Value::Object(map) => {
            let parts: Vec<String> =
                map.iter().map(|(key, value)| format!("{key} {}", bare(value))).collect();
            format!("{name}({})", parts.join(", "))
        }
        value => format!("{name}({})", bare(value)),
    }
}
