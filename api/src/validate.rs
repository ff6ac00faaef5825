//! From a specification to its meaning and everything that is wrong with it.

use serde_json::Value;

use crate::spec::{Checked, Spec, Strategy};

/// Reads a specification.
pub fn check(_spec: &Value) -> Checked {
    let spec = Spec {
        replicas: None,
        selector: None,
        template: None,
        workload_ref: None,
        min_ready_seconds: 0,
        rollback_window: 0,
        revision_history_limit: 10,
        paused: false,
        progress_deadline_seconds: 600,
        progress_deadline_abort: false,
        restart_at: None,
        strategy: Strategy::Unclear,
    };
    Checked { spec, problems: Vec::new() }
}
