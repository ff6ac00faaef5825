//! What must hold after every event, and what must hold at rest. Names are those of the project's list: S.. for safety,
//! L.. for liveness.
//!
//! An invariant judges writes of the controller by the truth *and* by what the controller could know: a pod that dies
//! while its death is on the way to the cache is nobody's mistake.

mod abort;
mod adoption;
mod capacity;
mod rest;
mod services;
mod status;
mod steps;

use std::sync::Arc;

use tidegate_api::object::{Kind, Object};
use tidegate_api::time::Time;

use crate::world::{Happened, Observer, World, Writer};

/// Something that must hold.
pub trait Invariant: std::fmt::Debug {
    /// Its name in the list.
    fn name(&self) -> &'static str;

    /// Looks at a write that the controller has made.
    fn wrote(&mut self, _world: &World, _change: &Change<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Looks at a write of anybody else.
    fn others_wrote(&mut self, _world: &World, _change: &Change<'_>) {}

    /// Looks at a world in which nothing will happen until somebody acts.
    fn at_rest(&mut self, _world: &World) -> Result<(), String> {
        Ok(())
    }
}

/// A stored change of an object.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Before; nothing when it is new.
    pub before: Option<&'a Arc<Object>>,
    /// After; nothing when it is gone.
    pub after: Option<&'a Arc<Object>>,
}

/// An invariant that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// When.
    pub at: Time,
    /// What was seen.
    pub what: String,
}

/// All invariants, watching one world.
#[derive(Debug)]
pub struct Watchdog {
    all: Vec<Box<dyn Invariant>>,
    /// The first violation.
    pub violation: Option<Violation>,
    /// How many questions were asked.
    pub checks: u64,
}

impl Default for Watchdog {
    fn default() -> Watchdog {
        Watchdog {
            all: vec![
                Box::new(capacity::Surge),
                Box::new(capacity::Availability::default()),
                Box::new(services::NeverToNothing),
                Box::new(services::NothingReferencedGoes),
                Box::new(steps::Discipline),
                Box::new(steps::PausesAreKept),
                Box::new(abort::AbortWins),
                Box::new(adoption::NoUninvitedRollout::default()),
                Box::new(status::HealthyIsTrue),
                Box::new(rest::Convergence),
            ],
            violation: None,
            checks: 0,
        }
    }
}

impl Watchdog {
    /// Asks what must hold at rest.
    pub fn at_rest(&mut self, world: &World) {
        for invariant in &mut self.all {
            self.checks += 1;
            if let Err(what) = invariant.at_rest(world) {
                let (invariant, at) = (invariant.name(), world.now());
                self.violation.get_or_insert(Violation { invariant, at, what });
            }
        }
    }
}

impl Observer for Watchdog {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        let Happened::Stored { by, before, after, .. } = what else { return };
        let change = Change { before: *before, after: *after };
        for invariant in &mut self.all {
            if *by != Writer::Controller {
                invariant.others_wrote(world, &change);
                continue;
            }
            self.checks += 1;
            if let Err(what) = invariant.wrote(world, &change) {
                let (invariant, at) = (invariant.name(), world.now());
                self.violation.get_or_insert(Violation { invariant, at, what });
            }
        }
    }
}

/// The Rollout that controls an object, as the API server has it.
fn owner(world: &World, object: &Object) -> Option<Arc<Object>> {
    let uid = &object.meta.controller()?.uid;
    world.store().of_kind(&Kind::Rollout).find(|rollout| rollout.meta.uid == *uid).cloned()
}

/// The ReplicaSets of a Rollout, as the API server has them.
fn sets<'a>(world: &'a World, rollout: &Object) -> Vec<&'a Arc<Object>> {
    world.store().owned_by(&rollout.meta.uid, &Kind::ReplicaSet).collect()
}

/// The same object as the controller knows it.
fn known<'a>(world: &'a World, object: &Object) -> Option<&'a Arc<Object>> {
    world.controller()?.manager.cache().get(&object.key())
}

/// Available pods of a ReplicaSet: the most of what is true and what the controller knows.
fn available(world: &World, set: &Object) -> i64 {
    let count = |set: &Object| set.replica_set().and_then(|body| body.status.available).unwrap_or(0);
    count(set).max(known(world, set).map_or(0, |set| count(set)))
}

/// Wished pods of a Rollout, as they are and as the controller knows them.
fn wished(world: &World, rollout: &Object) -> (i64, i64) {
    let n = |rollout: &Object| rollout.rollout().map_or(0, |body| body.spec.spec().wished());
    (n(rollout), known(world, rollout).map_or(n(rollout), |rollout| n(rollout)))
}
