//! The swarm: what it found stays repaired, and what it finds it makes small. `cargo xtask swarm` plays twenty thousand, with
//! `--judged` too.

use tidegate_controller::sabotage::Sabotage;
use tidegate_sim::play::{Setup, play_with};
use tidegate_sim::scenario::{Files, Script};
use tidegate_sim::swarm::{Tally, draw, draw_judged, failure_of, live, shrink};

/// A story of the swarm holds everything in itself.
struct Nowhere;

impl Files for Nowhere {
    fn text(&self, file: &str) -> Result<String, String> {
        Err(format!("{file} is not needed"))
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        Err(format!("{pattern} is not needed"))
    }
}

/// Lives of an ordinary test run: ten seconds of them without optimisation.
const LIVES: u64 = 500;

#[test]
fn every_drawn_world_comes_to_rest_with_all_invariants_standing() {
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    for seed in 0..LIVES {
        let case = draw_judged(seed);
        let lived = live(&case, Setup::default());
        tally.add(&case, &lived);
        failures.extend(lived.failure.map(|(failure, _)| format!("seed {seed}: {failure}")));
    }
    assert!(failures.is_empty(), "{} of {LIVES} failed:\n{}", failures.len(), failures.join("\n"));
    assert!(tally.updated * 10 >= LIVES * 9, "only {} of {LIVES} performed an update", tally.updated);
}

#[test]
fn a_failure_is_a_small_scenario_that_fails_again_from_its_text() {
    for (sabotage, invariant) in [
        (Sabotage::SkipPause, "S13"),
        (Sabotage::ForgetAbort, "S15"),
        (Sabotage::ScaleDownWithoutBudget, "S4"),
        (Sabotage::SwitchBeforeAvailable, "S1"),
    ] {
        let setup = Setup { sabotage: Some(sabotage), ..Setup::default() };
        let found = (0..500).find_map(|seed| {
            live(&draw(seed), setup.clone()).failure.filter(|(failure, _)| failure.what == invariant)
        });
        let (_, script) = found.expect("a life in which the missing guard is missed");
        let small = shrink(&script, setup.clone(), invariant);
        assert!(small.when.len() <= 5, "{sabotage:?}: {} entries are left", small.when.len());

        let text = small.to_yaml();
        let again = Script::read(&small.name, &text, &Nowhere).unwrap_or_else(|why| panic!("{why}\n{text}"));
        let failure = failure_of(&play_with(&again, setup.clone())).map(|failure| failure.what);
        assert_eq!(failure, Some(invariant), "{sabotage:?}:\n{text}");
        let sane = failure_of(&play_with(&again, Setup::default()));
        assert_eq!(sane, None, "with its guard the controller lives through it:\n{text}");
    }
}

#[test]
fn what_is_written_reads_as_the_same_life() {
    for seed in 0..100 {
        let script = draw_judged(seed).script;
        let mut again = Script::read(&script.name, &script.to_yaml(), &Nowhere).expect("a scenario");
        again.promote_after = script.promote_after;
        let setup = Setup { silent: true, ..Setup::default() };
        let (left, right) = (play_with(&script, setup.clone()), play_with(&again, setup));
        assert_eq!((left.hash, left.writes), (right.hash, right.writes), "seed {seed}");
    }
}
