//! One play as tracks: each independent thing and the sequence of distinct values it took.

use std::collections::BTreeMap;

use serde_json::Value;

use super::names::{Names, Place, first_owner, said, string, uid};
use super::states::{ABSENT, states, told_metadata};

/// One version of one object, as the API server stored it. Events are objects too, of kind `Event`.
#[derive(Clone, PartialEq, Debug)]
pub struct Sighting {
    /// When it was stored, in milliseconds since the play began.
    pub at_ms: i64,
    /// The object's kind.
    pub kind: String,
    /// Whether this is the last word: the object was deleted in this version.
    pub deleted: bool,
    /// The object, whole.
    pub object: Value,
}

/// The tracks of one play. `log` is everything that was stored, in order; `script` says how each step of the script
/// went (`wait ok`), `place` which words name the place alone.
pub fn tracks(log: &[Sighting], script: &[String], place: &Place) -> BTreeMap<String, Vec<Value>> {
    let mut names = Names::new(place);
    log.iter().for_each(|seen| names.learn(seen));
    let mut telling = Telling::new(names);
    log.iter().for_each(|seen| telling.sees(seen));
    telling.ends(log, script)
}

/// The incumbent's client library drops an object's events after the first ones, so only these are compared.
const EVENTS_KEPT: u64 = 25;
/// Kinds whose events and final status are compared.
const MAINS: [&str; 3] = ["Rollout", "AnalysisRun", "Experiment"];

type Key<'a> = (&'a str, &'a str);

struct Telling<'a> {
    names: Names,
    tracks: BTreeMap<String, Vec<Value>>,
    /// What each object showed last, so that what it no longer shows is noticed.
    shown: BTreeMap<Key<'a>, Vec<String>>,
    /// Each object's last version, nothing once it is deleted.
    last: BTreeMap<Key<'a>, Option<&'a Value>>,
    /// Every pod ever made, by uid, as first seen.
    pods: BTreeMap<&'a str, &'a Value>,
    events_of: BTreeMap<String, u64>,
    counts: BTreeMap<&'a str, i64>,
    pod_metadata: BTreeMap<String, Value>,
}

impl<'a> Telling<'a> {
    fn new(names: Names) -> Self {
        Telling {
            names,
            tracks: BTreeMap::new(),
            shown: BTreeMap::new(),
            last: BTreeMap::new(),
            pods: BTreeMap::new(),
            events_of: BTreeMap::new(),
            counts: BTreeMap::new(),
            pod_metadata: BTreeMap::new(),
        }
    }

    fn sees(&mut self, seen: &'a Sighting) {
        let object = &seen.object;
        if seen.kind == "Event" {
            if !seen.deleted {
                self.hears(object);
            }
            return;
        }
        let key = (seen.kind.as_str(), string(object, "/metadata/name"));
        self.last.insert(key, (!seen.deleted).then_some(object));
        match seen.kind.as_str() {
            "Pod" => {
                self.pods.entry(uid(object)).or_insert(object);
            }
            "Job" => {}
            _ => self.shows(key, seen),
        }
    }

    fn shows(&mut self, key: Key<'a>, seen: &'a Sighting) {
        let mut shown = states(&seen.kind, seen.deleted, &seen.object, &self.names);
        let before = self.shown.remove(&key).unwrap_or_default();
        if !seen.deleted {
            let vanished: Vec<_> =
                before.iter().filter(|track| shown.iter().all(|(t, _)| t != *track)).cloned().collect();
            shown.extend(vanished.into_iter().map(|track| (track, ABSENT.into())));
        }
        let still = shown.iter().filter(|(track, value)| value != ABSENT || !before.contains(track));
        self.shown.insert(key, still.map(|(track, _)| track.clone()).collect());
        for (track, value) in shown {
            let quiet = seen.kind == "ReplicaSet"
                && track.ends_with("/podMeta")
                && !self.metadata_changed(&track, &value);
            // How fast pods come is not the controller's doing: recordings leave out whatever counts ready ones.
            if !quiet && !track.ends_with("/ready") {
                self.add(track, value);
            }
        }
    }

    /// The first metadata of a pod template is the user's own; only what the controller makes of it is of interest.
    fn metadata_changed(&mut self, track: &str, value: &Value) -> bool {
        let first = self.pod_metadata.entry(track.to_owned()).or_insert_with(|| value.clone());
        self.tracks.contains_key(track) || value != first
    }

    fn hears(&mut self, event: &'a Value) {
        let kind = string(event, "/involvedObject/kind");
        if !MAINS.contains(&kind) {
            return;
        }
        let count = event.get("count").and_then(Value::as_i64).filter(|n| *n != 0).unwrap_or(1);
        // An event without an id is one that nobody counts on: each sighting is a new one.
        let before = if uid(event).is_empty() { None } else { self.counts.insert(uid(event), count) };
        let who = format!("{kind}/{}", self.names.text(string(event, "/involvedObject/name")));
        let told = self.events_of.entry(who.clone()).or_default();
        *told += 1;
        if count <= before.unwrap_or(0) || *told > EVENTS_KEPT {
            return;
        }
        let reason = string(event, "/reason");
        let message = said(&self.names, string(event, "/message"));
        self.add(format!("events/{who}"), reason.into());
        self.add(format!("event/{who}/{reason}"), message.into());
    }

    fn add(&mut self, track: String, value: Value) {
        let values = self.tracks.entry(track).or_default();
        if values.last() != Some(&value) {
            values.push(value);
        }
    }

    fn ends(mut self, log: &'a [Sighting], script: &[String]) -> BTreeMap<String, Vec<Value>> {
        let script = script.iter().map(|step| self.names.text(step).into()).collect();
        self.tracks.insert("script".to_owned(), script);
        self.final_status();
        self.pods_by_revision(log);
        let jobs = self.last.iter().filter(|((kind, _), object)| *kind == "Job" && object.is_some()).count();
        if jobs > 0 {
            self.tracks.insert("jobs/left".to_owned(), vec![jobs.into()]);
        }
        self.tracks
    }

    fn final_status(&mut self) {
        for ((kind, name), object) in &self.last {
            let (true, Some(object)) = (MAINS.contains(kind), object) else { continue };
            let Some(Value::Object(mut status)) = object.get("status").map(|status| self.names.tree(status))
            else {
                continue;
            };
            if let Some(Value::Array(conditions)) = status.get_mut("conditions") {
                conditions.sort_by(|a, b| string(a, "/type").cmp(string(b, "/type")));
            }
            let name = self.names.text(name);
            for (field, value) in status {
                self.tracks.insert(format!("final/{kind}/{name}/{field}"), vec![value]);
            }
        }
    }

    fn pods_by_revision(&mut self, log: &'a [Sighting]) {
        let sets = log.iter().filter(|seen| seen.kind == "ReplicaSet");
        let revision: BTreeMap<&str, String> = sets
            .map(|seen| (string(&seen.object, "/metadata/name"), self.names.of_set(&seen.object)))
            .collect();
        let alive: BTreeMap<&str, &Value> = self
            .last
            .iter()
            .filter_map(|((kind, _), pod)| pod.filter(|_| *kind == "Pod"))
            .map(|pod| (uid(pod), pod))
            .collect();
        let mut made: BTreeMap<&str, u64> = BTreeMap::new();
        let mut kept: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
        for (id, pod) in &self.pods {
            let owner = first_owner(pod).filter(|owner| string(owner, "/kind") == "ReplicaSet");
            let Some(revision) = owner.and_then(|owner| revision.get(string(owner, "/name"))) else {
                continue;
            };
            *made.entry(revision).or_default() += 1;
            if let Some(now) = alive.get(id) {
                let metadata = told_metadata(now.get("metadata"), &self.names);
                kept.entry(revision).or_default().insert(metadata.to_string(), metadata);
            }
        }
        for (revision, count) in made {
            self.tracks.insert(format!("pods/{revision}/made"), vec![count.into()]);
        }
        for (revision, metadata) in kept {
            self.tracks.insert(format!("pods/{revision}/finalMeta"), metadata.into_values().collect());
        }
    }
}
