//! How many releases one core lives through, with cache lag and every invariant on.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate_sim::play::{Setup, live, play_with};
use tidegate_sim::swarm::Effort;

/// Without a trace, which costs more than everything else.
fn setup() -> Setup {
    Setup { silent: true, ..Setup::default() }
}

fn number(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// One release, counted as releases, passes of the controller, and seconds of simulated time.
fn canaries(criterion: &mut Criterion<benches::ThreadTime>) {
    let script = benches::ten_steps(10);
    let life = live(&script, setup());
    let (effort, outcome) = (Effort::of(&life), &life.outcome);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    println!(
        "one ten-step canary of 10 replicas: {} events, {} passes, {} writes, {} checks of invariants, {} simulated \
         seconds",
        effort.events,
        effort.passes,
        outcome.writes,
        effort.checks,
        outcome.simulated.0 / 1000
    );
    let mut group = criterion.benchmark_group("ten-step canary");
    let units = [
        ("releases", 1),
        ("passes", effort.passes),
        ("simulated seconds", number(outcome.simulated.0 / 1000)),
    ];
    for (unit, count) in units {
        group.throughput(Throughput::Elements(count));
        group.bench_function(unit, |bencher| {
            bencher.iter(|| black_box(play_with(&script, setup())).hash);
        });
    }
    group.finish();
}

/// A crash after each write of one release, each played to its end.
fn sweep(criterion: &mut Criterion<benches::ThreadTime>) {
    let script = benches::ten_steps(10);
    let mut first = script.clone();
    first.when.clear();
    let writes = play_with(&script, setup()).writes - play_with(&first, setup()).writes;
    let stories: Vec<_> = (1..=writes).map(|write| benches::with_a_crash(&script, write)).collect();
    println!("{} crash points", stories.len());
    let mut group = criterion.benchmark_group("crash sweep of a ten-step canary");
    group.sample_size(10);
    group.throughput(Throughput::Elements(number(i64::try_from(stories.len()).unwrap_or(0))));
    group.bench_function("points", |bencher| {
        bencher.iter(|| {
            for story in &stories {
                assert!(black_box(play_with(story, setup())).failures.is_empty());
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().with_measurement(benches::ThreadTime);
    targets = canaries, sweep
}
criterion_main!(all);
