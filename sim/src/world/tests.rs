//! Worlds that are lived through: actors, watches, crashes, determinism.

use super::*;
use crate::cluster::store::Part;
use serde_json::{Value, json};
use tidegate_api::object::Kind;
use tidegate_controller::edit::Edit;
use tidegate_controller::manager::WATCHED;
use tidegate_controller::plan::{Guard, Verb};

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn set(name: &str, replicas: i64, min_ready: i64, annotations: Value) -> Object {
    object(
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": "n"},
        "spec": {"replicas": replicas, "minReadySeconds": min_ready, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}, "annotations": annotations},
                "spec": {"containers": [{"name": "c", "image": "registry/web:v1"}]}}}}),
    )
}

fn key(kind: Kind, name: &str) -> Key {
    Key::new(kind, "n", name)
}

fn world(seed: u64) -> World {
    World::new(WorldConfig { seed, ..WorldConfig::default() })
}

fn rest(world: &mut World) -> Rest {
    let limit = world.now().plus(Span::seconds(3600));
    world.run_to_rest(limit, &mut ())
}

fn counts(world: &World, name: &str) -> (i64, i64, i64) {
    let status =
        &world.get(&key(Kind::ReplicaSet, name)).and_then(|o| o.replica_set()).expect("a set").status;
    (status.replicas.unwrap_or(0), status.ready.unwrap_or(0), status.available.unwrap_or(0))
}

fn create(world: &mut World, object: Object) {
    world.user(Action::Create(object), &mut ()).expect("created");
}

fn scale(world: &mut World, name: &str, replicas: i64) {
    world.user(Action::Scale { key: key(Kind::ReplicaSet, name), replicas }, &mut ()).expect("scaled");
}

#[test]
fn a_set_gets_its_pods_and_loses_the_surplus() {
    let mut world = world(1);
    create(&mut world, set("a", 3, 0, json!({})));
    assert_eq!(rest(&mut world), Rest::AtRest);
    assert_eq!(counts(&world, "a"), (3, 3, 3));
    scale(&mut world, "a", 1);
    assert_eq!(rest(&mut world), Rest::AtRest);
    assert_eq!(counts(&world, "a"), (1, 1, 1));
    let manager = &world.controller().expect("lives").manager;
    assert_eq!(manager.cache().of_kind(&Kind::Pod).count(), 1);
    assert_eq!(manager.cache().get(&key(Kind::ReplicaSet, "a")), world.get(&key(Kind::ReplicaSet, "a")));
}

fn pods(world: &World) -> Vec<Arc<Object>> {
    world.store().of_kind(&Kind::Pod).cloned().collect()
}

fn names(pods: &[Arc<Object>]) -> Vec<Text> {
    pods.iter().map(|pod| pod.meta.name.clone()).collect()
}

fn with_models(pods: PodModels) -> World {
    World::new(WorldConfig { seed: 5, pods, ..WorldConfig::default() })
}

fn only(model: PodModel) -> PodModels {
    PodModels { default: model, by_image: Vec::new() }
}

#[test]
fn scaling_down_gives_up_pods_that_are_not_ready_then_the_youngest() {
    let mut world = with_models(only(PodModel { startup: (1_000, 1_000), ..PodModel::default() }));
    create(&mut world, set("a", 1, 0, json!({})));
    rest(&mut world);
    let oldest = names(&pods(&world));
    world.run_until(world.now().plus(Span::seconds(5)), &mut ());
    scale(&mut world, "a", 3);
    rest(&mut world);
    let all = pods(&world);
    world.set_ready(&all[0].key(), false, &mut ()).expect("a pod");
    scale(&mut world, "a", 2);
    rest(&mut world);
    assert_eq!(
        names(&pods(&world)),
        names(&all[1..]),
        "the one that is not ready goes, although it is the oldest"
    );
    world.set_ready(&all[1].key(), true, &mut ()).expect("a pod");
    scale(&mut world, "a", 1);
    rest(&mut world);
    assert_eq!(pods(&world).len(), 1);
    assert_ne!(names(&pods(&world)), oldest);
}

#[test]
fn of_equally_ready_pods_the_one_that_became_ready_last_goes_first() {
    let mut world = with_models(only(PodModel { startup: (1_000, 1_000), ..PodModel::default() }));
    create(&mut world, set("a", 1, 0, json!({})));
    rest(&mut world);
    let oldest = names(&pods(&world));
    world.run_until(world.now().plus(Span::seconds(5)), &mut ());
    scale(&mut world, "a", 4);
    rest(&mut world);
    scale(&mut world, "a", 1);
    rest(&mut world);
    assert_eq!(names(&pods(&world)), oldest);
}

#[test]
fn a_deletion_cost_goes_before_age() {
    let mut world = with_models(only(PodModel::instant()));
    create(&mut world, set("a", 2, 0, json!({})));
    rest(&mut world);
    let all = pods(&world);
    let cost = Edit::Annotation("controller.kubernetes.io/pod-deletion-cost".into(), Some("-1".into()));
    world.user(Action::Edit { key: all[0].key(), edits: vec![cost] }, &mut ()).expect("edited");
    scale(&mut world, "a", 1);
    rest(&mut world);
    assert_eq!(names(&pods(&world)), names(&all[1..]));
}

#[test]
fn a_pod_counts_as_available_after_min_ready_seconds() {
    let mut world = with_models(only(PodModel { startup: (1_500, 1_500), ..PodModel::default() }));
    create(&mut world, set("a", 2, 10, json!({})));
    let start = world.now();
    world.run_until(start.plus(Span::seconds(2)), &mut ());
    assert_eq!(counts(&world, "a"), (2, 2, 0));
    // Ready in the second that began at 1 s, as far as a time in whole seconds can tell.
    world.run_until(start.plus(Span::millis(10_999)), &mut ());
    assert_eq!(counts(&world, "a"), (2, 2, 0));
    world.run_until(start.plus(Span::millis(11_000)), &mut ());
    assert_eq!(counts(&world, "a"), (2, 2, 2));
    assert_eq!(rest(&mut world), Rest::AtRest);
}

#[test]
fn the_status_of_a_set_names_the_generation_it_was_counted_for() {
    let mut world = world(1);
    create(&mut world, set("a", 1, 0, json!({})));
    rest(&mut world);
    scale(&mut world, "a", 2);
    let a = key(Kind::ReplicaSet, "a");
    let observed = |world: &World| world.get(&a).and_then(|o| o.replica_set()?.status.observed_generation);
    assert_eq!((world.get(&a).map(|o| o.meta.generation), observed(&world)), (Some(2), Some(1)));
    rest(&mut world);
    assert_eq!(observed(&world), Some(2));
}

#[test]
fn pods_live_as_their_image_or_their_annotations_say() {
    let slow = PodModel { startup: (30_000, 30_000), ..PodModel::default() };
    for (model, annotations, ready_at_10s, ready_in_the_end) in [
        (PodModel::default(), json!({}), 2, 2),
        (slow.clone(), json!({}), 0, 2),
        (slow.clone(), json!({"fakelet/ready-after": "9s"}), 2, 2),
        (PodModel { ready: false, ..PodModel::default() }, json!({}), 0, 0),
        (PodModel::default(), json!({"fakelet/fail": "crash"}), 0, 0),
        (PodModel { exit: Some(1), ..PodModel::default() }, json!({}), 0, 0),
        (PodModel { crash_after: Some((20_000, 20_000)), ..PodModel::default() }, json!({}), 2, 0),
        (
            PodModel {
                startup: (0, 0),
                flaps: Some(Flaps { up: (1_000, 1_000), down: (60_000, 60_000), times: 1 }),
                ..PodModel::default()
            },
            json!({}),
            0,
            2,
        ),
    ] {
        let by_image = vec![("web:v1".to_owned(), model.clone())];
        let mut world =
            with_models(PodModels { default: PodModel { ready: false, ..slow.clone() }, by_image });
        create(&mut world, set("a", 2, 0, annotations.clone()));
        let start = world.now();
        world.run_until(start.plus(Span::seconds(10)), &mut ());
        assert_eq!(counts(&world, "a").1, ready_at_10s, "{model:?} {annotations}");
        assert_eq!(rest(&mut world), Rest::AtRest);
        assert_eq!(counts(&world, "a"), (2, ready_in_the_end, ready_in_the_end), "{model:?} {annotations}");
    }
}

#[test]
fn a_terminating_pod_counts_for_nobody_but_is_still_there() {
    let mut world = with_models(only(PodModel { termination: (30_000, 30_000), ..PodModel::instant() }));
    create(&mut world, set("a", 1, 0, json!({})));
    create(&mut world, service("s", "a"));
    rest(&mut world);
    let first = pods(&world)[0].key();
    world.user(Action::Delete(first.clone()), &mut ()).expect("deleted");
    world.run_until(world.now().plus(Span::seconds(1)), &mut ());
    assert!(world.get(&first).is_some_and(|pod| pod.meta.deleting.is_some()));
    assert_eq!(counts(&world, "a"), (1, 1, 1), "a new one was made at once");
    assert_eq!(world.endpoints(&key(Kind::Service, "s")).count(), 1);
    rest(&mut world);
    assert_eq!(world.get(&first), None);
}

fn service(name: &str, app: &str) -> Object {
    object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "n"},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80}]}}))
}

#[test]
fn a_service_reaches_the_pods_that_are_selected_and_ready() {
    let mut world = with_models(only(PodModel::instant()));
    create(&mut world, set("a", 3, 0, json!({})));
    create(&mut world, set("b", 2, 0, json!({})));
    create(&mut world, service("s", "a"));
    rest(&mut world);
    let s = key(Kind::Service, "s");
    assert_eq!(world.endpoints(&s).count(), 3);
    let pod = world.endpoints(&s).next().expect("a pod").key();
    world.set_ready(&pod, false, &mut ()).expect("a pod");
    assert_eq!(world.endpoints(&s).count(), 2);
    assert_eq!(world.endpoints(&key(Kind::Service, "other")).count(), 0);
}

#[test]
fn what_nobody_owns_any_more_is_collected_in_a_while() {
    let mut world = with_models(only(PodModel::instant()));
    create(&mut world, set("a", 2, 0, json!({})));
    rest(&mut world);
    world.user(Action::Delete(key(Kind::ReplicaSet, "a")), &mut ()).expect("deleted");
    assert_eq!(pods(&world).len(), 2, "not at once");
    rest(&mut world);
    assert_eq!(pods(&world).len(), 0);
    let manager = &world.controller().expect("lives").manager;
    assert_eq!(manager.cache().of_kind(&Kind::Pod).count(), 0);
}

#[test]
fn a_dangling_owner_is_removed_while_another_lives() {
    let mut world = world(1);
    create(&mut world, service("alive", "a"));
    let alive = world.get(&key(Kind::Service, "alive")).expect("created").meta.uid.clone();
    let owner =
        |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Service", "name": name, "uid": uid});
    let config = |name: &str, owners: Value| {
        object(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "n", "ownerReferences": owners}}))
    };
    create(&mut world, config("both", json!([owner("alive", &alive), owner("dead", "x")])));
    create(&mut world, config("lost", json!([owner("alive", "another identity")])));
    rest(&mut world);
    let maps = Kind::new("v1", "ConfigMap");
    assert_eq!(world.get(&key(maps.clone(), "lost")), None);
    let both = world.get(&key(maps, "both")).expect("still owned");
    assert_eq!(both.meta.owners.iter().map(|owner| &*owner.name).collect::<Vec<_>>(), ["alive"]);
}

#[test]
fn an_eviction_asks_the_disruption_budget() {
    for (spec, allowed) in [
        (json!({"minAvailable": 3}), false),
        (json!({"minAvailable": 2}), true),
        (json!({"minAvailable": "67%"}), false),
        (json!({"maxUnavailable": 1}), true),
        (json!({"maxUnavailable": 0}), false),
    ] {
        let mut world = with_models(only(PodModel::instant()));
        create(&mut world, set("a", 3, 0, json!({})));
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"app": "a"}});
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "b", "namespace": "n"}, "spec": spec});
        create(&mut world, object(budget));
        rest(&mut world);
        let outcome = world.user(Action::Evict(pods(&world)[0].key()), &mut ());
        match allowed {
            true => assert_eq!(outcome, Ok(None), "{spec}"),
            false => assert_eq!(
                outcome.expect_err("refused").to_string(),
                "Cannot evict pod as it would violate the pod's disruption budget.",
                "{spec}"
            ),
        }
    }
}

#[test]
fn a_deployment_replaces_its_set_when_the_template_changes() {
    let mut world = with_models(only(PodModel::instant()));
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "d"}}, "template": {
            "metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}});
    create(&mut world, object(deployment));
    assert_eq!(rest(&mut world), Rest::AtRest);
    let d = key(Kind::Deployment, "d");
    let sizes = |world: &World| {
        let mut sizes: Vec<i64> = world
            .store()
            .of_kind(&Kind::ReplicaSet)
            .filter_map(|set| Some(set.replica_set()?.wished()))
            .collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&world), [3]);
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}});
    world.user(Action::Merge { key: d.clone(), patch, part: Part::Main }, &mut ()).expect("patched");
    assert_eq!(rest(&mut world), Rest::AtRest);
    assert_eq!(sizes(&world), [0, 3]);
    let stored = world.get(&d).expect("there").clone();
    let status = &stored.deployment().expect("a deployment").status;
    assert_eq!(
        (status.replicas, status.available, status.observed_generation),
        (Some(3), Some(3), Some(stored.meta.generation))
    );
    world.user(Action::Scale { key: d, replicas: 0 }, &mut ()).expect("scaled");
    rest(&mut world);
    assert_eq!((sizes(&world), pods(&world).len()), (vec![0, 0], 0));
}

#[test]
fn an_autoscaler_follows_the_load_once_the_status_says_what_to_count() {
    let mut world = world(1);
    create(&mut world, rollout("r", json!({"replicas": 2})));
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "namespace": "n"}, "spec": {"minReplicas": 2, "maxReplicas": 9,
            "scaleTargetRef": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "r"}}});
    create(&mut world, object(scaler));
    let (h, r) = (key(Kind::HorizontalPodAutoscaler, "h"), key(Kind::Rollout, "r"));
    let wished = |world: &World| world.get(&r).and_then(|o| o.rollout()?.spec.raw()["replicas"].as_i64());
    world.set_load(&h, Load { total: 41, per_pod: 10 });
    rest(&mut world);
    assert_eq!(wished(&world), Some(2), "without a selector it counts nothing");
    let patch = json!({"status": {"selector": "app=r", "HPAReplicas": 2}});
    world.user(Action::Merge { key: r.clone(), patch, part: Part::Status }, &mut ()).expect("patched");
    rest(&mut world);
    assert_eq!(wished(&world), Some(5));
    for (total, replicas) in [(1_000, 9), (0, 2)] {
        world.set_load(&h, Load { total, per_pod: 10 });
        rest(&mut world);
        assert_eq!(wished(&world), Some(replicas));
    }
}

fn rollout(name: &str, spec: Value) -> Object {
    object(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": name, "namespace": "n"}, "spec": spec}))
}

/// Everything that watches showed, with the time.
fn shown(world: &mut World) -> Vec<(Time, Kind, u64)> {
    let mut shown = Vec::new();
    let mut watch = Watching(|world: &World, what: &Happened<'_>| {
        if let Happened::Delivered { object, .. } = what {
            shown.push((world.now(), object.kind.clone(), object.meta.resource_version));
        }
    });
    let limit = world.now().plus(Span::seconds(3600));
    world.run_to_rest(limit, &mut watch);
    shown
}

#[test]
fn watches_keep_order_within_a_kind_and_not_across_kinds() {
    let mut out_of_order = 0;
    for seed in 0..20 {
        let mut world = world(seed);
        rest(&mut world);
        create(&mut world, set("a", 5, 0, json!({})));
        let shown = shown(&mut world);
        for kind in WATCHED {
            let of_kind: Vec<u64> = shown.iter().filter(|(_, k, _)| k == kind).map(|(_, _, v)| *v).collect();
            assert!(of_kind.is_sorted(), "{} out of order: {of_kind:?}", kind.name());
        }
        let all: Vec<u64> = shown.iter().map(|(_, _, version)| *version).collect();
        out_of_order += i32::from(!all.is_sorted());
    }
    assert!(out_of_order > 0, "a fake that keeps order across kinds promises too much");
}

#[test]
fn a_watch_lags_within_its_bounds() {
    let mut world = World::new(WorldConfig { watch_lag: (100, 200), ..WorldConfig::default() });
    rest(&mut world);
    create(&mut world, service("s", "a"));
    let stored = world.now();
    let shown = shown(&mut world);
    let lag = shown[0].0.since(stored).0;
    assert!((100..=200).contains(&lag), "{lag}");
}

#[test]
fn without_lag_a_change_is_shown_at_the_same_time_but_later() {
    let mut world = World::new(WorldConfig { watch_lag: (0, 0), ..WorldConfig::default() });
    rest(&mut world);
    create(&mut world, service("s", "a"));
    let stored = world.now();
    assert!(world.controller().expect("lives").manager.cache().get(&key(Kind::Service, "s")).is_none());
    assert_eq!(shown(&mut world)[0].0, stored);
}

#[test]
fn a_stalled_watch_shows_nothing_and_a_broken_one_lists_anew() {
    let mut world = world(3);
    rest(&mut world);
    let until = world.now().plus(Span::seconds(60));
    world.stall_watch(&Kind::Service, until);
    create(&mut world, service("s", "a"));
    assert_eq!(shown(&mut world)[0].0, until);

    create(&mut world, service("t", "a"));
    world.break_watch(&Kind::Service, Span::seconds(5));
    world.user(Action::Delete(key(Kind::Service, "s")), &mut ()).expect("deleted");
    assert_eq!(shown(&mut world), [], "what the broken watch had under way is lost");
    let cache = world.controller().expect("lives").manager.cache();
    assert_eq!(cache.get(&key(Kind::Service, "s")), None, "the new list lacks it");
    assert!(cache.get(&key(Kind::Service, "t")).is_some());
}

#[test]
fn after_a_crash_the_controller_knows_nothing_and_learns_it_anew() {
    let mut world = world(3);
    create(&mut world, rollout("r", json!({})));
    rest(&mut world);
    world.crash(&mut ());
    assert!(world.controller().is_none());
    create(&mut world, service("s", "a"));
    assert_eq!(rest(&mut world), Rest::AtRest);
    world.restart(&mut ());
    let fresh = world.controller().expect("lives");
    assert_eq!((fresh.number, fresh.manager.cache().of_kind(&Kind::Rollout).count()), (2, 0));
    rest(&mut world);
    let cache = world.controller().expect("lives").manager.cache();
    assert!(cache.get(&key(Kind::Service, "s")).is_some() && cache.get(&key(Kind::Rollout, "r")).is_some());
    let seen = world.recorded().iter().filter(|r| &*r.notice.reason == "RolloutAddedToInformer").count();
    assert_eq!(seen, 2);
}

/// Starts one write of the controller's and runs to rest; says what came back, and whether it was carried out.
fn struck(strike: Option<Strike>) -> (Vec<Answer>, bool, u32) {
    let mut world = world(9);
    rest(&mut world);
    if let Some(strike) = strike {
        world.config_mut().interventions.on_call = vec![(CallNumber::Write(0), strike)];
    }
    let s = service("s", "a");
    let call = ApiCall::Write { key: s.key(), guard: Guard::Absent, verb: Verb::Create(Arc::new(s)) };
    let mut answers = Vec::new();
    let mut watch = Watching(|_: &World, what: &Happened<'_>| {
        if let Happened::Answered(_, answer) = what {
            answers.push((*answer).clone());
        }
    });
    world.start_call(1, CallId(99), call, &mut watch);
    let limit = world.now().plus(Span::seconds(60));
    assert_eq!(world.run_to_rest(limit, &mut watch), Rest::AtRest);
    let lives = world.controller().map_or(0, |controller| controller.number);
    (answers, world.get(&key(Kind::Service, "s")).is_some(), lives)
}

#[test]
fn a_call_is_carried_out_answered_and_struck_as_planned() {
    let refusal = ApiError::Forbidden("no".into());
    let (answers, done, lives) = struck(None);
    assert!(matches!(&answers[..], [Answer::Done(Some(_))]) && done && lives == 1);
    let (answers, done, lives) = struck(Some(Strike::Delay(Span::seconds(9))));
    assert!(matches!(&answers[..], [Answer::Done(Some(_))]) && done && lives == 1);
    for (strike, expected) in [
        (Strike::CrashBefore, (vec![], false, 2)),
        (Strike::CrashAfter, (vec![], true, 2)),
        (Strike::LoseReply { applied: true }, (vec![Answer::Lost], true, 1)),
        (Strike::LoseReply { applied: false }, (vec![Answer::Lost], false, 1)),
        (Strike::Refuse(refusal.clone()), (vec![Answer::Refused(refusal)], false, 1)),
    ] {
        assert_eq!(struck(Some(strike.clone())), expected, "{strike:?}");
    }
}

#[test]
fn a_call_under_way_in_a_crash_arrives_or_is_lost() {
    let mut arrived = BTreeSet::new();
    for seed in 0..20 {
        let mut world = world(seed);
        rest(&mut world);
        let s = service("s", "a");
        let call = ApiCall::Write { key: s.key(), guard: Guard::Absent, verb: Verb::Create(Arc::new(s)) };
        world.start_call(1, CallId(99), call, &mut ());
        world.crash(&mut ());
        rest(&mut world);
        arrived.insert(world.get(&key(Kind::Service, "s")).is_some());
    }
    assert_eq!(arrived.len(), 2);
}

#[test]
fn faults_by_chance_are_as_frequent_as_asked_and_end_in_time() {
    let mut world = world(1);
    rest(&mut world);
    let until = world.now().plus(Span::seconds(60));
    world.config_mut().interventions.rates = FaultRates { conflict: 250, until, ..FaultRates::default() };
    let conflicts = |world: &mut World| {
        let mut conflicts = 0;
        let mut watch = Watching(|_: &World, what: &Happened<'_>| {
            conflicts += i32::from(matches!(what, Happened::Refused { error: ApiError::Conflict(_), .. }));
        });
        for number in 0..400 {
            let verb = Verb::Edit(vec![Edit::Replicas(number)]);
            let (key, guard) = (key(Kind::ReplicaSet, "none"), Guard::Identity("x".into()));
            world.start_call(1, CallId(99), ApiCall::Write { key, guard, verb }, &mut watch);
        }
        world.run_to_rest(Time(i64::MAX), &mut watch);
        conflicts
    };
    let early = conflicts(&mut world);
    assert!((60..140).contains(&early), "{early} of 400");
    world.run_until(until, &mut ());
    assert_eq!(conflicts(&mut world), 0);
}

#[test]
fn a_loop_in_time_is_noticed() {
    let mut world = world(2);
    world.config_mut().livelock = 3;
    create(&mut world, set("a", 20, 0, json!({})));
    let far = world.now().plus(Span::seconds(60));
    assert_eq!(world.run_until(far, &mut ()), Rest::Livelock);
    assert!(world.now() < far);
}

fn busy(seed: u64) -> World {
    let mut world = world(seed);
    create(&mut world, rollout("r", json!({"replicas": 2})));
    create(&mut world, set("a", 4, 3, json!({})));
    create(&mut world, service("s", "a"));
    world.run_until(world.now().plus(Span::seconds(4)), &mut ());
    scale(&mut world, "a", 2);
    world
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let chain = |seed| {
        let mut world = busy(seed);
        rest(&mut world);
        (world.chain(), world.events())
    };
    assert_eq!(chain(7), chain(7));
    assert_ne!(chain(7).0, chain(8).0);
}

#[test]
fn a_copy_lives_on_like_the_original() {
    let mut world = busy(7);
    let mut copy = world.clone();
    rest(&mut world);
    rest(&mut copy);
    assert_eq!((world.chain(), world.events()), (copy.chain(), copy.events()));
    assert_eq!(world.store(), copy.store());
}

#[test]
fn an_observer_sees_every_version_of_every_object_once() {
    let mut versions = Vec::new();
    let mut watch = Watching(|world: &World, what: &Happened<'_>| {
        if let Happened::Stored { after, before, .. } = what {
            versions.push(world.store().version());
            let key = after.or(*before).expect("one of both").key();
            assert_eq!(world.get(&key), *after, "it looks at the state right after");
        }
    });
    let mut world = world(2);
    world.user(Action::Create(set("a", 3, 0, json!({}))), &mut watch).expect("created");
    let limit = world.now().plus(Span::seconds(60));
    world.run_to_rest(limit, &mut watch);
    assert_eq!(versions, (1..=world.store().version()).collect::<Vec<_>>());
}

#[test]
fn a_run_ends_by_rest_by_time_or_by_condition() {
    let mut world = world(2);
    create(&mut world, set("a", 3, 0, json!({})));
    let soon = world.now().plus(Span::millis(500));
    assert_eq!(world.run_to_rest(soon, &mut ()), Rest::TimedOut);
    assert_eq!(world.now(), soon);
    let far = world.now().plus(Span::seconds(60));
    let ended = world.run_while(far, &mut (), |world| counts(world, "a").1 == 0);
    assert_eq!((ended, counts(&world, "a").1), (None, 1));
    assert_eq!(world.run_until(far, &mut ()), Rest::AtRest);
    assert_eq!(world.now(), far);
}
