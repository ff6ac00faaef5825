//! A cluster in memory that notes what is written to it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use tidegate_api::object::{Key, Kind};
use tidegate_api::time::Stamp;
use tidegate_live::remote::{Change, Refused, Waited, missing};

use super::change::merge;
use super::{Cluster, Desk, Failure, On, Verb, Watch};

/// The noon of all tests.
pub const NOON: &str = "2026-01-01T12:00:00Z";

/// The cluster.
#[derive(Default)]
pub struct Memory {
    objects: RefCell<BTreeMap<Key, Value>>,
    writes: RefCell<Vec<String>>,
    passed: Cell<i64>,
    /// What comes over a watch, one a wait; then time passes.
    pub coming: RefCell<VecDeque<Value>>,
    /// The CRD has no status subresource.
    pub without_status: bool,
    /// So many updates meet somebody else's.
    pub conflicts: Cell<u32>,
}

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What came of a verb.
#[derive(Debug)]
pub struct Came {
    pub out: String,
    /// The sentence after `Error:`.
    pub error: Option<String>,
    /// Requests that change something.
    pub writes: Vec<String>,
}

impl Memory {
    pub fn new(objects: impl IntoIterator<Item = Value>) -> Memory {
        let memory = Memory::default();
        objects.into_iter().for_each(|object| memory.put(object));
        memory
    }

    fn put(&self, object: Value) {
        self.objects.borrow_mut().insert(key_of(&object), object);
    }

    /// Runs a verb, its words split at blanks.
    pub fn run(&self, words: &str) -> Came {
        let arguments = Arguments::try_parse_from(["tidegate"].into_iter().chain(words.split_whitespace()));
        let verb = arguments.unwrap_or_else(|error| panic!("{words}: {error}")).verb;
        let mut out = Vec::new();
        let mut desk = Desk { cluster: self, out: &mut out, color: false };
        let error = match act(&verb, &mut desk) {
            Ok(()) => None,
            Err(Failure::Because(why)) => Some(why),
            Err(Failure::NobodyReads) => Some("nobody reads".to_owned()),
        };
        Came { out: String::from_utf8(out).expect("text"), error, writes: self.writes.take() }
    }

    fn note(&self, verb: &str, key: &Key, body: &Value) {
        let note = format!("{verb} {} {} {body}", key.kind.name(), key.name);
        self.writes.borrow_mut().push(note);
    }
}

/// Whether these words are a use of a verb.
pub fn is_use(words: &str) -> bool {
    Arguments::try_parse_from(["tidegate"].into_iter().chain(words.split_whitespace())).is_ok()
}

fn act(verb: &Verb, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Get(On { verb, .. }) => verb.run(desk),
        Verb::List(On { verb, .. }) => verb.run(desk),
        Verb::Status(On { verb, .. }) => verb.run(desk),
        Verb::Promote(On { verb, .. }) => verb.run(desk),
        Verb::Abort(On { verb, .. }) => verb.run(desk),
        Verb::Retry(On { verb, .. }) => verb.run(desk),
        Verb::Undo(On { verb, .. }) => verb.run(desk),
        Verb::Restart(On { verb, .. }) => verb.run(desk),
        Verb::Pause(On { verb, .. }) => verb.run(desk),
        Verb::Resume(On { verb, .. }) => verb.run(desk),
        Verb::Set(On { verb, .. }) => verb.run(desk),
        Verb::Terminate(On { verb, .. }) => verb.run(desk),
        Verb::Create(On { verb, .. }) => verb.run(desk),
    }
}

fn key_of(object: &Value) -> Key {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let kind = Kind::new(text("/apiVersion"), text("/kind"));
    Key::new(kind, text("/metadata/namespace"), text("/metadata/name"))
}

impl Cluster for Memory {
    fn namespace(&self) -> &str {
        "retail"
    }

    fn now(&self) -> Stamp {
        Stamp::parse(NOON).expect("a time").plus_seconds(self.passed.get())
    }

    fn get(&self, key: &Key) -> Result<Value, Refused> {
        self.objects.borrow().get(key).cloned().ok_or_else(|| missing(key))
    }

    fn list(&self, kind: &Kind, namespace: Option<&str>, _labels: &str) -> Result<Vec<Value>, Refused> {
        let objects = self.objects.borrow();
        let wanted = objects
            .iter()
            .filter(|(key, _)| key.kind == *kind && namespace.is_none_or(|n| *key.namespace == *n));
        Ok(wanted.map(|(_, object)| object.clone()).collect())
    }

    fn patch(&self, key: &Key, change: &Change) -> Result<Value, Refused> {
        let (verb, body) = match change {
            Change::Merge(body) => ("merge", body),
            Change::MergeStatus(body) => ("merge-status", body),
            Change::Json(body) => ("json", body),
        };
        self.note(verb, key, body);
        if self.without_status && verb == "merge-status" {
            return Err(missing(key));
        }
        let mut object = self.get(key)?;
        if verb != "json" {
            merge(&mut object, body);
            self.put(object.clone());
        }
        Ok(object)
    }

    fn replace(&self, key: &Key, document: &Value) -> Result<Value, Refused> {
        self.note("replace", key, document);
        if self.conflicts.get() > 0 {
            self.conflicts.set(self.conflicts.get() - 1);
            return Err(Refused::Conflict("the object has been modified".to_owned()));
        }
        Ok(document.clone())
    }

    fn create(&self, key: &Key, document: &Value) -> Result<Value, Refused> {
        self.note("create", key, document);
        let mut stored = document.clone();
        if let Some(prefix) = document["metadata"]["generateName"].as_str() {
            stored["metadata"]["name"] = Value::from(format!("{prefix}x7k2p"));
        }
        Ok(stored)
    }

    fn watch(&self, kinds: &[Kind], _namespace: Option<&str>) -> Box<dyn Watch + '_> {
        Box::new(Watching { memory: self, kinds: kinds.to_vec() })
    }
}

struct Watching<'a> {
    memory: &'a Memory,
    kinds: Vec<Kind>,
}

impl Watch for Watching<'_> {
    fn objects(&self) -> Vec<Value> {
        let objects = self.memory.objects.borrow();
        let watched = objects.iter().filter(|(key, _)| self.kinds.contains(&key.kind));
        watched.map(|(_, object)| object.clone()).collect()
    }

    fn is_complete(&self) -> bool {
        true
    }

    fn wait(&mut self, limit: Duration) -> Result<Waited, Refused> {
        let next = self.memory.coming.borrow_mut().pop_front();
        match next {
            Some(object) => {
                self.memory.put(object);
                Ok(Waited::Changed)
            }
            None if limit >= Duration::from_secs(3600) => Ok(Waited::Interrupted),
            None => {
                self.memory
                    .passed
                    .set(self.memory.passed.get() + i64::try_from(limit.as_secs()).expect("short"));
                Ok(Waited::Quiet)
            }
        }
    }
}
