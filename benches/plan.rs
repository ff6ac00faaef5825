//! How long one decision takes, in the middle of a canary, with few pods and with many.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate_api::object::{Key, Kind};
use tidegate_api::time::{Span, Time};
use tidegate_controller::rollout;
use tidegate_controller::world::{Facts, RolloutWorld};
use tidegate_sim::scenario::Script;
use tidegate_sim::world::{Action, World, WorldConfig};

/// So long after the update begins the canary has half of its weights behind it.
const MIDWAY: Span = Span::seconds(200);

fn midway(script: &Script) -> World {
    let mut world = World::new(WorldConfig::default());
    let limit = world.now().plus(Span::seconds(3600));
    for object in &script.given {
        world.user(Action::Create(object.clone()), &mut ()).expect("accepted");
    }
    world.run_to_rest(limit, &mut ());
    let key = key();
    let rollout = world.get(&key).expect("there").clone();
    let image = |_: &str| Some("web:2".to_owned());
    let patch = tidegate_controller::commands::set_image(&rollout, &image).expect("it has a container");
    let tidegate_controller::commands::Patch::Main(patch) = patch else { return world };
    let part = tidegate_sim::cluster::store::Part::Main;
    world.user(Action::Merge { key, patch, part }, &mut ()).expect("accepted");
    let then: Time = world.now().plus(MIDWAY);
    world.run_until(then, &mut ());
    world
}

fn key() -> Key {
    Key::new(Kind::Rollout, "default", "web")
}

fn plan(criterion: &mut Criterion<benches::ThreadTime>) {
    let mut group = criterion.benchmark_group("plan");
    for pods in [10, 1000] {
        let world = midway(&benches::ten_steps(pods));
        let cache = world.controller().expect("it lives").manager.cache();
        let (key, facts) = (key(), Facts::default());
        let gathered = || RolloutWorld::gather(cache, &key).expect("there");
        group.bench_function(BenchmarkId::new("decide", pods), |bencher| {
            bencher.iter_batched_ref(
                gathered,
                |rollout| rollout::plan(rollout, &facts, world.now()),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("gather and decide", pods), |bencher| {
            bencher.iter(|| rollout::plan(&gathered(), &facts, world.now()));
        });
    }
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().with_measurement(benches::ThreadTime);
    targets = plan
}
criterion_main!(all);
