//! Argo CD's health of a Rollout, restated: by which fields it judges, in its order.

use serde_json::Value;

/// The word that Argo CD shows, and the message beside it.
pub fn of_rollout(rollout: &Value) -> (&'static str, String) {
    let (spec, status, metadata) = (&rollout["spec"], &rollout["status"], &rollout["metadata"]);
    let generation = metadata["generation"].as_i64().unwrap_or(0);
    // A number that is too large is a hash of old versions, and is taken for observed.
    let observed = match status["observedGeneration"].as_str() {
        Some(text) => text.parse::<i64>().map_or(true, |observed| observed >= generation),
        None => false,
    };
    if !observed {
        return ("Progressing", "Waiting for rollout spec update to be observed".into());
    }
    let annotation = &metadata["annotations"]["rollout.argoproj.io/workload-generation"];
    if spec["workloadRef"].is_object() && *annotation != status["workloadObservedGeneration"] {
        return (
            "Progressing",
            "Waiting for rollout spec update to be observed for the reference workload".into(),
        );
    }
    let message = status["message"].as_str().unwrap_or_default().to_owned();
    match status["phase"].as_str() {
        Some("Paused") => ("Suspended", message),
        Some("Healthy") => ("Healthy", message),
        Some("Degraded") => ("Degraded", message),
        Some("Progressing") => ("Progressing", message),
        // Every status of ours has a phase, so its rules for older ones are not restated.
        other => ("Unknown", format!("phase {other:?}")),
    }
}
