//! What Prometheus reads about Experiments, analysis runs and their templates, as they are known at the scrape.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::analysis::AnalysisSpec;
use tidegate_api::object::{Kind, Object};
use tidegate_controller::manager::Manager;

use super::Gauges;

/// Phases of a run or an Experiment. The reference leaves Failed out for Experiments.
const PHASES: [&str; 6] = ["Pending", "Error", "Failed", "Successful", "Running", "Inconclusive"];

/// Providers by the key of their stanza, in the order in which the reference looks for them.
const PROVIDERS: [(&str, &str); 12] = [
    ("prometheus", "Prometheus"),
    ("job", "Job"),
    ("kayenta", "Kayenta"),
    ("web", "Web"),
    ("datadog", "Datadog"),
    ("wavefront", "Wavefront"),
    ("newRelic", "NewRelic"),
    ("cloudWatch", "CloudWatch"),
    ("graphite", "Graphite"),
    ("influxdb", "Influxdb"),
    ("skywalking", "skywalking"),
    ("plugin", "RPCPlugin"),
];

/// Adds all of it.
pub(super) fn known(gauges: &Gauges, manager: &Manager) -> Result<(), prometheus::Error> {
    let ours = |kind: Kind| {
        manager.cache().of_kind(&kind).filter(|object| manager.is_ours(object)).cloned().collect::<Vec<_>>()
    };
    for run in ours(Kind::AnalysisRun) {
        of_run(gauges, &run)?;
    }
    for template in [ours(Kind::AnalysisTemplate), ours(Kind::ClusterAnalysisTemplate)].concat() {
        of_template(gauges, &template)?;
    }
    for experiment in ours(Kind::Experiment) {
        let phase = experiment.experiment().map_or("", |body| body.status.phase());
        of_phases(gauges, &experiment, phase, "experiment", "an Experiment")?;
    }
    Ok(())
}

fn of_phases(
    gauges: &Gauges,
    object: &Object,
    phase: &str,
    word: &str,
    article: &str,
) -> Result<(), prometheus::Error> {
    const LABELS: &[&str] = &["namespace", "name", "phase"];
    let (namespace, name) = (&*object.meta.namespace, &*object.meta.name);
    let info = gauges.of(&format!("{word}_info"), &format!("One for {article}."), LABELS)?;
    info.set(&[namespace, name, phase], 1.0);
    let help = format!("Deprecated: phase of {article}; use {word}_info.");
    let phases = gauges.of(&format!("{word}_phase"), &help, LABELS)?;
    for known in PHASES {
        phases.set(&[namespace, name, known], is(known, phase));
    }
    Ok(())
}

/// A phase that is not written yet is Pending.
fn is(known: &str, phase: &str) -> f64 {
    f64::from(u8::from(known == phase || (known == "Pending" && phase.is_empty())))
}

fn of_run(gauges: &Gauges, run: &Arc<Object>) -> Result<(), prometheus::Error> {
    let Some(body) = run.analysis_run() else { return Ok(()) };
    let (namespace, name) = (&*run.meta.namespace, &*run.meta.name);
    of_phases(gauges, run, body.status.phase(), "analysis_run", "an AnalysisRun")?;
    let types = gauges.of(
        "analysis_run_metric_type",
        "Which provider measures a metric of an AnalysisRun.",
        &["namespace", "name", "metric", "type"],
    )?;
    let phases = gauges.of(
        "analysis_run_metric_phase",
        "Phase of a metric of an AnalysisRun.",
        &["namespace", "name", "metric", "type", "dry_run", "phase"],
    )?;
    for (metric, provider) in metrics(body.spec.spec()) {
        types.set(&[namespace, name, metric, provider], 1.0);
        let result = body.status.result(metric);
        let dry_run = result.is_some_and(|result| result.dry_run == Some(true)).to_string();
        let phase = result.map_or("", |result| result.phase());
        for known in PHASES {
            phases.set(&[namespace, name, metric, provider, &dry_run, known], is(known, phase));
        }
    }
    Ok(())
}

fn of_template(gauges: &Gauges, template: &Arc<Object>) -> Result<(), prometheus::Error> {
    let Some(body) = template.analysis_template() else { return Ok(()) };
    let (namespace, name) = (&*template.meta.namespace, &*template.meta.name);
    gauges
        .of("analysis_template_info", "One for each analysis template.", &["namespace", "name"])?
        .set(&[namespace, name], 1.0);
    let infos = gauges.of(
        "analysis_template_metric_info",
        "Which provider measures a metric of an analysis template.",
        &["namespace", "name", "type", "metric"],
    )?;
    for (metric, provider) in metrics(body.spec.spec()) {
        infos.set(&[namespace, name, provider, metric], 1.0);
    }
    Ok(())
}

/// Names of metrics, with the word for their provider.
fn metrics(spec: &AnalysisSpec) -> impl Iterator<Item = (&str, &'static str)> {
    let provider = |raw: &Value| {
        let known = PROVIDERS.iter().find(|(key, _)| !raw["provider"][*key].is_null());
        known.map_or("Unknown Provider", |(_, word)| *word)
    };
    spec.metrics.iter().map(move |raw| (raw["name"].as_str().unwrap_or(""), provider(raw)))
}
