//! What a trace says of Experiments: their phases, and how each arm stands.

use std::sync::Arc;

use tidegate_api::object::{ExperimentStatus, Object, TemplateStatus, WeightDestination};

use crate::scenario::verbs::plain_name;
use crate::world::World;

/// What is new in an Experiment.
pub fn news(
    world: &World,
    before: Option<&Arc<Object>>,
    after: Option<&Arc<Object>>,
) -> Option<(String, String)> {
    let name = |object: &Object| plain_name(world, object);
    let Some((object, body)) = after.and_then(|object| Some((object, object.experiment()?))) else {
        return before.map(|gone| (format!("experiment {} deleted", name(gone)), String::new()));
    };
    let was = before.and_then(|object| object.experiment()).map_or("", |body| body.status.phase());
    let is = body.status.phase();
    if was == is {
        return None;
    }
    let because = body.status.message.as_deref().filter(|why| !why.is_empty());
    let detail = match because {
        Some(why) if body.status.is_over() => format!("because {why}"),
        _ => arms(&body.status),
    };
    Some((format!("experiment {} {is}", name(object)), detail))
}

/// The shares of traffic of all arms, where a status gives others than before.
pub fn shares(before: Option<&Arc<Object>>, after: Option<&Arc<Object>>) -> Option<(String, String)> {
    let weights = |object: Option<&Arc<Object>>| {
        let canary = object?.rollout()?.status.canary.clone()?;
        canary.weights?.additional.filter(|arms| !arms.is_empty())
    };
    let (was, is) = (weights(before), weights(after));
    if was == is {
        return None;
    }
    let hash = after?.rollout()?.status.current().to_owned();
    let share = |arm: &WeightDestination| {
        let name = arm.service.as_deref().unwrap_or("").replacen(&format!("-{hash}-"), "-", 1);
        format!("{name} {}", arm.weight.map_or(0, |weight| weight.0))
    };
    let shares: Vec<String> = is.iter().flatten().map(share).collect();
    Some(("arms".to_owned(), if shares.is_empty() { "without a share".to_owned() } else { shares.join(" ") }))
}

/// `base 1/1 new 0/1`: available pods of those that exist.
fn arms(status: &ExperimentStatus) -> String {
    let arm = |arm: &TemplateStatus| {
        let all = arm.replicas.map_or(0, |n| n.0);
        format!("{} {}/{all}", arm.name.as_deref().unwrap_or(""), arm.available())
    };
    status.templates.iter().flatten().map(arm).collect::<Vec<_>>().join(" ")
}
