//! S28: a Service, route or ReplicaSet is managed by one Rollout.

use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_controller::cache::named_services;
use tidegate_controller::names::MANAGED_BY;
use tidegate_controller::rollout::services::selected_hash;
use tidegate_controller::rollout::set::Set;

use super::routed::canary;
use super::view::Views;
use super::{Invariant, Violation};
use crate::dataplane::claims::rollouts_of;
use crate::world::{Happened, World, Writer};

/// The invariant.
pub struct ClearOwnership;

impl Invariant for ClearOwnership {
    fn name(&self) -> &'static str {
        "S28"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        let Happened::Stored { by: Writer::Controller, before: Some(before), after: Some(after), .. } = what
        else {
            return Ok(());
        };
        if after.kind == Kind::ReplicaSet {
            let controllers = after.meta.owners.iter().filter(|owner| owner.controller).count();
            if controllers > 1 {
                let message = format!("ReplicaSet {} has {controllers} controllers", after.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
            return Ok(());
        }
        if matches!(after.kind, Kind::Other { .. }) {
            let manager = |object: &Object| object.meta.annotations.get(MANAGED_BY).cloned();
            let (old, new) = (manager(before), manager(after));
            let names_it = |name: &Text| {
                let key = Key::new(Kind::Rollout, after.meta.namespace.clone(), name.clone());
                let is_led = rollouts_of(world, after).contains(&key);
                is_led && world.get(&key).is_some_and(|rollout| canary(rollout).is_some())
            };
            if let (Some(old), Some(new)) = (&old, &new)
                && old != new
                && names_it(old)
            {
                let message = format!("{} {} of {old} is given to {new}", after.kind.name(), after.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
            return Ok(());
        }
        let hash = selected_hash(after);
        let Some(manager) = before.meta.annotations.get(MANAGED_BY).filter(|_| !hash.is_empty()) else {
            return Ok(());
        };
        let key = Key::new(Kind::Rollout, after.meta.namespace.clone(), manager.clone());
        let Some(rollout) = world.get(&key).filter(|rollout| named_services(rollout).contains(&after.key()))
        else {
            return Ok(());
        };
        let sets = world.store().in_namespace(&Kind::ReplicaSet, &after.meta.namespace);
        let mut selected = sets.filter_map(|set| Set::new(set.clone())).filter(|set| set.hash() == hash);
        let is_other =
            |set: &Set| set.object().meta.controller().is_some_and(|owner| owner.uid != rollout.meta.uid);
        if selected_hash(before) != hash && selected.any(|set| is_other(&set)) {
            let message = format!("Service {} of {manager} is given to another Rollout", after.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}
