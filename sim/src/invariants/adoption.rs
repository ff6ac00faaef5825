//! S18: no uninvited rollout. There are never more new ReplicaSets than templates that somebody asked for.

use tidegate_api::object::{Kind, Object, Template};

use super::{Change, Invariant};
use crate::world::World;

/// Counts templates and ReplicaSets.
#[derive(Debug, Default)]
pub struct NoUninvitedRollout {
    asked: u64,
    made: u64,
}

fn template(object: &Object) -> Option<Template> {
    match object.kind {
        Kind::Rollout => object.rollout().and_then(|body| body.spec.spec().template.clone()),
        Kind::Deployment => object.deployment().map(|body| body.template.clone()),
        _ => None,
    }
}

impl Invariant for NoUninvitedRollout {
    fn name(&self) -> &'static str {
        "S18"
    }

    fn others_wrote(&mut self, _world: &World, change: &Change<'_>) {
        match (change.before, change.after) {
            // A ReplicaSet that somebody took away may be made again.
            (Some(before), None) if before.kind == Kind::ReplicaSet => self.asked += 1,
            (before, Some(after)) if matches!(after.kind, Kind::Rollout | Kind::Deployment) => {
                if before.is_none_or(|before| template(before) != template(after)) {
                    self.asked += 1;
                }
            }
            _ => {}
        }
    }

    fn wrote(&mut self, _world: &World, change: &Change<'_>) -> Result<(), String> {
        let Some(set) =
            change.after.filter(|after| after.kind == Kind::ReplicaSet && change.before.is_none())
        else {
            return Ok(());
        };
        self.made += 1;
        if self.made > self.asked {
            return Err(format!(
                "{} is made, but only {} templates were asked for",
                set.meta.name, self.asked
            ));
        }
        Ok(())
    }
}
