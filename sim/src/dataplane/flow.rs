//! From doors through Services to pods: where the requests for a Rollout go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_controller::names::HASH_LABEL;

use super::{ALL, Backend, Door, Entry, Rule};
use crate::world::World;

/// All requests. A share is so many parts of it.
pub const WHOLE: i64 = 1_000_000_000;

/// Where the requests for one Rollout go, in parts of [`WHOLE`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Flow {
    /// To pods that answer, by name, each with the hash of its template.
    pub pods: BTreeMap<Text, (Text, i64)>,
    /// The same by hash of the pod template.
    pub versions: BTreeMap<Text, i64>,
    /// To pods that are gone or cannot answer, though they are still listed.
    pub failing: i64,
    /// To nobody, because there is no endpoint.
    pub nowhere: i64,
    /// Copies by hash; nobody waits for their answers.
    pub copies: BTreeMap<Text, i64>,
}

/// A part of a share.
pub(crate) fn part(share: i64, parts: i64, of: i64) -> i64 {
    let exact = i128::from(share) * i128::from(parts.max(0)) / i128::from(of.max(1));
    i64::try_from(exact).unwrap_or(i64::MAX)
}

impl Flow {
    /// Where requests go now; `matching` of a thousand carry what header routes ask for.
    pub fn of(world: &World, rollout: &Object, matching: i64) -> Flow {
        let all = doors(world, rollout);
        let mut flow = Flow::default();
        let proxies = i64::try_from(all.len()).unwrap_or(1).max(1);
        let has_routes = all.iter().any(|doors| !doors.is_empty());
        if !has_routes {
            flow.follow(world, rollout, &front_door(world, rollout), WHOLE);
            return flow;
        }
        for doors in &all {
            let share = WHOLE / proxies;
            if doors.is_empty() {
                // A proxy that knows no route yet sends nobody anywhere.
                flow.nowhere += share;
                continue;
            }
            let (special, plain): (Vec<&Door>, Vec<&Door>) =
                doors.iter().partition(|door| door.is_for_headers());
            let has_special = doors.iter().any(|door| door.entries.iter().any(|e| e.rule == Rule::Headers));
            let matched = if has_special { part(share, matching, 1000) } else { 0 };
            let mixed: Vec<&Door> =
                plain.iter().filter(|d| d.entries.iter().any(|e| e.rule == Rule::Headers)).copied().collect();
            let special: Vec<&Door> = special.into_iter().chain(mixed).collect();
            flow.spread(world, rollout, &special, matched, Rule::Headers);
            flow.spread(world, rollout, &plain, share - matched, Rule::Weight);
        }
        flow
    }

    fn spread(&mut self, world: &World, rollout: &Object, doors: &[&Door], share: i64, rule: Rule) {
        let count = i64::try_from(doors.len()).unwrap_or(1).max(1);
        for door in doors {
            self.pass(world, rollout, door, (share / count, rule));
        }
    }

    fn follow(&mut self, world: &World, rollout: &Object, door: &Door, share: i64) {
        self.pass(world, rollout, door, (share, Rule::Weight));
    }

    fn pass(&mut self, world: &World, rollout: &Object, door: &Door, (share, rule): (i64, Rule)) {
        if share <= 0 {
            return;
        }
        let has_endpoint = |backend: &Backend| !endpoints(world, backend).is_empty();
        if !door.needs.iter().all(has_endpoint) {
            self.nowhere += share;
            return;
        }
        for entry in &door.entries {
            if entry.rule == Rule::Mirror {
                for pod in endpoints(world, &entry.backend) {
                    if let Some(hash) = pod.found.and_then(|pod| pod.meta.labels.get(HASH_LABEL)) {
                        *self.copies.entry(hash.clone()).or_default() += part(share, entry.parts, entry.of);
                        break;
                    }
                }
                continue;
            }
            if entry.rule != rule {
                continue;
            }
            let backend = match door.needs.first() {
                Some(other) if door.falls_back && !has_endpoint(&entry.backend) => other,
                _ => &entry.backend,
            };
            self.arrive(world, rollout, backend, part(share, entry.parts, entry.of));
        }
    }

    fn arrive(&mut self, world: &World, rollout: &Object, backend: &Backend, share: i64) {
        if share <= 0 {
            return;
        }
        let pods = match backend {
            // The pods themselves: there is no Service.
            Backend::Nothing(why) if why.is_empty() => own_pods(world, rollout),
            backend => endpoints(world, backend),
        };
        let Some(count) = i64::try_from(pods.len()).ok().filter(|count| *count > 0) else {
            self.nowhere += share;
            return;
        };
        // What does not divide is given to the first ones, so that nothing gets lost.
        let rest = usize::try_from(share % count).unwrap_or(0);
        for (at, pod) in pods.iter().enumerate() {
            let one = share / count + i64::from(at < rest);
            match pod.found.filter(|pod| answers(pod)) {
                None => self.failing += one,
                Some(found) => {
                    let hash = found.meta.labels.get(HASH_LABEL).cloned().unwrap_or_default();
                    *self.versions.entry(hash.clone()).or_default() += one;
                    self.pods.entry(found.meta.name.clone()).or_insert((hash, 0)).1 += one;
                }
            }
        }
    }

    /// The share of a version, in percent, rounded.
    pub fn percent(&self, hash: &str) -> i64 {
        let share = self.versions.get(hash).copied().unwrap_or(0);
        (share.saturating_mul(100) + WHOLE / 2) / WHOLE
    }
}

/// An endpoint that proxies know, and the pod that it is, if it is still there.
struct Endpoint<'a> {
    found: Option<&'a Arc<Object>>,
}

/// A pod on its way out answers until it is gone.
fn answers(pod: &Object) -> bool {
    pod.meta.deleting.is_some() || pod.pod().is_some_and(|body| body.ready)
}

fn endpoints<'a>(world: &'a World, backend: &Backend) -> Vec<Endpoint<'a>> {
    let Some(service) = backend.service() else { return Vec::new() };
    let names = world.known_endpoints(service);
    let pods = names.iter().map(|name| {
        let key = Key::new(Kind::Pod, service.namespace.clone(), name.clone());
        world.get(&key)
    });
    match backend {
        Backend::Lost(..) => Vec::new(),
        Backend::Subset(_, labels) => pods
            .flatten()
            .filter(|pod| labels.iter().all(|(key, value)| pod.meta.labels.get(key) == Some(value)))
            .map(|pod| Endpoint { found: Some(pod) })
            .collect(),
        _ => pods.map(|found| Endpoint { found }).collect(),
    }
}

fn own_pods<'a>(world: &'a World, rollout: &Object) -> Vec<Endpoint<'a>> {
    let sets: Vec<Text> = world
        .store()
        .owned_by(&rollout.meta.uid, &Kind::ReplicaSet)
        .map(|set| set.meta.uid.clone())
        .collect();
    let pods = sets.iter().flat_map(|uid| world.store().owned_by(uid, &Kind::Pod));
    let serves = |pod: &&Arc<Object>| pod.meta.deleting.is_none() && pod.pod().is_some_and(|body| body.ready);
    pods.filter(serves).map(|pod| Endpoint { found: Some(pod) }).collect()
}

/// The doors through which requests for a Rollout come, one list a proxy; all lists are empty when nobody routes for it.
pub fn doors(world: &World, rollout: &Object) -> Vec<Vec<Door>> {
    let mine = |door: &&Door| concerns(world, rollout, door);
    match world.data_plane().on {
        true => {
            let mut all = Vec::new();
            for proxies in world.data_plane().doors() {
                let lists: Vec<Vec<Door>> =
                    proxies.iter().map(|doors| doors.iter().filter(mine).cloned().collect()).collect();
                // Proxies of a kind that does not route for it do not count.
                if lists.iter().any(|doors| !doors.is_empty()) {
                    all.extend(lists);
                }
            }
            all
        }
        false => {
            let lists = ALL.iter().map(|proxy| {
                let owned = world
                    .store()
                    .all()
                    .filter(|object| matches!(object.kind, Kind::Other { .. }) && (proxy.owns)(object));
                (proxy.read)(&owned.cloned().collect::<Vec<_>>())
                    .into_iter()
                    .filter(|door| mine(&door))
                    .collect()
            });
            lists.filter(|doors: &Vec<Door>| !doors.is_empty()).collect()
        }
    }
}

/// Whether a door leads to pods of a Rollout.
pub fn concerns(world: &World, rollout: &Object, door: &Door) -> bool {
    let services = door.entries.iter().filter_map(|entry| entry.backend.service());
    let needed = door.needs.iter().filter_map(Backend::service);
    services.chain(needed).any(|service| serves(world, rollout, service))
}

/// Whether a Service is one of those that a Rollout names, or selects its pods.
pub fn serves(world: &World, rollout: &Object, service: &Key) -> bool {
    if service.namespace != rollout.meta.namespace {
        return false;
    }
    if named(rollout).contains(&*service.name) {
        return true;
    }
    let Some(selector) = world.get(service).and_then(|found| found.service()).map(|body| &body.selector)
    else {
        return false;
    };
    let own = rollout.rollout().and_then(|body| body.spec.spec().template.as_ref());
    let mut sets = world.store().owned_by(&rollout.meta.uid, &Kind::ReplicaSet);
    let Some(template) = own.or_else(|| sets.next()?.replica_set().map(|set| &set.template)) else {
        return false;
    };
    let mut asked = selector.iter().filter(|(key, _)| &***key != HASH_LABEL).peekable();
    asked.peek().is_some() && asked.all(|(key, value)| template.labels.get(key) == Some(value))
}

/// The Services that a Rollout names, whatever for.
pub fn named(rollout: &Object) -> BTreeSet<&str> {
    let Some(spec) = rollout.rollout().map(|body| body.spec.spec()) else { return BTreeSet::new() };
    let (canary, blue_green) = (spec.canary(), spec.blue_green());
    let pair = canary.and_then(|canary| canary.ping_pong.as_ref());
    let names = [
        canary.map(|canary| &canary.stable_service),
        canary.map(|canary| &canary.canary_service),
        pair.map(|pair| &pair.ping),
        pair.map(|pair| &pair.pong),
        blue_green.map(|blue_green| &blue_green.active_service),
        blue_green.map(|blue_green| &blue_green.preview_service),
    ];
    names.into_iter().flatten().map(|name| &**name).filter(|name| !name.is_empty()).collect()
}

/// Where users come in if nobody routes: the Service that the scenario names; the active Service; one that selects the
/// pods of both versions; the stable Service; the pods themselves.
pub fn front_door(world: &World, rollout: &Object) -> Door {
    let namespace = &rollout.meta.namespace;
    let key = |name: &str| Key::new(Kind::Service, namespace.clone(), name);
    let told = world.config().traffic.as_ref().and_then(|traffic| traffic.services.get(&*rollout.meta.name));
    let spec = rollout.rollout().map(|body| body.spec.spec());
    let active = spec.and_then(|spec| spec.blue_green()).map(|blue_green| key(&blue_green.active_service));
    let names = named(rollout);
    let both = || {
        world.store().in_namespace(&Kind::Service, namespace).map(|service| service.key()).find(|service| {
            let hash = world.get(service).and_then(|s| s.service()).and_then(|s| s.selector.get(HASH_LABEL));
            !names.contains(&*service.name) && hash.is_none() && serves(world, rollout, service)
        })
    };
    let stable = || {
        let name = spec.and_then(|spec| spec.canary()).map(|canary| &canary.stable_service);
        name.filter(|name| !name.is_empty()).map(|name| key(name))
    };
    let service = told.map(|name| key(name)).or(active).or_else(both).or_else(stable);
    let backend = service.map_or(Backend::Nothing(Text::default()), Backend::Service);
    let entry = Entry { backend, parts: 1, of: 1, rule: Rule::Weight };
    Door::new(rollout, "pods", vec![entry])
}
