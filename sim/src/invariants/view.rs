//! A Rollout and its ReplicaSets, as they are or as the controller knew them when it started a call.

use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::spec::Spec;
use tidegate_controller::plan::Verb;
use tidegate_controller::rollout::set::Set;
use tidegate_controller::seams::{ApiCall, CallId};

use crate::dataplane::claims::rollouts_of;
use crate::world::{Happened, World};

/// One ReplicaSet and its available pods.
#[derive(Clone, Debug)]
pub struct Seen {
    pub set: Set,
    pub available: i64,
}

impl Seen {
    /// Available pods that stay with so many wished ones: pods that are not available go first.
    pub fn kept(&self, wished: i64) -> i64 {
        self.available.min(wished)
    }
}

/// A Rollout with its ReplicaSets.
#[derive(Clone, Debug)]
pub struct View {
    pub rollout: Arc<Object>,
    pub sets: Vec<Seen>,
}

impl View {
    /// The truth, with pods counted one by one.
    pub fn of_truth(world: &World, key: &Key) -> Option<View> {
        let rollout = world.get(key)?.clone();
        let now = world.now().stamp();
        let see = |object: &Arc<Object>| {
            let set = Set::new(object.clone())?;
            let wait = set.body().min_ready_seconds.unwrap_or(0);
            let pods = world.store().owned_by(&object.meta.uid, &Kind::Pod);
            let fit = |pod: &&Arc<Object>| {
                pod.meta.deleting.is_none() && pod.pod().is_some_and(|body| body.is_available(wait, now))
            };
            let available = i64::try_from(pods.filter(fit).count()).unwrap_or(i64::MAX);
            Some(Seen { set, available })
        };
        let sets = world.store().owned_by(&rollout.meta.uid, &Kind::ReplicaSet).filter_map(see).collect();
        Some(View { rollout, sets })
    }

    /// What the controller knows now.
    pub fn of_cache(world: &World, key: &Key) -> Option<View> {
        let cache = world.controller()?.manager.cache();
        let rollout = cache.get(key)?.clone();
        let owned = cache.owned_by(&rollout.meta.uid, Kind::ReplicaSet);
        let sets = owned
            .filter_map(|object| Set::new(object.clone()))
            .map(|set| Seen { available: set.available(), set })
            .collect();
        Some(View { rollout, sets })
    }

    /// What the controller knows now, with pods counted one by one.
    pub fn of_cached_pods(world: &World, key: &Key) -> Option<View> {
        let cache = world.controller()?.manager.cache();
        let mut view = View::of_cache(world, key)?;
        let now = world.now().stamp();
        for seen in &mut view.sets {
            let wait = seen.set.body().min_ready_seconds.unwrap_or(0);
            let pods = cache.owned_by(&seen.set.object().meta.uid, Kind::Pod);
            let fit = |pod: &&Arc<Object>| {
                pod.meta.deleting.is_none() && pod.pod().is_some_and(|body| body.is_available(wait, now))
            };
            seen.available = i64::try_from(pods.filter(fit).count()).unwrap_or(i64::MAX);
        }
        Some(view)
    }

    pub fn spec(&self) -> Option<&Spec> {
        self.rollout.rollout().map(|body| body.spec.spec())
    }

    pub fn n(&self) -> i64 {
        self.spec().map_or(0, Spec::wished)
    }

    pub fn of_hash(&self, hash: &str) -> Option<&Seen> {
        self.sets.iter().find(|seen| seen.set.hash() == hash)
    }
}

/// What the controller knew when it started its latest calls. Calls of a dead controller may still arrive under a
/// number that the next one uses too, so a number can have several views; the kindest one counts.
#[derive(Clone, Debug, Default)]
pub struct Views {
    recent: Vec<(CallId, View)>,
    /// The Rollout as it was when the plan under way was made.
    decided: Option<Arc<Object>>,
}

impl Views {
    pub fn note(&mut self, world: &World, what: &Happened<'_>) {
        let Happened::Started(id, ApiCall::Write { key, verb, .. }) = what else { return };
        let made = match verb {
            Verb::Create(object) => owner(object),
            _ => None,
        };
        let Some(rollout) = made.or_else(|| rollout_of(world, key)) else { return };
        if let Some(mut view) = View::of_cache(world, &rollout) {
            let plan = world.controller().and_then(|controller| controller.manager.last_plan(&rollout));
            let first = plan.and_then(|plan| plan.writes.first());
            let begins = first.is_none_or(|write| write.key == *key && write.verb == *verb);
            // Later writes of a pass still follow the wishes that it began with.
            match &self.decided {
                Some(wishes) if !begins && wishes.key() == rollout => {
                    view.rollout = wishes.clone();
                }
                _ => self.decided = Some(view.rollout.clone()),
            }
            if self.recent.len() >= 8 {
                self.recent.remove(0);
            }
            self.recent.push((*id, view));
        }
    }

    /// All recent views of a Rollout: those of its latest passes.
    pub fn about(&self, rollout: &Key) -> impl Iterator<Item = &View> {
        self.recent.iter().map(|(_, view)| view).filter(move |view| view.rollout.key() == *rollout)
    }

    pub fn of(&self, call: Option<CallId>) -> impl Iterator<Item = &View> {
        self.recent.iter().filter(move |(id, _)| Some(*id) == call).map(|(_, view)| view)
    }
}

/// The step that an Experiment of a Rollout is about: its name is ROLLOUT-HASH-REVISION-STEP, perhaps with a number behind.
pub fn step_of_experiment(experiment: &Object) -> Option<usize> {
    let rollout = experiment.meta.controller().filter(|owner| &*owner.kind == "Rollout")?;
    let rest = experiment.meta.name.strip_prefix(&format!("{}-", rollout.name))?;
    rest.split('-').nth(2)?.parse().ok()
}

/// The Rollout that a write concerns.
pub fn rollout_of(world: &World, key: &Key) -> Option<Key> {
    match key.kind {
        Kind::Rollout => Some(key.clone()),
        Kind::ReplicaSet => owner(world.get(key)?),
        Kind::Deployment => {
            let refers = |object: &&Arc<Object>| {
                let reference = object.rollout().and_then(|body| body.spec.spec().workload_ref.as_ref());
                reference.is_some_and(|reference| reference.name == key.name)
            };
            world.store().in_namespace(&Kind::Rollout, &key.namespace).find(refers).map(|object| object.key())
        }
        Kind::Service => {
            let names = |object: &&Arc<Object>| service_names(object).contains(&&*key.name);
            world.store().in_namespace(&Kind::Rollout, &key.namespace).find(names).map(|object| object.key())
        }
        Kind::Other { .. } => {
            let object = world.get(key)?;
            owner(object).or_else(|| rollouts_of(world, object).into_iter().next())
        }
        _ => None,
    }
}

/// The Rollout that controls an object.
pub fn owner(object: &Object) -> Option<Key> {
    let owner = object.meta.controller().filter(|owner| &*owner.kind == "Rollout")?;
    Some(Key::new(Kind::Rollout, object.meta.namespace.clone(), owner.name.clone()))
}

/// Services that users reach: all of a Rollout but the preview, which is for those who know that it may be gone.
pub fn service_names(rollout: &Object) -> Vec<&str> {
    let Some(spec) = rollout.rollout().map(|body| body.spec.spec()) else { return Vec::new() };
    let canary = spec.canary();
    let blue_green = spec.blue_green();
    let names = [
        canary.map(|canary| &*canary.stable_service),
        canary.map(|canary| &*canary.canary_service),
        canary.and_then(|canary| canary.ping_pong.as_ref()).map(|pair| &*pair.ping),
        canary.and_then(|canary| canary.ping_pong.as_ref()).map(|pair| &*pair.pong),
        blue_green.map(|blue_green| &*blue_green.active_service),
    ];
    names.into_iter().flatten().filter(|name| !name.is_empty()).collect()
}
