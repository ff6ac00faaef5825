//! S19: a new ReplicaSet runs what somebody asked for, and its hash is its own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_api::object::{Body, Kind};
use tidegate_controller::rollout::set::Set;

use super::view::{Views, owner};
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant. Templates are compared by names and images of containers: defaults, anti-affinity and role metadata
/// are added on the way.
#[derive(Default)]
pub struct VersionTruth {
    asked: BTreeMap<Kind, BTreeSet<String>>,
}

fn containers(spec: &Value) -> String {
    let all = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|c| format!("{}={};", c["name"], c["image"])).collect()
}

impl Invariant for VersionTruth {
    fn name(&self) -> &'static str {
        "S19"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, known: &Views) -> Result<(), Violation> {
        let Happened::Stored { by, before, after: Some(after), call } = what else { return Ok(()) };
        let asked = match &after.body {
            Body::Rollout(body) if *by != Writer::Controller => body.spec.spec().template.as_ref(),
            Body::Deployment(body) if *by != Writer::Controller => Some(&body.template),
            _ => None,
        };
        if let Some(template) = asked {
            self.asked.entry(Kind::Rollout).or_default().insert(containers(&template.spec.value()));
            return Ok(());
        }
        let (Writer::Controller, None, Some(set), Some(_)) = (by, before, after.replica_set(), owner(after))
        else {
            return Ok(());
        };
        let runs = containers(&set.template.spec.value());
        // What the Rollout says now, or said when this was decided. A write of a dead controller that arrives late was
        // decided longer ago than is remembered; that somebody has asked for it must be enough.
        let mut latest = known.of(*call).map(|view| view.rollout.clone()).peekable();
        let is_remembered = latest.peek().is_some();
        let truth = owner(after).and_then(|key| world.get(&key).cloned());
        let mut wishes = latest
            .chain(truth)
            .filter_map(|rollout| {
                Some(containers(&rollout.rollout()?.spec.spec().template.as_ref()?.spec.value()))
            })
            .peekable();
        if is_remembered && wishes.peek().is_some() && !wishes.any(|wish| wish == runs) {
            let message = format!("ReplicaSet {} runs {runs}, which is no longer asked for", after.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        if !self.asked.get(&Kind::Rollout).is_some_and(|asked| asked.contains(&runs)) {
            let message = format!("ReplicaSet {} runs {runs} which nobody asked for", after.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        let hash = |object: &std::sync::Arc<tidegate_api::object::Object>| {
            Set::new(object.clone()).map(|set| set.hash().to_owned())
        };
        let uid = after.meta.controller().map(|owner| owner.uid.clone()).unwrap_or_default();
        let same = world
            .store()
            .owned_by(&uid, &Kind::ReplicaSet)
            .filter(|other| hash(other) == hash(after))
            .count();
        if same > 1 {
            let message = format!("the hash of ReplicaSet {} is taken", after.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}
