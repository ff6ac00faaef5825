//! Which keys are to be looked at, and when: the earliest first, and among equals by name, so that nobody is passed over
//! for ever (L14). Every question about it costs the logarithm of its size, however many Rollouts a cluster has.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api::object::Key;
use tidegate_api::time::Time;

/// Keys with the time at which each is due; those that are looked at this moment are held back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Agenda {
    due: BTreeMap<Key, Time>,
    /// The same by time, without those held back.
    order: BTreeSet<(Time, Key)>,
    held: BTreeSet<Key>,
}

impl Agenda {
    /// Notes a key for this time, unless it is noted for an earlier one.
    pub fn add(&mut self, key: Key, at: Time) {
        let known = self.due.get(&key).copied();
        if known.is_some_and(|known| known <= at) {
            return;
        }
        if !self.held.contains(&key) {
            if let Some(known) = known {
                self.order.remove(&(known, key.clone()));
            }
            self.order.insert((at, key.clone()));
        }
        self.due.insert(key, at);
    }

    /// Takes the key that has waited longest of those that may be taken now, with the time it was due, and holds it back
    /// until [`Agenda::release`].
    pub fn take(&mut self, now: Time, may_be_taken: impl Fn(&Key) -> bool) -> Option<(Key, Time)> {
        let due = self.order.iter().take_while(|(at, _)| *at <= now);
        let (at, key) = due.into_iter().find(|(_, key)| may_be_taken(key))?.clone();
        self.order.remove(&(at, key.clone()));
        self.due.remove(&key);
        self.held.insert(key.clone());
        Some((key, at))
    }

    /// A key that was taken may be taken again, when it is due again.
    pub fn release(&mut self, key: &Key) {
        if self.held.remove(key)
            && let Some(at) = self.due.get(key)
        {
            self.order.insert((*at, key.clone()));
        }
    }

    /// When the next key is due, of those not held back.
    pub fn next(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Keys whose time has come, held back or not.
    pub fn waiting(&self, now: Time) -> impl Iterator<Item = &Key> {
        self.due.iter().filter(move |(_, due)| **due <= now).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidegate_api::object::Kind;

    fn key(name: &str) -> Key {
        Key::new(Kind::Rollout, "n", name)
    }

    #[test]
    fn who_has_waited_longest_comes_first() {
        let mut agenda = Agenda::default();
        agenda.add(key("a"), Time(3));
        agenda.add(key("z"), Time(1));
        agenda.add(key("a"), Time(2));
        agenda.add(key("a"), Time(9));
        assert_eq!(agenda.take(Time(0), |_| true), None);
        assert_eq!(agenda.take(Time(5), |_| true), Some((key("z"), Time(1))));
        assert_eq!(agenda.take(Time(5), |_| true), Some((key("a"), Time(2))));
        assert_eq!(agenda.take(Time(99), |_| true), None, "the later wish was for the same look");
    }

    #[test]
    fn what_is_looked_at_waits_for_its_end() {
        let mut agenda = Agenda::default();
        agenda.add(key("a"), Time(1));
        assert!(agenda.take(Time(1), |_| true).is_some());
        agenda.add(key("a"), Time(2));
        assert_eq!((agenda.take(Time(5), |_| true), agenda.next()), (None, None));
        assert_eq!(agenda.waiting(Time(5)).count(), 1);
        agenda.release(&key("a"));
        assert_eq!(agenda.take(Time(5), |_| true), Some((key("a"), Time(2))));
    }

    proptest! {
        #[test]
        fn both_views_agree(acts in prop::collection::vec((0..4u8, 0..5u8, 0..9i64), 0..60)) {
            let mut agenda = Agenda::default();
            for (act, name, at) in acts {
                let key = key(&name.to_string());
                match act {
                    0 => drop(agenda.take(Time(at), |_| true)),
                    1 => agenda.release(&key),
                    _ => agenda.add(key, Time(at)),
                }
                let free = agenda.due.iter().filter(|(key, _)| !agenda.held.contains(*key));
                let free: BTreeSet<(Time, Key)> = free.map(|(key, at)| (*at, key.clone())).collect();
                prop_assert_eq!(&free, &agenda.order);
            }
        }
    }
}
