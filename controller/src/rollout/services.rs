//! Which ReplicaSet the Services select.

use tidegate_api::object::Key;

use crate::cache::Cache;
use crate::plan::Plan;
use crate::world::Facts;

/// Decides whether a Service still carries the selector of a Rollout that no longer uses it.
pub fn plan_clean_up(_cache: &Cache, _key: &Key, _facts: &Facts) -> Plan {
    Plan::default()
}
