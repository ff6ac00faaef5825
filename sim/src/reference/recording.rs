//! A recording of the incumbent, and what differs from it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use thiserror::Error;

use super::allowed::Pattern;

type Sequence = Vec<Value>;

/// What the incumbent was seen to do in all plays of one story.
#[derive(Clone, PartialEq, Debug)]
pub struct Recording {
    /// The story's name.
    pub name: String,
    /// The story's chapter.
    pub area: String,
    /// Tracks that were the same in every play: these must be reproduced.
    pub stable: BTreeMap<String, Sequence>,
    /// Tracks that differed, with every sequence seen: one of these should come out.
    pub racy: BTreeMap<String, Vec<Sequence>>,
}

/// Why a recording cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("not a recording: {0}")]
pub struct RecordingError(String);

impl Recording {
    /// Reads a recording from its document.
    pub fn from_value(document: &Value) -> Result<Recording, RecordingError> {
        let text = |key: &str| document.get(key).and_then(Value::as_str).map(str::to_owned);
        let wrong = |what: &str, track: &str| RecordingError(format!("{what} `{track}` must be a list"));
        let tracks = |key: &str| {
            let tracks = document.get(key).and_then(Value::as_object);
            tracks.ok_or_else(|| RecordingError(format!("`{key}` must be a map of tracks")))
        };
        let sequence =
            |track: &str, value: &Value| value.as_array().cloned().ok_or_else(|| wrong("track", track));
        let mut stable = BTreeMap::new();
        for (track, value) in tracks("stable_tracks")? {
            stable.insert(track.clone(), sequence(track, value)?);
        }
        let mut racy = BTreeMap::new();
        for (track, seen) in tracks("racy_tracks")? {
            let seen = seen.as_array().ok_or_else(|| wrong("racy track", track))?;
            racy.insert(
                track.clone(),
                seen.iter().map(|one| sequence(track, one)).collect::<Result<_, _>>()?,
            );
        }
        let name = text("name").ok_or_else(|| RecordingError("`name` must be a text".to_owned()))?;
        Ok(Recording { name, area: text("area").unwrap_or_default(), stable, racy })
    }

    /// Every sequence the incumbent showed on a track; a track it never showed is the empty sequence.
    fn expected(&self, track: &str) -> Vec<Sequence> {
        let racy = self.racy.get(track).cloned();
        racy.unwrap_or_else(|| vec![self.stable.get(track).cloned().unwrap_or_default()])
    }
}

/// A track on which a play differs from the recording.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// The track.
    pub track: String,
    /// Whether the incumbent itself showed several sequences: such a difference is reported, not failed.
    pub racy: bool,
    /// Every sequence the incumbent showed.
    pub expected: Vec<Sequence>,
    /// What the play showed.
    pub got: Sequence,
}

impl Difference {
    /// Whether only words meant for people differ: events, messages, or texts called `message` inside a value.
    pub fn is_about_words(&self) -> bool {
        is_about_events(&self.track) || {
            let got = wordless(&self.got);
            self.expected.iter().any(|sequence| same_sequence(&self.track, &wordless(sequence), &got))
        }
    }
}

/// Whether a track holds events or messages rather than state.
pub fn is_about_events(track: &str) -> bool {
    track.starts_with("events/") || track.starts_with("event/") || track.ends_with("/message")
}

/// Whether a track only counts how often a specification was written. Such numbers say no more than resource versions,
/// which recordings leave out: the reference writes the user's specification back once (with `resources: {}` and the
/// like filled in), we never do, so every generation of its objects is one higher. That a status at rest has observed
/// the generation of its object is demanded by S23 instead.
pub fn counts_spec_writes(track: &str) -> bool {
    track.starts_with("final/") && track.ends_with("/observedGeneration")
}

/// What differs, in the order of the tracks' names. Tracks that match a pattern of `ignore` are left out, and those
/// that only count writes of the specification.
pub fn differences(
    recording: &Recording,
    got: &BTreeMap<String, Sequence>,
    ignore: &[Pattern],
) -> Vec<Difference> {
    let names: BTreeSet<&String> =
        recording.stable.keys().chain(recording.racy.keys()).chain(got.keys()).collect();
    let mut found = Vec::new();
    let compared =
        |track: &&String| !counts_spec_writes(track) && !ignore.iter().any(|pattern| pattern.finds(track));
    for track in names.into_iter().filter(compared) {
        let expected = recording.expected(track);
        let got = got.get(track).cloned().unwrap_or_default();
        if !expected.iter().any(|sequence| same_sequence(track, sequence, &got)) {
            found.push(Difference { track: track.clone(), racy: expected.len() > 1, expected, got });
        }
    }
    found
}

fn same_sequence(track: &str, a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b) || track == "script" && same_time_out(a, b))
}

/// Equal as JSON means it: `1` and `1.0` are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        _ => a == b,
    }
}

/// A wait that timed out is told with the wait as JSON; the order of its keys is the writer's.
fn same_time_out(a: &Value, b: &Value) -> bool {
    let wait = |step: &Value| -> Option<Value> {
        serde_json::from_str(step.as_str()?.strip_prefix("wait timed out: ")?).ok()
    };
    wait(a).is_some_and(|a| wait(b).is_some_and(|b| same(&a, &b)))
}

/// The values without any text called `message`; values that only messages told apart become one.
fn wordless(sequence: &[Value]) -> Sequence {
    fn strip(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                fields.iter().filter(|(k, _)| *k != "message").map(|(k, v)| (k.clone(), strip(v))).collect()
            }
            Value::Array(items) => items.iter().map(strip).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }
    let mut stripped: Sequence = sequence.iter().map(strip).collect();
    stripped.dedup();
    stripped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recording() -> Recording {
        Recording::from_value(&json!({"name": "n", "about": "a", "area": "canary", "plays": 3,
            "stable_tracks": {"a/phase": ["-", "Healthy"], "b": [1], "script": ["wait timed out: {\"rollout\": \"d\", \"phase\": \"P\"}"],
                "c": [[{"type": "A", "message": "one", "reason": "R"}]]},
            "racy_tracks": {"a/message": [["x"], ["x", "y"]], "sometimes": [[], [true]]}}))
        .unwrap()
    }

    fn got(tracks: Value) -> BTreeMap<String, Vec<Value>> {
        tracks
            .as_object()
            .unwrap()
            .iter()
            .map(|(track, s)| (track.clone(), s.as_array().unwrap().clone()))
            .collect()
    }

    #[test]
    fn equal_plays_have_no_differences() {
        let play = got(json!({"a/phase": ["-", "Healthy"], "b": [1.0], "a/message": ["x", "y"],
            "script": ["wait timed out: {\"phase\":\"P\",\"rollout\":\"d\"}"], "c": [[{"type": "A", "message": "one", "reason": "R"}]]}));
        assert_eq!(differences(&recording(), &play, &[]), []);
    }

    #[test]
    fn differences_tell_stable_from_racy_and_state_from_words() {
        let play = got(
            json!({"a/phase": ["-"], "a/message": ["z"], "b": [1], "more": [2], "sometimes": [false],
            "script": ["wait timed out: {\"phase\":\"Q\",\"rollout\":\"d\"}"], "c": [[{"type": "A", "message": "two", "reason": "R"}]]}),
        );
        let found = differences(&recording(), &play, &[]);
        let told: Vec<_> = found.iter().map(|d| (d.track.as_str(), d.racy, d.is_about_words())).collect();
        assert_eq!(
            told,
            [
                ("a/message", true, true),
                ("a/phase", false, false),
                ("c", false, true),
                ("more", false, false),
                ("script", false, false),
                ("sometimes", true, false),
            ]
        );
        assert_eq!(found[3].expected, [Vec::<Value>::new()]);
        let ignore = ["^a/", "script|c|more|some"].map(|p| Pattern::new(p).unwrap());
        assert_eq!(differences(&recording(), &play, &ignore), []);
    }

    #[test]
    fn values_that_only_messages_tell_apart_are_one() {
        let told = |reason: &str, message: &str| json!({"reason": reason, "message": message});
        let difference = |got: Vec<Value>| Difference {
            track: "c".to_owned(),
            racy: false,
            expected: vec![vec![told("R", "one"), told("S", "two")]],
            got,
        };
        assert!(difference(vec![told("R", "one"), told("R", "other"), told("S", "two")]).is_about_words());
        assert!(!difference(vec![told("R", "one"), told("T", "two")]).is_about_words());
    }

    #[test]
    fn absolute_generations_are_not_compared() {
        let recording = Recording::from_value(&json!({"name": "s", "area": "canary", "racy_tracks": {},
            "stable_tracks": {"final/Rollout/demo/observedGeneration": ["4"], "final/Rollout/demo/phase": ["Paused"]}}))
        .unwrap();
        let play = got(
            json!({"final/Rollout/demo/observedGeneration": ["3"], "final/Rollout/demo/phase": ["Healthy"]}),
        );
        let found = differences(&recording, &play, &[]);
        assert_eq!(found.iter().map(|d| d.track.as_str()).collect::<Vec<_>>(), ["final/Rollout/demo/phase"]);
    }

    #[test]
    fn a_track_never_shown_is_the_empty_sequence() {
        let found = differences(&recording(), &BTreeMap::new(), &[]);
        let told: Vec<_> = found.iter().map(|d| d.track.as_str()).collect();
        assert_eq!(told, ["a/message", "a/phase", "b", "c", "script"]);
    }

    #[test]
    fn events_and_messages_are_told_by_their_tracks() {
        for (track, words) in [
            ("events/Rollout/demo", true),
            ("event/Rollout/demo/RolloutPaused", true),
            ("rollout/demo/message", true),
            ("final/Rollout/demo/message", true),
            ("rollout/demo/condition/Healthy", false),
            ("rs/rev1/desired", false),
        ] {
            assert_eq!(is_about_events(track), words, "{track}");
        }
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        for document in [
            json!(null),
            json!({"name": "n"}),
            json!({"name": "n", "stable_tracks": {"a": 1}, "racy_tracks": {}}),
            json!({"stable_tracks": {}, "racy_tracks": {}}),
            json!({"name": "n", "stable_tracks": {}, "racy_tracks": {"a": [1]}}),
        ] {
            assert!(Recording::from_value(&document).is_err(), "{document}");
        }
    }
}
