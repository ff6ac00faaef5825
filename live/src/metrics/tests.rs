use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::RolloutStatus;
use tidegate_controller::manager::{Settings, WATCHED};
use tidegate_controller::plan::Notice;
use tidegate_controller::seams::{CallId, Clock, Cluster};

use super::*;

const START: Time = Time(1_767_225_600_000);

/// Seams that lead nowhere.
struct Nowhere;
impl Cluster for Nowhere {
    fn start(&mut self, _: CallId, _: ApiCall) {}
    fn watch(&mut self, _: Kind) {}
}
impl tidegate_controller::seams::Metrics for Nowhere {
    fn ask(&mut self, _: CallId, _: tidegate_controller::seams::Question) {}
}
impl Clock for Nowhere {
    fn now(&self) -> Time {
        START
    }
    fn wake_at(&mut self, _: Time) {}
}

fn rollout(name: &str, version: u64, strategy: Value, status: Value) -> Arc<Object> {
    let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": version.to_string()},
        "spec": {"replicas": 4, "strategy": strategy}, "status": status});
    Arc::new(Object::from_value(object).unwrap())
}

fn progressing(reason: &str) -> Value {
    json!([{"type": "Progressing", "status": "True", "reason": reason}])
}

fn take(manager: &mut Manager, metrics: &mut Metrics, event: Event, now: Time) {
    metrics.sees(&event, manager, now);
    manager.handle(event, &mut Nowhere);
    metrics.turned(manager, now);
}

fn small_cluster() -> (Manager, Metrics) {
    let (mut manager, mut metrics) = (Manager::new(Settings::default()), Metrics::new().unwrap());
    let routed = json!({"canary": {"trafficRouting": {"nginx": {}, "alb": {}}}});
    let halfway = json!({"replicas": 5, "availableReplicas": 4, "updatedReplicas": 1,
        "conditions": progressing("RolloutPaused")});
    for rollout in [
        rollout("web", 5, routed, halfway),
        rollout("api", 6, json!({"blueGreen": {"activeService": "api"}}), json!({})),
    ] {
        take(&mut manager, &mut metrics, Event::Seen(rollout), START);
    }
    (manager, metrics)
}

fn happens(metrics: &mut Metrics) {
    let web = Key::new(Kind::Rollout, "shop", "web");
    metrics.called(&ApiCall::Record(Notice {
        about: web.clone(),
        uid: "web".into(),
        warning: false,
        reason: "RolloutPaused".into(),
        message: "Rollout is paused (CanaryPauseStep)".into(),
    }));
    let inner = metrics.0.borrow();
    inner.counts.pass(&web, 0.2, false);
    inner.counts.pass(&web, 3.0, true);
    inner.counts.requests.with_label_values(&["rollouts", "shop", "web", "Patch", "200"]).inc_by(2);
    inner.counts.requests.with_label_values(&["rollouts", "", "N/A", "Watch", "200"]).inc();
}

#[test]
fn a_small_cluster_as_prometheus_reads_it() {
    let (manager, mut metrics) = small_cluster();
    happens(&mut metrics);
    let text = metrics.text(Some((&manager, START))).unwrap();
    // What depends on where it was built is told elsewhere.
    let text: Vec<&str> = text.lines().filter(|line| !line.contains("goversion")).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_follower_tells_what_it_is_and_nothing_of_the_cluster() {
    let text = Metrics::new().unwrap().with_process().unwrap().text(None).unwrap();
    for name in ["argo_rollouts_controller_info{", "build_info{", "process_resident_memory_bytes "] {
        assert!(text.contains(&format!("\n{name}")), "{name}: {text}");
    }
    assert!(!text.contains("rollout_info"), "{text}");
    assert_eq!(text.matches("\nprocess_cpu_seconds_total ").count(), 1, "{text}");
}

#[test]
fn series_outlive_their_object_by_65_seconds() {
    let (mut manager, mut metrics) = small_cluster();
    happens(&mut metrics);
    let web = manager.cache().get(&Key::new(Kind::Rollout, "shop", "web")).unwrap().clone();
    take(&mut manager, &mut metrics, Event::Gone(web.clone()), START);
    let counts_web = |manager: &Manager, seconds: i64| {
        let text = metrics.text(Some((manager, START.plus(Span::seconds(seconds))))).unwrap();
        text.lines().filter(|line| line.contains("name=\"web\"")).count()
    };
    // Ten lines of histogram less two, an error, an event, a request; what is read off the cache went at once.
    assert_eq!(counts_web(&manager, 0), 11);
    assert_eq!(counts_web(&manager, 64), 11);
    assert_eq!(counts_web(&manager, 65), 0);
    assert!(metrics.0.borrow().gone.is_empty());
}

#[test]
fn memory_follows_the_objects_also_where_nobody_scrapes() {
    let (mut manager, mut metrics) = small_cluster();
    happens(&mut metrics);
    let none = Event::Listed(Kind::Rollout, std::collections::BTreeSet::new());
    take(&mut manager, &mut metrics, none, START);
    take(&mut manager, &mut metrics, Event::Woken, START.plus(Span::seconds(65)));
    assert_eq!(metrics.0.borrow().counts.passes[0].seconds.collect()[0].get_metric().len(), 0);
    assert_eq!(metrics.0.borrow().counts.events.collect()[0].get_metric().len(), 0);
}

fn evidence(kind: &str, name: &str, spec: Value, status: Value) -> Arc<Object> {
    let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "spec": spec, "status": status,
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "7"}});
    Arc::new(Object::from_value(object).unwrap())
}

#[test]
fn evidence_as_prometheus_reads_it() {
    let (mut manager, mut metrics) = (Manager::new(Settings::default()), Metrics::new().unwrap());
    let two = json!({"metrics": [{"name": "errors", "provider": {"prometheus": {"query": "up"}}},
        {"name": "smoke", "provider": {"job": {}}}]});
    let results = json!({"phase": "Running", "metricResults": [
        {"name": "errors", "phase": "Failed", "dryRun": true, "measurements": []}]});
    for object in [
        evidence("AnalysisRun", "web-2-1", two.clone(), results),
        evidence("AnalysisTemplate", "checks", two, Value::Null),
        evidence("Experiment", "compare", json!({"templates": []}), json!({"phase": "Failed"})),
    ] {
        take(&mut manager, &mut metrics, Event::Seen(object), START);
    }
    for (kind, name) in [(Kind::AnalysisRun, "web-2-1"), (Kind::Experiment, "compare")] {
        metrics.0.borrow().counts.pass(&Key::new(kind, "shop", name), 0.2, true);
    }
    let text = metrics.text(Some((&manager, START))).unwrap();
    let told = |line: &&str| line.starts_with("analysis_") || line.starts_with("experiment_");
    let lines: Vec<&str> = text.lines().filter(told).filter(|line| !line.ends_with(" 0")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn an_object_that_comes_back_in_time_keeps_its_series() {
    let (mut manager, mut metrics) = small_cluster();
    happens(&mut metrics);
    let web = manager.cache().get(&Key::new(Kind::Rollout, "shop", "web")).unwrap().clone();
    take(&mut manager, &mut metrics, Event::Gone(web), START);
    let again = rollout("web", 9, json!({"canary": {}}), json!({}));
    take(&mut manager, &mut metrics, Event::Seen(again), START.plus(Span::seconds(5)));
    let text = metrics.text(Some((&manager, START.plus(Span::seconds(200))))).unwrap();
    assert!(text.contains("rollout_reconcile_count{name=\"web\",namespace=\"shop\"} 2"), "{text}");
}

#[test]
fn the_end_of_an_update_is_counted_once() {
    let (mut manager, mut metrics) = small_cluster();
    let status = |finished: Value| {
        json!({"duration": {"rolloutStartedAt": "2026-01-01T00:00:00Z", "finishedAt": finished,
            "totalManualPauseDurationSeconds": 40, "completionStatus": "Promoted"}})
    };
    let done = "2026-01-01T00:01:40Z";
    let lives = [(10, Value::Null, 0), (11, json!(done), 1), (11, json!(done), 1), (12, json!(done), 1)];
    for (version, finished, counted) in lives {
        let seen = rollout("web", version, json!({"canary": {}}), status(finished));
        take(&mut manager, &mut metrics, Event::Seen(seen), START);
        let updates = metrics.0.borrow().counts.update.collect();
        let count =
            updates[0].get_metric().first().map_or(0, |metric| metric.get_histogram().get_sample_count());
        assert_eq!(count, counted, "version {version}");
    }
    let text = metrics.text(Some((&manager, START))).unwrap();
    for (name, sum) in [("rollout_duration", 100), ("rollout_progression_duration", 60)] {
        assert!(text.contains(&format!("{name}_seconds_count{{status=\"Promoted\"}} 1")), "{text}");
        assert!(text.contains(&format!("{name}_seconds_sum{{status=\"Promoted\"}} {sum}")), "{text}");
    }
    assert!(text.contains("rollout_manual_pause_duration_seconds_sum{status=\"Promoted\"} 40"), "{text}");
}

#[test]
fn the_phase_is_read_off_the_conditions() {
    for (conditions, want) in [
        (json!([]), "Progressing"),
        (progressing("ReplicaSetUpdated"), "Progressing"),
        (progressing("NewReplicaSetAvailable"), "Completed"),
        (progressing("RolloutPaused"), "Paused"),
        (progressing("ReplicaSetCreateError"), "Error"),
        (progressing("ProgressDeadlineExceeded"), "Timeout"),
        (progressing("RolloutAborted"), "Abort"),
        (
            json!([{"type": "Progressing", "reason": "NewReplicaSetAvailable"}, {"type": "InvalidSpec"}]),
            "InvalidSpec",
        ),
    ] {
        let status = RolloutStatus::from_value(&json!({"phase": "Healthy", "conditions": conditions}));
        assert_eq!(phase(&status), want, "{conditions}");
    }
}

#[test]
fn every_kind_of_key_has_its_queue() {
    let with_queue: Vec<&str> =
        WATCHED.iter().filter_map(|kind| queue_of(&Key::new(kind.clone(), "n", "n"))).collect();
    assert_eq!(with_queue, ["Rollouts", "Services"]);
}
