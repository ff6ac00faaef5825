//! Progress, its deadline, phase and message, and the conditions.

use serde_json::{Value, json};

use crate::life::Life;
use crate::moment::{Moment, stamp};
use crate::{Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("P1", "a Service that moves is progress", || {
        let settled = || Moment::blue_green(10, json!({})).update("v1", "10/10", "v2", "10/0");
        check_progress(settled().selected("v1", "v2"), false);
        check_progress(settled().selected("v1", "v1"), true);
        let ready = Moment::blue_green(10, json!({})).update("v1", "10/10", "v2", "10/10");
        // Of a generation that was not observed yet nothing is said to be healthy.
        check_progress(ready.selected("v1", "v2").status(json!({"observedGeneration": "0"})), true);
    }),
    vector("P2", "another stable version, step or list of steps is progress", || {
        let steps = json!({"maxSurge": 1, "maxUnavailable": 0, "steps": [{"setWeight": 20}, {"pause": {}}]});
        let held = || Moment::canary(10, steps.clone()).update("v1", "8/8", "v2", "2/1");
        check_progress(held(), false);
        check_progress(Moment::canary(10, steps.clone()).update("v1", "8/8", "v2", "2/2"), true);
        check_progress(held().status(json!({"currentStepHash": "other"})), true);
        let done = Moment::canary(10, steps.clone()).set("v0", "1/1").update("v1", "0/0", "v2", "10/10");
        check_progress(done.status(json!({"currentStepIndex": 2})), true);
    }),
    vector("P3", "pods of the new version, ready or available pods more, old ones less", || {
        let held = || {
            let steps =
                json!({"maxSurge": 1, "maxUnavailable": 0, "steps": [{"setWeight": 20}, {"pause": {}}]});
            Moment::canary(10, steps).update("v1", "8/8", "v2", "2/1")
        };
        check_progress(held(), false);
        check_progress(held().status(json!({"updatedReplicas": 1, "replicas": 9})), true);
        check_progress(held().status(json!({"readyReplicas": 8})), true);
        check_progress(held().status(json!({"readyReplicas": 10})), false);
        check_progress(held().status(json!({"availableReplicas": 8})), true);
        check_progress(held().status(json!({"replicas": 11})), true);
        check_progress(held().status(json!({"replicas": 9})), false);
    }),
    vector("P4", "the deadline counts from the last progress, and not while paused or aborted", || {
        check_timed_out(Value::Null, 5, false);
        check_timed_out(json!("ProgressDeadlineExceeded"), 600, true);
        check_timed_out(json!("ReplicaSetUpdated"), 30, false);
        check_timed_out(json!("ReplicaSetUpdated"), 5, true);
        check_timed_out(json!("RolloutPaused"), 5, false);
        check_timed_out(json!("RolloutAborted"), 5, false);
    }),
    vector("P5", "a deadline that has passed is Degraded", || {
        let condition = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "timed out"}]);
        check_phase(
            canary(5).status(json!({"conditions": condition})),
            "Degraded",
            "ProgressDeadlineExceeded: timed out",
        );
    }),
    vector("P6", "a Rollout that a person paused", || {
        check_phase(canary(5).spec(json!({"paused": true})), "Paused", "manually paused");
    }),
    vector("P7", "pods of the new version are missing", || {
        let counted = json!({"updatedReplicas": 4, "availableReplicas": 4, "replicas": 4});
        check_phase(canary(5).status(counted), "Progressing", "more replicas need to be updated");
    }),
    vector("P8", "pods of the new version are not available yet", || {
        let counted = json!({"updatedReplicas": 5, "availableReplicas": 4, "replicas": 5});
        check_phase(
            canary(5).status(counted),
            "Progressing",
            "updated replicas are still becoming available",
        );
    }),
    vector("P9", "pods of old versions are left", || {
        let counted = json!({"updatedReplicas": 5, "availableReplicas": 5, "replicas": 7});
        check_phase(canary(5).status(counted), "Progressing", "old replicas are pending termination");
    }),
    vector("P10", "users are still on the old version", || {
        let moment = Moment::blue_green(5, json!({})).update("v1", "5/5", "v2", "5/5").selected("v1", "v2");
        check_phase(moment, "Progressing", "active service cutover pending");
    }),
    vector("P11/without analyses", "users are on a version that is not stable yet", || {
        let moment = Moment::blue_green(5, json!({})).update("v1", "5/5", "v2", "5/5").selected("v2", "v2");
        check_phase(moment, "Progressing", "waiting for post-promotion verification to complete");
    }),
    vector("P12", "a restart under way", || {
        let at = json!({"restartAt": stamp(-60)});
        check_phase(healthy(5).spec(at.clone()), "Progressing", "rollout is restarting");
        check_phase(healthy(5).spec(at).status(json!({"restartedAt": stamp(-60)})), "Healthy", "");
    }),
    vector("P13", "clients wait for a generation that was not observed, if it is a number", || {
        let seen = |observed: &str| healthy(5).status(json!({"observedGeneration": observed}));
        let waits = "waiting for rollout spec update to be observed";
        check_seen(seen("1"), 2, "Progressing", waits);
        check_seen(seen("7d66d4485f"), 2, "Healthy", "");
        check_seen(seen("1366344857"), 2, "Healthy", "");
    }),
    vector("P14", "clients wait for the generation of a referenced workload too", || {
        let mut moment = healthy(5).status(json!({"workloadObservedGeneration": "1"}));
        moment.annotate_rollout("rollout.argoproj.io/workload-generation", "2");
        let waits = "waiting for rollout spec update to be observed for the reference workload";
        check_seen(moment, 1, "Progressing", waits);
    }),
    vector("P15", "clients wait for a pause that was resumed to be cleared away", || {
        let moment = healthy(5).status(json!({"controllerPause": true}));
        check_seen(moment, 1, "Progressing", "waiting for rollout to unpause");
    }),
    vector("P16", "blue-green is healthy beside old pods that live out their delay", || {
        let mut moment = Moment::blue_green(5, json!({}))
            .set("v1", "1/1")
            .set("v2", "5/5")
            .stable("v2")
            .current("v2")
            .selected("v2", "v2")
            .deadline("v1", 100);
        moment.pass();
        assert_eq!(moment.stored()["replicas"], 6);
        assert_eq!(moment.condition("Healthy")["status"], "True");
    }),
    vector("P17", "a canary is not", || {
        let healthy = json!([{"type": "Healthy", "status": "True", "reason": "RolloutHealthy", "message": "-"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "-",
             "lastUpdateTime": stamp(-10)}]);
        let mut moment = Moment::canary(1, json!({}))
            .set("v1", "1/1")
            .set("v2", "1/1")
            .stable("v2")
            .current("v2")
            .status(json!({"conditions": healthy}));
        moment.pass();
        assert_eq!(moment.stored()["replicas"], 2);
        assert_eq!(moment.condition("Healthy")["status"], "False");
    }),
    vector("P18", "a deadline that passes is left again when pods come", || {
        let steps = json!([{"setWeight": 20}, {"pause": {}}]);
        let mut life = Life::begin(
            5,
            json!({"progressDeadlineSeconds": 5, "strategy": {"canary": {"maxSurge": 1, "steps": steps}}}),
        );
        life.image("web:slow").until(|life| life.phase() == "Degraded");
        life.until(|life| life.phase() == "Paused");
        life.promote().until(|life| life.phase() == "Degraded");
        life.rest();
        assert_eq!(life.phase(), "Healthy");
    }),
    vector("P19", "old pods that live out their delay do not pass a deadline", || {
        let mut life = Life::begin(
            2,
            json!({"progressDeadlineSeconds": 5, "strategy": {"blueGreen": {"activeService": "active"}}}),
        );
        life.image("web:2").until(|life| {
            life.set(1).is_some_and(|set| set.meta.annotations.get("scale-down-deadline").is_some())
        });
        for _ in 0..10 {
            life.wait(1);
            assert_eq!(life.phase(), "Healthy");
        }
        assert_eq!(life.sizes([1, 2]), [2, 2]);
    }),
    vector("P20", "blue-green aborts at the deadline only where that is asked for", || {
        let spec = |abort: bool| {
            json!({"progressDeadlineSeconds": 1, "progressDeadlineAbort": abort,
                "strategy": {"blueGreen": {"activeService": "active", "abortScaleDownDelaySeconds": 2}}})
        };
        let mut life = Life::begin(1, spec(false));
        life.image("web:2-bad").rest();
        assert_eq!((life.phase().as_str(), life.status("abort")), ("Degraded", Value::Null));
        assert_eq!(life.sizes([1, 2]), [1, 1]);
        let mut life = Life::begin(1, spec(true));
        life.image("web:2-bad").until(|life| life.status("abort") == true);
        assert_eq!((life.phase().as_str(), life.size(2)), ("Degraded", Some(1)));
        life.rest();
        assert_eq!(life.sizes([1, 2]), [1, 0]);
        assert_eq!(life.status("conditions").as_array().unwrap().len(), 4);
    }),
    vector("P21", "a pause longer than the deadline fails nothing", || {
        let steps = json!([{"setWeight": 20}, {"pause": {"duration": "30s"}}]);
        let mut life =
            Life::begin(5, json!({"progressDeadlineSeconds": 5, "strategy": {"canary": {"steps": steps}}}));
        life.image("web:2").until(|life| life.phase() == "Paused");
        for _ in 0..30 {
            life.wait(1);
            assert_ne!(life.phase(), "Degraded");
        }
        life.rest();
        assert_eq!(life.phase(), "Healthy");
    }),
];

fn canary(replicas: i64) -> Moment {
    Moment::canary(replicas, json!({})).set("v1", "5/5").set("v2", "5/5").stable("v1").current("v2")
}

fn healthy(replicas: i64) -> Moment {
    Moment::canary(replicas, json!({})).set("v1", "5/5").stable("v1").current("v1")
}

/// Whether a pass restarts the progress clock.
fn check_progress(mut moment: Moment, progress: bool) {
    moment.pass();
    let condition = moment.condition("Progressing");
    let (time, reason) = (&condition["lastUpdateTime"], &condition["reason"]);
    assert_eq!(*time == *stamp(0) && reason == "ReplicaSetUpdated", progress, "{condition}");
}

/// Whether an update without progress is said to have exceeded its deadline.
fn check_timed_out(reason: Value, deadline: i64, timed_out: bool) {
    let conditions = match &reason {
        Value::Null => json!([]),
        reason => json!([{"type": "Progressing", "status": "True", "reason": reason, "message": "-",
            "lastUpdateTime": stamp(-10), "lastTransitionTime": stamp(-10)}]),
    };
    let mut moment = Moment::canary(10, json!({"maxSurge": 1, "maxUnavailable": 0}))
        .update("v1", "10/10", "v2", "1/0")
        .status(json!({"conditions": conditions}))
        .spec(json!({"progressDeadlineSeconds": deadline}));
    moment.pass();
    let found = moment.condition("Progressing")["reason"] == "ProgressDeadlineExceeded";
    assert_eq!(found, timed_out, "{reason} {deadline} {}", moment.condition("Progressing"));
}

fn check_phase(mut moment: Moment, phase: &str, message: &str) {
    assert_eq!(moment.phase(), (phase.to_owned(), message.to_owned()));
}

/// The same as a client tells it, of this generation.
fn check_seen(mut moment: Moment, generation: i64, phase: &str, message: &str) {
    moment.phase();
    let mut rollout = moment.rollout();
    rollout.meta.generation = generation;
    let seen = tidegate_controller::rollout::phase_as_seen(&rollout);
    assert_eq!(seen, Some((phase, message.to_owned())));
}
