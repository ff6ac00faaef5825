//! The swarm: a seed draws a manifest, a person's acts and a few faults; after the faults stop the world must come to
//! rest with every invariant standing.
//!
//! What is drawn is a [`Script`], as a scenario file holds it. So a failure is a file: it replays with
//! `tidegate simulate`, whatever later versions of this module draw from its seed. [`shrink`] makes it small.

mod draw;
mod fleet;
mod shrink;
mod tally;

pub use draw::{draw, draw_judged};
pub use shrink::shrink;
pub use tally::{Cell, Tally};

use std::fmt;

use crate::play::{self, Outcome, Setup};
use crate::scenario::{Script, Verb};

/// One life of the swarm.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// The whole story.
    pub script: Script,
    /// `canary`, `rolling` or `blue-green`.
    pub strategy: &'static str,
    /// What else is special: `adopted`, `workload_never`, `min_ready`, `hpa`; `background`, `inline`, `experiment` or `gate`
    /// where the update is judged; `plain` when nothing is.
    pub traits: Vec<&'static str>,
    /// How pods of the second version are: `late`, `flaps`, `never`.
    pub pods: Option<&'static str>,
}

impl Case {
    /// What a person does, by name.
    pub fn verbs(&self) -> Vec<&'static str> {
        self.script.when.iter().filter_map(|entry| verb(&entry.verb)).collect()
    }

    /// What goes wrong, by name; `none` when nothing does.
    pub fn faults(&self) -> Vec<&'static str> {
        let faults = self.script.when.iter().filter_map(|entry| match &entry.verb {
            Verb::Fault(fault) => Some(fault.effect()),
            _ => None,
        });
        let mut names: Vec<&'static str> = faults.chain(self.pods).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { vec!["none"] } else { names }
    }
}

fn verb(verb: &Verb) -> Option<&'static str> {
    Some(match verb {
        Verb::SetImage { image, .. } if image == "web:1" => "set_image_back",
        Verb::SetImage { .. } => "set_image",
        Verb::Simple(simple, _) => simple.name(),
        Verb::Undo { .. } => "undo",
        Verb::Scale { .. } => "scale",
        Verb::RestartController => "restart_controller",
        _ => return None,
    })
}

/// What a life came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Lived {
    /// Why it failed, and the story that shows it, if it did.
    pub failure: Option<(Failure, Script)>,
    /// Whether a version was really rolled out.
    pub updated: bool,
    /// What it took.
    pub effort: Effort,
    /// The chain over everything that happened.
    pub chain: u64,
}

/// What it took to play a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effort {
    /// Events of the world.
    pub events: u64,
    /// Passes of the last controller.
    pub passes: u64,
    /// Questions that invariants answered.
    pub checks: u64,
}

impl Effort {
    /// What this life took.
    pub fn of(life: &play::Life) -> Effort {
        let controller = life.world.controller();
        Effort {
            events: life.world.events(),
            passes: controller.map_or(0, |controller| controller.manager.stats().passes),
            checks: life.outcome.checks,
        }
    }
}

/// Why a life failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The invariant that did not hold; `rest` when the world did not come to rest, `setup` when it never began.
    pub what: &'static str,
    /// What was seen.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.message)
    }
}

/// Lives a case.
pub fn live(case: &Case, setup: Setup) -> Lived {
    let life = play::live(&case.script, Setup { silent: true, ..setup });
    let (effort, outcome) = (Effort::of(&life), &life.outcome);
    let failure = failure_of(outcome).map(|failure| {
        // What was promoted on the way becomes part of the story.
        let mut script = case.script.clone();
        script.when.extend(life.promoted.iter().cloned());
        script.promote_after = None;
        (failure, script)
    });
    Lived { failure, updated: life.updated, effort, chain: outcome.hash }
}

/// Why a played script failed, if it did.
pub fn failure_of(outcome: &Outcome) -> Option<Failure> {
    if let Some(violation) = outcome.violations.first() {
        return Some(Failure { what: violation.id, message: violation.message.clone() });
    }
    let message = outcome.failures.first()?.message.clone();
    Some(Failure { what: if outcome.at_rest { "setup" } else { "rest" }, message })
}
