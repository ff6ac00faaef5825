//! What each verb writes: patches computed from the Rollout as it is.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Time;
use tidegate_controller::commands;

use super::Simple;
use crate::cluster::store::Part;
use crate::world::{Action, World};

/// The Rollout of this name, whatever its namespace.
pub(crate) fn rollout<'a>(world: &'a World, name: &str) -> Option<&'a Arc<Object>> {
    named(world, &Kind::Rollout, name)
}

/// The object of this kind and name, whatever its namespace.
pub(crate) fn named<'a>(world: &'a World, kind: &Kind, name: &str) -> Option<&'a Arc<Object>> {
    world.store().of_kind(kind).find(|object| &*object.meta.name == name)
}

/// The writes of a verb that needs nothing but the Rollout.
pub(crate) fn simple(verb: Simple, object: &Object, now: Time) -> Vec<Action> {
    let patches = match verb {
        Simple::Promote => commands::promote(object),
        Simple::PromoteFull => commands::promote_full(object),
        Simple::Abort => commands::abort(),
        Simple::Retry => commands::retry(),
        Simple::Restart => commands::restart(now.stamp()),
        Simple::Pause => commands::pause(),
        Simple::Resume => commands::resume(),
    };
    let action = |patch| match patch {
        commands::Patch::Main(patch) => Action::Merge { key: object.key(), patch, part: Part::Main },
        commands::Patch::Status(patch) => Action::Merge { key: object.key(), patch, part: Part::Status },
    };
    patches.into_iter().map(action).collect()
}

/// Gives a container another image. Where the template comes from a Deployment, that one changes.
pub(crate) fn set_image(
    world: &World,
    object: &Object,
    container: Option<&str>,
    image: &str,
) -> Result<Action, String> {
    let target = workload(world, object)?;
    let document = target.to_value();
    let containers = document.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let mut containers = containers.cloned().ok_or("the pod template has no containers")?;
    let at = match container {
        Some(name) => containers.iter().position(|c| c["name"] == name),
        None if containers.len() == 1 => Some(0),
        None => return Err("there are several containers: name one".to_owned()),
    };
    let found = at.and_then(|at| containers.get_mut(at)).filter(|found| found.is_object());
    let found = found.ok_or_else(|| format!("unable to find container named {container:?}"))?;
    found["image"] = Value::from(image);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    Ok(Action::Merge { key: target.key(), patch, part: Part::Main })
}

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

/// Puts the template of an earlier revision back; the newest but one when `to_revision` is 0.
pub(crate) fn undo(world: &World, object: &Object, to_revision: i64) -> Result<Action, String> {
    let mut sets: Vec<(i64, &Arc<Object>)> =
        world.store().owned_by(&object.meta.uid, &Kind::ReplicaSet).map(|set| (revision(set), set)).collect();
    sets.sort_by_key(|(revision, _)| std::cmp::Reverse(*revision));
    let found = match to_revision {
        0 => sets.get(1),
        wanted => sets.iter().find(|(revision, _)| *revision == wanted),
    };
    let set = found
        .and_then(|(_, set)| set.replica_set())
        .ok_or_else(|| format!("unable to find specified revision {to_revision} in history"))?;
    let template = set.template.with(|template| {
        template.labels.remove("rollouts-pod-template-hash");
    });
    let key: Key = workload(world, object)?.key();
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template.to_value()}]);
    Ok(Action::Operations { key, patch, part: Part::Main })
}

/// The revision that an object carries; 0 when it carries none.
pub(crate) fn revision(object: &Object) -> i64 {
    object.meta.annotations.get("rollout.argoproj.io/revision").and_then(|r| r.parse().ok()).unwrap_or(0)
}
