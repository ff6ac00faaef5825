//! Small releases to play with faults and invariants.

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Span;
use tidegate_controller::sabotage::Sabotage;
use tidegate_sim::cluster::store::Part;
use tidegate_sim::dice::Dice;
use tidegate_sim::invariants::{Violation, Watchdog};
use tidegate_sim::metrics::series::{Of, Point, Series};
use tidegate_sim::world::{Action, CallCounts, NextWrite, World, WorldConfig};

/// A manifest and what a user does to it, each act so many seconds after the one before; without seconds, at rest.
pub struct Story {
    pub name: &'static str,
    pub strategy: Value,
    /// What else the specification says.
    pub spec: Value,
    /// What is there before the Rollout.
    pub given: Vec<Value>,
    pub acts: Vec<(Option<i64>, Act)>,
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    Image(u32),
    Abort,
    Retry,
    Promote,
    PromoteFull,
    Scale(i64),
    Pause,
    Resume,
    Restart,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    pub counts: CallCounts,
    pub end: String,
    pub checks: u64,
}

pub fn stories() -> Vec<Story> {
    let steps =
        json!({"canary": {"steps": [{"setWeight": 25}, {"pause": {"duration": "10s"}}, {"setWeight": 50}]}});
    let waits = json!({"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}});
    let blue_green = json!({"blueGreen": {"activeService": "active", "previewService": "preview"}});
    let story = |name, strategy: &Value, acts| Story {
        name,
        strategy: strategy.clone(),
        spec: json!({}),
        given: Vec::new(),
        acts,
    };
    vec![
        story("canary with steps", &steps, vec![(None, Act::Image(2))]),
        story("rolling update", &json!({"canary": {}}), vec![(None, Act::Image(2))]),
        story("blue-green", &blue_green, vec![(None, Act::Image(2))]),
        story(
            "abort and retry",
            &waits,
            vec![(None, Act::Image(2)), (None, Act::Abort), (None, Act::Retry), (None, Act::Promote)],
        ),
    ]
}

fn key() -> Key {
    Key::new(Kind::Rollout, "shop", "web")
}

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

/// The release is there and healthy, then the acts follow; afterwards everything must come to rest, and a controller
/// that is started anew must find nothing to do.
pub fn play(story: &Story, seed: u64, strikes: Vec<NextWrite>, sabotage: Option<Sabotage>) -> Outcome {
    let mut config = WorldConfig { seed, ..WorldConfig::default() };
    config.interventions.on_next = strikes;
    config.settings.sabotage = sabotage;
    // Questions to `/good` are answered with 1.
    let of = Of::Matching { provider: None, text: "/good".to_owned() };
    config.metrics.series = vec![Series { of, values: vec![Point::Value(1.into())] }];
    let mut world = World::without_controller(config);
    let mut watch = Watchdog::default();
    world.restart(&mut watch);
    for name in ["active", "preview"] {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
        world.user(Action::Create(object(service)), &mut watch).expect("accepted");
    }
    for given in &story.given {
        world.user(Action::Create(object(given.clone())), &mut watch).expect("accepted");
    }
    if !story.given.is_empty() {
        rest(&mut world, &mut watch);
    }
    let mut rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}},
            "strategy": story.strategy}});
    for (field, value) in story.spec.as_object().expect("fields") {
        rollout["spec"][field] = value.clone();
    }
    world.user(Action::Create(object(rollout)), &mut watch).expect("accepted");
    rest(&mut world, &mut watch);
    for (wait, act) in &story.acts {
        match wait {
            None => rest(&mut world, &mut watch),
            Some(seconds) => {
                let then = world.now().plus(Span::seconds(*seconds));
                let _ = world.run_until(then, &mut watch);
            }
        }
        if watch.violation().is_some() {
            break;
        }
        perform(&mut world, *act, &mut watch);
    }
    rest(&mut world, &mut watch);
    let counts = world.call_counts();
    world.crash(&mut watch);
    world.restart(&mut watch);
    rest(&mut world, &mut watch);
    Outcome { violation: watch.violation().cloned(), counts, end: end(&world), checks: watch.checks() }
}

fn rest(world: &mut World, watch: &mut Watchdog) {
    let limit = world.now().plus(Span::seconds(7200));
    let begin = world.events();
    // A world with a broken rule need not come to rest any more.
    while watch.violation().is_none() && world.next_at().is_some_and(|at| at <= limit) {
        world.step(watch);
        if world.events() - begin > 200_000 {
            return;
        }
    }
    if watch.violation().is_some() {
        return;
    }
    assert_eq!(world.next_at(), None, "it never comes to rest");
    watch.at_rest(world);
}

fn perform(world: &mut World, act: Act, watch: &mut Watchdog) {
    let (patch, part) = match act {
        Act::Image(version) => {
            let containers = json!([{"name": "c", "image": format!("web:{version}")}]);
            (json!({"spec": {"template": {"spec": {"containers": containers}}}}), Part::Main)
        }
        Act::Abort => (json!({"status": {"abort": true}}), Part::Status),
        Act::Retry => (json!({"status": {"abort": null}}), Part::Status),
        Act::Promote => (json!({"status": {"pauseConditions": null}}), Part::Status),
        Act::PromoteFull => (json!({"status": {"promoteFull": true}}), Part::Status),
        Act::Pause => (json!({"spec": {"paused": true}}), Part::Main),
        Act::Resume => (json!({"spec": {"paused": false}}), Part::Main),
        Act::Restart => {
            let at = world.now().stamp().to_string();
            (json!({"spec": {"restartAt": at}}), Part::Main)
        }
        Act::Scale(replicas) => (json!({"spec": {"replicas": replicas}}), Part::Main),
    };
    world.user(Action::Merge { key: key(), patch, part }, watch).expect("accepted");
}

/// Where the run ended: phase, versions, sizes, selectors.
fn end(world: &World) -> String {
    let status = &world.get(&key()).and_then(|object| object.rollout()).expect("the Rollout").status;
    let mut lines = vec![format!("{:?} {} {}", status.phase, status.stable_hash(), status.current())];
    for set in world.store().of_kind(&Kind::ReplicaSet) {
        let wished = set.replica_set().map_or(0, |body| body.wished());
        lines.push(format!("{} {wished}", set.meta.name));
    }
    for service in world.store().of_kind(&Kind::Service) {
        lines.push(format!("{} {:?}", service.meta.name, service.service().map(|body| &body.selector)));
    }
    lines.join("\n")
}

/// A story of a seed: a strategy, and acts at random moments.
pub fn drawn(seed: u64) -> Story {
    let mut dice = Dice::new(seed, "story");
    let strategies = [
        json!({"canary": {"steps": [{"setWeight": 25}, {"pause": {"duration": "10s"}}, {"setWeight": 50}, {"pause": {}}]}}),
        json!({"canary": {}}),
        json!({"canary": {"maxSurge": 0, "maxUnavailable": 1}}),
        json!({"blueGreen": {"activeService": "active", "previewService": "preview"}}),
        json!({"blueGreen": {"activeService": "active", "autoPromotionEnabled": false}}),
    ];
    let mut draw = |most: i64| dice.within((0, most));
    let strategy = strategies[usize::try_from(draw(4)).expect("small")].clone();
    let mut acts = vec![(None, Act::Image(2))];
    for _ in 0..draw(4) {
        let act = match draw(6) {
            0 | 1 => Act::Image(u32::try_from(draw(3)).expect("small") + 1),
            2 => Act::Abort,
            3 => Act::Retry,
            4 => Act::Promote,
            5 => Act::PromoteFull,
            _ => Act::Scale(draw(8)),
        };
        acts.push((Some(draw(20)), act));
    }
    Story { name: "drawn", strategy, spec: json!({}), given: Vec::new(), acts }
}
