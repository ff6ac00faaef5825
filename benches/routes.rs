//! How long one decision takes with each router, in the pause after the first weight: the manifests of `docs/routers`.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Span;
use tidegate_api::yaml;
use tidegate_controller::commands::{Patch, set_image};
use tidegate_controller::rollout;
use tidegate_controller::world::{Facts, RolloutWorld};
use tidegate_sim::cluster::store::Part;
use tidegate_sim::scenario::{Files, Script, object_of};
use tidegate_sim::world::{Action, World, WorldConfig};

const PAGES: &[(&str, &str)] = &[
    ("alb", include_str!("../docs/routers/alb.md")),
    ("ambassador", include_str!("../docs/routers/ambassador.md")),
    ("apisix", include_str!("../docs/routers/apisix.md")),
    ("gateway API", include_str!("../docs/routers/gateway-api.md")),
    ("istio", include_str!("../docs/routers/istio.md")),
    ("linkerd", include_str!("../docs/routers/linkerd.md")),
    ("nginx", include_str!("../docs/routers/nginx.md")),
    ("smi", include_str!("../docs/routers/smi.md")),
    ("traefik", include_str!("../docs/routers/traefik.md")),
];

/// So long after the update begins the first weight is in force, and the pause after it lasts.
const MIDWAY: Span = Span::seconds(20);

struct Nowhere;

impl Files for Nowhere {
    fn text(&self, _file: &str) -> Result<String, String> {
        Err("a page stands for itself".to_owned())
    }

    fn matching(&self, _pattern: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// The objects of a page's manifest.
fn objects(page: &str) -> Vec<Object> {
    let text = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a manifest");
    let documents = yaml::read("page", text).expect("YAML");
    if documents.iter().any(Script::is_scenario) {
        return Script::read("page", text, &Nowhere).expect("a scenario").given;
    }
    yaml::objects(documents).iter().map(|document| object_of(document).expect("an object")).collect()
}

/// The Rollout of a page in the pause after its first weight.
fn midway(page: &str) -> (World, Key) {
    let mut world = World::new(WorldConfig::default());
    let limit = world.now().plus(Span::seconds(3600));
    for object in objects(page) {
        world.user(Action::Create(object), &mut ()).expect("accepted");
    }
    world.run_to_rest(limit, &mut ());
    let rollout = world.store().of_kind(&Kind::Rollout).next().expect("a Rollout").clone();
    let key = rollout.key();
    let image = |_: &str| Some("shop:next".to_owned());
    if let Patch::Main(patch) = set_image(&rollout, &image).expect("it has a container") {
        world.user(Action::Merge { key: key.clone(), patch, part: Part::Main }, &mut ()).expect("accepted");
    }
    let then = world.now().plus(MIDWAY);
    world.run_until(then, &mut ());
    let weights = world.get(&key).expect("there").to_value();
    assert!(weights["status"]["canary"]["weights"]["canary"]["weight"] == 20, "{}", weights["status"]);
    (world, key)
}

fn plan(criterion: &mut Criterion<benches::ThreadTime>) {
    let mut group = criterion.benchmark_group("plan with a router");
    for (name, page) in PAGES {
        let (world, key) = midway(page);
        let cache = world.controller().expect("it lives").manager.cache();
        let facts = Facts::default();
        let gathered = || RolloutWorld::gather(cache, &key).expect("there");
        group.bench_function(BenchmarkId::new("decide", name), |bencher| {
            bencher.iter_batched_ref(
                gathered,
                |rollout| rollout::plan(rollout, &facts, world.now()),
                BatchSize::SmallInput,
            );
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
