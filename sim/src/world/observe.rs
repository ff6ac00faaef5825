//! Watching a run: what happened, who did it, and one number that stands for all of it.

use std::sync::Arc;

use tidegate_api::object::{Body, Key, Kind, Object, SetStatus, Strings};
use tidegate_api::time::Time;
use tidegate_controller::plan::Notice;
use tidegate_controller::seams::{Answer, ApiCall, ApiError, CallId, Question, Reply};

use super::World;
use crate::dice::mix;
use crate::metrics::Source;

/// Is told everything that happens, right after it happened. It can look, but not touch.
pub trait Observer {
    /// Something happened; `world` is the state right after it.
    fn saw(&mut self, world: &World, what: &Happened<'_>);
}

/// Nobody watches.
impl Observer for () {
    fn saw(&mut self, _world: &World, _what: &Happened<'_>) {}
}

impl<T: Observer + ?Sized> Observer for &mut T {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        (**self).saw(world, what);
    }
}

impl<T: Observer + ?Sized> Observer for Box<T> {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        (**self).saw(world, what);
    }
}

impl<T: Observer> Observer for Vec<T> {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        for observer in self {
            observer.saw(world, what);
        }
    }
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        self.0.saw(world, what);
        self.1.saw(world, what);
    }
}

/// A function that watches.
pub struct Watching<F>(pub F);

impl<F: FnMut(&World, &Happened<'_>)> Observer for Watching<F> {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        (self.0)(world, what);
    }
}

/// Who wrote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Writer {
    /// The controller under test.
    Controller,
    /// A person, or a program of theirs.
    User,
    /// The ReplicaSet controller.
    ReplicaSets,
    /// The Deployment controller.
    Deployments,
    /// The kubelets.
    Pods,
    /// A HorizontalPodAutoscaler.
    Autoscaler,
    /// The garbage collector.
    Garbage,
    /// Was there before the run.
    Beginning,
    /// The controllers of routers.
    Routers,
    /// The Job controller.
    Jobs,
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Happened<'a> {
    /// The API server accepted a write that changed something.
    Stored {
        /// Who wrote.
        by: Writer,
        /// The object before, unless it is new.
        before: Option<&'a Arc<Object>>,
        /// The object now, unless it is gone.
        after: Option<&'a Arc<Object>>,
        /// The controller's call that did it.
        call: Option<CallId>,
    },
    /// The API server refused a write.
    Refused {
        /// Who wrote.
        by: Writer,
        /// Which object.
        key: &'a Key,
        /// Why.
        error: &'a ApiError,
        /// The controller's call.
        call: Option<CallId>,
    },
    /// A metric provider was asked, and this is what it answers.
    Measured {
        /// What was asked.
        question: &'a Question,
        /// What comes back.
        reply: &'a Reply,
        /// Who says so.
        source: &'a Source,
    },
    /// The controller started a call.
    Started(CallId, &'a ApiCall),
    /// The controller took the outcome of a call.
    Answered(CallId, &'a Answer),
    /// The controller recorded an event.
    Recorded(&'a Notice),
    /// A watch showed the controller one object: changed, or gone.
    Delivered {
        /// The object.
        object: &'a Arc<Object>,
        /// Whether it is gone.
        gone: bool,
    },
    /// A watch showed the controller everything of a kind.
    Listed(&'a Kind),
    /// Proxies took an object over: a route, or the endpoints of a Service.
    Applied(&'a Key),
    /// How the world behaves has changed.
    Turned,
    /// The controller's alarm rang.
    Alarm,
    /// The controller died.
    Crashed,
    /// The controller was started, knowing nothing.
    Restarted,
}

/// A running hash over everything that happened: equal chains mean equal runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Chain(u64);

impl Chain {
    /// The number that stands for everything so far.
    pub fn value(self) -> u64 {
        self.0
    }

    pub(super) fn link(&mut self, now: Time, tag: u64, with: u64) {
        self.0 = mix(mix(self.0, now.0.cast_unsigned()), mix(tag, with));
    }
}

pub(super) fn text(text: &str) -> u64 {
    let mut state = u64::try_from(text.len()).unwrap_or(0);
    let mut chunks = text.as_bytes().chunks_exact(8);
    for chunk in &mut chunks {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(chunk);
        state = mix(state, u64::from_le_bytes(bytes));
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    mix(state, u64::from_le_bytes(last))
}

/// What tells two versions of an object apart, cheaply: its place, its version, and what decisions read of it.
pub(super) fn digest(object: &Object) -> u64 {
    let meta = &object.meta;
    let mut state = mix(text(&meta.name), text(&meta.namespace));
    let number = |n: i64| n.cast_unsigned();
    state = mix(state, meta.resource_version);
    state = mix(state, number(meta.generation));
    state = mix(state, meta.deleting.map_or(0, |stamp| number(stamp.0)));
    match &object.body {
        Body::Rollout(body) => {
            let status = &body.status;
            state = mix(state, 1);
            state = mix(state, number(status.index().unwrap_or(-1)));
            for part in [&status.current_hash, &status.stable, &status.phase, &status.message] {
                state = mix(state, part.as_deref().map_or(0, text));
            }
            for count in [status.replicas, status.updated, status.ready, status.available] {
                state = mix(state, number(count.unwrap_or(-1)));
            }
            state = mix(state, u64::from(status.is_aborted()));
            state = mix(state, u64::try_from(status.pause_conditions().len()).unwrap_or(0));
        }
        Body::ReplicaSet(body) => {
            state = mix(state, 2);
            state = mix(state, number(body.wished()));
            state = mix(state, counts(&body.status));
            state = mix(state, strings(&meta.annotations));
        }
        Body::Pod(body) => {
            state = mix(state, 3);
            state = mix(state, u64::from(body.ready));
            state = mix(state, body.phase.as_deref().map_or(0, text));
        }
        Body::Service(body) => state = mix(mix(state, 4), strings(&body.selector)),
        Body::Deployment(body) => {
            state = mix(mix(state, 5), number(body.wished()));
            state = mix(state, counts(&body.status));
        }
        Body::AnalysisRun(body) => {
            state = mix(mix(state, 7), text(body.status.phase()));
            for result in body.status.results.iter().flatten() {
                state = mix(state, text(result.phase()));
                state = mix(state, number(result.count.unwrap_or(0)));
            }
        }
        Body::Experiment(body) => {
            state = mix(mix(state, 8), text(body.status.phase()));
            for template in body.status.templates.iter().flatten() {
                state = mix(state, text(template.status()));
                state = mix(state, number(template.available()));
            }
            for run in body.status.runs.iter().flatten() {
                state = mix(state, text(run.phase()));
            }
        }
        Body::AnalysisTemplate(_) | Body::Other(_) => state = mix(mix(state, 6), text(object.kind.name())),
    }
    state
}

fn counts(status: &SetStatus) -> u64 {
    [status.replicas, status.ready, status.available, status.observed_generation]
        .into_iter()
        .fold(0, |state, count| mix(state, count.unwrap_or(-1).cast_unsigned()))
}

fn strings(strings: &Strings) -> u64 {
    strings.iter().fold(0, |state, (key, value)| mix(mix(state, text(key)), text(value)))
}
