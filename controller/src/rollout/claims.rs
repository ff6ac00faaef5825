//! Which ReplicaSets belong to the Rollout: those it controls and selects, and orphans that it may adopt.

use std::sync::Arc;

use tidegate_api::object::{Object, OwnerRef};
use tidegate_api::spec::Spec;

use super::draft::Draft;
use super::set::Set;
use crate::edit::Edit;
use crate::plan::{IfRefused, Need};
use crate::world::{Facts, RolloutWorld};

/// Who belongs, who comes, who goes.
#[derive(Debug, Default)]
pub struct Claims {
    /// Belong.
    pub kept: Vec<Set>,
    /// Nobody controls them and the selector matches.
    pub adopted: Vec<Arc<Object>>,
    /// Controlled by this Rollout, but no longer selected.
    pub released: Vec<Arc<Object>>,
    /// What must be asked first.
    pub needs: Vec<Need>,
}

/// Sorts the ReplicaSets. Before an adoption the Rollout itself is read live once: adopting for an owner that was
/// deleted meanwhile would hand the ReplicaSet to the garbage collector.
pub fn claim(world: &RolloutWorld, facts: &Facts, spec: &Spec) -> Claims {
    let mut claims = Claims::default();
    let uid = &world.rollout.meta.uid;
    for set in &world.sets {
        let selected = spec.selector.as_ref().is_some_and(|selector| selector.matches(&set.meta.labels));
        match set.meta.controller() {
            Some(owner) if owner.uid == *uid && selected => claims.kept.extend(Set::new(set.clone())),
            Some(owner) if owner.uid == *uid => claims.released.push(set.clone()),
            Some(_) => {}
            None if selected && set.meta.deleting.is_none() => claims.adopted.push(set.clone()),
            None => {}
        }
    }
    if !claims.adopted.is_empty() {
        let key = world.rollout.key();
        match facts.live.get(&key) {
            None => claims.needs.push(Need::Live(key)),
            Some(Some(live)) if live.meta.uid == *uid && live.meta.deleting.is_none() => {}
            Some(_) => claims.adopted.clear(),
        }
    }
    claims
}

/// Plans adoptions and releases. Says whether there are any, which ends the pass: what belongs must be known first.
pub fn carry_out(draft: &mut Draft<'_>, adopted: &[Arc<Object>], released: &[Arc<Object>]) -> bool {
    let rollout = draft.rollout().clone();
    for set in adopted {
        let mut owners = set.meta.owners.clone();
        owners.push(controller_reference(&rollout));
        draft.edit(set, vec![Edit::Owners(owners)], Vec::new(), IfRefused::Stop);
    }
    for set in released {
        let mut owners = set.meta.owners.clone();
        owners.retain(|owner| owner.uid != rollout.meta.uid);
        draft.edit(set, vec![Edit::Owners(owners)], Vec::new(), IfRefused::Stop);
    }
    !(adopted.is_empty() && released.is_empty())
}

/// The reference that makes a Rollout the controller of an object.
pub fn controller_reference(rollout: &Object) -> OwnerRef {
    OwnerRef {
        api_version: rollout.kind.api_version().into(),
        kind: rollout.kind.name().into(),
        name: rollout.meta.name.clone(),
        uid: rollout.meta.uid.clone(),
        controller: true,
        block_owner_deletion: true,
    }
}
