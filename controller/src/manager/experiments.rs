//! What the manager has to do with Experiments: who is to look again when one of them, or something of theirs, changes, and
//! who must wait until they are known.

use tidegate_api::object::{Key, Kind, Object, WeightDestination};
use tidegate_api::spec::StepKind;

use super::Manager;
use crate::cache::references;

/// Whether a Rollout has a step with an experiment.
pub fn has_experiments(rollout: &Object) -> bool {
    let canary = rollout.rollout().and_then(|body| body.spec.spec().canary());
    canary.is_some_and(|canary| canary.steps.iter().any(|step| matches!(step.kind, StepKind::Experiment(_))))
}

/// The arms of an Experiment that a Rollout has recorded.
fn arms(rollout: &Object) -> Option<&Vec<WeightDestination>> {
    rollout.rollout()?.status.canary.as_ref()?.weights.as_ref()?.additional.as_ref()
}

/// Whether other arms get a share of the traffic than before.
pub fn arms_differ(before: Option<&Object>, after: &Object) -> bool {
    before.and_then(arms) != arms(after)
}

/// Who has made an object, if that is a Rollout or an Experiment.
pub fn asker(object: &Object) -> Option<Key> {
    let owner = object.meta.controller()?;
    let kind = match &*owner.kind {
        "Rollout" => Kind::Rollout,
        "Experiment" => Kind::Experiment,
        _ => return None,
    };
    Some(Key::new(kind, object.meta.namespace.clone(), owner.name.clone()))
}

impl Manager {
    /// Experiments that a change of this object concerns, and the Rollouts that wait for them.
    pub(super) fn concerned_by_experiments(&self, object: &Object) -> Vec<Key> {
        let mut keys = Vec::new();
        match object.kind {
            Kind::Experiment => {
                keys.push(object.key());
                keys.extend(asker(object));
            }
            Kind::ReplicaSet | Kind::Service => {
                let experiment = asker(object).filter(|key| key.kind == Kind::Experiment);
                // A Service that goes takes the arm's share with it.
                let is_service = object.kind == Kind::Service;
                let known = experiment.as_ref().filter(|_| is_service).and_then(|key| self.cache.get(key));
                keys.extend(known.and_then(|experiment| asker(experiment)));
                keys.extend(experiment);
            }
            _ => {}
        }
        keys
    }

    /// The Experiments of a Rollout.
    pub(super) fn experiments_of(&self, rollout: &Object) -> Vec<Key> {
        self.cache.owned_by(&rollout.meta.uid, Kind::Experiment).map(|one| one.key()).collect()
    }

    /// Whether an object waits for the list of Experiments, or, being one, for what its Rollout refers to.
    pub(super) fn waits_for_experiments(&self, object: &Object) -> bool {
        if has_experiments(object) && !self.listed.contains(&Kind::Experiment) {
            return true;
        }
        let is_unknown = |key: &Key| self.asked_for.contains(&key.kind) && !self.listed.contains(&key.kind);
        let rollout = asker(object).filter(|_| object.experiment().is_some());
        let rollout = rollout.and_then(|key| self.cache.get(&key));
        rollout.is_some_and(|rollout| references(rollout, &self.settings.routers).iter().any(is_unknown))
    }
}
