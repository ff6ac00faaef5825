//! Kills the controller at every point of every scenario.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use tidegate_sim::scenario::Script;
use tidegate_sim::sweep::{Sweep as Points, scripts};

/// Which scenarios to sweep.
#[derive(Args)]
pub struct Sweep {
    /// The folder of scenarios.
    #[arg(default_value = "scenarios")]
    folder: PathBuf,
    /// How many at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
}

/// Sweeps them; an error when one does not end as it does without a crash.
pub fn run(task: &Sweep) -> Result<(), String> {
    let scripts = scripts(&task.folder)?;
    let next = AtomicUsize::new(0);
    let (mut faults, mut killed) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let part = || {
            let mut done = Vec::new();
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                let Some(script) = scripts.get(nth) else { break };
                if nth % 50 == 49 {
                    eprintln!("{} of {} scenarios", nth + 1, scripts.len());
                }
                done.push(sweep(script));
            }
            done
        };
        let threads: Vec<_> = (0..task.threads).map(|_| scope.spawn(part)).collect();
        for thread in threads {
            let Ok(parts) = thread.join() else {
                faults.push("a sweep panicked".to_owned());
                continue;
            };
            for (found, points) in parts {
                faults.extend(found);
                killed += points;
            }
        }
    });
    println!("{} scenarios, {killed} crashes and lost replies, {} differ", scripts.len(), faults.len());
    faults.iter().take(10).for_each(|fault| println!("{fault}"));
    if faults.is_empty() { Ok(()) } else { Err("a crash changes how a scenario ends".to_owned()) }
}

/// What went wrong, and how often the controller was killed.
fn sweep(script: &Script) -> (Vec<String>, usize) {
    match Points::of(script) {
        Err(why) => (vec![why], 0),
        Ok(sweep) => {
            let found = sweep.points().iter().filter_map(|point| sweep.survives(point).err());
            (found.collect(), sweep.points().len())
        }
    }
}
