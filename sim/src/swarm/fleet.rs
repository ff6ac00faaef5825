//! A fleet that another controller has left: objects with status, identity and pods, ready to be found.

use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Span;
use tidegate_controller::names::HASH_LABEL;

use super::draw::{NAME, NAMESPACE};
use crate::scenario::Script;
use crate::world::{Action, World, WorldConfig};

/// How long before the beginning the other controller deployed the first version.
const BEFORE: Span = Span::seconds(200);

/// The objects of a script after their first deployment, as they stand when the world begins: at rest, or in an update
/// that began so long ago. With foreign hashes, they bear the names that a reference of another version gave them.
pub(super) fn found(script: &Script, update: Option<Span>, foreign: bool) -> Vec<Object> {
    let begin = WorldConfig::default().start;
    let config = WorldConfig {
        seed: script.seed,
        start: begin.plus(Span::millis(-BEFORE.0)),
        pods: script.pods.clone(),
        ..WorldConfig::default()
    };
    let mut world = World::new(config);
    for object in &script.given {
        let _ = world.user(Action::Create(object.clone()), &mut ());
    }
    if let Some(since) = update {
        world.run_until(begin.plus(Span::millis(-since.0)), &mut ());
        let rollout = world.get(&Key::new(Kind::Rollout, NAMESPACE, NAME)).cloned();
        let update = rollout
            .and_then(|rollout| crate::scenario::verbs::set_image(&world, &rollout, None, "web:2").ok());
        for update in update.into_iter().flatten() {
            let _ = world.user(update, &mut ());
        }
    }
    world.run_until(begin, &mut ());
    // Another cluster never gives the same identities again, nor the same names to pods.
    let mut renamed = vec![("-0000-4000-8000-".to_owned(), "-0000-4000-9000-".to_owned())];
    for set in world.store().of_kind(&Kind::ReplicaSet) {
        let hash = set.meta.labels.get(HASH_LABEL).filter(|_| foreign);
        renamed.extend(
            hash.map(|hash| (hash.to_string(), format!("f{}", hash.chars().rev().collect::<String>()))),
        );
    }
    let rename = |object: &Object| {
        let mut text = object.to_value().to_string();
        for (from, to) in &renamed {
            text = text.replace(from, to);
        }
        let mut object = Object::from_value(serde_json::from_str(&text).ok()?).ok()?;
        if object.kind == Kind::Pod {
            object.meta.name = format!("{}-found", object.meta.name).into();
        }
        object.meta.resource_version = 0;
        object.meta.deleting.is_none().then_some(object)
    };
    let is_kept = |object: &&std::sync::Arc<Object>| object.kind != Kind::EndpointSlice;
    world.store().all().filter(is_kept).filter_map(|object| rename(object)).collect()
}
