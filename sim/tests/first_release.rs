//! One release of each strategy, lived through with the default lags: the shortest proof that the pieces fit.

use serde_json::json;
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Span;
use tidegate_sim::cluster::store::Part;
use tidegate_sim::world::{Action, Rest, World, WorldConfig};

fn rollout(strategy: serde_json::Value) -> Object {
    let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}},
            "strategy": strategy}});
    Object::from_value(object).expect("a rollout")
}

fn rest(world: &mut World) {
    let limit = world.now().plus(Span::seconds(3600));
    let rest = world.run_to_rest(limit, &mut ());
    let key = Key::new(Kind::Rollout, "shop", "web");
    let plan = world.controller().and_then(|c| c.manager.last_plan(&key)).cloned();
    assert_eq!(rest, Rest::AtRest, "{plan:#?}");
}

fn check(strategy: serde_json::Value, others: Vec<serde_json::Value>) {
    let mut world = World::new(WorldConfig::default());
    for other in others {
        world.user(Action::Create(Object::from_value(other).expect("an object")), &mut ()).expect("accepted");
    }
    world.user(Action::Create(rollout(strategy)), &mut ()).expect("accepted");
    rest(&mut world);
    let key = Key::new(Kind::Rollout, "shop", "web");
    let phase =
        |world: &World| world.get(&key).expect("there").rollout().expect("a rollout").status.phase.clone();
    assert_eq!(
        phase(&world).as_deref(),
        Some("Healthy"),
        "{:#?}",
        world.get(&key).expect("there").to_value()
    );
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}});
    world.user(Action::Merge { key: key.clone(), patch, part: Part::Main }, &mut ()).expect("accepted");
    rest(&mut world);
    let object = world.get(&key).expect("there").to_value();
    assert_eq!(phase(&world).as_deref(), Some("Healthy"), "{object:#?}");
    let status = &world.get(&key).expect("there").rollout().expect("a rollout").status;
    assert_eq!(status.stable_hash(), status.current());
    let restarts = world.call_counts();
    rest(&mut world);
    assert_eq!(restarts, world.call_counts(), "at rest nothing is written");
}

#[test]
fn a_canary_with_steps_is_lived_through() {
    check(
        json!({"canary": {"steps": [{"setWeight": 25}, {"pause": {"duration": "10s"}}, {"setWeight": 50}]}}),
        vec![],
    );
}

#[test]
fn a_rolling_update_is_lived_through() {
    check(json!({"canary": {}}), vec![]);
}

#[test]
fn blue_green_is_lived_through() {
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
    };
    let strategy = json!({"blueGreen": {"activeService": "active", "previewService": "preview"}});
    check(strategy, vec![service("active"), service("preview")]);
}

#[test]
fn an_abort_goes_on_although_the_spec_became_invalid() {
    let mut world = World::new(WorldConfig::default());
    let steps = json!({"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}});
    world.user(Action::Create(rollout(steps)), &mut ()).expect("accepted");
    rest(&mut world);
    let key = Key::new(Kind::Rollout, "shop", "web");
    let merge = |world: &mut World, patch: serde_json::Value, part: Part| {
        world.user(Action::Merge { key: key.clone(), patch, part }, &mut ()).expect("accepted");
    };
    let v2 = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}});
    merge(&mut world, v2, Part::Main);
    rest(&mut world);
    let broken = json!({"spec": {"strategy": {"canary": {"steps": [{"setWeight": 500}]}}}});
    merge(&mut world, broken, Part::Main);
    merge(&mut world, json!({"status": {"abort": true}}), Part::Status);
    rest(&mut world);
    let status = &world.get(&key).expect("there").rollout().expect("a rollout").status;
    assert!(status.message.as_deref().is_some_and(|m| m.starts_with("InvalidSpec")), "{:?}", status.message);
    let stable = status.stable_hash().to_owned();
    for set in world.store().of_kind(&Kind::ReplicaSet) {
        let wished = set.replica_set().expect("a set").wished();
        assert_eq!(wished == 4, set.meta.name.ends_with(&stable), "{} has {wished}", set.meta.name);
        assert!(wished == 4 || wished == 0);
    }
}
