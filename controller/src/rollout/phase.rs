//! The phase: one word for the whole Rollout, and why.

use tidegate_api::object::{Object, RolloutStatus, is_final};
use tidegate_api::spec::{Spec, Strategy};

use crate::names::WORKLOAD_GENERATION;

/// Phase and message as a client tells them, which also sees what the controller has not looked at yet. Nothing for
/// an object that is no Rollout.
pub fn phase_as_seen(rollout: &Object) -> Option<(&'static str, String)> {
    let body = rollout.rollout()?;
    Some(match not_seen_yet(rollout) {
        Some(message) => ("Progressing", message.to_owned()),
        None => phase(body.spec.spec(), &body.status),
    })
}

/// What of a Rollout the controller has not looked at yet, in a client's words.
pub fn not_seen_yet(rollout: &Object) -> Option<&'static str> {
    let status = &rollout.rollout()?.status;
    // Versions before 1.0 wrote a hash here, which may even look like a number; it counts as observed.
    let observed = status.observed_generation.as_deref().and_then(|text| text.parse::<i64>().ok());
    if observed.is_some_and(|observed| observed < rollout.meta.generation) {
        return Some("waiting for rollout spec update to be observed");
    }
    if status.controller_pause == Some(true) && status.pause_conditions().is_empty() {
        return Some("waiting for rollout to unpause");
    }
    let workload =
        rollout.meta.annotations.get(WORKLOAD_GENERATION).and_then(|text| text.parse::<i64>().ok());
    let seen = status.workload_generation.as_deref().and_then(|text| text.parse::<i64>().ok());
    if let (Some(workload), Some(seen)) = (workload, seen)
        && workload != seen
    {
        return Some("waiting for rollout spec update to be observed for the reference workload");
    }
    None
}

/// Phase and message of a status, as the controller writes them.
pub fn phase(spec: &Spec, status: &RolloutStatus) -> (&'static str, String) {
    for condition in status.conditions.iter().flatten() {
        let reason = condition.reason.as_deref().unwrap_or("");
        let message = condition.message.as_deref().unwrap_or("");
        if condition.kind.as_deref() == Some("InvalidSpec") {
            return ("Degraded", format!("InvalidSpec: {message}"));
        }
        if matches!(reason, "RolloutAborted" | "ProgressDeadlineExceeded") {
            return ("Degraded", format!("{reason}: {message}"));
        }
    }
    if spec.paused {
        return ("Paused", "manually paused".to_owned());
    }
    if let Some(pause) = status.pause_conditions().first() {
        return ("Paused", pause.reason.as_deref().unwrap_or("").to_owned());
    }
    let progressing = |message: &str| ("Progressing", message.to_owned());
    if spec.restart_at.is_some() && spec.restart_at != status.restarted_at {
        return progressing("rollout is restarting");
    }
    let (updated, available) = (status.updated.unwrap_or(0), status.available.unwrap_or(0));
    if updated < spec.wished() {
        return progressing("more replicas need to be updated");
    }
    if available < updated {
        return progressing("updated replicas are still becoming available");
    }
    let promoted = !status.stable_hash().is_empty() && status.stable_hash() == status.current();
    match &spec.strategy {
        Strategy::BlueGreen(spec) => {
            if status.active().is_empty() || status.active() != status.current() {
                return progressing("active service cutover pending");
            }
            if !promoted {
                let run = status.blue_green.as_ref().and_then(|blue_green| blue_green.post_run.as_ref());
                let over = run.is_some_and(|run| is_final(run.status.as_deref().unwrap_or("")));
                if spec.post_promotion_analysis.is_some() && !over {
                    return progressing("waiting for analysis to complete");
                }
                return progressing("waiting for post-promotion verification to complete");
            }
        }
        Strategy::Canary(_) | Strategy::Unclear => {
            let is_routed = spec.canary().is_some_and(|canary| canary.traffic_routing.is_some());
            if !is_routed && status.replicas.unwrap_or(0) > updated {
                return progressing("old replicas are pending termination");
            }
            if !promoted {
                return progressing("waiting for all steps to complete");
            }
            // ARGO: the reference calls a version healthy that no router was told of (S23).
            if status.condition(super::traffic::TROUBLE).is_some() {
                return progressing("waiting for traffic to be routed");
            }
        }
    }
    ("Healthy", String::new())
}
