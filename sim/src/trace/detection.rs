//! How long a version was there until an analysis took it back, and whom that hit.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Object, Text};
use tidegate_api::time::{Span, Time};

use crate::traffic::{Meter, Taken};
use crate::world::{Happened, World};

/// In the words of the reference, every abort by evidence says this.
const BY_ANALYSIS: &str = "analysis phase";

/// A version whose update an analysis aborted, by evidence or for want of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Detection {
    /// The Rollout.
    pub rollout: Text,
    /// The image of the version.
    pub image: String,
    /// From its first request until the abort; nothing where it never got one.
    pub after: Option<Span>,
    /// Requests that it got, until it had none any more.
    pub requests: i64,
}

impl Detection {
    /// `89.1 s after its first request, 1004 requests exposed`
    pub fn said(&self) -> String {
        match self.after {
            None => "before its first request".to_owned(),
            Some(after) => {
                let (seconds, tenth) = (after.0 / 1000, after.0 % 1000 / 100);
                format!("{seconds}.{tenth} s after its first request, {} requests exposed", self.requests)
            }
        }
    }

    /// The detection as data.
    pub fn to_value(&self) -> Value {
        json!({"rollout": &*self.rollout, "image": self.image, "after_ms": self.after.map(|after| after.0),
            "requests_exposed": self.requests})
    }
}

/// An abort by evidence.
#[derive(Clone, PartialEq, Debug)]
struct Found {
    at: Time,
    rollout: Key,
    hash: Text,
    image: String,
}

/// What each version of each Rollout took so far, by the hash of its template.
type TakenByVersion = BTreeMap<Key, BTreeMap<Text, Taken>>;

/// What versions took, whenever that begins to grow at another pace, and the aborts by evidence.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Detections {
    points: Vec<(Time, TakenByVersion)>,
    found: Vec<Found>,
}

impl Detections {
    /// Notes what was counted.
    pub fn note(&mut self, meter: &Meter) {
        let at = meter.counted_until();
        if meter.is_on() && self.points.last().is_none_or(|(last, _)| *last != at) {
            self.points.push((at, meter.taken()));
        }
    }

    /// Sees whether evidence aborted an update.
    pub fn saw(&mut self, world: &World, what: &Happened<'_>) {
        let Happened::Stored { before, after: Some(after), .. } = what else { return };
        let aborted = |object: &Arc<Object>| object.rollout().is_some_and(|body| body.status.is_aborted());
        let Some(body) = after.rollout().filter(|_| aborted(after) && !before.is_some_and(aborted)) else {
            return;
        };
        if !body.status.message.as_deref().unwrap_or("").contains(BY_ANALYSIS) {
            return;
        }
        let hash = Text::from(body.status.current());
        let image = crate::traffic::images(world, after).remove(&hash).unwrap_or_default();
        let image = crate::traffic::short(&image).to_owned();
        self.found.push(Found { at: world.now(), rollout: after.key(), hash, image });
    }

    /// What came of it, in order.
    pub fn all(&self) -> Vec<Detection> {
        if self.points.is_empty() {
            return Vec::new();
        }
        let mut ends: BTreeMap<(&Key, &Text), Time> = BTreeMap::new();
        let mut all = Vec::new();
        for found in &self.found {
            // A version that was tried again is counted anew.
            let since = ends.get(&(&found.rollout, &found.hash)).copied();
            let taken = |point: &(Time, BTreeMap<Key, BTreeMap<Text, Taken>>)| {
                let of = point.1.get(&found.rollout).and_then(|versions| versions.get(&found.hash));
                (point.0, of.copied().unwrap_or_default())
            };
            let points =
                self.points.iter().map(taken).filter(|(at, _)| since.is_none_or(|since| *at >= since));
            let points: Vec<(Time, Taken)> = points.collect();
            let grows = |pair: &&[(Time, Taken)]| pair[1].1.all > pair[0].1.all;
            let first = points.windows(2).find(grows).map(|pair| pair[0]);
            let first = first.filter(|(at, _)| *at <= found.at);
            let rests = |pair: &&[(Time, Taken)]| pair[1].0 > found.at && !grows(pair);
            let end = points.windows(2).find(rests).map(|pair| pair[0]).or(points.last().copied());
            let (Some(end), Some(first)) = (end, first) else {
                let Found { rollout, image, .. } = found;
                let (rollout, image) = (rollout.name.clone(), image.clone());
                all.push(Detection { rollout, image, after: None, requests: 0 });
                continue;
            };
            ends.insert((&found.rollout, &found.hash), end.0);
            all.push(Detection {
                rollout: found.rollout.name.clone(),
                image: found.image.clone(),
                after: Some(found.at.since(first.0)),
                requests: end.1.whole().0 - first.1.whole().0,
            });
        }
        all
    }
}
