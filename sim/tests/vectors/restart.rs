//! Restarts.
//!
//! Where the reference notes a restart as done in the pass that evicts the last old pods, we do it when they are gone:
//! a disruption budget may still refuse them.

use serde_json::{Value, json};

use crate::life::Life;
use crate::moment::{Moment, Pass, stamp};
use crate::{Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("E1", "all old pods at once where that many may be missing", || {
        let mut moment = three_pods(json!(2), true);
        let pass = moment.pass();
        assert_eq!(pass.evicted, ["a", "b"]);
        check_done_when_gone(moment, &pass);
    }),
    vector("E2", "a new pod that is not available counts as missing", || {
        check_goes_on(three_pods(json!(2), false), 1);
    }),
    vector("E3", "one at a time where none may be missing", || check_goes_on(three_pods(json!(0), true), 1)),
    vector("E4", "shares count as numbers do", || {
        let mut moment = three_pods(json!("100%"), true);
        let pass = moment.pass();
        assert_eq!(pass.evicted, ["a", "b"]);
        check_done_when_gone(moment, &pass);
    }),
    vector("E5", "pods of both versions share one allowance", || {
        check_goes_on(two_versions(true), 1);
    }),
    vector("E6", "nothing while a pod is missing anyway", || {
        // ARGO: no timer; only a change of the pods can help, and that brings the next look by itself.
        let mut moment = two_versions(false);
        let pass = moment.pass();
        assert_eq!((pass.evicted.len(), pass.has_timer()), (0, false));
        assert_eq!(moment.stored()["restartedAt"], Value::Null);
    }),
    vector("E7", "a Rollout of no pods is restarted at once", || {
        let mut moment = Moment::blue_green(0, json!({}))
            .set("v1", "0/0")
            .stable("v1")
            .current("v1")
            .selected("v1", "v1")
            .spec(json!({"restartAt": stamp(-60)}));
        let pass = moment.pass();
        assert_eq!((pass.evicted.len(), pass.has_timer()), (0, false));
        assert_eq!(moment.stored()["restartedAt"], *stamp(-60));
    }),
    vector("E8", "pods that a disruption budget protects are tried again", || {
        for strategy in [json!({"canary": {}}), json!({"blueGreen": {"activeService": "active"}})] {
            let mut life = Life::begin(1, json!({"strategy": strategy}));
            let old = life.pods();
            life.protect_pods(1).wait(60).restart().wait(120);
            assert_eq!((life.status("restartedAt"), &life.pods()), (Value::Null, &old), "{strategy}");
            life.protect_pods(0).rest();
            assert_ne!(life.status("restartedAt"), Value::Null, "{strategy}");
            assert!(life.pods().is_disjoint(&old) && life.pods().len() == 1, "{strategy}");
        }
    }),
    vector("E9", "pods of somebody else with the same labels are left alone", || {
        let mut moment = three_pods(json!(3), true).pod("foreign", "v1", 3600, true);
        moment.edit("foreign", json!({"metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "other", "uid": "u-other", "controller": true}]}}));
        assert_eq!(moment.pass().evicted, ["a", "b"]);
    }),
    vector("E10", "a paused canary restarts as many as may be missing", || {
        let strategy =
            json!({"canary": {"maxUnavailable": "75%", "steps": [{"setWeight": 25}, {"pause": {}}]}});
        let mut life = Life::begin(4, json!({"strategy": strategy}));
        life.image("web:2").rest();
        life.wait(60).restart().until(|life| life.counts() == [4, 4, 1, 1, 1]);
        life.rest();
        assert_eq!((life.counts(), life.phase().as_str()), ([4, 4, 1, 4, 4], "Paused"));
        assert_ne!(life.status("restartedAt"), Value::Null);
    }),
];

/// Two pods from before the restart and one from after it.
fn three_pods(max_unavailable: Value, new_is_available: bool) -> Moment {
    Moment::blue_green(3, json!({"maxUnavailable": max_unavailable}))
        .set("v1", if new_is_available { "3/3" } else { "3/2" })
        .stable("v1")
        .current("v1")
        .selected("v1", "v1")
        .spec(json!({"restartAt": stamp(-60)}))
        .pod("a", "v1", 3600, true)
        .pod("b", "v1", 3600, true)
        .pod("c", "v1", 30, new_is_available)
}

/// One replica, and a canary of half of it: a pod of each version.
fn two_versions(all_available: bool) -> Moment {
    Moment::canary(1, json!({"steps": [{"setWeight": 50}, {"pause": {}}]}))
        .update("v1", "1/1", "v2", if all_available { "1/1" } else { "1/0" })
        .spec(json!({"restartAt": stamp(-60)}))
        .pod("a", "v1", 3600, true)
        .pod("b", "v2", 3600, all_available)
}

fn check_goes_on(mut moment: Moment, evicted: usize) {
    let pass = moment.pass();
    assert_eq!((pass.evicted.len(), pass.has_timer()), (evicted, true));
    assert_eq!(moment.stored()["restartedAt"], Value::Null);
}

fn check_done_when_gone(mut moment: Moment, pass: &Pass) {
    assert_eq!(moment.stored()["restartedAt"], Value::Null);
    for name in &pass.evicted {
        moment.forget(name);
    }
    let pass = moment.pass();
    assert_eq!((pass.evicted.len(), pass.has_timer()), (0, false));
    assert_eq!(moment.stored()["restartedAt"], *stamp(-60));
}
