//! What each verb writes, and what it says in the trace. What a command writes is the controller's own decision
//! ([`tidegate_controller::commands`]); here it is only aimed at an object.

use std::fmt;
use std::sync::Arc;

use serde_json::json;
use tidegate_api::object::{Key, Kind, Object, PodBody};
use tidegate_controller::commands;

use super::{Evidence, Patch, Side, Simple, Target, Verb};
use crate::cluster::store::Part;
use crate::trace::view::View;
use crate::world::{Action, World};

/// The Rollout of this name, whatever its namespace.
pub(crate) fn rollout<'a>(world: &'a World, name: &str) -> Option<&'a Arc<Object>> {
    named(world, &Kind::Rollout, name)
}

/// The newest AnalysisRun of this name, or of this name without the hash in it.
pub(crate) fn analysis_run<'a>(world: &'a World, name: &str) -> Option<&'a Arc<Object>> {
    let runs = world.store().of_kind(&Kind::AnalysisRun);
    runs.filter(|run| *run.meta.name == *name || plain_name(world, run) == name)
        .max_by_key(|run| (run.meta.created, run.meta.resource_version))
}

/// The newest Experiment of this name, or of this name without the hash in it.
pub(crate) fn experiment<'a>(world: &'a World, name: &str) -> Option<&'a Arc<Object>> {
    let all = world.store().of_kind(&Kind::Experiment);
    all.filter(|one| *one.meta.name == *name || plain_name(world, one) == name)
        .max_by_key(|one| (one.meta.created, one.meta.resource_version))
}

/// The name of an AnalysisRun or Experiment without the hash in it: `web-2-1` is the run of step 1 in revision 2,
/// `web-2-0-errors` one of the Experiment `web-2-0`.
pub(crate) fn plain_name(world: &World, object: &Object) -> String {
    let name = &object.meta.name;
    // Runs of an Experiment do not carry the hash that stands in its name.
    let owner = controller_of(world, object);
    let mut labels =
        [Some(object), owner.map(|owner| &**owner)].into_iter().flatten().map(|one| &one.meta.labels);
    let hash = labels.find_map(|labels| labels.get("rollouts-pod-template-hash")).map_or("", |hash| &**hash);
    match hash.is_empty() {
        true => name.to_string(),
        false => name.replacen(&format!("-{hash}-"), "-", 1),
    }
}

/// The object that controls another one, if it is there.
pub(crate) fn controller_of<'a>(world: &'a World, object: &Object) -> Option<&'a Arc<Object>> {
    let owner = object.meta.controller()?;
    let kind = [Kind::Rollout, Kind::Experiment, Kind::AnalysisRun]
        .into_iter()
        .find(|k| k.name() == &*owner.kind)?;
    world.get(&Key::new(kind, object.meta.namespace.clone(), owner.name.clone()))
}

/// The object of this kind and name, whatever its namespace.
pub(crate) fn named<'a>(world: &'a World, kind: &Kind, name: &str) -> Option<&'a Arc<Object>> {
    world.store().of_kind(kind).find(|object| &*object.meta.name == name)
}

/// The revision that an object carries; 0 when it carries none.
pub(crate) fn revision(object: &Object) -> i64 {
    object.meta.annotations.get("rollout.argoproj.io/revision").and_then(|r| r.parse().ok()).unwrap_or(0)
}

impl Target {
    /// The objects that are meant.
    pub(crate) fn all<'a>(&'a self, world: &'a World) -> impl Iterator<Item = &'a Arc<Object>> {
        let owner = self.rollout.as_ref().map(|name| rollout(world, name).map(|found| &found.meta.uid));
        let is_owned = move |object: &Object| {
            let uid = object.meta.controller().map(|owner| &owner.uid);
            owner.is_none_or(|owner| owner.is_some() && uid == owner)
        };
        let by_version = !self.kind.api_version().is_empty();
        let exact = by_version.then(|| world.store().of_kind(&self.kind)).into_iter().flatten();
        let any = (!by_version).then(|| world.store().all()).into_iter().flatten();
        exact.chain(any.filter(|object| self.kind.covers(&object.kind))).filter(move |object| {
            self.name.as_deref().is_none_or(|name| *object.meta.name == *name)
                && self.revision.is_none_or(|wanted| revision(object) == wanted)
                && is_owned(object)
        })
    }

    fn key(&self, world: &World) -> Result<Key, String> {
        self.all(world).next().map(|object| object.key()).ok_or_else(|| format!("there is no {self}"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.kind.name())?;
        if let Some(name) = &self.name {
            write!(out, " {name}")?;
        }
        if let Some(revision) = self.revision {
            write!(out, " of revision {revision}")?;
        }
        Ok(())
    }
}

impl Verb {
    /// What it says in the trace.
    pub fn said(&self) -> String {
        match self {
            Verb::SetImage { rollout, image, .. } => format!("set_image {rollout} {image}"),
            Verb::Simple(simple, name) => format!("{} {name}", simple.name()),
            Verb::Undo { rollout, to_revision: 0 } => format!("undo {rollout}"),
            Verb::Undo { rollout, to_revision } => format!("undo {rollout} to {to_revision}"),
            Verb::Scale { rollout, replicas } => format!("scale {rollout} {replicas}"),
            Verb::Apply(objects) => format!("apply {}", names(objects)),
            Verb::Create(objects) => format!("create {}", names(objects)),
            Verb::Delete(target) => format!("delete {target}"),
            Verb::Patch { target, patch, .. } => format!("patch {target} {}", patch.summary()),
            Verb::Ready { rollout, ready, .. } => {
                format!("{} {rollout}", if *ready { "ready" } else { "unready" })
            }
            Verb::Load { autoscaler, total, per_pod } => format!("load {autoscaler} {total}/{per_pod}"),
            Verb::Metric(series) => format!("metric {}", series.of),
            Verb::Terminate(of) => format!("terminate {}", of.name()),
            Verb::Traffic(rps) => format!("traffic {rps} requests a second"),
            Verb::Quality(qualities) => {
                let images: Vec<&str> = qualities.iter().map(|(image, _)| image.as_str()).collect();
                format!("quality {}", images.join(", "))
            }
            Verb::Serve(kind, true) => format!("serve {kind}"),
            Verb::Serve(kind, false) => format!("unserve {kind}"),
            Verb::Fault(fault) => fault.to_string(),
            Verb::RestartController => "restart_controller".to_owned(),
            Verb::UpgradeController(_) => "upgrade_controller".to_owned(),
            Verb::Note(text) => format!("note: {text}"),
        }
    }

    /// The pods whose readiness it takes in hand.
    pub fn pods(&self, world: &World) -> Vec<Key> {
        let Verb::Ready { rollout: name, side, count, ready } = self else { return Vec::new() };
        let Some(object) = rollout(world, name) else { return Vec::new() };
        let view = View::of(world, object);
        let is_meant = |set: &Object| {
            let hash = set.meta.labels.get("rollouts-pod-template-hash").map_or("", |hash| &**hash);
            match side {
                Side::Stable => hash == view.stable,
                Side::New => hash == view.new,
                Side::Revision(wanted) => revision(set) == *wanted,
            }
        };
        let store = world.store();
        let sets = store.owned_by(&object.meta.uid, &Kind::ReplicaSet).filter(|set| is_meant(set));
        let mut pods: Vec<Key> = sets
            .flat_map(|set| store.owned_by(&set.meta.uid, &Kind::Pod))
            .filter(|pod| pod.pod().is_some_and(|body| body.ready != *ready && (!ready || has_begun(body))))
            .map(|pod| pod.key())
            .collect();
        pods.sort();
        pods.truncate(count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX));
        pods
    }

    /// What it writes, or why it cannot. Verbs that do something else to the world write nothing.
    pub fn writes(&self, world: &World) -> Result<Vec<Action>, String> {
        let find = |name: &str| rollout(world, name).ok_or_else(|| format!("there is no Rollout {name}"));
        match self {
            Verb::SetImage { rollout, container, image } => {
                set_image(world, find(rollout)?, container.as_deref(), image)
            }
            Verb::Simple(verb, name) => Ok(simple(*verb, find(name)?, world)),
            Verb::Undo { rollout, to_revision } => undo(world, find(rollout)?, *to_revision),
            Verb::Scale { rollout, replicas } => {
                Ok(vec![Action::Scale { key: find(rollout)?.key(), replicas: *replicas }])
            }
            Verb::Create(objects) => {
                Ok(objects.iter().map(|object| Action::Create(object.clone())).collect())
            }
            Verb::Apply(objects) => Ok(objects.iter().map(|object| applied(world, object)).collect()),
            Verb::Delete(target) => Ok(vec![Action::Delete(target.key(world)?)]),
            Verb::Patch { target, patch, status } => {
                let key = target.key(world)?;
                let part = if *status { Part::Status } else { Part::Main };
                Ok(vec![match patch.clone() {
                    Patch::Merge(patch) => Action::Merge { key, patch, part },
                    Patch::Operations(patch) => Action::Operations { key, patch, part },
                }])
            }
            Verb::Terminate(of) => {
                let (found, kind) = match of {
                    Evidence::Run(name) => (analysis_run(world, name), Kind::AnalysisRun),
                    Evidence::Experiment(name) => (experiment(world, name), Kind::Experiment),
                };
                let found = found.ok_or_else(|| format!("there is no {} {}", kind.name(), of.name()))?;
                Ok(commands::terminate().into_iter().map(|patch| aim(found.key(), patch)).collect())
            }
            Verb::Ready { rollout, .. } => find(rollout).map(|_| Vec::new()),
            Verb::Load { autoscaler, .. } => match named(world, &Kind::HorizontalPodAutoscaler, autoscaler) {
                Some(_) => Ok(Vec::new()),
                None => Err(format!("there is no HorizontalPodAutoscaler {autoscaler}")),
            },
            Verb::Fault(_)
            | Verb::RestartController
            | Verb::UpgradeController(_)
            | Verb::Note(_)
            | Verb::Metric(_)
            | Verb::Traffic(_)
            | Verb::Quality(_)
            | Verb::Serve(..) => Ok(Vec::new()),
        }
    }
}

impl Patch {
    /// The field that it changes, and the value where that is short; the first one if there are several.
    fn summary(&self) -> String {
        let (mut path, mut value) = match self {
            Patch::Merge(value) => (Vec::new(), value),
            Patch::Operations(operations) => {
                let first = &operations[0];
                let path = first["path"].as_str().unwrap_or("").trim_start_matches('/').replace('/', ".");
                (vec![path], &first["value"])
            }
        };
        while let Some((name, below)) = value.as_object().and_then(|map| map.iter().next()) {
            path.push(name.clone());
            value = below;
        }
        let text = value.to_string();
        let short = if text.chars().count() > 20 { "…" } else { text.as_str() };
        format!("{}={short}", path.join("."))
    }
}

/// The writes of a verb that needs nothing but the Rollout.
pub(crate) fn simple(verb: Simple, object: &Object, world: &World) -> Vec<Action> {
    let patches = match verb {
        Simple::Promote => commands::promote(object),
        Simple::PromoteFull => commands::promote_full(object),
        Simple::Abort => commands::abort(),
        Simple::Retry => commands::retry(),
        Simple::Restart => commands::restart(world.now().stamp()),
        Simple::Pause => commands::pause(),
        Simple::Resume => commands::resume(),
    };
    patches.into_iter().map(|patch| aim(object.key(), patch)).collect()
}

fn aim(key: Key, patch: commands::Patch) -> Action {
    match patch {
        commands::Patch::Main(patch) => Action::Merge { key, patch, part: Part::Main },
        commands::Patch::Status(patch) => Action::Merge { key, patch, part: Part::Status },
    }
}

/// Gives a container another image. Where the template comes from a Deployment, that one changes.
pub(crate) fn set_image(
    world: &World,
    object: &Object,
    container: Option<&str>,
    image: &str,
) -> Result<Vec<Action>, String> {
    let target = workload(world, object)?;
    let document = target.to_value();
    let containers = document.pointer("/spec/template/spec/containers").and_then(|list| list.as_array());
    let only = match (container, containers.map(Vec::as_slice)) {
        (Some(name), _) => name.to_owned(),
        (None, Some([only])) => only["name"].as_str().unwrap_or("").to_owned(),
        (None, Some([_, _, ..])) => return Err("there are several containers: name one".to_owned()),
        (None, _) => return Err("the pod template has no containers".to_owned()),
    };
    let patch = commands::set_image(target, &|name| (name == only).then(|| image.to_owned()))?;
    Ok(vec![aim(target.key(), patch)])
}

/// Where the pod template of a Rollout stands.
fn workload<'a>(world: &'a World, object: &'a Object) -> Result<&'a Object, String> {
    let Some(body) = object.rollout() else { return Ok(object) };
    match &body.spec.spec().workload_ref {
        None => Ok(object),
        Some(reference) => {
            let key = tidegate_controller::world::workload_key(&object.meta.namespace, reference);
            let found = world.get(&key).map(|found| &**found);
            found.ok_or_else(|| format!("the workload {} is not there", reference.name))
        }
    }
}

fn undo(world: &World, object: &Object, to_revision: i64) -> Result<Vec<Action>, String> {
    let sets: Vec<Arc<Object>> = world.store().of_kind(&Kind::ReplicaSet).cloned().collect();
    let template = commands::undo_template(object, &sets, Some(to_revision).filter(|to| *to != 0))?;
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
    Ok(vec![Action::Operations { key: workload(world, object)?.key(), patch, part: Part::Main }])
}

/// Makes the object, or gives the one that is there the new specification and metadata.
fn applied(world: &World, object: &Object) -> Action {
    let Some(held) = named(world, &object.kind, &object.meta.name) else {
        return Action::Create(object.clone());
    };
    let mut object = object.clone();
    object.meta.namespace.clone_from(&held.meta.namespace);
    for (key, value) in held.meta.annotations.iter() {
        if object.meta.annotations.get(key).is_none() {
            object.meta.annotations.set(key, value.clone());
        }
    }
    Action::Replace(object)
}

fn names(objects: &[Object]) -> String {
    let names: Vec<String> = objects.iter().map(|o| format!("{} {}", o.kind.name(), o.meta.name)).collect();
    names.join(", ")
}

/// Whether a pod can be made ready: one that still starts becomes ready in its own time.
fn has_begun(pod: &PodBody) -> bool {
    pod.phase.as_deref() == Some("Running")
}
