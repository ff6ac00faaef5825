//! S1 and S8: no Service that users reach is pointed at nothing, and nothing that one selects is taken away.

use tidegate_api::object::{Key, Kind};
use tidegate_controller::rollout::services::selected_hash;

use super::view::{View, Views, owner, rollout_of, service_names};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant. With no pods wished there is nothing to protect.
#[derive(Default)]
pub struct ServicesHavePods(Views);

impl Invariant for ServicesHavePods {
    fn name(&self) -> &'static str {
        "S1"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>) -> Result<(), Violation> {
        self.0.note(world, what);
        let Happened::Stored { by: Writer::Controller, before, after: Some(after), call } = what else {
            return Ok(());
        };
        match after.kind {
            Kind::Service => {
                let hash = selected_hash(after);
                if hash.is_empty() || before.is_some_and(|before| selected_hash(before) == hash) {
                    return Ok(());
                }
                let Some(key) = rollout_of(world, &after.key()) else { return Ok(()) };
                let empty =
                    |view: &View| view.n() > 0 && view.of_hash(hash).is_none_or(|seen| seen.available == 0);
                let Some(truth) = View::of_truth(world, &key) else { return Ok(()) };
                if empty(&truth) && self.0.of(*call).all(empty) {
                    let message = format!(
                        "Service {} is pointed at {hash}, which has no available pod",
                        after.meta.name
                    );
                    return Err(Violation::new(self.name(), world, message));
                }
            }
            Kind::ReplicaSet => {
                let size = |object: &tidegate_api::object::Object| {
                    object.replica_set().map_or(0, |set| set.wished())
                };
                let (Some(before), Some(key)) = (before, owner(after)) else { return Ok(()) };
                if size(before) == 0 || size(after) != 0 {
                    return Ok(());
                }
                let Some(truth) = View::of_truth(world, &key) else { return Ok(()) };
                let served = truth.sets.iter().find(|seen| seen.set.name() == &*after.meta.name);
                let serves = served.is_some_and(|seen| seen.available > 0);
                if !serves || truth.n() == 0 || self.0.of(*call).any(|view| view.n() == 0) {
                    return Ok(());
                }
                let hash = served.map_or("", |seen| seen.set.hash());
                for name in service_names(&truth.rollout) {
                    let key = Key::new(Kind::Service, after.meta.namespace.clone(), name);
                    if world.get(&key).is_some_and(|service| selected_hash(service) == hash) {
                        let message =
                            format!("{} goes to 0 while Service {name} selects it", after.meta.name);
                        return Err(Violation::new("S8", world, message));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
