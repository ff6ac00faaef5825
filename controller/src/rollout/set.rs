//! A ReplicaSet of the rollout, with the questions that decisions ask of it.

use std::sync::Arc;

use tidegate_api::object::{Object, ReplicaSetBody};
use tidegate_api::time::Stamp;

use super::scale::Count;
use crate::names::{DESIRED_REPLICAS, HASH_LABEL, REVISION, SCALE_DOWN_DEADLINE};

/// A ReplicaSet.
#[derive(Clone, Debug)]
pub struct Set(Arc<Object>);

/// The scale-down deadline of a ReplicaSet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadline {
    /// It has none.
    None,
    /// At this time.
    At(Stamp),
    /// The annotation is there, but it is no time.
    Unreadable,
}

impl Set {
    /// The ReplicaSet in an object, if it is one.
    pub fn new(object: Arc<Object>) -> Option<Set> {
        object.replica_set().is_some().then_some(Set(object))
    }

    /// The object.
    pub fn object(&self) -> &Arc<Object> {
        &self.0
    }

    /// Its body.
    pub fn body(&self) -> &ReplicaSetBody {
        self.0.replica_set().expect("a Set is only made of a ReplicaSet")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.meta.name
    }

    /// The hash in its label; empty when there is none.
    pub fn hash(&self) -> &str {
        self.0.meta.labels.get(HASH_LABEL).map_or("", |hash| hash)
    }

    /// Wished pods.
    pub fn wished(&self) -> i64 {
        self.body().wished()
    }

    /// Pods that exist.
    pub fn actual(&self) -> i64 {
        self.body().status.replicas.unwrap_or(0)
    }

    /// Ready pods.
    pub fn ready(&self) -> i64 {
        self.body().status.ready.unwrap_or(0)
    }

    /// Available pods.
    pub fn available(&self) -> i64 {
        self.body().status.available.unwrap_or(0)
    }

    /// Wished and available pods.
    pub fn count(&self) -> Count {
        Count { wished: self.wished(), available: self.available() }
    }

    /// Its revision; nothing when the annotation is missing or no number.
    pub fn revision(&self) -> Option<i64> {
        self.annotation(REVISION)?.parse().ok()
    }

    /// An annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.0.meta.annotations.get(key).map(|value| &**value)
    }

    /// Wished pods of the Rollout when it was scaled last; nothing when missing or no number.
    pub fn desired(&self) -> Option<i64> {
        self.annotation(DESIRED_REPLICAS)?.parse::<i32>().ok().map(i64::from)
    }

    /// When it may be scaled down.
    pub fn deadline(&self) -> Deadline {
        match self.annotation(SCALE_DOWN_DEADLINE) {
            None | Some("") => Deadline::None,
            Some(text) => Stamp::parse(text).map_or(Deadline::Unreadable, Deadline::At),
        }
    }

    /// Whether it carries `n` pods, all available, and was scaled for `n`.
    pub fn is_saturated(&self, n: i64) -> bool {
        self.wished() == n && self.desired() == Some(n) && self.available() == n
    }

    /// Whether it has pods and all of them are available.
    pub fn is_fully_available(&self) -> bool {
        self.wished() != 0 && self.available() != 0 && self.available() >= self.wished()
    }

    /// When it was made.
    pub fn created(&self) -> Option<Stamp> {
        self.0.meta.created
    }
}
