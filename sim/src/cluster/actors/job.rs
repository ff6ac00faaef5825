//! The Job controller, as far as measurements need it: one pod at a time, tried again a few times, then a verdict.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Body, Key, Kind, Object, OwnerRef, PodBody, Template};
use tidegate_api::time::Span;
use tidegate_controller::plan::Guard;

use super::replicaset::pod_name;
use crate::cluster::life::{Containers, Life, Stage};
use crate::cluster::store::Part;
use crate::world::{Due, Observer, World, Writer};

/// A Job whose pod failed makes the next one after this time, twice it, four times it …
const FIRST_RETRY: Span = Span::seconds(10);
/// … but never later than this.
const LAST_RETRY: Span = Span::seconds(360);
/// How often it is tried again when nothing else is said.
const RETRIES: i64 = 6;

impl World {
    pub(crate) fn sync_job(&mut self, key: &Key, watch: &mut dyn Observer) {
        let Some(job) = self.store.get(key).filter(|job| job.meta.deleting.is_none()).cloned() else {
            return;
        };
        let Body::Other(body) = &job.body else { return };
        if is_over(body) || body["spec"]["suspend"] == true {
            return;
        }
        let pods: Vec<Arc<Object>> = self.store.owned_by(&job.meta.uid, &Kind::Pod).cloned().collect();
        let of_phase = |phase: &str| {
            let count =
                pods.iter().filter(|pod| pod.pod().and_then(|b| b.phase.as_deref()) == Some(phase)).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        let (good, mut bad) = (of_phase("Succeeded"), of_phase("Failed"));
        let retries = body["spec"]["backoffLimit"].as_i64().unwrap_or(RETRIES);
        // Containers that are started again in their pod count as so many tries at once.
        let loops = |pod: &Arc<Object>| {
            let life = Life::of(&self.config.pods, pod).turn(Stage::Runs);
            pod.pod().is_some_and(|body| body.phase.as_deref() == Some("Running"))
                && life.look.is_some_and(|look| look.containers == Containers::CrashLoop)
        };
        if pods.iter().any(loops) {
            bad = retries.saturating_add(1);
        }
        let age = job.meta.created.map_or(Span::ZERO, |created| self.now.since(created.time()));
        let deadline = body["spec"]["activeDeadlineSeconds"].as_i64().map(Span::seconds);
        if good > 0 {
            self.end_job(
                key,
                &job,
                ("Complete", "CompletionsReached", "Reached expected number of succeeded pods"),
                watch,
            );
        } else if bad > retries {
            let why = ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
            self.end_job(key, &job, why, watch);
        } else if deadline.is_some_and(|deadline| age >= deadline) {
            let why = ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline");
            self.end_job(key, &job, why, watch);
        } else if i64::try_from(pods.len()).unwrap_or(i64::MAX) == bad {
            let wait = if bad == 0 { Span::ZERO } else { retry_after(bad) };
            let newest = pods.iter().filter_map(|pod| pod.pod()?.ready_changed).max().map(|at| at.time());
            match newest.map(|at| at.plus(wait)).filter(|at| *at > self.now) {
                Some(at) => self.push_at(at, Due::Sync(key.clone())),
                None => self.start_job_pod(&job, body, watch),
            }
        }
    }

    fn start_job_pod(&mut self, job: &Object, body: &Value, watch: &mut dyn Observer) {
        let Ok(template) = Template::from_value(body["spec"]["template"].clone(), "spec.template") else {
            return;
        };
        self.pods_made += 1;
        let mut pod = Object {
            kind: Kind::Pod,
            meta: Default::default(),
            body: Body::Pod(PodBody::new(template.spec.tree())),
        };
        pod.meta.name = pod_name(&job.meta.name, self.pods_made);
        pod.meta.namespace = job.meta.namespace.clone();
        pod.meta.labels = template.labels;
        for label in ["batch.kubernetes.io/job-name", "job-name"] {
            pod.meta.labels.set(label, job.meta.name.clone());
        }
        for label in ["batch.kubernetes.io/controller-uid", "controller-uid"] {
            pod.meta.labels.set(label, job.meta.uid.clone());
        }
        pod.meta.annotations = template.annotations;
        pod.meta.owners = vec![OwnerRef {
            api_version: "batch/v1".into(),
            kind: "Job".into(),
            name: job.meta.name.clone(),
            uid: job.meta.uid.clone(),
            controller: true,
            block_owner_deletion: true,
        }];
        let key = pod.key();
        let outcome = self.store.create(pod, self.now);
        let _ = self.settle(Writer::Jobs, None, &key, outcome, watch);
        if let Some(seconds) = body["spec"]["activeDeadlineSeconds"].as_i64() {
            self.push(Span::seconds(seconds), Due::Sync(job.key()));
        }
    }

    fn end_job(
        &mut self,
        key: &Key,
        job: &Object,
        (kind, reason, message): (&str, &str, &str),
        watch: &mut dyn Observer,
    ) {
        let at = self.now.stamp().to_string();
        let condition = json!({"type": kind, "status": "True", "reason": reason, "message": message,
            "lastProbeTime": at, "lastTransitionTime": at});
        let guard = Guard::Identity(job.meta.uid.clone());
        let outcome = self.store.update(key, Some(&guard), Part::Status, |object| {
            if let Body::Other(body) = &mut object.body {
                let mut changed = (**body).clone();
                changed["status"] = json!({"startTime": job.meta.created.map(|at| at.to_string()), "conditions": [condition]});
                *body = Arc::new(changed);
            }
            Ok(())
        });
        let _ = self.settle(Writer::Jobs, None, key, outcome, watch);
    }
}

/// Whether a Job has its verdict.
fn is_over(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|one| one["status"] == "True" && matches!(one["type"].as_str(), Some("Complete" | "Failed")))
}

/// How long after its last failure a Job is tried again.
fn retry_after(failures: i64) -> Span {
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(16);
    Span(FIRST_RETRY.0.saturating_mul(1 << doublings)).min(LAST_RETRY)
}
