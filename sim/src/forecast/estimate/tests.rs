use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind};

use super::*;
use crate::cluster::store::Part;
use crate::forecast::{Answer, STARTUP, forecast};
use crate::world::{Action, Quality, TrafficModel, WorldConfig};

const ERRORS: &str = "sum(rate(http_requests_total{rollouts_pod_template_hash=\"{{args.hash}}\", code=~\"5..\"}[1m])) \
                      / sum(rate(http_requests_total{rollouts_pod_template_hash=\"{{args.hash}}\"}[1m]))";

fn object(document: Value) -> Object {
    Object::from_value(document).expect("an object")
}

fn rollout(strategy: Value) -> Object {
    object(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"},
        "spec": {"replicas": 5, "selector": {"matchLabels": {"app": "web"}}, "strategy": strategy,
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:v1"}]}}}}))
}

fn asks(template: &str) -> Value {
    json!({"templates": [{"templateName": template}],
        "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]})
}

fn canary(steps: Value) -> Object {
    rollout(json!({"canary": {"maxSurge": 1, "maxUnavailable": 0, "steps": steps}}))
}

fn step() -> Object {
    canary(json!([{"setWeight": 20}, {"analysis": asks("checks")}, {"setWeight": 60}]))
}

fn prometheus(query: &str) -> Value {
    json!({"prometheus": {"address": "http://prometheus:9090", "query": query}})
}

fn metric(more: Value) -> Value {
    let mut metric = json!({"name": "error-rate", "successCondition": "result[0] < 0.01", "interval": "1m",
        "initialDelay": "1m", "provider": prometheus(ERRORS)});
    metric.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    metric
}

fn checks(metrics: Value) -> Object {
    object(
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": "checks"},
        "spec": {"args": [{"name": "hash"}], "metrics": metrics}}),
    )
}

fn assumed(error_rate: f64) -> Assumed {
    Assumed { rps: 50, error_rate, good_error_rate: 0.004, lives: 3_000, seed: 1 }
}

fn estimated(rollout: &Object, metrics: Value, assumed: Assumed) -> Estimate {
    estimate(rollout, &[checks(metrics)], STARTUP, assumed).expect("an estimate")
}

fn bad(rollout: &Object, metrics: Value, error_rate: f64) -> Side {
    estimated(rollout, metrics, assumed(error_rate)).sides.expect("it can be estimated").bad
}

/// Whether a figure allows for a value, with half of its interval to spare: some of a hundred miss it by chance.
fn allows(figure: Figure, value: f64) -> bool {
    let slack = (figure.high - figure.low) / 2.0;
    figure.low - slack <= value && value <= figure.high + slack
}

#[test]
fn the_estimate_is_what_the_textbook_says() {
    for (more, rate) in [
        (json!({"count": 1}), 0.01),
        (json!({"count": 5}), 0.006),
        (json!({"count": 5, "failureLimit": 2}), 0.01),
        (json!({"count": 4, "failureLimit": -1, "consecutiveSuccessLimit": 2}), 0.012),
        (json!({"count": 6, "failureLimit": 1, "consecutiveSuccessLimit": 3}), 0.009),
    ] {
        let side = bad(&step(), json!([metric(more.clone())]), rate);
        let exact = side.exact.as_ref().expect("a closed form");
        assert!((0.05..0.95).contains(&exact.aborted), "it is to be uncertain: {more} {exact:?}");
        assert!(allows(side.aborted, exact.aborted), "{more}: {:?}, not {exact:?}", side.aborted);
        assert!(allows(side.promoted, exact.promoted), "{more}: {:?}, not {exact:?}", side.promoted);
    }
}

#[test]
fn evidence_in_the_background_is_estimated_too() {
    let mut strategy = json!({"canary": {"maxSurge": 1, "maxUnavailable": 0, "analysis": asks("checks"),
        "steps": [{"setWeight": 20}, {"pause": {"duration": "5m"}}]}});
    strategy["canary"]["analysis"]["startingStep"] = json!(1);
    let side = bad(&rollout(strategy), json!([metric(json!({"failureLimit": 1}))]), 0.009);
    let exact = side.exact.as_ref().expect("a closed form");
    assert!(allows(side.aborted, exact.aborted), "{:?}, not {exact:?}", side.aborted);
}

/// The estimate leaves out most of the world. Whole worlds, each with a seed of its own, must come out as often.
#[test]
fn whole_worlds_come_out_as_often() {
    let metrics = || json!([metric(json!({"count": 3, "failureLimit": 1}))]);
    let side = bad(&step(), metrics(), 0.01);
    let quality = |errors| Quality { errors, ..Quality::default() };
    let worlds = 100;
    let aborted = (0..worlds).filter(|seed| {
        let mut world = World::new(WorldConfig {
            seed: *seed,
            traffic: Some(TrafficModel { rps: vec![(Span::ZERO, 50)], ..TrafficModel::default() }),
            quality: vec![("web:v2".to_owned(), quality(10_000)), ("web:v1".to_owned(), quality(4_000))],
            ..WorldConfig::default()
        });
        let limit = world.now().plus(Span::seconds(3600));
        for object in [checks(metrics()), step()] {
            world.user(Action::Create(object), &mut ()).expect("accepted");
        }
        world.run_to_rest(limit, &mut ());
        let key = Key::new(Kind::Rollout, "default", "web");
        let containers = json!([{"name": "web", "image": "web:v2"}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        world.user(Action::Merge { key: key.clone(), patch, part: Part::Main }, &mut ()).expect("accepted");
        world.run_to_rest(limit, &mut ());
        world.get(&key).and_then(|rollout| rollout.rollout()).is_some_and(|body| body.status.is_aborted())
    });
    let aborted = numbers::proportion(aborted.count(), 100);
    assert!((0.2..0.8).contains(&side.aborted.value), "{:?}", side.aborted);
    assert!(allows(aborted, side.aborted.value), "{aborted:?} of whole worlds, {:?} estimated", side.aborted);
}

/// What is certain comes out to the second as it does when the real controller is played.
#[test]
fn verdicts_come_when_the_controller_gives_them() {
    let metrics = json!([metric(json!({"count": 5, "failureLimit": 2, "initialDelay": "90s"}))]);
    let played = forecast(&step(), &[checks(metrics.clone())], STARTUP).expect("a forecast");
    let told = &played.asked[0].metrics[0].outcomes;
    let side = bad(&step(), metrics, 1.0);
    let detected = side.detection.expect("it is always detected");
    assert_eq!((side.aborted.value, detected.p95.value.round()), (1.0, detected.mean.value.round()));
    let at = told[&Answer::Bad].at.0 as f64 / 1000.0;
    assert_eq!(detected.mean.value.round() + 5.0, at, "the first request comes when the first pod is ready");
    // A fifth of fifty requests a second, and five seconds until the pod is replaced.
    let exposed = side.exposed.expect("it is always detected").mean.value;
    assert_eq!(exposed.round(), (detected.mean.value.round() + 5.0) * 10.0);
}

/// Before a switch nobody reaches the new version: the query finds nothing, each measurement is an error.
#[test]
fn a_version_that_nobody_reaches_is_aborted_for_want_of_evidence() {
    let blue_green = rollout(json!({"blueGreen": {"activeService": "active", "previewService": "preview",
        "prePromotionAnalysis": asks("checks")}}));
    let metrics = json!([metric(json!({"count": 1, "initialDelay": "0s"}))]);
    let told = forecast(&blue_green, &[checks(metrics.clone())], STARTUP).expect("a forecast");
    let estimate = estimated(&blue_green, metrics, assumed(0.5));
    let sides = estimate.sides.expect("it can be estimated");
    assert_eq!((sides.good.aborted.value, sides.bad.aborted.value), (1.0, 1.0));
    assert_eq!(sides.bad.exposed.map(|exposed| exposed.mean.value), Some(0.0));
    assert_eq!(sides.bad.exact, Err("a measurement may be an error or inconclusive".to_owned()));
    assert_eq!(told.asked[0].metrics[0].outcomes[&Answer::Error].measured.len(), 5);
}

#[test]
fn what_nobody_can_answer_is_named_and_never_guessed() {
    let of =
        |name: &str, query: &str| metric(json!({"name": name, "provider": prometheus(query), "count": 1}));
    let web = json!({"web": {"url": "http://health", "jsonPath": "{$.rate}"}});
    let metrics = json!([
        metric(json!({"name": "health", "provider": web, "count": 1})),
        of("latency", "histogram_quantile(0.9, sum(rate(http_request_duration_seconds_bucket[1m])) by (le))"),
        of("queue", "avg_over_time(queue_length[5m])"),
        of("zone", "sum(rate(http_requests_total{zone=\"a\"}[1m]))"),
    ]);
    let estimate = estimated(&step(), metrics, assumed(0.5));
    assert_eq!(estimate.sides, None);
    let told: Vec<String> =
        estimate.left_out.iter().map(|left| format!("{} {}: {}", left.when, left.metric, left.why)).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    step 2 health: it asks Web, and the traffic model answers Prometheus only
    step 2 latency: `http_request_duration_seconds_bucket` is about duration, and only error rates are given
    step 2 queue: `queue_length` is no metric that the traffic model knows
    step 2 zone: `zone="a"` names no version, Service or pod of this world
    "#);
}

#[test]
fn the_same_seed_gives_the_same_estimate() {
    let estimate = |seed| {
        let assumed = Assumed { lives: 300, seed, ..assumed(0.01) };
        estimated(&step(), json!([metric(json!({"count": 3}))]), assumed).sides.map(|sides| sides.bad)
    };
    assert_eq!(estimate(7), estimate(7));
    assert_ne!(estimate(7), estimate(8));
}

#[test]
fn windows_that_overlap_are_drawn_together_and_have_no_closed_form() {
    let wide = ERRORS.replace("[1m]", "[5m]");
    let of = |query: &str| {
        json!([metric(json!({"count": 5, "initialDelay": "5m", "provider": prometheus(query)}))])
    };
    let (together, apart) = (bad(&step(), of(&wide), 0.008), bad(&step(), of(ERRORS), 0.008));
    assert_eq!(together.exact, Err("the windows of two measurements overlap".to_owned()));
    assert!(together.aborted.high < apart.aborted.low, "{:?} {:?}", together.aborted, apart.aborted);
}
