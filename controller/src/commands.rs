//! What a person's command writes: decided once, for the command line, scripts and clients of a cluster.
//!
//! Each command is one or two JSON merge patches, as those of the reference's kubectl plugin, so that either tool can
//! be used on the other's objects.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Object, ReplicaSetBody};
use tidegate_api::schema::same_template;
use tidegate_api::time::Stamp;

use crate::names::{HASH_LABEL, REVISION};

/// A patch of a Rollout.
#[derive(Clone, PartialEq, Debug)]
pub enum Patch {
    /// Of the object itself.
    Main(Value),
    /// Of the status subresource.
    Status(Value),
}

/// Aborts the update.
pub fn abort() -> Vec<Patch> {
    vec![Patch::Status(json!({"status": {"abort": true}}))]
}

/// Tries an aborted update again.
pub fn retry() -> Vec<Patch> {
    vec![Patch::Status(json!({"status": {"abort": false}}))]
}

/// Pauses.
pub fn pause() -> Vec<Patch> {
    vec![Patch::Main(json!({"spec": {"paused": true}}))]
}

/// Resumes a Rollout that a person has paused.
pub fn resume() -> Vec<Patch> {
    vec![Patch::Main(json!({"spec": {"paused": false}}))]
}

/// Restarts all pods made before this time.
pub fn restart(at: Stamp) -> Vec<Patch> {
    vec![Patch::Main(json!({"spec": {"restartAt": at.to_string()}}))]
}

/// Goes on past the pause or step under way.
// ARGO: the reference writes the status before it takes `spec.paused` away; between the two it can pause again, and a
// second promote is needed. Here the specification comes first, so one is enough (L12).
pub fn promote(rollout: &Object) -> Vec<Patch> {
    let Some(body) = rollout.rollout() else { return Vec::new() };
    let (spec, status) = (body.spec.spec(), &body.status);
    let mut patches = unpause(spec.paused);
    let count = spec.canary().map_or(0, |canary| i64::try_from(canary.steps.len()).unwrap_or(i64::MAX));
    let after = status.index().unwrap_or(0).saturating_add(1).min(count);
    let paused = !status.pause_conditions().is_empty();
    let run = status.canary().step_run.and_then(|run| run.status);
    if run.as_deref() == Some("Inconclusive") && paused && status.controller_pause == Some(true) {
        let status = json!({"pauseConditions": null, "controllerPause": false, "currentStepIndex": after});
        patches.push(Patch::Status(json!({"status": status})));
    } else if paused {
        patches.push(Patch::Status(json!({"status": {"pauseConditions": null}})));
    } else if count > 0 {
        patches.push(Patch::Status(json!({"status": {"pauseConditions": null, "currentStepIndex": after}})));
    }
    patches
}

/// Goes on past everything that is left.
pub fn promote_full(rollout: &Object) -> Vec<Patch> {
    let Some(body) = rollout.rollout() else { return Vec::new() };
    let mut patches = unpause(body.spec.spec().paused);
    if body.status.current() != body.status.stable_hash() {
        patches.push(Patch::Status(json!({"status": {"promoteFull": true}})));
    }
    patches
}

fn unpause(paused: bool) -> Vec<Patch> {
    if paused { resume() } else { Vec::new() }
}

/// Skips the step under way, and nothing else: no pause is ended.
pub fn skip_current_step(rollout: &Object) -> Result<Vec<Patch>, String> {
    let (count, after) = steps_to_skip(rollout)?;
    Ok(vec![Patch::Status(json!({"status": {"currentStepIndex": after.min(count)}}))])
}

/// Skips all steps.
pub fn skip_all_steps(rollout: &Object) -> Result<Vec<Patch>, String> {
    let (count, _) = steps_to_skip(rollout)?;
    Ok(vec![Patch::Status(json!({"status": {"currentStepIndex": count}}))])
}

/// How many steps there are, and the one after the step under way.
fn steps_to_skip(rollout: &Object) -> Result<(i64, i64), String> {
    let body = rollout.rollout().ok_or("this is no Rollout")?;
    let canary = body.spec.spec().canary().ok_or("only a canary has steps to skip")?;
    let count = i64::try_from(canary.steps.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return Err("this canary has no steps to skip".to_owned());
    }
    Ok((count, body.status.index().unwrap_or(0).saturating_add(1)))
}

/// Runs an experiment again from its beginning.
pub fn retry_experiment() -> Vec<Patch> {
    vec![Patch::Main(json!({"status": null}))]
}

/// Ends an AnalysisRun or an Experiment early.
pub fn terminate() -> Vec<Patch> {
    vec![Patch::Main(json!({"spec": {"terminate": true}}))]
}

/// What an undo does.
#[derive(Clone, PartialEq, Debug)]
pub enum Undo {
    /// The template is in force already.
    Nothing {
        /// The revision it belongs to.
        revision: i64,
    },
    /// This template replaces `spec.template` of the Rollout or of its workload.
    Replace(Value),
}

/// What going back to a revision does to the template now in force: the revision named, or the one before the latest.
pub fn undo(
    rollout: &Object,
    current: &Value,
    sets: &[Arc<Object>],
    to: Option<i64>,
) -> Result<Undo, String> {
    let (revision, template) = earlier_template(rollout, sets, to).ok_or_else(|| match to {
        Some(to) => format!("unable to find specified revision {to} in history"),
        None => format!("no revision found for rollout \"{}\"", rollout.meta.name),
    })?;
    let same = same_template(&template, &without_hash(current.clone()));
    Ok(if same { Undo::Nothing { revision } } else { Undo::Replace(template) })
}

/// The pod template of an earlier revision: the one named, or the one before the latest. Without the hash label, ready
/// to replace `spec.template` of the Rollout or of its workload.
pub fn undo_template(rollout: &Object, sets: &[Arc<Object>], to: Option<i64>) -> Result<Value, String> {
    match (earlier_template(rollout, sets, to), to) {
        (Some((_, template)), _) => Ok(template),
        (None, Some(to)) => Err(format!("unable to find specified revision {to} in history")),
        (None, None) => Err("no revision found to roll back to".to_owned()),
    }
}

fn earlier_template(rollout: &Object, sets: &[Arc<Object>], to: Option<i64>) -> Option<(i64, Value)> {
    let revision =
        |set: &Object| set.meta.annotations.get(REVISION).and_then(|text| text.parse::<i64>().ok());
    let mine = |set: &&Arc<Object>| set.meta.controller().is_some_and(|owner| owner.uid == rollout.meta.uid);
    let mut known: Vec<(i64, &ReplicaSetBody)> =
        sets.iter().filter(mine).filter_map(|set| Some((revision(set)?, set.replica_set()?))).collect();
    known.sort_by_key(|(revision, _)| *revision);
    let (revision, body) = match to {
        Some(to) => known.iter().find(|(revision, _)| *revision == to)?,
        None => known.iter().rev().nth(1)?,
    };
    Some((*revision, without_hash(body.template.to_value())))
}

fn without_hash(mut template: Value) -> Value {
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    template
}

/// The lists of a pod template in which a container can stand.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The containers of a Rollout or Deployment, init containers too, with another image for some of them, as a merge
/// patch. `images` answers by the container's name.
pub fn set_image(workload: &Object, images: &dyn Fn(&str) -> Option<String>) -> Result<Patch, String> {
    let document = workload.to_value();
    let template = &document["spec"]["template"]["spec"];
    if !template["containers"].is_array() {
        return Err("it has no containers of its own".to_owned());
    }
    let mut lists = serde_json::Map::new();
    for name in CONTAINERS {
        let mut containers = template[name].as_array().cloned().unwrap_or_default();
        let mut changed = false;
        for container in &mut containers {
            let image = container["name"].as_str().and_then(images);
            // What is no mapping is no container, and refused elsewhere.
            if let (Some(image), Some(container)) = (image, container.as_object_mut()) {
                container.insert("image".to_owned(), Value::from(image));
                changed = true;
            }
        }
        if changed {
            lists.insert(name.to_owned(), Value::Array(containers));
        }
    }
    if lists.is_empty() {
        return Err("no container of this name".to_owned());
    }
    Ok(Patch::Main(json!({"spec": {"template": {"spec": lists}}})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(paused: bool, status: Value) -> Object {
        Object::from_value(
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "r"},
            "spec": {"paused": paused, "strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}}},
            "status": status}),
        )
        .expect("a rollout")
    }

    #[test]
    fn promote_writes_what_the_moment_asks_for() {
        let paused = rollout(
            false,
            json!({"pauseConditions": [{"reason": "CanaryPauseStep"}], "currentStepIndex": 1}),
        );
        assert_eq!(promote(&paused), [Patch::Status(json!({"status": {"pauseConditions": null}}))]);
        let moving = rollout(false, json!({"currentStepIndex": 2}));
        let last = json!({"status": {"pauseConditions": null, "currentStepIndex": 2}});
        assert_eq!(promote(&moving), [Patch::Status(last)]);
        let by_hand = rollout(true, json!({"pauseConditions": [{"reason": "CanaryPauseStep"}]}));
        assert!(
            matches!(promote(&by_hand)[..], [Patch::Main(_), Patch::Status(_)]),
            "the specification comes first"
        );
    }

    /// What `promote` and `promote --full` write, row by row. `spec.paused` is taken away in every row where it is set.
    #[test]
    fn the_table_of_promotions() {
        let pauses = json!([{"reason": "CanaryPauseStep"}]);
        let inconclusive = json!({"currentStepAnalysisRunStatus": {"name": "run", "status": "Inconclusive"}});
        let rows: [(Value, Value); 6] = [
            (
                json!({"pauseConditions": pauses, "controllerPause": true, "currentStepIndex": 0, "canary": inconclusive}),
                json!({"pauseConditions": null, "controllerPause": false, "currentStepIndex": 1}),
            ),
            // Inconclusive, but the pause is not the controller's.
            (
                json!({"pauseConditions": pauses, "currentStepIndex": 0, "canary": inconclusive}),
                json!({"pauseConditions": null}),
            ),
            (json!({"pauseConditions": pauses, "controllerPause": true}), json!({"pauseConditions": null})),
            (json!({"currentStepIndex": 0}), json!({"pauseConditions": null, "currentStepIndex": 1})),
            (json!({}), json!({"pauseConditions": null, "currentStepIndex": 1})),
            (json!({"currentStepIndex": 2}), json!({"pauseConditions": null, "currentStepIndex": 2})),
        ];
        let unpaused = Patch::Main(json!({"spec": {"paused": false}}));
        for (status, wanted) in rows {
            let wanted = Patch::Status(json!({"status": wanted}));
            assert_eq!(promote(&rollout(false, status.clone())), std::slice::from_ref(&wanted), "{status}");
            assert_eq!(promote(&rollout(true, status)), [unpaused.clone(), wanted]);
        }
        let full = Patch::Status(json!({"status": {"promoteFull": true}}));
        let (under_way, done) = (
            json!({"currentPodHash": "b", "stableRS": "a"}),
            json!({"currentPodHash": "a", "stableRS": "a"}),
        );
        assert_eq!(promote_full(&rollout(false, under_way.clone())), std::slice::from_ref(&full));
        assert_eq!(promote_full(&rollout(true, under_way)), [unpaused.clone(), full]);
        assert_eq!(promote_full(&rollout(true, done)), [unpaused]);
    }

    #[test]
    fn without_steps_a_promotion_ends_pauses_only() {
        let blue_green = |status: Value| {
            Object::from_value(
                json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "r"},
                "spec": {"strategy": {"blueGreen": {"activeService": "a"}}}, "status": status}),
            )
            .expect("a rollout")
        };
        assert!(promote(&blue_green(json!({}))).is_empty());
        let paused = blue_green(json!({"pauseConditions": [{"reason": "BlueGreenPause"}]}));
        assert_eq!(promote(&paused), [Patch::Status(json!({"status": {"pauseConditions": null}}))]);
    }

    #[test]
    fn undo_takes_the_revision_named_or_the_one_before_the_latest() {
        let mut owner = rollout(false, json!({}));
        owner.meta.uid = "u".into();
        let set = |revision: &str, uid: &str| {
            let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {"name": revision, "annotations": {REVISION: revision}, "ownerReferences": [
                    {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "r", "uid": uid, "controller": true}]},
                "spec": {"template": {"metadata": {"labels": {"a": "b", HASH_LABEL: "x"}}, "spec": {"of": revision}}}});
            Arc::new(Object::from_value(set).expect("a set"))
        };
        let sets = [set("10", "u"), set("9", "u"), set("2", "u"), set("11", "other"), set("none", "u")];
        let undo = |to| undo_template(&owner, &sets, to);
        let template = |revision: &str| json!({"metadata": {"labels": {"a": "b"}}, "spec": {"of": revision}});
        assert_eq!(undo(None), Ok(template("9")));
        assert_eq!(undo(Some(2)), Ok(template("2")));
        assert_eq!(undo(Some(11)), Err("unable to find specified revision 11 in history".to_owned()));
        assert!(undo_template(&owner, &sets[..1], None).is_err());
    }

    #[test]
    fn set_image_finds_init_containers_and_leaves_other_lists_alone() {
        let workload = Object::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
                "containers": [{"name": "c", "image": "c:1"}],
                "initContainers": [{"name": "i", "image": "i:1"}, {"name": "j", "image": "j:1"}]}}}}))
        .expect("a deployment");
        let patch = set_image(&workload, &|name| (name == "j").then(|| "j:2".to_owned()));
        let containers = json!([{"name": "i", "image": "i:1"}, {"name": "j", "image": "j:2"}]);
        let wanted = json!({"spec": {"template": {"spec": {"initContainers": containers}}}});
        assert_eq!(patch, Ok(Patch::Main(wanted)));
        assert_eq!(set_image(&workload, &|_| None), Err("no container of this name".to_owned()));
    }

    #[test]
    fn promote_full_of_a_promoted_rollout_writes_nothing() {
        assert!(promote_full(&rollout(false, json!({"currentPodHash": "a", "stableRS": "a"}))).is_empty());
        assert_eq!(promote_full(&rollout(false, json!({"currentPodHash": "b", "stableRS": "a"}))).len(), 1);
    }

    #[test]
    fn skipping_steps_moves_the_index_alone() {
        let moving =
            rollout(true, json!({"currentStepIndex": 0, "pauseConditions": [{"reason": "CanaryPauseStep"}]}));
        let index = |n: i64| Ok(vec![Patch::Status(json!({"status": {"currentStepIndex": n}}))]);
        assert_eq!(skip_current_step(&moving), index(1));
        assert_eq!(skip_current_step(&rollout(false, json!({"currentStepIndex": 2}))), index(2));
        assert_eq!(skip_all_steps(&moving), index(2));
        let strategies = [json!({"blueGreen": {"activeService": "a"}}), json!({"canary": {}})];
        for strategy in strategies {
            let document = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "r"},
                "spec": {"strategy": strategy}});
            let without = Object::from_value(document).expect("a rollout");
            assert!(skip_current_step(&without).is_err() && skip_all_steps(&without).is_err());
        }
    }

    #[test]
    fn undo_to_the_template_in_force_does_nothing() {
        let mut owner = rollout(false, json!({}));
        owner.meta.uid = "u".into();
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": "s", "annotations": {REVISION: "3"}, "ownerReferences": [
                {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "r", "uid": "u", "controller": true}]},
            "spec": {"template": {"metadata": {"labels": {"a": "b", HASH_LABEL: "x"}},
                "spec": {"containers": [{"name": "c", "image": "c:1"}]}}}});
        let sets = [Arc::new(Object::from_value(set).expect("a set"))];
        let template = |image: &str| {
            json!({"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": image}]}})
        };
        assert_eq!(undo(&owner, &template("c:1"), &sets, Some(3)), Ok(Undo::Nothing { revision: 3 }));
        assert_eq!(undo(&owner, &template("c:2"), &sets, Some(3)), Ok(Undo::Replace(template("c:1"))));
        assert_eq!(
            undo(&owner, &template("c:2"), &sets, None),
            Err("no revision found for rollout \"r\"".to_owned())
        );
    }
}
