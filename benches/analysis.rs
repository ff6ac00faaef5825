//! How long the controller takes over analysis runs: one measurement, and a pass over ten thousand runs.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Time;
use tidegate_controller::analysis::measure::Exchange;
use tidegate_controller::analysis::{RunWorld, plan};
use tidegate_controller::cache::Cache;
use tidegate_controller::plan::Need;
use tidegate_controller::providers::Surroundings;
use tidegate_controller::question::{Reply, Response};
use tidegate_controller::world::Facts;

/// Runs of one pass.
const RUNS: usize = 10_000;
const NOW: Time = Time(1_767_225_600_000);

/// A run of two metrics; each was measured once, so long ago.
fn run(number: usize, seconds_ago: i64) -> Object {
    let query = "sum(rate(http_requests_total{hash=\"{{args.hash}}\", code=~\"5..\"}[1m])) \
                 / sum(rate(http_requests_total{hash=\"{{args.hash}}\"}[1m]))";
    let metric = |name: &str| {
        json!({"name": name, "interval": "1m", "count": 10, "failureLimit": 2,
            "successCondition": "len(result) > 0 && result[0] < 0.01",
            "provider": {"prometheus": {"address": "http://prometheus:9090", "query": query}}})
    };
    let at = NOW.stamp().plus_seconds(-seconds_ago).to_string();
    let result = |name: &str| {
        json!({"name": name, "phase": "Running", "count": 1, "successful": 1, "consecutiveSuccess": 1,
            "measurements": [{"phase": "Successful", "value": "[0.001]", "startedAt": at, "finishedAt": at}]})
    };
    let names = ["error-rate", "error-rate-of-stable"];
    let document = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": {"name": format!("web-{number}"), "namespace": "shop", "uid": format!("uid-{number}"),
            "resourceVersion": (number + 1).to_string()},
        "spec": {"args": [{"name": "hash", "value": "59b6f5b7c4"}], "metrics": names.map(metric)},
        "status": {"phase": "Running", "startedAt": at, "metricResults": names.map(result),
            "runSummary": {"count": 2}, "dryRunSummary": {}}});
    Object::from_value(document).expect("a run")
}

fn cache(seconds_ago: i64) -> Cache {
    let mut cache = Cache::default();
    for number in 0..RUNS {
        cache.put(Arc::new(run(number, seconds_ago)), NOW);
    }
    cache
}

fn key(number: usize) -> Key {
    Key::new(Kind::AnalysisRun, "shop", format!("web-{number}"))
}

fn gathered(cache: &Cache, number: usize, surroundings: &Arc<Surroundings>) -> RunWorld {
    RunWorld::gather(cache, &key(number), None, surroundings).expect("there")
}

/// What a Prometheus answers to all that is asked.
fn answered(needs: &[Need]) -> Facts {
    let body: Value = json!({"status": "success", "data": {"resultType": "vector",
        "result": [{"metric": {}, "value": [1_767_225_600.0, "0.002"]}]}});
    let mut facts = Facts::default();
    for need in needs {
        let Need::Reply(metric, _) = need else { continue };
        let reply = Reply::Answered(Response::new(200, body.to_string()));
        facts.exchanges.insert(metric.clone(), Exchange { begun: NOW, heard: NOW, replies: vec![reply] });
    }
    facts
}

/// A measurement from the look that asks to the one that judges the answer: two looks, two metrics.
fn measurements(criterion: &mut Criterion<benches::ThreadTime>) {
    let (cache, surroundings) = (cache(90), Arc::new(Surroundings::default()));
    let world = gathered(&cache, 0, &surroundings);
    let asked = plan(&world, &Facts::default(), NOW);
    assert_eq!((asked.needs.len(), asked.writes.len()), (2, 0), "both metrics are due");
    let measured = plan(&world, &answered(&asked.needs), NOW);
    assert_eq!((measured.needs.len(), measured.writes.len()), (0, 1), "both were measured");
    let mut group = criterion.benchmark_group("measurements");
    group.throughput(Throughput::Elements(2));
    group.bench_function("asked and judged", |bencher| {
        bencher.iter_batched(
            || answered(&asked.needs),
            |facts| (black_box(plan(&world, &Facts::default(), NOW)), black_box(plan(&world, &facts, NOW))),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Each of ten thousand runs is gathered and looked at once.
fn passes(criterion: &mut Criterion<benches::ThreadTime>) {
    let surroundings = Arc::new(Surroundings::default());
    let mut group = criterion.benchmark_group("a pass over 10,000 runs");
    group.sample_size(10);
    group.throughput(Throughput::Elements(u64::try_from(RUNS).unwrap_or(0)));
    for (name, seconds_ago) in [("nothing is due", 20), ("all is due", 90)] {
        let cache = cache(seconds_ago);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for number in 0..RUNS {
                    let _ = black_box(plan(&gathered(&cache, number, &surroundings), &Facts::default(), NOW));
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().with_measurement(benches::ThreadTime);
    targets = measurements, passes
}
criterion_main!(all);
