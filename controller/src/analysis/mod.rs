//! Analyses: what is measured, and what the measurements mean.
//!
//! [`plan`] decides about one AnalysisRun, as [`crate::rollout::plan`] does about a Rollout: it lists what must be asked,
//! gets the answers as facts, and returns writes. Where an answer comes from matters to nobody here: a lost one is asked
//! for again.

pub mod args;
pub mod assess;
pub mod condition;
pub mod expr;
pub mod job;
pub mod measure;
pub mod placeholders;
pub mod rules;
pub mod schedule;
pub mod secrets;
pub mod templates;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::analysis::{AnalysisSpec, Metric};
use tidegate_api::object::{
    AnalysisRunStatus, Key, Kind, Measurement, MetricResult, Object, Strings, Text, is_final,
};
use tidegate_api::time::{Span, Time};
use tidegate_api::validate::metric_problem;

use crate::cache::Cache;
use crate::edit::Edit;
use crate::plan::{Guard, IfRefused, Need, Notice, Plan, Reason, Verb, Wake, Write};
use crate::providers::Surroundings;
use crate::sabotage::Sabotage;
use crate::world::Facts;
use args::Values;
use assess::{bump, is_terminating};
use rules::Rules;
use schedule::Task;
use secrets::Masks;

/// Everything one run's decision may look at.
#[derive(Clone, Debug)]
pub struct RunWorld {
    /// The run.
    pub run: Arc<Object>,
    /// Its Jobs, as far as they are known.
    pub jobs: Vec<Arc<Object>>,
    /// Their pods.
    pub pods: Vec<Arc<Object>>,
    /// Where its Jobs are made.
    pub job_namespace: Text,
    /// What the operator set for providers.
    pub surroundings: Arc<Surroundings>,
}

impl RunWorld {
    /// Copies what this run may look at out of the cache; nothing when it is not there.
    pub fn gather(
        cache: &Cache,
        key: &Key,
        job_namespace: Option<&Text>,
        surroundings: &Arc<Surroundings>,
    ) -> Option<RunWorld> {
        let run = cache.get(key)?.clone();
        run.analysis_run()?;
        let job_namespace = job_namespace.unwrap_or(&run.meta.namespace).clone();
        let prefix = format!("{}.", run.meta.uid);
        let jobs: Vec<Arc<Object>> = cache.named_like(&Kind::Job, &job_namespace, &prefix).cloned().collect();
        let pods = jobs.iter().flat_map(|job| cache.owned_by(&job.meta.uid, Kind::Pod)).cloned().collect();
        Some(RunWorld { run, jobs, pods, job_namespace, surroundings: surroundings.clone() })
    }
}

/// How far an attempt to measure has come.
#[derive(Clone, PartialEq, Debug)]
pub enum Attempt {
    /// Something must be asked first.
    Needs(Vec<Need>),
    /// There is a measurement, perhaps one in flight, once these writes are done.
    Taken {
        /// The measurement.
        measurement: Measurement,
        /// What it needs in the cluster.
        writes: Vec<Write>,
    },
}

impl Attempt {
    /// A measurement that needs nothing more.
    pub fn taken(measurement: Measurement) -> Attempt {
        Attempt::Taken { measurement, writes: Vec::new() }
    }
}

/// Decides what happens next with one run. Total: every world, however broken, yields a plan.
pub fn plan(world: &RunWorld, facts: &Facts, now: Time) -> Plan {
    let Some(body) = world.run.analysis_run() else { return Plan::default() };
    if world.run.meta.deleting.is_some() {
        return Plan::default();
    }
    if body.status.is_over() {
        if facts.is_sabotaged(Sabotage::WakeForTheDead) {
            return Plan { wake: Wake::At(now.plus(Span::seconds(1))), ..Plan::default() };
        }
        return expire(world, body.spec.spec(), &body.status, now);
    }
    let spec = body.spec.spec();
    let (metrics, rules) = match understand(spec) {
        Ok(understood) => understood,
        Err(why) => return refuse(world, why),
    };
    let due = metrics.iter().enumerate();
    let tasks: Vec<(usize, Task)> =
        due.filter_map(|(index, metric)| Some((index, task_of(world, facts, spec, metric, now)?))).collect();
    let mut draft = RunDraft::new(world, facts, now, &rules);
    // Arguments are resolved at the first look even where nothing is due: what cannot be had ends the run at once.
    if !tasks.is_empty() || body.status.started.is_none() {
        let (values, masks) = match draft.read_secrets(spec) {
            Ok(resolved) => resolved,
            Err(SecretTrouble::Needs(needs)) => return Plan { needs, ..Plan::default() },
            Err(SecretTrouble::Missing(why)) => {
                return refuse(world, format!("Unable to resolve metric arguments: {why}"));
            }
        };
        let needs = match draft.execute(spec, &metrics, &tasks, &values, &masks) {
            Ok(needs) => needs,
            Err(why) => return refuse(world, format!("Unable to resolve metric arguments: {why}")),
        };
        if !needs.is_empty() {
            return Plan { needs, ..Plan::default() };
        }
        if facts.is_sabotaged(Sabotage::GiveUpOnGaps) && draft.has_gap() {
            return Plan { failure: Some("a value that nobody counted on".into()), ..Plan::default() };
        }
    }
    draft.finish(spec, &metrics)
}

/// The metrics of a run as they are judged, with a place instead of each secret, and its rules.
fn understand(spec: &AnalysisSpec) -> Result<(Vec<Metric>, Rules), String> {
    let unresolved = |why: String| format!("Unable to resolve metric arguments: {why}");
    let invalid = |why: String| format!("Analysis spec invalid: {why}");
    let values = args::without_secrets(&spec.args).map_err(unresolved)?;
    let metrics = spec
        .metrics
        .iter()
        .map(|metric| args::resolve(metric, &values))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unresolved)?;
    if let Some(problem) = metric_problem(&metrics) {
        return Err(invalid(problem));
    }
    let rules = Rules::of(spec, &metrics).map_err(invalid)?;
    Ok((metrics, rules))
}

fn task_of(world: &RunWorld, facts: &Facts, spec: &AnalysisSpec, metric: &Metric, now: Time) -> Option<Task> {
    let status = &world.run.analysis_run()?.status;
    let task = schedule::task(metric, status, spec.terminate, now);
    if task.is_none() && job::is_job(metric) {
        // A Job that is over is looked at at once.
        let last =
            status.result(&metric.name).filter(|result| !result.is_over()).and_then(MetricResult::last)?;
        let is_over = job::is_over(world, last) && !facts.is_sabotaged(Sabotage::IgnoreFailedJobs);
        return (last.finished.is_none() && is_over).then_some(Task::Resume);
    }
    task
}

/// Ends a run whose specification makes no sense. Nothing revives it, and it has no time of completion.
fn refuse(world: &RunWorld, why: String) -> Plan {
    let Some(body) = world.run.analysis_run() else { return Plan::default() };
    let mut status = (*body.status).clone();
    status.phase = Some("Error".into());
    status.message = Some(why.as_str().into());
    let ended = notice(world, "Error", "AnalysisRunError", "Analysis Completed. Result: Error".to_owned());
    let mut plan = Plan { reasons: vec![Reason::Refused(why.into())], ..Plan::default() };
    plan.writes.extend(status_write(world, status, vec![ended]));
    plan
}

fn notice(world: &RunWorld, phase: &str, reason: &str, message: String) -> Notice {
    Notice {
        about: world.run.key(),
        uid: world.run.meta.uid.clone(),
        warning: matches!(phase, "Failed" | "Error"),
        reason: reason.into(),
        message: message.into(),
    }
}

fn version(run: &Object) -> Guard {
    Guard::Version { uid: run.meta.uid.clone(), resource_version: run.meta.resource_version }
}

fn status_write(world: &RunWorld, status: AnalysisRunStatus, notices: Vec<Notice>) -> Option<Write> {
    let old = &world.run.analysis_run()?.status;
    if old.means(&status) {
        return None;
    }
    Some(Write {
        key: world.run.key(),
        guard: version(&world.run),
        verb: Verb::Edit(vec![Edit::RunStatus(old.clone(), Arc::new(status))]),
        notices,
        if_refused: IfRefused::Stop,
    })
}

/// A run that is over goes when its time has come, if it says when.
fn expire(world: &RunWorld, spec: &AnalysisSpec, status: &AnalysisRunStatus, now: Time) -> Plan {
    let (Some(ttl), Some(completed)) = (spec.ttl, status.completed) else { return Plan::default() };
    let of_phase = match status.phase() {
        "Successful" => ttl.success,
        "Failed" => ttl.failure,
        _ => None,
    };
    let Some(seconds) = of_phase.or(ttl.completion) else { return Plan::default() };
    let age = now.since(completed.time()).0.div_euclid(1000);
    if age <= seconds {
        // ARGO: the reference sets no alarm and notices when it looks for another reason.
        let at = completed.plus_seconds(seconds.saturating_add(1)).time();
        return Plan { wake: Wake::At(at), ..Plan::default() };
    }
    let gone = Write {
        key: world.run.key(),
        guard: version(&world.run),
        verb: Verb::Delete,
        notices: Vec::new(),
        if_refused: IfRefused::Stop,
    };
    let why = format!("its {seconds} s are over");
    Plan { writes: vec![gone], reasons: vec![Reason::Note(why.into())], ..Plan::default() }
}

/// A look at a run in the making.
struct RunDraft<'a> {
    world: &'a RunWorld,
    facts: &'a Facts,
    now: Time,
    rules: &'a Rules,
    status: AnalysisRunStatus,
    writes: Vec<Write>,
    reasons: Vec<Reason>,
}

enum SecretTrouble {
    Needs(Vec<Need>),
    Missing(String),
}

impl<'a> RunDraft<'a> {
    fn new(world: &'a RunWorld, facts: &'a Facts, now: Time, rules: &'a Rules) -> RunDraft<'a> {
        let status = world.run.analysis_run().map(|body| (*body.status).clone()).unwrap_or_default();
        RunDraft { world, facts, now, rules, status, writes: Vec::new(), reasons: Vec::new() }
    }

    /// The values of all arguments, once each Secret that they name was read.
    fn read_secrets(&self, spec: &AnalysisSpec) -> Result<(Values, Masks), SecretTrouble> {
        let namespace = &self.world.run.meta.namespace;
        let mut known = BTreeMap::new();
        let mut needs = Vec::new();
        for secret in args::secrets_of(&spec.args) {
            let key = Key::new(Kind::Secret, namespace.clone(), secret.name.clone());
            match self.facts.secrets.get(&key) {
                Some(data) => drop(known.insert(secret.name, data.clone())),
                None if needs.contains(&Need::Live(key.clone())) => {}
                None => needs.push(Need::Live(key)),
            }
        }
        if !needs.is_empty() {
            return Err(SecretTrouble::Needs(needs));
        }
        args::with_secrets(&spec.args, &known).map_err(SecretTrouble::Missing)
    }

    /// Does what is due. All measurements of a look are taken together; what they need is asked for together.
    fn execute(
        &mut self,
        spec: &AnalysisSpec,
        metrics: &[Metric],
        tasks: &[(usize, Task)],
        values: &Values,
        masks: &Masks,
    ) -> Result<Vec<Need>, String> {
        let mut needs = Vec::new();
        let mut taken = Vec::new();
        for (index, task) in tasks {
            // A name is the one without secrets, as in planning.
            let name = metrics[*index].name.clone();
            let metric = Metric { name, ..args::resolve(&spec.metrics[*index], values)? };
            match self.attempt(&metric, *task, masks) {
                Attempt::Needs(more) => needs.extend(more),
                Attempt::Taken { measurement, writes } => taken.push((metric, *task, measurement, writes)),
            }
        }
        if needs.is_empty() {
            for (metric, task, measurement, writes) in taken {
                self.writes.extend(writes);
                self.note(&metric, task, measurement, masks);
            }
        }
        Ok(needs)
    }

    fn attempt(&self, metric: &Metric, task: Task, masks: &Masks) -> Attempt {
        let result = self.status.result(&metric.name);
        let in_flight = result.and_then(MetricResult::last).cloned().unwrap_or_default();
        if job::is_job(metric) {
            return match task {
                Task::Start => job::start(self.world, self.facts, metric, result, self.now),
                Task::Resume => job::resume(self.world, self.facts, &in_flight, self.now),
                Task::Terminate => job::terminate(self.facts, &in_flight, self.now),
            };
        }
        measure::attempt(self.world, self.facts, metric, result, task, masks, self.now)
    }

    /// Whether a provider answered nothing, with which the reference goes on as with something.
    fn has_gap(&self) -> bool {
        let last = self.status.results.iter().flatten().filter_map(MetricResult::last);
        let mut messages = last.filter_map(|measurement| measurement.message.as_deref());
        messages.any(|message| message.contains("nil or empty"))
    }

    /// Puts a measurement into the status and counts it.
    fn note(&mut self, metric: &Metric, task: Task, measurement: Measurement, masks: &Masks) {
        let dry_run = self.rules.dry_run.contains(&metric.name);
        let about = measure::about(self.world, self.facts, metric, masks, self.now);
        let about = Some(hidden_all(&about, masks)).filter(|about| !about.is_empty());
        let results = self.status.results.get_or_insert_default();
        let index = results.iter().position(|result| result.name.as_deref() == Some(&*metric.name));
        let index = index.unwrap_or_else(|| {
            results.push(MetricResult {
                name: Some(metric.name.clone()),
                phase: Some("Running".into()),
                dry_run: dry_run.then_some(true),
                metadata: about,
                ..MetricResult::default()
            });
            results.len() - 1
        });
        let result = &mut results[index];
        let mut measurement = hidden(measurement, masks);
        if is_final(measurement.phase()) {
            measurement.finished.get_or_insert(self.now.stamp());
            count(result, measurement.phase());
            if measurement.phase() == "Error" && self.facts.is_sabotaged(Sabotage::ErrorsCount) {
                bump(&mut result.count);
            }
        }
        let said = format!("{} measured {}", metric.name, measurement.phase());
        self.reasons.push(Reason::Note(said.into()));
        let measurements = result.measurements.get_or_insert_default();
        if task != Task::Start {
            measurements.pop();
        }
        measurements.push(measurement);
    }

    fn finish(mut self, spec: &AnalysisSpec, metrics: &[Metric]) -> Plan {
        let dry_run = &self.rules.dry_run;
        let (decided, changed) =
            assess::assess(&mut self.status, metrics, dry_run, spec.terminate, self.now.stamp());
        if self.facts.is_sabotaged(Sabotage::DecideAtOnce) {
            self.status.phase = Some("Successful".into());
        }
        let mut notices = Vec::new();
        for one in decided {
            let message = format!("Metric '{}' Completed. Result: {}", one.metric, one.phase);
            notices.push(notice(self.world, one.phase, &format!("Metric{}", one.phase), message));
        }
        if changed && self.status.is_over() {
            let phase = self.status.phase().to_owned();
            let message = format!("Analysis Completed. Result: {phase}");
            notices.push(notice(self.world, &phase, &format!("AnalysisRun{phase}"), message));
        }
        if self.facts.is_sabotaged(Sabotage::FirstMetricDecides)
            && let Some(over) = self.status.results.iter().flatten().find(|result| result.is_over())
        {
            self.status.phase = Some(over.phase().into());
        }
        let cleaned = self.trim(metrics);
        let next = schedule::next(metrics, &self.status).filter(|_| !self.status.is_over());
        let ends_next = !self.status.is_over() && is_terminating(spec.terminate, &self.status);
        let mut plan = Plan { reasons: std::mem::take(&mut self.reasons), ..Plan::default() };
        plan.writes = std::mem::take(&mut self.writes);
        // The status comes last: a run that is over is never looked at again.
        plan.writes.extend(cleaned);
        plan.writes.extend(status_write(self.world, self.status, notices));
        if let Some(at) = next.filter(|_| !self.facts.is_sabotaged(Sabotage::NoNextMeasurement)) {
            plan.wake = Wake::At(at.plus(Span::millis(1)));
            plan.reasons.push(Reason::Until { what: "the next measurement".into(), at });
        }
        if ends_next {
            // The status that this look writes brings the next one, which ends the run.
            plan.reasons.push(Reason::WaitingFor("the other metrics to end".into()));
        }
        plan
    }

    /// Keeps the newest measurements only; a status does not grow for ever.
    // ARGO: the reference does not, while the provider of the metric cannot be set up.
    fn trim(&mut self, metrics: &[Metric]) -> Vec<Write> {
        let mut cleaned = Vec::new();
        if self.facts.is_sabotaged(Sabotage::KeepMeasurements) {
            return cleaned;
        }
        for result in self.status.results.iter_mut().flatten() {
            let name = result.name.clone().unwrap_or_default();
            let kept = self.rules.kept(&name);
            let measurements = result.measurements.get_or_insert_default();
            let excess = measurements.len().saturating_sub(kept);
            if excess == 0 {
                continue;
            }
            measurements.drain(..excess);
            if metrics.iter().any(|metric| metric.name == name && job::is_job(metric)) {
                cleaned.extend(job::clean_up(self.world, &name, kept));
            }
        }
        cleaned
    }
}

/// A measurement without secrets.
fn hidden(measurement: Measurement, masks: &Masks) -> Measurement {
    let hide = |text: &Text| Text::from(masks.hide(text));
    Measurement {
        message: measurement.message.as_ref().map(hide),
        value: measurement.value.as_ref().map(hide),
        metadata: measurement.metadata.map(|map| hidden_all(&map, masks)),
        ..measurement
    }
}

fn hidden_all(map: &Strings, masks: &Masks) -> Strings {
    map.iter().map(|(key, value)| (masks.hide(key), masks.hide(value))).collect()
}

/// Counts a measurement that is over.
pub fn count(result: &mut MetricResult, phase: &str) {
    let counter = match phase {
        "Successful" => &mut result.successful,
        "Failed" => &mut result.failed,
        "Inconclusive" => &mut result.inconclusive,
        _ => &mut result.error,
    };
    bump(counter);
    if phase == "Error" {
        bump(&mut result.consecutive_error);
    } else {
        bump(&mut result.count);
        result.consecutive_error = None;
    }
    if phase == "Successful" {
        bump(&mut result.consecutive_success);
    } else {
        result.consecutive_success = None;
    }
}

#[cfg(test)]
mod tests;
