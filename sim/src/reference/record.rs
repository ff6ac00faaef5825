//! What a run shows to the comparison: every version of every object that the API server stored, and the events.
//!
//! Stories and scenarios are recorded by the same observer, so their milestones are the same tracks.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::Object;
use tidegate_api::time::Time;
use tidegate_controller::plan::Notice;

use super::names::Place;
use super::tracks::{Sighting, tracks};
use crate::world::{Happened, Observer, World};

/// A run as it was stored. Objects are shared, so recording costs little until somebody asks for the tracks.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    begin: Time,
    seen: Vec<(Time, Seen)>,
    script: Vec<String>,
}

#[derive(Clone, PartialEq, Debug)]
enum Seen {
    Stored(Arc<Object>),
    Deleted(Arc<Object>),
    Event(Notice),
}

impl Record {
    /// A record that begins now.
    pub fn new(begin: Time) -> Record {
        Record { begin, seen: Vec::new(), script: Vec::new() }
    }

    /// Notes how a step of the script went: `set_image ok`.
    pub fn note(&mut self, step: impl Into<String>) {
        self.script.push(step.into());
    }

    /// The milestones: one track an independent thing, with the distinct values it took in order.
    pub fn tracks(&self, place: &Place) -> BTreeMap<String, Vec<Value>> {
        let log: Vec<Sighting> = self.seen.iter().map(|(at, seen)| seen.sighting(*at, self.begin)).collect();
        tracks(&log, &self.script, place)
    }
}

impl Observer for Record {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        self.seen.extend(Seen::of(what).map(|seen| (world.now(), seen)));
    }
}

/// What just happened as a sighting, if the API server stored it.
pub(super) fn sighting(world: &World, what: &Happened<'_>, begin: Time) -> Option<Sighting> {
    Seen::of(what).map(|seen| seen.sighting(world.now(), begin))
}

impl Seen {
    fn of(what: &Happened<'_>) -> Option<Seen> {
        match what {
            Happened::Stored { after: Some(after), .. } => Some(Seen::Stored(Arc::clone(after))),
            Happened::Stored { before, .. } => before.map(|before| Seen::Deleted(Arc::clone(before))),
            Happened::Recorded(notice) => Some(Seen::Event((*notice).clone())),
            _ => None,
        }
    }

    fn sighting(&self, at: Time, begin: Time) -> Sighting {
        let at_ms = at.since(begin).0;
        match self {
            Seen::Stored(object) | Seen::Deleted(object) => Sighting {
                at_ms,
                kind: object.kind.name().to_owned(),
                deleted: matches!(self, Seen::Deleted(_)),
                object: object.to_value(),
            },
            Seen::Event(notice) => {
                let involved = json!({"kind": notice.about.kind.name(), "name": &*notice.about.name,
                    "namespace": &*notice.about.namespace, "uid": &*notice.uid});
                let object = json!({"involvedObject": involved, "reason": &*notice.reason,
                    "message": &*notice.message, "type": if notice.warning { "Warning" } else { "Normal" }});
                Sighting { at_ms, kind: "Event".to_owned(), deleted: false, object }
            }
        }
    }
}
