//! The analyses of an Experiment: begun once its pods are available, ended with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::analysis::{AnalysisSpec, Argument};
use tidegate_api::experiment::ExperimentAnalysis;
use tidegate_api::object::{
    AnalysisRunBody, AnalysisRunStatus, Body, ExperimentRunStatus, Key, Kind, Meta, Object, Text, is_final,
};

use super::{Draft, is_controlled_by, owner, sets};
use crate::analysis::placeholders::fill;
use crate::analysis::templates::{Additions, Missing, collect, run_of};
use crate::edit::Edit;
use crate::manager::INSTANCE_LABEL;
use crate::plan::{Guard, IfRefused, Need, Reason, Verb};
use crate::sabotage::Sabotage;

/// Does what is to be done for one analysis.
pub fn reconcile(draft: &mut Draft<'_>, analysis: &ExperimentAnalysis) {
    let before = draft.observed.run(&analysis.name).cloned();
    let mut status = before.clone().unwrap_or_else(|| ExperimentRunStatus {
        name: Some(analysis.name.clone()),
        run: Some(Text::default()),
        phase: Some(Text::default()),
        ..ExperimentRunStatus::default()
    });
    follow(draft, analysis, &mut status);
    let (from, to) = (before.as_ref().map_or("", ExperimentRunStatus::phase), status.phase());
    if from != to && !to.is_empty() {
        tell(draft, &analysis.name, from, &status);
    }
    let all = draft.status.runs.get_or_insert_default();
    match all.iter_mut().find(|known| known.name == status.name) {
        Some(known) => *known = status,
        None => all.push(status),
    }
}

fn follow(draft: &mut Draft<'_>, analysis: &ExperimentAnalysis, status: &mut ExperimentRunStatus) {
    if is_final(status.phase()) {
        return;
    }
    if draft.observed.available.is_none() {
        if let Err(missing) = templates(draft, analysis) {
            let kind = missing.0.kind.name();
            let why = not_found(&missing);
            fail(status, format!("{kind} verification failed for analysis '{}': {why}", analysis.name));
        }
        // One that is told to end before it began asks nothing.
        if status.run.as_deref().unwrap_or("").is_empty() {
            return;
        }
    }
    let name = status.run.clone().unwrap_or_default();
    if name.is_empty() {
        if !draft.is_terminating {
            begin(draft, analysis, status);
        }
        return;
    }
    let Some(run) = current(draft, &name, status) else { return };
    let Some(body) = run.analysis_run() else { return };
    // ARGO: the reference never looks at a run again that it has told to end, and so never ends itself (A5).
    if draft.is_terminating && !body.status.is_over() {
        terminate(draft, analysis, &run);
        return;
    }
    if !body.status.phase().is_empty() {
        // ARGO: to the reference a run that was told to end has succeeded, and with it what it is required for (S20).
        let is_unanswered = analysis.is_required
            && body.spec.spec().terminate
            && body.status.phase() == "Successful"
            && !draft.facts.is_sabotaged(Sabotage::CancelledGatePasses);
        let phase = if is_unanswered { "Inconclusive" } else { body.status.phase() };
        status.phase = Some(phase.into());
        status.message = body.status.message.clone().filter(|message| !message.is_empty());
    }
}

/// The run that is recorded: as it is known, or as the API server has it.
fn current(draft: &mut Draft<'_>, name: &Text, status: &mut ExperimentRunStatus) -> Option<Arc<Object>> {
    if let Some(run) = draft.world.runs.get(name) {
        return Some(run.clone());
    }
    let key = Key::new(Kind::AnalysisRun, draft.world.experiment.meta.namespace.clone(), name.clone());
    match draft.facts.live.get(&key) {
        Some(Some(run)) => Some(run.clone()),
        None if draft.facts.is_sabotaged(Sabotage::TrustTheCache) => {
            fail(status, format!("analysisruns.argoproj.io \"{name}\" not found"));
            None
        }
        Some(None) => {
            fail(status, format!("analysisruns.argoproj.io \"{name}\" not found"));
            None
        }
        None => {
            draft.needs.push(Need::Live(key));
            None
        }
    }
}

fn terminate(draft: &mut Draft<'_>, analysis: &ExperimentAnalysis, run: &Arc<Object>) {
    let is_told = run.analysis_run().is_some_and(|body| body.spec.spec().terminate);
    if is_told || run.meta.deleting.is_some() {
        return;
    }
    let message = format!("Terminating {} ({})", analysis.name, run.meta.name);
    let notice = draft.notice(&draft.world.experiment, false, "AnalysisRunTerminating", &message);
    let guard = Guard::Identity(run.meta.uid.clone());
    draft.write(run.key(), guard, Verb::Edit(vec![Edit::Terminate]), vec![notice], IfRefused::GoOn);
}

fn fail(status: &mut ExperimentRunStatus, message: String) {
    status.phase = Some("Error".into());
    status.message = Some(message.into());
}

/// In the words of the API server.
fn not_found(missing: &Missing) -> String {
    format!("{}.argoproj.io \"{}\" not found", missing.0.kind.name().to_lowercase(), missing.0.name)
}

fn templates(draft: &Draft<'_>, analysis: &ExperimentAnalysis) -> Result<Vec<Arc<Object>>, Missing> {
    let find = |key: &Key| draft.world.templates.get(key).cloned();
    let references = std::slice::from_ref(&analysis.template);
    collect(references, &draft.world.experiment.meta.namespace, &find)
}

/// The run that answers from now on: one that exists and asks the same, else a new one.
fn begin(draft: &mut Draft<'_>, analysis: &ExperimentAnalysis, status: &mut ExperimentRunStatus) {
    let failed =
        |why: String| format!("Failed to create AnalysisRun for analysis '{}': {why}", analysis.name);
    let spec = match spec_of(draft, analysis) {
        Ok(spec) => spec,
        Err(why) => return fail(status, failed(why)),
    };
    let base = format!("{}-{}", draft.name(), analysis.name);
    let mut number = 0_u64;
    let name = loop {
        let name = Text::from(if number == 0 { base.clone() } else { format!("{base}.{number}") });
        let Some(standing) = draft.world.runs.get(&name) else { break name };
        if is_adoptable(standing, &draft.world.experiment, &spec) {
            status.run = Some(name);
            status.phase = Some("Pending".into());
            return;
        }
        number += 1;
    };
    let object = Arc::new(object(draft, &name, &spec));
    if let Some(why) = draft.refusal(&object.key()) {
        return fail(status, failed(why.to_string()));
    }
    if !draft.may_make() {
        return;
    }
    draft.plan.reasons.push(Reason::Note(format!("asks {name}").into()));
    draft.write(object.key(), Guard::Absent, Verb::Create(object), Vec::new(), IfRefused::Tell);
    status.run = Some(name);
    status.phase = Some("Pending".into());
}

fn is_adoptable(run: &Object, experiment: &Object, spec: &AnalysisSpec) -> bool {
    let Some(body) = run.analysis_run() else { return false };
    is_controlled_by(run, &experiment.meta.uid)
        && body.spec.spec().asks_the_same(spec)
        && !body.status.is_over()
        && !body.spec.spec().terminate
        && run.meta.deleting.is_none()
}

fn spec_of(draft: &Draft<'_>, analysis: &ExperimentAnalysis) -> Result<AnalysisSpec, String> {
    let templates = templates(draft, analysis).map_err(|missing| not_found(&missing))?;
    let known = tags(draft);
    let value_of = |tag: &str| known.get(tag).map(String::as_str);
    let arg = |arg: &Argument| {
        let value = arg.value.as_ref().map(|value| fill(value, &value_of)).transpose()?;
        Ok(Argument { value: value.map(Text::from), ..arg.clone() })
    };
    let args = analysis.args.iter().map(arg).collect::<Result<Vec<_>, String>>()?;
    let (dry_run, retention) = (draft.spec.dry_run.clone(), draft.spec.retention.clone());
    run_of(&templates, &Additions { args, dry_run, retention })
}

/// What may stand in an argument, by its name.
fn tags(draft: &Draft<'_>) -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    for template in &draft.spec.templates {
        if let Some(set) = sets::of(draft, &template.name) {
            let of = format!("templates.{}", template.name);
            known.insert(format!("{of}.podTemplateHash"), set.hash().to_owned());
            known.insert(format!("{of}.replicaset.name"), set.name().to_owned());
        }
    }
    if let Some(available) = draft.observed.available {
        known.insert("experiment.availableAt".to_owned(), available.to_string());
    }
    if let Some(end) = draft.ends_at() {
        known.insert("experiment.finishedAt".to_owned(), end.stamp().to_string());
    }
    known
}

fn object(draft: &Draft<'_>, name: &Text, spec: &AnalysisSpec) -> Object {
    let experiment = &draft.world.experiment;
    let mut meta = Meta {
        name: name.clone(),
        namespace: experiment.meta.namespace.clone(),
        labels: draft.spec.labels.clone(),
        annotations: draft.spec.annotations.clone(),
        owners: vec![owner(experiment)],
        ..Meta::default()
    };
    if let Some(instance) = experiment.meta.labels.get(INSTANCE_LABEL).filter(|id| !id.is_empty()) {
        meta.labels.set(INSTANCE_LABEL, instance.clone());
    }
    Object {
        kind: Kind::AnalysisRun,
        meta,
        body: Body::AnalysisRun(
            AnalysisRunBody::new(spec.to_run()).with_status(AnalysisRunStatus::unbegun()),
        ),
    }
}

/// Tells of a phase, also to those who watch the Rollout: always as a warning there, as in the reference.
fn tell(draft: &mut Draft<'_>, analysis: &str, from: &str, status: &ExperimentRunStatus) {
    let to = status.phase();
    let mut message = format!("AnalysisRun '{analysis}' transitioned from {from} -> {to}");
    if let Some(why) = status.message.as_deref().filter(|why| !why.is_empty()) {
        message = format!("{message}: {why}");
    }
    let (reason, warning) = (format!("AnalysisRun{to}"), matches!(to, "Failed" | "Error" | "Inconclusive"));
    draft.tell(warning, &reason, &message);
    if let Some(rollout) = &draft.world.rollout {
        let notice = draft.notice(rollout, true, &reason, &message);
        draft.notices.push(notice);
    }
}
