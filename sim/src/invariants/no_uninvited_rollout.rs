//! S18: there are no more new ReplicaSets than templates that somebody asked for.

use std::collections::BTreeMap;

use tidegate_api::object::{Body, Key, Kind, Object, Template};
use tidegate_api::schema;

use tidegate_controller::names::HASH_LABEL;

use super::view::{Views, owner};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant. A ReplicaSet that somebody else deleted may be made again.
#[derive(Default)]
pub struct NoUninvitedRollout {
    /// Templates accepted less ReplicaSets made, by Rollout.
    invited: BTreeMap<Key, i64>,
}

fn template(object: &Object) -> Option<Template> {
    match &object.body {
        Body::Rollout(body) => body.spec.spec().template.clone(),
        Body::Deployment(body) => Some(body.template.clone()),
        _ => None,
    }
}

fn has_a_version(object: &Object) -> bool {
    object.rollout().is_some_and(|body| !body.status.current().is_empty())
}

impl Invariant for NoUninvitedRollout {
    fn name(&self) -> &'static str {
        "S18"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        let Happened::Stored { by, before, after, .. } = what else { return Ok(()) };
        match (by, before, after) {
            (Writer::Controller, None, Some(made)) if made.kind == Kind::ReplicaSet => {
                let Some(key) = owner(made) else { return Ok(()) };
                if let Some(twin) = twin(world, made) {
                    let message = format!("ReplicaSet {} is made though {twin} runs that", made.meta.name);
                    return Err(Violation::new(self.name(), world, message));
                }
                let left = self.invited.entry(key).or_default();
                *left -= 1;
                if *left < 0 {
                    let message =
                        format!("ReplicaSet {} is made though nobody changed the template", made.meta.name);
                    return Err(Violation::new(self.name(), world, message));
                }
            }
            (Writer::Controller, ..) => {}
            // An earlier controller has answered this invitation.
            (Writer::Beginning, _, Some(after)) if has_a_version(after) => {}
            (_, before, Some(after)) => {
                if before.is_some_and(|before| template(before) == template(after)) {
                    return Ok(());
                }
                match after.kind {
                    Kind::Rollout => *self.invited.entry(after.key()).or_default() += 1,
                    Kind::Deployment => {
                        // A workload that a Rollout refers to stands for its template.
                        for rollout in world.store().in_namespace(&Kind::Rollout, &after.meta.namespace) {
                            *self.invited.entry(rollout.key()).or_default() += 1;
                        }
                    }
                    _ => {}
                }
            }
            (_, Some(gone), None) => {
                if let Some(key) = owner(gone).filter(|_| gone.kind == Kind::ReplicaSet) {
                    *self.invited.entry(key).or_default() += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Another ReplicaSet of the same Rollout that means the same, whatever its hash.
fn twin(world: &World, made: &Object) -> Option<String> {
    let uid = &made.meta.controller()?.uid;
    let bare = |object: &Object| {
        let template = object.replica_set()?.template.with(|t| {
            t.labels.remove(HASH_LABEL);
        });
        Some(template.to_value())
    };
    let wanted = bare(made)?;
    let is_twin = |set: &&std::sync::Arc<Object>| {
        set.meta.name != made.meta.name
            && set.meta.deleting.is_none()
            && bare(set).is_some_and(|held| schema::same_template(&held, &wanted))
    };
    let mut sets = world.store().owned_by(uid, &Kind::ReplicaSet);
    sets.find(is_twin).map(|set| set.meta.name.to_string())
}
