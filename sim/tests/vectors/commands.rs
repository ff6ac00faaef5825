//! What people's commands lead to.

use serde_json::{Value, json};

use crate::life::Life;
use crate::moment::Moment;
use crate::{Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("C1", "a full promotion scales at once and is forgotten when it is stable", || {
        let steps = json!({"maxSurge": 10, "maxUnavailable": 0, "steps": [{"setWeight": 10}, {"pause": {}}]});
        let mut moment =
            Moment::canary(10, steps).update("v1", "10/10", "v2", "0/0").status(json!({"promoteFull": true}));
        moment.pass();
        assert_eq!((moment.size("v2"), &moment.stored()["currentStepIndex"]), (10, &json!(2)));
        assert_eq!(moment.stored()["promoteFull"], true);
        moment.edit(
            "web-v2",
            json!({"status": {"replicas": 10, "readyReplicas": 10, "availableReplicas": 10}}),
        );
        for _ in 0..3 {
            moment.pass();
        }
        assert_eq!(moment.stored()["stableRS"], "v2");
        assert_eq!(moment.stored()["promoteFull"], Value::Null);
    }),
    vector("C2/without analyses", "an aborted update can still be promoted in full", || {
        let steps = json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]);
        let mut life = Life::begin(4, json!({"strategy": {"canary": {"steps": steps}}}));
        life.image("web:2").rest().promote().rest();
        assert_eq!(life.status("currentStepIndex"), 3);
        life.abort().rest();
        assert_eq!(life.phase(), "Degraded");
        life.promote_full().rest();
        assert_eq!((life.phase().as_str(), life.sizes([1, 2])), ("Healthy", [0, 4]));
    }),
    vector("C3", "abort and retry", || {
        let strategy = json!({"canary": {"maxSurge": 1, "steps": [{"setWeight": 50}, {"pause": {}}]}});
        let mut life = Life::begin(1, json!({"strategy": strategy}));
        life.image("web:2").rest();
        assert_eq!(life.sizes([1, 2]), [1, 1]);
        life.abort().rest();
        assert_eq!((life.phase().as_str(), life.sizes([1, 2])), ("Degraded", [1, 0]));
        life.retry().rest();
        assert_eq!((life.phase().as_str(), life.sizes([1, 2])), ("Paused", [1, 1]));
        life.promote().rest();
        assert_eq!((life.phase().as_str(), life.sizes([1, 2])), ("Healthy", [0, 1]));
    }),
    vector("C4", "the stable template again skips all steps", || {
        let mut life =
            Life::begin(4, json!({"strategy": {"canary": {"steps": [{"setWeight": 25}, {"pause": {}}]}}}));
        life.image("web:2").rest().image("web:1").rest();
        assert_eq!((life.told("SkipSteps"), life.status("currentStepIndex")), (1, json!(2)));
        assert_eq!((life.phase().as_str(), life.sizes([2, 3])), ("Healthy", [0, 4]));
    }),
    vector("C5", "other steps in the middle of an update begin anew", || {
        let steps = |weight: i64| json!({"steps": [{"setWeight": weight}, {"pause": {}}, {"setWeight": 60}], "maxSurge": 1, "maxUnavailable": 0});
        let mut moment = Moment::canary(10, steps(20))
            .update("v1", "8/8", "v2", "2/2")
            .status(json!({"currentStepIndex": 2}))
            .spec(json!({"strategy": {"canary": steps(30)}}));
        let before = moment.stored()["currentStepHash"].clone();
        moment.pass();
        assert_eq!(moment.stored()["currentStepIndex"], 0);
        assert_ne!(moment.stored()["currentStepHash"], before);
    }),
];
