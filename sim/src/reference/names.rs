//! Lasting names for what differs from play to play: pod-template hashes, the namespace, times, ids.
//!
//! Two plays of one story never agree on a hash or a time, so nothing could be compared as stored. A ReplicaSet's hash
//! is replaced by the revision it was born with (`rev1`; `NAME.rev1` for a second Rollout; `rev1+` when the same
//! template came back as a new revision), a Deployment's by `set1`, an Experiment's by `hash(NAME)`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::tracks::Sighting;

/// The label with which the rollout controller marks the pods of one template.
pub(super) const HASH: &str = "rollouts-pod-template-hash";
/// The annotation that holds a ReplicaSet's revision.
pub(super) const REVISION: &str = "rollout.argoproj.io/revision";

/// Where a story is played. Both words are replaced wherever they occur, so they must occur nowhere by chance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The namespace; becomes `NS`.
    pub namespace: String,
    /// The address of the scripted metrics, without a path; becomes `$WEB`.
    pub metrics: String,
}

impl Place {
    /// A place for one story of that name: a namespace that no object mentions by chance.
    pub fn of_story(name: &str) -> Place {
        Place {
            namespace: format!("{}-story", name.replace('_', "-")),
            metrics: "http://metrics.invalid".to_owned(),
        }
    }

    /// The value for `$WEB` in a story's objects.
    pub fn web(&self) -> String {
        format!("{}/{}", self.metrics, self.namespace)
    }

    fn words(&self) -> Vec<(String, String)> {
        [(self.web(), "$WEB"), (self.metrics.clone(), "$WEB"), (self.namespace.clone(), "NS")]
            .into_iter()
            .filter(|(word, _)| !word.is_empty() && word != "/")
            .map(|(word, name)| (word, name.to_owned()))
            .collect()
    }
}

/// What the log so far says about names. Later sightings may add names, never change them.
#[derive(Clone, Debug)]
pub struct Names {
    place: Vec<(String, String)>,
    /// Hash -> name, in the order in which they were learned: replacing happens in this order.
    hashes: Vec<(String, String)>,
    /// uid of a ReplicaSet -> name.
    sets: BTreeMap<String, String>,
    first_rollout: Option<String>,
}

impl Names {
    /// Knows only where the story is played.
    pub fn new(place: &Place) -> Names {
        Names { place: place.words(), hashes: Vec::new(), sets: BTreeMap::new(), first_rollout: None }
    }

    /// Learns from one version of an object; only ReplicaSets teach anything.
    pub fn learn(&mut self, seen: &Sighting) {
        if seen.kind != "ReplicaSet" {
            return;
        }
        let object = &seen.object;
        let owner = first_owner(object);
        let owner_kind = owner.map_or("", |o| string(o, "/kind"));
        if let Some(plain) = label(object, "pod-template-hash")
            && owner_kind == "Deployment"
            && self.name_of(plain).is_none()
        {
            let nth = 1 + self.hashes.iter().filter(|(_, name)| name.starts_with("set")).count();
            self.hashes.push((plain.to_owned(), format!("set{nth}")));
        }
        let Some(hash) = label(object, HASH) else { return };
        if self.sets.contains_key(uid(object)) {
            return;
        }
        let name = match (owner_kind, annotation(object, REVISION)) {
            ("Rollout", Some(revision)) => {
                self.name_of_revision(owner.map_or("", |o| string(o, "/name")), revision, hash)
            }
            ("Experiment", _) => {
                let name = string(object, "/metadata/name").to_owned();
                self.name_hash(hash, format!("hash({})", self.text(&name)));
                name
            }
            _ => return,
        };
        self.sets.insert(uid(object).to_owned(), name);
    }

    fn name_of_revision(&mut self, rollout: &str, revision: &str, hash: &str) -> String {
        let first = self.first_rollout.get_or_insert_with(|| rollout.to_owned());
        let name =
            if first == rollout { format!("rev{revision}") } else { format!("{rollout}.rev{revision}") };
        match self.name_of(hash) {
            Some(known) if known != name => format!("{known}+"),
            _ => {
                self.name_hash(hash, name.clone());
                name
            }
        }
    }

    fn name_of(&self, hash: &str) -> Option<&str> {
        self.hashes.iter().find(|(word, _)| word == hash).map(|(_, name)| name.as_str())
    }

    fn name_hash(&mut self, hash: &str, name: String) {
        if self.name_of(hash).is_none() {
            self.hashes.push((hash.to_owned(), name));
        }
    }

    /// The text with every passing word replaced.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (word, name) in self.place.iter().chain(&self.hashes) {
            if !word.is_empty() && text.contains(word.as_str()) {
                text = text.replace(word.as_str(), name);
            }
        }
        for (pattern, name) in MASKS.iter() {
            if pattern.is_match(&text) {
                text = pattern.replace_all(&text, *name).into_owned();
            }
        }
        text
    }

    /// The name of a ReplicaSet: its revision, or its own name when it has none.
    pub fn of_set(&self, replica_set: &Value) -> String {
        self.text(
            self.sets.get(uid(replica_set)).map_or(string(replica_set, "/metadata/name"), String::as_str),
        )
    }

    /// The value with every text in it replaced, without what differs between any two plays.
    pub fn tree(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .iter()
                .filter(|(key, _)| !FORGOTTEN.contains(&key.as_str()))
                .map(|(key, value)| {
                    let value =
                        if key.ends_with("DurationSeconds") { Value::from("N") } else { self.tree(value) };
                    (self.text(key), value)
                })
                .collect(),
            Value::Array(items) => items.iter().map(|item| self.tree(item)).collect(),
            Value::String(text) => self.text(text).into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

/// An event's message in lasting words; a message that stands for several similar ones reads as one of them.
pub(super) fn said(names: &Names, message: &str) -> String {
    let message = names.text(message);
    let message = message.strip_prefix("(combined from similar events): ").unwrap_or(&message);
    DURATION.replace_all(message, "DURATION").into_owned()
}

/// Fields whose values mean nothing in another play.
const FORGOTTEN: [&str; 5] =
    ["resourceVersion", "uid", "managedFields", "creationTimestamp", "currentStepHash"];

/// In this order: a time inside another text must be gone before ids and addresses are looked for.
static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let date = "[0-9]{4}-[0-9]{2}-[0-9]{2}";
    let clock = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?";
    let hex = "[0-9a-f]";
    let local = r"127\.0\.0\.1:[0-9]+";
    [
        (format!("{date}T{clock}(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})"), "TIME"),
        (format!(r"{date} {clock} [+-][0-9]{{4}} [0-9A-Za-z_]+(?: m=[+-][0-9.]+)?"), "TIME"),
        (format!("{hex}{{8}}-{hex}{{4}}-{hex}{{4}}-{hex}{{4}}-{hex}{{12}}"), "UID"),
        (format!("{local}(?:->{local})?"), "ADDR"),
    ]
    .map(|(pattern, name)| (Regex::new(&pattern).expect("a fixed pattern is valid"), name))
    .into()
});

static DURATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?-u:\b)(?:[0-9]+h)?(?:[0-9]+m)?[0-9]+(?:\.[0-9]+)?(?:s|ms|µs)(?-u:\b)")
        .expect("a fixed pattern is valid")
});

// ---- looking into objects

/// The text at a JSON pointer, or nothing.
pub(super) fn string<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The value at a JSON pointer; `null` is the same as nothing.
pub(super) fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    object.pointer(pointer).filter(|value| !value.is_null())
}

/// The items of the list at a JSON pointer, none when there is no list.
pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What tells an object from another one of the same name.
pub(super) fn uid(object: &Value) -> &str {
    string(object, "/metadata/uid")
}

/// A label's value.
pub(super) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str().filter(|value| !value.is_empty())
}

/// An annotation's value.
pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// The first owner reference.
pub(super) fn first_owner(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences").first()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(uid: &str, name: &str, hash: &str, owner: &str, revision: Option<&str>) -> Sighting {
        let mut object = json!({"metadata": {"name": name, "uid": uid, "labels": {HASH: hash},
            "ownerReferences": [{"kind": "Rollout", "name": owner}]}});
        if let Some(revision) = revision {
            object["metadata"]["annotations"] = json!({REVISION: revision});
        }
        Sighting { at_ms: 0, kind: "ReplicaSet".into(), deleted: false, object }
    }

    fn names(log: &[Sighting]) -> Names {
        let mut names = Names::new(&Place::of_story("some_story"));
        log.iter().for_each(|seen| names.learn(seen));
        names
    }

    #[test]
    fn what_passes_is_masked() {
        let names = names(&[]);
        for (text, masked) in [
            ("at 2026-01-02T03:04:05Z, 2026-01-02T03:04:05.25+01:00", "at TIME, TIME"),
            ("until 2026-01-02 03:04:05.123 +0000 UTC m=+12.5 or so", "until TIME or so"),
            ("id 01234567-89ab-cdef-0123-456789abcdef.", "id UID."),
            ("dial 127.0.0.1:80->127.0.0.1:1234: refused", "dial ADDR: refused"),
            ("get http://metrics.invalid/some-story-story/web/x in some-story-story", "get $WEB/web/x in NS"),
            ("nothing 12:30, 2026-01-02", "nothing 12:30, 2026-01-02"),
        ] {
            assert_eq!(names.text(text), masked);
        }
    }

    #[test]
    fn durations_are_masked_in_event_messages_only() {
        let names = names(&[]);
        let said = |text| said(&names, text);
        assert_eq!(said("(combined from similar events): pause: 1h2m3s"), "pause: DURATION");
        assert_eq!(
            said("took 1.5s, 20ms, 3µs, not x5s or 5sec or 4m"),
            "took DURATION, DURATION, DURATION, not x5s or 5sec or 4m"
        );
        assert_eq!(names.text("after 5s"), "after 5s");
    }

    #[test]
    fn a_hash_is_named_by_the_revision_its_set_was_born_with() {
        let names = names(&[
            set("1", "demo-aaa", "aaa", "demo", None),
            set("1", "demo-aaa", "aaa", "demo", Some("1")),
            set("2", "demo-bbb", "bbb", "demo", Some("2")),
            set("1", "demo-aaa", "aaa", "demo", Some("3")),
            set("9", "other-ccc", "ccc", "other", Some("1")),
        ]);
        assert_eq!(names.text("demo-aaa demo-bbb other-ccc"), "demo-rev1 demo-rev2 other-other.rev1");
        assert_eq!(names.of_set(&json!({"metadata": {"uid": "9"}})), "other.rev1");
        assert_eq!(names.of_set(&json!({"metadata": {"uid": "7", "name": "stray-bbb"}})), "stray-rev2");
    }

    #[test]
    fn a_template_that_comes_back_as_a_new_set_is_told_apart() {
        let log = [
            set("1", "demo-aaa", "aaa", "demo", Some("1")),
            set("2", "demo-bbb", "bbb", "demo", Some("2")),
            set("3", "demo-aaa", "aaa", "demo", Some("3")),
            set("4", "demo-bbb", "bbb", "demo", Some("2")),
        ];
        let names = names(&log);
        let called: Vec<String> = log.iter().map(|seen| names.of_set(&seen.object)).collect();
        assert_eq!(called, ["rev1", "rev2", "rev1+", "rev2"]);
    }

    #[test]
    fn sets_of_deployments_and_experiments_have_names_of_their_own() {
        let mut log = Vec::new();
        for (uid, owner, key, hash) in [
            ("1", "Deployment", "pod-template-hash", "xx1"),
            ("2", "Deployment", "pod-template-hash", "xx2"),
            ("3", "Experiment", HASH, "yy"),
        ] {
            let object = json!({"metadata": {"name": format!("n-{hash}"), "uid": uid, "labels": {key: hash},
                "ownerReferences": [{"kind": owner, "name": "n"}]}});
            log.push(Sighting { at_ms: 0, kind: "ReplicaSet".into(), deleted: false, object });
        }
        let names = names(&log);
        assert_eq!(names.text("n-xx1 n-xx2 yy"), "n-set1 n-set2 hash(n-yy)");
        assert_eq!(names.of_set(&log[1].object), "n-set2");
    }

    #[test]
    fn trees_forget_ids_and_count_no_seconds() {
        let names = names(&[set("1", "demo-aaa", "aaa", "demo", Some("1"))]);
        let tree = names.tree(&json!({"uid": 1, "a": ["demo-aaa", 2, {"resourceVersion": "5", "totalManualPauseDurationSeconds": 7}]}));
        assert_eq!(tree, json!({"a": ["demo-rev1", 2, {"totalManualPauseDurationSeconds": "N"}]}));
    }
}
