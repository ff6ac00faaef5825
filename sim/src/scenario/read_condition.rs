//! What is waited for, as it is written in a scenario.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_api::object::Kind;

use super::cursor::{Cursor, Read};
use super::keys::known;
use super::{Bound, Condition, EventCondition, ObjectCondition, StatusCondition, Target};

/// Conditions, all of which must hold.
pub(super) fn condition(at: &Cursor<'_>) -> Read<Condition> {
    at.fields(&known("condition"))?;
    let text = |name: &str| at.get(name).map(|field| field.owned()).transpose();
    let mut replicas = BTreeMap::new();
    if let Some(field) = at.get("replicas") {
        for (revision, count) in field.entries()? {
            let digits = revision.trim_start_matches("rev");
            let revision = digits.parse().or_else(|_| count.wrong_key("a revision is a number"))?;
            replicas.insert(revision, bound(&count)?);
        }
    }
    let read = Condition {
        rollout: text("rollout")?,
        analysis_run: text("analysis_run")?,
        experiment: text("experiment")?,
        phase: text("phase")?,
        step: at.get("step").map(|field| field.number()).transpose()?,
        weight: bound_of(at, "weight")?,
        message: text("message")?,
        condition: at.get("condition").map(|field| status_condition(&field)).transpose()?,
        replicas,
        healthy_pods: bound_of(at, "healthy_pods")?,
        object: at.get("object").map(|field| object(&field)).transpose()?,
        event: at.get("event").map(|field| event(&field)).transpose()?,
        time_since: at.get("time_since").map(|field| field.span()).transpose()?,
    };
    let of_rollout = ["phase", "step", "weight", "message", "condition", "replicas", "healthy_pods"];
    if let Some(field) = at.get("experiment").filter(|_| read.analysis_run.is_some()) {
        return field.wrong_key("a phase is that of one thing: `analysis_run` or `experiment`");
    }
    let has_evidence = read.analysis_run.is_some() || read.experiment.is_some();
    let of_evidence = |name: &str| matches!(name, "phase" | "message") && has_evidence;
    match of_rollout.iter().find(|name| at.get(name).is_some() && !of_evidence(name)) {
        Some(name) if read.rollout.is_none() => {
            at.wrong(format!("`{name}` is about a Rollout, and `rollout` is missing here"))
        }
        _ => Ok(read),
    }
}

fn bound_of(at: &Cursor<'_>, name: &str) -> Read<Option<Bound>> {
    at.get(name).map(|field| bound(&field)).transpose()
}

fn bound(field: &Cursor<'_>) -> Read<Bound> {
    let bound = match field.value.as_str() {
        Some(text) => Bound::parse(text),
        None => field.value.as_i64().and_then(|number| Bound::parse(&number.to_string())),
    };
    bound.map_or_else(|| field.wrong("this must be a number or a bound such as \"> 20\""), Ok)
}

fn status_condition(at: &Cursor<'_>) -> Read<StatusCondition> {
    at.fields(&known("status_condition"))?;
    let text = |name: &str| at.get(name).map(|field| field.owned()).transpose();
    Ok(StatusCondition {
        kind: at.need("type")?.owned()?,
        status: text("status")?,
        reason: text("reason")?,
        message: text("message")?,
    })
}

fn event(at: &Cursor<'_>) -> Read<EventCondition> {
    if at.value.is_string() {
        return Ok(EventCondition { reason: at.owned()?, message: None, count: None });
    }
    at.fields(&known("event"))?;
    Ok(EventCondition {
        reason: at.need("reason")?.owned()?,
        message: at.get("message").map(|field| field.owned()).transpose()?,
        count: bound_of(at, "count")?,
    })
}

fn object(at: &Cursor<'_>) -> Read<ObjectCondition> {
    let target = target(at, "object")?;
    let path = at.get("path").map(|field| field.owned()).transpose()?;
    // A value of null is a wish: the field is not there.
    let value: Option<Value> = at.map()?.get("value").cloned();
    match (value.is_some(), &path) {
        (true, None) => at.wrong("`value` is that of a field, and `path` is missing here"),
        _ => Ok(ObjectCondition { target, path, value, count: bound_of(at, "count")? }),
    }
}

/// The object that a mapping names, which may have the keys of this section too.
pub(super) fn target(at: &Cursor<'_>, section: &str) -> Read<Target> {
    let keys: Vec<&str> = known("target").into_iter().chain(known(section)).collect();
    at.fields(&keys)?;
    Ok(Target {
        kind: kind(&at.need("kind")?)?,
        name: at.get("name").map(|field| field.owned()).transpose()?,
        rollout: at.get("rollout").map(|field| field.owned()).transpose()?,
        revision: at.get("revision").map(|field| field.number()).transpose()?,
    })
}

/// An object that is written to: it must be a certain one.
pub(super) fn one_target(at: &Cursor<'_>, section: &str) -> Read<Target> {
    let target = target(at, section)?;
    match (&target.name, target.revision) {
        (None, None) => at.wrong("which object is meant: `name` is missing here, or `revision`"),
        _ => Ok(target),
    }
}

pub(super) fn kind(field: &Cursor<'_>) -> Read<Kind> {
    let name = field.text()?;
    Kind::named(name).map_or_else(|| field.wrong(format!("unknown kind `{name}`")), Ok)
}
