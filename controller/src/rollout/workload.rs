//! The referenced workload: where the pod template comes from when it is not in the Rollout.
//!
//! The template is resolved anew in every pass and never written back. The workload's generation is noted in an
//! annotation of the Rollout, from where clients and the ReplicaSet's annotations have it.

use std::borrow::Cow;

use tidegate_api::object::{Body, Object, Selector, Template};
use tidegate_api::spec::{Spec, WorkloadRef, WorkloadScaleDown};

use super::draft::Draft;
use super::set::Set;
use crate::edit::Edit;
use crate::names::WORKLOAD_GENERATION;
use crate::plan::{IfRefused, Reason};
use crate::sabotage::Sabotage;
use crate::world::RolloutWorld;
use std::sync::Arc;

/// The specification with template and selector of the referenced workload, or why there are none.
pub fn resolve<'a>(world: &RolloutWorld, spec: &'a Spec) -> Result<Cow<'a, Spec>, String> {
    let Some(reference) = &spec.workload_ref else { return Ok(Cow::Borrowed(spec)) };
    let inline = |template: &Template| !template.labels.is_empty() || !template.annotations.is_empty();
    if spec.template.as_ref().is_some_and(inline) {
        return Err("template must be empty for workload reference rollout".to_owned());
    }
    check_kind(reference)?;
    let workload = world.workload.as_deref().ok_or_else(|| not_found(reference))?;
    let (template, selector) = template_of(workload)?;
    let mut resolved = spec.clone();
    resolved.template = Some(template);
    if resolved.selector.is_none() {
        resolved.selector = selector;
    }
    Ok(Cow::Owned(resolved))
}

fn group(reference: &WorkloadRef) -> &str {
    reference.api_version.split_once('/').map_or("", |(group, _)| group)
}

fn check_kind(reference: &WorkloadRef) -> Result<(), String> {
    match (group(reference), &*reference.kind) {
        ("apps", "Deployment" | "ReplicaSet") | ("", "PodTemplate") => Ok(()),
        (group, kind) => Err(format!("workload of type {group}/{kind} is not supported")),
    }
}

fn not_found(reference: &WorkloadRef) -> String {
    let plural = format!("{}s", reference.kind.to_ascii_lowercase());
    let resource = match group(reference) {
        "" => plural,
        group => format!("{plural}.{group}"),
    };
    format!("{resource} \"{}\" not found", reference.name)
}

fn template_of(workload: &Object) -> Result<(Template, Option<Arc<Selector>>), String> {
    match &workload.body {
        Body::Deployment(body) => Ok((body.template.clone(), Some(body.selector.clone()))),
        Body::ReplicaSet(body) => Ok((body.template.clone(), Some(body.selector.clone()))),
        Body::Other(value) => Ok((Template::from_value(value["template"].clone(), "template")?, None)),
        _ => Err("workload has no pod template".to_owned()),
    }
}

/// Notes the workload's generation in the Rollout. Says whether that ends the pass.
pub fn follow(draft: &mut Draft<'_>) -> bool {
    let rollout = draft.rollout().clone();
    let noted = rollout.meta.annotations.get(WORKLOAD_GENERATION);
    let wanted = match (&draft.spec.workload_ref, &draft.world.workload) {
        (Some(_), Some(workload)) => Some(workload.meta.generation.to_string()),
        _ => None,
    };
    // Without a reference the annotation is left alone: it is only looked at where there is one.
    let Some(wanted) = wanted else { return false };
    if noted.map(|text| &**text) == Some(&*wanted) {
        return false;
    }
    let edit = Edit::Annotation(WORKLOAD_GENERATION.into(), Some(wanted.into()));
    draft.edit(&rollout, vec![edit], Vec::new(), IfRefused::Stop);
    true
}

/// Scales the referenced Deployment down once the first revision is healthy (`onsuccess`).
pub fn retire_on_success(draft: &mut Draft<'_>) {
    let on_success = WorkloadScaleDown::OnSuccess;
    let healthy = draft.observed.phase.as_deref() == Some("Healthy");
    if draft.spec.workload_ref.as_ref().is_some_and(|r| r.scale_down == on_success)
        && draft.revision() == "1"
        && healthy
        && !draft.facts.is_sabotaged(Sabotage::KeepWorkload)
    {
        scale_workload(draft, 0, IfRefused::Stop);
    }
}

/// Scales the referenced Deployment down as pods of the first revision become ready (`progressively`).
/// `wished` is the size of the current ReplicaSet before this pass, `target` the one this pass gives it.
pub fn retire_progressively(draft: &mut Draft<'_>, wished: i64, target: i64) {
    let progressively = WorkloadScaleDown::Progressively;
    if draft.spec.workload_ref.as_ref().is_none_or(|r| r.scale_down != progressively)
        || draft.new_set().and_then(Set::revision) != Some(1)
    {
        return;
    }
    // The stored status may be older than the pods' troubles: what it counts must be there still (S25).
    let ready = draft.observed.ready.unwrap_or(0).min(draft.sum(Set::available));
    // ARGO: in the reference each later change of the wished number brings pods of the Deployment back (#4321).
    let is_over =
        draft.observed.condition("Healthy").is_some() && !draft.facts.is_sabotaged(Sabotage::ReturnWorkload);
    if is_over || draft.observed.phase.as_deref() == Some("Healthy") {
        scale_workload(draft, 0, IfRefused::GoOn);
    } else if let Some(n) = draft.spec.replicas
        && (ready > 0 || wished > target)
    {
        let left = match draft.facts.is_sabotaged(Sabotage::RetireWorkloadEarly) {
            true => 0,
            false => (n - ready).max(0),
        };
        scale_workload(draft, left, IfRefused::GoOn);
    }
}

fn scale_workload(draft: &mut Draft<'_>, target: i64, if_refused: IfRefused) {
    let Some(workload) = draft.world.workload.clone() else { return };
    let Body::Deployment(body) = &workload.body else { return };
    if body.wished() == target {
        return;
    }
    let because = "the rollout takes over from the workload".into();
    let set = format!("Deployment {}", workload.meta.name).into();
    draft.because(Reason::Scaling { set, from: body.wished(), to: target, because });
    draft.edit(&workload, vec![Edit::Replicas(target)], Vec::new(), if_refused);
}
