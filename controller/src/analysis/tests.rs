//! Runs from their first look to their last, measured by Jobs whose outcomes are given. Vectors S1 to S31.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use tidegate_api::object::Body;

use super::*;

const START: Time = Time(1_767_225_600_000);

/// A run, and the cluster around it as far as it matters.
struct Life {
    world: RunWorld,
    now: Time,
    /// Outcomes to come, by metric: Successful, Failed, Inconclusive, Error; without one the Job goes on for ever.
    outcomes: BTreeMap<String, VecDeque<char>>,
    secrets: BTreeMap<Key, Result<SecretData, Text>>,
    /// What a refused Job is told.
    refusal: Text,
    events: Vec<String>,
    deleted: bool,
    looks: usize,
}

use super::secrets::SecretData;

impl Life {
    fn new(spec: Value, outcomes: &[(&str, &str)]) -> Life {
        let mut spec = spec;
        for metric in spec["metrics"].as_array_mut().into_iter().flatten() {
            if metric.get("name").is_none() {
                metric["name"] = json!("m");
            }
            if metric.get("provider").is_none() {
                metric["provider"] = json!({"job": {"spec": {}}});
            }
        }
        let run = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
            "metadata": {"name": "run", "namespace": "n", "uid": "u", "resourceVersion": "1"}, "spec": spec});
        let run = Arc::new(Object::from_value(run).expect("a run"));
        let surroundings = Arc::default();
        let world =
            RunWorld { run, jobs: Vec::new(), pods: Vec::new(), job_namespace: "n".into(), surroundings };
        let queue = |(name, all): &(&str, &str)| {
            ((*name).to_owned(), all.chars().filter(|c| !c.is_whitespace()).collect())
        };
        Life {
            world,
            now: START,
            outcomes: outcomes.iter().map(queue).collect(),
            secrets: BTreeMap::new(),
            refusal: "no quota".into(),
            events: Vec::new(),
            deleted: false,
            looks: 0,
        }
    }

    fn status(&self) -> &AnalysisRunStatus {
        &self.world.run.analysis_run().expect("a run").status
    }

    fn message(&self) -> &str {
        self.status().message.as_deref().unwrap_or("")
    }

    fn result(&self, name: &str) -> MetricResult {
        self.status().result(name).cloned().unwrap_or_default()
    }

    fn edit(&mut self, edit: &Edit) {
        let mut run = (*self.world.run).clone();
        edit.apply(&mut run).expect("fits");
        run.meta.resource_version += 1;
        self.world.run = Arc::new(run);
    }

    /// One look, with everything that it asks and writes. Says whether it wrote, and when it wants to look again.
    fn look(&mut self) -> (bool, Wake) {
        self.looks += 1;
        assert!(self.looks < 500, "it never rests: {:?}", self.status());
        let mut facts = Facts::default();
        loop {
            let plan = plan(&self.world, &facts, self.now);
            for need in &plan.needs {
                match need {
                    Need::Live(key) if key.kind == Kind::Secret => {
                        let missing = Err(format!("secrets \"{}\" not found", key.name).into());
                        facts.secrets.insert(key.clone(), self.secrets.get(key).cloned().unwrap_or(missing));
                    }
                    Need::Live(key) => {
                        let job = self.world.jobs.iter().find(|job| job.key() == *key).cloned();
                        facts.live.insert(key.clone(), job);
                    }
                    Need::Reply(..) => panic!("nobody is asked here"),
                }
            }
            if !plan.needs.is_empty() {
                continue;
            }
            if let Some(refused) = plan.writes.iter().find_map(|write| self.refused(write)) {
                facts.refused.insert(refused, self.refusal.clone());
                continue;
            }
            let wrote = !plan.writes.is_empty();
            plan.writes.into_iter().for_each(|write| self.carry_out(write));
            return (wrote, plan.wake);
        }
    }

    fn next_outcome(&mut self, job: &Object) -> Option<&mut VecDeque<char>> {
        let metric = job.meta.annotations.get(job::METRIC_NAME)?.to_string();
        self.outcomes.get_mut(&metric)
    }

    fn refused(&mut self, write: &Write) -> Option<Key> {
        let Verb::Create(job) = &write.verb else { return None };
        let outcomes = self.next_outcome(&job.clone())?;
        (outcomes.front() == Some(&'E')).then(|| outcomes.pop_front())?;
        Some(write.key.clone())
    }

    fn carry_out(&mut self, write: Write) {
        match write.verb {
            Verb::Create(job) => {
                let outcome = self.next_outcome(&job).and_then(VecDeque::pop_front);
                let mut document = job.to_value();
                document["metadata"]["uid"] = json!(format!("uid-{}", job.meta.name));
                document["metadata"]["creationTimestamp"] = json!(self.now.stamp().to_string());
                let condition = |kind: &str| json!([{"type": kind, "status": "True"}]);
                match outcome {
                    Some('S') => document["status"]["conditions"] = condition("Complete"),
                    Some('F') => document["status"]["conditions"] = condition("Failed"),
                    Some('I') => {
                        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "ownerReferences": [
                            {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "controller": true,
                             "uid": document["metadata"]["uid"]}]},
                            "status": {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull"}}}]}});
                        self.world.pods.push(Arc::new(Object::from_value(pod).expect("a pod")));
                    }
                    _ => {}
                }
                self.world.jobs.push(Arc::new(Object::from_value(document).expect("a job")));
            }
            Verb::Edit(edits) => edits.iter().for_each(|edit| self.edit(edit)),
            Verb::Delete if write.key.kind == Kind::Job => {
                self.world.jobs.retain(|job| job.key() != write.key);
            }
            Verb::Delete => self.deleted = true,
            Verb::Evict => panic!("nothing is evicted"),
        }
        for notice in write.notices {
            let word = if notice.warning { "!" } else { "" };
            self.events.push(format!("{word}{}", notice.reason));
        }
    }

    /// Looks until nothing moves any more before this time.
    fn until(&mut self, end: Time) {
        loop {
            let (wrote, wake) = self.look();
            if wrote && !self.deleted {
                continue;
            }
            match wake {
                Wake::At(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    fn play(spec: Value, outcomes: &[(&str, &str)]) -> Life {
        let mut life = Life::new(spec, outcomes);
        life.until(START.plus(Span::seconds(3600)));
        life
    }
}

fn one(metric: Value) -> Value {
    json!({"metrics": [metric]})
}

fn check(metric: Value, outcomes: &str, phase: &str, message: &str) -> Life {
    let life = Life::play(one(metric.clone()), &[("m", outcomes)]);
    assert_eq!((life.status().phase(), life.message()), (phase, message), "{metric} {outcomes}");
    life
}

fn counts(result: &MetricResult) -> [i64; 4] {
    [result.successful, result.failed, result.inconclusive, result.error].map(|count| count.unwrap_or(0))
}

/// S1 to S4.
#[test]
fn one_measurement_decides_where_nobody_says_how_many() {
    let life = check(json!({}), "S", "Successful", "");
    assert_eq!(life.events, ["MetricSuccessful", "AnalysisRunSuccessful"]);
    assert!(life.status().started.is_some() && life.status().completed.is_some());
    let failed = "Metric \"m\" assessed Failed due to failed (1) > failureLimit (0)";
    let life = check(json!({}), "F", "Failed", failed);
    assert_eq!(life.events, ["!MetricFailed", "!AnalysisRunFailed"]);
    let life = check(json!({}), "EEEES", "Successful", "");
    assert_eq!(counts(&life.result("m")), [1, 0, 0, 4]);
    assert_eq!(life.result("m").consecutive_error, None);
    let errors = "Metric \"m\" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): \
                  \"Error Message: no quota\"";
    let life = check(json!({}), "EEEEE", "Error", errors);
    let took = life.status().completed.expect("over").0 - START.stamp().0;
    assert!((40..=42).contains(&took), "five attempts, ten seconds apart: {took}");
}

/// S5 to S7, S10, S30, S31.
#[test]
fn limits_tolerate_as_many_as_they_say() {
    let metric = |count: i64, limit: i64| json!({"count": count, "interval": "5s", "failureLimit": limit});
    let life = check(metric(3, 1), "SFS", "Successful", "");
    assert_eq!(counts(&life.result("m")), [2, 1, 0, 0]);
    let failed = "Metric \"m\" assessed Failed due to failed (2) > failureLimit (1)";
    assert_eq!(counts(&check(metric(3, 1), "FFS", "Failed", failed).result("m")), [0, 2, 0, 0]);
    let life = check(metric(5, 2), "EFEFESSS", "Successful", "");
    assert_eq!(counts(&life.result("m")), [3, 2, 0, 3]);
    let life = check(
        json!({}),
        "I",
        "Inconclusive",
        "Metric \"m\" assessed Inconclusive due to inconclusive (1) > \
        inconclusiveLimit (0): \"Error Message: Pod p, container c has terminal error (ErrImagePull): \n\"",
    );
    assert_eq!(life.events, ["MetricInconclusive", "AnalysisRunInconclusive"]);
    check(json!({"count": 1, "failureLimit": 1}), "F", "Successful", "");
    check(json!({"count": 3, "interval": "5s", "inconclusiveLimit": 3}), "III", "Successful", "");
}

/// S8, S9, S15, S16.
#[test]
fn a_run_that_is_told_to_end_ends() {
    for outcomes in ["SSSSSSSSSSSSS", "FFF"] {
        let spec = one(json!({"interval": "60s", "failureLimit": 3}));
        let mut life = Life::new(spec, &[("m", outcomes)]);
        life.until(START.plus(Span::seconds(130)));
        assert_eq!(life.status().phase(), "Running");
        life.edit(&Edit::Terminate);
        life.until(START.plus(Span::seconds(140)));
        assert_eq!((life.status().phase(), life.message()), ("Successful", "Run Terminated"));
    }
    for dry in [json!([]), json!([{"metricName": "m"}])] {
        let life = Life::play(json!({"metrics": [{}], "dryRun": dry, "terminate": true}), &[("m", "S")]);
        assert_eq!((life.status().phase(), life.message()), ("Successful", "Run Terminated"));
        assert!(life.status().results.is_none() && life.world.jobs.is_empty());
    }
}

/// S11, S12, S17.
#[test]
fn metrics_of_one_run_end_together() {
    let spec = json!({"metrics": [{"name": "a", "count": 1}, {"name": "b", "interval": "60s"}]});
    let mut life = Life::new(spec.clone(), &[("a", "F"), ("b", "SSS")]);
    life.look();
    life.look();
    assert_eq!(
        (life.status().phase(), life.result("a").phase().to_owned()),
        ("Running", "Failed".to_owned())
    );
    life.look();
    assert_eq!(life.result("b").phase(), "Successful");
    let failed = "Metric \"a\" assessed Failed due to failed (1) > failureLimit (0)";
    assert_eq!((life.status().phase(), life.message()), ("Failed", failed));

    let life = Life::play(spec, &[("a", "F")]);
    assert_eq!((life.status().phase(), life.message()), ("Failed", failed));
    let b = life.result("b");
    assert_eq!(
        (b.phase(), b.last().and_then(|last| last.message.as_deref())),
        ("Inconclusive", Some("Metric Terminated"))
    );
    assert!(
        life.world.jobs.iter().all(|job| job
            .meta
            .annotations
            .get(job::METRIC_NAME)
            .is_some_and(|m| &**m == "a"))
    );

    let spec = json!({"metrics": [{"name": "a"}, {"name": "b", "initialDelay": "60s"}]});
    let mut life = Life::new(spec, &[("a", "S"), ("b", "S")]);
    life.until(START.plus(Span::seconds(59)));
    assert_eq!(
        (life.status().phase(), life.result("a").phase().to_owned()),
        ("Running", "Successful".to_owned())
    );
    life.until(START.plus(Span::seconds(62)));
    assert_eq!(life.status().phase(), "Successful");
}

/// S13, S14.
#[test]
fn a_dry_run_decides_nothing() {
    let both = |dry: Value| json!({"metrics": [{"name": "a"}, {"name": "b"}], "dryRun": dry});
    let life = Life::play(both(json!([{"metricName": "a"}])), &[("a", "F"), ("b", "S")]);
    assert_eq!((life.status().phase(), life.message()), ("Successful", ""));
    let message = "Metric assessed Failed due to failed (1) > failureLimit (0)";
    assert_eq!(life.result("a").message.as_deref(), Some(message));
    let summary = |raw: Value| Some(tidegate_api::object::RunSummary::from_value(&raw));
    assert_eq!(life.status().dry_run_summary, summary(json!({"count": 1, "failed": 1})));
    assert_eq!(life.status().summary, summary(json!({"count": 1, "successful": 1})));
    let life = Life::play(both(json!([{"metricName": ".*"}])), &[("a", "F"), ("b", "S")]);
    assert_eq!(life.status().phase(), "Successful");
    assert_eq!(life.status().dry_run_summary, summary(json!({"count": 2, "failed": 1, "successful": 1})));
}

/// S18, S19.
#[test]
fn the_newest_measurements_are_kept() {
    let metric = || json!({"interval": "5s", "count": 12});
    let life = check(metric(), "SSSSSSSSSSSS", "Successful", "");
    let result = life.result("m");
    assert_eq!((result.successful, result.measurements.map(|all| all.len())), (Some(12), Some(10)));
    let spec = json!({"metrics": [metric()], "measurementRetention": [{"metricName": ".*", "limit": 2}]});
    let life = Life::play(spec, &[("m", "SSSSSSSSSSSS")]);
    assert_eq!(life.result("m").measurements.map(|all| all.len()), Some(2));
    assert!(life.world.jobs.len() <= 3, "their Jobs go too: {}", life.world.jobs.len());
}

/// S20 to S23, S25.
#[test]
fn a_run_that_makes_no_sense_ends_at_once() {
    let refused = |spec: Value, message: &str| {
        let life = Life::play(spec, &[("m", "S")]);
        assert_eq!((life.status().phase(), life.message()), ("Error", message));
        assert_eq!(life.events, ["!AnalysisRunError"]);
        assert_eq!((life.status().started, life.status().completed), (None, None));
    };
    let rule = |field: &str| json!({"metrics": [{}], field: [{"metricName": "abc", "limit": 1}]});
    refused(rule("dryRun"), "Analysis spec invalid: dryRun[0]: Rule didn't match any metric name(s)");
    let retention = "Analysis spec invalid: measurementRetention[0]: Rule didn't match any metric name(s)";
    refused(rule("measurementRetention"), retention);
    let secret =
        json!([{"name": "s", "valueFrom": {"secretKeyRef": {"name": "web-metric-secret", "key": "k"}}}]);
    let missing = "Unable to resolve metric arguments: secrets \"web-metric-secret\" not found";
    refused(json!({"metrics": [{}], "args": secret}), missing);
    let placeholder = "Unable to resolve metric arguments: failed to resolve {{args.metric-name}}";
    refused(one(json!({"successCondition": "{{args.metric-name}}"})), placeholder);
    refused(json!({"metrics": []}), "Analysis spec invalid: no metrics specified");
    let supplied = "Unable to resolve metric arguments: argument \"x\" was not supplied";
    refused(json!({"metrics": [{}], "args": [{"name": "x"}]}), supplied);
}

/// S24, and what else a secret must not reach.
#[test]
fn a_secret_is_shown_nowhere() {
    let spec = json!({"metrics": [{"provider": {"job": {"spec": {"token": "{{args.s}}"}}}}],
        "args": [{"name": "s", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "k"}}}]});
    let mut life = Life::new(spec, &[("m", "EEEEE")]);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret", "namespace": "n"},
        "data": {"k": "aHVudGVyMg=="}});
    let secret = Object::from_value(secret).expect("a secret");
    life.secrets.insert(secret.key(), Ok(SecretData::of(&secret)));
    life.refusal = "token hunter2 is refused".into();
    life.until(START.plus(Span::seconds(3600)));
    assert!(life.message().ends_with("\"Error Message: token ***** is refused\""), "{}", life.message());
    let document = life.world.run.to_value().to_string();
    assert!(!document.contains("hunter2") && document.contains("*****"));
}

/// S26 to S29.
#[test]
fn a_run_goes_when_its_time_has_come() {
    let gone = |outcome: &str, ttl: Value, seconds: i64| {
        let mut life = Life::new(json!({"metrics": [{}], "ttlStrategy": ttl}), &[("m", outcome)]);
        life.until(START);
        let completed = life.status().completed.expect("over").time();
        life.now = completed.plus(Span::seconds(seconds));
        let (_, wake) = life.look();
        assert!(life.deleted || matches!(wake, Wake::At(at) if at > life.now) || wake == Wake::OnChange);
        life.deleted
    };
    assert!(gone("S", json!({"secondsAfterCompletion": 1}), 2));
    assert!(!gone("S", json!({"secondsAfterCompletion": 1}), 1));
    assert!(!gone("F", json!({"secondsAfterSuccess": 1}), 3600));
    assert!(!gone("I", json!({"secondsAfterFailure": 1, "secondsAfterCompletion": 100}), 2));
    assert!(gone("I", json!({"secondsAfterFailure": 1, "secondsAfterCompletion": 100}), 101));
}

#[test]
fn a_job_that_goes_on_is_looked_at_less_and_less() {
    let life = Life::play(one(json!({})), &[]);
    assert_eq!(life.status().phase(), "Running");
    assert!((40..200).contains(&life.looks), "{} looks in an hour", life.looks);
    assert_eq!(life.world.jobs.len(), 1);
}

/// The status of a pass is lost after its Job was made: there is no second one.
#[test]
fn a_job_whose_measurement_was_lost_is_found_again() {
    let mut life = Life::new(one(json!({})), &[]);
    let before = life.world.run.clone();
    life.look();
    assert_eq!(life.world.jobs.len(), 1);
    life.world.run = before;
    life.look();
    assert_eq!(life.world.jobs.len(), 1);
    let last = life.result("m").last().cloned().expect("in flight");
    assert_eq!(last.phase(), "Running");
    let job = (*life.world.jobs[0]).clone();
    assert!(matches!(job.body, Body::Other(_)));
}
