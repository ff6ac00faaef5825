//! The behaviour of the reference as small facts, each with the name it has in our list of them.
//!
//! `cargo test -p tidegate-sim --test vectors` shows them one by one. Where we differ on purpose the vector states our
//! value and COMPATIBILITY.md the reason. The ledger proves that no vector was forgotten.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod analysis;
mod blue_green;
mod canary;
mod commands;
mod housekeeping;
mod ledger;
mod life;
mod moment;
mod pauses;
mod progress;
mod restart;
mod routed;
mod split;
mod traffic;

use libtest_mimic::{Arguments, Trial};

/// One fact: its name, what it says, and the check.
pub struct Vector {
    /// Such as `G7`. A part that can be checked before the whole has a suffix: `G17/without analyses`.
    pub id: &'static str,
    /// In words.
    pub says: &'static str,
    /// Panics where it does not hold.
    pub check: fn(),
}

/// One fact.
pub const fn vector(id: &'static str, says: &'static str, check: fn()) -> Vector {
    Vector { id, says, check }
}

/// All that are checked here.
pub fn all() -> impl Iterator<Item = &'static Vector> {
    let lists = [
        analysis::VECTORS,
        canary::VECTORS,
        progress::VECTORS,
        pauses::VECTORS,
        blue_green::VECTORS,
        restart::VECTORS,
        housekeeping::VECTORS,
        commands::VECTORS,
        routed::VECTORS,
        traffic::VECTORS,
    ];
    lists.into_iter().flatten()
}

fn main() {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = all()
        .map(|vector| {
            let check = vector.check;
            Trial::test(format!("{}: {}", vector.id, vector.says), move || {
                check();
                Ok(())
            })
        })
        .collect();
    trials.push(Trial::test("ledger: every vector is checked or waits for something", || {
        ledger::check();
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit();
}
