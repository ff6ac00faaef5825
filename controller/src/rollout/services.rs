//! Which ReplicaSet the Services select.

use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::spec::Canary;

use super::draft::{Draft, version_of};
use crate::cache::{Cache, named_services};
use crate::edit::Edit;
use crate::names::{HASH_LABEL, MANAGED_BY};
use crate::plan::{IfRefused, Plan, Reason, Verb, Write};
use crate::sabotage::Sabotage;
use crate::world::Facts;

/// The hash in the selector of a Service; empty when there is none.
pub fn selected_hash(service: &Object) -> &str {
    service.service().and_then(|body| body.selector.get(HASH_LABEL)).map_or("", |hash| hash)
}

/// Whether a Service selects the pods of this hash.
pub fn selects(draft: &Draft<'_>, name: &str, hash: &str) -> bool {
    draft.services.get(name).is_some_and(|service| selected_hash(service) == hash)
}

/// Points a Service at the pods of one hash. Nothing to do where it is and is marked as managed.
pub fn switch(draft: &mut Draft<'_>, name: &str, hash: &str) {
    let Some(service) = draft.services.get(name).cloned() else { return };
    let old = selected_hash(&service).to_owned();
    let marked = service.meta.annotations.get(MANAGED_BY).is_some();
    if old == hash && marked {
        return;
    }
    let mut edits = vec![Edit::Selector(HASH_LABEL.into(), Some(hash.into()))];
    if !marked {
        edits.push(Edit::Annotation(MANAGED_BY.into(), Some(draft.name().into())));
    }
    if draft.facts.is_sabotaged(Sabotage::ReplaceSelector)
        && let Some(body) = service.service()
    {
        let others = body.selector.iter().filter(|(key, _)| &***key != HASH_LABEL);
        edits.extend(others.map(|(key, _)| Edit::Selector(key.clone(), None)));
    }
    let mut after = (*service).clone();
    for edit in &edits {
        // A Service has a selector and annotations; an edit that did not fit would change nothing.
        let _ = edit.apply(&mut after);
    }
    let message = format!("Switched selector for service '{name}' from '{old}' to '{hash}'");
    let notice = draft.notice("SwitchService", message);
    draft.edit(&service, edits, vec![notice], IfRefused::Stop);
    draft.services.insert(name.into(), Arc::new(after));
}

/// Points the stable and the canary Service of a canary without traffic routing at their ReplicaSets.
pub fn follow_canary(draft: &mut Draft<'_>, canary: &Canary) {
    ensure(draft, &canary.stable_service, draft.stable);
    let target =
        if draft.observed.is_aborted() && !draft.course.abort_cleared { draft.stable } else { draft.new };
    ensure(draft, &canary.canary_service, target);
}

/// Takes the stable Service away from a ReplicaSet that is about to lose its last pods. Says whether it may.
// ARGO: the reference takes the last pods of the old version away and moves the stable Service in a later pass, so that
// its users find nobody in between (S8). scenarios/canary/services_follow_their_versions.yaml
pub fn hand_over(draft: &mut Draft<'_>, canary: &Canary, from: usize) -> bool {
    let name = canary.stable_service.clone();
    let selects = draft.services.get(&name).is_some_and(|s| selected_hash(s) == draft.sets[from].hash());
    if !selects {
        return true;
    }
    let Some(new) = draft.new_set().filter(|new| new.available() > 0) else {
        draft.because(Reason::WaitingFor(format!("new pods for the users of Service {name}").into()));
        return false;
    };
    let hash = new.hash().to_owned();
    switch(draft, &name, &hash);
    true
}

/// Points a Service at a ReplicaSet that has available pods and is to keep some; before the first adoption all of them must be.
fn ensure(draft: &mut Draft<'_>, name: &Text, target: Option<usize>) {
    let Some(service) = draft.services.get(name).filter(|_| !name.is_empty()).cloned() else { return };
    let Some(set) = target.map(|i| draft.sets[i].clone()) else { return };
    if selected_hash(&service) == set.hash() {
        return;
    }
    let adopted = service.meta.annotations.get(MANAGED_BY).is_some();
    if set.available() == 0 || set.wished() == 0 || (!adopted && !set.is_fully_available()) {
        draft.because(Reason::WaitingFor(
            format!("pods of {} before Service {name} moves", set.name()).into(),
        ));
        return;
    }
    let hash = set.hash().to_owned();
    switch(draft, name, &hash);
}

/// Decides whether a Service still carries the selector of a Rollout that no longer uses it.
pub fn plan_clean_up(cache: &Cache, key: &Key, _facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    let Some(service) = cache.get(key).filter(|service| service.meta.deleting.is_none()) else { return plan };
    if selected_hash(service).is_empty() || cache.referring_to(key).next().is_some() {
        return plan;
    }
    let mut edits = vec![Edit::Selector(HASH_LABEL.into(), None)];
    if let Some(manager) = service.meta.annotations.get(MANAGED_BY) {
        let rollout = Key::new(Kind::Rollout, key.namespace.clone(), manager.clone());
        if cache.get(&rollout).is_some_and(|rollout| named_services(rollout).contains(key)) {
            return plan;
        }
        edits.push(Edit::Annotation(MANAGED_BY.into(), None));
    }
    plan.writes.push(Write {
        key: key.clone(),
        guard: version_of(service),
        verb: Verb::Edit(edits),
        notices: Vec::new(),
        if_refused: IfRefused::Stop,
    });
    plan
}
