//! Blue-green: the size of a preview, the switch, what becomes of old and aborted versions.

use serde_json::{Value, json};
use tidegate_controller::names::{DESIRED_REPLICAS, SCALE_DOWN_DEADLINE};

use crate::life::Life;
use crate::moment::{Moment, aborted, paused};
use crate::{Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("H9", "blue-green has no hash of steps", || {
        let mut moment = preview().selected("v1", "v2");
        moment.pass();
        assert_eq!(moment.stored()["currentStepHash"], Value::Null);
    }),
    vector("G1", "without an active version a preview has full size", || check_preview(preview(), 10)),
    vector("G2", "what users are on has full size", || check_preview(preview().selected("v2", "v2"), 10)),
    vector("G3", "a template that the status does not know yet begins small", || {
        // The numbers of the Rollout changed in the same moment, so that a pass looks at sizes only.
        let moment = preview()
            .selected("v1", "v2")
            .status(json!({"observedGeneration": "0", "currentPodHash": "v1", "blueGreen": {"scaleUpPreviewCheckPoint": true}}))
            .annotate("v1", DESIRED_REPLICAS, "5");
        check_preview(moment, 1);
    }),
    vector("G4", "a preview that has passed its gate grows", || {
        let passed = json!({"blueGreen": {"scaleUpPreviewCheckPoint": true}});
        check_preview(preview().selected("v1", "v2").status(passed.clone()), 10);
        let held = preview().selected("v1", "v2").status(paused("BlueGreenPause", 5)).status(passed);
        check_preview(held, 1);
    }),
    vector("G5", "a preview is small", || check_preview(preview().selected("v1", "v2"), 1)),
    vector("G6", "a full promotion needs full size", || {
        check_preview(preview().selected("v1", "v2").status(json!({"promoteFull": true})), 10);
    }),
    vector("G7", "a small preview pauses and grows when promoted", || {
        let strategy = json!({"blueGreen": {"activeService": "active", "previewService": "preview",
            "previewReplicaCount": 1, "autoPromotionEnabled": false}});
        let mut life = Life::begin(2, json!({"strategy": strategy}));
        life.image("web:2").rest();
        assert_eq!((life.phase().as_str(), life.counts()), ("Paused", [2, 3, 1, 2, 2]));
        life.promote().until(|life| life.counts() == [2, 4, 2, 2, 2]).rest();
        assert_eq!((life.phase().as_str(), life.sizes([1, 2])), ("Healthy", [0, 2]));
    }),
    vector("G8", "so many old versions keep their pods, and fewer when the limit falls", || {
        let mut life = Life::begin(
            1,
            json!({"strategy": {"blueGreen": {"activeService": "active",
            "scaleDownDelaySeconds": 86400, "scaleDownDelayRevisionLimit": 2}}}),
        );
        for version in 2..=4 {
            life.image(&format!("web:{version}")).wait(60);
        }
        assert_eq!(life.sizes([4, 3, 2, 1]), [1, 1, 1, 0]);
        life.merge(json!({"spec": {"strategy": {"blueGreen": {"scaleDownDelayRevisionLimit": 1}}}})).wait(60);
        assert_eq!(life.sizes([4, 3, 2, 1]), [1, 1, 0, 0]);
    }),
    vector("G9", "of two old versions within their delay the newer one is kept", || {
        let mut moment = Moment::blue_green(10, json!({"scaleDownDelayRevisionLimit": 1}))
            .set("v1", "10/10")
            .set("v2", "10/10")
            .set("v3", "10/10")
            .stable("v3")
            .current("v3")
            .selected("v3", "v3")
            .deadline("v1", 100)
            .deadline("v2", 100);
        moment.pass();
        assert_eq!(moment.sizes(["v1", "v2", "v3"]), [0, 10, 10]);
    }),
    vector("G10", "a deadline that is no time has passed", || {
        let mut moment = Moment::blue_green(10, json!({}))
            .set("v1", "10/10")
            .set("v2", "10/10")
            .stable("v2")
            .current("v2")
            .selected("v2", "v2")
            .annotate("v1", SCALE_DOWN_DEADLINE, "soon");
        moment.pass();
        assert_eq!(moment.size("v1"), 0);
    }),
    vector("G11", "a version that still has its pods needs no pause to come back", || {
        let mut moment = Moment::blue_green(10, json!({"autoPromotionEnabled": false}))
            .set("v1", "10/10")
            .set("v2", "10/10")
            .stable("v2")
            .current("v1")
            .selected("v1", "v1")
            .deadline("v1", 100);
        moment.pass();
        assert!(!moment.has_deadline("v1") && moment.pauses().is_empty());
        let mut not_switched_yet = Moment::blue_green(10, json!({"autoPromotionEnabled": false}))
            .set("v1", "10/10")
            .set("v2", "10/10")
            .stable("v2")
            .current("v1")
            .selected("v2", "v1")
            .deadline("v1", 100);
        not_switched_yet.pass();
        assert_eq!((not_switched_yet.selects("active"), not_switched_yet.pauses().len()), ("v1", 0));
    }),
    vector("G12", "an abort brings users back to stable", || {
        let mut moment = Moment::blue_green(10, json!({}))
            .update("v1", "10/10", "v2", "10/10")
            .selected("v2", "v2")
            .status(aborted());
        moment.pass();
        assert_eq!(moment.selects("active"), "v1");
    }),
    vector("G13", "the new version gets its size", || {
        for size in ["10/10", "12/12", "8/8"] {
            let mut moment =
                Moment::blue_green(10, json!({})).update("v1", "10/10", "v2", size).selected("v1", "v2");
            let pass = moment.pass();
            assert_eq!(moment.size("v2"), 10);
            assert_eq!(pass.told("ScalingReplicaSet"), size != "10/10");
        }
    }),
    vector("G14", "an aborted version keeps its pods until its deadline", || {
        let aborted = || {
            Moment::blue_green(10, json!({"abortScaleDownDelaySeconds": 5}))
                .update("v1", "10/10", "v2", "10/10")
                .selected("v1", "v2")
                .status(aborted())
        };
        let check = |mut moment: Moment, size: i64| {
            let pass = moment.pass();
            assert_eq!(moment.size("v2"), size);
            assert_eq!(pass.has_timer() && moment.has_deadline("v2"), size > 0);
        };
        check(aborted().deadline("v2", -1), 0);
        check(aborted().deadline("v2", 5), 10);
        check(aborted(), 10);
    }),
    vector("G17/without analyses", "a full promotion switches and is done in one pass", || {
        let mut moment = Moment::blue_green(10, json!({"autoPromotionEnabled": false}))
            .update("v1", "10/10", "v2", "10/10")
            .selected("v1", "v2")
            .status(json!({"promoteFull": true}));
        moment.pass();
        assert_eq!(moment.selects("active"), "v2");
        assert_eq!(
            (&moment.stored()["stableRS"], &moment.stored()["promoteFull"]),
            (&json!("v2"), &Value::Null)
        );
    }),
    vector("G18", "during an update both versions stand, users see one", || {
        let mut life = Life::begin(3, json!({"strategy": {"blueGreen": {"activeService": "active"}}}));
        assert_eq!(life.counts(), [3, 3, 3, 3, 3]);
        life.image("web:2").until(|life| life.counts() == [3, 6, 3, 3, 3]);
        life.rest();
        assert_eq!(life.counts(), [3, 3, 3, 3, 3]);
    }),
    vector("G19", "a change to canary frees the Services", || {
        let mut life = Life::begin(
            2,
            json!({"strategy": {"blueGreen": {"activeService": "active", "autoPromotionEnabled": false}}}),
        );
        assert_ne!(life.selects("active"), "");
        let canary = json!({"steps": [{"setWeight": 50}, {"pause": {}}]});
        let template = crate::life::template("web:2");
        life.merge(
            json!({"spec": {"template": template, "strategy": {"blueGreen": null, "canary": canary}}}),
        );
        life.rest();
        assert_eq!((life.phase().as_str(), life.counts()), ("Paused", [2, 2, 1, 2, 2]));
        assert_eq!(life.selects("active"), "");
    }),
];

/// Ten replicas, a preview of one.
fn preview() -> Moment {
    Moment::blue_green(10, json!({"previewReplicaCount": 1})).update("v1", "10/10", "v2", "0/0")
}

fn check_preview(mut moment: Moment, size: i64) {
    moment.pass();
    assert_eq!(moment.size("v2"), size);
}
