//! What lives of the swarm covered.

use std::collections::BTreeMap;
use std::fmt;

use super::{Case, Effort, Lived};

/// A cell of a table.
pub type Cell = (&'static str, &'static str, &'static str);

/// The sum of many lives.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// How many.
    pub lives: u64,
    /// Of which rolled a version out.
    pub updated: u64,
    /// What they took.
    pub effort: Effort,
    /// How many failed.
    pub failed: u64,
    /// Strategy × verb × fault.
    pub faults: BTreeMap<Cell, u64>,
    /// Strategy × verb × what else is special.
    pub traits: BTreeMap<Cell, u64>,
}

impl Tally {
    /// Adds a life.
    pub fn add(&mut self, case: &Case, lived: &Lived) {
        self.lives += 1;
        self.updated += u64::from(lived.updated);
        self.failed += u64::from(lived.failure.is_some());
        self.effort.events += lived.effort.events;
        self.effort.passes += lived.effort.passes;
        self.effort.checks += lived.effort.checks;
        let mut verbs = case.verbs();
        verbs.sort_unstable();
        verbs.dedup();
        let faults = case.faults();
        for verb in verbs {
            for fault in &faults {
                *self.faults.entry((case.strategy, verb, fault)).or_default() += 1;
            }
            for special in &case.traits {
                *self.traits.entry((case.strategy, verb, special)).or_default() += 1;
            }
        }
    }

    /// Adds the sum of others.
    pub fn join(&mut self, other: Tally) {
        self.lives += other.lives;
        self.updated += other.updated;
        self.failed += other.failed;
        self.effort.events += other.effort.events;
        self.effort.passes += other.effort.passes;
        self.effort.checks += other.effort.checks;
        for (cell, count) in other.faults {
            *self.faults.entry(cell).or_default() += count;
        }
        for (cell, count) in other.traits {
            *self.traits.entry(cell).or_default() += count;
        }
    }

    /// Cells that fewer lives than this fell into.
    pub fn thin(&self, least: u64) -> Vec<(Cell, u64)> {
        let mut thin = Vec::new();
        for table in [&self.faults, &self.traits] {
            let strategies = names(table, |cell| cell.0);
            let (verbs, columns) = (names(table, |cell| cell.1), names(table, |cell| cell.2));
            for strategy in &strategies {
                for verb in &verbs {
                    for column in &columns {
                        let cell = (*strategy, *verb, *column);
                        let count = table.get(&cell).copied().unwrap_or(0);
                        if count < least && can_be_judged(strategy, column) {
                            thin.push((cell, count));
                        }
                    }
                }
            }
        }
        thin
    }
}

/// Whether a strategy has a place for this kind of evidence; true of everything that is no evidence.
fn can_be_judged(strategy: &str, column: &str) -> bool {
    match column {
        "gate" => strategy == "blue-green",
        "background" => strategy != "blue-green",
        "inline" | "experiment" => strategy == "canary",
        _ => true,
    }
}

fn names(table: &BTreeMap<Cell, u64>, of: fn(&Cell) -> &'static str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = table.keys().map(of).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Both tables, a line for each strategy and verb.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in [&self.faults, &self.traits] {
            let columns = names(table, |cell| cell.2);
            write!(f, "{:<30}", "")?;
            for column in &columns {
                write!(f, " {column:>w$}", w = column.len().max(6))?;
            }
            writeln!(f)?;
            for strategy in names(table, |cell| cell.0) {
                for verb in names(table, |cell| cell.1) {
                    write!(f, "{strategy:>10} {verb:<19}")?;
                    for column in &columns {
                        let count = table.get(&(strategy, verb, *column)).copied().unwrap_or(0);
                        write!(f, " {count:>w$}", w = column.len().max(6))?;
                    }
                    writeln!(f)?;
                }
            }
            writeln!(f)?;
        }
        let Effort { events, passes, checks } = self.effort;
        write!(
            f,
            "{} lives, {} with an update, {events} events, {passes} passes, {checks} checks of invariants",
            self.lives, self.updated
        )
    }
}
