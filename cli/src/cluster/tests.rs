//! The verbs, played against a cluster in memory.

use serde_json::{Value, json};

use super::testing::{Memory, is_use};

fn rollout(paused: bool, strategy: Value, status: Value) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "cart", "namespace": "retail", "uid": "r", "creationTimestamp": "2025-12-20T12:00:00Z"},
        "spec": {"replicas": 4, "paused": paused, "strategy": strategy,
            "selector": {"matchLabels": {"app": "cart"}}, "template": template("cart:1.9")},
        "status": status})
}

fn canary() -> Value {
    json!({"canary": {"steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]}})
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

fn owned(kind: &str, name: &str, owner: (&str, &str), rest: Value) -> Value {
    let version = match kind {
        "Pod" => "v1",
        "ReplicaSet" => "apps/v1",
        _ => "argoproj.io/v1alpha1",
    };
    let mut object = json!({"apiVersion": version, "kind": kind,
        "metadata": {"name": name, "namespace": "retail", "uid": name, "ownerReferences": [{
            "apiVersion": "argoproj.io/v1alpha1", "kind": owner.0, "name": "o", "uid": owner.1, "controller": true}]}});
    super::change::merge(&mut object, &rest);
    object
}

fn set(hash: &str, revision: &str, image: &str, pods: i64, made: &str) -> Value {
    let mut template = template(image);
    template["metadata"]["labels"]["rollouts-pod-template-hash"] = json!(hash);
    let rest = json!({
        "metadata": {"creationTimestamp": made, "generation": 1, "labels": {"rollouts-pod-template-hash": hash},
            "annotations": {"rollout.argoproj.io/revision": revision}},
        "spec": {"replicas": pods, "template": template},
        "status": {"observedGeneration": 1, "replicas": pods, "availableReplicas": pods, "readyReplicas": pods}});
    owned("ReplicaSet", &format!("cart-{hash}"), ("Rollout", "r"), rest)
}

fn pod(name: &str, set: &str, made: &str) -> Value {
    let rest = json!({"metadata": {"creationTimestamp": made}, "spec": {"containers": [{}, {}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"ready": true, "restartCount": 1, "state": {"running": {}}},
            {"ready": true, "restartCount": 0, "state": {"running": {}}}]}});
    owned("Pod", name, ("ReplicaSet", set), rest)
}

/// A canary in its second step, with everything that can hang below a Rollout.
fn shop() -> Vec<Value> {
    let status = json!({"phase": "Paused", "message": "CanaryPauseStep", "currentStepIndex": 1, "stableRS": "7b6",
        "currentPodHash": "5c9", "pauseConditions": [{"reason": "CanaryPauseStep"}], "controllerPause": true,
        "replicas": 5, "updatedReplicas": 1, "readyReplicas": 5, "availableReplicas": 5});
    let below_revision = |revision: &str| json!({"rollout.argoproj.io/revision": revision});
    let mut old = set("66d", "7", "cart:1.7", 0, "2025-12-01T12:00:00Z");
    old["metadata"]["annotations"]["scale-down-deadline"] = json!("2026-01-01T11:00:00Z");
    let probe = json!({"metadata": {"creationTimestamp": "2026-01-01T11:58:00Z", "generation": 1,
            "annotations": {"experiment.argoproj.io/template-name": "probe"}},
        "spec": {"replicas": 1, "template": template("cart:1.9")},
        "status": {"observedGeneration": 1, "replicas": 1, "availableReplicas": 1}});
    vec![
        rollout(false, canary(), status),
        set("5c9", "9", "cart:1.9", 1, "2026-01-01T11:56:40Z"),
        set("7b6", "8", "cart:1.8", 4, "2025-12-20T12:00:00Z"),
        old,
        pod("cart-5c9-x7k2p", "cart-5c9", "2026-01-01T11:56:40Z"),
        pod("cart-7b6-2nq8w", "cart-7b6", "2025-12-20T12:00:00Z"),
        pod("cart-7b6-m4vzt", "cart-7b6", "2025-12-20T12:00:01Z"),
        owned(
            "Experiment",
            "cart-5c9-9-1",
            ("Rollout", "r"),
            json!({
            "metadata": {"creationTimestamp": "2026-01-01T11:58:00Z", "annotations": below_revision("9")},
            "spec": {"duration": "10m"}, "status": {"phase": "Running", "availableAt": "2026-01-01T11:58:30Z"}}),
        ),
        owned("ReplicaSet", "cart-5c9-9-1-probe", ("Experiment", "cart-5c9-9-1"), probe),
        pod("cart-5c9-9-1-probe-4ld9q", "cart-5c9-9-1-probe", "2026-01-01T11:58:00Z"),
        owned(
            "AnalysisRun",
            "cart-5c9-9-1-latency",
            ("Experiment", "cart-5c9-9-1"),
            json!({
            "metadata": {"creationTimestamp": "2026-01-01T11:58:02Z"},
            "status": {"phase": "Running", "metricResults": [{"successful": 2, "failed": 1}, {"successful": 1}]}}),
        ),
        owned(
            "AnalysisRun",
            "cart-5c9-9-2",
            ("Rollout", "r"),
            json!({
            "metadata": {"creationTimestamp": "2026-01-01T11:58:25Z", "annotations": below_revision("9")},
            "status": {"phase": "Successful", "metricResults": [{"successful": 5, "measurements": [
                {"phase": "Successful", "startedAt": "2026-01-01T11:58:25Z", "metadata": {"job-name": "7f0c-smoke.1"}}]}]}}),
        ),
        pod("stranger", "elsewhere", "2026-01-01T11:00:00Z"),
    ]
}

#[test]
fn a_rollout_is_drawn_with_all_that_belongs_to_it() {
    insta::assert_snapshot!(Memory::new(shop()).run("get rollout cart").out, @r"
Name:            cart
Namespace:       retail
Status:          ॥ Paused
Message:         CanaryPauseStep
Strategy:        Canary
  Step:          1/4
  SetWeight:     25
  ActualWeight:  20
Images:          cart:1.8 (stable)
                 cart:1.9 (canary, Σ:probe)
Replicas:
  Desired:       4
  Current:       5
  Updated:       1
  Ready:         5
  Available:     5

NAME                                    KIND         STATUS        AGE    INFO
⟳ cart                                  Rollout      ॥ Paused      12d
├──# revision:9
│  ├──⧉ cart-5c9                        ReplicaSet   ✔ Healthy     3m20s  canary
│  │  └──□ cart-5c9-x7k2p               Pod          ✔ Running     3m20s  ready:2/2,restarts:1
│  ├──Σ cart-5c9-9-1                    Experiment   ◌ Running     2m
│  │  ├──⧉ cart-5c9-9-1-probe           ReplicaSet   ✔ Healthy     2m
│  │  │  └──□ cart-5c9-9-1-probe-4ld9q  Pod          ✔ Running     2m     ready:2/2,restarts:1
│  │  └──α cart-5c9-9-1-latency         AnalysisRun  ◌ Running     118s   ✔ 3,✖ 1
│  └──α cart-5c9-9-2                    AnalysisRun  ✔ Successful  95s    ✔ 5
│     └──⊞ 7f0c-smoke.1                 Job          ✔ Successful  95s
├──# revision:8
│  └──⧉ cart-7b6                        ReplicaSet   ✔ Healthy     12d    stable
│     ├──□ cart-7b6-2nq8w               Pod          ✔ Running     12d    ready:2/2,restarts:1
│     └──□ cart-7b6-m4vzt               Pod          ✔ Running     11d    ready:2/2,restarts:1
└──# revision:7
   └──⧉ cart-66d                        ReplicaSet   • ScaledDown  31d    delay:passed
");
}

#[test]
fn an_experiment_is_drawn_alone() {
    insta::assert_snapshot!(Memory::new(shop()).run("get experiment cart-5c9-9-1").out, @r"
Name:            cart-5c9-9-1
Namespace:       retail
Status:          ◌ Running
Images:          cart:1.9 (Σ:probe)

NAME                              KIND         STATUS     AGE   INFO
Σ cart-5c9-9-1                    Experiment   ◌ Running  2m
├──⧉ cart-5c9-9-1-probe           ReplicaSet   ✔ Healthy  2m
│  └──□ cart-5c9-9-1-probe-4ld9q  Pod          ✔ Running  2m    ready:2/2,restarts:1
└──α cart-5c9-9-1-latency         AnalysisRun  ◌ Running  118s  ✔ 3,✖ 1
");
}

#[test]
fn a_blue_green_rollout_is_drawn_with_its_services() {
    let status = json!({"phase": "Healthy", "stableRS": "7b6", "currentPodHash": "5c9", "replicas": 5,
        "blueGreen": {"activeSelector": "7b6", "previewSelector": "5c9"}});
    let mut next = set("5c9", "9", "cart:1.9", 1, "2026-01-01T11:56:40Z");
    next["status"]["availableReplicas"] = json!(0);
    let objects = [
        rollout(false, json!({"blueGreen": {"activeService": "cart"}}), status),
        next,
        set("7b6", "8", "cart:1.8", 4, "2025-12-20T12:00:00Z"),
    ];
    insta::assert_snapshot!(Memory::new(objects).run("get ro cart").out, @r"
Name:            cart
Namespace:       retail
Status:          ✔ Healthy
Strategy:        BlueGreen
Images:          cart:1.8 (active, stable)
                 cart:1.9 (preview)
Replicas:
  Desired:       4
  Current:       5
  Updated:       0
  Ready:         0
  Available:     0

NAME              KIND        STATUS         AGE    INFO
⟳ cart            Rollout     ✔ Healthy      12d
├──# revision:9
│  └──⧉ cart-5c9  ReplicaSet  ◌ Progressing  3m20s  preview
└──# revision:8
   └──⧉ cart-7b6  ReplicaSet  ✔ Healthy      12d    stable,active
");
}

#[test]
fn a_watch_redraws_when_something_changes() {
    let memory = Memory::new(shop());
    let healthy = rollout(false, canary(), json!({"phase": "Healthy", "currentStepIndex": 4}));
    memory.coming.borrow_mut().push_back(healthy);
    let came = memory.run("get rollout cart --watch --timeout-seconds 3");
    assert_eq!(came.error, None);
    let pictures: Vec<&str> = came.out.split("\x1b[H\x1b[2J\x1b[0;0H").skip(1).collect();
    assert!(!pictures.is_empty());
    assert!(pictures.iter().all(|picture| picture.contains("✔ Healthy")), "{came:?}");
}

#[test]
fn rollouts_are_listed() {
    let memory = Memory::new(shop());
    insta::assert_snapshot!(memory.run("list rollouts").out, @r"
NAME        STRATEGY   STATUS        STEP  SET-WEIGHT  READY  DESIRED  UP-TO-DATE  AVAILABLE
cart        Canary     Paused        1/4   25          5/5    4        1           5
");
    insta::assert_snapshot!(memory.run("list ro -A --timestamps").out, @r"
TIMESTAMP             NAMESPACE  NAME        STRATEGY   STATUS        STEP  SET-WEIGHT  READY  DESIRED  UP-TO-DATE  AVAILABLE
2026-01-01T12:00:00Z  retail     cart        Canary     Paused        1/4   25          5/5    4        1           5
");
    insta::assert_snapshot!(memory.run("list experiments").out, @r"
NAME          STATUS   DURATION  REMAINING  AGE
cart-5c9-9-1  Running  10m       8m30s      2m
");
    assert_eq!(memory.run("list rollouts --name other").out, "");
}

#[test]
fn a_watched_list_grows_by_what_can_be_seen() {
    let mut same = shop().remove(0);
    same["metadata"]["resourceVersion"] = json!("7");
    let healthy = rollout(false, canary(), json!({"phase": "Healthy", "currentStepIndex": 4}));
    let memory = Memory::new(shop());
    memory.coming.borrow_mut().push_back(same.clone());
    let came = memory.run("list rollouts -w");
    assert_eq!((came.out.lines().count(), came.error), (2, None));
    memory.coming.borrow_mut().extend([same, healthy]);
    let came = memory.run("list rollouts -w").out;
    let last = "cart        Canary     Healthy       4/4   100         0/0    4        0           0";
    assert_eq!((came.lines().count(), came.lines().last()), (3, Some(last)));
}

#[test]
fn status_tells_each_change_and_waits_for_the_end() {
    let with = |status: Value| rollout(false, canary(), status);
    let moving = || with(json!({"phase": "Progressing", "message": "more replicas need to be updated"}));
    let memory = Memory::new([moving()]);
    memory.coming.borrow_mut().extend([
        moving(),
        moving(),
        with(json!({"phase": "Paused", "message": "CanaryPauseStep"})),
        with(json!({"phase": "Healthy"})),
        moving(),
    ]);
    let came = memory.run("status cart");
    assert_eq!(
        came.out,
        "Progressing - more replicas need to be updated\nPaused - CanaryPauseStep\nHealthy\n"
    );
    assert_eq!(came.error, None);
    let late = Memory::new([moving()]).run("status cart -t 500ms");
    assert_eq!(late.error.as_deref(), Some("Rollout status watch exceeded timeout"));
    let broken = with(json!({"phase": "Degraded", "message": "RolloutAborted: why"}));
    let memory = Memory::new([broken.clone()]);
    memory.coming.borrow_mut().extend([broken, moving()]);
    let degraded = "The rollout is in a degraded state with message: RolloutAborted: why";
    let came = memory.run("status cart");
    assert_eq!((&*came.out, came.error.as_deref()), ("Degraded - RolloutAborted: why\n", Some(degraded)));
    let came = memory.run("status cart --watch=false");
    assert_eq!((&*came.out, came.error.as_deref()), ("Degraded\n", Some(degraded)));
    let came = Memory::new([moving()]).run("status cart -w=false");
    assert_eq!((&*came.out, came.error), ("Progressing - more replicas need to be updated\n", None));
}

#[test]
fn status_sees_what_the_controller_has_not_seen() {
    let mut newer = rollout(false, canary(), json!({"phase": "Healthy", "observedGeneration": "3"}));
    newer["metadata"]["generation"] = json!(4);
    let came = Memory::new([newer]).run("status cart --watch=false");
    assert_eq!(came.out, "Progressing - waiting for rollout spec update to be observed\n");
}

/// The decision table of `promote`: options, the Rollout, and the requests.
#[test]
fn promote_writes_row_by_row() {
    let pauses = json!([{"reason": "CanaryPauseStep"}]);
    let inconclusive = json!({"currentStepAnalysisRunStatus": {"name": "run", "status": "Inconclusive"}});
    let under_way = json!({"currentPodHash": "b", "stableRS": "a"});
    let done = json!({"currentPodHash": "a", "stableRS": "a"});
    let unpause = r#"merge Rollout cart {"spec":{"paused":false}}"#;
    let rows: &[(&str, Value, bool, &[&str])] = &[
        (
            "--full",
            under_way.clone(),
            false,
            &[r#"merge-status Rollout cart {"status":{"promoteFull":true}}"#],
        ),
        (
            "--full",
            under_way,
            true,
            &[r#"merge-status Rollout cart {"status":{"promoteFull":true}}"#, unpause],
        ),
        ("--full", done.clone(), true, &[unpause]),
        ("--full", done, false, &[]),
        (
            "",
            json!({"pauseConditions": pauses, "controllerPause": true, "currentStepIndex": 1, "canary": inconclusive}),
            false,
            &[
                r#"merge-status Rollout cart {"status":{"controllerPause":false,"currentStepIndex":2,"pauseConditions":null}}"#,
            ],
        ),
        (
            "",
            json!({"pauseConditions": pauses, "controllerPause": true, "currentStepIndex": 1}),
            false,
            &[r#"merge-status Rollout cart {"status":{"pauseConditions":null}}"#],
        ),
        (
            "",
            json!({"pauseConditions": pauses}),
            true,
            &[r#"merge-status Rollout cart {"status":{"pauseConditions":null}}"#, unpause],
        ),
        (
            "",
            json!({"currentStepIndex": 3}),
            false,
            &[r#"merge-status Rollout cart {"status":{"currentStepIndex":4,"pauseConditions":null}}"#],
        ),
        (
            "-c",
            json!({"currentStepIndex": 1}),
            false,
            &[r#"merge-status Rollout cart {"status":{"currentStepIndex":2}}"#],
        ),
        (
            "-a",
            json!({"currentStepIndex": 1}),
            false,
            &[r#"merge-status Rollout cart {"status":{"currentStepIndex":4}}"#],
        ),
    ];
    for (options, status, paused, wanted) in rows {
        let came =
            Memory::new([rollout(*paused, canary(), status.clone())]).run(&format!("promote cart {options}"));
        assert_eq!(came.writes, *wanted, "{options} {status}");
        let fully = if *options == "--full" { "fully " } else { "" };
        assert_eq!((came.out, came.error), (format!("rollout 'cart' {fully}promoted\n"), None));
    }
    let blue_green = Memory::new([rollout(false, json!({"blueGreen": {"activeService": "a"}}), json!({}))]);
    for option in ["-c", "-a"] {
        let came = blue_green.run(&format!("promote cart {option}"));
        assert!(came.error.is_some() && came.writes.is_empty() && came.out.is_empty(), "{came:?}");
    }
}

#[test]
fn without_a_status_subresource_one_patch_says_all() {
    let status = json!({"pauseConditions": [{"reason": "CanaryPauseStep"}]});
    let mut memory = Memory::new([rollout(true, canary(), status)]);
    memory.without_status = true;
    let wanted = [
        r#"merge-status Rollout cart {"status":{"pauseConditions":null}}"#,
        r#"merge Rollout cart {"spec":{"paused":false},"status":{"pauseConditions":null}}"#,
    ];
    assert_eq!(memory.run("promote cart").writes, wanted);
    let wanted = [
        r#"merge-status Rollout cart {"status":{"abort":true}}"#,
        r#"merge Rollout cart {"status":{"abort":true}}"#,
    ];
    assert_eq!(memory.run("abort cart").writes, wanted);
}

#[test]
fn each_verb_writes_one_thing_and_says_so() {
    let memory = Memory::new(shop());
    let rows = [
        ("abort cart", "rollout 'cart' aborted", r#"merge-status Rollout cart {"status":{"abort":true}}"#),
        (
            "retry rollout cart",
            "rollout 'cart' retried",
            r#"merge-status Rollout cart {"status":{"abort":false}}"#,
        ),
        ("pause cart", "rollout 'cart' paused", r#"merge Rollout cart {"spec":{"paused":true}}"#),
        ("resume cart", "rollout 'cart' resumed", r#"merge Rollout cart {"spec":{"paused":false}}"#),
        (
            "restart cart",
            "rollout 'cart' restarts in 0s",
            r#"merge Rollout cart {"spec":{"restartAt":"2026-01-01T12:00:00Z"}}"#,
        ),
        (
            "restart cart -i 1h30m",
            "rollout 'cart' restarts in 1h30m",
            r#"merge Rollout cart {"spec":{"restartAt":"2026-01-01T13:30:00Z"}}"#,
        ),
        (
            "terminate analysisrun cart-5c9-9-2",
            "analysisRun 'cart-5c9-9-2' terminated",
            r#"merge AnalysisRun cart-5c9-9-2 {"spec":{"terminate":true}}"#,
        ),
        (
            "terminate exp cart-5c9-9-1",
            "experiment 'cart-5c9-9-1' terminated",
            r#"merge Experiment cart-5c9-9-1 {"spec":{"terminate":true}}"#,
        ),
        (
            "retry experiment cart-5c9-9-1",
            "experiment 'cart-5c9-9-1' retried",
            r#"merge Experiment cart-5c9-9-1 {"status":null}"#,
        ),
    ];
    for (words, said, written) in rows {
        let came = memory.run(words);
        assert_eq!((&*came.out, came.error), (&*format!("{said}\n"), None), "{words}");
        assert_eq!(came.writes, [written], "{words}");
    }
    let came = memory.run("restart cart --in soon");
    assert_eq!(came.error.as_deref(), Some("--in: time: invalid duration \"soon\""));
    assert!(came.writes.is_empty());
}

#[test]
fn the_first_failure_ends_a_verb() {
    let missing = Some("rollout.argoproj.io \"nobody\" not found");
    let came = Memory::new(shop()).run("pause cart nobody cart");
    assert_eq!((&*came.out, came.error.as_deref()), ("rollout 'cart' paused\n", missing));
    for words in [
        "get rollout nobody",
        "status nobody",
        "promote nobody",
        "abort nobody",
        "undo nobody",
        "set image nobody a=b",
    ] {
        assert_eq!(Memory::new(shop()).run(words).error.as_deref(), missing, "{words}");
    }
}

#[test]
fn undo_replaces_the_template_without_the_hash_label() {
    let memory = Memory::new(shop());
    let came = memory.run("undo cart");
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template("cart:1.8")}]);
    assert_eq!(came.writes, [format!("json Rollout cart {patch}")]);
    assert_eq!((&*came.out, came.error), ("rollout 'cart' undo\n", None));
    let came = memory.run("undo cart --to-revision 9");
    assert_eq!(came.out, "skipped rollback (current template already matches revision 9)\n");
    assert!(came.writes.is_empty());
    let why = |words: &str| memory.run(words).error;
    assert_eq!(
        why("undo cart --to-revision=3").as_deref(),
        Some("unable to find specified revision 3 in history")
    );
    let alone = Memory::new([rollout(false, canary(), json!({}))]).run("undo cart");
    assert_eq!(alone.error.as_deref(), Some("no revision found for rollout \"cart\""));
}

#[test]
fn undo_of_a_rollout_with_a_workload_changes_the_workload() {
    let came = Memory::new(with_workload()).run("undo cart");
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template("cart:1.8")}]);
    assert_eq!(came.writes, [format!("json Deployment cart-workload {patch}")]);
}

fn with_workload() -> Vec<Value> {
    let mut objects = shop();
    let spec = json!({"template": null, "selector": null,
        "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart-workload"}});
    super::change::merge(&mut objects[0]["spec"], &spec);
    objects.push(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "cart-workload", "namespace": "retail"},
        "spec": {"selector": {"matchLabels": {"app": "cart"}}, "template": template("cart:1.9")}}));
    objects
}

#[test]
fn set_image_writes_the_object_back_with_the_image() {
    let memory = Memory::new(shop());
    memory.conflicts.set(2);
    let came = memory.run("set image cart web=cart@sha256:0=1");
    assert_eq!((&*came.out, came.error), ("rollout \"cart\" image updated\n", None));
    assert_eq!(came.writes.len(), 3, "two met somebody else's");
    let mut wanted = shop().remove(0);
    wanted["spec"]["template"]["spec"]["containers"][0]["image"] = json!("cart@sha256:0=1");
    assert_eq!(came.writes[2], format!("replace Rollout cart {wanted}"));
    let why = |words: &str| memory.run(words).error.unwrap_or_default();
    assert_eq!(why("set image cart db=x"), "unable to find container named \"db\"");
    assert_eq!(why("set image cart web"), "`web` is not of the form CONTAINER=IMAGE");
    memory.conflicts.set(9);
    assert_eq!(why("set image cart *=x"), "the object has been modified");
    assert_eq!(memory.conflicts.get(), 4, "five attempts");
    let came = Memory::new(with_workload()).run("set image cart *=cart:2.0");
    assert_eq!(came.out, "deployment \"cart-workload\" image updated\n");
    assert!(came.writes[0].contains("cart:2.0"));
}

#[test]
fn every_name_and_flag_of_the_reference_is_understood() {
    let uses = [
        "get rollout x",
        "get rollouts x",
        "get ro x -w --no-color --timeout-seconds 5 -n other",
        "get experiment x -w",
        "get exp x --no-color",
        "get experiments x",
        "list rollouts",
        "list ro -A -w --timestamps --name x",
        "list rollout --all-namespaces",
        "list experiments -A",
        "list exp",
        "list experiment",
        "status x",
        "status x --watch=false --timeout 10m",
        "status x -w -t 5s",
        "promote x",
        "promote x --full",
        "promote x --skip-current-step",
        "promote x --skip-all-steps",
        "promote x -c",
        "promote x -a",
        "abort x y",
        "retry rollout x y",
        "retry ro x",
        "retry rollouts x",
        "retry experiment x",
        "retry exp x",
        "retry experiments x",
        "undo x",
        "undo x --to-revision=2",
        "restart x",
        "restart x --in 5m",
        "restart x -i 5m",
        "pause x y",
        "resume x",
        "set image x a=b",
        "terminate analysisrun x y",
        "terminate ar x",
        "terminate analysisruns x",
        "terminate experiment x",
        "terminate exp x",
        "terminate experiments x",
        "create -f a.yaml",
        "create -f a.yaml b.yaml",
        "create -f a.yaml -f b.yaml",
        "create -f a.yaml -w --no-color",
        "create analysisrun --from x -a k=v -a l=w --name n",
        "create ar --from x --global --instance-id i",
        "create ar --from-file f --generate-name p-",
        "promote x --context c --kubeconfig k -s https://h --token t",
        "create ar --from x -n other",
    ];
    for words in uses {
        assert!(is_use(words), "{words}");
    }
    let misuses = [
        "get rollout",
        "get rollout x y",
        "status",
        "status x y",
        "promote",
        "promote x y",
        "promote x -c -a",
        "abort",
        "retry",
        "retry rollout",
        "undo",
        "undo x y",
        "restart x y",
        "pause",
        "set image x",
        "set image x a=b c=d",
        "terminate",
        "terminate analysisrun",
        "create",
        "create ar",
        "create ar --from x --from-file y",
        "get",
        "list",
    ];
    for words in misuses {
        assert!(!is_use(words), "{words}");
    }
}

#[test]
fn a_run_is_made_from_a_template() {
    let template = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": {"name": "errors", "namespace": "retail"}, "spec": {"args": [{"name": "a"}], "metrics": []}});
    let came = Memory::new([template]).run("create analysisrun --from errors -a a=1");
    assert_eq!((&*came.out, came.error), ("analysisrun.argoproj.io/errors-x7k2p created\n", None));
    let came = Memory::new([]).run("create ar --from errors");
    assert_eq!(came.error.as_deref(), Some("analysistemplate.argoproj.io \"errors\" not found"));
}
