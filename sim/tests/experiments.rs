//! Scenarios with experiments: every invariant holds, users are served, and the controller may die anywhere.

use std::path::Path;

use tidegate_sim::play::play;
use tidegate_sim::scenario::Script;
use tidegate_sim::sweep::{Sweep, scripts};

/// Points of one scenario at which the controller dies.
const CHOSEN: usize = 12;

fn all() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/experiments");
    scripts(&folder).expect("every scenario can be read")
}

#[test]
fn shares_of_arms_lead_to_pods_and_leave_before_them() {
    for script in all() {
        let outcome = play(&script);
        let failures: Vec<String> = outcome.failures.iter().map(ToString::to_string).collect();
        let trace = outcome.trace();
        println!("{}\n{trace}", script.name);
        assert!(failures.is_empty(), "{}\n{trace}\n{failures:#?}", script.name);
        assert!(outcome.violations.is_empty(), "{}\n{trace}\n{:#?}", script.name, outcome.violations);
    }
}

#[test]
fn they_end_the_same_wherever_the_controller_dies() {
    for script in all() {
        let sweep = Sweep::of(&script).unwrap_or_else(|why| panic!("{why}"));
        let stride = sweep.points().len().div_ceil(CHOSEN).max(1);
        for point in sweep.points().iter().step_by(stride) {
            sweep.survives(point).unwrap_or_else(|why| panic!("{why}"));
        }
    }
}
