//! Traefik: a TraefikService spreads requests over Services, and may copy them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Object, Text};

use super::{Backend, Door, Entry, Rule, list, number, service, spec, text, weighted};

/// How deep TraefikServices that name each other are followed.
const DEEPEST: u32 = 4;

/// Whether Traefik serves by this object.
pub fn owns(object: &Object) -> bool {
    matches!(object.kind.group(), "traefik.io" | "traefik.containo.us")
        && object.kind.name() == "TraefikService"
}

/// Where requests go: through every TraefikService that no other one names.
pub fn read(objects: &[Arc<Object>]) -> Vec<Door> {
    let inner: BTreeSet<(&Text, &str)> = objects
        .iter()
        .flat_map(|object| list(&spec(object)["weighted"], "services").iter().map(move |s| (object, s)))
        .filter(|(_, named)| text(named, "kind") == "TraefikService")
        .map(|(object, named)| (&object.meta.namespace, text(named, "name")))
        .collect();
    let is_outer = |object: &&Arc<Object>| !inner.contains(&(&object.meta.namespace, &*object.meta.name));
    let door = |object: &Arc<Object>| {
        let mut door = Door::new(object, &*object.meta.name, entries(object, objects, DEEPEST));
        // One Service without endpoints takes the whole TraefikService along: 404 for all, at weight 0 too. Seen with the
        // real one (`allowEmptyServices` is off unless the operator turns it on).
        door.needs =
            door.entries.iter().filter(|e| e.rule == Rule::Weight).map(|e| e.backend.clone()).collect();
        door.sticky = spec(object)["weighted"]["sticky"]["cookie"].is_object().then_some(0);
        door
    };
    objects.iter().filter(is_outer).map(door).collect()
}

fn entries(object: &Object, all: &[Arc<Object>], deeper: u32) -> Vec<Entry> {
    let (namespace, spec) = (&object.meta.namespace, spec(object));
    let weight = |named: &Value| number(&named["weight"]).unwrap_or(1);
    let pairs: Vec<(Backend, i64)> = list(&spec["weighted"], "services")
        .iter()
        .map(|named| (Backend::Service(service(namespace, text(named, "name"))), weight(named)))
        .collect();
    let mut entries = Vec::new();
    for (entry, named) in weighted(Rule::Weight, pairs).into_iter().zip(list(&spec["weighted"], "services")) {
        let other = |object: &&Arc<Object>| {
            object.meta.namespace == *namespace && *object.meta.name == *text(named, "name")
        };
        let below = (text(named, "kind") == "TraefikService" && deeper > 0).then(|| all.iter().find(other));
        match below.flatten() {
            None => entries.push(entry),
            Some(below) => {
                entries.extend(self::entries(below, all, deeper - 1).into_iter().map(|inner| Entry {
                    parts: inner.parts.saturating_mul(entry.parts),
                    of: inner.of.saturating_mul(entry.of),
                    ..inner
                }))
            }
        }
    }
    let mirroring = &spec["mirroring"];
    if mirroring.is_object() {
        let main = Backend::Service(service(namespace, text(mirroring, "name")));
        entries.extend(weighted(Rule::Weight, vec![(main, 1)]));
        for mirror in list(mirroring, "mirrors") {
            let to = Backend::Service(service(namespace, text(mirror, "name")));
            entries.push(Entry::mirror(to, number(&mirror["percent"]).unwrap_or(0)));
        }
    }
    entries
}
