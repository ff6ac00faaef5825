//! Named switches that take one guard away.
//!
//! An invariant that has never fired proves nothing. For each one the simulator runs the real manager through a
//! scenario with one of these switches on, and that invariant must be the first to speak. No flag, file or
//! environment variable reaches them: they are set by tests only.

/// A guard that is taken away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sabotage {
    /// Writes carry no precondition.
    NoPreconditions,
    /// A canary shrinks sets as if every pod could be missing.
    ScaleDownWithoutBudget,
    /// The active Service is switched before the new pods are available.
    SwitchBeforeAvailable,
    /// An abort is not carried into the status.
    ForgetAbort,
    /// A pause step is done at once.
    SkipPause,
}
