//! Plays many lives of the swarm and prints what they covered.

use std::collections::BTreeMap;

use clap::Args;
use tidegate_sim::swarm::{Case, Outcome, draw, live};

/// Which lives to play.
#[derive(Args)]
pub struct Swarm {
    /// How many.
    #[arg(long, default_value_t = 20_000)]
    lives: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
}

#[derive(Default)]
struct Sum {
    table: BTreeMap<(&'static str, &'static str, &'static str), u32>,
    updated: u64,
    checks: u64,
    failed: Vec<String>,
}

impl Sum {
    fn add(&mut self, case: &Case, outcome: &Outcome) {
        self.updated += u64::from(outcome.updated);
        self.checks += outcome.checks;
        for (_, act) in &case.acts {
            for fault in case.faults.names() {
                *self.table.entry((case.strategy, act.verb(), fault)).or_default() += 1;
            }
        }
        if let Some(failure) = &outcome.failure {
            self.failed.push(format!("{failure}\n  {case:?}"));
        }
    }

    fn join(&mut self, other: Sum) {
        self.updated += other.updated;
        self.checks += other.checks;
        self.failed.extend(other.failed);
        for (cell, count) in other.table {
            *self.table.entry(cell).or_default() += count;
        }
    }
}

/// Plays them; an error when one fails, or when the lives cover too little.
pub fn run(task: &Swarm) -> Result<(), String> {
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        let part = |thread: u64| {
            let mut sum = Sum::default();
            for seed in (task.seed..task.seed + task.lives).filter(|seed| seed % task.threads == thread) {
                let case = draw(seed);
                sum.add(&case, &live(&case));
            }
            sum
        };
        let threads: Vec<_> = (0..task.threads).map(|thread| scope.spawn(move || part(thread))).collect();
        for thread in threads {
            match thread.join() {
                Ok(part) => sum.join(part),
                Err(_) => sum.failed.push("a life panicked".to_owned()),
            }
        }
    });
    for ((strategy, verb, fault), count) in &sum.table {
        println!("{strategy:>12} × {verb:<20} × {fault:<14} {count}");
    }
    let thin = sum.table.iter().find(|(_, count)| **count < 20);
    println!("{} lives, {} with an update, {} checks of invariants", task.lives, sum.updated, sum.checks);
    for failure in sum.failed.iter().take(5) {
        println!("{failure}");
    }
    match (sum.failed.len(), thin) {
        (0, _) if sum.updated * 10 < task.lives * 9 => {
            Err("fewer than nine of ten lives performed an update".to_owned())
        }
        (0, Some(cell)) if task.lives >= 20_000 => Err(format!("a cell of the table is too thin: {cell:?}")),
        (0, _) => Ok(()),
        (failed, _) => Err(format!("{failed} lives failed")),
    }
}
