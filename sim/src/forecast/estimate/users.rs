//! Where requests go while an update goes on, in the update as it was played and in one that takes longer.

use std::collections::BTreeMap;

use tidegate_api::object::{Key, Text};
use tidegate_api::time::Time;

use crate::traffic::{Meter, Taken};
use crate::world::{Happened, Observer, World};

/// The version that is stable before the update, and the new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Version {
    Old,
    New,
}

/// Notes what each version of a Rollout took, whenever that begins to grow at another pace.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    rollout: Key,
    meter: Meter,
    points: Vec<(Time, BTreeMap<Text, Taken>)>,
}

impl Noted {
    pub fn begin(world: &World, rollout: &Key) -> Noted {
        let mut noted = Noted { rollout: rollout.clone(), meter: Meter::begin(world), points: Vec::new() };
        noted.note(world.now());
        noted
    }

    pub fn finish(&mut self, world: &World) {
        self.meter.finish(world);
        self.note(world.now());
    }

    fn note(&mut self, at: Time) {
        let taken = self.meter.taken().remove(&self.rollout).unwrap_or_default();
        match self.points.last_mut() {
            Some(last) if last.0 == at => last.1 = taken,
            _ => self.points.push((at, taken)),
        }
    }

    /// How many requests the new version took from then on.
    pub fn taken_by(&self, hash: &Text, since: Time) -> f64 {
        let line = Line::of(self, hash, since);
        line.points.last().map_or(0.0, |(_, taken)| *taken) - line.at(0)
    }
}

impl Observer for Noted {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        let before = self.meter.counted_until();
        self.meter.saw(world, what);
        if self.meter.counted_until() != before {
            self.note(world.now());
        }
    }
}

/// Requests that a version took until a time, in milliseconds since the change: straight between two points.
#[derive(Clone, PartialEq, Debug)]
struct Line {
    points: Vec<(i64, f64)>,
    /// Requests in a millisecond before the first point.
    before: f64,
}

impl Line {
    fn of(noted: &Noted, hash: &Text, begin: Time) -> Line {
        let of = |(at, taken): &(Time, BTreeMap<Text, Taken>)| {
            (at.since(begin).0, taken.get(hash).map_or(0.0, |taken| taken.requests()))
        };
        let mut points: Vec<(i64, f64)> = noted.points.iter().map(of).collect();
        // What went on at the same pace needs no point between.
        let slope = |a: (i64, f64), b: (i64, f64)| (b.1 - a.1) / (b.0 - a.0).max(1) as f64;
        let mut at = 1;
        while at + 1 < points.len() {
            let (a, b, c) = (points[at - 1], points[at], points[at + 1]);
            if (slope(a, b) - slope(b, c)).abs() < 1e-9 {
                points.remove(at);
            } else {
                at += 1;
            }
        }
        Line { points, before: 0.0 }
    }

    /// Requests until then; after the last point it goes on as it went.
    fn at(&self, time: i64) -> f64 {
        let after = self.points.partition_point(|(at, _)| *at <= time);
        let Some(before) = after.checked_sub(1).and_then(|before| self.points.get(before)) else {
            let first = self.points.first().copied().unwrap_or_default();
            return first.1 - self.before * (first.0 - time) as f64;
        };
        before.1 + self.pace_after(after) * (time - before.0) as f64
    }

    /// Requests in a millisecond between a point and the one before it.
    fn pace_after(&self, after: usize) -> f64 {
        let after = after.min(self.points.len().saturating_sub(1));
        match after
            .checked_sub(1)
            .and_then(|before| Some((self.points.get(before)?, self.points.get(after)?)))
        {
            Some((a, b)) => (b.1 - a.1) / (b.0 - a.0).max(1) as f64,
            None => 0.0,
        }
    }

    /// The pace just before a time.
    fn pace(&self, time: i64) -> f64 {
        self.pace_after(self.points.partition_point(|(at, _)| *at < time))
    }
}

/// The shares of both versions in the update as it was played.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Users {
    lines: BTreeMap<Version, Line>,
    /// When the first request reaches the new version.
    pub exposed: Option<i64>,
}

impl Users {
    pub fn of(noted: &Noted, old: &Text, new: &Text, begin: Time, rps: i64) -> Users {
        let (mut stable, fresh) = (Line::of(noted, old, begin), Line::of(noted, new, begin));
        // Before the change the stable version had everybody, for as long as anybody asks.
        stable.before = rps as f64 / 1000.0;
        let pairs = fresh.points.windows(2);
        let exposed = pairs.filter(|pair| pair[1].1 > pair[0].1).map(|pair| pair[0].0).next();
        Users { lines: BTreeMap::from([(Version::Old, stable), (Version::New, fresh)]), exposed }
    }
}

/// A life in which the update stood still at some points for longer than in the one that was played.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Clock {
    /// When, in the update as it was played, and for how long.
    stops: Vec<(i64, i64)>,
    /// Where it stands still until further notice.
    held: Option<i64>,
}

impl Clock {
    pub fn new() -> Clock {
        Clock { stops: Vec::new(), held: None }
    }

    /// From now on it stands still at this time of the played update.
    pub fn hold(&mut self, played: i64) {
        self.held = Some(played);
    }

    /// It goes on; this was the time of the life.
    pub fn release(&mut self, life: i64) {
        if let Some(played) = self.held.take() {
            let late = life - self.of_played(played);
            if late > 0 {
                self.stops.push((played, late));
            }
        }
    }

    /// The time of the life at which something of the played update happens.
    pub fn of_played(&self, played: i64) -> i64 {
        let before = self.stops.iter().filter(|(at, _)| *at < played);
        played + before.map(|(_, span)| span).sum::<i64>()
    }

    /// Whether nothing has taken longer until then than in the update as it was played.
    pub fn is_as_played(&self, life: i64) -> bool {
        self.stops.first().is_none_or(|(at, _)| life <= *at) && self.held.is_none_or(|held| life <= held)
    }

    /// The time of the played update that a time of the life shows.
    pub fn played(&self, life: i64) -> i64 {
        let mut late = 0;
        for (at, span) in &self.stops {
            let begins = at + late;
            if life <= begins {
                break;
            }
            late += (*span).min(life - begins);
        }
        self.held.map_or(life - late, |held| held.min(life - late))
    }

    /// Requests that a version took until a time of the life. While all stands still, they go on as they went.
    pub fn taken(&self, users: &Users, version: Version, life: i64) -> f64 {
        let Some(line) = users.lines.get(&version) else { return 0.0 };
        let mut taken = line.at(self.played(life));
        let (mut late, mut stops) = (0, self.stops.iter());
        let mut stood = |at: i64, span: i64| {
            let waited = span.min(life - at - late).max(0);
            late += span;
            line.pace(at) * waited as f64
        };
        for (at, span) in stops.by_ref() {
            taken += stood(*at, *span);
        }
        if let Some(held) = self.held {
            taken += stood(held, i64::MAX / 4);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        // Ten requests a second: all to the old version, then half to the new one, then all.
        let line = |points: &[(i64, f64)], before| Line { points: points.to_vec(), before };
        let old = line(&[(0, 0.0), (10_000, 100.0), (30_000, 200.0), (40_000, 200.0)], 0.01);
        let new = line(&[(0, 0.0), (10_000, 0.0), (30_000, 100.0), (40_000, 200.0)], 0.0);
        Users { lines: BTreeMap::from([(Version::Old, old), (Version::New, new)]), exposed: Some(10_000) }
    }

    #[test]
    fn requests_are_counted_along_the_update() {
        let (users, clock) = (users(), Clock::new());
        let new = |life| clock.taken(&users, Version::New, life);
        assert_eq!(
            [0, 10_000, 20_000, 30_000, 35_000, 50_000].map(new),
            [0.0, 0.0, 50.0, 100.0, 150.0, 300.0]
        );
        assert_eq!(clock.taken(&users, Version::Old, -60_000), -600.0, "it served before");
    }

    #[test]
    fn who_stands_still_goes_on_at_the_same_pace() {
        let (users, mut clock) = (users(), Clock::new());
        clock.hold(20_000);
        let at = |clock: &Clock, life| clock.taken(&users, Version::New, life);
        assert_eq!([15_000, 20_000, 40_000].map(|life| at(&clock, life)), [25.0, 50.0, 150.0]);
        clock.release(60_000);
        assert_eq!((clock.of_played(20_000), clock.of_played(30_000)), (20_000, 70_000));
        assert_eq!(
            [15_000, 40_000, 65_000, 70_000].map(|life| clock.played(life)),
            [15_000, 20_000, 25_000, 30_000]
        );
        assert_eq!(
            [15_000, 60_000, 70_000, 71_000].map(|life| at(&clock, life)),
            [25.0, 250.0, 300.0, 310.0]
        );
        clock.hold(30_000);
        clock.release(70_000);
        assert_eq!(clock.stops.len(), 1, "who was in time stopped nobody");
    }
}
