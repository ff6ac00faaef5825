//! The swarm, and proof that a seed is a life.

use std::collections::BTreeMap;

use tidegate_sim::swarm::{draw, live};

/// Lives of an ordinary test run; `cargo xtask swarm` plays many more.
const LIVES: u64 = 1_500;

#[test]
fn every_drawn_world_comes_to_rest_with_all_invariants_standing() {
    let mut table: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let (mut updated, mut checks, mut failures) = (0_u64, 0, Vec::new());
    for seed in 0..LIVES {
        let case = draw(seed);
        let outcome = live(&case);
        for (_, act) in &case.acts {
            *table.entry((case.strategy, act.verb())).or_default() += 1;
        }
        updated += u64::from(outcome.updated);
        checks += outcome.checks;
        if let Some(failure) = outcome.failure {
            failures.push(format!("{failure}\n  {case:?}"));
        }
    }
    println!("{LIVES} lives, {updated} with an update, {checks} checks of invariants");
    for ((strategy, verb), count) in &table {
        println!("{strategy:>12} × {verb:<20} {count}");
    }
    assert!(
        failures.is_empty(),
        "{} of {LIVES} failed:\n{}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n")
    );
    assert!(updated * 10 >= LIVES * 9, "only {updated} of {LIVES} performed an update");
    assert!(table.values().all(|count| *count >= 20), "a cell of the table is too thin: {table:?}");
}

#[test]
fn the_same_case_is_the_same_life_on_any_thread() {
    let chains = || -> Vec<u64> { (0..60).map(|seed| live(&draw(seed)).chain).collect() };
    let here = chains();
    let (left, right) = std::thread::scope(|scope| {
        let (left, right) = (scope.spawn(chains), scope.spawn(chains));
        (left.join().expect("no panic"), right.join().expect("no panic"))
    });
    assert_eq!(here, left);
    assert_eq!(here, right);
    // The chain is no constant: another seed is another life.
    assert_ne!(live(&draw(0)).chain, live(&draw(1)).chain);
}

/// Seeds that once broke an invariant.
#[test]
fn what_the_swarm_found_stays_repaired() {
    // 9870: a pause between the switch of the active Service and its status shrank the version users were on (S4).
    // 38, 101: pods of a set just scaled down counted as available when older ones shrank (S4).
    // 483: an aborted blue-green version grew where its delay is 0 (S15). 134, 415: a restart that slept for ever (L1).
    for seed in [9870, 38, 101, 483, 134, 415] {
        let outcome = live(&draw(seed));
        assert_eq!(outcome.failure, None, "seed {seed}");
    }
}
