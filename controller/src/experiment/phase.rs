//! What templates and analyses mean together: phase, message and conditions of an Experiment.

use tidegate_api::experiment::ExperimentSpec;
use tidegate_api::object::{ExperimentRunStatus, ExperimentStatus, TemplateStatus, Text, is_final};

use super::Draft;
use crate::sabotage::Sabotage;

/// Whether all pods and runs are to go.
pub fn is_terminating(spec: &ExperimentSpec, status: &ExperimentStatus) -> bool {
    let failed = |template: &TemplateStatus| matches!(template.status(), "Failed" | "Error");
    let bad = |run: &ExperimentRunStatus| is_final(run.phase()) && run.phase() != "Successful";
    spec.terminate
        || status.is_over()
        || status.templates.iter().flatten().any(failed)
        || status.runs.iter().flatten().any(bad)
        || have_required_succeeded(spec, status)
}

fn have_required_succeeded(spec: &ExperimentSpec, status: &ExperimentStatus) -> bool {
    let succeeded = |name: &str| status.run(name).is_some_and(|run| run.phase() == "Successful");
    let mut required = spec.analyses.iter().filter(|analysis| analysis.is_required);
    spec.has_required() && required.all(|analysis| succeeded(&analysis.name))
}

/// A phase with its message.
type Said = (Text, Text);

fn said(phase: &str, message: &str) -> Said {
    (phase.into(), message.into())
}

/// Writes the phase and conditions, and sets the alarm for what time alone decides.
pub fn settle(draft: &mut Draft<'_>) {
    if draft.observed.phase().is_empty() {
        draft.status.phase = Some("Pending".into());
    } else if !draft.observed.is_over() {
        let (phase, message) = decide(draft);
        draft.status.phase = Some(phase);
        draft.status.message = Some(message).filter(|message| !message.is_empty());
    }
    let name = draft.name();
    if draft.status.phase() == "Successful" {
        let message = format!("Experiment \"{name}\" has successfully ran and completed.");
        draft.set_condition("Progressing", "False", "ExperimentCompleted", &message, false);
    } else if draft.has_progressed {
        let message = format!("Experiment \"{name}\" is progressing.");
        draft.set_condition("Progressing", "True", "ReplicaSetUpdated", &message, true);
    } else if draft.observed.available.is_some() && !draft.has_run_its_time() {
        let message = format!("Experiment \"{name}\" is running.");
        draft.set_condition("Progressing", "True", "NewReplicaSetAvailable", &message, false);
    }
    if !is_terminating(draft.spec, &draft.status)
        && let Some(end) = draft.ends_at().filter(|end| *end >= draft.now)
    {
        draft.wake_after(end, "the running time");
    }
}

fn decide(draft: &mut Draft<'_>) -> Said {
    let sees_required = !draft.facts.is_sabotaged(Sabotage::RequiredIsOptional);
    let templates = of_templates(draft);
    let analyses = of_analyses(draft);
    let complete = || said("Successful", "Required AnalysisRuns completed");
    let all_succeeded = have_required_succeeded(draft.spec, &draft.status);
    if &*templates.0 == "Running" && draft.observed.available.is_none() {
        draft.status.available = Some(draft.stamp());
    }
    let is_bad = is_final(&analyses.0) && &*analyses.0 != "Successful";
    if is_final(&templates.0) {
        if &*templates.0 != "Successful" {
            return templates;
        }
        return match (is_bad, all_succeeded) {
            (true, _) => analyses,
            (false, true) => complete(),
            (false, false) if is_final(&analyses.0) || (sees_required && draft.spec.has_required()) => {
                analyses
            }
            (false, false) => templates,
        };
    }
    match (is_bad, all_succeeded) {
        (true, _) => analyses,
        // ARGO: the reference stays in Running for ever while an optional run was told to end (A5).
        (false, true) => complete(),
        (false, false) => templates,
    }
}

fn of_templates(draft: &Draft<'_>) -> Said {
    let rank = |status: &str| match status {
        "Successful" => 0,
        "Running" => 1,
        "Error" => 3,
        "Failed" => 4,
        _ => 2,
    };
    let mut worst = ("Successful", "");
    for template in &draft.spec.templates {
        let status = draft.status.template(&template.name);
        let word = status.map_or("", TemplateStatus::status);
        if rank(word) > rank(worst.0) {
            worst = (word, status.and_then(|status| status.message.as_deref()).unwrap_or(""));
        }
    }
    match worst.0 {
        "Progressing" | "" => said("Pending", worst.1),
        word => said(word, worst.1),
    }
}

fn of_analyses(draft: &Draft<'_>) -> Said {
    let rank = |phase: &str| match phase {
        "Running" => 1,
        "Pending" => 2,
        "Inconclusive" => 3,
        "Error" => 4,
        "Failed" => 5,
        _ => 0,
    };
    let mut worst = ("Successful", String::new());
    for analysis in &draft.spec.analyses {
        let status = draft.status.run(&analysis.name);
        let (mut phase, mut message) = (
            status.map_or("", ExperimentRunStatus::phase),
            status.and_then(|status| status.message.as_deref()).unwrap_or("").to_owned(),
        );
        // ARGO: to the reference a required analysis that never began has succeeded (A17).
        let ignores = draft.facts.is_sabotaged(Sabotage::RequiredIsOptional);
        if analysis.is_required && phase.is_empty() && !ignores {
            phase = "Pending";
            if draft.is_terminating {
                phase = "Inconclusive";
                message = format!("Required analysis '{}' was never begun", analysis.name);
            }
        }
        if rank(phase) > rank(worst.0) {
            worst = (phase, message);
        }
    }
    match worst.0 {
        "Pending" => said("Running", &worst.1),
        phase => said(phase, &worst.1),
    }
}
