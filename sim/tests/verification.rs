//! Load balancers that can be asked: their scenarios pass with every invariant watching, and without the question S9 is
//! the first to speak.

use std::path::Path;

use tidegate_controller::sabotage::Sabotage;
use tidegate_sim::play::{Setup, play, play_with};
use tidegate_sim::scenario::Script;
use tidegate_sim::sweep::scripts;

fn stories() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/routers/alb");
    let all = scripts(&folder).expect("every scenario can be read");
    let asked: Vec<Script> = all.into_iter().filter(|script| script.routers.elb).collect();
    assert!(asked.len() >= 5, "{} stories", asked.len());
    asked
}

#[test]
fn every_story_passes() {
    let mut failed = String::new();
    for script in stories() {
        let outcome = play(&script);
        if !outcome.failures.is_empty() {
            failed += &format!("{}: {:?}\n{}\n", script.name, outcome.failures, outcome.trace());
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn without_the_question_s9_speaks_first() {
    for script in stories() {
        let setup = Setup { sabotage: Some(Sabotage::TakeWeightsForGranted), ..Setup::default() };
        let outcome = play_with(&script, setup);
        let first = outcome.violations.first();
        assert!(first.is_some_and(|first| first.id == "S9"), "{}: {first:?}", script.name);
    }
}
