//! From JSON to [`Spec`]: a best effort whatever is wrong, noting every wrong type on the way.

use std::sync::Arc;

use serde_json::Value;

use super::field::{Field, Findings};
use super::numbers::int_or_percent;
use super::traffic;
use crate::analysis::RolloutAnalysis;
use crate::duration::{PauseSeconds, pause_seconds};
use crate::experiment::ExperimentStep;
use crate::object::{Selector, Template, Text};
use crate::problem::{Problem, ProblemKind};
use crate::spec::{
    AntiAffinity, BlueGreen, Canary, IntOrPercent, Pause, RoleMetadata, Spec, Step, StepKind, Strategy,
    Threshold, WorkloadRef, WorkloadScaleDown,
};
use crate::time::Stamp;

/// Reads a specification.
pub(super) fn spec(field: &Field<'_>, found: &mut Findings) -> Spec {
    field.mapping(found);
    let rollback_window = field.get("rollbackWindow");
    rollback_window.mapping(found);
    let limits = field.get("analysis");
    limits.mapping(found);
    Spec {
        replicas: field.get("replicas").int32(found),
        selector: selector(&field.get("selector"), found),
        template: template(&field.get("template"), found),
        workload_ref: workload_ref(&field.get("workloadRef"), found),
        min_ready_seconds: field.get("minReadySeconds").int32(found).unwrap_or(0),
        rollback_window: rollback_window.get("revisions").int32(found).unwrap_or(0),
        revision_history_limit: field.get("revisionHistoryLimit").int32(found).unwrap_or(10),
        paused: field.get("paused").boolean(found).unwrap_or(false),
        progress_deadline_seconds: field.get("progressDeadlineSeconds").int32(found).unwrap_or(600),
        progress_deadline_abort: field.get("progressDeadlineAbort").boolean(found).unwrap_or(false),
        restart_at: restart_at(&field.get("restartAt"), found),
        successful_run_history_limit: limits.get("successfulRunHistoryLimit").int32(found).unwrap_or(5),
        unsuccessful_run_history_limit: limits.get("unsuccessfulRunHistoryLimit").int32(found).unwrap_or(5),
        strategy: strategy(&field.get("strategy"), found),
    }
}

fn selector(field: &Field<'_>, found: &mut Findings) -> Option<Arc<Selector>> {
    field.mapping(found)?;
    field.get("matchLabels").strings(found);
    for expression in field.get("matchExpressions").mappings(found) {
        expression.get("key").text(found);
        expression.get("operator").text(found);
        for value in expression.get("values").list(found) {
            value.text(found);
        }
    }
    Some(Arc::new(Selector::from_value(Arc::new(field.value.clone()))))
}

fn template(field: &Field<'_>, found: &mut Findings) -> Option<Template> {
    field.mapping(found)?;
    let metadata = field.get("metadata");
    let mut document = field.value.clone();
    if metadata.mapping(found).is_some() {
        // Labels and annotations that are no text are noted and left out, so that the rest can be read.
        for name in ["labels", "annotations"] {
            let strings = metadata.get(name).strings(found);
            if metadata.get(name).is_set() {
                document["metadata"][name] = strings.to_value();
            }
        }
    } else if metadata.is_set() {
        document["metadata"] = Value::Null;
    }
    Template::from_value(document, &field.place).ok()
}

fn workload_ref(field: &Field<'_>, found: &mut Findings) -> Option<WorkloadRef> {
    field.mapping(found)?;
    Some(WorkloadRef {
        api_version: field.get("apiVersion").shared_text(found),
        kind: field.get("kind").shared_text(found),
        name: field.get("name").shared_text(found),
        scale_down: match field.get("scaleDown").text(found) {
            Some("onsuccess") => WorkloadScaleDown::OnSuccess,
            Some("progressively") => WorkloadScaleDown::Progressively,
            _ => WorkloadScaleDown::Never,
        },
    })
}

fn restart_at(field: &Field<'_>, found: &mut Findings) -> Option<Stamp> {
    let text = field.text(found)?;
    Stamp::parse(text).or_else(|| found.wrong_type(field, "must be a time such as 2026-01-01T00:00:00Z"))
}

fn strategy(field: &Field<'_>, found: &mut Findings) -> Strategy {
    field.mapping(found);
    let (of_canary, of_blue_green) = (field.get("canary"), field.get("blueGreen"));
    let canary = of_canary.mapping(found).map(|_| canary(&of_canary, found));
    let blue_green = of_blue_green.mapping(found).map(|_| blue_green(&of_blue_green, found));
    match (canary, blue_green) {
        (Some(canary), None) => Strategy::Canary(Box::new(canary)),
        (None, Some(blue_green)) => Strategy::BlueGreen(Box::new(blue_green)),
        _ => Strategy::Unclear,
    }
}

fn canary(field: &Field<'_>, found: &mut Findings) -> Canary {
    let steps = field.get("steps");
    Canary {
        canary_service: field.get("canaryService").shared_text(found),
        stable_service: field.get("stableService").shared_text(found),
        steps: steps.list(found).iter().map(|field| step(field, found)).collect(),
        steps_hash: hash_of_steps(steps.is_set().then_some(steps.value)),
        max_surge: share(&field.get("maxSurge"), found),
        max_unavailable: share(&field.get("maxUnavailable"), found),
        anti_affinity: anti_affinity(&field.get("antiAffinity"), found),
        canary_metadata: role_metadata(&field.get("canaryMetadata"), found),
        stable_metadata: role_metadata(&field.get("stableMetadata"), found),
        scale_down_delay_seconds: field.get("scaleDownDelaySeconds").int32(found),
        scale_down_delay_revision_limit: field.get("scaleDownDelayRevisionLimit").int32(found),
        abort_scale_down_delay_seconds: field.get("abortScaleDownDelaySeconds").int32(found),
        dynamic_stable_scale: field.get("dynamicStableScale").boolean(found).unwrap_or(false),
        min_pods_per_replica_set: field.get("minPodsPerReplicaSet").int32(found),
        threshold: threshold(&field.get("replicaProgressThreshold"), found),
        traffic_routing: traffic::routing(&field.get("trafficRouting"), found),
        analysis: analysis(&field.get("analysis"), found),
        ping_pong: traffic::ping_pong(&field.get("pingPong"), found),
    }
}

fn blue_green(field: &Field<'_>, found: &mut Findings) -> BlueGreen {
    let active_service = field.get("activeService");
    if !active_service.is_set() {
        found.refused(Problem::required(&active_service.place, "the Service for production traffic"));
    }
    BlueGreen {
        active_service: active_service.shared_text(found),
        preview_service: field.get("previewService").shared_text(found),
        preview_replica_count: field.get("previewReplicaCount").int32(found),
        auto_promotion: field.get("autoPromotionEnabled").boolean(found).unwrap_or(true),
        auto_promotion_seconds: field.get("autoPromotionSeconds").int32(found).unwrap_or(0),
        max_unavailable: share(&field.get("maxUnavailable"), found),
        scale_down_delay_seconds: field.get("scaleDownDelaySeconds").int32(found),
        scale_down_delay_revision_limit: field.get("scaleDownDelayRevisionLimit").int32(found),
        abort_scale_down_delay_seconds: field.get("abortScaleDownDelaySeconds").int32(found),
        anti_affinity: anti_affinity(&field.get("antiAffinity"), found),
        preview_metadata: role_metadata(&field.get("previewMetadata"), found),
        active_metadata: role_metadata(&field.get("activeMetadata"), found),
        pre_promotion_analysis: analysis(&field.get("prePromotionAnalysis"), found),
        post_promotion_analysis: analysis(&field.get("postPromotionAnalysis"), found),
    }
}

fn step(field: &Field<'_>, found: &mut Findings) -> Step {
    field.mapping(found);
    if field.value.is_null() {
        found.wrong_type::<()>(field, "must be a mapping");
    }
    let weight = field.get("setWeight").int32(found);
    let pauses = field.get("pause").mapping(found).is_some();
    let pause = pause(&field.get("pause").get("duration"), found);
    let analysis = analysis(&field.get("analysis"), found).unwrap_or_default();
    let experiment = experiment(&field.get("experiment"), found);
    let scale = traffic::canary_scale(&field.get("setCanaryScale"), found);
    let mut has = |name: &str| field.get(name).mapping(found).is_some();
    // The order in which completion is judged, so that the first key of a step that has several decides.
    let others = [
        (has("setCanaryScale"), StepKind::SetCanaryScale(scale)),
        (weight.is_some(), StepKind::SetWeight(weight.unwrap_or_default())),
        (has("experiment"), StepKind::Experiment(experiment)),
        (has("analysis"), StepKind::Analysis(analysis)),
        (has("setHeaderRoute"), StepKind::SetHeaderRoute),
        (has("setMirrorRoute"), StepKind::SetMirrorRoute),
        (has("plugin"), StepKind::Plugin),
    ];
    let first =
        std::iter::once((pauses, StepKind::Pause(pause))).chain(others).find(|(is_there, _)| *is_there);
    let kind = first.map_or(StepKind::Empty, |(_, kind)| kind);
    Step { kind, weight, raw: Arc::new(field.value.clone()) }
}

/// A duration that cannot be understood waits for ever: nothing may move on because of a typing error.
fn pause(field: &Field<'_>, found: &mut Findings) -> Pause {
    match field.value {
        Value::Null => return Pause::Forever,
        Value::Number(_) if field.int32(found).is_none() => return Pause::Forever,
        Value::Number(_) | Value::String(_) => {}
        _ => {
            found.wrong_type(field, "must be a number of seconds or a text such as 1h30m").unwrap_or_default()
        }
    }
    match pause_seconds(field.value) {
        PauseSeconds::Seconds(seconds) if seconds >= 0 => {
            let written = field.value.as_str().map_or_else(|| seconds.to_string(), str::to_owned);
            Pause::Seconds(seconds, written.into())
        }
        _ => Pause::Forever,
    }
}

fn share(field: &Field<'_>, found: &mut Findings) -> IntOrPercent {
    match field.value {
        Value::Null | Value::String(_) => {}
        Value::Number(_) if field.int32(found).is_some() => {}
        Value::Number(_) => return IntOrPercent::default(),
        _ => {
            found.wrong_type::<()>(field, "must be a number or a text such as 25%");
            return IntOrPercent::default();
        }
    }
    int_or_percent(field.value)
}

fn anti_affinity(field: &Field<'_>, found: &mut Findings) -> Option<AntiAffinity> {
    field.mapping(found)?;
    let preferred = field.get("preferredDuringSchedulingIgnoredDuringExecution");
    let required = field.get("requiredDuringSchedulingIgnoredDuringExecution");
    if required.mapping(found).is_some() {
        return Some(AntiAffinity::Required);
    }
    preferred.mapping(found)?;
    Some(AntiAffinity::Preferred(preferred.get("weight").int32(found).unwrap_or(0)))
}

fn role_metadata(field: &Field<'_>, found: &mut Findings) -> Option<RoleMetadata> {
    field.mapping(found)?;
    Some(RoleMetadata {
        labels: field.get("labels").strings(found),
        annotations: field.get("annotations").strings(found),
    })
}

fn threshold(field: &Field<'_>, found: &mut Findings) -> Option<Threshold> {
    field.mapping(found)?;
    let (kind, value) = (field.get("type"), field.get("value"));
    for needed in [&kind, &value] {
        if !needed.is_set() {
            found.refused(Problem::required(&needed.place, "a threshold has a type and a value"));
        }
    }
    match (kind.text(found), value.int32(found)) {
        (Some("Percent"), Some(value)) => Some(Threshold::Percent(value)),
        (Some("Pods"), Some(value)) => Some(Threshold::Pods(value)),
        (Some(other), Some(_)) => {
            let allowed = vec!["Percent".to_owned(), "Pods".to_owned()];
            found.refused(Problem::new(&kind.place, ProblemKind::NotSupported(other.into(), allowed), ""));
            None
        }
        _ => None,
    }
}

fn analysis(field: &Field<'_>, found: &mut Findings) -> Option<Arc<RolloutAnalysis>> {
    field.mapping(found)?;
    for template in field.get("templates").mappings(found) {
        template.get("templateName").text(found);
        template.get("clusterScope").boolean(found);
    }
    for arg in field.get("args").mappings(found) {
        arg.get("name").text(found);
        arg.get("value").text(found);
        arg.get("valueFrom").get("podTemplateHashValue").text(found);
        arg.get("valueFrom").get("fieldRef").get("fieldPath").text(found);
    }
    for rule in field.get("dryRun").mappings(found) {
        rule.get("metricName").text(found);
    }
    for rule in field.get("measurementRetention").mappings(found) {
        rule.get("metricName").text(found);
        rule.get("limit").int32(found);
    }
    let metadata = field.get("analysisRunMetadata");
    metadata.get("labels").strings(found);
    metadata.get("annotations").strings(found);
    field.get("startingStep").int32(found);
    Some(Arc::new(RolloutAnalysis::read(field.value)))
}

fn experiment(field: &Field<'_>, found: &mut Findings) -> Arc<ExperimentStep> {
    field.mapping(found);
    for template in field.get("templates").mappings(found) {
        template.get("name").text(found);
        template.get("specRef").text(found);
        template.get("replicas").int32(found);
        template.get("weight").int32(found);
        template.get("metadata").get("labels").strings(found);
        template.get("metadata").get("annotations").strings(found);
        template.get("service").get("name").text(found);
    }
    for analysis in field.get("analyses").mappings(found) {
        analysis.get("name").text(found);
        analysis.get("templateName").text(found);
        analysis.get("clusterScope").boolean(found);
        analysis.get("requiredForCompletion").boolean(found);
        for arg in analysis.get("args").mappings(found) {
            arg.get("name").text(found);
            arg.get("value").text(found);
        }
    }
    field.get("duration").text(found);
    field.get("scaleDownDelaySeconds").int32(found);
    Arc::new(ExperimentStep::read(field.value))
}

fn hash_of_steps(steps: Option<&Value>) -> Text {
    crate::schema::steps_hash(steps).into()
}
