//! How pauses begin and end.

use serde_json::{Value, json};

use crate::moment::{Moment, paused, stamp};
use crate::{Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("U1", "a pause step adds its condition", || {
        let mut moment = pausing(json!({}));
        assert!(moment.pass().told("RolloutPaused"));
        assert_eq!(moment.stored()["controllerPause"], true);
        assert_eq!(moment.pauses(), ["CanaryPauseStep"]);
    }),
    vector("U2", "the end of the only pause clears the flag too", || {
        let mut moment = pausing(json!({"duration": 10})).status(paused("CanaryPauseStep", 60));
        moment.pass();
        assert_eq!(moment.stored()["controllerPause"], Value::Null);
        assert!(moment.pauses().is_empty());
    }),
    vector("U3", "blue-green that has passed its gate pauses no more", || {
        let status = json!({"blueGreen": {"scaleUpPreviewCheckPoint": true}});
        let mut moment =
            blue_green(json!({"autoPromotionEnabled": false, "previewReplicaCount": 1})).status(status);
        moment.pass();
        assert_eq!((moment.selects("active"), moment.pauses().len()), ("v2", 0));
    }),
    vector("U4", "without automatic promotion a person ends the pause", || {
        let mut moment =
            blue_green(json!({"autoPromotionEnabled": false})).status(paused("BlueGreenPause", 3600));
        moment.pass();
        assert_eq!((moment.selects("active"), moment.pauses().len()), ("v1", 1));
    }),
    vector("U5", "a pause of no duration ends strictly after it began", || {
        let begun = || pausing(json!({"duration": 0})).status(paused("CanaryPauseStep", 0));
        let (mut at_once, mut later) = (begun(), begun().later(1));
        at_once.pass();
        later.pass();
        assert_eq!((at_once.pauses().len(), later.pauses().len()), (1, 0));
    }),
    vector("U6", "a pause of two hours that just began goes on", || {
        let mut moment = pausing(json!({"duration": "2h"})).status(paused("CanaryPauseStep", 1));
        assert!(moment.pass().has_timer());
        assert_eq!(moment.pauses().len(), 1);
    }),
    vector("U7", "events tell of the first pause and of the last, but not in an abort", || {
        assert!(pausing(json!({})).pass().told("RolloutPaused"));
        let ending = || pausing(json!({"duration": 10})).status(paused("CanaryPauseStep", 60));
        assert!(ending().pass().told("RolloutResumed"));
        let pass = ending().status(json!({"abort": true})).pass();
        assert!(!pass.told("RolloutResumed"), "{:?}", pass.events);
    }),
    vector("U8", "automatic promotion after seconds, unless a person paused", || {
        let timed = || blue_green(json!({"autoPromotionSeconds": 10})).status(paused("BlueGreenPause", 60));
        let (mut free, mut held) = (timed(), timed().spec(json!({"paused": true})));
        free.pass();
        held.pass();
        assert_eq!((free.selects("active"), held.selects("active")), ("v2", "v1"));
    }),
    vector("U9", "only what needs a person counts as waiting for one", || {
        let counts = |moment: Moment| {
            let mut moment = moment.status(json!({"duration": {"rolloutStartedAt": stamp(-100)}}));
            moment.pass();
            !moment.stored()["duration"]["manualPauseStartedAt"].is_null()
        };
        let inconclusive = pausing(json!({"duration": "2h"})).status(paused("InconclusiveAnalysisRun", 5));
        assert!(counts(inconclusive));
        assert!(counts(pausing(json!({})).status(paused("CanaryPauseStep", 5))));
        assert!(!counts(pausing(json!({"duration": "2h"})).status(paused("CanaryPauseStep", 5))));
        let by_hand = json!({"autoPromotionEnabled": false});
        assert!(counts(blue_green(by_hand).status(paused("BlueGreenPause", 5))));
        let by_itself = json!({"autoPromotionSeconds": 3600});
        assert!(!counts(blue_green(by_itself).status(paused("BlueGreenPause", 5))));
    }),
];

/// A canary in a pause step, everything else done.
fn pausing(pause: Value) -> Moment {
    Moment::canary(10, json!({"steps": [{"setWeight": 20}, {"pause": pause}, {"setWeight": 40}]}))
        .update("v1", "8/8", "v2", "2/2")
        .status(json!({"currentStepIndex": 1}))
}

/// Both versions stand.
fn blue_green(strategy: Value) -> Moment {
    Moment::blue_green(10, strategy).update("v1", "10/10", "v2", "10/10").selected("v1", "v2")
}
