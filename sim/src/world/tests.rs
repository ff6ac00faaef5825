//! Worlds that are lived through: actors, watches, crashes, determinism.

use super::*;
use serde_json::{Value, json};
use tidegate_api::object::Kind;
use tidegate_controller::edit::Edit;
use tidegate_controller::manager::WATCHED;
use tidegate_controller::plan::{Guard, Verb};

pub(crate) fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

pub(crate) fn set(name: &str, replicas: i64, min_ready: i64, annotations: Value) -> Object {
    object(
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": "n"},
        "spec": {"replicas": replicas, "minReadySeconds": min_ready, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}, "annotations": annotations},
                "spec": {"containers": [{"name": "c", "image": "registry/web:v1"}]}}}}),
    )
}

pub(crate) fn key(kind: Kind, name: &str) -> Key {
    Key::new(kind, "n", name)
}

pub(crate) fn world(seed: u64) -> World {
    World::new(WorldConfig { seed, ..WorldConfig::default() })
}

pub(crate) fn rest(world: &mut World) -> Rest {
    let limit = world.now().plus(Span::seconds(3600));
    world.run_to_rest(limit, &mut ())
}

pub(crate) fn counts(world: &World, name: &str) -> (i64, i64, i64) {
    let status =
        &world.get(&key(Kind::ReplicaSet, name)).and_then(|o| o.replica_set()).expect("a set").status;
    (status.replicas.unwrap_or(0), status.ready.unwrap_or(0), status.available.unwrap_or(0))
}

pub(crate) fn create(world: &mut World, object: Object) {
    world.user(Action::Create(object), &mut ()).expect("created");
}

pub(crate) fn scale(world: &mut World, name: &str, replicas: i64) {
    world.user(Action::Scale { key: key(Kind::ReplicaSet, name), replicas }, &mut ()).expect("scaled");
}

pub(crate) fn pods(world: &World) -> Vec<Arc<Object>> {
    world.store().of_kind(&Kind::Pod).cloned().collect()
}

pub(crate) fn service(name: &str, app: &str) -> Object {
    object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "n"},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80}]}}))
}

pub(crate) fn rollout(name: &str, spec: Value) -> Object {
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
fn each_kind_may_lag_in_its_own_way() {
    let lags = BTreeMap::from([(Kind::Service, (5_000, 5_000))]);
    let mut world = World::new(WorldConfig { watch_lag_of: lags, ..WorldConfig::default() });
    rest(&mut world);
    create(&mut world, service("s", "a"));
    create(&mut world, rollout("r", json!({})));
    // The controller answers to the rollout at once, so that one is shown more than once.
    let mut kinds: Vec<Kind> = shown(&mut world).into_iter().map(|(_, kind, _)| kind).collect();
    kinds.dedup();
    assert_eq!(kinds, [Kind::Rollout, Kind::Service]);
}

#[test]
fn an_alarm_rings_in_time_unless_the_manager_wants_it_no_more() {
    let mut world = world(3);
    rest(&mut world);
    let at = world.now().plus(Span::seconds(10));
    let rung = |world: &mut World| {
        let mut rung = Vec::new();
        let mut watch = Watching(|world: &World, what: &Happened<'_>| {
            if let Happened::Alarm = what {
                rung.push(world.now());
            }
        });
        world.run_to_rest(Time(i64::MAX), &mut watch);
        rung
    };
    world.controller.as_mut().expect("lives").alarm = Some((at, 0));
    assert_eq!(rung(&mut world), [at]);
    let later = at.plus(Span::seconds(10));
    world.controller.as_mut().expect("lives").alarm = Some((later, 0));
    create(&mut world, service("s", "a"));
    assert_eq!(rung(&mut world), [], "the manager was told something and set no alarm");
    assert!(world.now() < later);
}

#[test]
fn what_was_there_all_along_keeps_its_status_and_identity() {
    let mut world = world(3);
    let old = object(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "r", "namespace": "n", "uid": "an-old-one", "generation": 7,
            "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {}, "status": {"phase": "Healthy", "observedGeneration": "7"}}));
    let placed = world.place(old.clone(), &mut ()).expect("placed").expect("stored");
    let mut expected = old;
    expected.meta.resource_version = 1;
    assert_eq!(*placed, expected);
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
        world.config_mut().interventions.on_next = vec![NextWrite::after(0, strike)];
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
    let (answers, done, lives) = struck(None);
    assert!(matches!(&answers[..], [Answer::Done(Some(_))]) && done && lives == 1);
    let (answers, done, lives) = struck(Some(Strike::Slow(Span::seconds(9))));
    assert!(matches!(&answers[..], [Answer::Done(Some(_))]) && done && lives == 1);
    for (strike, expected) in [
        (Strike::CrashBefore, (vec![], false, 2)),
        (Strike::CrashAfter, (vec![], true, 2)),
        (Strike::LostReply, (vec![Answer::Lost], true, 1)),
        (Strike::LostRequest, (vec![Answer::Lost], false, 1)),
    ] {
        assert_eq!(struck(Some(strike)), expected, "{strike:?}");
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
