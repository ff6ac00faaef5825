//! Canaries without traffic routing: sizes, desired counts, the rollback window.

use serde_json::{Value, json};
use tidegate_controller::names::{DESIRED_REPLICAS, EXPERIMENT_NAME};

use crate::life::Life;
use crate::moment::{Moment, paused};
use crate::{Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("B35", "the version in the middle goes once both ends stand", || {
        let mut moment = Moment::canary(10, steps(1, 0, json!([{"setWeight": 10}])))
            .set("v1", "9/9")
            .set("v2", "1/1")
            .set("v3", "1/1")
            .stable("v1")
            .current("v3")
            .annotate("v2", DESIRED_REPLICAS, "5");
        moment.pass();
        assert_eq!(moment.sizes(["v1", "v2", "v3"]), [9, 0, 1]);
        assert_eq!(moment.annotation("v2", DESIRED_REPLICAS), Some("10"));
    }),
    vector("B36", "superseded pods go newest revision first, as far as availability allows", || {
        let mut moment = Moment::canary(4, json!({"maxSurge": 1, "maxUnavailable": 0}))
            .set("v1", "5/5")
            .set("v2", "5/5")
            .set("v3", "5/0")
            .stable("v3")
            .current("v3");
        moment.pass();
        assert_eq!(moment.sizes(["v1", "v2"]), [4, 0]);
    }),
    vector("B37", "with all steps done stable shrinks by the available canary pods", || {
        let mut moment = Moment::canary(10, steps(3, 0, json!([{"setWeight": 10}])))
            .update("v1", "9/9", "v2", "4/4")
            .status(json!({"currentStepIndex": 1}));
        moment.pass();
        assert_eq!(moment.sizes(["v1", "v2"]), [6, 4]);
    }),
    vector("B38", "a paused canary follows its replicas, stable first", || {
        let mut moment = Moment::canary(5, steps(1, 0, json!([{"setWeight": 20}, {"pause": {}}])))
            .update("v1", "5/5", "v2", "0/0")
            .status(json!({"currentStepIndex": 1}))
            .status(paused("CanaryPauseStep", 60))
            .spec(json!({"replicas": 10}));
        moment.pass();
        assert_eq!(moment.sizes(["v1", "v2"]), [8, 0]);
    }),
    vector("B39", "a paused canary keeps its share when scaled up and down", || {
        let mut life =
            Life::begin(1, json!({"strategy": {"canary": {"steps": [{"setWeight": 25}, {"pause": {}}]}}}));
        life.image("web:2").rest();
        assert_eq!(life.sizes([2, 1]), [1, 1]);
        life.scale(8).rest();
        assert_eq!(life.sizes([2, 1]), [2, 6]);
        life.scale(4).rest();
        assert_eq!(life.sizes([2, 1]), [1, 3]);
    }),
    vector("B40", "bad images stay at one pod each, stable is untouched", || {
        let mut life = Life::begin(4, json!({"strategy": {"canary": {"maxSurge": 1, "maxUnavailable": 0}}}));
        life.image("web:2-bad").rest();
        assert_eq!((life.sizes([1, 2]), life.phase().as_str()), ([4, 1], "Degraded"));
        life.image("web:3-bad").rest();
        assert_eq!(life.sizes([1, 2, 3]), [4, 0, 1]);
    }),
    vector("B41", "a bad first revision is replaced by a good one", || {
        let mut life = Life::begin_with(
            "web:1-bad",
            4,
            json!({"strategy": {"canary": {"maxSurge": 1, "maxUnavailable": 0}}}),
        );
        life.image("web:2").rest();
        assert_eq!((life.sizes([1, 2]), life.phase().as_str()), ([0, 4], "Healthy"));
    }),
    vector("B42", "a weight may go down again", || {
        let weights = json!([{"setWeight": 100}, {"pause": {}}, {"setWeight": 0}, {"pause": {}}]);
        let mut life = Life::begin(3, json!({"strategy": {"canary": steps(2, 0, weights)}}));
        life.image("web:2").rest();
        assert_eq!(life.sizes([2, 1]), [3, 0]);
        life.promote().until(|life| life.size(1) != Some(0));
        assert_eq!(life.sizes([2, 1]), [3, 2]);
        life.rest();
        assert_eq!(life.sizes([2, 1]), [0, 3]);
    }),
    vector("R8", "a weight is reached when both sides stand, with no pod too many", || {
        check_reached(50, "2/2", "2/2", json!({}), true);
        check_reached(50, "2/2", "2/2", json!({"replicas": 3}), false);
        check_reached(50, "2/2", "2/1", json!({}), false);
    }),
    vector("R9", "stable pods that are not available are enough when their number fits", || {
        check_reached(75, "2/2", "3/3", json!({}), false);
        check_reached(75, "1/0", "3/3", json!({}), true);
    }),
    vector("R10", "the threshold decides about promotion too", || {
        let check = |available: i64, threshold: Value, promoted: bool| {
            let mut strategy = steps(1, 0, json!([{"setWeight": 10}]));
            strategy["replicaProgressThreshold"] = threshold;
            let mut moment = Moment::canary(10, strategy)
                .update("v1", "0/0", "v2", &format!("10/{available}"))
                .status(json!({"currentStepIndex": 1}));
            let pass = moment.pass();
            let messages: Vec<String> = pass
                .plan
                .writes
                .iter()
                .flat_map(|write| &write.notices)
                .filter(|notice| &*notice.reason == "RolloutCompleted")
                .map(|notice| notice.message.to_string())
                .collect();
            match promoted {
                true => assert!(messages[0].ends_with("Completed all 1 canary steps"), "{messages:?}"),
                false => assert!(messages.is_empty(), "{messages:?}"),
            }
        };
        check(9, json!({"type": "Percent", "value": 90}), true);
        check(8, json!({"type": "Percent", "value": 90}), false);
        check(9, Value::Null, false);
    }),
    vector("R11", "more available pods than wanted are enough to be promoted", || {
        let mut moment = Moment::canary(1, steps(1, 0, json!([{"setWeight": 10}])))
            .update("v1", "0/0", "v2", "1/2")
            .status(json!({"currentStepIndex": 1}));
        assert!(moment.pass().told("RolloutCompleted"));
        assert_eq!(moment.stored()["stableRS"], "v2");
    }),
    vector("K1", "without a new ReplicaSet nothing is within the window", || {
        check_window("r4", "new", 1, false)
    }),
    vector("K2", "a newer version is an update", || check_window("r4", "r3", 1, false)),
    vector("K3", "the next older version is within a window of one", || check_window("r3", "r4", 1, true)),
    vector("K4", "one version between is within a window of two", || check_window("r2", "r4", 2, true)),
    vector("K5", "two versions between are not", || check_window("r1", "r4", 2, false)),
    vector("K6", "ReplicaSets of Experiments do not count", || check_window("r0", "r1", 1, true)),
];

fn steps(surge: i64, unavailable: i64, steps: Value) -> Value {
    json!({"maxSurge": surge, "maxUnavailable": unavailable, "steps": steps})
}

/// Whether the step that asks for this weight is done, of four replicas.
fn check_reached(weight: i64, stable: &str, new: &str, stable_status: Value, reached: bool) {
    let mut moment = Moment::canary(4, steps(1, 0, json!([{"setWeight": weight}, {"pause": {}}])))
        .update("v1", stable, "v2", new);
    moment.edit("web-v1", json!({"status": stable_status}));
    moment.pass();
    assert_eq!(moment.stored()["currentStepIndex"], i64::from(reached), "{weight}: {stable} {new}");
}

/// Whether an update from `stable` to `new` skips its steps.
fn check_window(stable: &str, new: &str, revisions: i64, within: bool) {
    let mut moment = Moment::canary(10, steps(1, 0, json!([{"setWeight": 10}, {"pause": {}}])));
    for version in ["r4", "r3", "r2", "r1", "experiment", "r0"] {
        moment = moment.set(version, if version == stable { "10/10" } else { "0/0" });
    }
    let mut moment = moment
        .annotate("experiment", EXPERIMENT_NAME, "e")
        .stable(stable)
        .current(new)
        .spec(json!({"rollbackWindow": {"revisions": revisions}}));
    moment.pass();
    let index = if within { 2 } else { 0 };
    assert_eq!(moment.stored()["currentStepIndex"], index, "{stable} to {new}, {revisions} revisions");
}
