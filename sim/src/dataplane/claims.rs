//! What routes claim of each version: the share of requests that the newest objects send there, and the largest share
//! that any mixture of accepted and applied objects may send there.
//!
//! Proxies take objects over in any order, so every mixture counts. What was superseded longer ago than a controller
//! without evidence can be asked to wait counts no more: a lag beyond that is the operator's to configure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::Span;
use tidegate_controller::names::HASH_LABEL;
use tidegate_controller::rollout::services::selected_hash;

use super::applied::Line;
use super::flow::{WHOLE, concerns, front_door, part};
use super::{ALL, Backend, Door, Rule};
use crate::world::{World, Writer};

/// More mixtures than that are not looked at: only the oldest and the newest version of each object then.
const MOST_MIXTURES: usize = 64;
/// What others wrote is not held against the controller before it can have seen it.
const UNSEEN: Span = Span::seconds(2);

/// What routes claim of the versions of a Rollout, by hash.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    /// Shares in parts of the whole.
    pub shares: BTreeMap<Text, i64>,
    /// Versions that need a pod whatever their share: header or mirror routes lead there, or a door answers nobody without.
    pub special: BTreeSet<Text>,
    /// Those among them that header or mirror routes lead to.
    pub by_rule: BTreeSet<Text>,
}

impl Claims {
    /// The share of a version.
    pub fn share(&self, hash: &str) -> i64 {
        self.shares.get(hash).copied().unwrap_or(0)
    }

    /// Whether anything leads to a version.
    pub fn any(&self, hash: &str) -> bool {
        self.share(hash) > 0 || self.special.contains(hash)
    }
}

/// A write that is taken back in thought: an object as it was before, and as it is.
#[derive(Clone, Copy, Debug)]
pub struct Undone<'a> {
    /// As it was; nothing when the write made it.
    pub before: Option<&'a Arc<Object>>,
    /// As it is; nothing when the write deleted it.
    pub after: Option<&'a Arc<Object>>,
}

impl Undone<'_> {
    fn key(&self) -> Option<Key> {
        self.after.or(self.before).map(|object| object.key())
    }
}

/// What the newest objects claim, whether proxies have taken them over or not.
pub fn accepted(world: &World, rollout: &Object, undone: Option<Undone<'_>>) -> Claims {
    claims(world, rollout, undone, false)
}

/// The most that any mixture claims.
pub fn most(world: &World, rollout: &Object, undone: Option<Undone<'_>>) -> Claims {
    claims(world, rollout, undone, true)
}

fn claims(world: &World, rollout: &Object, undone: Option<Undone<'_>>, mixed: bool) -> Claims {
    let mut claims = Claims::default();
    let mut routed = false;
    for proxy in ALL {
        let lines = world.data_plane().lines.iter().filter(|(_, line)| line.proxy == proxy.name);
        let versions: Vec<Vec<Option<Arc<Object>>>> = lines
            .map(|(key, line)| {
                let all = versions(world, key, line, undone);
                if mixed { all } else { all.into_iter().next_back().into_iter().collect() }
            })
            .collect();
        for mixture in mixtures(&versions) {
            for door in (proxy.read)(&mixture) {
                if concerns(world, rollout, &door) {
                    routed = true;
                    claims.take(world, &door, undone, mixed);
                }
            }
        }
    }
    if !routed {
        let door = front_door(world, rollout);
        claims.take(world, &door, undone, mixed);
    }
    claims
}

/// The versions of an object that some proxy may serve by, oldest first; the newest one is always among them.
fn versions(world: &World, key: &Key, line: &Line, undone: Option<Undone<'_>>) -> Vec<Option<Arc<Object>>> {
    let now = world.now();
    let undone = undone.filter(|undone| undone.key().as_ref() == Some(key));
    let waiting = line.waiting.iter().filter(|accepted| match undone {
        None => true,
        Some(Undone { after: Some(after), .. }) => {
            accepted.object.as_ref().is_none_or(|object| !Arc::ptr_eq(object, after))
        }
        Some(Undone { after: None, .. }) => accepted.object.is_some(),
    });
    let waiting: Vec<_> = waiting
        .filter(|accepted| {
            let is_foreign = !matches!(accepted.by, Writer::Controller | Writer::Beginning);
            !is_foreign || accepted.at.plus(UNSEEN) <= now
        })
        .collect();
    // A controller that is shown no evidence waits so long, and no longer.
    let patience = world.config().settings.routers.propagation;
    let has_evidence = line.proxy == "gateway";
    let mut all: Vec<Option<Arc<Object>>> = Vec::new();
    let is_counted = |next: Option<&&super::applied::Accepted>| {
        next.is_none_or(|next| has_evidence || next.at.plus(patience) > now)
    };
    if is_counted(waiting.first()) {
        all.extend(line.applied.iter().cloned());
    }
    for (at, accepted) in waiting.iter().enumerate() {
        if is_counted(waiting.get(at + 1)) {
            all.push(accepted.object.clone());
        }
    }
    all.dedup_by(|a, b| match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (a, b) => a.is_none() && b.is_none(),
    });
    all
}

fn mixtures(versions: &[Vec<Option<Arc<Object>>>]) -> Vec<Vec<Arc<Object>>> {
    let count = versions.iter().try_fold(1_usize, |count, all| count.checked_mul(all.len().max(1)));
    let narrow = count.is_none_or(|count| count > MOST_MIXTURES);
    let mut mixtures = vec![Vec::new()];
    for all in versions {
        let ends: Vec<&Option<Arc<Object>>> = match narrow {
            // The rest of the objects as they are newest; two of each would be too many already.
            true if mixtures.len() > MOST_MIXTURES / 2 => all.last().into_iter().collect(),
            true => all.first().into_iter().chain(all.last().filter(|_| all.len() > 1)).collect(),
            false => all.iter().collect(),
        };
        mixtures = mixtures
            .into_iter()
            .flat_map(|begun: Vec<Arc<Object>>| {
                ends.iter().map(move |end| {
                    let mut mixture = begun.clone();
                    mixture.extend(end.iter().cloned());
                    mixture
                })
            })
            .collect();
    }
    mixtures
}

impl Claims {
    fn take(&mut self, world: &World, door: &Door, undone: Option<Undone<'_>>, mixed: bool) {
        let mut shares: BTreeMap<Text, i64> = BTreeMap::new();
        for entry in door.entries.iter().filter(|entry| entry.parts > 0) {
            for hash in hashes(world, &entry.backend, undone, mixed) {
                match entry.rule {
                    Rule::Weight => *shares.entry(hash).or_default() += part(WHOLE, entry.parts, entry.of),
                    Rule::Headers | Rule::Mirror => {
                        self.by_rule.insert(hash.clone());
                        self.special.insert(hash);
                    }
                }
            }
        }
        // A backend that must have an endpoint needs one whatever its weight.
        for hash in door.needs.iter().flat_map(|needed| hashes(world, needed, undone, mixed)) {
            self.special.insert(hash);
        }
        for (hash, share) in shares {
            let most = self.shares.entry(hash).or_default();
            *most = share.min(WHOLE).max(*most);
        }
    }
}

/// The versions that a backend leads to by the labels that are asked for; none where it takes all versions alike.
fn hashes(world: &World, backend: &Backend, undone: Option<Undone<'_>>, mixed: bool) -> Vec<Text> {
    if let Backend::Subset(_, labels) = backend
        && let Some(hash) = labels.get(HASH_LABEL)
    {
        return vec![hash.clone()];
    }
    let (false, Some(key)) = (matches!(backend, Backend::Lost(..)), backend.service()) else {
        return Vec::new();
    };
    let undone = undone.filter(|undone| undone.key().as_ref() == Some(key));
    let service = match undone {
        Some(undone) => undone.before,
        None => world.get(key),
    };
    let mut hashes: Vec<Text> =
        service.map(|service| Text::from(selected_hash(service))).into_iter().collect();
    // Proxies that have not heard of the new selector still go by the old endpoints.
    let patience = world.config().settings.routers.propagation;
    if mixed
        && let Some((hash, since)) = world.data_plane().outdated_hash(key)
        && since.plus(patience) > world.now()
    {
        hashes.push(hash.into());
    }
    hashes.retain(|hash| !hash.is_empty());
    hashes.sort();
    hashes.dedup();
    hashes
}

/// The Rollouts whose traffic an object of a router leads.
pub fn rollouts_of(world: &World, object: &Arc<Object>) -> Vec<Key> {
    let Some(proxy) = super::proxy_of(object) else { return Vec::new() };
    let doors = (proxy.read)(std::slice::from_ref(object));
    let host = super::text(super::spec(object), "host");
    let of_rule = (object.kind.name() == "DestinationRule" && !host.is_empty())
        .then(|| super::service_of_host(&object.meta.namespace, host));
    let is_led = |rollout: &&Arc<Object>| {
        doors.iter().any(|door| concerns(world, rollout, door))
            || of_rule.as_ref().is_some_and(|host| super::flow::serves(world, rollout, host))
    };
    world.store().of_kind(&Kind::Rollout).filter(is_led).map(|rollout| rollout.key()).collect()
}
