//! What a decision looks like: a value that can be printed, compared, explained, and carried out one write at a time.

use std::fmt;
use std::sync::Arc;

use tidegate_api::object::{Key, Object, Text};
use tidegate_api::time::Time;

use crate::edit::Edit;
use crate::question::Question;

/// Everything one pass decided. Carrying it out twice is the same as carrying it out once.
#[must_use]
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// In order; the pass stops at the first one that fails. The status comes last. A plan ends at a write whose
    /// result matters to what would follow (a new ReplicaSet, an adoption): the next pass goes on from there.
    pub writes: Vec<Write>,
    /// When to look again if nothing moves.
    pub wake: Wake,
    /// The trail: why it was decided so.
    pub reasons: Vec<Reason>,
    /// What must be asked before anything can be decided; a plan with needs has no writes.
    pub needs: Vec<Need>,
    /// Events that go out when the pass has ended, whether or not it wrote anything: what others said when asked.
    pub told: Vec<Notice>,
    /// Whoever was asked is not to be asked again before this time. Kept in memory alone: a process that begins asks at
    /// once.
    pub patience: Option<Time>,
    /// The pass could not do its work for this reason and is to be tried again with back-off.
    pub failure: Option<Text>,
}

/// One write, and what to tell people once it is done.
#[derive(Clone, PartialEq, Debug)]
pub struct Write {
    /// Which object.
    pub key: Key,
    /// What must be true of it.
    pub guard: Guard,
    /// What to do.
    pub verb: Verb,
    /// Kubernetes events to record when it was done.
    pub notices: Vec<Notice>,
    /// What a refusal means for the rest of the plan.
    pub if_refused: IfRefused,
}

/// A precondition of a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Guard {
    /// There must be no object of this name.
    Absent,
    /// The object must be this one, in this version.
    Version {
        /// Identity.
        uid: Text,
        /// Version the write was computed from.
        resource_version: u64,
    },
    /// The object must be this one, in any version (an eviction or deletion of a pod).
    Identity(Text),
}

/// What a write does.
#[derive(Clone, PartialEq, Debug)]
pub enum Verb {
    /// Makes the object.
    Create(Arc<Object>),
    /// Changes fields. Edits of the status go to the status subresource and stand alone.
    Edit(Vec<Edit>),
    /// Deletes the object in the background.
    Delete,
    /// Evicts a pod, if disruption budgets allow.
    Evict,
}

/// What a refusal means for the rest of the plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IfRefused {
    /// The pass ends and is tried again. The rule.
    #[default]
    Stop,
    /// The rest is done all the same, and the pass is tried again afterwards (a side task may not stop the main path).
    GoOn,
    /// The pass looks again at once, knowing what was said: the refusal is the outcome of what was asked. One that may
    /// pass by itself (no connection, too many requests) is treated as [`IfRefused::Stop`].
    Tell,
    /// Expected (a disruption budget says no): no failure, and the pass looks again at once, knowing that.
    Accept,
}

/// When to look again if nothing moves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Wake {
    /// At this time.
    At(Time),
    /// Only when something changes.
    #[default]
    OnChange,
}

impl Wake {
    /// The earlier of the two.
    pub fn or_at(self, at: Time) -> Wake {
        match self {
            Wake::At(known) if known <= at => self,
            _ => Wake::At(at),
        }
    }
}

/// A fact from outside that a decision cannot do without.
#[derive(Clone, PartialEq, Debug)]
pub enum Need {
    /// The object as the API server has it now.
    Live(Key),
    /// The reply to a question, asked for this metric of an analysis run. All of them are asked together.
    Reply(Text, Box<Question>),
}

/// Something worth telling people: becomes a Kubernetes event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// About which object.
    pub about: Key,
    /// Its identity.
    pub uid: Text,
    /// Whether something went wrong.
    pub warning: bool,
    /// One word for programs.
    pub reason: Text,
    /// A sentence for people.
    pub message: Text,
}

/// Why something was decided, with the facts it rested on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The specification is invalid; nothing advances.
    Refused(Text),
    /// A ReplicaSet gets another size.
    Scaling {
        /// Which one.
        set: Text,
        /// From so many pods.
        from: i64,
        /// To so many.
        to: i64,
        /// Because.
        because: Text,
    },
    /// Waits for something other than time.
    WaitingFor(Text),
    /// Waits for a time.
    Until {
        /// What ends then.
        what: Text,
        /// When.
        at: Time,
    },
    /// A step is complete.
    StepDone {
        /// Which one, from 0.
        index: i64,
        /// What it did.
        what: Text,
    },
    /// The update was aborted.
    Aborted(Text),
    /// A version became stable.
    Promoted(Text),
    /// Anything else worth a line in the trail.
    Note(Text),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Refused(why) => write!(f, "refused: {why}"),
            Reason::Scaling { set, from, to, because } => write!(f, "{set} {from}→{to} because {because}"),
            Reason::WaitingFor(what) => write!(f, "waits for {what}"),
            Reason::Until { what, at } => write!(f, "{what} until {}", at.stamp()),
            Reason::StepDone { index, what } => write!(f, "step {} done: {what}", index + 1),
            Reason::Aborted(why) => write!(f, "aborted: {why}"),
            Reason::Promoted(why) => write!(f, "promoted: {why}"),
            Reason::Note(text) => f.write_str(text),
        }
    }
}
