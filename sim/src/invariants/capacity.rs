//! S4: neither too many pods nor too few, as far as the controller's own writes decide.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::spec::Canary;
use tidegate_api::time::{Span, Time};
use tidegate_controller::rollout::scale::Limits;

use super::{Change, Invariant, available, owner, sets, wished};
use crate::world::World;

/// No write of the controller adds pods beyond the surge. Canary without routers only: blue-green doubles by design.
#[derive(Debug)]
pub struct Surge;

/// No write of the controller takes available pods away that are needed.
///
/// What the controller decided on may be as old as the lag of a watch and the way of a call: a set counts with the most
/// pods that it had within [`WINDOW`].
#[derive(Debug, Default)]
pub struct Availability {
    lately: BTreeMap<Key, Vec<(Time, i64)>>,
}

/// The longest lag of a watch that the swarm draws, and some.
const WINDOW: Span = Span::millis(500);

impl Availability {
    fn note(&mut self, world: &World, change: &Change<'_>) {
        let Some(before) = change.before.filter(|before| before.kind == Kind::ReplicaSet) else { return };
        let now = world.now();
        let seen = self.lately.entry(before.key()).or_default();
        seen.retain(|(at, _)| now.since(*at) <= WINDOW);
        seen.push((now, before.replica_set().and_then(|body| body.status.available).unwrap_or(0)));
    }

    fn most(&self, world: &World, set: &Object) -> i64 {
        let lately = self.lately.get(&set.key()).into_iter().flatten();
        let lately = lately.filter(|(at, _)| world.now().since(*at) <= WINDOW).map(|(_, count)| *count).max();
        available(world, set).max(lately.unwrap_or(0))
    }
}

/// A size that the controller changed: the Rollout, the ReplicaSet after, the size before.
fn resized(world: &World, change: &Change<'_>) -> Option<(Arc<Object>, Arc<Object>, i64)> {
    let (before, after) = (change.before?, change.after?);
    if after.kind != Kind::ReplicaSet {
        return None;
    }
    let from = before.replica_set()?.wished();
    (from != after.replica_set()?.wished()).then_some(())?;
    Some((owner(world, after)?, after.clone(), from))
}

fn canary(rollout: &Object) -> Option<Canary> {
    rollout.rollout()?.spec.spec().canary().cloned()
}

fn size(set: &Object) -> i64 {
    set.replica_set().map_or(0, |body| body.wished())
}

impl Invariant for Surge {
    fn name(&self) -> &'static str {
        "S4 surge"
    }

    fn wrote(&mut self, world: &World, change: &Change<'_>) -> Result<(), String> {
        let Some((rollout, set, from)) = resized(world, change) else { return Ok(()) };
        let Some(canary) = canary(&rollout) else { return Ok(()) };
        let (n, known) = wished(world, &rollout);
        let n = n.max(known);
        let most = n + Limits::of_canary(&canary, n).surge;
        let total: i64 = sets(world, &rollout).iter().map(|set| size(set)).sum();
        if size(&set) > from && total > most {
            return Err(format!(
                "{} grows from {from} to {}: {total} pods of at most {most}",
                set.meta.name,
                size(&set)
            ));
        }
        Ok(())
    }
}

impl Invariant for Availability {
    fn name(&self) -> &'static str {
        "S4 availability"
    }

    fn others_wrote(&mut self, world: &World, change: &Change<'_>) {
        self.note(world, change);
    }

    fn wrote(&mut self, world: &World, change: &Change<'_>) -> Result<(), String> {
        let Some((rollout, set, from)) = resized(world, change) else { return Ok(()) };
        let Some(canary) = canary(&rollout) else { return Ok(()) };
        let to = size(&set);
        if to >= from {
            return Ok(());
        }
        let (n, known) = wished(world, &rollout);
        let n = n.min(known);
        let least = n - Limits::of_canary(&canary, n).missing(n);
        let others: i64 = sets(world, &rollout)
            .iter()
            .filter(|other| other.meta.name != set.meta.name)
            .map(|other| self.most(world, other).min(size(other)))
            .sum();
        let (before, after) =
            (others + available(world, &set).min(from), others + available(world, &set).min(to));
        if after < least.min(before) {
            return Err(format!(
                "{} shrinks from {from} to {to}: {after} pods stay available, {least} are needed",
                set.meta.name
            ));
        }
        Ok(())
    }
}
