//! Argo CD reads our objects correctly: in every state of every scenario its word for a Rollout is what is so.

mod rules;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tidegate_api::object::{Kind, Object};
use tidegate_sim::play::{Setup, live_before};
use tidegate_sim::sweep::scripts;
use tidegate_sim::world::{Happened, Watching, World, Writer};

#[test]
fn its_word_for_a_rollout_is_what_is_so() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let (mut wrong, mut heard) = (Vec::new(), BTreeMap::<&str, u32>::new());
    for script in scripts(&folder).expect("the scenarios are read") {
        let mut watch = |world: &World, what: &Happened<'_>| {
            let Happened::Stored { by, after: Some(after), .. } = what else { return };
            // What was there before the run was not told by us, and what a person writes is answered a moment later.
            if after.key().kind != Kind::Rollout || matches!(by, Writer::Beginning | Writer::User) {
                return;
            }
            let (word, message) = rules::of_rollout(&after.to_value());
            *heard.entry(word).or_default() += 1;
            if let Err(why) = judge(world, after, word, &message) {
                wrong.push(format!("{}: {word} ({message}), but {why}", script.name));
            }
        };
        live_before(&script, Setup { silent: true, ..Setup::default() }, &mut Watching(&mut watch));
    }
    assert!(wrong.is_empty(), "{} wrong words:\n{}", wrong.len(), wrong.join("\n"));
    for word in ["Healthy", "Suspended", "Degraded", "Progressing"] {
        assert!(heard.get(word).is_some_and(|count| *count > 30), "{word} was seldom said: {heard:?}");
    }
    assert_eq!(heard.len(), 4, "{heard:?}");
}

/// Whether the word fits what the store holds.
fn judge(world: &World, rollout: &Object, word: &str, message: &str) -> Result<(), String> {
    let value = rollout.to_value();
    let (spec, status) = (&value["spec"], &value["status"]);
    let is = |holds: bool, why: &str| if holds { Ok(()) } else { Err(format!("{why}: {status}")) };
    let condition = |kind: &str| {
        let all = status["conditions"].as_array().into_iter().flatten();
        all.into_iter()
            .find(|condition| condition["type"] == kind)
            .map_or(Value::Null, |c| c["status"].clone())
    };
    let held = status["pauseConditions"].as_array().is_some_and(|all| !all.is_empty());
    match word {
        "Healthy" => {
            is(message.is_empty(), "there is a message")?;
            is(status["abort"] != true, "it is aborted")?;
            is(!held && spec["paused"] != true, "it is paused")?;
            is(status["stableRS"] == status["currentPodHash"], "another version is stable")?;
            let hash = status["currentPodHash"].as_str().unwrap_or_default();
            let wished = world
                .store()
                .of_kind(&Kind::ReplicaSet)
                .map(|set| set.to_value())
                .find(|set| set["metadata"]["labels"]["rollouts-pod-template-hash"] == hash)
                .map_or(Value::Null, |set| set["spec"]["replicas"].clone());
            // Steps and a smaller number of pods that come together are taken one after the other: for a moment there are
            // more pods than wished, never fewer.
            let enough = wished.as_i64() >= spec["replicas"].as_i64();
            is(enough, &format!("its set is to have {wished} pods"))
        }
        "Suspended" => {
            is(!message.is_empty(), "nothing is said")?;
            is(held || spec["paused"] == true || status["controllerPause"] == true, "nothing holds it")
        }
        "Degraded" => {
            is(!message.is_empty(), "nothing is said")?;
            let broken = condition("InvalidSpec") == "True" || condition("Progressing") == "False";
            is(status["abort"] == true || broken, "nothing is wrong")
        }
        "Progressing" => is(
            status["abort"] != true || status["abortedAt"].is_null() || message.starts_with("Waiting"),
            "it was aborted",
        ),
        other => Err(format!("{other} is no word of a Rollout")),
    }
}

/// One line for each rule, on objects made for it.
#[test]
fn the_rules() {
    let table = [
        (json!({"metadata": {"generation": 1}}), "Progressing"),
        (
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": "1", "phase": "Healthy"}}),
            "Progressing",
        ),
        (
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": "2", "phase": "Healthy"}}),
            "Healthy",
        ),
        (
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": "6f8cc9d5c4", "phase": "Healthy"}}),
            "Healthy",
        ),
        (
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": "2", "phase": "Paused"}}),
            "Suspended",
        ),
        (
            json!({"metadata": {"generation": 2, "annotations": {"rollout.argoproj.io/workload-generation": "3"}},
            "spec": {"workloadRef": {}},
            "status": {"observedGeneration": "2", "workloadObservedGeneration": "2", "phase": "Healthy"}}),
            "Progressing",
        ),
        (
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": "2", "phase": "Degraded"}}),
            "Degraded",
        ),
    ];
    for (object, word) in table {
        assert_eq!(rules::of_rollout(&object).0, word, "{object}");
    }
}
