//! What the pods of each version counted, and when: the traffic model as a metric system sees it.
//!
//! Between two changes of shares a counter grows along a straight line, so that a few points say what it showed at any
//! time. Nothing is kept before somebody could ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::object::{Key, Text};
use tidegate_api::time::{Span, Time};

use crate::traffic::{Meter, Taken};
use crate::world::{Happened, Observer, World};

/// Points are kept for so long: no window of a query is longer.
const KEPT: Span = Span::seconds(6 * 3600);

/// All counters of all versions.
#[derive(Clone, Debug)]
pub struct Counters {
    meter: Meter,
    points: Arc<Vec<Point>>,
}

#[derive(Clone, Debug)]
struct Point {
    at: Time,
    taken: BTreeMap<Key, BTreeMap<Text, Taken>>,
}

impl Counters {
    fn begin(world: &World) -> Counters {
        let mut counters = Counters { meter: Meter::begin(world), points: Arc::default() };
        counters.note(world.now());
        counters
    }

    fn note(&mut self, at: Time) {
        let point = Point { at, taken: self.meter.taken() };
        let points = Arc::make_mut(&mut self.points);
        match points.last_mut() {
            Some(last) if last.at == at => *last = point,
            Some(last) if last.taken == point.taken => {}
            _ => points.push(point),
        }
        let old = points.iter().take_while(|point| at.since(point.at) > KEPT).count();
        // The last of them still says where the line comes from.
        points.drain(..old.saturating_sub(1));
    }

    /// Counts until now.
    fn catch_up(&mut self, world: &World) {
        self.meter.finish(world);
        self.note(world.now());
    }

    /// What a version had counted at a time; nothing before its first request.
    pub fn at(&self, rollout: &Key, hash: &Text, time: Time) -> Option<Taken> {
        let after = self.points.partition_point(|point| point.at <= time);
        let of = |point: &Point| point.taken.get(rollout).and_then(|versions| versions.get(hash)).copied();
        let before = self.points.get(after.checked_sub(1)?)?;
        let Some(next) = self.points.get(after) else { return of(before) };
        let Some(then) = of(next) else { return of(before) };
        let now = of(before).unwrap_or_default();
        let (past, span) =
            (i128::from(time.since(before.at).0), i128::from(next.at.since(before.at).0.max(1)));
        let between = |a: i128, b: i128| a + (b - a) * past / span;
        let taken = Taken { all: between(now.all, then.all), errors: between(now.errors, then.errors) };
        (taken.all > 0).then_some(taken)
    }

    /// Whether there are users who are counted.
    pub fn is_on(&self) -> bool {
        self.meter.is_on()
    }
}

impl World {
    /// Counts from now on, unless it does already: somebody could ask.
    pub(crate) fn begin_counting(&mut self) {
        if self.counters.is_none() {
            self.counters = Some(Box::new(Counters::begin(self)));
        }
    }

    /// Tells the counters what happened.
    pub(crate) fn counted(&mut self, what: &Happened<'_>) {
        let Some(mut counters) = self.counters.take() else { return };
        let before = counters.meter.counted_until();
        counters.meter.saw(self, what);
        if counters.meter.counted_until() != before {
            counters.note(self.now());
        }
        self.counters = Some(counters);
    }

    /// What was counted until now.
    pub(crate) fn counters(&mut self) -> Option<&Counters> {
        let mut counters = self.counters.take()?;
        counters.catch_up(self);
        self.counters = Some(counters);
        self.counters.as_deref()
    }
}
