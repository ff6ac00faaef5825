//! Worlds that are lived through: actors, watches, crashes, determinism.

use super::*;
use crate::cluster::store::Part;
use serde_json::{Value, json};
use tidegate_api::object::Kind;
use tidegate_controller::manager::WATCHED;

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
