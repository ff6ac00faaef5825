//! Labels and annotations that pods carry as long as they play a role: canary or preview, stable or active.
//!
//! They are a layer over the template's own metadata: taking the layer away brings the template's values back.
//! The ReplicaSet is changed before its pods, so that pods made meanwhile are born with the right role.

use serde_json::{Value, json};
use tidegate_api::object::{Strings, Template};
use tidegate_api::spec::{RoleMetadata, Strategy};

use super::draft::Draft;
use super::set::Set;
use crate::edit::Edit;
use crate::names::EPHEMERAL_METADATA;
use crate::plan::IfRefused;
use crate::sabotage::Sabotage;

/// The layer in a ReplicaSet's template, from its annotation; a text that cannot be read counts as none.
fn injected(set: &Set) -> Option<RoleMetadata> {
    let value: Value = serde_json::from_str(set.annotation(EPHEMERAL_METADATA)?).ok()?;
    Some(RoleMetadata {
        labels: Strings::from_value(&value["labels"], "labels").ok()?,
        annotations: Strings::from_value(&value["annotations"], "annotations").ok()?,
    })
}

/// The template of a ReplicaSet without the layer.
pub fn without_injected(set: &Set) -> Template {
    let template = &set.body().template;
    match injected(set) {
        None => template.clone(),
        Some(layer) => template.with(|t| {
            layer.labels.iter().for_each(|(key, _)| {
                t.labels.remove(key);
            });
            layer.annotations.iter().for_each(|(key, _)| {
                t.annotations.remove(key);
            });
        }),
    }
}

/// (metadata of the new side, metadata of the stable side), if the strategy names any.
fn wanted<'s>(draft: &'s Draft<'_>) -> (Option<&'s RoleMetadata>, Option<&'s RoleMetadata>) {
    match &draft.spec.strategy {
        Strategy::Canary(canary) => (canary.canary_metadata.as_ref(), canary.stable_metadata.as_ref()),
        Strategy::BlueGreen(bg) => (bg.preview_metadata.as_ref(), bg.active_metadata.as_ref()),
        Strategy::Unclear => (None, None),
    }
}

/// Puts the role that a new ReplicaSet is born with into its template, and notes it in its annotations.
pub fn inject_at_birth(draft: &Draft<'_>, template: Template, annotations: &mut Strings) -> Template {
    let (new, stable) = wanted(draft);
    let Some(layer) = (if draft.stable.is_some() { new } else { stable }) else { return template };
    annotations.set(EPHEMERAL_METADATA, text_of(layer));
    template.with(|t| {
        layer.labels.iter().for_each(|(key, value)| t.labels.set(key, value.clone()));
        layer.annotations.iter().for_each(|(key, value)| t.annotations.set(key, value.clone()));
    })
}

fn text_of(layer: &RoleMetadata) -> String {
    let mut value = json!({});
    if !layer.labels.is_empty() {
        value["labels"] = layer.labels.to_value();
    }
    if !layer.annotations.is_empty() {
        value["annotations"] = layer.annotations.to_value();
    }
    value.to_string()
}

/// Gives each ReplicaSet and its pods the metadata of the role it plays now.
pub fn sync(draft: &mut Draft<'_>) {
    let (new, stable) = wanted(draft);
    let (new, stable) = (new.cloned(), stable.cloned());
    let is_used = new.is_some() || stable.is_some();
    if !is_used && draft.sets.iter().all(|set| set.annotation(EPHEMERAL_METADATA).is_none()) {
        return;
    }
    let settled = draft.observed.stable_hash().is_empty() || draft.stable == draft.new;
    for index in 0..draft.sets.len() {
        let layer = match (Some(index) == draft.new, Some(index) == draft.stable) {
            (true, _) if settled => stable.clone(),
            (true, _) => new.clone(),
            (false, true) => stable.clone(),
            (false, false) => None,
        };
        sync_one(draft, index, layer);
    }
}

fn sync_one(draft: &mut Draft<'_>, index: usize, layer: Option<RoleMetadata>) {
    let set = draft.sets[index].clone();
    let before = injected(&set);
    let own = own_metadata(draft, &set);
    let nothing = RoleMetadata::default();
    let (old, new) = (before.as_ref().unwrap_or(&nothing), layer.as_ref().unwrap_or(&nothing));
    let template = set.body().template.with(|t| {
        relabel(&mut t.labels, &old.labels, &new.labels, &own.labels);
        relabel(&mut t.annotations, &old.annotations, &new.annotations, &own.annotations);
    });
    let pods: Vec<_> = draft
        .world
        .pods
        .iter()
        .filter(|pod| pod.meta.controller().is_some_and(|owner| owner.uid == set.object().meta.uid))
        .filter(|pod| set.wished() > 0 && pod.meta.deleting.is_none())
        .filter_map(|pod| {
            let (mut labels, mut annotations) = (pod.meta.labels.clone(), pod.meta.annotations.clone());
            relabel(&mut labels, &old.labels, &new.labels, &own.labels);
            relabel(&mut annotations, &old.annotations, &new.annotations, &own.annotations);
            let mut edits = differences(&pod.meta.labels, &labels, Edit::Label);
            edits.extend(differences(&pod.meta.annotations, &annotations, Edit::Annotation));
            (!edits.is_empty()).then(|| (pod.clone(), edits))
        })
        .collect();
    let noted = |layer: Option<&RoleMetadata>| {
        Edit::Annotation(EPHEMERAL_METADATA.into(), layer.map(|layer| text_of(layer).into()))
    };
    let mut edits = Vec::new();
    if template != set.body().template {
        edits.push(Edit::Template(template));
        // The note is the only memory of what pods made earlier carry, so what leaves stays noted until it has left them:
        // a crash in between would leave it on them for ever (S31).
        edits.push(if pods.is_empty() { noted(layer.as_ref()) } else { noted(Some(&both(old, new))) });
    } else if pods.is_empty() && before.is_some() && before != layer {
        edits.push(noted(layer.as_ref()));
    }
    if !edits.is_empty() {
        draft.edit_set(index, edits, Vec::new());
    }
    for (pod, edits) in pods {
        // A pod that cannot be changed now must not keep the others, or the update, waiting.
        draft.edit(&pod, edits, Vec::new(), IfRefused::GoOn);
    }
}

/// The later layer, and what only the earlier one has.
fn both(earlier: &RoleMetadata, later: &RoleMetadata) -> RoleMetadata {
    let join = |earlier: &Strings, later: &Strings| {
        let mut all = earlier.clone();
        later.iter().for_each(|(key, value)| all.set(key, value.clone()));
        all
    };
    RoleMetadata {
        labels: join(&earlier.labels, &later.labels),
        annotations: join(&earlier.annotations, &later.annotations),
    }
}

/// What the template itself says about the keys of the layer. Known for the current revision only; an older one has
/// no other memory of its template than the live one.
fn own_metadata(draft: &Draft<'_>, set: &Set) -> RoleMetadata {
    let is_new = draft.new_set().is_some_and(|new| new.name() == set.name());
    let forgets = draft.facts.is_sabotaged(Sabotage::RoleOverTemplate);
    match &draft.spec.template {
        Some(template) if is_new && !forgets => {
            RoleMetadata { labels: template.labels.clone(), annotations: template.annotations.clone() }
        }
        _ => RoleMetadata::default(),
    }
}

fn relabel(target: &mut Strings, old: &Strings, new: &Strings, own: &Strings) {
    for (key, _) in old.iter().filter(|(key, _)| new.get(key).is_none()) {
        match own.get(key) {
            Some(value) => target.set(key, value.clone()),
            None => drop(target.remove(key)),
        }
    }
    for (key, value) in new.iter() {
        if target.get(key) != Some(value) {
            target.set(key, value.clone());
        }
    }
}

fn differences(
    old: &Strings,
    new: &Strings,
    edit: impl Fn(tidegate_api::object::Text, Option<tidegate_api::object::Text>) -> Edit,
) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (key, value) in new.iter().filter(|(key, value)| old.get(key) != Some(value)) {
        edits.push(edit(key.clone(), Some(value.clone())));
    }
    for (key, _) in old.iter().filter(|(key, _)| new.get(key).is_none()) {
        edits.push(edit(key.clone(), None));
    }
    edits
}
