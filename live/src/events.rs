//! Kubernetes events: what people see in `kubectl describe`.
//!
//! An event must never hold up a pass, and a storm about one Rollout must not silence the others (the reference sends
//! one after another for all, and was seen to be half a minute late). So notices are kept in a bounded queue per object,
//! delivered in turn, deduplicated and limited as the standard client recorder does it (operations.md 4.1).

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use tidegate_api::object::{Key, Text};
use tidegate_api::time::{Span, Stamp, Time};
use tidegate_controller::plan::Notice;

use crate::FIELD_MANAGER;

/// Events about one object that may be sent at once. As in the standard recorder.
const BURST: i64 = 25;
/// After a burst one more may be sent each time this passes. As in the standard recorder.
const REFILL: Span = Span::seconds(300);
/// From so many events that differ in their message only, one event stands for the rest. As in the standard recorder.
const SIMILAR: usize = 10;
/// How long a series is remembered. As in the standard recorder.
const MEMORY: Span = Span::seconds(600);
/// Notices that wait for one object; more are dropped, the oldest first.
const WAITING: usize = 64;
/// Objects whose series are remembered. Bounds the memory (L15).
const OBJECTS: usize = 4096;

/// One request to send.
#[derive(Clone, PartialEq, Debug)]
pub enum EventWrite {
    /// A new event.
    Create(Value),
    /// One more of a known event: name and merge patch.
    Count {
        /// Namespace of the event.
        namespace: Text,
        /// Name of the event.
        name: Text,
        /// What changes.
        patch: Value,
    },
}

/// What was told so far, about whom, and what still waits.
#[derive(Debug, Default)]
pub struct EventBook {
    objects: BTreeMap<Key, About>,
    /// Objects with notices waiting, in the order of their turn.
    turns: VecDeque<Key>,
    /// Makes names unique, as the standard recorder does with the time.
    count: u64,
}

#[derive(Debug, Default)]
struct About {
    waiting: VecDeque<(Notice, Time)>,
    told: BTreeMap<Told, Series>,
    /// Time at which the whole burst is available again.
    full_at: Time,
    last: Time,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Told {
    reason: Text,
    /// Empty for the one that stands for many similar ones.
    message: Text,
}

#[derive(Debug)]
struct Series {
    name: Text,
    count: i64,
    last: Time,
}

impl EventBook {
    /// Takes a notice; it is sent when its turn comes.
    pub fn add(&mut self, notice: Notice, now: Time) {
        let key = notice.about.clone();
        if self.objects.len() >= OBJECTS && !self.objects.contains_key(&key) {
            self.forget_the_quietest();
        }
        let about = self.objects.entry(key.clone()).or_default();
        about.last = now;
        if about.waiting.is_empty() {
            self.turns.push_back(key);
        }
        about.waiting.push_back((notice, now));
        if about.waiting.len() > WAITING {
            about.waiting.pop_front();
        }
    }

    /// The next request to send, if any; every object in turn.
    pub fn next(&mut self, now: Time) -> Option<EventWrite> {
        while let Some(key) = self.turns.pop_front() {
            let Some(about) = self.objects.get_mut(&key) else { continue };
            let Some((notice, at)) = about.waiting.pop_front() else { continue };
            if !about.waiting.is_empty() {
                self.turns.push_back(key);
            }
            self.count += 1;
            if let Some(write) = about.tell(&notice, at, now, self.count) {
                return Some(write);
            }
        }
        None
    }

    fn forget_the_quietest(&mut self) {
        let quiet = self.objects.iter().filter(|(_, about)| about.waiting.is_empty());
        if let Some(key) = quiet.min_by_key(|(_, about)| about.last).map(|(key, _)| key.clone()) {
            self.objects.remove(&key);
        }
    }
}

impl About {
    fn tell(&mut self, notice: &Notice, at: Time, now: Time, count: u64) -> Option<EventWrite> {
        self.told.retain(|_, series| now.since(series.last) < MEMORY);
        let similar = self.told.keys().filter(|told| told.reason == notice.reason).count();
        let mut told = Told { reason: notice.reason.clone(), message: notice.message.clone() };
        let mut message = notice.message.to_string();
        if similar >= SIMILAR && !self.told.contains_key(&told) {
            told.message = Text::default();
            message = format!("(combined from similar events): {message}");
        }
        if !self.may_send(now) {
            return None;
        }
        let stamp = at.stamp();
        if let Some(series) = self.told.get_mut(&told) {
            series.count += 1;
            series.last = now;
            let patch =
                json!({"count": series.count, "lastTimestamp": stamp.to_string(), "message": message});
            let namespace = notice.about.namespace.clone();
            return Some(EventWrite::Count { namespace, name: series.name.clone(), patch });
        }
        let name = Text::from(format!("{}.{:x}", notice.about.name, unique(now, count)));
        self.told.insert(told, Series { name: name.clone(), count: 1, last: now });
        Some(EventWrite::Create(document(notice, &name, &message, stamp)))
    }

    /// Takes from the burst, if there is something left.
    fn may_send(&mut self, now: Time) -> bool {
        let full_at = self.full_at.max(now).plus(REFILL);
        let ahead = full_at.since(now).0;
        if ahead > REFILL.0 * BURST {
            return false;
        }
        self.full_at = full_at;
        true
    }
}

fn unique(now: Time, count: u64) -> u64 {
    u64::try_from(now.0).unwrap_or(0).wrapping_mul(1_000_000).wrapping_add(count % 1_000_000)
}

fn document(notice: &Notice, name: &str, message: &str, stamp: Stamp) -> Value {
    let about = &notice.about;
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": &*about.namespace},
        "involvedObject": {
            "apiVersion": about.kind.api_version(),
            "kind": about.kind.name(),
            "namespace": &*about.namespace,
            "name": &*about.name,
            "uid": &*notice.uid,
        },
        "reason": &*notice.reason,
        "message": message,
        "type": if notice.warning { "Warning" } else { "Normal" },
        "count": 1,
        "firstTimestamp": stamp.to_string(),
        "lastTimestamp": stamp.to_string(),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": "",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_api::object::Kind;

    fn notice(name: &str, message: &str) -> Notice {
        Notice {
            about: Key::new(Kind::Rollout, "n", name),
            uid: "u".into(),
            warning: false,
            reason: "ScalingReplicaSet".into(),
            message: message.into(),
        }
    }

    fn all(book: &mut EventBook, now: Time) -> Vec<EventWrite> {
        std::iter::from_fn(|| book.next(now)).collect()
    }

    #[test]
    fn the_same_event_again_is_counted() {
        let mut book = EventBook::default();
        let now = Time(1_000_000);
        book.add(notice("a", "x"), now);
        book.add(notice("a", "x"), now);
        let sent = all(&mut book, now);
        let [EventWrite::Create(event), EventWrite::Count { name, patch, .. }] = &sent[..] else {
            panic!("one event and one more of it: {sent:?}")
        };
        assert_eq!(event["metadata"]["name"], **name);
        assert_eq!(event["type"], "Normal");
        assert_eq!(event["involvedObject"]["kind"], "Rollout");
        assert_eq!(patch["count"], 2);
    }

    #[test]
    fn a_storm_about_one_object_does_not_keep_the_others_waiting() {
        let mut book = EventBook::default();
        let now = Time(0);
        for i in 0..40 {
            book.add(notice("loud", &i.to_string()), now);
        }
        book.add(notice("quiet", "hello"), now);
        let sent = all(&mut book, now);
        let about = |write: &EventWrite| match write {
            EventWrite::Create(event) => event["involvedObject"]["name"].as_str().unwrap_or("").to_owned(),
            EventWrite::Count { name, .. } => name.split('.').next().unwrap_or("").to_owned(),
        };
        assert_eq!(about(&sent[1]), "quiet", "second, not forty-first");
        assert_eq!(sent.iter().filter(|write| about(write) == "loud").count(), 25, "the burst and no more");
        let later = now.plus(REFILL);
        book.add(notice("loud", "later"), later);
        assert_eq!(all(&mut book, later).len(), 1);
    }

    #[test]
    fn from_the_eleventh_similar_event_one_stands_for_the_rest() {
        let mut book = EventBook::default();
        for i in 0..12 {
            book.add(notice("a", &i.to_string()), Time(0));
        }
        let sent = all(&mut book, Time(0));
        let EventWrite::Create(event) = &sent[10] else { panic!("a new event for the rest: {:?}", sent[10]) };
        assert_eq!(event["message"], "(combined from similar events): 10");
        assert!(matches!(&sent[11], EventWrite::Count { patch, .. } if patch["count"] == 2));
    }
}
