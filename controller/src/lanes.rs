//! How many passes may have a call under way, and whom a call that does not end holds up: nobody (L14).
//!
//! What waits is decided later, on fresher knowledge, and what happens to it meanwhile costs no pass of its own. So there
//! are few lanes. But a webhook that hangs, or a shard of the server, may hold many calls for as long as a call may take.
//! So a call keeps its lane for a moment only: one that takes longer goes on without. And a key whose last pass was held
//! up queues for lanes that are not those of the others, until a pass of it goes through as it should.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api::object::Key;
use tidegate_api::time::{Span, Time};

/// Calls that have taken so long keep nobody waiting any more. Some ten times what a busy server takes.
pub const HELD_UP: Span = Span::millis(500);

/// The lanes and who is on them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lanes {
    /// So many for those who get through, and as many for the others; any number without.
    most: Option<usize>,
    /// Passes with the time at which their call began.
    calls: BTreeMap<Key, Time>,
    /// Keys of which a call was held up in their last pass.
    slow: BTreeSet<Key>,
    /// Of those, the ones of which a call was held up in the pass under way.
    slow_again: BTreeSet<Key>,
}

/// For whom there is a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// For keys that get through.
    pub quick: bool,
    /// For keys that were held up.
    pub slow: bool,
}

impl Lanes {
    /// So many lanes of each sort; any number without.
    pub fn new(most: Option<usize>) -> Lanes {
        Lanes { most: most.map(|most| most.max(1)), ..Lanes::default() }
    }

    /// The pass over this key starts a call.
    pub fn called(&mut self, key: &Key, now: Time) {
        if self.most.is_some() {
            self.calls.insert(key.clone(), now);
        }
    }

    /// The call of the pass over this key has ended.
    pub fn answered(&mut self, key: &Key, now: Time) {
        if self.calls.remove(key).is_some_and(|since| is_held_up(since, now)) {
            self.slow.insert(key.clone());
            self.slow_again.insert(key.clone());
        }
    }

    /// The pass over this key is over.
    pub fn ended(&mut self, key: &Key) {
        if !self.slow_again.remove(key) {
            self.slow.remove(key);
        }
    }

    /// For whom there is a lane now.
    pub fn room(&self, now: Time) -> Room {
        let most = self.most.unwrap_or(usize::MAX);
        if self.calls.len() < most {
            return Room { quick: true, slow: true };
        }
        let on_lanes = self.calls.iter().filter(|(_, since)| !is_held_up(**since, now));
        let (slow, quick): (Vec<_>, Vec<_>) = on_lanes.partition(|(key, _)| self.is_slow(key));
        Room { quick: quick.len() < most, slow: slow.len() < most }
    }

    /// Whether the last pass over this key was held up.
    pub fn is_slow(&self, key: &Key) -> bool {
        self.slow.contains(key)
    }

    /// When the next call gives up its lane, if it has not ended before.
    pub fn next(&self, now: Time) -> Option<Time> {
        self.calls.values().filter(|since| !is_held_up(**since, now)).min().map(|since| since.plus(HELD_UP))
    }
}

impl Room {
    /// Whether there is a lane for this key.
    pub fn has(self, is_slow: bool) -> bool {
        if is_slow { self.slow } else { self.quick }
    }

    /// Whether nobody has to wait for one.
    pub fn is_for_all(self) -> bool {
        self.quick && self.slow
    }

    /// Whether there is none for anybody.
    pub fn is_none(self) -> bool {
        !self.quick && !self.slow
    }
}

fn is_held_up(since: Time, now: Time) -> bool {
    now.since(since) >= HELD_UP
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::manager::{Manager, Settings, WATCHED};
    use crate::seams::{ApiCall, CallId, Clock, Cluster, Event, Metrics, Question};
    use serde_json::json;
    use tidegate_api::object::{Kind, Object};

    fn key(name: &str) -> Key {
        Key::new(Kind::Rollout, "n", name)
    }

    #[test]
    fn a_call_that_does_not_end_gives_up_its_lane() {
        let mut lanes = Lanes::new(Some(1));
        lanes.called(&key("stuck"), Time(0));
        assert_eq!(lanes.room(Time(499)), Room { quick: false, slow: true });
        assert_eq!(lanes.next(Time(499)), Some(Time(500)));
        assert_eq!(lanes.room(Time(500)), Room { quick: true, slow: true });
        assert_eq!(lanes.next(Time(500)), None, "there is nothing to wait for");
    }

    #[test]
    fn who_was_held_up_queues_apart_until_it_gets_through() {
        let mut lanes = Lanes::new(Some(1));
        let stuck = key("stuck");
        let pass = |lanes: &mut Lanes, begin: i64, end: i64| {
            lanes.called(&stuck, Time(begin));
            let room = lanes.room(Time(begin));
            lanes.answered(&stuck, Time(end));
            lanes.ended(&stuck);
            room
        };
        assert_eq!(pass(&mut lanes, 0, 10_000), Room { quick: false, slow: true });
        assert_eq!(pass(&mut lanes, 20_000, 30_000), Room { quick: true, slow: false });
        assert_eq!(pass(&mut lanes, 40_000, 40_010), Room { quick: true, slow: false });
        assert_eq!(pass(&mut lanes, 50_000, 50_010), Room { quick: false, slow: true }, "it got through");
    }

    /// Calls that are started and never answered, and an alarm.
    #[derive(Default)]
    struct Silence {
        now: i64,
        started: BTreeMap<String, i64>,
        alarm: Option<Time>,
    }

    impl Cluster for Silence {
        fn start(&mut self, _: CallId, call: ApiCall) {
            if let ApiCall::Write { key, .. } = call {
                self.started.entry(key.name.to_string()).or_insert(self.now);
            }
        }
        fn watch(&mut self, _: Kind) {}
    }

    impl Metrics for Silence {
        fn ask(&mut self, _: CallId, _: Question) {}
    }

    impl Clock for Silence {
        fn now(&self) -> Time {
            Time(self.now)
        }
        fn wake_at(&mut self, at: Time) {
            self.alarm = Some(at);
        }
    }

    #[test]
    fn calls_that_never_end_hold_nobody_up() {
        let mut manager = Manager::new(Settings { passes_at_once: Some(2), ..Settings::default() });
        let mut seams = Silence { now: 1_000_000, ..Silence::default() };
        for number in 0..6 {
            let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
                "metadata": {"name": format!("r{number}"), "namespace": "n", "uid": format!("u{number}"),
                    "resourceVersion": "7", "generation": 1},
                "spec": {"replicas": 1, "strategy": {"canary": {}}, "selector": {"matchLabels": {"a": "b"}},
                    "template": {"metadata": {"labels": {"a": "b"}},
                        "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
            let rollout = Object::from_value(rollout).expect("a rollout");
            manager.handle(Event::Seen(Arc::new(rollout)), &mut seams);
        }
        for kind in WATCHED {
            let keys = manager.cache().of_kind(kind).map(|object| object.key()).collect();
            manager.handle(Event::Listed(kind.clone(), keys), &mut seams);
        }
        while let Some(Time(at)) = seams.alarm.take_if(|at| *at < Time(1_060_000)) {
            seams.now = at;
            manager.handle(Event::Woken, &mut seams);
        }
        let started: Vec<i64> = seams.started.values().map(|at| at - 1_000_000).collect();
        assert_eq!(started, [0, 0, 500, 500, 1000, 1000]);
    }
}
