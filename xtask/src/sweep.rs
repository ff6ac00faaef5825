//! Kills the controller at every point of every scenario.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use tidegate_sim::scenario::Script;
use tidegate_sim::sweep::{Point, Sweep as Points, scripts};
use tidegate_sim::world::Strike;

/// Which scenarios to sweep.
#[derive(Args)]
pub struct Sweep {
    /// The folder of scenarios.
    #[arg(default_value = "scenarios")]
    folder: PathBuf,
    /// How many at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
    /// Of the lost requests and replies, try one in so many. Deaths of the controller are all tried.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    lost: u64,
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
                done.push(sweep(script, task.lost));
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

/// What went wrong, and how often something was tried.
fn sweep(script: &Script, one_in: u64) -> (Vec<String>, usize) {
    match Points::of(script) {
        Err(why) => (vec![why], 0),
        Ok(sweep) => {
            let is_lost = |point: &&Point| matches!(point.strike, Strike::LostReply | Strike::LostRequest);
            let (lost, deaths): (Vec<&Point>, Vec<&Point>) = sweep.points().iter().partition(is_lost);
            let stride = usize::try_from(one_in).unwrap_or(usize::MAX);
            let tried: Vec<&Point> = deaths.into_iter().chain(lost.into_iter().step_by(stride)).collect();
            (tried.iter().filter_map(|point| sweep.survives(point).err()).collect(), tried.len())
        }
    }
}
