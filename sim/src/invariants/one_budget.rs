//! S26: what one pass evicts and scales down, it takes from one budget.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object};
use tidegate_controller::plan::{Plan, Verb};
use tidegate_controller::rollout::scale::Limits;
use tidegate_controller::seams::ApiCall;

use super::view::{View, Views, owner};
use super::{Invariant, Violation};
use crate::world::{Happened, World};

/// The invariant. Judged when an eviction is started: how many pods may still be missing was known when the pass
/// began, and what it has taken since counts against that.
#[derive(Default)]
pub struct OneBudget(BTreeMap<Key, Taken>);

#[derive(Default)]
struct Taken {
    /// The plan that takes. Kept, so that no later one can have its address.
    plan: Option<Arc<Plan>>,
    room: i64,
    taken: i64,
    evicts: bool,
}

impl Invariant for OneBudget {
    fn name(&self) -> &'static str {
        "S26"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        let Happened::Started(_, ApiCall::Write { key, verb, .. }) = what else { return Ok(()) };
        let Some(manager) = world.controller().map(|controller| &controller.manager) else { return Ok(()) };
        // By what the controller knows: what it evicts may be gone already.
        let cache = manager.cache();
        let set = match (&key.kind, verb) {
            (Kind::Pod, Verb::Evict | Verb::Delete) => {
                let Some(owner) = cache.get(key).and_then(|pod| pod.meta.controller().cloned()) else {
                    return Ok(());
                };
                Key::new(Kind::ReplicaSet, key.namespace.clone(), owner.name)
            }
            (Kind::ReplicaSet, Verb::Edit(_)) => key.clone(),
            _ => return Ok(()),
        };
        let Some(rollout) = cache.get(&set).and_then(|set| owner(set)) else { return Ok(()) };
        let Some(plan) = manager.last_plan(&rollout) else { return Ok(()) };
        let Some(view) = View::of_cached_pods(world, &rollout) else { return Ok(()) };
        let taken = self.0.entry(rollout).or_default();
        if !taken.plan.as_ref().is_some_and(|known| Arc::ptr_eq(known, plan)) {
            *taken = Taken { plan: Some(plan.clone()), room: room(&view), ..Taken::default() };
        }
        let pod_available =
            |pod: &Arc<Object>| pod.pod().is_some_and(|body| body.is_available(0, world.now().stamp()));
        match verb {
            Verb::Edit(edits) => {
                let to = edits.iter().find_map(|edit| match edit {
                    tidegate_controller::edit::Edit::Replicas(to) => Some(*to),
                    _ => None,
                });
                let seen = view.sets.iter().find(|seen| seen.set.name() == &*key.name);
                if let (Some(to), Some(seen)) = (to, seen) {
                    taken.taken += (seen.kept(seen.set.wished()) - seen.kept(to)).max(0);
                }
            }
            _ => {
                taken.evicts = true;
                taken.taken += i64::from(world.get(key).is_some_and(pod_available));
            }
        }
        if taken.evicts && taken.taken > taken.room {
            let message = format!("a pass takes {} pods where {} may be missing", taken.taken, taken.room);
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}

/// How many available pods may go by this view: those that are given up already are no capacity. A restart may always take one, or it would never begin.
fn room(view: &View) -> i64 {
    let n = view.n();
    let Some(spec) = view.spec() else { return 0 };
    let missing = match (spec.canary(), spec.blue_green()) {
        (Some(canary), _) => Limits::of_canary(canary, n).missing(n),
        (_, Some(spec)) => Limits::of_blue_green(&spec.max_unavailable, n).missing(n),
        _ => 0,
    };
    let available: i64 = view.sets.iter().map(|seen| seen.kept(seen.set.wished())).sum();
    available - (n - missing.max(1))
}
