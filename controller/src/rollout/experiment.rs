//! Which Experiment a canary has, what its outcome does to the update, and the share of traffic of its arms.
//!
//! An Experiment belongs to one step of one version: its name says which. The one that decides now is named in the status;
//! all others are history, are told to end, and are kept up to a limit (S21, S22).

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidegate_api::experiment::{ExperimentStep, StepTemplate};
use tidegate_api::object::{Body, ExperimentBody, Kind, Meta, Object, Strings, Text};
use tidegate_api::spec::{Canary, StepKind};

use super::analysis;
use super::canary::current_step;
use super::claims::controller_reference;
use super::draft::Draft;
use super::set::Set;
use crate::analysis::args::{Hashes, of_rollout};
use crate::edit::Edit;
use crate::names::{HASH_LABEL, REVISION};
use crate::plan::{Guard, IfRefused, Reason, Verb};
use crate::routers::Arm;
use crate::sabotage::Sabotage;

/// Why a Rollout is paused whose Experiment decides nothing.
pub const INCONCLUSIVE: &str = "InconclusiveExperiment";

/// The Experiment that decides now, as a pass leaves it.
#[derive(Clone, Debug, Default)]
pub struct Current(Option<Arc<Object>>);

fn phase(experiment: &Object) -> &str {
    experiment.experiment().map_or("", |body| body.status.phase())
}

fn is_over(experiment: &Object) -> bool {
    experiment.experiment().is_none_or(|body| body.status.is_over())
}

fn is_told_to_end(experiment: &Object) -> bool {
    experiment.experiment().is_some_and(|body| body.spec.spec().terminate)
}

/// The Experiment that the stored status names, if it exists.
fn named(draft: &Draft<'_>) -> Option<Arc<Object>> {
    let name = draft.observed.canary.as_ref()?.experiment.as_ref()?;
    let found = draft.world.experiments.iter().find(|one| one.meta.name == *name);
    found.filter(|one| one.meta.deleting.is_none()).cloned()
}

/// One pass: begins the Experiment of the step, does what its outcome demands, ends what is no longer asked.
pub fn follow(draft: &mut Draft<'_>, spec: &Canary) {
    // INVARIANT: S21, one of before an abort is no answer.
    let before = named(draft).filter(|_| !draft.is_retried());
    let is_off = draft.is_aborted()
        || draft.is_promoting_fully()
        || draft.is_fully_promoted()
        || draft.observed.stable_hash().is_empty();
    let step =
        current_step(draft, spec).filter(|_| !is_off).and_then(|index| match &spec.steps[index].kind {
            StepKind::Experiment(step) => Some((index, step.clone())),
            _ => None,
        });
    let current = match step {
        Some(_) if draft.observed.is_paused_for(analysis::INCONCLUSIVE) => before,
        Some((index, step)) => ask_or_react(draft, index, &step, before),
        None => None,
    };
    clean_up(draft, current.as_ref());
    draft.experiment = Some(Current(current));
}

fn ask_or_react(
    draft: &mut Draft<'_>,
    index: usize,
    step: &ExperimentStep,
    current: Option<Arc<Object>>,
) -> Option<Arc<Object>> {
    let current = current.filter(|one| is_of_this_step(draft, one, index));
    // ARGO: the reference forgets one that decided nothing and makes the next one at once, without end (Q9).
    let resumed = draft.observed.controller_pause == Some(true)
        && !draft.observed.is_paused_for(INCONCLUSIVE)
        && !draft.observed.is_paused_for("CanaryPauseStep");
    let Some(one) = current.filter(|one| !(resumed && phase(one) == "Inconclusive")) else {
        if resumed {
            // What the person did has led to this Experiment; its outcome may pause again.
            draft.course.pauses_removed.push(INCONCLUSIVE);
        }
        return make(draft, index, step);
    };
    match phase(&one) {
        "Inconclusive" => draft.course.pauses_added.push(INCONCLUSIVE),
        "Failed" | "Error" => {
            let message = one.experiment().and_then(|body| body.status.message.clone()).unwrap_or_default();
            let mut why = "Experiment analysis phase is error/failed".to_owned();
            if !message.is_empty() {
                why = format!("{why}: {message}");
            }
            draft.because(Reason::Aborted(why.as_str().into()));
            draft.course.abort.get_or_insert(why.into());
        }
        _ => {}
    }
    Some(one)
}

/// INVARIANT: S21, an Experiment of another version or another step is no answer.
fn is_of_this_step(draft: &Draft<'_>, experiment: &Object, index: usize) -> bool {
    let hash = experiment.meta.labels.get(HASH_LABEL);
    if hash.is_some_and(|hash| *hash != draft.current_hash()) {
        return false;
    }
    // ROLLOUT-HASH-REVISION-STEP, perhaps with a number behind.
    let Some(parts) = experiment.meta.name.strip_prefix(&format!("{}-", draft.name())) else { return false };
    let step = parts.split('-').nth(2).and_then(|step| step.parse::<usize>().ok());
    step == Some(index)
}

/// The Experiment of a step from now on: one that exists and asks the same, else a new one.
fn make(draft: &mut Draft<'_>, index: usize, step: &ExperimentStep) -> Option<Arc<Object>> {
    let rollout = draft.rollout().clone();
    if draft.stable.is_none() || draft.new.is_none() {
        draft.because(Reason::WaitingFor("a stable ReplicaSet before the experiment begins".into()));
        return None;
    }
    let spec = match spec_of(draft, step) {
        Ok(spec) => spec,
        Err(why) => {
            let trouble: Text = format!("experiment: {why}").into();
            draft.analysis_trouble = Some(trouble.clone());
            draft.fail(trouble);
            return None;
        }
    };
    let base = format!("{}-{}-{}-{index}", rollout.meta.name, draft.current_hash(), draft.revision());
    let mut number = 0_u64;
    let name = loop {
        let name = if number == 0 { base.clone() } else { format!("{base}-{number}") };
        let Some(standing) = draft.world.experiment_names.get(&*name) else { break name };
        if is_adoptable(standing, &rollout, &spec) {
            return Some(standing.clone());
        }
        number += 1;
    };
    let mut labels = rollout.meta.labels.clone();
    labels.set(HASH_LABEL, draft.current_hash());
    let mut annotations = Strings::default();
    annotations.set(REVISION, draft.revision());
    let meta = Meta {
        name: name.as_str().into(),
        namespace: rollout.meta.namespace.clone(),
        labels,
        annotations,
        owners: vec![controller_reference(&rollout)],
        ..Meta::default()
    };
    let body = Body::Experiment(ExperimentBody::new(spec));
    let object = Arc::new(Object { kind: Kind::Experiment, meta, body });
    let created = draft.notice("ExperimentCreated", format!("Created Experiment '{name}'"));
    draft.because(Reason::Note(format!("begins {name}").into()));
    let verb = Verb::Create(object.clone());
    draft.write(object.key(), Guard::Absent, verb, vec![created], IfRefused::Stop);
    Some(object)
}

fn is_adoptable(experiment: &Object, rollout: &Object, spec: &Value) -> bool {
    let owned = experiment.meta.controller().is_some_and(|owner| owner.uid == rollout.meta.uid);
    let same = experiment.experiment().is_some_and(|body| body.spec.asks_the_same(spec));
    let goes_on = !is_over(experiment) && !is_told_to_end(experiment) && experiment.meta.deleting.is_none();
    owned && same && goes_on
}

fn spec_of(draft: &Draft<'_>, step: &ExperimentStep) -> Result<Value, String> {
    let mut spec = Map::new();
    for field in ["duration", "dryRun", "analysisRunMetadata", "scaleDownDelaySeconds"] {
        let given = step.raw.get(field).filter(|value| !value.is_null());
        spec.extend(given.map(|value| (field.to_owned(), value.clone())));
    }
    let deadline = &draft.rollout().rollout().map(|body| body.spec.raw()["progressDeadlineSeconds"].clone());
    if let Some(deadline) = deadline.as_ref().filter(|value| !value.is_null()) {
        spec.insert("progressDeadlineSeconds".to_owned(), deadline.clone());
    }
    let templates = step.templates.iter().map(|template| template_of(draft, template));
    spec.insert("templates".to_owned(), Value::Array(templates.collect::<Result<_, _>>()?));
    let latest = draft.current_hash();
    let hashes = Hashes { latest: &latest, stable: draft.stable_set().map(|set| set.hash()) };
    let mut analyses = Vec::new();
    for analysis in &step.analyses {
        let mut made = json!({"name": &*analysis.name, "templateName": &*analysis.template.name});
        if analysis.template.cluster {
            made["clusterScope"] = true.into();
        }
        if analysis.is_required {
            made["requiredForCompletion"] = true.into();
        }
        let args = of_rollout(&analysis.args, draft.rollout(), hashes)?;
        if !args.is_empty() {
            let value = |value: &Option<Text>| value.as_deref().unwrap_or("").to_owned();
            made["args"] =
                args.iter().map(|arg| json!({"name": &*arg.name, "value": value(&arg.value)})).collect();
        }
        analyses.push(made);
    }
    if !analyses.is_empty() {
        spec.insert("analyses".to_owned(), Value::Array(analyses));
    }
    Ok(Value::Object(spec))
}

fn template_of(draft: &Draft<'_>, template: &StepTemplate) -> Result<Value, String> {
    let set = match &*template.of {
        "canary" => draft.new_set(),
        "stable" => draft.stable_set(),
        _ => return Err("Invalid template step SpecRef: must be canary or stable".to_owned()),
    };
    let set = set.ok_or("there is no such ReplicaSet")?;
    let pods = set.body().template.with(|pods| {
        template.labels.iter().for_each(|(key, value)| pods.labels.set(key, value.clone()));
        template.annotations.iter().for_each(|(key, value)| pods.annotations.set(key, value.clone()));
    });
    let mut selector = template.selector.clone().unwrap_or_else(|| (*set.body().selector.raw).clone());
    if !template.labels.is_empty() {
        if !selector["matchLabels"].is_object() {
            selector["matchLabels"] = json!({});
        }
        for (key, value) in template.labels.iter() {
            selector["matchLabels"][&**key] = Value::from(&**value);
        }
    }
    let mut made = json!({"name": &*template.name, "selector": selector, "template": pods.to_value()});
    if let Some(replicas) = template.replicas {
        made["replicas"] = replicas.into();
    }
    if let Some(seconds) = set.body().min_ready_seconds {
        made["minReadySeconds"] = seconds.into();
    }
    match &template.service {
        Some(name) if !name.is_empty() => made["service"] = json!({"name": &**name}),
        service if service.is_some() || template.weight.is_some() => made["service"] = json!({}),
        _ => {}
    }
    Ok(made)
}

/// Tells Experiments that decide nothing any more to end, and deletes old ones beyond the history limits.
fn clean_up(draft: &mut Draft<'_>, current: Option<&Arc<Object>>) {
    let is_current = |one: &Arc<Object>| current.is_some_and(|current| current.meta.name == one.meta.name);
    let mut others: Vec<Arc<Object>> = draft.world.experiments.clone();
    others.retain(|one| !is_current(one) && one.meta.deleting.is_none());
    let keeps = draft.facts.is_sabotaged(Sabotage::KeepAsking);
    for one in others.iter().filter(|one| !is_over(one) && !is_told_to_end(one) && !keeps) {
        draft.because(Reason::Note(format!("{} is no longer asked", one.meta.name).into()));
        let guard = Guard::Identity(one.meta.uid.clone());
        draft.write(one.key(), guard, Verb::Edit(vec![Edit::Terminate]), Vec::new(), IfRefused::GoOn);
    }
    others.sort_by_key(|one| Reverse((one.meta.created, one.meta.name.clone())));
    let (mut successful, mut unsuccessful) = (0, 0);
    for one in others {
        let known = one.meta.labels.get(HASH_LABEL).is_some_and(|hash| {
            let mut sets = draft.sets.iter();
            sets.any(|set| set.hash() == &**hash && set.object().meta.deleting.is_none())
        });
        let kept = match phase(&one) {
            "Successful" => {
                successful += 1;
                successful <= draft.spec.successful_run_history_limit
            }
            "Failed" | "Error" | "Inconclusive" => {
                unsuccessful += 1;
                unsuccessful <= draft.spec.unsuccessful_run_history_limit
            }
            _ => true,
        };
        let keeps = draft.facts.is_sabotaged(Sabotage::KeepHistory);
        if (known && kept) || carries_users(draft, &one) || keeps {
            continue;
        }
        let guard = Guard::Identity(one.meta.uid.clone());
        draft.write(one.key(), guard, Verb::Delete, Vec::new(), IfRefused::GoOn);
    }
}

/// INVARIANT: S8, its pods and Services go with it, so it stays while a route leads to them or may still do so.
fn carries_users(draft: &Draft<'_>, experiment: &Object) -> bool {
    let Some(body) = experiment.experiment() else { return false };
    let mut services =
        body.status.templates.iter().flatten().filter_map(|template| template.service.as_ref());
    let is_routed = draft.spec.canary().is_some_and(|canary| canary.traffic_routing.is_some());
    is_routed && services.next().is_some() && !draft.traffic.is_in_force
}

/// Names the current Experiment in the status of this pass, if the pass looked for it.
pub fn record(draft: &mut Draft<'_>) {
    let Some(Current(current)) = draft.experiment.clone() else {
        // A pass that looked for none hands none of before an abort on.
        if draft.is_retried()
            && let Some(canary) = &mut draft.status.canary
        {
            canary.experiment = None;
        }
        return;
    };
    // One whose step is done belongs to the past.
    // INVARIANT: S21, one that has succeeded stays named while its step cannot end, or a pause by hand has it made again
    // and again. scenarios/experiments/paused_by_hand_until_it_has_succeeded.yaml
    let same_step = draft.status.index().unwrap_or(0) == draft.observed.index().unwrap_or(0);
    let forgets = draft.facts.is_sabotaged(Sabotage::ForgetInconclusive);
    let is_past = |one: &Object| forgets && matches!(phase(one), "Inconclusive" | "Successful");
    let name = current.filter(|one| same_step && !is_past(one)).map(|one| one.meta.name.clone());
    if draft.spec.canary().is_some() {
        draft.status.canary.get_or_insert_default().experiment = name;
    }
}

/// Whether the Experiment of the current step has succeeded.
pub fn step_has_succeeded(draft: &Draft<'_>) -> bool {
    let current = draft.experiment.as_ref().and_then(|Current(current)| current.as_ref());
    current.is_some_and(|one| phase(one) == "Successful")
}

/// The arms of the running Experiment that get a share of the traffic: those with a Service that is known and has pods that
/// load balancers know (S1).
pub fn arms(draft: &mut Draft<'_>, spec: &Canary) -> Vec<Arm> {
    let Some(step) = last_experiment(draft, spec) else { return Vec::new() };
    let Some(experiment) = named(draft).filter(|one| phase(one) == "Running") else { return Vec::new() };
    let Some(body) = experiment.experiment() else { return Vec::new() };
    let mut arms = Vec::new();
    for status in body.status.templates.iter().flatten() {
        let template = step.templates.iter().find(|template| Some(&template.name) == status.name.as_ref());
        let Some(weight) = template.and_then(|template| template.weight) else { continue };
        // ARGO: the reference writes a route without a host once the Service is gone from the status (#4890).
        if draft.facts.is_sabotaged(Sabotage::BlankArms) && status.service.is_none() {
            let hash = status.hash.clone().unwrap_or_default();
            arms.push(Arm { service: Text::default(), hash, weight });
        }
        let (Some(service), Some(hash)) = (&status.service, &status.hash) else { continue };
        let is_hasty = draft.facts.is_sabotaged(Sabotage::BlankArms);
        if service.is_empty() || (!is_hasty && !can_carry(draft, service)) {
            continue;
        }
        arms.push(Arm { service: service.clone(), hash: hash.clone(), weight });
    }
    arms
}

/// Whether load balancers know the Service and a pod behind it.
fn can_carry(draft: &mut Draft<'_>, service: &Text) -> bool {
    let world = draft.world;
    let stretch = world.settings.propagation;
    let (Some(object), Some(set)) = (world.services.get(service), world.arm_sets.get(service)) else {
        return false;
    };
    let Some(available) = Set::new(set.clone()).map(|set| set.available()).filter(|n| *n > 0) else {
        return false;
    };
    let steady = world.moments.get(&set.key()).map_or(0, |m| m.steadily_available(draft.now, stretch));
    let rests = world.rests_at(&object.key(), stretch, draft.now);
    if rests.is_none() && steady.min(available) > 0 {
        return true;
    }
    draft.because(Reason::WaitingFor(format!("load balancers to know Service {service}").into()));
    let at = rests.unwrap_or_else(|| draft.now.plus(stretch));
    draft.wake_at(at, "the arm reaches the data plane");
    // What has a share keeps it as long as there are pods: only what begins waits.
    let weights = draft.observed.canary.as_ref().and_then(|canary| canary.weights.as_ref());
    let recorded = weights.and_then(|weights| weights.additional.as_ref());
    recorded.into_iter().flatten().any(|arm| arm.service.as_ref() == Some(service))
}

/// The nearest experiment step at or before the current one.
fn last_experiment(draft: &Draft<'_>, spec: &Canary) -> Option<Arc<ExperimentStep>> {
    let index = current_step(draft, spec)?;
    spec.steps[..=index].iter().rev().find_map(|step| match &step.kind {
        StepKind::Experiment(step) => Some(step.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use tidegate_api::object::{Key, RolloutStatus};
    use tidegate_api::time::Time;

    use super::*;
    use crate::cache::Cache;
    use crate::plan::Plan;
    use crate::rollout::plan;
    use crate::world::{Facts, RolloutWorld};

    const NOW: Time = Time(1_767_225_600_000);

    fn set(hash: &str, revision: &str, replicas: i64) -> Value {
        let labels = json!({"app": "web", "rollouts-pod-template-hash": hash});
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": format!("web-{hash}"), "uid": hash,
                "labels": labels, "annotations": {"rollout.argoproj.io/revision": revision,
                "rollout.argoproj.io/desired-replicas": "2"}, "ownerReferences": [owner()]},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": format!("web:{revision}")}]}}},
            "status": {"replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas}})
    }

    fn owner() -> Value {
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "r", "controller": true})
    }

    fn experiment(name: &str, phase: &str) -> Value {
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "metadata": {"name": name, "uid": name,
                "labels": {"rollouts-pod-template-hash": "new"}, "ownerReferences": [owner()]},
            "spec": {"templates": []}, "status": {"phase": phase, "message": "because"}})
    }

    /// What is decided in the first step of an update, an experiment, with this status and these Experiments.
    fn decided(status: Value, experiments: &[Value]) -> Plan {
        let steps = json!([{"experiment": {"templates": [{"name": "base", "specRef": "stable"}]}}, {"setWeight": 50}]);
        let mut whole = json!({"currentPodHash": "new", "stableRS": "old", "currentStepIndex": 0,
            "currentStepHash": tidegate_api::schema::steps_hash(Some(&steps)), "observedGeneration": "3",
            "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]});
        let more = status.as_object().cloned().unwrap_or_default();
        whole.as_object_mut().expect("a mapping").extend(more);
        let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web",
                "uid": "r", "generation": 3, "annotations": {"rollout.argoproj.io/revision": "2"}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "strategy": {"canary": {"steps": steps}},
                "template": {"metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": "web:2"}]}}}, "status": whole});
        let mut cache = Cache::default();
        let documents = [rollout, set("old", "1", 2), set("new", "2", 0)];
        for mut document in documents.into_iter().chain(experiments.iter().cloned()) {
            document["metadata"]["namespace"] = json!("n");
            document["metadata"]["resourceVersion"] = json!("5");
            cache.put(Arc::new(Object::from_value(document).expect("an object")), NOW);
        }
        let world = RolloutWorld::gather(&cache, &Key::new(Kind::Rollout, "n", "web")).expect("a world");
        plan(&world, &Facts::default(), NOW)
    }

    fn made(plan: &Plan) -> Vec<String> {
        let of = plan.writes.iter().filter(|write| matches!(write.verb, Verb::Create(_)));
        of.map(|write| write.key.name.to_string()).collect()
    }

    fn ended(plan: &Plan) -> Vec<String> {
        let told = |verb: &Verb| matches!(verb, Verb::Edit(edits) if edits.contains(&Edit::Terminate));
        plan.writes.iter().filter(|write| told(&write.verb)).map(|write| write.key.name.to_string()).collect()
    }

    fn status(plan: &Plan) -> Arc<RolloutStatus> {
        let mut edits = plan.writes.iter().filter_map(|write| match &write.verb {
            Verb::Edit(edits) => edits.iter().find_map(|edit| match edit {
                Edit::Status(_, to) => Some(to.clone()),
                _ => None,
            }),
            _ => None,
        });
        edits.next_back().expect("a status")
    }

    fn named(plan: &Plan) -> Option<Text> {
        status(plan).canary().experiment
    }

    /// Vector X24, and row Q9: while it is paused there is no other one, after the resume there is.
    #[test]
    fn one_that_decides_nothing_waits_for_a_person() {
        let name = "web-new-2-0";
        let current = json!({"canary": {"currentExperiment": name}});
        let all = [experiment(name, "Inconclusive")];
        let first = decided(current.clone(), &all);
        assert!(made(&first).is_empty());
        assert_eq!(named(&first).as_deref(), Some(name));
        assert!(status(&first).is_paused_for(INCONCLUSIVE));
        let mut paused = current.clone();
        paused["controllerPause"] = json!(true);
        paused["pauseConditions"] = json!([{"reason": INCONCLUSIVE, "startTime": "2026-01-01T00:00:00Z"}]);
        assert!(made(&decided(paused, &all)).is_empty());
        let mut resumed = current;
        resumed["controllerPause"] = json!(true);
        let next = decided(resumed, &all);
        assert_eq!(made(&next), ["web-new-2-0-1"]);
        assert_eq!(named(&next).as_deref(), Some("web-new-2-0-1"));
        assert_eq!(status(&next).controller_pause, None);
    }

    #[test]
    fn what_it_says_moves_the_update() {
        assert_eq!(made(&decided(json!({}), &[])), ["web-new-2-0"]);
        let name = "web-new-2-0";
        let current = json!({"canary": {"currentExperiment": name}});
        let done = decided(current.clone(), &[experiment(name, "Successful")]);
        assert_eq!((status(&done).index(), named(&done)), (Some(1), None));
        let bad = decided(current, &[experiment(name, "Failed")]);
        assert!(status(&bad).is_aborted());
        let why = "RolloutAborted: Rollout aborted update to revision 2: Experiment analysis phase is error/failed: because";
        assert_eq!(status(&bad).message.as_deref(), Some(why));
    }

    /// Vector X25, and invariants S21, S22.
    #[test]
    fn what_is_no_longer_asked_is_ended_and_says_nothing() {
        let name = "web-new-2-0";
        let aborted = json!({"abort": true, "canary": {"currentExperiment": name}});
        assert_eq!(ended(&decided(aborted, &[experiment(name, "Running")])), [name]);
        let other = json!({"canary": {"currentExperiment": "web-new-2-3"}});
        let plan = decided(other, &[experiment("web-new-2-3", "Successful")]);
        assert_eq!((made(&plan), status(&plan).index()), (vec!["web-new-2-0".to_owned()], Some(0)));
    }
}
