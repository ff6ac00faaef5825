//! ReplicaSets found, adopted, kept and deleted; workload references, metadata, Services.

use serde_json::{Value, json};
use tidegate_controller::names::{
    DESIRED_REPLICAS, EPHEMERAL_METADATA, HASH_LABEL, REVISION, WORKLOAD_GENERATION,
};

use crate::life::Life;
use crate::moment::{Moment, stamp};
use crate::{Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("H11", "a ReplicaSet is found by its meaning, whatever its hash says", || {
        let mut moment = Moment::canary(3, json!({})).set("v1", "3/3").stable("fakepodhash").current("v1");
        moment.edit("web-v1", json!({"metadata": {"labels": {HASH_LABEL: "fakepodhash"}}, "spec": {
            "selector": {"matchLabels": {HASH_LABEL: "fakepodhash"}},
            "template": {"metadata": {"labels": {HASH_LABEL: "fakepodhash"}},
                "spec": {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                    "schedulerName": "default-scheduler", "securityContext": {}}}}}));
        let mut moment = moment.status(json!({"currentPodHash": "fakepodhash"}));
        let pass = moment.pass();
        assert_eq!(moment.versions(), ["web-v1"], "{:?}", pass.plan);
        assert_eq!(moment.stored()["currentPodHash"], "fakepodhash");
    }),
    vector("X1", "ten old ReplicaSets are kept", || {
        let mut moment = history(&["0/0"; 11], json!({}));
        assert_eq!(moment.pass().deleted, ["web-v1"]);
        assert!(history(&["0/0"; 10], json!({})).pass().deleted.is_empty());
    }),
    vector("X2", "beyond the limit the oldest goes", || {
        let limit = json!({"revisionHistoryLimit": 1});
        assert_eq!(history(&["0/0", "1/1"], limit).pass().deleted, ["web-v1"]);
    }),
    vector("X3", "but never one that has pods", || {
        let limit = json!({"revisionHistoryLimit": 1});
        assert!(history(&["1/1", "1/1"], limit).pass().deleted.is_empty());
    }),
    vector("X4", "one that is going away is neither counted nor deleted", || {
        let mut moment = history(&["0/0", "0/0"], json!({"revisionHistoryLimit": 1}));
        moment.edit("web-v1", json!({"metadata": {"deletionTimestamp": stamp(-5)}}));
        assert!(moment.pass().deleted.is_empty());
    }),
    vector("X5", "an orphan that fits is adopted, others are left alone", || {
        let orphan = |owners: Value, app: &str| {
            let mut moment =
                Moment::canary(3, json!({})).set("v1", "0/0").set("v2", "3/3").stable("v2").current("v2");
            moment.edit("web-v1", json!({"metadata": {"ownerReferences": owners, "labels": {"app": app}}}));
            moment.pass();
            let set = moment.object("web-v1").unwrap().clone();
            set["metadata"]["ownerReferences"][0]["name"].as_str().map(str::to_owned)
        };
        assert_eq!(orphan(json!([]), "web").as_deref(), Some("web"));
        let other = json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "other", "uid": "u-other",
            "controller": true}]);
        assert_eq!(orphan(other, "web").as_deref(), Some("other"));
        assert_eq!(orphan(json!([]), "shop"), None);
    }),
    vector("X6", "what anything still names keeps its pods without a deadline", || {
        let old = || Moment::blue_green(10, json!({})).set("v0", "10/10").update("v1", "10/10", "v2", "10/0");
        let is_free = |mut moment: Moment| {
            moment.pass();
            assert_eq!(moment.size("v0"), 10);
            moment.has_deadline("v0")
        };
        assert!(is_free(old().selected("v1", "v2")));
        assert!(!is_free(old().selected("v0", "v2")));
        assert!(!is_free(old().selected("v1", "v2").service("active", "v0")));
        assert!(!is_free(old().selected("v1", "v2").status(json!({"blueGreen": {"previewSelector": "v0"}}))));
        assert!(!is_free(old().selected("v1", "v2").stable("v0")));
        let mut unnamed = old().selected("", "v2");
        unnamed.edit("web-v0", json!({"metadata": {"labels": {HASH_LABEL: ""}}}));
        assert!(is_free(unnamed));
    }),
    vector("X7", "only the current and the stable ReplicaSet tell that replicas changed", || {
        let looked_at_all = |version: &str| {
            let mut moment = Moment::canary(10, json!({"steps": [{"setWeight": 10}, {"pause": {}}]}))
                .set("v0", "1/1")
                .update("v1", "9/9", "v2", "1/1")
                .annotate(version, DESIRED_REPLICAS, "2")
                .status(json!({"updatedReplicas": 0}));
            moment.pass();
            moment.stored()["updatedReplicas"] == 1
        };
        assert!(looked_at_all("v0"));
        assert!(!looked_at_all("v1") && !looked_at_all("v2"));
    }),
    vector("X8", "annotations of the Rollout are copied, revisions only rise", || {
        let revision = |own: &str, older: &str| {
            let mut moment = Moment::canary(3, json!({})).update("v1", "0/0", "v2", "3/3");
            moment = moment.annotate("v1", REVISION, older).annotate("v2", REVISION, own);
            moment.annotate_rollout("team", "a");
            moment.pass();
            assert_eq!(moment.annotation("v2", "team"), Some("a"));
            assert_eq!(moment.annotation("v1", "team"), None);
            moment.annotation("v2", REVISION).unwrap().to_owned()
        };
        assert_eq!(revision("1", "19"), "20");
        assert_eq!(revision("20", "3"), "20");
        assert_eq!(revision("mine", "19"), "mine");
    }),
    vector("X9", "a referenced Deployment shrinks as pods of the first revision become ready", || {
        check_retired("progressively", 5, json!({"readyReplicas": 3, "phase": "Progressing"}), "1", 2);
        check_retired("progressively", 0, json!({"readyReplicas": 1, "phase": "Progressing"}), "1", 4);
        check_retired("progressively", 5, json!({"readyReplicas": 3, "phase": "Healthy"}), "2", 5);
        check_retired("progressively", 2, json!({"readyReplicas": 5, "phase": "Healthy"}), "1", 0);
    }),
    vector("X10", "or once the first revision is healthy", || {
        check_retired("onsuccess", 5, json!({"phase": "Healthy"}), "1", 0);
        check_retired("onsuccess", 5, json!({"phase": "Progressing"}), "1", 5);
        check_retired("onsuccess", 5, json!({"phase": "Healthy"}), "2", 5);
    }),
    vector("X11", "a template beside a workload reference is refused", || {
        let mut moment =
            referring("never", 5).spec(json!({"template": {"metadata": {"labels": {"app": "web"}}}}));
        moment = moment.status(json!({"conditions": null}));
        moment.pass();
        let conditions = moment.stored()["conditions"].as_array().unwrap();
        let [only] = &conditions[..] else { panic!("{conditions:?}") };
        assert_eq!(only["type"], "InvalidSpec");
        let message = only["message"].as_str().unwrap();
        assert!(message.contains("template must be empty for workload reference rollout"), "{message}");
    }),
    vector("X12", "the generation of the workload is noted and forgotten", || {
        let mut moment = referring("never", 5);
        moment.pass();
        assert_eq!(moment.stored()["workloadObservedGeneration"], "1");
        moment.edit("app", json!({"metadata": {"generation": 2}}));
        moment.pass();
        moment.pass();
        assert_eq!(moment.stored()["workloadObservedGeneration"], "2");
        let mut moment = moment.spec(json!({"workloadRef": null, "template": crate::moment::template("v1")}));
        moment.pass();
        assert_eq!(moment.stored()["workloadObservedGeneration"], Value::Null);
    }),
    vector("X13", "a Service is taken over when all pods of its version are available", || {
        for (size, switched) in [("0/0", false), ("2/0", false), ("2/1", false), ("2/2", true)] {
            assert_eq!(canary_service("", size) == "v2", switched, "{size}");
        }
    }),
    vector("X14", "a Service that is managed already moves to any available pod", || {
        assert_eq!(
            (canary_service("v1", "3/1").as_str(), canary_service("v1", "3/0").as_str()),
            ("v2", "v1")
        );
    }),
    vector("X19", "metadata of a role goes with it", || {
        let injected =
            json!({"labels": {"aaa": "111", "bbb": "222"}, "annotations": {"ccc": "333", "ddd": "444"}});
        let wanted = json!({"labels": {"aaa": "111"}, "annotations": {"ccc": "333"}});
        let mut moment = Moment::canary(10, json!({"canaryMetadata": wanted, "steps": [{"pause": {}}]}))
            .update("v1", "10/10", "v2", "0/0")
            .annotate("v2", EPHEMERAL_METADATA, &injected.to_string());
        let mut metadata = injected;
        metadata["labels"]["own"] = json!("x");
        moment.edit("web-v2", json!({"spec": {"template": {"metadata": metadata}}}));
        moment.pass();
        let found = &moment.object("web-v2").unwrap()["spec"]["template"]["metadata"];
        assert_eq!(found["labels"], json!({"aaa": "111", "own": "x", "app": "web", HASH_LABEL: "v2"}));
        assert_eq!(found["annotations"], json!({"ccc": "333"}));
        let note: Value = serde_json::from_str(moment.annotation("v2", EPHEMERAL_METADATA).unwrap()).unwrap();
        assert_eq!(note, wanted);
    }),
    vector("X20", "a term beside the user's keeps new pods off the nodes of stable ones", || {
        assert_eq!(required_terms("v1"), Some(2));
        assert_eq!(required_terms(""), Some(1));
    }),
    vector("X21", "coming back to a revision leaves the one before it its pods", || {
        let mut life = Life::begin(
            1,
            json!({"strategy": {"blueGreen": {"activeService": "active",
            "scaleDownDelaySeconds": 3600, "scaleDownDelayRevisionLimit": 1}}}),
        );
        for version in [2, 3, 2] {
            life.image(&format!("web:{version}")).wait(60);
        }
        let kept = |revision: i64| {
            let deadline = |set: &tidegate_api::object::Object| {
                set.meta.annotations.get("scale-down-deadline").is_some()
            };
            (life.size(revision).unwrap(), life.set(revision).is_some_and(deadline))
        };
        assert_eq!([kept(1), kept(4), kept(3)], [(0, false), (1, false), (1, true)]);
    }),
    vector("X22", "template and replicas may change together", || {
        for strategy in [json!({"canary": {}}), json!({"blueGreen": {"activeService": "active"}})] {
            let mut life = Life::begin(2, json!({"strategy": strategy}));
            for (version, replicas) in [(2, 3), (3, 4)] {
                let template = crate::life::template(&format!("web:{version}"));
                life.merge(json!({"spec": {"replicas": replicas, "template": template}})).rest();
            }
            assert_eq!((life.counts(), life.phase().as_str()), ([4, 4, 4, 4, 4], "Healthy"));
        }
    }),
    vector("X24", "a third version in the middle replaces the second", || {
        let mut life =
            Life::begin(4, json!({"strategy": {"canary": {"steps": [{"setWeight": 25}, {"pause": {}}]}}}));
        life.image("web:2").rest().image("web:3").rest();
        assert_eq!(life.sizes([1, 2, 3]), [3, 0, 1]);
    }),
];

/// Old revisions of these sizes behind a stable one.
fn history(sizes: &[&str], spec: Value) -> Moment {
    let mut moment = Moment::canary(1, json!({}));
    for (number, size) in (1..).zip(sizes) {
        moment = moment.set(&format!("v{number}"), size);
    }
    moment.set("now", "1/1").stable("now").current("now").spec(spec)
}

/// The template comes from a Deployment `app` of this size.
fn referring(scale_down: &str, deployment: i64) -> Moment {
    let mut moment = Moment::canary(5, json!({}))
        .set("v1", "5/5")
        .stable("v1")
        .current("v1")
        .spec(json!({"template": null,
            "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app", "scaleDown": scale_down}}))
        .status(json!({"workloadObservedGeneration": "1"}))
        .annotate("v1", WORKLOAD_GENERATION, "1")
        .with(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "app", "namespace": "shop", "uid": "u-app", "generation": 1, "resourceVersion": "1"},
            "spec": {"replicas": deployment, "selector": {"matchLabels": {"app": "web"}},
                "template": crate::moment::template("v1")}}));
    moment.annotate_rollout(WORKLOAD_GENERATION, "1");
    moment
}

fn check_retired(scale_down: &str, deployment: i64, status: Value, revision: &str, size: i64) {
    let mut moment = referring(scale_down, deployment).status(status).annotate("v1", REVISION, revision);
    moment.annotate_rollout(REVISION, revision);
    moment.pass();
    let found = &moment.object("app").unwrap()["spec"]["replicas"];
    assert_eq!(*found, size, "{scale_down} {deployment} revision {revision}");
}

/// What the canary Service selects after a pass, with a canary of this size.
fn canary_service(before: &str, size: &str) -> String {
    let steps = json!([{"setWeight": 20}, {"pause": {}}]);
    let mut moment = Moment::canary(10, json!({"canaryService": "canary", "steps": steps}))
        .update("v1", "8/8", "v2", size)
        .service("canary", before);
    moment.pass();
    moment.selects("canary").to_owned()
}

/// Terms of required anti-affinity in a new ReplicaSet whose template has one of its own.
fn required_terms(stable: &str) -> Option<usize> {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let own = json!({"podAntiAffinity": {required: [{"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}]}});
    let mut moment = Moment::canary(3, json!({"antiAffinity": {required: {}}}))
        .set("v1", "3/3")
        .stable(stable)
        .current("v2")
        .spec(json!({"template": {"spec": {"affinity": own}}}));
    moment.pass();
    let name = moment.versions().into_iter().find(|name| name != "web-v1")?;
    let affinity = &moment.object(&name)?["spec"]["template"]["spec"]["affinity"];
    affinity["podAntiAffinity"][required].as_array().map(Vec::len)
}
