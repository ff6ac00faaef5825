//! Which analysis runs a Rollout has, and what their verdicts do. `AX` counts the facts about Rollouts in our list on
//! analysis; the others are those about Rollouts that wait for runs.

use serde_json::{Value, json};
use tidegate_sim::cluster::patch::merge;

use crate::moment::{Moment, aborted, paused, stamp};
use crate::{Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("AX1", "a first deployment asks nothing", || {
        let asked = json!({"analysis": asks(), "steps": []});
        let mut first = with_template(Moment::canary(2, asked).set("v1", "2/2").current("v1"));
        assert_eq!(created(&mut first), none());
        let asked = json!({"prePromotionAnalysis": asks()});
        let mut first = with_template(Moment::blue_green(2, asked).set("v1", "2/2").current("v1"));
        assert_eq!(created(&mut first), none());
    }),
    vector("AX2", "the background is watched from the first pass of an update", || {
        let mut moment = canary(json!({"analysis": asks(), "steps": [{"setWeight": 50}]}));
        assert_eq!(created(&mut moment), ["web-v2-2"]);
        let run = moment.object("web-v2-2").unwrap();
        let labels = json!({"app": "web", "rollout-type": "Background", "rollouts-pod-template-hash": "v2"});
        assert_eq!(run["metadata"]["labels"], labels);
        assert_eq!(run["metadata"]["annotations"]["rollout.argoproj.io/revision"], "2");
        assert_eq!(run["metadata"]["ownerReferences"][0]["uid"], "u-web");
        let arguments = json!([{"name": "hash", "value": "v2"}, {"name": "old", "value": "v1"}]);
        assert_eq!(run["spec"]["args"], arguments);
        let status = &moment.stored()["canary"]["currentBackgroundAnalysisRunStatus"];
        assert_eq!(status["name"], "web-v2-2");
        assert_eq!(created(&mut moment), none(), "there is one run for one question");
    }),
    vector("AX3", "the background is watched from its starting step on", || {
        let at = |index: i64| {
            let steps = json!([{"pause": {}}, {"pause": {}}, {"pause": {}}]);
            let mut asked = asks();
            asked["startingStep"] = json!(2);
            let mut moment = canary(json!({"analysis": asked, "steps": steps}));
            moment = moment.status(json!({"currentStepIndex": index}));
            created(&mut moment)
        };
        assert_eq!((at(1), at(2)), (none(), vec!["web-v2-2".to_owned()]));
    }),
    vector("AX4", "a full promotion ends the background", || {
        let mut moment = background("Running", json!({"stableRS": "v2"}));
        moment.pass();
        assert_eq!(moment.object("web-v2-2").unwrap()["spec"]["terminate"], true);
    }),
    vector("AX5", "inconclusive evidence pauses, also beyond the end of a timed pause", || {
        let pause = json!([{"pause": {"duration": 10}}]);
        let mut moment = background("Inconclusive", json!({}));
        moment = moment.spec(json!({"strategy": {"canary": {"steps": pause}}}));
        moment = steps_known(moment, &pause).status(paused("CanaryPauseStep", 5));
        moment.pass();
        assert_eq!(moment.pauses(), ["CanaryPauseStep", "InconclusiveAnalysisRun"]);
        let mut moment = moment.later(60_000);
        moment.pass();
        assert_eq!(moment.stored()["currentStepIndex"], 0);
        assert_eq!(moment.pauses(), ["CanaryPauseStep", "InconclusiveAnalysisRun"]);
    }),
    vector("AX6", "a failed step aborts, with the words of its run", || {
        let mut moment = step("Failed", json!({"message": "M"}));
        let pass = moment.pass();
        assert!(pass.told("RolloutAborted") && pass.told("AnalysisRunFailed"), "{:?}", pass.events);
        assert_eq!(moment.stored()["abort"], true);
        let message = "Rollout aborted update to revision 2: Step-based analysis phase error/failed: M";
        assert_eq!(moment.condition("Progressing")["message"], message);
        let mut error = step("Error", json!({}));
        error.pass();
        assert_eq!(error.stored()["abort"], true);
    }),
    vector("AX7", "a run that asks the same and is not over is taken over", || {
        let mut made = step_asked();
        assert_eq!(created(&mut made), ["web-v2-2-0"]);
        let run = made.object("web-v2-2-0").unwrap().clone();
        let mut moment = step_asked().with(run.clone());
        assert_eq!(created(&mut moment), none());
        assert_eq!(moment.stored()["canary"]["currentStepAnalysisRunStatus"]["name"], "web-v2-2-0");
        // One that was told to end measures nothing any more.
        let mut ending = run;
        ending["spec"]["terminate"] = json!(true);
        assert_eq!(created(&mut step_asked().with(ending)), ["web-v2-2-0.1"]);
    }),
    vector("AX8", "a run that is over leaves its name and the next one takes a number", || {
        let over = run("web-v2-2-0", "Failed", json!({"step-index": "0"}), json!({}));
        assert_eq!(created(&mut step_asked().with(over)), ["web-v2-2-0.1"]);
        let mut foreign = run("web-v2-2-0", "Running", json!({}), json!({}));
        foreign["metadata"]["ownerReferences"][0]["uid"] = json!("u-other");
        assert_eq!(created(&mut step_asked().with(foreign)), ["web-v2-2-0.1"]);
    }),
    vector("AX9", "a skipped step is asked no more, the next one anew", || {
        let steps = json!([{"analysis": asks()}, {"analysis": asks()}]);
        let mut moment = canary(json!({"steps": steps}))
            .with(run("web-v2-2-0", "Running", json!({"step-index": "0"}), json!({})))
            .status(json!({"currentStepIndex": 1, "canary": {"currentStepAnalysisRunStatus": {"name": "web-v2-2-0"}}}));
        assert_eq!(created(&mut moment), none());
        assert_eq!(moment.object("web-v2-2-0").unwrap()["spec"]["terminate"], true);
        assert_eq!(created(&mut moment), ["web-v2-2-1"]);
        assert_eq!(moment.object("web-v2-2-1").unwrap()["metadata"]["labels"]["step-index"], "1");
    }),
    vector("AX10", "going back within the delay asks nothing", || {
        let asked = json!({"prePromotionAnalysis": asks()});
        let moment = with_template(Moment::blue_green(2, asked));
        let mut moment = moment.set("v1", "2/2").set("v2", "2/2").stable("v2").current("v1");
        moment = moment.selected("v2", "v1").deadline("v1", 20);
        assert_eq!(created(&mut moment), none());
        assert_eq!(moment.selects("active"), "v1");
    }),
    vector("AX11", "runs beyond the limits go, the oldest first", || {
        let mut moment = canary(json!({"steps": [{"pause": {}}]}));
        for (phase, count) in [("Successful", 6), ("Failed", 6), ("Running", 1)] {
            for n in 0..count {
                let mut run = run(&format!("{}-{n}", phase.to_lowercase()), phase, json!({}), json!({}));
                run["metadata"]["creationTimestamp"] = json!(stamp(-3600 + n));
                moment = moment.with(run);
            }
        }
        let mut deleted = moment.pass().deleted;
        deleted.sort();
        assert_eq!(deleted, ["failed-0", "successful-0"]);
        let mut none = moment
            .spec(json!({"analysis": {"successfulRunHistoryLimit": 0, "unsuccessfulRunHistoryLimit": 0}}));
        assert_eq!(none.pass().deleted.len(), 10);
    }),
    vector("AX12", "runs of a version that is gone go with it", || {
        let mut odd = run("odd", "Successful", json!({}), json!({}));
        odd["metadata"]["labels"] = json!({});
        let moment = canary(json!({"steps": [{"pause": {}}]})).with(odd);
        let gone = run("gone", "Successful", json!({"rollouts-pod-template-hash": "v0"}), json!({}));
        let mut deleted = moment.with(gone).pass().deleted;
        deleted.sort();
        assert_eq!(deleted, ["gone", "odd"]);
    }),
    vector("AX27", "a failure before the switch aborts; a retry asks again", || {
        let mut moment = before_the_switch("Failed");
        moment.pass();
        assert_eq!((moment.stored()["abort"].clone(), moment.selects("active")), (json!(true), "v1"));
        let mut retried = before_the_switch("Failed").status(aborted()).status(json!({"abort": null}));
        assert_eq!(created(&mut retried), none(), "first the conditions");
        assert_eq!(created(&mut retried), ["web-v2-2-pre.1"]);
        assert_eq!(retried.selects("active"), "v1");
        assert_eq!(created(&mut retried), none());
    }),
    vector("AX28", "a failure after the switch leads back", || {
        let mut moment = after_the_switch("Failed");
        moment.pass();
        assert_eq!(moment.stored()["abort"], true);
        moment.pass();
        assert_eq!((moment.selects("active"), moment.stored()["stableRS"].clone()), ("v1", json!("v1")));
    }),
    vector("G15", "nothing is looked at before a switch that is no switch", || {
        let asked = || json!({"prePromotionAnalysis": asks()});
        let fresh = || with_template(Moment::blue_green(2, asked())).update("v1", "2/2", "v2", "2/2");
        assert_eq!(created(&mut fresh().selected("v1", "v2")), ["web-v2-2-pre"]);
        assert_eq!(created(&mut fresh().selected("v2", "v2")), none());
        let unsaturated = with_template(Moment::blue_green(2, asked())).update("v1", "2/2", "v2", "2/1");
        assert_eq!(created(&mut unsaturated.selected("v1", "v2")), none());
        let mut ended = before_the_switch("Running").selected("v2", "v2");
        ended.pass();
        assert_eq!(ended.object("web-v2-2-pre").unwrap()["spec"]["terminate"], true);
    }),
    vector("G16", "a question that was put is not taken back when pods are lost", || {
        let mut moment = before_the_switch("Running");
        moment.edit("web-v2", json!({"status": {"availableReplicas": 0, "readyReplicas": 0}}));
        moment.pass();
        assert_eq!(moment.object("web-v2-2-pre").unwrap()["spec"]["terminate"], Value::Null);
        let asked = json!({"prePromotionAnalysis": asks(), "previewReplicaCount": 1});
        let small = with_template(Moment::blue_green(2, asked)).update("v1", "2/2", "v2", "1/1");
        assert_eq!(created(&mut small.selected("v1", "v2")), ["web-v2-2-pre"]);
    }),
    vector("G17", "a full promotion asks nobody", || {
        let asked = json!({"prePromotionAnalysis": asks(), "postPromotionAnalysis": asks(), "autoPromotionEnabled": false});
        let moment = with_template(Moment::blue_green(10, asked)).update("v1", "10/10", "v2", "10/10");
        let mut moment = moment.selected("v1", "v2").status(json!({"promoteFull": true}));
        assert_eq!(created(&mut moment), none());
        let stored = moment.stored();
        assert_eq!((moment.selects("active"), &stored["stableRS"]), ("v2", &json!("v2")));
        assert_eq!(stored["promoteFull"], Value::Null);
    }),
    vector("P11", "after the switch the verdict is waited for", || {
        let phase = |run: &str| after_the_switch(run).phase().1;
        assert_eq!(phase("Running"), "waiting for analysis to complete");
        assert_eq!(phase("Successful"), "waiting for post-promotion verification to complete");
    }),
    vector("X23", "a template that is missing, and then is not", || {
        let steps = json!([{"analysis": asks()}]);
        let mut moment = Moment::canary(2, json!({"steps": steps})).update("v1", "2/2", "v2", "1/1");
        moment.pass();
        let message = "The Rollout \"web\" is invalid: spec.strategy.canary.steps[0].analysis.templates: \
                       Invalid value: \"t\": AnalysisTemplate 't' not found";
        assert_eq!(moment.condition("InvalidSpec")["message"], message);
        let mut moment = with_template(moment);
        assert_eq!(created(&mut moment), ["web-v2-2-0"]);
        assert_eq!(moment.condition("InvalidSpec"), Value::Null);
    }),
    vector("C6", "promoting past a step ends its question", || {
        let steps = json!([{"analysis": asks()}, {"pause": {}}]);
        let mut moment = canary(json!({"steps": steps}))
            .with(run("web-v2-2-0", "Running", json!({"step-index": "0"}), json!({})))
            .status(json!({"currentStepIndex": 1, "canary": {"currentStepAnalysisRunStatus": {"name": "web-v2-2-0"}}}));
        moment.pass();
        assert_eq!(moment.object("web-v2-2-0").unwrap()["spec"]["terminate"], true);
        assert_eq!(moment.stored()["canary"], json!({}));
        assert_eq!(moment.stored()["currentStepIndex"], 1);
    }),
    vector(
        "AX6/success",
        "a step goes on when its run succeeds, and only with a run of its own version",
        || {
            let mut moment = step("Successful", json!({}));
            moment.pass();
            assert_eq!(moment.stored()["currentStepIndex"], 1);
            assert_eq!(moment.stored()["canary"], json!({}), "its run is history");
            let mut other = step("Successful", json!({}));
            other.edit("web-v2-2-0", json!({"metadata": {"labels": {"rollouts-pod-template-hash": "v1"}}}));
            other.pass();
            assert_eq!(other.stored()["currentStepIndex"], 0);
            let mut running = step("Running", json!({}));
            running.pass();
            assert_eq!(running.stored()["currentStepIndex"], 0);
        },
    ),
    vector("AX5/resume", "who resumes after inconclusive evidence asks again, once", || {
        let mut moment = step("Inconclusive", json!({})).status(json!({"controllerPause": true}));
        assert_eq!(created(&mut moment), ["web-v2-2-0.1"]);
        assert_eq!(moment.stored()["controllerPause"], Value::Null);
        assert!(moment.pauses().is_empty());
        moment.edit("web-v2-2-0.1", json!({"status": {"phase": "Inconclusive"}}));
        assert_eq!(created(&mut moment), none());
        assert_eq!(moment.pauses(), ["InconclusiveAnalysisRun"]);
    }),
    vector("AX6/trouble", "a run that cannot be made is told in a condition, and made once it can", || {
        let mut asked = asks();
        asked["args"][0] = json!({"name": "hash", "valueFrom": {"fieldRef": {"fieldPath": "status.odd"}}});
        let mut moment = canary(json!({"steps": [{"analysis": asked}, {"pause": {}}]}));
        let pass = moment.pass();
        assert!(pass.plan.failure.is_some() && pass.told("AnalysisRunCreateError"));
        let message = "Step analysis: invalid path status.odd in rollout";
        assert_eq!(moment.condition("ReconciliationError")["message"], message);
        assert!(!moment.pass().told("AnalysisRunCreateError"), "told once");
        let mut moment = moment.status(json!({"odd": "x"}));
        assert_eq!(created(&mut moment), ["web-v2-2-0"]);
        assert_eq!(moment.condition("ReconciliationError"), Value::Null);
    }),
    vector("AX27/switch", "success before the switch allows it, nothing else does", || {
        for phase in ["", "Running", "Inconclusive", "Successful"] {
            let mut moment = before_the_switch(phase);
            moment.pass();
            assert_eq!(moment.selects("active"), if phase == "Successful" { "v2" } else { "v1" }, "{phase}");
        }
    }),
    vector("AX28/promotion", "success after the switch makes the version stable", || {
        for phase in ["", "Running", "Inconclusive", "Successful"] {
            let mut moment = after_the_switch(phase);
            moment.pass();
            let stable = if phase == "Successful" { "v2" } else { "v1" };
            assert_eq!(moment.stored()["stableRS"], stable, "{phase}");
        }
    }),
    vector("AX6/abort", "an abort ends every question", || {
        let mut moment = step("Running", json!({})).status(aborted());
        moment.pass();
        assert_eq!(moment.object("web-v2-2-0").unwrap()["spec"]["terminate"], true);
        assert_eq!(moment.stored()["canary"], json!({}));
    }),
    vector(
        "X23/references",
        "templates that contradict each other are told before anything depends on them",
        || {
            let problem = |template: Value, asked: Value| {
                let mut moment = Moment::canary(2, json!({"steps": [{"analysis": asked}]}))
                    .update("v1", "2/2", "v2", "1/1")
                    .with(template_of(template));
                moment.pass();
                let message = moment.condition("InvalidSpec")["message"].as_str().unwrap_or("").to_owned();
                message.rsplit_once("[t]\": ").map(|(_, detail)| detail.to_owned()).unwrap_or(message)
            };
            let bare = json!({"templates": [{"templateName": "t"}]});
            let metric = json!({"name": "m", "provider": {"job": {}}});
            let unset = json!({"metrics": [metric], "args": [{"name": "x"}]});
            assert_eq!(problem(unset, bare.clone()), "args.x was not resolved");
            let endless = json!({"metrics": [{"name": "m", "interval": "5s", "provider": {"job": {}}}]});
            let text =
                "AnalysisTemplate t has metric m which runs indefinitely. Invalid value for count: nil";
            assert_eq!(problem(endless, bare.clone()), text);
            let unknown = json!({"metrics": [{"name": "{{args.y}}", "provider": {"job": {}}}]});
            assert_eq!(problem(unknown, bare.clone()), "AnalysisTemplate t: failed to resolve {{args.y}}");
            let twice = json!({"metrics": [metric, metric]});
            assert_eq!(problem(twice, bare), "two metrics have the same name 'm'");
        },
    ),
];

fn none() -> Vec<String> {
    Vec::new()
}

/// What a Rollout asks for in each of its places.
fn asks() -> Value {
    json!({"templates": [{"templateName": "t"}], "args": [
        {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}},
        {"name": "old", "valueFrom": {"podTemplateHashValue": "Stable"}}]})
}

fn template_of(spec: Value) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": {"name": "t", "namespace": "shop", "uid": "u-t", "resourceVersion": "1"}, "spec": spec})
}

fn with_template(moment: Moment) -> Moment {
    moment.with(template_of(json!({"args": [{"name": "hash"}, {"name": "old"}],
        "metrics": [{"name": "m", "provider": {"job": {"spec": {}}}}]})))
}

/// An update in its first step, with the template.
fn canary(strategy: Value) -> Moment {
    with_template(Moment::canary(2, strategy)).update("v1", "2/2", "v2", "0/0")
}

/// The status is about these steps.
fn steps_known(moment: Moment, steps: &Value) -> Moment {
    moment.status(
        json!({"currentStepHash": tidegate_api::schema::steps_hash(Some(steps)), "currentStepIndex": 0}),
    )
}

/// A run of the Rollout about its version `v2`.
fn run(name: &str, phase: &str, labels: Value, status: Value) -> Value {
    let mut run = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("u-{name}"), "resourceVersion": "1",
            "creationTimestamp": stamp(-60), "labels": {"rollouts-pod-template-hash": "v2"}, "ownerReferences": [
                {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "u-web", "controller": true}]},
        "spec": {"metrics": []}, "status": {"phase": phase}});
    merge(&mut run, &json!({"metadata": {"labels": labels}, "status": status}));
    run
}

fn step_asked() -> Moment {
    canary(json!({"steps": [{"analysis": asks()}, {"pause": {}}]}))
}

/// The first step asks, and its run has come so far.
fn step(phase: &str, status: Value) -> Moment {
    step_asked()
        .with(run("web-v2-2-0", phase, json!({"step-index": "0"}), status))
        .status(json!({"canary": {"currentStepAnalysisRunStatus": {"name": "web-v2-2-0", "status": ""}}}))
}

fn background(phase: &str, status: Value) -> Moment {
    canary(json!({"analysis": asks(), "steps": [{"pause": {}}]}))
        .with(run("web-v2-2", phase, json!({}), json!({})))
        .status(json!({"canary": {"currentBackgroundAnalysisRunStatus": {"name": "web-v2-2"}}}))
        .status(status)
}

fn before_the_switch(phase: &str) -> Moment {
    with_template(Moment::blue_green(2, json!({"prePromotionAnalysis": asks()})))
        .update("v1", "2/2", "v2", "2/2")
        .selected("v1", "v2")
        .with(run("web-v2-2-pre", phase, json!({}), json!({})))
        .status(json!({"blueGreen": {"prePromotionAnalysisRunStatus": {"name": "web-v2-2-pre", "status": phase}}}))
}

fn after_the_switch(phase: &str) -> Moment {
    with_template(Moment::blue_green(2, json!({"postPromotionAnalysis": asks()})))
        .update("v1", "2/2", "v2", "2/2")
        .selected("v2", "v2")
        .with(run("web-v2-2-post", phase, json!({}), json!({})))
        .status(json!({"blueGreen": {"postPromotionAnalysisRunStatus": {"name": "web-v2-2-post", "status": phase}}}))
}

/// Names of the runs that a pass makes.
fn created(moment: &mut Moment) -> Vec<String> {
    use tidegate_api::object::Kind;
    use tidegate_controller::plan::Verb;
    let pass = moment.pass();
    let made = pass.plan.writes.iter().filter(|write| matches!(write.verb, Verb::Create(_)));
    made.filter(|write| write.key.kind == Kind::AnalysisRun).map(|write| write.key.name.to_string()).collect()
}
