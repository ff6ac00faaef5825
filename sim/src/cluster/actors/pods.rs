//! The kubelets: how pods come to life, fail, and go.

use std::sync::Arc;

use tidegate_api::object::{Body, Key, Kind, Object, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::plan::Guard;
use tidegate_controller::seams::ApiError;

use crate::cluster::store::{Change, Part, not_found};
use crate::world::{Due, Millis, Observer, PodModel, World, Writer};

/// What comes next in the life of a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// It runs.
    Runs,
    /// It loses readiness for good.
    Crashes,
    /// It loses readiness, so many more times.
    Drops(u32),
    /// It is ready again.
    Recovers(u32),
    /// It is gone.
    Gone,
}

impl World {
    /// A new pod: its start is drawn.
    pub(crate) fn born(&mut self, key: &Key, pod: &Arc<Object>) {
        let startup = match pod.meta.annotations.get("fakelet/ready-after").and_then(|text| span(text)) {
            Some(exact) => exact,
            None => {
                let config = self.config.clone();
                Span::millis(self.dice.pods.within(model_of(&config.pods, pod).startup))
            }
        };
        self.push(startup, Due::Pod { key: key.clone(), uid: pod.meta.uid.clone(), stage: Stage::Runs });
    }

    pub(crate) fn live(&mut self, key: &Key, uid: &Text, stage: Stage, watch: &mut dyn Observer) {
        let Some(pod) = self.store.get(key).filter(|pod| pod.meta.uid == *uid).cloned() else { return };
        if stage == Stage::Gone {
            let outcome = self.store.delete(key, Some(&Guard::Identity(uid.clone())), false, self.now);
            let _ = self.settle(Writer::Pods, None, key, outcome, watch);
            return;
        }
        if pod.meta.deleting.is_some() {
            return;
        }
        let config = self.config.clone();
        let model = model_of(&config.pods, &pod);
        let held = self.held_pods.contains(key);
        match stage {
            Stage::Runs => {
                let fails = pod.meta.annotations.get("fakelet/fail").is_some_and(|how| &**how == "crash");
                let exit = pod.meta.annotations.get("fakelet/exit").and_then(|code| code.parse().ok());
                let exit = exit.or(model.exit);
                let phase = match (exit, restart_policy(&pod)) {
                    (Some(0), "Never" | "OnFailure") => "Succeeded",
                    (Some(_), "Never") => "Failed",
                    // Started again and again, without ever being ready.
                    _ => "Running",
                };
                let ready = exit.is_none() && model.ready && !fails && !held;
                self.set_pod(key, phase, ready, watch);
                if ready {
                    self.foresee(key, uid, model);
                }
            }
            Stage::Crashes if !held => self.set_pod(key, "Running", false, watch),
            Stage::Drops(left) if !held => {
                self.set_pod(key, "Running", false, watch);
                if let Some(flaps) = &model.flaps {
                    self.next_stage(key, uid, flaps.down, Stage::Recovers(left));
                }
            }
            Stage::Recovers(left) if !held => {
                self.set_pod(key, "Running", true, watch);
                if let (Some(flaps), Some(left)) = (&model.flaps, left.checked_sub(1)) {
                    self.next_stage(key, uid, flaps.up, Stage::Drops(left));
                }
            }
            _ => {}
        }
    }

    /// What a pod that has just become ready will live through.
    fn foresee(&mut self, key: &Key, uid: &Text, model: &PodModel) {
        if let Some(after) = model.crash_after {
            self.next_stage(key, uid, after, Stage::Crashes);
        }
        if let Some(flaps) = model.flaps.as_ref().filter(|flaps| flaps.times > 0) {
            self.next_stage(key, uid, flaps.up, Stage::Drops(flaps.times - 1));
        }
    }

    fn next_stage(&mut self, key: &Key, uid: &Text, after: Millis, stage: Stage) {
        let after = Span::millis(self.dice.pods.within(after));
        self.push(after, Due::Pod { key: key.clone(), uid: uid.clone(), stage });
    }

    fn set_pod(&mut self, key: &Key, phase: &str, ready: bool, watch: &mut dyn Observer) {
        let outcome = set_pod(&mut self.store, key, phase, ready, self.now);
        let _ = self.settle(Writer::Pods, None, key, outcome, watch);
    }

    /// A person makes a pod ready or not ready; from now on its model leaves the pod alone.
    pub fn set_ready(
        &mut self,
        key: &Key,
        ready: bool,
        watch: &mut dyn Observer,
    ) -> Result<Option<Arc<Object>>, ApiError> {
        if key.kind == Kind::Pod && self.store.get(key).is_some() {
            self.held_pods.insert(key.clone());
        }
        let outcome = set_pod(&mut self.store, key, "Running", ready, self.now);
        self.settle(Writer::Pods, None, key, outcome, watch)
    }

    /// Deletes an object now; a pod whose model says so is marked, and goes when it has terminated.
    pub(crate) fn delete_now(&mut self, key: &Key, guard: Option<&Guard>) -> Result<Change, ApiError> {
        if key.kind != Kind::Pod {
            return self.store.delete(key, guard, false, self.now);
        }
        let Some(pod) = self.store.get(key).cloned() else { return Err(not_found(key)) };
        let config = self.config.clone();
        let termination = model_of(&config.pods, &pod).termination;
        let lingers = termination != (0, 0);
        let change = self.store.delete(key, guard, lingers, self.now)?;
        if lingers && !change.is_idle() {
            self.next_stage(key, &pod.meta.uid, termination, Stage::Gone);
        }
        Ok(change)
    }
}

fn set_pod(
    store: &mut crate::cluster::store::Store,
    key: &Key,
    phase: &str,
    ready: bool,
    now: Time,
) -> Result<Change, ApiError> {
    store.update(key, None, Part::Status, |object| {
        if let Body::Pod(body) = &mut object.body {
            if body.phase.as_deref() != Some(phase) {
                body.phase = Some(phase.into());
            }
            if body.ready != ready || body.ready_changed.is_none() {
                body.ready = ready;
                body.ready_changed = Some(now.stamp());
            }
        }
        Ok(())
    })
}

fn model_of<'a>(models: &'a crate::world::PodModels, pod: &Object) -> &'a PodModel {
    let spec = pod.pod().map(|body| &*body.spec);
    let containers = spec.and_then(|spec| spec["containers"].as_array()).into_iter().flatten();
    models.of(containers.filter_map(|container| container["image"].as_str()))
}

fn restart_policy(pod: &Object) -> &str {
    pod.pod().and_then(|body| body.spec["restartPolicy"].as_str()).unwrap_or("Always")
}

/// A span as the annotations write it: `2s`, `500ms`, `1m`.
fn span(text: &str) -> Option<Span> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Span::millis(number.saturating_mul(unit)))
}
