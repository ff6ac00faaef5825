//! Which ReplicaSet has the current template, and the revision it carries.
//!
//! A ReplicaSet is never found by recomputed hash alone: hashes depend on the library level of whoever wrote them. It
//! is found by its label, by what the status says about an unchanged specification, or by meaning. Only when all three
//! fail is a new one made, so taking over a cluster restarts no pod.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Body, Kind, Meta, Object, ReplicaSetBody, Selector, Template, Text, Verbatim};
use tidegate_api::schema;
use tidegate_api::spec::{AntiAffinity, Strategy};

use super::draft::Draft;
use super::role_metadata;
use super::set::Set;
use super::{claims, conditions};
use crate::edit::Edit;
use crate::names::{DESIRED_REPLICAS, HASH_LABEL, NOT_COPIED, REVISION, REVISION_HISTORY};
use crate::plan::{Guard, IfRefused, Notice, Plan, Verb};
use crate::sabotage::Sabotage;

/// Finds the current and the stable ReplicaSet among those that belong.
pub fn find(draft: &mut Draft<'_>) {
    let Some(template) = draft.spec.template.clone() else { return };
    let collisions = draft.observed.collisions.map(|n| i32::try_from(n.0).unwrap_or(i32::MAX));
    let hash = |collisions| Text::from(schema::pod_template_hash(&template.to_value(), collisions));
    draft.hash = match collisions {
        None => template.remembered(|| hash(None)),
        collided => hash(collided),
    };
    let sets = &draft.sets;
    let labelled = |hash: &str| sets.iter().position(|set| !hash.is_empty() && set.hash() == hash);
    if draft.facts.is_sabotaged(Sabotage::FindByHashOnly) {
        draft.new = labelled(&draft.hash);
        draft.stable = labelled(draft.observed.stable_hash());
        return;
    }
    draft.new = labelled(&draft.hash)
        .or_else(|| is_observed(draft).then(|| labelled(draft.observed.current())).flatten())
        .or_else(|| {
            let desired = without_hash_label(&template).to_value();
            sets.iter().position(|set| schema::same_template(&bare_template(draft, set), &desired))
        });
    let stable = draft.observed.stable_hash();
    draft.stable = match draft.new {
        Some(new) if sets[new].hash() == stable => Some(new),
        _ => labelled(stable),
    };
}

/// Whether the stored status was computed from exactly this specification, so that its `currentPodHash` names the
/// ReplicaSet of this template whatever hash we would compute today.
fn is_observed(draft: &Draft<'_>) -> bool {
    let generation = draft.rollout().meta.generation;
    let spec = draft.observed.observed_generation.as_deref() == Some(&*generation.to_string());
    let workload = match (&draft.spec.workload_ref, &draft.world.workload) {
        (Some(_), Some(workload)) => {
            draft.observed.workload_generation.as_deref() == Some(&*workload.meta.generation.to_string())
        }
        (Some(_), None) => false,
        (None, _) => true,
    };
    generation > 0 && spec && workload
}

fn without_hash_label(template: &Template) -> Template {
    template.with(|t| {
        t.labels.remove(HASH_LABEL);
    })
}

/// The template of a live ReplicaSet without what we have put into it.
fn bare_template(draft: &Draft<'_>, set: &Set) -> Value {
    let template = role_metadata::without_injected(set);
    let template = without_hash_label(&template);
    let mut value = template.to_value();
    let preferred = matches!(anti_affinity(draft), Some(AntiAffinity::Preferred(_)));
    remove_anti_affinity(&mut value, preferred);
    value
}

/// Plans the ReplicaSet of the current template, with no pods; a later pass scales it.
pub fn create(mut draft: Draft<'_>) -> Plan {
    let rollout = draft.rollout().clone();
    let name = Text::from(format!("{}-{}", rollout.meta.name, draft.hash));
    let taken = draft.world.strangers.iter().chain(&draft.world.sets).any(|set| set.meta.name == name);
    if taken {
        return collide(draft, &name);
    }
    let revision = draft.sets.iter().filter_map(Set::revision).max().unwrap_or(0) + 1;
    let object = Arc::new(new_replica_set(&draft, &name, revision));
    draft.write(object.key(), Guard::Absent, Verb::Create(object), Vec::new(), IfRefused::Stop);
    let created = format!("Created ReplicaSet {name} (revision {revision})");
    let created = draft.notice("NewReplicaSetCreated", created);
    let message = format!("Created new replica set \"{name}\"");
    let mut status = (*draft.observed).clone();
    status.canary.get_or_insert_default();
    status.blue_green.get_or_insert_default();
    conditions::set(&mut status, "Progressing", "True", "NewReplicaSetCreated", &message, draft.stamp());
    let edit = Edit::Status(draft.observed.clone(), Arc::new(status));
    note_revision(&mut draft, &revision.to_string());
    draft.edit(&rollout, vec![edit], vec![created], IfRefused::Stop);
    draft.finish_without_status()
}

/// Somebody else's ReplicaSet stands where ours should go: count the collision, which changes the hash.
fn collide(mut draft: Draft<'_>, name: &str) -> Plan {
    let mut status = (*draft.observed).clone();
    status.collisions = Some(tidegate_api::object::Counted(status.collisions.map_or(0, |n| n.0) + 1));
    draft.status = status;
    draft.fail(format!("ReplicaSet {name} exists and has another template or owner"));
    draft.finish()
}

fn new_replica_set(draft: &Draft<'_>, name: &str, revision: i64) -> Object {
    let rollout = draft.rollout();
    let hash = draft.hash.clone();
    let mut template = draft.spec.template.clone().unwrap_or_default();
    if draft.facts.is_sabotaged(Sabotage::CopyNewestTemplate)
        && let Some(newest) = draft.sets.last()
    {
        template = without_hash_label(&newest.body().template);
    }
    let mut labels = template.labels.clone();
    labels.set(HASH_LABEL, hash.clone());
    let raw_selector = draft.spec.selector.as_ref().map_or(Value::Null, |selector| (*selector.raw).clone());
    let mut raw_selector = if raw_selector.is_object() { raw_selector } else { json!({}) };
    raw_selector["matchLabels"][HASH_LABEL] = Value::from(&*hash);
    let mut live = template.with(|t| t.labels.set(HASH_LABEL, hash.clone()));
    if let Some(spec) = with_anti_affinity(draft, &live.spec.value()) {
        live = live.with(|t| t.spec = Verbatim::new(spec));
    }
    let mut meta = Meta {
        name: name.into(),
        namespace: rollout.meta.namespace.clone(),
        labels,
        owners: vec![claims::controller_reference(rollout)],
        ..Meta::default()
    };
    for (key, value) in rollout.meta.annotations.iter().filter(|(key, _)| !NOT_COPIED.contains(&&***key)) {
        meta.annotations.set(key, value.clone());
    }
    meta.annotations.set(REVISION, revision.to_string());
    meta.annotations.set(DESIRED_REPLICAS, draft.n().to_string());
    let live = role_metadata::inject_at_birth(draft, live, &mut meta.annotations);
    let selector = Arc::new(Selector::from_value(Arc::new(raw_selector)));
    let body = ReplicaSetBody::new(0, draft.spec.min_ready_seconds, selector, live);
    Object { kind: Kind::ReplicaSet, meta, body: Body::ReplicaSet(body) }
}

/// Brings annotations, `minReadySeconds` and anti-affinity of the current ReplicaSet up to date, and the revision of
/// the Rollout. Says whether the pass may go on.
pub fn sync(draft: &mut Draft<'_>) -> bool {
    let Some(index) = draft.new else { return true };
    let set = draft.sets[index].clone();
    let mut edits = annotation_edits(draft, index);
    if set.body().min_ready_seconds.unwrap_or(0) != draft.spec.min_ready_seconds {
        edits.push(Edit::MinReadySeconds(draft.spec.min_ready_seconds));
    }
    if needs_other_anti_affinity(draft, &set) {
        edits.extend(anti_affinity_edit(draft, &set));
    } else if !edits.is_empty() {
        // Written anyway: regenerate, which drops the term of a ReplicaSet that has become stable.
        edits.extend(anti_affinity_edit(draft, &set));
    }
    let own = set.name().to_owned();
    if !edits.is_empty() {
        draft.edit_set(index, edits, Vec::new());
    }
    let revision = draft.sets[index].annotation(REVISION).unwrap_or("").to_owned();
    if !revision.is_empty() {
        note_revision(draft, &revision);
    }
    if draft.observed.condition("Progressing").is_none() {
        let mut status = (*draft.observed).clone();
        let message = format!("Found new replica set \"{own}\"");
        conditions::set(&mut status, "Progressing", "True", "FoundNewReplicaSet", &message, draft.stamp());
        status.canary.get_or_insert_default();
        status.blue_green.get_or_insert_default();
        draft.status = status;
        return false;
    }
    true
}

/// Writes the revision into the Rollout, unless it stands there.
fn note_revision(draft: &mut Draft<'_>, revision: &str) {
    if draft.revision() == revision {
        return;
    }
    let rollout = draft.rollout().clone();
    let notice: Notice = draft.notice("RolloutUpdated", format!("Rollout updated to revision {revision}"));
    let edit = Edit::Annotation(REVISION.into(), Some(revision.into()));
    draft.edit(&rollout, vec![edit], vec![notice], IfRefused::Stop);
    draft.set_revision(revision);
}

fn annotation_edits(draft: &Draft<'_>, index: usize) -> Vec<Edit> {
    let set = &draft.sets[index];
    let mut edits = Vec::new();
    for (key, value) in draft.rollout().meta.annotations.iter() {
        if !NOT_COPIED.contains(&&**key) && set.annotation(key) != Some(&**value) {
            edits.push(Edit::Annotation(key.clone(), Some(value.clone())));
        }
    }
    let older = draft.sets.iter().enumerate().filter(|(i, _)| *i != index);
    let wanted = older.filter_map(|(_, set)| set.revision()).max().unwrap_or(0) + 1;
    let present = set.annotation(REVISION);
    let known = present.map(|text| text.parse::<i64>());
    match known {
        // A revision that is no number is somebody's own and stays.
        Some(Err(_)) => {}
        Some(Ok(known)) if known >= wanted => {}
        _ => {
            edits.push(Edit::Annotation(REVISION.into(), Some(wanted.to_string().into())));
            if let Some(old) = present {
                let history = match set.annotation(REVISION_HISTORY) {
                    None | Some("") => old.to_owned(),
                    Some(history) => format!("{history},{old}"),
                };
                edits.push(Edit::Annotation(REVISION_HISTORY.into(), Some(history.into())));
            }
        }
    }
    edits
}

fn anti_affinity(draft: &Draft<'_>) -> Option<AntiAffinity> {
    match &draft.spec.strategy {
        Strategy::Canary(canary) => canary.anti_affinity,
        Strategy::BlueGreen(blue_green) => blue_green.anti_affinity,
        Strategy::Unclear => None,
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// The template's spec with a term that keeps its pods off the nodes of the stable ones; nothing when there is none.
fn with_anti_affinity(draft: &Draft<'_>, spec: &Value) -> Option<Value> {
    let rule = anti_affinity(draft)?;
    let stable = draft.observed.stable_hash();
    if stable.is_empty() || stable == &*draft.hash {
        return None;
    }
    let term = json!({
        "labelSelector": {"matchExpressions": [{"key": HASH_LABEL, "operator": "In", "values": [stable]}]},
        "namespaces": [&*draft.rollout().meta.namespace],
        "topologyKey": "kubernetes.io/hostname",
    });
    let (list, entry) = match rule {
        AntiAffinity::Preferred(weight) => (PREFERRED, json!({"weight": weight, "podAffinityTerm": term})),
        AntiAffinity::Required => (REQUIRED, term),
    };
    let mut spec = spec.clone();
    for field in [spec.get("affinity"), spec.get("affinity").and_then(|a| a.get("podAntiAffinity"))] {
        // Nothing of ours fits into something that is no mapping; validation has said so.
        if field.is_some_and(|value| !value.is_null() && !value.is_object()) {
            return None;
        }
    }
    let terms = &mut spec.as_object_mut()?.entry("affinity").or_insert(Value::Null)["podAntiAffinity"][list];
    match terms {
        Value::Array(terms) => terms.push(entry),
        _ => *terms = Value::Array(vec![entry]),
    }
    Some(spec)
}

fn term_names_hash(entry: &Value, preferred: bool) -> bool {
    let term = if preferred { &entry["podAffinityTerm"] } else { entry };
    let expressions = term["labelSelector"]["matchExpressions"].as_array();
    expressions.is_some_and(|all| all.iter().any(|expression| expression["key"] == HASH_LABEL))
}

fn injected_hash(spec: &Value, preferred: bool) -> Option<String> {
    let terms =
        spec["affinity"]["podAntiAffinity"][if preferred { PREFERRED } else { REQUIRED }].as_array()?;
    let entry = terms.iter().find(|entry| term_names_hash(entry, preferred))?;
    let term = if preferred { &entry["podAffinityTerm"] } else { entry };
    let expressions = term["labelSelector"]["matchExpressions"].as_array()?;
    let expression = expressions.iter().find(|expression| expression["key"] == HASH_LABEL)?;
    Some(expression["values"][0].as_str().unwrap_or("").to_owned())
}

/// Takes our term out of a template document; lists and mappings that become empty go too.
fn remove_anti_affinity(template: &mut Value, preferred: bool) {
    let list = if preferred { PREFERRED } else { REQUIRED };
    let Some(affinity) = template["spec"].get_mut("affinity").and_then(Value::as_object_mut) else { return };
    let Some(anti) = affinity.get_mut("podAntiAffinity").and_then(Value::as_object_mut) else { return };
    let Some(terms) = anti.get_mut(list).and_then(Value::as_array_mut) else { return };
    let Some(at) = terms.iter().position(|entry| term_names_hash(entry, preferred)) else { return };
    terms.remove(at);
    if terms.is_empty() {
        anti.remove(list);
    }
    if anti.is_empty() {
        affinity.remove("podAntiAffinity");
    }
    if affinity.is_empty()
        && let Some(spec) = template["spec"].as_object_mut()
    {
        spec.remove("affinity");
    }
}

/// A term that names another hash than the stable one must follow while an update is in progress.
fn needs_other_anti_affinity(draft: &Draft<'_>, set: &Set) -> bool {
    let Some(rule) = anti_affinity(draft) else { return false };
    let stable = draft.observed.stable_hash();
    let preferred = matches!(rule, AntiAffinity::Preferred(_));
    !stable.is_empty()
        && stable != set.hash()
        && injected_hash(&set.body().template.spec.value(), preferred).is_some_and(|hash| hash != stable)
}

fn anti_affinity_edit(draft: &Draft<'_>, set: &Set) -> Option<Edit> {
    let preferred = matches!(anti_affinity(draft)?, AntiAffinity::Preferred(_));
    let template = &set.body().template;
    let mut document = json!({"spec": template.spec.value()});
    remove_anti_affinity(&mut document, preferred);
    let bare = document["spec"].take();
    let spec = with_anti_affinity(draft, &bare).unwrap_or(bare);
    (spec != *template.spec.value()).then(|| Edit::Template(template.with(|t| t.spec = Verbatim::new(spec))))
}
