//! A forecast as data: what is known of each row, and its JSON (`docs/plan.md` describes it).

use serde_json::{Value, json};
use tidegate_api::time::Span;

use super::asked::Asked;

/// What one update of a Rollout will do.
#[derive(Clone, PartialEq, Debug)]
pub struct Forecast {
    /// The Rollout's namespace.
    pub namespace: String,
    /// The Rollout's name.
    pub name: String,
    /// `canary` or `blueGreen`.
    pub strategy: &'static str,
    /// Pods in normal times.
    pub replicas: i64,
    /// Assumed: how long each pod takes to be ready.
    pub startup: Span,
    /// Step by step.
    pub rows: Vec<Row>,
    /// Most pods at once.
    pub peak: i64,
    /// Pods beyond `replicas`, times the seconds for which they are there.
    pub extra_pod_seconds: i64,
    /// Fewest ready pods at any moment.
    pub fewest_ready: i64,
    /// How often a person must promote or resume; assumed to be done at once.
    pub promotions: u32,
    /// The analyses that it asks, in order.
    pub asked: Vec<Asked>,
    /// How it ends.
    pub end: End,
    /// What else was assumed.
    pub notes: Vec<String>,
}

/// A step of the update, or a phase of one without steps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Which step of the strategy, from 1.
    pub step: Option<usize>,
    /// The step or phase.
    pub what: String,
    /// How long after the change it begins.
    pub at: Span,
    /// How long it takes.
    pub takes: Span,
    /// Percent of the users that the new version has, as it begins and as it ends.
    pub weight: (i64, i64),
    /// Ready pods of the stable (active) version, as it begins and as it ends.
    pub stable: (i64, i64),
    /// Ready pods of the new version (canary or preview), as it begins and as it ends.
    pub new: (i64, i64),
    /// Most pods at once.
    pub peak: i64,
    /// What ends it.
    pub waits_for: String,
    /// How often a person must promote or resume.
    pub by_hand: u32,
    /// What an abort does here.
    pub abort: Abort,
}

/// What an abort does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Abort {
    /// When it comes.
    pub at: Span,
    /// Whether it comes half-way through the row, and not as it begins.
    pub midway: bool,
    /// Whether there is nothing left to abort: the new version is the stable one already.
    pub too_late: bool,
    /// Percent of the users that the new version has, before and at rest.
    pub weight: (i64, i64),
    /// Ready pods of the stable version, before and at rest.
    pub stable: (i64, i64),
    /// Ready pods of the new version, before and at rest.
    pub new: (i64, i64),
    /// How long till nobody reaches the new version.
    pub traffic_back: Option<Span>,
    /// How long till nothing is under way, delays of the scale-down included.
    pub at_rest: Span,
    /// The Rollout's phase then.
    pub phase: String,
}

/// How an update ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// The Rollout's phase.
    pub phase: String,
    /// Its message.
    pub message: String,
    /// Whether the new version became the stable one.
    pub complete: bool,
    /// How long that takes at least.
    pub after: Span,
    /// How long till nothing is under way.
    pub at_rest: Span,
}

fn seconds(span: Span) -> i64 {
    span.0.div_euclid(1000)
}

fn from_to((from, to): (i64, i64)) -> Value {
    json!({"from": from, "to": to})
}

impl Forecast {
    /// Pods at the peak beyond `replicas`.
    pub fn extra(&self) -> i64 {
        (self.peak - self.replicas).max(0)
    }

    /// The forecast as JSON.
    pub fn to_value(&self) -> Value {
        json!({
            "namespace": self.namespace, "name": self.name, "strategy": self.strategy,
            "replicas": self.replicas,
            "assumed": {"startup_seconds": self.startup.0 as f64 / 1000.0, "promoted": "at once", "notes": self.notes},
            "rows": self.rows.iter().map(Row::to_value).collect::<Vec<_>>(),
            "peak": {"pods": self.peak, "extra": self.extra(), "extra_pod_seconds": self.extra_pod_seconds},
            "fewest_ready": self.fewest_ready,
            "promotions": self.promotions,
            "analyses": self.asked.iter().map(Asked::to_value).collect::<Vec<_>>(),
            "end": {
                "phase": self.end.phase, "message": self.end.message, "complete": self.end.complete,
                "after_seconds": seconds(self.end.after), "at_rest_seconds": seconds(self.end.at_rest),
            },
        })
    }
}

impl Row {
    /// The row as JSON.
    pub fn to_value(&self) -> Value {
        json!({
            "step": self.step, "what": self.what, "at_seconds": seconds(self.at),
            "takes_seconds": seconds(self.takes), "weight": from_to(self.weight), "stable": from_to(self.stable),
            "new": from_to(self.new), "peak": self.peak, "waits_for": self.waits_for, "promotions": self.by_hand,
            "abort": self.abort.to_value(),
        })
    }
}

impl Abort {
    /// The abort as JSON.
    pub fn to_value(&self) -> Value {
        json!({
            "at_seconds": seconds(self.at), "midway": self.midway, "too_late": self.too_late,
            "weight": from_to(self.weight), "stable": from_to(self.stable), "new": from_to(self.new),
            "traffic_back_seconds": self.traffic_back.map(seconds), "at_rest_seconds": seconds(self.at_rest),
            "phase": self.phase,
        })
    }
}
