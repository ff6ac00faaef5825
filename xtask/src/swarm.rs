//! Plays many lives of the swarm and prints what they covered.

use std::path::PathBuf;

use clap::Args;
use tidegate_sim::play::Setup;
use tidegate_sim::scenario::Script;
use tidegate_sim::swarm::{Failure, Tally, draw, draw_judged, live, shrink};

/// Lives from which on every cell of the tables must be full.
const FULL: u64 = 20_000;
/// Lives that must fall into each cell.
const LEAST: u64 = 20;
/// So many failures are shown, each made small.
const SHOWN: usize = 5;

/// Which lives to play.
#[derive(Args)]
pub struct Swarm {
    /// How many.
    #[arg(long, default_value_t = FULL)]
    lives: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
    /// Judge some of the updates by analyses and experiments.
    #[arg(long)]
    judged: bool,
    /// Where failures are written as scenarios, beside being printed.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
}

#[derive(Default)]
struct Part {
    tally: Tally,
    failures: Vec<(u64, Failure, Script)>,
    /// Seconds of work.
    busy: f64,
}

/// Plays them; an error when one fails, or when the lives cover too little.
pub fn run(task: &Swarm) -> Result<(), String> {
    let mut sum = Part::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..task.threads).map(|thread| scope.spawn(move || part(task, thread))).collect();
        for thread in threads {
            let part = thread.join().map_err(|_| "a life panicked".to_owned())?;
            sum.tally.join(part.tally);
            sum.failures.extend(part.failures);
            sum.busy += part.busy;
        }
        Ok::<(), String>(())
    })?;
    sum.failures.sort_by_key(|(seed, ..)| *seed);
    let tally = &sum.tally;
    println!("{tally}");
    #[expect(clippy::cast_precision_loss, reason = "a count of lives is small")]
    let rate = tally.lives as f64 / sum.busy.max(f64::EPSILON);
    println!("{rate:.0} lives per second and core");
    for (seed, failure, script) in sum.failures.iter().take(SHOWN) {
        show(task, *seed, failure, script)?;
    }
    if !sum.failures.is_empty() {
        let seeds: Vec<String> =
            sum.failures.iter().map(|(seed, f, _)| format!("{seed} ({})", f.what)).collect();
        return Err(format!("{} lives failed, of seeds {}", seeds.len(), seeds.join(", ")));
    }
    if tally.updated * 10 < tally.lives * 9 {
        return Err("fewer than nine of ten lives performed an update".to_owned());
    }
    let thin = tally.thin(LEAST);
    if tally.lives >= FULL && !thin.is_empty() {
        return Err(format!("cells of the tables are too thin: {thin:?}"));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "how fast the lives are played")]
fn part(task: &Swarm, thread: u64) -> Part {
    let began = std::time::Instant::now();
    let mut part = Part::default();
    for seed in (task.seed..task.seed + task.lives).filter(|seed| seed % task.threads == thread) {
        let case = if task.judged { draw_judged(seed) } else { draw(seed) };
        let lived = live(&case, Setup::default());
        part.tally.add(&case, &lived);
        part.failures.extend(lived.failure.map(|(failure, script)| (seed, failure, script)));
    }
    part.busy = worked().unwrap_or_else(|| began.elapsed().as_secs_f64());
    part
}

/// Seconds that this thread has really worked, where the system tells: a busy machine makes lives no slower.
fn worked() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e9)
}

fn show(task: &Swarm, seed: u64, failure: &Failure, script: &Script) -> Result<(), String> {
    let mut small = shrink(script, Setup::default(), failure.what);
    small.about = format!("{failure} (found by the swarm, seed {seed})");
    let name = format!("swarm-{seed}.yaml");
    println!("\n# {name}: replay it with `tidegate simulate {name}`\n{}", small.to_yaml());
    if let Some(folder) = &task.save {
        let file = folder.join(&name);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&file, small.to_yaml()))
            .map_err(|why| format!("{}: {why}", file.display()))?;
    }
    Ok(())
}
