//! S1 and S8: Services that users reach never select a ReplicaSet without pods. Preview Services are exempt.

use std::sync::Arc;

use tidegate_api::object::{Kind, Object};
use tidegate_controller::names::HASH_LABEL;
use tidegate_controller::rollout::services::selected_hash;

use super::{Change, Invariant, available, owner, sets, wished};
use crate::world::World;

/// The controller points no Service at a ReplicaSet that has no available pod.
#[derive(Debug)]
pub struct NeverToNothing;

/// The controller takes no last pod from a ReplicaSet that a Service selects.
#[derive(Debug)]
pub struct NothingReferencedGoes;

/// Rollouts for whose users this Service stands.
fn served_by(world: &World, service: &Object) -> Vec<Arc<Object>> {
    let name = &service.meta.name;
    let names = |rollout: &&Arc<Object>| {
        let Some(body) = rollout.rollout() else { return false };
        let spec = body.spec.spec();
        rollout.meta.namespace == service.meta.namespace
            && (spec.canary().is_some_and(|c| c.canary_service == *name || c.stable_service == *name)
                || spec.blue_green().is_some_and(|b| b.active_service == *name))
    };
    world.store().of_kind(&Kind::Rollout).filter(names).cloned().collect()
}

fn hash(set: &Object) -> &str {
    set.meta.labels.get(HASH_LABEL).map_or("", |hash| hash)
}

impl Invariant for NeverToNothing {
    fn name(&self) -> &'static str {
        "S1"
    }

    fn wrote(&mut self, world: &World, change: &Change<'_>) -> Result<(), String> {
        let Some(service) = change.after.filter(|after| after.kind == Kind::Service) else { return Ok(()) };
        let now = selected_hash(service);
        if now.is_empty() || change.before.is_some_and(|before| selected_hash(before) == now) {
            return Ok(());
        }
        for rollout in served_by(world, service) {
            let (n, known) = wished(world, &rollout);
            let set = sets(world, &rollout).into_iter().find(|set| hash(set) == now);
            if n.min(known) > 0 && set.is_none_or(|set| available(world, set) == 0) {
                return Err(format!(
                    "Service {} now selects {now}, which has no available pod",
                    service.meta.name
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for NothingReferencedGoes {
    fn name(&self) -> &'static str {
        "S8"
    }

    fn wrote(&mut self, world: &World, change: &Change<'_>) -> Result<(), String> {
        let Some(before) = change.before.filter(|before| before.kind == Kind::ReplicaSet) else {
            return Ok(());
        };
        let size = |set: &Object| set.replica_set().map_or(0, |body| body.wished());
        if size(before) == 0 || change.after.is_some_and(|after| size(after) > 0) {
            return Ok(());
        }
        let Some(rollout) = owner(world, before) else { return Ok(()) };
        let (n, known) = wished(world, &rollout);
        if n.min(known) == 0 || available(world, before) == 0 {
            return Ok(());
        }
        for service in world.store().of_kind(&Kind::Service) {
            let serves = served_by(world, service).iter().any(|served| served.meta.uid == rollout.meta.uid);
            // Without a router both Services of a canary may stand on a set that the other one serves too.
            let active = rollout.rollout().is_some_and(|body| body.spec.spec().blue_green().is_some());
            if serves && active && selected_hash(service) == hash(before) {
                return Err(format!(
                    "{} loses its pods while Service {} selects it",
                    before.meta.name, service.meta.name
                ));
            }
        }
        Ok(())
    }
}
