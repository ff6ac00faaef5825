//! What the built-in controllers make of what is wished.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Kind, Object, Text};
use tidegate_api::time::Span;
use tidegate_controller::edit::Edit;

use super::hpa::Load;
use crate::cluster::store::Part;
use crate::world::tests::*;
use crate::world::{Action, Flaps, PodModel, PodModels, Rest, World, WorldConfig};

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
    scale(&mut world, "a", 2);
    rest(&mut world);
    assert!(names(&pods(&world)).contains(&oldest[0]));
    world.run_until(world.now().plus(Span::seconds(5)), &mut ());
    let oldest = pods(&world)[0].key();
    for ready in [false, true] {
        world.set_ready(&oldest, ready, &mut ()).expect("a pod");
    }
    scale(&mut world, "a", 1);
    rest(&mut world);
    assert_eq!(world.get(&oldest), None, "its readiness is the youngest now");
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
    assert_eq!(names(&pods(&world)), names(&all[1..]), "the younger one would have gone otherwise");
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

#[test]
fn of_pods_made_in_the_same_second_the_last_one_goes_first() {
    let mut world = with_models(only(PodModel::instant()));
    create(&mut world, set("a", 3, 0, json!({})));
    rest(&mut world);
    let all = names(&pods(&world));
    scale(&mut world, "a", 1);
    rest(&mut world);
    assert_eq!(names(&pods(&world)), all[..1]);
}
