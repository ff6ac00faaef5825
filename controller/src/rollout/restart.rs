//! Restarts: pods older than `restartAt` are evicted, as many at a time as may be missing.

use tidegate_api::object::Object;

use super::draft::Draft;
use super::scale::Limits;
use super::set::Set;
use crate::plan::{Guard, IfRefused, Verb};
use crate::sabotage::Sabotage;
use tidegate_api::time::Span;

/// How long to wait before pods that could not be evicted are tried again. As in the reference.
pub const AGAIN_AFTER: Span = Span::seconds(30);

/// Evicts pods that are older than asked for. Says how many evictions are planned. A pod that a disruption budget has
/// just protected is not asked for again at once: the rest of the Rollout may not wait for it.
pub fn restart(draft: &mut Draft<'_>, limits: Limits) -> usize {
    let Some(at) = draft.spec.restart_at else { return 0 };
    if draft.observed.restarted_at == Some(at) || draft.facts.is_sabotaged(Sabotage::IgnoreRestart) {
        return 0;
    }
    if draft.now <= at.time() {
        draft.wake_at(at.time().plus(Span::millis(1)), "the restart");
        return 0;
    }
    let now = draft.stamp();
    let n = draft.n();
    let min_ready = draft.spec.min_ready_seconds;
    let is_available = |pod: &Object| {
        pod.meta.deleting.is_none() && pod.pod().is_some_and(|body| body.is_available(min_ready, now))
    };
    let pods = in_order(draft);
    let available = count(pods.iter().filter(|pod| is_available(pod)));
    let least = n.max(draft.sum(Set::wished)) - limits.missing(n).max(1);
    let mut may = if has_given_up(draft) { 0 } else { available - least };
    if draft.facts.is_sabotaged(Sabotage::EvictEverything) {
        may = available;
    }
    let (mut needed, mut evicted, mut protected) = (0_usize, 0_usize, false);
    for pod in pods {
        if pod.meta.created.is_none_or(|created| created >= at) {
            continue;
        }
        needed += 1;
        if may <= 0 || pod.meta.deleting.is_some() {
            continue;
        }
        if draft.facts.protected.contains(&pod.key()) {
            // It is still one of those that may be missing, so not another one is asked for in its place.
            protected = true;
            may -= 1;
            continue;
        }
        let guard = Guard::Identity(pod.meta.uid.clone());
        draft.write(pod.key(), guard, Verb::Evict, Vec::new(), IfRefused::Accept);
        may -= 1;
        evicted += 1;
    }
    let settled = draft.spec.canary().is_none() || !is_counting(draft);
    // ARGO: blue-green notes a restart as done in the pass that evicts the last old pods. A disruption budget may still
    // refuse them, and then they would be forgotten; done is what is gone.
    if needed == 0 && settled {
        draft.status.restarted_at = Some(at);
    }
    if evicted > 0 || protected {
        // A disruption budget may refuse what was planned here. Where nothing could be planned, only a change of the
        // pods can help, and that brings the next look by itself.
        draft.wake_at(draft.now.plus(AGAIN_AFTER), "pods that are still to be restarted");
    }
    evicted
}

/// Whether a ReplicaSet still counts pods that this restart has evicted. Until it does not, its numbers must not be
/// taken for pods that other decisions of the pass may spend (S26).
pub fn is_counting(draft: &Draft<'_>) -> bool {
    if draft.spec.restart_at.is_none() || draft.observed.restarted_at == draft.spec.restart_at {
        return false;
    }
    draft.sets.iter().any(|set| staying(draft, set) < set.actual())
}

/// Whether a ReplicaSet has not yet taken away the pods which an earlier write has given up. A moment later it has.
// ARGO: the reference evicts such pods and counts them as capacity, so that a restart right after a scale-down takes more
// than may be missing (S26). scenarios/races/restart_right_after_a_scale_down.yaml
fn has_given_up(draft: &Draft<'_>) -> bool {
    draft.sets.iter().any(|set| staying(draft, set) > set.wished())
}

/// Pods of a ReplicaSet that are not on their way out.
fn staying(draft: &Draft<'_>, set: &Set) -> i64 {
    count(draft.world.pods.iter().filter(|pod| is_of(pod, set) && pod.meta.deleting.is_none()))
}

fn count<T>(of: impl Iterator<Item = T>) -> i64 {
    i64::try_from(of.count()).unwrap_or(i64::MAX)
}

/// Pods of the Rollout: of the stable ReplicaSet first, then of the new one, then of the others, oldest first.
// ARGO: the reference computes this order and then evicts in the order of the list (Q21).
fn in_order(draft: &Draft<'_>) -> Vec<std::sync::Arc<Object>> {
    let mut order: Vec<usize> =
        draft.stable.into_iter().chain(draft.new.filter(|new| Some(*new) != draft.stable)).collect();
    order.extend(draft.others());
    let mut pods = Vec::new();
    for index in order {
        pods.extend(draft.world.pods.iter().filter(|pod| is_of(pod, &draft.sets[index])).cloned());
    }
    pods
}

fn is_of(pod: &Object, set: &Set) -> bool {
    pod.meta.controller().is_some_and(|owner| owner.uid == set.object().meta.uid)
}
