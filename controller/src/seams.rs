//! The doors to the outside. Read this first.
//!
//! The brain does no I/O. The manager is a state machine: it takes one [`Event`] at a time and, while it handles it,
//! may start calls through [`Cluster`] and [`Metrics`] and set its alarm through [`Clock`]. Nothing waits: the outcome of what was
//! started comes back later as another event. `sim` opens the doors onto an invented cluster; a live adapter opens
//! the same ones onto a real API server. [`Metrics`] carries questions to everybody else in the same way: to metric
//! providers, and to the control planes of load balancers.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::Time;

use crate::plan::{Guard, Notice, Verb};
pub use crate::question::{Question, Reply};

/// Names a call between its start and its answer. Given by the manager, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);

/// What the controller may ask of Kubernetes.
pub trait Cluster {
    /// Starts one API call. Its outcome arrives later as [`Event::Answered`].
    fn start(&mut self, id: CallId, call: ApiCall);
    /// From now on, this kind is watched too: its list and its changes come as events. The manager asks once
    /// for each, beyond those of [`crate::manager::WATCHED`], which are watched from the start.
    fn watch(&mut self, kind: Kind);
    /// Told that a pass over this key begins, and since when it was due. For metrics and logs; changes nothing.
    fn began(&mut self, _key: &Key, _due: Time) {}
    /// Told that the pass over this key is over.
    fn ended(&mut self, _key: &Key, _failed: bool) {}
}

/// What time it is, and an alarm.
pub trait Clock {
    /// The time of this instant.
    fn now(&self) -> Time;
    /// Asks for [`Event::Woken`] at this time, in place of any earlier wish. While an event is handled the alarm is
    /// set anew or not at all: without a call there is none. One that rings too early is harmless.
    fn wake_at(&mut self, at: Time);
}

/// Carries questions to the outside world. What comes back is not interpreted on the way.
pub trait Metrics {
    /// Starts carrying one question. Its reply arrives later as [`Event::Replied`].
    fn ask(&mut self, id: CallId, question: Question);
}

/// All doors together.
pub trait Seams: Cluster + Clock + Metrics {}
impl<T: Cluster + Clock + Metrics> Seams for T {}

/// One request to the API server.
#[derive(Clone, PartialEq, Debug)]
pub enum ApiCall {
    /// Change something.
    Write {
        /// Which object.
        key: Key,
        /// What must be true of it.
        guard: Guard,
        /// What to do.
        verb: Verb,
    },
    /// Read the object as it is now, not as a cache remembers it.
    Get(Key),
    /// Record a Kubernetes event. Nobody waits for the outcome, and nothing is done about a failure.
    Record(Notice),
}

/// What the manager is told.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A watch showed this version of an object.
    Seen(Arc<Object>),
    /// A watch showed that an object is gone, with the last version it had.
    Gone(Arc<Object>),
    /// A list of a kind is complete: every object of that kind that is not among these keys is gone.
    /// Nothing is decided before each kind that it could depend on was listed once.
    Listed(Kind, BTreeSet<Key>),
    /// The API server does not serve a kind that was asked for with [`Cluster::watch`]. Should it do so later, a list
    /// follows.
    Unserved(Kind),
    /// A call has an outcome.
    Answered(CallId, Answer),
    /// A question has a reply.
    Replied(CallId, Reply),
    /// The alarm rang.
    Woken,
}

/// The outcome of a call.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// It was done. The object as stored now; nothing after a deletion or an eviction.
    Done(Option<Arc<Object>>),
    /// It was not done.
    Refused(ApiError),
    /// It may or may not have been done; the next look will tell.
    Lost,
}

/// Why the API server refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApiError {
    /// 409: the object is not in the version (or of the identity) the write was computed from.
    #[error("{0}")]
    Conflict(Text),
    /// 404
    #[error("{0}")]
    NotFound(Text),
    /// 409: an object of this name exists.
    #[error("{0}")]
    AlreadyExists(Text),
    /// 422: the object would be invalid.
    #[error("{0}")]
    Invalid(Text),
    /// 403: not allowed, by rights or by an admission webhook.
    #[error("{0}")]
    Forbidden(Text),
    /// 429: too many requests, or a disruption budget forbids an eviction.
    #[error("{0}")]
    TooMany(Text),
    /// 5xx, or no connection: certainly not done.
    #[error("{0}")]
    Unavailable(Text),
}
