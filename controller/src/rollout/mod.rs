//! The Rollout reconciler.

pub mod services;

use tidegate_api::time::Time;

use crate::plan::Plan;
use crate::world::{Facts, RolloutWorld};

/// Decides what happens next with one Rollout.
pub fn plan(_world: &RolloutWorld, _facts: &Facts, _now: Time) -> Plan {
    Plan::default()
}
