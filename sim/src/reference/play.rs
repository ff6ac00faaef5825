//! One performance of a story, as far as it has come: what was seen, and which object the script's words mean.

use std::collections::BTreeMap;

use serde_json::Value;

use super::names::{Names, Place, items, string};
use super::tracks::{Sighting, tracks};

/// What one play has shown so far. Whoever plays feeds it every version of every object, in order.
#[derive(Clone, Debug)]
pub struct Play {
    place: Place,
    log: Vec<Sighting>,
    /// Kind and name -> where in the log an object's present version stands; deleted objects have none.
    now: BTreeMap<(String, String), usize>,
    names: Names,
    script: Vec<String>,
}

impl Play {
    /// A play that has not begun.
    pub fn new(place: Place) -> Play {
        let names = Names::new(&place);
        Play { place, log: Vec::new(), now: BTreeMap::new(), names, script: Vec::new() }
    }

    /// Takes the next version of an object.
    pub fn saw(&mut self, seen: Sighting) {
        self.names.learn(&seen);
        let name = string(&seen.object, "/metadata/name");
        // Events may come without a name of their own; each is a thing by itself.
        let name = if name.is_empty() { self.log.len().to_string() } else { name.to_owned() };
        let key = (seen.kind.clone(), name);
        if seen.deleted {
            self.now.remove(&key);
        } else {
            self.now.insert(key, self.log.len());
        }
        self.log.push(seen);
    }

    /// Notes how a step of the script went: `wait ok`, `create Rollout refused 422 …`.
    pub fn note(&mut self, step: impl Into<String>) {
        self.script.push(step.into());
    }

    /// Everything seen, in order.
    pub fn log(&self) -> &[Sighting] {
        &self.log
    }

    /// Where the story is played.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The lasting names known so far.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The tracks of the play as it stands.
    pub fn tracks(&self) -> BTreeMap<String, Vec<Value>> {
        tracks(&self.log, &self.script, &self.place)
    }

    /// An object as it is now.
    pub fn current(&self, kind: &str, name: &str) -> Option<&Value> {
        self.now.get(&(kind.to_owned(), name.to_owned())).map(|at| &self.log[*at].object)
    }

    /// All objects of a kind as they are now, with their names, in the order of these.
    pub fn all<'a>(&'a self, kind: &str) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        let kind = kind.to_owned();
        let of_kind =
            self.now.range((kind.clone(), String::new())..).take_while(move |((k, _), _)| *k == kind);
        of_kind.map(|((_, name), at)| (name.as_str(), &self.log[*at].object))
    }

    /// The name of the newest object of this kind whose normalised name contains the part.
    pub fn newest(&self, kind: &str, part: &str) -> Option<&str> {
        self.all(kind)
            .filter(|(name, _)| self.names.text(name).contains(part))
            .max_by_key(|(name, object)| (string(object, "/metadata/creationTimestamp"), *name))
            .map(|(name, _)| name)
    }

    /// The name of the ReplicaSet with this revision by its lasting name.
    pub fn replica_set(&self, revision: &str) -> Option<&str> {
        self.all("ReplicaSet").find(|(_, set)| self.names.of_set(set) == revision).map(|(name, _)| name)
    }

    /// The names of the pods of a revision, in order.
    pub fn pods(&self, revision: &str) -> Vec<&str> {
        let Some(set) = self.replica_set(revision) else { return Vec::new() };
        let owned = |pod: &Value| {
            items(pod, "/metadata/ownerReferences").iter().any(|owner| string(owner, "/name") == set)
        };
        self.all("Pod").filter(|(_, pod)| owned(pod)).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn play(objects: &[(&str, Value)]) -> Play {
        let mut play = Play::new(Place::of_story("story"));
        for (kind, object) in objects {
            play.saw(Sighting {
                at_ms: 0,
                kind: (*kind).to_owned(),
                deleted: object["gone"] == json!(true),
                object: object.clone(),
            });
        }
        play
    }

    #[test]
    fn words_of_the_script_find_objects() {
        let set = json!({"metadata": {"name": "demo-aaa", "uid": "s", "labels": {"rollouts-pod-template-hash": "aaa"},
            "annotations": {"rollout.argoproj.io/revision": "1"}, "ownerReferences": [{"kind": "Rollout", "name": "demo"}]}});
        let pod = |name: &str, set: &str| json!({"metadata": {"name": name, "ownerReferences": [{"kind": "ReplicaSet", "name": set}]}});
        let run = |name: &str, at: &str| json!({"metadata": {"name": name, "creationTimestamp": at}});
        let play = play(&[
            ("Pod", pod("p2", "demo-aaa")),
            ("Pod", pod("p1", "demo-aaa")),
            ("Pod", pod("p0", "other")),
            ("ReplicaSet", set),
            ("AnalysisRun", run("demo-aaa-2-b", "2026-01-01T00:00:01Z")),
            ("AnalysisRun", run("demo-aaa-2-a", "2026-01-01T00:00:02Z")),
            ("Pod", json!({"metadata": {"name": "p2"}, "gone": true})),
        ]);
        assert_eq!(play.replica_set("rev1"), Some("demo-aaa"));
        assert_eq!(play.replica_set("rev2"), None);
        assert_eq!(play.pods("rev1"), ["p1"]);
        assert_eq!(play.newest("AnalysisRun", "rev1-2"), Some("demo-aaa-2-a"));
        assert_eq!(play.newest("AnalysisRun", "rev3"), None);
        assert!(play.current("Pod", "p2").is_none());
    }
}
