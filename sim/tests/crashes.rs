//! S31: for every scenario of the suite, the controller is killed after every write, and before and after every status
//! write, and comes back with an empty cache. The end must be that of the run without a crash.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Span;
use tidegate_controller::commands::{self, Patch};
use tidegate_controller::names::{HASH_LABEL, REVISION};
use tidegate_sim::cluster::store::Part;
use tidegate_sim::invariants::Watchdog;
use tidegate_sim::world::{Action, NextWrite, Rest, Strike, World, WorldConfig};

/// A story: a strategy, and what a person does each time the world has come to rest.
struct Story {
    strategy: Value,
    acts: &'static [Act],
}

#[derive(Clone, Copy)]
enum Act {
    Image(&'static str),
    Promote,
    PromoteFull,
    Abort,
    Retry,
    Scale(i64),
}

fn stories() -> Vec<(&'static str, Story)> {
    let gated = json!({"canary": {"maxSurge": 1, "maxUnavailable": 0,
        "steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "5s"}}]}});
    let blue_green = json!({"blueGreen": {"activeService": "active", "previewService": "preview",
        "autoPromotionEnabled": false, "scaleDownDelaySeconds": 5}});
    let preview = json!({"blueGreen": {"activeService": "active", "previewService": "preview",
        "previewReplicaCount": 1, "autoPromotionSeconds": 5}});
    let story = |strategy: &Value, acts| Story { strategy: strategy.clone(), acts };
    vec![
        ("canary", story(&gated, &[Act::Image("web:2"), Act::Promote])),
        (
            "canary abort and retry",
            story(&gated, &[Act::Image("web:2"), Act::Abort, Act::Retry, Act::PromoteFull]),
        ),
        ("canary third template", story(&gated, &[Act::Image("web:2"), Act::Image("web:3"), Act::Promote])),
        ("canary rollback", story(&gated, &[Act::Image("web:2"), Act::Image("web:1")])),
        (
            "canary scaled in pause",
            story(&gated, &[Act::Image("web:2"), Act::Scale(7), Act::Scale(2), Act::Promote]),
        ),
        ("rolling", story(&json!({"canary": {}}), &[Act::Image("web:2"), Act::Image("web:3")])),
        ("blue-green", story(&blue_green, &[Act::Image("web:2"), Act::Promote])),
        (
            "blue-green abort",
            story(&blue_green, &[Act::Image("web:2"), Act::Abort, Act::Retry, Act::Promote]),
        ),
        (
            "blue-green third template",
            story(&blue_green, &[Act::Image("web:2"), Act::Image("web:3"), Act::Promote]),
        ),
        ("blue-green preview", story(&preview, &[Act::Image("web:2"), Act::Scale(6)])),
    ]
}

const NAMESPACE: &str = "shop";

fn key() -> Key {
    Key::new(Kind::Rollout, NAMESPACE, "web")
}

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

/// Plays a story, with at most one strike, to its end.
fn live(story: &Story, strike: Option<NextWrite>) -> World {
    let mut config = WorldConfig { seed: 11, ..WorldConfig::default() };
    config.interventions.on_next.extend(strike);
    let mut world = World::new(config);
    let mut watchdog = Watchdog::default();
    for name in ["active", "preview"] {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
        world.user(Action::Create(object(service)), &mut watchdog).expect("accepted");
    }
    let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "strategy": story.strategy,
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}}}});
    world.user(Action::Create(object(rollout)), &mut watchdog).expect("accepted");
    rest(&mut world, &mut watchdog);
    for act in story.acts {
        let rollout = world.get(&key()).expect("there").clone();
        let patches = match act {
            Act::Image(image) => {
                vec![commands::set_image(&rollout, &|_| Some((*image).to_owned())).expect("fits")]
            }
            Act::Promote => commands::promote(&rollout),
            Act::PromoteFull => commands::promote_full(&rollout),
            Act::Abort => commands::abort(),
            Act::Retry => commands::retry(),
            Act::Scale(n) => vec![Patch::Main(json!({"spec": {"replicas": n}}))],
        };
        for patch in patches {
            let (patch, part) = match patch {
                Patch::Main(patch) => (patch, Part::Main),
                Patch::Status(patch) => (patch, Part::Status),
            };
            world.user(Action::Merge { key: key(), patch, part }, &mut watchdog).expect("accepted");
        }
        rest(&mut world, &mut watchdog);
    }
    world
}

fn rest(world: &mut World, watchdog: &mut Watchdog) {
    let limit = world.now().plus(Span::seconds(3600));
    assert_eq!(world.run_to_rest(limit, watchdog), Rest::AtRest);
    watchdog.at_rest(world);
    assert_eq!(watchdog.violation(), None);
}

/// What must be the same: the status without times, sizes by revision, selectors by revision.
fn end(world: &World) -> Value {
    let mut revisions = BTreeMap::new();
    let mut sizes = BTreeMap::new();
    for set in world.store().of_kind(&Kind::ReplicaSet) {
        let revision = set.meta.annotations.get(REVISION).map_or("-", |r| r).to_owned();
        let hash = set.meta.labels.get(HASH_LABEL).map_or("-", |h| h).to_owned();
        sizes.insert(revision.clone(), set.replica_set().expect("a set").wished());
        revisions.insert(hash, revision);
    }
    let named = |hash: &str| revisions.get(hash).cloned().unwrap_or_else(|| hash.to_owned());
    let status = &world.get(&key()).expect("there").rollout().expect("a rollout").status;
    let services: BTreeMap<String, String> = world
        .store()
        .of_kind(&Kind::Service)
        .filter_map(|s| Some((s.meta.name.to_string(), named(s.service()?.selector.get(HASH_LABEL)?))))
        .collect();
    let conditions: BTreeMap<&str, (&str, &str)> = status
        .conditions
        .iter()
        .flatten()
        .filter_map(|c| Some((c.kind.as_deref()?, (c.status.as_deref()?, c.reason.as_deref()?))))
        .collect();
    let revision = world.get(&key()).expect("there").meta.annotations.get(REVISION).map(|r| r.to_string());
    json!({"revision": revision, "phase": status.phase.as_deref(), "message": status.message.as_deref(), "stable": named(status.stable_hash()),
        "current": named(status.current()), "step": status.index(), "abort": status.is_aborted(),
        "pauses": status.pause_conditions().len(), "sizes": sizes, "services": services, "conditions": conditions,
        "available": status.available, "updated": status.updated, "replicas": status.replicas})
}

fn check(name: &str) {
    let (_, story) = stories().into_iter().find(|(known, _)| *known == name).expect("a story of this name");
    let clean = live(&story, None);
    let (counts, want) = (clean.call_counts(), end(&clean));
    let mut points = Vec::new();
    for n in 0..counts.writes {
        for strike in [Strike::CrashBefore, Strike::CrashAfter, Strike::LostReply, Strike::LostRequest] {
            points.push(NextWrite::after(n, strike));
        }
    }
    for n in 0..counts.status_writes {
        points.push(NextWrite::of_status_after(n, Strike::CrashBefore));
    }
    assert!(points.len() > 40, "{name}: only {} points", points.len());
    for point in points {
        let what = format!("{name}: {point:?}");
        let killed = matches!(point.strike, Strike::CrashBefore | Strike::CrashAfter);
        let world = live(&story, Some(point));
        assert_eq!(killed, world.controller().is_some_and(|c| c.number == 2), "{what}: the strike must land");
        let got = end(&world);
        assert_eq!(got, want, "{what}");
    }
}

#[test]
fn a_canary_survives_every_crash() {
    check("canary");
}

#[test]
fn an_aborted_and_retried_canary_survives_every_crash() {
    check("canary abort and retry");
}

#[test]
fn a_superseded_canary_survives_every_crash() {
    check("canary third template");
}

#[test]
fn a_rolled_back_canary_survives_every_crash() {
    check("canary rollback");
}

#[test]
fn a_canary_scaled_in_its_pause_survives_every_crash() {
    check("canary scaled in pause");
}

#[test]
fn a_rolling_update_survives_every_crash() {
    check("rolling");
}

#[test]
fn blue_green_survives_every_crash() {
    check("blue-green");
}

#[test]
fn an_aborted_and_retried_blue_green_survives_every_crash() {
    check("blue-green abort");
}

#[test]
fn a_superseded_blue_green_survives_every_crash() {
    check("blue-green third template");
}

#[test]
fn a_small_preview_survives_every_crash() {
    check("blue-green preview");
}
