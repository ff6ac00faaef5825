//! The ReplicaSet of each template: made, scaled, and taken away again; and what the status says about the template.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::experiment::ExperimentTemplate;
use tidegate_api::object::{
    Body, Counted, Kind, Meta, Object, ReplicaSetBody, Selector, TemplateStatus, Text,
};
use tidegate_api::schema;
use tidegate_api::time::Span;

use super::{Draft, belongs, is_of_a_predecessor, marks, owner, services, traffic};
use crate::edit::Edit;
use crate::names::{EXPERIMENT_NAME, HASH_LABEL, SCALE_DOWN_DEADLINE};
use crate::plan::{Guard, IfRefused, Reason, Verb};
use crate::rollout::draft::version_of;
use crate::rollout::set::{Deadline, Set};

/// The name of a template's ReplicaSet.
pub fn name(experiment: &str, template: &str) -> Text {
    format!("{experiment}-{template}").into()
}

/// The ReplicaSet of a template, if it exists.
pub fn of(draft: &Draft<'_>, template: &str) -> Option<Set> {
    let mut sets = draft.world.sets.iter();
    sets.find(|set| belongs(draft.world, set, template)).cloned().and_then(Set::new)
}

/// Does what is to be done for one template.
pub fn reconcile(draft: &mut Draft<'_>, template: &ExperimentTemplate) {
    let before = draft.observed.template(&template.name).cloned();
    let mut status = before.clone().unwrap_or_default();
    status.name = Some(template.name.clone());
    let is_ending = draft.is_terminating || status.is_over();
    let desired = if is_ending { 0 } else { template.replicas };
    let mut touched = before.is_none();
    let set = of(draft, &template.name);
    match &set {
        Some(set) if is_ending => touched |= take_away(draft, template, set),
        Some(set) => touched |= scale(draft, template, set, desired, &mut status),
        // ARGO: the reference also makes ReplicaSets that are missing from an Experiment that is over.
        None if is_ending => {}
        None => touched |= create(draft, template, &mut status),
    }
    if set.is_some() || is_ending {
        services::reconcile(draft, template, set.as_ref(), is_ending, &mut status);
    }
    touched |= count(set.as_ref(), &mut status);
    if touched {
        draft.has_progressed = true;
        status.changed = Some(draft.stamp());
    }
    let was_over = before.as_ref().is_some_and(TemplateStatus::is_over);
    if !was_over && !status.is_over() {
        judge(draft, template, desired, &mut status);
    }
    tell(draft, before.as_ref(), &status);
    draft.put_template(status);
}

/// Takes the numbers of the ReplicaSet over. Says whether one changed.
fn count(set: Option<&Set>, status: &mut TemplateStatus) -> bool {
    let numbers = set.map_or((0, 0, 0), |set| (set.actual(), set.ready(), set.available()));
    let number = |n: Option<Counted>| n.map_or(0, |n| n.0);
    let changed = numbers != (number(status.replicas), number(status.ready), number(status.available));
    (status.replicas, status.updated) = (Some(Counted(numbers.0)), Some(Counted(numbers.0)));
    (status.ready, status.available) = (Some(Counted(numbers.1)), Some(Counted(numbers.2)));
    changed
}

fn judge(draft: &mut Draft<'_>, template: &ExperimentTemplate, desired: i64, status: &mut TemplateStatus) {
    let seconds = draft.spec.progress_deadline_seconds;
    let deadline = status.changed.unwrap_or(draft.stamp()).plus_seconds(seconds).time();
    let is_there = desired == status.available();
    let word = if draft.is_terminating || (is_there && draft.has_run_its_time()) {
        "Successful"
    } else if is_there {
        "Running"
    } else if draft.now > deadline {
        let message =
            format!("Template '{}' exceeded its progressDeadlineSeconds ({seconds})", template.name);
        status.message = Some(message.into());
        "Failed"
    } else {
        draft.wake_after(deadline, &format!("the progress deadline of template {}", template.name));
        "Progressing"
    };
    status.status = Some(word.into());
}

/// Ends a template with an error.
pub fn fail(status: &mut TemplateStatus, message: String) {
    status.status = Some("Error".into());
    status.message = Some(message.into());
}

fn tell(draft: &mut Draft<'_>, before: Option<&TemplateStatus>, after: &TemplateStatus) {
    let (from, to) = (before.map_or("", TemplateStatus::status), after.status());
    if from == to {
        return;
    }
    let name = after.name.as_deref().unwrap_or_default();
    let mut text = format!("Template '{name}' transitioned from {from} -> {to}");
    if let Some(message) = after.message.as_deref().filter(|message| !message.is_empty()) {
        text = format!("{text}: {message}");
    }
    draft.tell(matches!(to, "Failed" | "Error"), &format!("Template{to}"), &text);
}

/// Makes the ReplicaSet, without pods. Says whether it did.
fn create(draft: &mut Draft<'_>, template: &ExperimentTemplate, status: &mut TemplateStatus) -> bool {
    let object = Arc::new(new_set(draft, template, status));
    let (key, name) = (object.key(), object.meta.name.clone());
    let standing = draft.world.sets.iter().find(|set| set.meta.name == name).cloned();
    if let Some(standing) = &standing
        && is_of_a_predecessor(draft.world, standing)
    {
        draft.plan.reasons.push(Reason::WaitingFor(format!("{name} of a deleted Experiment to go").into()));
        return false;
    }
    // ARGO: the reference counts a collision and waits for ever, since the name holds no hash (A7).
    let taken = standing.map(|_| Text::from(format!("replicasets.apps \"{name}\" already exists")));
    if let Some(why) = draft.refusal(&key).or(taken) {
        let event = format!("Failed to create new replica set \"{name}\": {why}");
        draft.tell(false, "ReplicaSetCreateError", &event);
        fail(status, format!("Failed to create ReplicaSet for template '{}': {why}", template.name));
        return false;
    }
    if !draft.may_make() {
        return false;
    }
    draft.write(key, Guard::Absent, Verb::Create(object), Vec::new(), IfRefused::Tell);
    true
}

fn new_set(draft: &Draft<'_>, template: &ExperimentTemplate, status: &TemplateStatus) -> Object {
    let experiment = &draft.world.experiment;
    let name = name(draft.name(), &template.name);
    // The name makes the hash one of this template of this Experiment alone: no ReplicaSet or Service of a Rollout, or of
    // another template with equal pods, selects these (X26).
    let marked = template.template.with(|t| {
        t.labels.remove(HASH_LABEL);
        t.annotations.set(EXPERIMENT_NAME, name.clone());
    });
    let collisions = status.collisions.map(|n| i32::try_from(n.0).unwrap_or(i32::MAX));
    let hash = Text::from(schema::pod_template_hash(&marked.to_value(), collisions));
    let pods = template.template.with(|t| t.labels.set(HASH_LABEL, hash.clone()));
    let mut selector = (*template.selector.raw).clone();
    if !selector["matchLabels"].is_object() {
        selector["matchLabels"] = json!({});
    }
    selector["matchLabels"][HASH_LABEL] = Value::from(&*hash);
    let mut meta = Meta {
        labels: pods.labels.clone(),
        namespace: experiment.meta.namespace.clone(),
        owners: vec![owner(experiment)],
        name,
        ..Meta::default()
    };
    for (key, value) in marks(draft.name(), &template.name) {
        meta.annotations.set(key, value);
    }
    let selector = Arc::new(Selector::from_value(Arc::new(selector)));
    let body = ReplicaSetBody::new(0, template.min_ready_seconds, selector, pods);
    Object { kind: Kind::ReplicaSet, meta, body: Body::ReplicaSet(body) }
}

/// Gives the ReplicaSet of a template that goes on its size. Says whether it changed.
fn scale(
    draft: &mut Draft<'_>,
    template: &ExperimentTemplate,
    set: &Set,
    desired: i64,
    status: &mut TemplateStatus,
) -> bool {
    let key = set.object().key();
    if let Some(why) = draft.refusal(&key) {
        draft.tell(true, "ReplicaSetUpdateError", &format!("Failed to scale {} up: {why}", set.name()));
        let what = format!(
            "Unable to scale ReplicaSet for template '{}' to desired replica count '{desired}': {why}",
            template.name
        );
        fail(status, what);
        return false;
    }
    // One that is run again has the deadline of its first time.
    let is_stale = set.deadline() != Deadline::None;
    resize(draft, set, desired, is_stale, "its template asks for them")
}

/// Lets the pods of a template go: after a delay, and never while a route leads to them. Says whether the size changed.
fn take_away(draft: &mut Draft<'_>, template: &ExperimentTemplate, set: &Set) -> bool {
    let delay = draft.spec.scale_down_delay_seconds;
    if set.wished() == 0 {
        return false;
    }
    match set.deadline() {
        Deadline::None if delay != 0 => {
            let at = draft.stamp().plus_seconds(delay).to_string();
            let edit = Edit::Annotation(SCALE_DOWN_DEADLINE.into(), Some(at.into()));
            let object = set.object().clone();
            draft.write(
                object.key(),
                version_of(&object),
                Verb::Edit(vec![edit]),
                Vec::new(),
                IfRefused::Stop,
            );
            return false;
        }
        Deadline::At(at) if delay != 0 && draft.now < at.time() => {
            let before = Span::millis(-1);
            draft.wake_after(at.time().plus(before), "the scale-down delay");
            return resize(draft, set, template.replicas, false, "they stay until the delay is over");
        }
        _ => {}
    }
    if traffic::holds(draft, template, set.hash()) {
        return false;
    }
    resize(draft, set, 0, delay == 0 && set.deadline() != Deadline::None, "their time is over")
}

fn resize(draft: &mut Draft<'_>, set: &Set, to: i64, drops_deadline: bool, because: &str) -> bool {
    let from = set.wished();
    let mut edits = Vec::new();
    let mut notices = Vec::new();
    if from != to {
        edits.push(Edit::Replicas(to));
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} ReplicaSet {} from {from} to {to}", set.name());
        notices.push(draft.notice(&draft.world.experiment, false, "ScalingReplicaSet", &message));
        let set = set.name().into();
        draft.plan.reasons.push(Reason::Scaling { set, from, to, because: because.into() });
    }
    if drops_deadline {
        edits.push(Edit::Annotation(SCALE_DOWN_DEADLINE.into(), None));
    }
    if edits.is_empty() || !draft.may_make() {
        return false;
    }
    let object = set.object().clone();
    draft.write(object.key(), version_of(&object), Verb::Edit(edits), notices, IfRefused::Tell);
    from != to
}
