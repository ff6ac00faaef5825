//! The data plane driven by hand: what users feel, and which invariant speaks when a write comes in the wrong order.

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::Span;
use tidegate_sim::cluster::store::Part;
use tidegate_sim::dataplane::flow::{Flow, WHOLE};
use tidegate_sim::invariants::Watchdog;
use tidegate_sim::traffic::{Felt, Meter};
use tidegate_sim::world::{Action, PodModel, PodModels, TrafficModel, World, WorldConfig, Writer};

struct Hand {
    world: World,
    watch: (Watchdog, Meter),
}

fn object(mut value: Value) -> Object {
    value["metadata"]["namespace"] = json!("shop");
    Object::from_value(value).expect("an object")
}

fn version(name: &str, replicas: i64) -> Value {
    let labels = json!({"app": "web", "rollouts-pod-template-hash": name});
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("web-{name}"), "uid": format!("set-{name}"), "labels": labels,
            "annotations": {"rollout.argoproj.io/revision": &name[1..]}, "ownerReferences": [
            {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "web", "controller": true}]},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": format!("web:{name}")}]}}}})
}

fn service(name: &str, hash: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "uid": format!("service-{name}")},
        "spec": {"selector": {"app": "web", "rollouts-pod-template-hash": hash}, "ports": [{"port": 80}]}})
}

fn route(canary: i64) -> Value {
    json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService",
        "metadata": {"name": "web", "uid": "route"}, "spec": {"hosts": ["web"], "http": [{"route": [
            {"destination": {"host": "web-stable"}, "weight": 100 - canary},
            {"destination": {"host": "web-canary"}, "weight": canary}]}]}})
}

fn gateway_route(canary: i64) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web", "uid": "route"},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [
            {"name": "web-stable", "weight": 100 - canary}, {"name": "web-canary", "weight": canary}]}]}})
}

fn rollout(status: Value) -> Value {
    let mut all =
        json!({"observedGeneration": "1", "stableRS": "v1", "currentPodHash": "v2", "currentStepIndex": 1});
    let more = status.as_object().expect("a mapping").clone();
    all.as_object_mut().expect("a mapping").extend(more);
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "uid": "web", "generation": 1},
        "spec": {"replicas": 10, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:v2"}]}},
            "strategy": {"canary": {"stableService": "web-stable", "canaryService": "web-canary",
                "trafficRouting": {"istio": {"virtualService": {"name": "web"}}},
                "steps": [{"setWeight": 50}, {"pause": {}}]}}},
        "status": all})
}

impl Hand {
    /// Ten stable pods and so many new ones behind a route that gives the new version so much.
    fn new(new: i64, weight: i64) -> Hand {
        Hand::with(WorldConfig::default(), new, &route(weight), json!({}))
    }

    fn with(mut config: WorldConfig, new: i64, route: &Value, status: Value) -> Hand {
        let instant = PodModel { termination: config.pods.default.termination, ..PodModel::instant() };
        config.pods = PodModels { default: instant, by_image: Vec::new() };
        config.traffic.get_or_insert_default().rps = vec![(Span::ZERO, 1000)];
        let mut world = World::without_controller(config);
        let mut watch = Watchdog::default();
        for value in [
            rollout(status),
            version("v1", 10),
            version("v2", new),
            service("web-stable", "v1"),
            service("web-canary", "v2"),
            route.clone(),
        ] {
            world.place(object(value), &mut watch).expect("it is placed");
        }
        let limit = world.now().plus(Span::seconds(60));
        world.run_to_rest(limit, &mut watch);
        let meter = Meter::begin(&world);
        Hand { world, watch: (watch, meter) }
    }

    /// The controller writes an object, or what it becomes.
    fn writes(&mut self, value: Value) -> &mut Hand {
        let object = object(value);
        let key = object.key();
        let action = match self.world.get(&key) {
            None => Action::Create(object),
            Some(held) => {
                let mut merged = held.to_value();
                merged["spec"] = object.to_value()["spec"].clone();
                Action::Merge { key, patch: json!({"spec": merged["spec"]}), part: Part::Main }
            }
        };
        self.world.write_as(Writer::Controller, action, &mut self.watch).expect("it is written");
        self
    }

    fn scales(&mut self, name: &str, replicas: i64) -> &mut Hand {
        let key = Key::new(Kind::ReplicaSet, "shop", name);
        let action = Action::Merge { key, patch: json!({"spec": {"replicas": replicas}}), part: Part::Main };
        self.world.write_as(Writer::Controller, action, &mut self.watch).expect("it is scaled");
        self
    }

    fn waits(&mut self, millis: i64) -> &mut Hand {
        let then = self.world.now().plus(Span::millis(millis));
        self.world.run_until(then, &mut self.watch);
        self
    }

    fn rests(&mut self) -> &mut Hand {
        self.waits(60_000);
        self.watch.0.at_rest(&self.world);
        self
    }

    /// The invariants that were broken.
    fn broken(&self) -> Vec<&'static str> {
        self.watch.0.violations().iter().map(|violation| violation.id).collect()
    }

    fn first(&self) -> &'static str {
        self.watch.0.violation().map_or("nothing", |violation| violation.id)
    }

    fn felt(&mut self) -> Felt {
        self.watch.1.finish(&self.world);
        self.watch.1.total(None)
    }

    /// Percent that the new version gets now.
    fn share(&self) -> i64 {
        let key = Key::new(Kind::Rollout, "shop", "web");
        Flow::of(&self.world, self.world.get(&key).expect("it is there"), 0).percent("v2")
    }
}

#[test]
fn weights_are_felt_when_proxies_have_taken_them_over() {
    let mut hand = Hand::new(5, 0);
    hand.writes(route(50)).waits(40);
    assert_eq!(hand.share(), 0);
    hand.waits(400);
    assert_eq!((hand.share(), hand.broken()), (50, vec![]));
    let felt = hand.waits(9_560).felt();
    // Ten seconds of a thousand requests each.
    assert_eq!((felt.requests(), felt.errors(), felt.no_endpoint()), (10_000, (0, 0), (0, 0)));
    let (new, old) = (felt.share("web:v2").0, felt.share("web:v1").0);
    assert!((4_800..5_000).contains(&new) && (new + old - 10_000).abs() <= 1, "{new} {old}");
}

#[test]
fn weight_before_capacity_is_noticed() {
    assert_eq!(Hand::new(5, 0).writes(route(50)).first(), "nothing");
    assert_eq!(Hand::new(4, 0).writes(route(50)).first(), "S2");
    assert_eq!(Hand::new(0, 0).writes(route(50)).first(), "S1");
}

#[test]
fn capacity_goes_after_the_last_proxy_has_let_go() {
    let mut early = Hand::new(5, 50);
    assert_eq!(early.writes(route(0)).scales("web-v2", 2).first(), "S3");
    let mut gone = Hand::new(5, 50);
    assert_eq!(gone.writes(route(0)).scales("web-v2", 0).first(), "S8");
    // Applied, but still in its delay.
    let superseded = || {
        let mut hand = Hand::with(WorldConfig::default(), 5, &route(50), json!({"currentPodHash": "v3"}));
        hand.world.place(object(version("v3", 0)), &mut ()).expect("it is placed");
        hand
    };
    let mut hasty = superseded();
    assert_eq!(hasty.writes(route(0)).waits(1_000).scales("web-v2", 2).first(), "S7");
    let mut right = superseded();
    assert_eq!(right.writes(route(0)).waits(31_000).scales("web-v2", 2).first(), "nothing");
}

#[test]
fn a_service_changes_its_version_when_nobody_comes_through_it() {
    let third = |hand: &mut Hand| {
        hand.world.place(object(version("v3", 0)), &mut ()).expect("it is placed");
        hand.writes(service("web-canary", "v3")).first()
    };
    assert_eq!(third(&mut Hand::new(5, 50)), "S1");
    // Accepted, not yet applied: proxies still send half of the users there.
    assert_eq!(third(Hand::new(5, 50).writes(route(0))), "S1");
    assert_eq!(third(Hand::new(5, 50).writes(route(0)).waits(600)), "nothing");
}

#[test]
fn a_subset_changes_its_version_when_nobody_comes_through_it() {
    let subset_route = |canary: i64| {
        let mut route = route(0);
        route["spec"]["http"][0]["route"] = json!([
            {"destination": {"host": "web-stable", "subset": "stable"}, "weight": 100 - canary},
            {"destination": {"host": "web-stable", "subset": "canary"}, "weight": canary}]);
        route
    };
    let rule = |canary: &str| {
        json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "DestinationRule",
            "metadata": {"name": "web", "uid": "rule"}, "spec": {"host": "web-stable", "subsets": [
                {"name": "stable", "labels": {"rollouts-pod-template-hash": "v1"}},
                {"name": "canary", "labels": {"rollouts-pod-template-hash": canary}}]}})
    };
    let mut hand = Hand::with(WorldConfig::default(), 5, &subset_route(50), json!({}));
    // Without its rule a subset leads nowhere.
    let key = Key::new(Kind::Rollout, "shop", "web");
    let nowhere = |hand: &Hand| Flow::of(&hand.world, hand.world.get(&key).unwrap(), 0).nowhere;
    assert_eq!(nowhere(&hand), WHOLE);
    hand.writes(rule("v2")).waits(500);
    // The Service behind the host takes the stable version only, so the subset of the other one stays empty.
    assert_eq!(nowhere(&hand), WHOLE / 2);
    hand.world.place(object(version("v3", 0)), &mut ()).expect("it is placed");
    assert_eq!(hand.writes(subset_route(0)).writes(rule("v3")).first(), "S1");
}

#[test]
fn more_than_the_step_allows_is_noticed() {
    assert_eq!(Hand::new(10, 0).writes(route(60)).first(), "S10");
    let mut aborted = Hand::with(WorldConfig::default(), 10, &route(0), json!({"abort": true}));
    assert_eq!(aborted.writes(route(20)).first(), "S15");
}

#[test]
fn an_abort_is_not_over_while_users_are_left() {
    let status = || json!({"abort": true, "phase": "Degraded"});
    let mut left = Hand::with(WorldConfig::default(), 0, &route(0), status());
    assert!(!left.rests().broken().contains(&"L5"));
    let mut held = Hand::with(WorldConfig::default(), 5, &route(50), status());
    assert!(held.rests().broken().contains(&"L5"));
}

#[test]
fn a_superseded_version_and_a_bad_stable_one_are_not_waited_for() {
    let mut hand = Hand::with(WorldConfig::default(), 5, &route(50), json!({"currentPodHash": "v3"}));
    assert!(hand.rests().broken().contains(&"L6"), "{:?}", hand.broken());
    let mut config = WorldConfig::default();
    config.traffic.get_or_insert_default();
    let mut blocked = Hand::with(config, 10, &route(50), json!({}));
    let stable = Key::new(Kind::ReplicaSet, "shop", "web-v1");
    blocked.world.user(Action::Scale { key: stable, replicas: 0 }, &mut ()).expect("it is scaled");
    assert!(blocked.rests().broken().contains(&"L7"), "{:?}", blocked.broken());
}

#[test]
fn one_of_several_proxies_can_stay_behind() {
    let mut config = WorldConfig::default();
    config.routers.proxies = 2;
    let mut hand = Hand::with(config, 5, &route(0), json!({}));
    let until = hand.world.now().plus(Span::seconds(10));
    hand.world.stall_proxy("istio", until);
    hand.writes(route(50)).waits(1_000);
    assert_eq!(hand.share(), 25);
    hand.waits(10_000);
    assert_eq!(hand.share(), 50);
    let until = hand.world.now().plus(Span::seconds(10));
    hand.world.router_outage("istio", until);
    hand.writes(route(20)).waits(9_000);
    assert_eq!(hand.share(), 50);
    assert_eq!(hand.waits(2_000).share(), 20);
}

#[test]
fn somebody_puts_weights_back() {
    let mut hand = Hand::new(5, 0);
    hand.world.put_back(
        &Key::new(Kind::new("networking.istio.io/v1alpha3", "VirtualService"), "shop", "web"),
        1,
        (1_000, 1_000),
    );
    assert_eq!(hand.writes(route(50)).waits(900).share(), 50);
    assert_eq!(hand.waits(1_000).share(), 0);
    assert_eq!(hand.writes(route(50)).waits(3_000).share(), 50);
}

#[test]
fn pods_that_end_before_everybody_knows_lose_requests() {
    let lost = |termination| {
        let mut config = WorldConfig::default();
        config.pods.default.termination = termination;
        config.routers.endpoints = (100, 100);
        let mut hand = Hand::with(config, 5, &route(50), json!({}));
        hand.scales("web-v2", 4).waits(5_000).felt().errors().0
    };
    // A tenth of the requests for the 80 milliseconds between their end and the news of it.
    assert_eq!(lost((20, 20)), 8);
    assert_eq!(lost((100, 100)), 0);
    assert_eq!(lost((5_000, 5_000)), 0);
}

#[test]
fn capacity_and_quality_are_errors() {
    let mut config = WorldConfig::default();
    let quality = tidegate_sim::world::Quality { errors: 100_000, latency: None, capacity: Some(50) };
    config.quality = vec![("web:v2".to_owned(), quality)];
    // Five pods with a hundred requests each, of which they carry fifty; of what they carry one of ten fails.
    let mut hand = Hand::with(config, 5, &route(50), json!({}));
    assert_eq!(hand.waits(10_000).felt().errors(), (2_500 + 250, 275_000));
}

#[test]
fn nginx_needs_an_endpoint_behind_the_first_backend() {
    let ingress = |name: &str, annotations: Value, service: &str| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "uid": name, "annotations": annotations},
            "spec": {"rules": [{"host": "web", "http": {"paths": [
                {"path": "/", "backend": {"service": {"name": service}}}]}}]}})
    };
    let canary = json!({"nginx.ingress.kubernetes.io/canary": "true", "nginx.ingress.kubernetes.io/canary-weight": "50"});
    let with = |new: i64, old: i64| {
        let mut hand =
            Hand::with(WorldConfig::default(), new, &ingress("web", json!({}), "web-stable"), json!({}));
        let made = object(ingress("web-canary", canary.clone(), "web-canary"));
        hand.world.user(Action::Create(made), &mut hand.watch).expect("it is made");
        let stable = Key::new(Kind::ReplicaSet, "shop", "web-v1");
        hand.world.user(Action::Scale { key: stable, replicas: old }, &mut hand.watch).expect("it is scaled");
        hand.waits(2_000);
        let key = Key::new(Kind::Rollout, "shop", "web");
        let flow = Flow::of(&hand.world, hand.world.get(&key).unwrap(), 0);
        (
            flow.versions.get("v1").copied().unwrap_or(0),
            flow.versions.get("v2").copied().unwrap_or(0),
            flow.nowhere,
        )
    };
    assert_eq!(with(5, 10), (WHOLE / 2, WHOLE / 2, 0));
    assert_eq!(with(0, 10), (WHOLE, 0, 0));
    assert_eq!(with(5, 0), (0, 0, WHOLE));
}

#[test]
fn a_gateway_reports_what_it_serves_by() {
    let mut hand = Hand::with(WorldConfig::default(), 5, &gateway_route(0), json!({}));
    let key = Key::new(Kind::new("gateway.networking.k8s.io/v1", "HTTPRoute"), "shop", "web");
    let told = |hand: &Hand| {
        let document = hand.world.get(&key).unwrap().to_value();
        let observed = document.pointer("/status/parents/0/conditions/0/observedGeneration").cloned();
        (document["metadata"]["generation"].clone(), observed.unwrap_or_default())
    };
    assert_eq!(told(&hand), (json!(1), json!(1)));
    hand.writes(gateway_route(50)).waits(10);
    assert_eq!(told(&hand), (json!(2), json!(1)));
    hand.waits(500);
    assert_eq!(told(&hand), (json!(2), json!(2)));
}

#[test]
fn sessions_end_one_by_one_where_users_are_kept() {
    let sticky = |canary: i64| {
        json!({"apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService", "metadata": {"name": "web", "uid": "route"},
            "spec": {"weighted": {"sticky": {"cookie": {}}, "services": [
                {"name": "web-stable", "weight": 100 - canary}, {"name": "web-canary", "weight": canary}]}}})
    };
    let mut config = WorldConfig::default();
    config.routers.propagation = (0, 0);
    config.traffic = Some(TrafficModel { sessions: Span::seconds(100), ..TrafficModel::default() });
    let mut hand = Hand::with(config, 10, &sticky(0), json!({}));
    // From nobody to half of them along a straight line: a quarter on average.
    let felt = hand.writes(sticky(50)).waits(100_000).felt();
    assert_eq!(felt.share("web:v2").1, 250_000);
    let before = felt.share("web:v2").0;
    let after = hand.waits(10_000).felt().share("web:v2").0;
    assert_eq!(after - before, 5_000);
}

#[test]
fn a_copy_of_a_world_feels_the_same() {
    let mut hand = Hand::new(5, 0);
    hand.writes(route(50));
    let mut copy = Hand { world: hand.world.clone(), watch: (Watchdog::default(), hand.watch.1.clone()) };
    let name = Text::from("web");
    hand.waits(5_000);
    copy.waits(5_000);
    assert_eq!(hand.world.chain(), copy.world.chain());
    assert_eq!(hand.felt(), copy.felt());
    assert!(hand.watch.1.felt().any(|(known, _)| *known == name));
}

#[test]
fn what_is_not_served_cannot_be_written() {
    let mut hand = Hand::new(5, 0);
    let kind = Kind::new("networking.istio.io/v1alpha3", "VirtualService");
    assert!(hand.world.serves(&kind));
    hand.world.serve("VirtualService", false, &mut hand.watch);
    assert!(!hand.world.serves(&kind));
    hand.world.serve("VirtualService", true, &mut hand.watch);
    assert!(hand.world.serves(&kind));
}
