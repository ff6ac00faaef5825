//! What users feel: requests, who answered them, and which went wrong.
//!
//! There are no single requests. Between two changes of what proxies know, shares do not change, so that a multiplication
//! says how many requests went where; where a router keeps users where they are, shares move along a straight line while
//! old sessions end. The same run always gives the same numbers, to the request.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::names::HASH_LABEL;

use crate::dataplane::flow::{Flow, WHOLE, doors};
use crate::world::{Happened, Observer, Quality, TrafficModel, World};

/// Requests are counted in parts of [`WHOLE`] of a thousandth: rate times share times milliseconds.
const UNIT: i128 = WHOLE as i128 * 1000;

/// What the users of one Rollout felt.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Felt {
    /// All requests, in units.
    all: i128,
    /// Those that a version took, by its image.
    versions: BTreeMap<String, i128>,
    /// Those that went wrong, for whatever reason.
    errors: i128,
    /// Those among them for which there was no endpoint.
    nowhere: i128,
    /// Copies that a version got.
    copies: BTreeMap<String, i128>,
    /// By hash: those that a version took, and those among them that went wrong.
    taken: BTreeMap<Text, Taken>,
}

/// Requests that a version took so far, in parts: as a counter of its pods would show them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// All of them.
    pub all: i128,
    /// Those that went wrong.
    pub errors: i128,
}

impl Taken {
    /// All of them, with what is less than a whole one.
    pub fn requests(self) -> f64 {
        self.all as f64 / UNIT as f64
    }

    /// Whole requests, and how many of them went wrong.
    pub fn whole(self) -> (i64, i64) {
        let whole = |units: i128| i64::try_from(units / UNIT).unwrap_or(i64::MAX);
        (whole(self.all), whole(self.errors))
    }
}

/// Counts what users feel.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Meter {
    felt: BTreeMap<Key, Felt>,
    now: BTreeMap<Key, Moving>,
    since: Time,
    traffic: TrafficModel,
    quality: Vec<(String, Quality)>,
    is_on: bool,
}

/// Where the requests for one Rollout go, and where those of older sessions still go.
#[derive(Clone, PartialEq, Debug, Default)]
struct Moving {
    flow: Flow,
    images: BTreeMap<Text, String>,
    /// Where requests went when it began to change, by version; nothing where nobody is kept.
    from: Option<BTreeMap<Text, i64>>,
    changed: Time,
    sessions: Span,
}

impl Meter {
    /// Begins to count now.
    pub fn begin(world: &World) -> Meter {
        let mut meter = Meter { since: world.now(), ..Meter::default() };
        meter.look(world);
        meter
    }

    /// Counts until now.
    pub fn finish(&mut self, world: &World) {
        self.count(world.now());
    }

    /// Until when it has counted.
    pub fn counted_until(&self) -> Time {
        self.since
    }

    /// Whether there were users to be counted.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// What the users of each Rollout felt, by name.
    pub fn felt(&self) -> impl Iterator<Item = (&Text, &Felt)> {
        self.felt.iter().map(|(key, felt)| (&key.name, felt))
    }

    /// What each version of each Rollout took so far.
    pub fn taken(&self) -> BTreeMap<Key, BTreeMap<Text, Taken>> {
        self.felt.iter().map(|(key, felt)| (key.clone(), felt.taken.clone())).collect()
    }

    /// What the users of all Rollouts felt together, or those of one.
    pub fn total(&self, rollout: Option<&str>) -> Felt {
        let mut total = Felt::default();
        for (_, felt) in self.felt().filter(|(name, _)| rollout.is_none_or(|rollout| rollout == &***name)) {
            total.add(felt);
        }
        total
    }

    /// Sees how things are from now on.
    fn look(&mut self, world: &World) {
        self.is_on |= world.data_plane().on;
        if !self.is_on {
            return;
        }
        self.traffic = world.config().traffic.clone().unwrap_or_default();
        self.quality.clone_from(&world.config().quality);
        let mut next = BTreeMap::new();
        for rollout in world.store().of_kind(&Kind::Rollout) {
            let routed = rollout.rollout().and_then(|body| body.spec.spec().canary());
            if world.config().traffic.is_none()
                && routed.is_none_or(|canary| canary.traffic_routing.is_none())
            {
                continue;
            }
            let key = rollout.key();
            let before = self.now.get(&key);
            let moving = Moving::of(world, rollout, before, &self.traffic);
            next.insert(key, moving);
        }
        self.now = next;
    }

    fn count(&mut self, now: Time) {
        let since = self.since;
        self.since = since.max(now);
        if now <= since || self.now.is_empty() {
            return;
        }
        for (from, to, rps) in self.traffic.between(since, now) {
            for (key, moving) in &self.now {
                let felt = self.felt.entry(key.clone()).or_default();
                moving.count(felt, &self.quality, (from, to), rps);
            }
        }
    }
}

impl Observer for Meter {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        let is_news = match what {
            Happened::Applied(_) | Happened::Turned => true,
            Happened::Stored { before, after, .. } => {
                let kind = after.or(*before).map(|object| &object.kind);
                matches!(kind, Some(Kind::Pod | Kind::Rollout)) && world.data_plane().on
            }
            _ => false,
        };
        if is_news {
            self.count(world.now());
            self.look(world);
        }
    }
}

impl TrafficModel {
    /// Requests a second at a time.
    pub fn rate(&self, at: Time) -> i64 {
        let past = at.since(self.since);
        self.rps.iter().rev().find(|(from, _)| *from <= past).map_or(0, |(_, rps)| *rps)
    }

    /// A time cut where the rate changes, with the rate of each piece.
    fn between(&self, from: Time, to: Time) -> Vec<(Time, Time, i64)> {
        let mut cuts: Vec<Time> = vec![from];
        cuts.extend(self.rps.iter().map(|(at, _)| self.since.plus(*at)).filter(|at| *at > from && *at < to));
        cuts.push(to);
        cuts.windows(2).map(|pair| (pair[0], pair[1], self.rate(pair[0]))).collect()
    }
}

impl Moving {
    fn of(world: &World, rollout: &Arc<Object>, before: Option<&Moving>, traffic: &TrafficModel) -> Moving {
        let flow = Flow::of(world, rollout, traffic.matching);
        let sticky = doors(world, rollout).into_iter().flatten().filter_map(|door| door.sticky).max();
        let sessions = match sticky {
            None => Span::ZERO,
            Some(0) => traffic.sessions,
            Some(seconds) => traffic.sessions.min(Span::seconds(seconds)),
        };
        let images = images(world, rollout);
        let now = world.now();
        let mut moving = Moving { flow, images, from: None, changed: now, sessions };
        let Some(before) = before.filter(|_| sessions > Span::ZERO) else { return moving };
        if before.flow.versions == moving.flow.versions && before.sessions == sessions {
            (moving.from, moving.changed) = (before.from.clone(), before.changed);
        } else {
            moving.from = Some(before.mix(now));
        }
        // Who was kept on a version that answers no more goes where everybody goes.
        let answering = answering(world, rollout);
        if let Some(from) = &mut moving.from {
            let lost: i64 = from.iter().filter(|(hash, _)| !answering.contains(hash)).map(|(_, n)| *n).sum();
            from.retain(|hash, _| answering.contains(hash));
            let all: i64 = moving.flow.versions.values().sum();
            for (hash, share) in moving.flow.versions.iter().filter(|_| lost > 0) {
                *from.entry(hash.clone()).or_default() += crate::dataplane::flow::part(lost, *share, all);
            }
        }
        moving
    }

    /// How far old sessions have ended, in millionths.
    fn done(&self, at: Time) -> i64 {
        let past = at.since(self.changed).0.max(0);
        if past >= self.sessions.0 {
            1_000_000
        } else {
            past.saturating_mul(1_000_000) / self.sessions.0.max(1)
        }
    }

    /// Shares by version at a moment.
    fn mix(&self, at: Time) -> BTreeMap<Text, i64> {
        self.mixed(self.done(at))
    }

    fn mixed(&self, done: i64) -> BTreeMap<Text, i64> {
        let Some(from) = &self.from else { return self.flow.versions.clone() };
        let mut mix = BTreeMap::new();
        for (of, share) in [(from, 1_000_000 - done), (&self.flow.versions, done)] {
            for (hash, parts) in of {
                *mix.entry(hash.clone()).or_default() +=
                    crate::dataplane::flow::part(*parts, share, 1_000_000);
            }
        }
        mix
    }

    fn count(&self, felt: &mut Felt, quality: &[(String, Quality)], (from, to): (Time, Time), rps: i64) {
        let mut from = from;
        let settled = self.changed.plus(self.sessions);
        if self.from.is_some() && from < settled {
            // Along a straight line the middle stands for all of it.
            let end = to.min(settled);
            let middle = (self.done(from) + self.done(end)) / 2;
            self.count_as(felt, quality, &self.mixed(middle), (end.since(from), rps));
            from = end;
        }
        self.count_as(felt, quality, &self.flow.versions, (to.since(from), rps));
    }

    fn count_as(
        &self,
        felt: &mut Felt,
        quality: &[(String, Quality)],
        versions: &BTreeMap<Text, i64>,
        (span, rps): (Span, i64),
    ) {
        let units = |share: i64| i128::from(share) * i128::from(rps) * i128::from(span.0.max(0));
        let (mut answered, nobody) = (0_i64, (String::new(), Quality::default()));
        for (hash, share) in versions {
            let image = self.images.get(hash).map_or("", String::as_str);
            let (_, truth) = quality.iter().find(|(end, _)| image.ends_with(end.as_str())).unwrap_or(&nobody);
            answered += share;
            let name = short(image).to_owned();
            *felt.versions.entry(name).or_default() += units(*share);
            let mut errors = units(*share) * i128::from(truth.errors) / 1_000_000;
            if let Some(capacity) = truth.capacity {
                errors += units(self.beyond(hash, capacity, rps)) * i128::from(1_000_000 - truth.errors)
                    / 1_000_000;
            }
            felt.errors += errors;
            let taken = felt.taken.entry(hash.clone()).or_default();
            taken.all += units(*share);
            taken.errors += errors;
        }
        felt.all += units(answered + self.flow.failing + self.flow.nowhere);
        felt.errors += units(self.flow.failing + self.flow.nowhere);
        felt.nowhere += units(self.flow.nowhere);
        for (hash, share) in &self.flow.copies {
            let name = self.images.get(hash).map_or("", |image| short(image)).to_owned();
            *felt.copies.entry(name).or_default() += units(*share);
        }
    }

    /// The share that is more than the pods of a version carry.
    fn beyond(&self, hash: &Text, capacity: i64, rps: i64) -> i64 {
        let most = crate::dataplane::flow::part(WHOLE, capacity, rps.max(1));
        let mine = self.flow.pods.iter().filter(|(_, (of, _))| of == hash);
        mine.map(|(_, (_, share))| (share - most).max(0)).sum()
    }
}

/// `registry/team/web:v2` is web:v2.
pub(crate) fn short(image: &str) -> &str {
    image.rsplit('/').next().unwrap_or(image)
}

/// The ReplicaSets whose pods may serve users of a Rollout: its own, and those of its Experiments.
pub(crate) fn serving_sets<'w>(
    world: &'w World,
    rollout: &'w Object,
) -> impl Iterator<Item = &'w Arc<Object>> {
    let store = world.store();
    let arms = store.owned_by(&rollout.meta.uid, &Kind::Experiment);
    let arms = arms.flat_map(|experiment| store.owned_by(&experiment.meta.uid, &Kind::ReplicaSet));
    store.owned_by(&rollout.meta.uid, &Kind::ReplicaSet).chain(arms)
}

/// The image of each version, by hash.
pub(crate) fn images(world: &World, rollout: &Object) -> BTreeMap<Text, String> {
    let sets = serving_sets(world, rollout);
    let image = |set: &Arc<Object>| {
        let hash = set.meta.labels.get(HASH_LABEL)?.clone();
        let template = &set.replica_set()?.template.spec;
        Some((hash, template.value()["containers"][0]["image"].as_str().unwrap_or("").to_owned()))
    };
    sets.filter_map(image).collect()
}

/// Versions that have a pod which answers.
fn answering(world: &World, rollout: &Object) -> Vec<Text> {
    let sets = serving_sets(world, rollout);
    let has_pod = |set: &&Arc<Object>| {
        let mut pods = world.store().owned_by(&set.meta.uid, &Kind::Pod);
        pods.any(|pod| pod.meta.deleting.is_none() && pod.pod().is_some_and(|body| body.ready))
    };
    sets.filter(has_pod).filter_map(|set| set.meta.labels.get(HASH_LABEL).cloned()).collect()
}

/// Whole requests, rounded up: one that is lost in part is lost.
fn requests(units: i128) -> i64 {
    i64::try_from((units + UNIT - 1) / UNIT).unwrap_or(i64::MAX)
}

impl Felt {
    fn add(&mut self, other: &Felt) {
        for (hash, taken) in &other.taken {
            let mine = self.taken.entry(hash.clone()).or_default();
            (mine.all, mine.errors) = (mine.all + taken.all, mine.errors + taken.errors);
        }
        self.all += other.all;
        self.errors += other.errors;
        self.nowhere += other.nowhere;
        for (mine, others) in [(&mut self.versions, &other.versions), (&mut self.copies, &other.copies)] {
            for (name, units) in others {
                *mine.entry(name.clone()).or_default() += units;
            }
        }
    }

    /// All requests.
    pub fn requests(&self) -> i64 {
        requests(self.all)
    }

    /// Requests that went wrong, and what part of all they are, in millionths.
    pub fn errors(&self) -> (i64, i64) {
        (requests(self.errors), self.part(self.errors))
    }

    /// Requests for which there was no endpoint, likewise.
    pub fn no_endpoint(&self) -> (i64, i64) {
        (requests(self.nowhere), self.part(self.nowhere))
    }

    /// Requests that versions took whose image ends so, likewise.
    pub fn share(&self, image: &str) -> (i64, i64) {
        let units = self.versions.iter().filter(|(name, _)| name.ends_with(image)).map(|(_, n)| *n).sum();
        (requests(units), self.part(units))
    }

    /// Rounded up, so that something is never nothing.
    fn part(&self, units: i128) -> i64 {
        let all = self.all.max(1);
        i64::try_from((units * 1_000_000 + all - 1) / all).unwrap_or(i64::MAX)
    }

    /// `web:v1 80% web:v2 20%  errors 0  no endpoint 0`.
    pub fn said(&self) -> String {
        let tenths = |units: i128| (units * 1000 + self.all.max(1) / 2) / self.all.max(1);
        let percent = |units: i128| match tenths(units) {
            whole if whole % 10 == 0 => format!("{}%", whole / 10),
            tenths => format!("{}.{}%", tenths / 10, tenths % 10),
        };
        let mut parts: Vec<String> =
            self.versions.iter().map(|(name, units)| format!("{name} {}", percent(*units))).collect();
        parts.push(format!("errors {}", requests(self.errors)));
        parts.push(format!("no endpoint {}", requests(self.nowhere)));
        parts
            .extend(self.copies.iter().map(|(name, units)| format!("copies to {name} {}", requests(*units))));
        parts.join(" ")
    }

    /// As data.
    pub fn to_value(&self) -> Value {
        let of = |units: &BTreeMap<String, i128>| -> BTreeMap<String, i64> {
            units.iter().map(|(name, units)| (name.clone(), requests(*units))).collect()
        };
        json!({"requests": self.requests(), "versions": of(&self.versions), "errors": self.errors().0,
            "no_endpoint": self.no_endpoint().0, "copies": of(&self.copies)})
    }
}
