//! S31: for every scenario, the controller is killed after every write and before every status write, and comes back
//! with an empty cache. The end must be that of the run without a crash. `cargo xtask sweep` kills it everywhere; here,
//! where nothing is optimised, an even choice of the points must do.

use std::path::Path;

use tidegate_sim::scenario::Script;
use tidegate_sim::sweep::{Sweep, scripts};

/// Points of one scenario in an ordinary test run.
const CHOSEN: usize = 2;

fn all() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let found = scripts(&folder).expect("every scenario can be read");
    assert!(found.len() >= 40, "only {} scenarios", found.len());
    found
}

/// Kills the controller in every second scenario; says what went wrong, and how often it was killed.
fn sweep(scripts: &[Script], half: usize) -> (Vec<String>, usize) {
    let (mut faults, mut killed) = (Vec::new(), 0);
    for (nth, script) in scripts.iter().enumerate().skip(half).step_by(2) {
        match Sweep::of(script) {
            Err(why) => faults.push(why),
            Ok(sweep) => {
                let stride = sweep.points().len().div_ceil(CHOSEN).max(1);
                // Not the first write of every scenario.
                for point in sweep.points().iter().skip(nth % stride).step_by(stride) {
                    killed += 1;
                    faults.extend(sweep.survives(point).err());
                }
            }
        }
    }
    (faults, killed)
}

#[test]
fn every_scenario_ends_the_same_wherever_the_controller_dies() {
    let scripts = all();
    let ((mut faults, left), (more, right)) = std::thread::scope(|scope| {
        let (left, right) = (scope.spawn(|| sweep(&scripts, 0)), scope.spawn(|| sweep(&scripts, 1)));
        (left.join().expect("no panic"), right.join().expect("no panic"))
    });
    faults.extend(more);
    assert!(faults.is_empty(), "{} of {} differ:\n{}", faults.len(), left + right, faults.join("\n"));
    println!("{} scenarios, {} points", scripts.len(), left + right);
    assert!(left + right > scripts.len() * CHOSEN / 2, "only {} points", left + right);
}
