//! Evictions, and the budgets that may forbid them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Body, Key, Kind, Object, Selector};
use tidegate_controller::plan::Guard;
use tidegate_controller::seams::ApiError;

use super::actors::replicaset::is_active;
use super::store::Change;
use crate::world::World;

impl World {
    /// Evicts a pod, unless a budget says no.
    pub(crate) fn evict_now(&mut self, key: &Key, guard: Option<&Guard>) -> Result<Change, ApiError> {
        let pod = self.store.guarded(key, guard)?;
        let is_ready = pod.pod().is_some_and(|body| body.ready);
        if pod.meta.deleting.is_none() && is_active(&pod) {
            let budgets: Vec<Budget> = self.budgets_of(&pod).collect();
            if budgets.len() > 1 {
                return Err(ApiError::Unavailable(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
                        .into(),
                ));
            }
            // A pod that serves nobody may go as long as the budget is kept without it.
            let allows = |budget: &Budget| match is_ready {
                true => budget.healthy > budget.wanted,
                false => budget.healthy >= budget.wanted,
            };
            if !budgets.iter().all(allows) {
                return Err(ApiError::TooMany(
                    "Cannot evict pod as it would violate the pod's disruption budget.".into(),
                ));
            }
        }
        self.delete_now(key, guard)
    }

    fn budgets_of<'a>(&'a self, pod: &'a Object) -> impl Iterator<Item = Budget> + use<'a> {
        self.store
            .in_namespace(&Kind::PodDisruptionBudget, &pod.meta.namespace)
            .filter_map(|budget| match &budget.body {
                Body::Other(document) => Some((document["spec"].clone(), &budget.meta.namespace)),
                _ => None,
            })
            .filter_map(|(spec, namespace)| {
                let selector = Selector::from_value(Arc::new(spec["selector"].clone()));
                if !selector.matches(&pod.meta.labels) {
                    return None;
                }
                let pods = self.store.in_namespace(&Kind::Pod, namespace);
                let pods: Vec<&Arc<Object>> =
                    pods.filter(|pod| is_active(pod) && selector.matches(&pod.meta.labels)).collect();
                Some(self.budget(&spec, &pods))
            })
    }

    fn budget(&self, spec: &Value, pods: &[&Arc<Object>]) -> Budget {
        let healthy = pods.iter().filter(|pod| pod.pod().is_some_and(|body| body.ready)).count();
        let healthy = i64::try_from(healthy).unwrap_or(i64::MAX);
        let owners: BTreeSet<Key> = pods
            .iter()
            .filter_map(|pod| {
                let owner = pod.meta.controller().filter(|owner| &*owner.kind == "ReplicaSet")?;
                Some(Key::new(Kind::ReplicaSet, pod.meta.namespace.clone(), owner.name.clone()))
            })
            .collect();
        let wished = |key: &Key| self.store.get(key).and_then(|set| Some(set.replica_set()?.wished()));
        let expected: i64 = owners.iter().filter_map(wished).sum();
        let wanted = match (spec.get("minAvailable"), spec.get("maxUnavailable")) {
            (Some(least), _) => share(least, expected),
            (None, Some(most)) => (expected - share(most, expected)).max(0),
            (None, None) => 0,
        };
        Budget { healthy, wanted }
    }
}

struct Budget {
    healthy: i64,
    wanted: i64,
}

/// A number, or a share of all in hundredths, rounded up.
fn share(value: &Value, all: i64) -> i64 {
    match value {
        Value::String(text) => {
            let hundredths: i64 = text.strip_suffix('%').and_then(|n| n.parse().ok()).unwrap_or(0);
            all.saturating_mul(hundredths).saturating_add(99).div_euclid(100)
        }
        number => number.as_i64().unwrap_or(0),
    }
}
