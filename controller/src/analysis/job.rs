//! Measurements by a Job: made, watched until it is over, deleted when nobody waits for it any more.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::analysis::Metric;
use tidegate_api::object::{Body, Key, Kind, Measurement, MetricResult, Object, OwnerRef, Strings, Text};
use tidegate_api::time::{Span, Time};

use super::{Attempt, RunWorld};
use crate::plan::{Guard, IfRefused, Need, Verb, Write};
use crate::sabotage::Sabotage;
use crate::world::Facts;

/// Label of Jobs and their pods: which run they belong to.
pub const RUN_UID: &str = "analysisrun.argoproj.io/uid";
/// Annotation of Jobs: the name of their run.
pub const RUN_NAME: &str = "analysisrun.argoproj.io/name";
/// Annotation of Jobs: the namespace of their run.
pub const RUN_NAMESPACE: &str = "analysisrun.argoproj.io/namespace";
/// Annotation of Jobs: the metric they measure.
pub const METRIC_NAME: &str = "analysisrun.argoproj.io/metric-name";

/// Metadata of a measurement: its Job.
const JOB_NAME: &str = "job-name";
/// Metadata of a measurement: where its Job lives.
const JOB_NAMESPACE: &str = "job-namespace";

/// Reasons for which a container waits that time does not heal.
const TERMINAL: &[&str] = &["ErrImagePull", "ImagePullBackOff", "InvalidImageName"];

/// No name of a Job is longer.
const LONGEST_NAME: usize = 63;

/// Whether a metric is measured by a Job.
pub fn is_job(metric: &Metric) -> bool {
    metric.provider["job"].is_object()
}

/// Makes the Job of a new measurement, unless it is there already. What stands in its place decides, so it is asked for.
pub fn start(
    world: &RunWorld,
    facts: &Facts,
    metric: &Metric,
    result: Option<&MetricResult>,
    now: Time,
) -> Attempt {
    let mut job = job_of(world, metric, result);
    if facts.is_sabotaged(Sabotage::GeneratedNames) {
        job.meta.name = format!("{}-{}", job.meta.name, world.jobs.len()).into();
    }
    let key = job.key();
    if let Some(why) = facts.refused.get(&key) {
        return Attempt::taken(Measurement::error(why, now.stamp(), now.stamp()));
    }
    let Some(standing) = facts.live.get(&key) else { return Attempt::Needs(vec![Need::Live(key)]) };
    let metadata = [(JOB_NAME, key.name.clone()), (JOB_NAMESPACE, key.namespace.clone())];
    let measurement = Measurement {
        phase: Some("Running".into()),
        started: Some(now.stamp()),
        resume: Some(now.stamp()),
        metadata: Some(metadata.into_iter().collect()),
        ..Measurement::default()
    };
    match standing {
        None => Attempt::Taken {
            measurement,
            writes: vec![Write {
                key,
                guard: Guard::Absent,
                verb: Verb::Create(Arc::new(job)),
                notices: Vec::new(),
                if_refused: IfRefused::Tell,
            }],
        },
        // The Job of this measurement, made by a pass whose status was lost.
        Some(standing) if is_ours(world, standing) => Attempt::taken(measurement),
        Some(_) => {
            let why = format!("jobs.batch \"{}\" already exists", key.name);
            Attempt::taken(Measurement::error(&why, now.stamp(), now.stamp()))
        }
    }
}

// ARGO: outside of the run's namespace the reference compares the wrong object and adopts every Job.
fn is_ours(world: &RunWorld, job: &Object) -> bool {
    let uid = &world.run.meta.uid;
    if job.meta.namespace == world.run.meta.namespace {
        job.meta.controller().is_some_and(|owner| owner.uid == *uid)
    } else {
        job.meta.labels.get(RUN_UID) == Some(uid)
    }
}

fn job_of(world: &RunWorld, metric: &Metric, result: Option<&MetricResult>) -> Object {
    let (run, asked) = (&world.run, &metric.provider["job"]);
    let uid = &run.meta.uid;
    let mut spec = asked["spec"].clone();
    if !spec.is_object() {
        spec = json!({});
    }
    if !spec["template"].is_object() {
        spec["template"] = json!({});
    }
    if !spec["template"]["metadata"].is_object() {
        spec["template"]["metadata"] = json!({});
    }
    if !spec["template"]["metadata"]["labels"].is_object() {
        spec["template"]["metadata"]["labels"] = json!({});
    }
    spec["template"]["metadata"]["labels"][RUN_UID] = Value::from(&**uid);
    let given = |field: &str| Strings::from_value(&asked["metadata"][field], field).unwrap_or_default();
    let (mut labels, mut annotations) = (given("labels"), given("annotations"));
    labels.set(RUN_UID, uid.clone());
    annotations.set(RUN_NAME, run.meta.name.clone());
    annotations.set(RUN_NAMESPACE, run.meta.namespace.clone());
    annotations.set(METRIC_NAME, metric.name.clone());
    let mut meta = tidegate_api::object::Meta {
        name: name_of(uid, metric, result).into(),
        namespace: world.job_namespace.clone(),
        labels,
        annotations,
        ..Default::default()
    };
    if meta.namespace == run.meta.namespace {
        meta.owners.push(owner(run));
    }
    Object { kind: Kind::Job, meta, body: Body::Other(Arc::new(json!({"spec": spec}))) }
}

fn owner(run: &Object) -> OwnerRef {
    OwnerRef {
        api_version: run.kind.api_version().into(),
        kind: run.kind.name().into(),
        name: run.meta.name.clone(),
        uid: run.meta.uid.clone(),
        controller: true,
        block_owner_deletion: true,
    }
}

/// The name of the Job of the next measurement: the same until that measurement is stored, so that there is one only.
fn name_of(uid: &str, metric: &Metric, result: Option<&MetricResult>) -> String {
    let count = |count: Option<i64>| count.unwrap_or(0);
    let number = result.map_or(0, |result| count(result.count).saturating_add(count(result.error))) + 1;
    let room = LONGEST_NAME.saturating_sub(uid.len() + number.to_string().len() + 2);
    let name: String = metric
        .name
        .chars()
        .scan(0, |length, c| {
            *length += c.len_utf8();
            (*length <= room).then_some(c)
        })
        .collect();
    format!("{uid}.{name}.{number}")
}

/// Looks whether the Job of a measurement is over.
pub fn resume(world: &RunWorld, facts: &Facts, so_far: &Measurement, now: Time) -> Attempt {
    let end = |phase: &str, message: &str| {
        Attempt::taken(Measurement {
            phase: Some(phase.into()),
            message: (!message.is_empty()).then(|| message.into()),
            finished: Some(now.stamp()),
            ..so_far.clone()
        })
    };
    let Some(key) = key_of(so_far) else { return end("Error", "job metadata reference missing") };
    let known = world.jobs.iter().find(|job| job.key() == key);
    let job = match (known, facts.live.get(&key)) {
        (Some(job), _) | (None, Some(Some(job))) => job,
        (None, Some(None)) => return end("Error", &format!("job.batch \"{}\" not found", key.name)),
        // ARGO: right after its creation the reference's cache does not have it yet, which costs an error.
        (None, None) => return Attempt::Needs(vec![Need::Live(key)]),
    };
    match outcome(job) {
        Some("Failed") if facts.is_sabotaged(Sabotage::IgnoreFailedJobs) => {}
        Some(phase) => return end(phase, ""),
        None => {
            if let Some(message) = terminal_error(world, job) {
                return end("Inconclusive", &message);
            }
        }
    }
    let elapsed = now.since(so_far.started.unwrap_or(now.stamp()).time()).0.max(0);
    // The longer it has taken, the longer it may take. Never at once: nothing would be different.
    let wait = ((2.0 * elapsed as f64 / 1000.0).sqrt() * 1000.0) as i64;
    let resume = now.plus(Span::millis(wait.max(1000))).stamp();
    Attempt::taken(Measurement { resume: Some(resume), ..so_far.clone() })
}

/// Whether the Job of a measurement in flight is known to be over: then nobody needs to wait for the next look.
pub fn is_over(world: &RunWorld, so_far: &Measurement) -> bool {
    key_of(so_far).is_some_and(|key| {
        world
            .jobs
            .iter()
            .any(|job| job.key() == key && (outcome(job).is_some() || terminal_error(world, job).is_some()))
    })
}

/// Ends a measurement in flight: its Job goes.
pub fn terminate(facts: &Facts, so_far: &Measurement, now: Time) -> Attempt {
    let Some(key) = key_of(so_far) else {
        let why = "job metadata reference missing";
        return Attempt::taken(Measurement::error(why, so_far.started.unwrap_or_default(), now.stamp()));
    };
    if let Some(why) = facts.refused.get(&key) {
        return Attempt::taken(Measurement::error(why, so_far.started.unwrap_or_default(), now.stamp()));
    }
    let job = match facts.live.get(&key) {
        None => return Attempt::Needs(vec![Need::Live(key)]),
        Some(job) => job,
    };
    let gone = |job: &Arc<Object>| Write {
        key: key.clone(),
        guard: Guard::Identity(job.meta.uid.clone()),
        verb: Verb::Delete,
        notices: Vec::new(),
        if_refused: IfRefused::Tell,
    };
    Attempt::Taken {
        measurement: Measurement {
            phase: Some("Inconclusive".into()),
            message: Some("Metric Terminated".into()),
            finished: Some(now.stamp()),
            ..so_far.clone()
        },
        writes: job.iter().filter(|job| job.meta.deleting.is_none()).map(gone).collect(),
    }
}

/// Deletes the oldest Jobs of a metric beyond the number that is kept.
// ARGO: the reference counts the Jobs of all metrics of a run together, and so deletes some that it should keep.
pub fn clean_up(world: &RunWorld, metric: &str, kept: usize) -> Vec<Write> {
    let mut jobs: Vec<&Arc<Object>> = world
        .jobs
        .iter()
        .filter(|job| job.meta.annotations.get(METRIC_NAME).is_some_and(|name| &**name == metric))
        .filter(|job| job.meta.deleting.is_none() && is_ours(world, job))
        .collect();
    jobs.sort_by_key(|job| (job.meta.created, job.meta.name.clone()));
    let excess = jobs.len().saturating_sub(kept);
    let gone = |job: &Arc<Object>| Write {
        key: job.key(),
        guard: Guard::Identity(job.meta.uid.clone()),
        verb: Verb::Delete,
        notices: Vec::new(),
        if_refused: IfRefused::GoOn,
    };
    jobs.into_iter().take(excess).map(gone).collect()
}

fn key_of(measurement: &Measurement) -> Option<Key> {
    let metadata = measurement.metadata.as_ref()?;
    let (name, namespace) = (metadata.get(JOB_NAME)?, metadata.get(JOB_NAMESPACE)?);
    Some(Key::new(Kind::Job, namespace.clone(), name.clone()))
}

/// What the conditions of a Job say, once they do.
fn outcome(job: &Object) -> Option<&'static str> {
    let Body::Other(document) = &job.body else { return None };
    let conditions = document["status"]["conditions"].as_array().into_iter().flatten();
    // INVARIANT: S20, a Job succeeds by its condition Complete alone.
    let mut said = conditions.filter(|condition| condition["status"] != "False").filter_map(|condition| {
        match condition["type"].as_str() {
            Some("Complete") => Some("Successful"),
            Some("Failed") => Some("Failed"),
            _ => None,
        }
    });
    said.next_back()
}

/// What keeps a pod of a Job from ever starting.
fn terminal_error(world: &RunWorld, job: &Object) -> Option<String> {
    let pods =
        world.pods.iter().filter(|pod| pod.meta.controller().is_some_and(|owner| owner.uid == job.meta.uid));
    pods.into_iter().find_map(|pod| {
        let status = pod.to_value()["status"].take();
        let lists =
            ["initContainerStatuses", "containerStatuses"].map(|list| status[list].as_array().cloned());
        lists.into_iter().flatten().flatten().find_map(|container| {
            let waiting = &container["state"]["waiting"];
            let reason = waiting["reason"].as_str().filter(|reason| TERMINAL.contains(reason))?;
            let (pod, name) = (&pod.meta.name, container["name"].as_str().unwrap_or_default());
            let message = waiting["message"].as_str().unwrap_or_default();
            Some(format!("Pod {pod}, container {name} has terminal error ({reason}): {message}\n"))
        })
    })
}

/// The run that a Job belongs to.
pub fn run_of(job: &Object) -> Option<Key> {
    let namespace = job.meta.annotations.get(RUN_NAMESPACE).unwrap_or(&job.meta.namespace).clone();
    let owner =
        job.meta.controller().filter(|owner| &*owner.kind == "AnalysisRun").map(|owner| owner.name.clone());
    let marked = || job.meta.labels.get(RUN_UID).and_then(|_| job.meta.annotations.get(RUN_NAME)).cloned();
    let name: Text = owner.or_else(marked)?;
    Some(Key::new(Kind::AnalysisRun, namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_767_225_600_500);

    fn world() -> RunWorld {
        let run = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
            "metadata": {"name": "run", "namespace": "n", "uid": "u-1"}, "spec": {}});
        let run = Arc::new(Object::from_value(run).expect("a run"));
        RunWorld {
            run,
            jobs: Vec::new(),
            pods: Vec::new(),
            job_namespace: "n".into(),
            surroundings: Arc::default(),
        }
    }

    fn metric() -> Metric {
        Metric::read(&json!({"name": "test", "provider": {"job": {"metadata": {"labels": {"a": "b"}},
            "spec": {"backoffLimit": 0, "template": {"spec": {"containers": []}}}}}}))
    }

    fn job(owner: &str, conditions: Value) -> Arc<Object> {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "u-1.test.1", "namespace": "n",
            "uid": "j", "labels": {RUN_UID: "u-1"}, "annotations": {METRIC_NAME: "test", RUN_NAME: "run"}, "ownerReferences": [
            {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "name": "run", "uid": owner, "controller": true}]},
            "spec": {}, "status": {"conditions": conditions}});
        Arc::new(Object::from_value(job).expect("a job"))
    }

    fn knowing(standing: Option<Arc<Object>>) -> Facts {
        let key = Key::new(Kind::Job, "n", "u-1.test.1");
        Facts { live: [(key, standing)].into(), ..Facts::default() }
    }

    fn taken(attempt: Attempt) -> (Measurement, Vec<Write>) {
        match attempt {
            Attempt::Taken { measurement, writes } => (measurement, writes),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_stands_in_its_place_decides_about_a_new_job() {
        let (world, metric) = (world(), metric());
        let asked = start(&world, &Facts::default(), &metric, None, NOW);
        assert!(matches!(asked, Attempt::Needs(needs) if needs.len() == 1));
        let (measurement, writes) = taken(start(&world, &knowing(None), &metric, None, NOW));
        assert_eq!(measurement.phase(), "Running");
        let [Write { verb: Verb::Create(made), .. }] = &*writes else { panic!("{writes:?}") };
        assert_eq!(made.meta.labels.get("a").map(|b| &**b), Some("b"));
        assert_eq!(made.to_value()["spec"]["template"]["metadata"]["labels"][RUN_UID], "u-1");
        assert_eq!(made.meta.controller().map(|owner| &*owner.name), Some("run"));
        assert_eq!(run_of(made), Some(world.run.key()));
        // Vectors R39, R40.
        let (adopted, writes) =
            taken(start(&world, &knowing(Some(job("u-1", json!([])))), &metric, None, NOW));
        assert_eq!((adopted.phase(), writes.len()), ("Running", 0));
        let (foreign, _) = taken(start(&world, &knowing(Some(job("other", json!([])))), &metric, None, NOW));
        assert_eq!(foreign.phase(), "Error");
        let facts = Facts { refused: [(made.key(), "no quota".into())].into(), ..Facts::default() };
        let (refused, _) = taken(start(&world, &facts, &metric, None, NOW));
        assert_eq!((refused.phase(), refused.message.as_deref()), ("Error", Some("no quota")));
    }

    #[test]
    fn a_job_is_over_when_it_says_so() {
        let (running, _) = taken(start(&world(), &knowing(None), &metric(), None, NOW));
        let look = |conditions: Value| {
            let mut world = world();
            world.jobs.push(job("u-1", conditions));
            taken(resume(&world, &Facts::default(), &running, NOW)).0
        };
        assert_eq!(look(json!([{"type": "Complete", "status": "True"}])).phase(), "Successful");
        assert_eq!(look(json!([{"type": "Failed", "status": "True"}])).phase(), "Failed");
        let waiting = look(json!([{"type": "Suspended", "status": "True"}]));
        assert!(waiting.phase() == "Running" && waiting.resume > Some(NOW.stamp()));
        let asked = resume(&world(), &Facts::default(), &running, NOW);
        assert!(matches!(asked, Attempt::Needs(_)));
        assert_eq!(taken(resume(&world(), &knowing(None), &running, NOW)).0.phase(), "Error");
    }

    #[test]
    fn an_image_that_cannot_be_had_decides_nothing() {
        let (running, _) = taken(start(&world(), &knowing(None), &metric(), None, NOW));
        let mut world = world();
        world.jobs.push(job("u-1", json!([])));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "ownerReferences":
            [{"apiVersion": "batch/v1", "kind": "Job", "name": "u-1.test.1", "uid": "j", "controller": true}]},
            "status": {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}]}});
        world.pods.push(Arc::new(Object::from_value(pod).expect("a pod")));
        assert!(is_over(&world, &running));
        let (ended, _) = taken(resume(&world, &Facts::default(), &running, NOW));
        assert_eq!(ended.phase(), "Inconclusive");
        let message = "Pod p, container c has terminal error (ErrImagePull): no\n";
        assert_eq!(ended.message.as_deref(), Some(message));
    }

    #[test]
    fn a_terminated_job_goes_and_decides_nothing() {
        let (running, _) = taken(start(&world(), &knowing(None), &metric(), None, NOW));
        let (ended, writes) = taken(terminate(&knowing(Some(job("u-1", json!([])))), &running, NOW));
        assert_eq!((ended.phase(), writes.len()), ("Inconclusive", 1));
        assert_eq!(ended.message.as_deref(), Some("Metric Terminated"));
        assert_eq!(taken(terminate(&knowing(None), &running, NOW)).1.len(), 0);
    }

    #[test]
    fn names_of_jobs_fit() {
        let uid = "0123456789-0123456789-0123456789-012";
        let long = Metric { name: "a-metric-with-a-very-long-name-indeed".into(), ..Metric::default() };
        let result = MetricResult { count: Some(7), error: Some(3), ..MetricResult::default() };
        let name = name_of(uid, &long, Some(&result));
        assert_eq!((name.len(), name.ends_with(".11")), (63, true));
        assert_eq!(name_of(&"u".repeat(80), &long, None), format!("{}..1", "u".repeat(80)));
    }
}
