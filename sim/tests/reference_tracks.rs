//! The tracks of hand-made plays, held to what the incumbent's recordings call them.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_sim::reference::{Difference, Place, Play, Recording, Sighting, differences, tracks};

const HASH: &str = "rollouts-pod-template-hash";
const REVISION: &str = "rollout.argoproj.io/revision";

#[test]
fn a_hand_written_walk_shows_every_stable_track_of_the_recorded_one() {
    let found = differences(&recorded(), &canary_steps_walk().0.tracks(), &[]);
    let stable: Vec<&Difference> = found.iter().filter(|difference| !difference.racy).collect();
    assert!(stable.is_empty(), "{stable:#?}");
    // Availability never moves in this log and messages are shortened: both are racy in the recording.
    let racy: Vec<&str> = found.iter().map(|difference| difference.track.as_str()).collect();
    assert_eq!(racy, ["rollout/demo/condition/Available", "rollout/demo/message"]);
}

#[test]
fn a_walk_that_scales_once_too_often_is_found_out() {
    let mut hand = canary_steps_walk();
    hand.set("demo", "aaa", Some("1"), 1);
    let found = differences(&recorded(), &hand.0.tracks(), &[]);
    let stable: Vec<&str> = found.iter().filter(|d| !d.racy).map(|d| d.track.as_str()).collect();
    assert_eq!(stable, ["rs/rev1/desired"]);
}

#[test]
fn two_rollouts_are_told_apart_by_name() {
    let mut hand = Hand::new();
    hand.set("demo", "aaa", Some("1"), 1);
    hand.set("other", "ccc", Some("1"), 2);
    hand.set("other", "ddd", Some("2"), 3);
    hand.pod("other-ccc", "ccc", 0);
    assert_eq!(hand.track("rs/rev1/desired"), json!([1]));
    assert_eq!(hand.track("rs/other.rev1/desired"), json!([2]));
    assert_eq!(hand.track("rs/other.rev2/revision"), json!(["2"]));
    let metadata = json!([{"annotations": {}, "labels": {"app": "demo", HASH: "other.rev1"}}]);
    assert_eq!(hand.track("pods/other.rev1/finalMeta"), metadata);
}

#[test]
fn a_set_deleted_and_made_again_keeps_its_name_or_gets_a_plus() {
    let mut hand = Hand::new();
    hand.set("demo", "aaa", Some("1"), 2);
    hand.set("demo", "bbb", Some("2"), 1);
    let again = |uid: &str, revision: &str| {
        json!({"metadata": {"name": "demo-aaa", "uid": uid, "labels": {HASH: "aaa"}, "annotations": {REVISION: revision},
            "ownerReferences": [{"kind": "Rollout", "name": "demo"}]}, "spec": {"replicas": 7}})
    };
    hand.loses("ReplicaSet", "demo-aaa");
    hand.sees("ReplicaSet", again("second", "1"));
    assert_eq!(hand.track("rs/rev1/exists"), json!([true, false, true]));
    assert_eq!(hand.track("rs/rev1/desired"), json!([2, 7]));
    hand.loses("ReplicaSet", "demo-aaa");
    hand.sees("ReplicaSet", again("third", "3"));
    assert_eq!(hand.track("rs/rev1+/desired"), json!([7]));
    assert_eq!(hand.track("rs/rev1+/revision"), json!(["3"]));
    // The object of that name no longer shows what it showed as `rev1`.
    assert_eq!(hand.track("rs/rev1/exists"), json!([true, false, true, false, "-"]));
}

#[test]
fn deployments_have_sets_of_their_own() {
    let mut hand = Hand::new();
    for (hash, replicas) in [("x1", 2), ("x2", 0)] {
        hand.sees(
            "ReplicaSet",
            json!({"metadata": {"name": format!("work-{hash}"), "uid": hash, "labels": {"pod-template-hash": hash},
                "ownerReferences": [{"kind": "Deployment", "name": "work"}]}, "spec": {"replicas": replicas}}),
        );
    }
    hand.sees("Deployment", json!({"metadata": {"name": "work"}, "spec": {"replicas": 2}}));
    hand.sees("Deployment", json!({"metadata": {"name": "work"}, "spec": {"replicas": 0}}));
    hand.loses("Deployment", "work");
    assert_eq!(hand.track("rs/work-set1/desired"), json!([2]));
    assert_eq!(hand.track("rs/work-set2/desired"), json!([0]));
    assert_eq!(hand.track("deployment/work/desired"), json!([2, 0, "gone"]));
}

#[test]
fn pod_metadata_is_told_only_once_it_changes() {
    let mut hand = Hand::new();
    let set = |labels: &Value| json!({"metadata": {"name": "s", "uid": "s"}, "spec": {"template": {"metadata": {"labels": labels}}}});
    let (own, edited) = (json!({"app": "demo"}), json!({"app": "demo", "role": "canary"}));
    hand.sees("ReplicaSet", set(&own));
    assert_eq!(hand.track("rs/s/podMeta"), Value::Null);
    hand.sees("ReplicaSet", set(&edited));
    hand.sees("ReplicaSet", set(&own));
    let told = |labels: &Value| json!({"annotations": {}, "labels": labels});
    assert_eq!(hand.track("rs/s/podMeta"), json!([told(&edited), told(&own)]));
}

#[test]
fn what_an_object_no_longer_shows_is_told_once() {
    let mut hand = Hand::new();
    let invalid = json!([{"type": "InvalidSpec", "status": "True", "reason": "InvalidSpec"}]);
    for conditions in [&invalid, &json!([]), &json!([]), &invalid, &json!([])] {
        hand.sees("Rollout", json!({"metadata": {"name": "demo"}, "status": {"conditions": conditions}}));
    }
    let shown = "True(InvalidSpec)";
    assert_eq!(hand.track("rollout/demo/condition/InvalidSpec"), json!([shown, "-", shown, "-"]));
}

#[test]
fn what_one_object_lost_does_not_speak_for_another_of_the_same_name() {
    let mut hand = Hand::new();
    let ingress =
        |name: &str, annotations: Value| json!({"metadata": {"name": name, "annotations": annotations}});
    // Both names read `NS` once the namespace is replaced.
    let (one, other) = ("NS", "by-hand-story");
    hand.sees("Ingress", ingress(one, json!({"weight": "20"})));
    hand.sees("Ingress", ingress(one, json!({})));
    hand.sees("Ingress", ingress(other, json!({"weight": "40"})));
    hand.sees("Ingress", ingress(one, json!({})));
    assert_eq!(hand.track("ingress/NS/weight"), json!([20, "-", 40]));
}

#[test]
fn services_and_ingresses_show_what_the_controller_edits() {
    let mut hand = Hand::new();
    hand.set("demo", "aaa", Some("1"), 1);
    hand.sees("Service", json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "demo"}}}));
    let managed = json!({"argo-rollouts.argoproj.io/managed-by-rollouts": "demo"});
    hand.sees(
        "Service",
        json!({"metadata": {"name": "web", "annotations": managed}, "spec": {"selector": {"app": "demo", HASH: "aaa"}}}),
    );
    hand.loses("Service", "web");
    assert_eq!(hand.track("service/web/selector"), json!(["-", "rev1", "gone"]));
    assert_eq!(hand.track("service/web/managedBy"), json!(["-", "demo"]));
    let annotations = json!({"weight": "20", "class": "nginx", "action": "{\"b\": [\"aaa\"], \"a\": 1}"});
    hand.sees("Ingress", json!({"metadata": {"name": "in", "annotations": annotations}}));
    let rules = json!([{"host": "x"}]);
    hand.sees(
        "Ingress",
        json!({"metadata": {"name": "in", "annotations": {"class": "nginx"}}, "spec": {"rules": rules}}),
    );
    assert_eq!(hand.track("ingress/in/weight"), json!([20, "-"]));
    assert_eq!(hand.track("ingress/in/class"), json!(["nginx"]));
    assert_eq!(hand.track("ingress/in/action"), json!([{"a": 1, "b": ["rev1"]}, "-"]));
    assert_eq!(hand.track("ingress/in/rules"), json!([[], rules]));
}

#[test]
fn routers_weights_runs_and_experiments_are_told_too() {
    let mut hand = Hand::new();
    hand.set("demo", "aaa", Some("1"), 1);
    let weights = json!({"canary": {"podTemplateHash": "aaa", "weight": 20}, "stable": {"weight": 80}, "additional": [{"weight": 1}]});
    hand.sees(
        "Rollout",
        json!({"metadata": {"name": "demo"}, "spec": {"strategy": {"blueGreen": {}}},
            "status": {"canary": {"weights": weights}, "blueGreen": {"activeSelector": "aaa"}}}),
    );
    let short = json!([{"canary": "rev1:20", "stable": "-:80", "additional": [{"weight": 1}]}]);
    assert_eq!(hand.track("rollout/demo/weights"), short);
    assert_eq!(
        (hand.track("rollout/demo/active"), hand.track("rollout/demo/preview")),
        (json!(["rev1"]), json!(["-"]))
    );
    hand.sees("VirtualService", json!({"metadata": {"name": "vs"}, "spec": {"http": [{"weight": 5}]}}));
    hand.loses("VirtualService", "vs");
    assert_eq!(hand.track("router/VirtualService/vs"), json!([{"http": [{"weight": 5}]}, "gone"]));
    hand.sees(
        "AnalysisRun",
        json!({"metadata": {"name": "demo-aaa-1", "labels": {"rollout-type": "Step"}}, "spec": {"terminate": true},
            "status": {"phase": "Running", "message": "on 2026-03-04T05:06:07Z"}}),
    );
    assert_eq!(hand.track("analysisrun/demo-rev1-1/role"), json!(["Step"]));
    assert_eq!(hand.track("analysisrun/demo-rev1-1/terminate"), json!([true]));
    assert_eq!(hand.track("final/AnalysisRun/demo-rev1-1/message"), json!(["on TIME"]));
    let templates = json!([{"name": "a", "status": "Running"}, {"name": "b", "message": "waits"}]);
    hand.sees(
        "Experiment",
        json!({"metadata": {"name": "ex"}, "status": {"phase": "Running", "templateStatuses": templates, "analysisRuns": [{"name": "r"}]}}),
    );
    assert_eq!(hand.track("experiment/ex/template/a"), json!(["Running"]));
    assert_eq!(hand.track("experiment/ex/template/b"), json!(["- waits"]));
    assert_eq!(hand.track("experiment/ex/analysis/r"), json!(["-"]));
    hand.sees("Job", json!({"metadata": {"name": "j"}}));
    hand.sees("Job", json!({"metadata": {"name": "k"}}));
    hand.loses("Job", "k");
    assert_eq!(hand.track("jobs/left"), json!([1]));
}

#[test]
fn only_new_events_count_and_only_the_first_twenty_five() {
    let mut hand = Hand::new();
    let seen = [
        ("A", 1, "Rollout"),
        ("B", 1, "Rollout"),
        ("A", 1, "Rollout"),
        ("B", 1, "Rollout"),
        ("A", 2, "Rollout"),
    ];
    for (uid, count, kind) in seen.into_iter().chain([("C", 1, "Pod")]) {
        hand.sees(
            "Event",
            json!({"metadata": {"name": uid, "uid": uid}, "count": count, "reason": uid, "message": format!("{count}s"),
                "involvedObject": {"kind": kind, "name": "demo"}}),
        );
    }
    hand.loses("Event", "B");
    assert_eq!(hand.track("events/Rollout/demo"), json!(["A", "B", "A"]));
    assert_eq!(hand.track("event/Rollout/demo/A"), json!(["DURATION"]));
    assert_eq!(hand.track("events/Pod/demo"), Value::Null);

    let mut hand = Hand::new();
    (0..30).for_each(|n| hand.event(&format!("R{n}"), ""));
    let kept = hand.track("events/Rollout/demo");
    assert_eq!((kept.as_array().unwrap().len(), &kept[24]), (25, &json!("R24")));
}

// ---- plays written by hand

struct Hand(Play);

impl Hand {
    fn new() -> Hand {
        Hand(Play::new(Place::of_story("by_hand")))
    }

    fn sees(&mut self, kind: &str, object: Value) {
        self.0.saw(Sighting { at_ms: 0, kind: kind.to_owned(), deleted: false, object });
    }

    fn loses(&mut self, kind: &str, name: &str) {
        let object = self.0.current(kind, name).expect("what is lost was seen").clone();
        self.0.saw(Sighting { at_ms: 0, kind: kind.to_owned(), deleted: true, object });
    }

    /// The Rollout with these fields of its status changed; `null` removes one.
    fn status(&mut self, changes: Value) {
        let mut rollout = self.0.current("Rollout", "demo").expect("the rollout was seen").clone();
        let status = rollout["status"].as_object_mut().unwrap();
        for (key, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => _ = status.remove(key),
                value => _ = status.insert(key.clone(), value.clone()),
            }
        }
        self.sees("Rollout", rollout);
    }

    fn set(&mut self, owner: &str, hash: &str, revision: Option<&str>, replicas: i64) {
        let annotations = revision.map_or(json!({}), |revision| json!({REVISION: revision}));
        let name = format!("{owner}-{hash}");
        self.sees(
            "ReplicaSet",
            json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "labels": {HASH: hash}, "annotations": annotations,
                    "ownerReferences": [{"kind": "Rollout", "name": owner}]},
                "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": owner, HASH: hash}}}}}),
        );
    }

    /// A scaled ReplicaSet with its event and its pods.
    fn scale(&mut self, hash: &str, from: i64, to: i64) {
        let (revision, way) = (if hash == "aaa" { "1" } else { "2" }, if to > from { "up" } else { "down" });
        let set = format!("demo-{hash}");
        self.event(
            "ScalingReplicaSet",
            &format!("Scaled {way} ReplicaSet {set} (revision {revision}) from {from} to {to}"),
        );
        self.set("demo", hash, Some(revision), to);
        (from..to).for_each(|n| self.pod(&set, hash, n));
        (to..from).for_each(|n| self.loses("Pod", &format!("{set}-{n}")));
    }

    fn pod(&mut self, set: &str, hash: &str, n: i64) {
        let name = format!("{set}-{n}");
        self.sees(
            "Pod",
            json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "labels": {"app": "demo", HASH: hash},
                "ownerReferences": [{"kind": "ReplicaSet", "name": set}]}}),
        );
    }

    fn event(&mut self, reason: &str, message: &str) {
        self.sees(
            "Event",
            json!({"involvedObject": {"kind": "Rollout", "name": "demo"}, "type": "Normal", "reason": reason, "message": message}),
        );
    }

    fn track(&self, name: &str) -> Value {
        self.0.tracks().remove(name).map_or(Value::Null, Value::Array)
    }
}

fn recorded() -> Recording {
    let text = include_str!("../../scenarios/argo/recordings/canary_steps_walk.json");
    Recording::from_value(&serde_json::from_str(text).unwrap()).unwrap()
}

/// A moment's conditions: the reason of `Progressing`, and the others by status; an empty text is no condition.
fn conditions(progressing: &str, completed: &str, healthy: &str, paused: &str) -> Value {
    let time = "2026-03-04T05:06:07Z";
    let one = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": time, "lastUpdateTime": time});
    let undecided = ["RolloutPaused", "RolloutResumed"].contains(&progressing);
    let progressed = "ReplicaSet \"demo-bbb\" has successfully progressed.";
    let available = if completed.is_empty() { "" } else { "True" };
    [
        ("Progressing", if undecided { "Unknown" } else { "True" }, progressing, progressed),
        ("Paused", paused, "RolloutPaused", "Rollout is paused"),
        ("Completed", completed, "RolloutCompleted", "RolloutCompleted"),
        ("Healthy", healthy, "RolloutHealthy", "Rollout is healthy"),
        ("Available", available, "AvailableReason", "Rollout has minimum availability"),
    ]
    .into_iter()
    .filter(|(_, status, _, _)| !status.is_empty())
    .map(|(kind, status, reason, message)| one(kind, status, reason, message))
    .collect()
}

/// Five pods through 20 %, a timed pause, 60 % and an endless pause that the user promotes: a log without repetitions.
fn canary_steps_walk() -> Hand {
    let busy = "more replicas need to be updated";
    let paused = json!({"phase": "Paused", "message": "CanaryPauseStep", "controllerPause": true,
        "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-03-04T05:06:07Z"}]});
    let mut hand = Hand::new();
    hand.sees("Rollout", json!({"metadata": {"name": "demo"}, "spec": {"replicas": 5}, "status": {}}));
    hand.event("RolloutAddedToInformer", "Rollout resource added to informer: by-hand-story/demo");
    hand.set("demo", "aaa", Some("1"), 0);
    hand.event("RolloutUpdated", "Rollout updated to revision 1");
    hand.event("NewReplicaSetCreated", "Created ReplicaSet demo-aaa (revision 1)");
    hand.status(json!({"conditions": conditions("NewReplicaSetCreated", "", "", "")}));
    hand.event("RolloutNotCompleted", "Rollout not completed, started update to revision 1 (aaa)");
    hand.status(json!({"phase": "Progressing", "message": busy, "currentStepIndex": 0, "currentPodHash": "aaa",
        "conditions": conditions("ReplicaSetUpdated", "False", "", ""), "blueGreen": {}, "canary": {}, "selector": "app=demo"}));
    hand.scale("aaa", 0, 5);
    hand.event("RolloutCompleted", "Rollout completed update to revision 1 (aaa): Initial deploy");
    hand.status(json!({"currentStepIndex": 4, "stableRS": "aaa", "conditions": conditions("ReplicaSetUpdated", "True", "", "")}));
    hand.status(json!({"phase": "Healthy", "message": null, "conditions": conditions("NewReplicaSetAvailable", "True", "True", "")}));

    // The user sets a new image.
    hand.set("demo", "bbb", Some("2"), 0);
    hand.event("RolloutUpdated", "Rollout updated to revision 2");
    hand.event("NewReplicaSetCreated", "Created ReplicaSet demo-bbb (revision 2)");
    hand.status(json!({"conditions": conditions("NewReplicaSetCreated", "True", "True", "")}));
    hand.event("RolloutNotCompleted", "Rollout not completed, started update to revision 2 (bbb)");
    hand.status(
        json!({"phase": "Progressing", "message": busy, "currentStepIndex": 0, "currentPodHash": "bbb",
        "conditions": conditions("ReplicaSetUpdated", "False", "False", "")}),
    );
    hand.scale("aaa", 5, 4);
    hand.scale("bbb", 0, 1);
    hand.event("RolloutStepCompleted", "Rollout step 1/4 completed (setWeight: 20)");
    hand.status(json!({"currentStepIndex": 1}));
    hand.event("RolloutPaused", "Rollout is paused (CanaryPauseStep)");
    hand.status(paused.clone());
    hand.status(json!({"conditions": conditions("RolloutPaused", "False", "False", "True")}));
    hand.event("RolloutStepCompleted", "Rollout step 2/4 completed (pause: 1s)");
    hand.event("RolloutResumed", "Rollout is resumed");
    hand.status(json!({"phase": "Progressing", "message": busy, "controllerPause": null, "pauseConditions": null, "currentStepIndex": 2,
        "conditions": conditions("ReplicaSetUpdated", "False", "False", "False")}));
    hand.scale("aaa", 4, 3);
    hand.scale("bbb", 1, 3);
    hand.scale("aaa", 3, 2);
    hand.event("RolloutStepCompleted", "Rollout step 3/4 completed (setWeight: 60)");
    hand.status(json!({"currentStepIndex": 3}));
    hand.event("RolloutPaused", "Rollout is paused (CanaryPauseStep)");
    hand.status(paused);
    hand.status(json!({"conditions": conditions("RolloutPaused", "False", "False", "True")}));

    // The user promotes.
    hand.status(json!({"pauseConditions": null, "phase": "Progressing", "message": busy,
        "conditions": conditions("RolloutResumed", "False", "False", "False")}));
    hand.event("RolloutStepCompleted", "Rollout step 4/4 completed (pause)");
    hand.status(json!({"controllerPause": null, "currentStepIndex": 4,
        "conditions": conditions("ReplicaSetUpdated", "False", "False", "False")}));
    hand.scale("aaa", 2, 1);
    hand.scale("bbb", 3, 5);
    hand.scale("aaa", 1, 0);
    hand.event(
        "RolloutCompleted",
        "Rollout completed update to revision 2 (bbb): Completed all 4 canary steps",
    );
    hand.status(json!({"stableRS": "bbb", "message": "old replicas are pending termination",
        "conditions": conditions("ReplicaSetUpdated", "True", "False", "False")}));
    hand.status(json!({"phase": "Healthy", "message": null, "observedGeneration": "3", "replicas": 5, "updatedReplicas": 5,
        "readyReplicas": 5, "availableReplicas": 5, "HPAReplicas": 5,
        "conditions": conditions("NewReplicaSetAvailable", "True", "True", "False"),
        "duration": {"completionStatus": "Promoted", "finishedAt": "2026-03-04T05:06:07Z",
            "rolloutStartedAt": "2026-03-04T05:06:01Z", "totalManualPauseDurationSeconds": 1}}));
    ["wait", "set_image", "wait", "promote", "wait"]
        .iter()
        .for_each(|verb| hand.0.note(format!("{verb} ok")));
    hand
}

// ---- whatever is stored, tracks come out

fn any_key() -> impl Strategy<Value = String> {
    const KEYS: [&str; 31] = [
        "metadata",
        "name",
        "uid",
        "labels",
        "annotations",
        "ownerReferences",
        "kind",
        "spec",
        "status",
        "template",
        "replicas",
        "conditions",
        "type",
        "reason",
        "message",
        "involvedObject",
        "count",
        "canary",
        "blueGreen",
        "weights",
        "weight",
        "strategy",
        "selector",
        "pauseConditions",
        "templateStatuses",
        "analysisRuns",
        "phase",
        "rules",
        HASH,
        REVISION,
        "pod-template-hash",
    ];
    prop::sample::select(&KEYS[..]).prop_map(str::to_owned)
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(aaa|bbb|2026-03-04T05:06:07Z|1h2m3s|[a-zµ\"{]{0,4})".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any_key(), inner, 0..5)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// Half of them shaped like objects, so that what is strange lies deep inside too.
fn any_sighting() -> impl Strategy<Value = Sighting> {
    const KINDS: [&str; 12] = [
        "Rollout",
        "ReplicaSet",
        "Pod",
        "Event",
        "Service",
        "Ingress",
        "Deployment",
        "Job",
        "AnalysisRun",
        "Experiment",
        "VirtualService",
        "Secret",
    ];
    let owner = prop::sample::select(&["Rollout", "Deployment", "Experiment", "ReplicaSet"][..]);
    let shaped = (any_value(), any_value(), any_value(), 0..3u8, owner).prop_map(|(odd, spec, status, id, owner)| {
        json!({"spec": spec, "status": status, "involvedObject": odd, "metadata": {"name": format!("n-{id}"), "uid": id.to_string(),
            "labels": {HASH: format!("h{id}"), "pod-template-hash": odd}, "annotations": {REVISION: "1", "odd": odd},
            "ownerReferences": [{"kind": owner, "name": format!("n-{}", id % 2)}]}})
    });
    let object = prop_oneof![any_value(), shaped];
    (prop::sample::select(&KINDS[..]), any::<bool>(), object).prop_map(|(kind, deleted, object)| Sighting {
        at_ms: 0,
        kind: kind.to_owned(),
        deleted,
        object,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn any_log_has_tracks_of_distinct_neighbours(
        log in prop::collection::vec(any_sighting(), 0..12),
        script in prop::collection::vec("[ -~]{0,8}", 0..3),
    ) {
        let all = tracks(&log, &script, &Place::of_story("any"));
        for (track, values) in all.iter().filter(|(track, _)| *track != "script") {
            prop_assert!(values.windows(2).all(|pair| pair[0] != pair[1]), "{track}: {values:?}");
        }
    }
}
