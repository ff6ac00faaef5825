//! From a story that shows a failure to a small one that shows the same.
//!
//! First the entries (acts and faults together, by halves, quarters and so on: delta debugging), then the manifest and
//! the world, one simplification at a time, until none is left that keeps the failure.

use serde_json::{Value, json};
use tidegate_api::object::{Kind, Object};
use tidegate_api::time::Span;

use super::failure_of;
use crate::play::{Setup, play_with};
use crate::scenario::{Entry, Moment, Script};
use crate::world::{PodModels, WorldConfig};

/// So many stories are played at most.
const MOST_PLAYS: u32 = 3_000;

/// The smallest story found that fails in the same way. `what` names the failure, as in [`super::Failure`].
pub fn shrink(script: &Script, setup: Setup, what: &str) -> Script {
    let mut search = Search { setup: Setup { silent: true, ..setup }, what, plays: 0 };
    let mut best = script.clone();
    loop {
        let before = best.clone();
        search.fewer_entries(&mut best);
        search.simpler(&mut best);
        if best == before || search.plays >= MOST_PLAYS {
            return best;
        }
    }
}

struct Search<'a> {
    setup: Setup,
    what: &'a str,
    plays: u32,
}

impl Search<'_> {
    fn still_fails(&mut self, script: &Script) -> bool {
        if self.plays >= MOST_PLAYS {
            return false;
        }
        self.plays += 1;
        failure_of(&play_with(script, self.setup.clone())).is_some_and(|failure| failure.what == self.what)
    }

    /// Takes the candidate if it fails as well.
    fn take(&mut self, best: &mut Script, candidate: Script) -> bool {
        let better = candidate != *best && self.still_fails(&candidate);
        if better {
            *best = candidate;
        }
        better
    }

    fn fewer_entries(&mut self, best: &mut Script) {
        let mut size = best.when.len();
        while size > 0 {
            let mut at = 0;
            while at < best.when.len() {
                let mut candidate = best.clone();
                let end = (at + size).min(candidate.when.len());
                candidate.when.drain(at..end);
                if !self.take(best, candidate) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn simpler(&mut self, best: &mut Script) {
        loop {
            let candidates = simplifications(best);
            let found = candidates.into_iter().any(|candidate| self.take(best, candidate));
            if !found {
                return;
            }
        }
    }
}

/// Stories that say a little less.
fn simplifications(script: &Script) -> Vec<Script> {
    let mut all = Vec::new();
    let mut offer = |change: &dyn Fn(&mut Script)| {
        let mut candidate = script.clone();
        change(&mut candidate);
        if candidate != *script {
            all.push(candidate);
        }
    };
    offer(&|script| script.pods = PodModels::default());
    offer(&|script| script.watch_lag = WorldConfig::default().watch_lag);
    for at in 0..script.given.len() {
        if script.given[at].kind != Kind::Rollout {
            offer(&|script| drop(script.given.remove(at)));
            continue;
        }
        for simpler in simpler_manifests(&script.given[at].to_value()) {
            offer(&|script| {
                if let Ok(object) = Object::from_value(simpler.clone()) {
                    script.given[at] = object;
                }
            });
        }
    }
    for at in 0..script.when.len() {
        offer(&|script| script.when[at].after = Span::ZERO);
        offer(&|script| {
            let entry: &mut Entry = &mut script.when[at];
            if let Moment::At(moment) = &mut entry.moment {
                *moment = Span::seconds(moment.0 / 1000);
            }
        });
    }
    all
}

/// The manifest with one thing less each.
fn simpler_manifests(rollout: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    let without = |parent: &str, field: &str| {
        let mut simpler = rollout.clone();
        let gone = simpler.pointer_mut(parent).and_then(Value::as_object_mut).and_then(|p| p.remove(field));
        gone.map(|_| simpler)
    };
    for field in ["minReadySeconds", "progressDeadlineSeconds"] {
        all.extend(without("/spec", field));
    }
    let needed = ["activeService", "previewService", "steps"];
    for strategy in ["canary", "blueGreen"] {
        let parent = format!("/spec/strategy/{strategy}");
        let fields = rollout.pointer(&parent).and_then(Value::as_object).into_iter().flatten();
        for (field, _) in fields.filter(|(field, _)| !needed.contains(&field.as_str())) {
            all.extend(without(&parent, field));
        }
    }
    let count = rollout.pointer("/spec/strategy/canary/steps").and_then(Value::as_array).map_or(0, Vec::len);
    for at in (0..count).rev() {
        let mut simpler = rollout.clone();
        if let Some(steps) = simpler.pointer_mut("/spec/strategy/canary/steps").and_then(Value::as_array_mut)
        {
            steps.remove(at);
        }
        all.push(simpler);
    }
    let replicas = rollout.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    for fewer in [1, 2, 3, replicas / 2] {
        if 0 < fewer && fewer < replicas {
            let mut simpler = rollout.clone();
            simpler["spec"]["replicas"] = json!(fewer);
            all.push(simpler);
        }
    }
    all
}
