//! Canaries with traffic routing: sizes of both sides, weights on the way back, what waits for what.

use serde_json::{Value, json};
use tidegate_controller::names::DESIRED_REPLICAS;

use crate::life::Life;
use crate::moment::{Moment, aborted};
use crate::split::{self, at, http_route, recorded, step, traefik_service, update, weight, writes};
use crate::{Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("T1", "the canary gets its share, stable stays whole", || {
        check_sizes(update(10, steps(json!([{"setWeight": 10}])), 0, "10/10", "0/0"), [1, 10]);
    }),
    vector("T2", "a canary of so many replicas, however few are wished", || {
        let scale = json!([{"setCanaryScale": {"replicas": 9}}]);
        check_sizes(update(1, steps(scale), 0, "1/1", "0/0"), [9, 1]);
    }),
    vector("T3", "a canary of twice the share", || {
        let scale = json!([{"setCanaryScale": {"weight": 200}}]);
        check_sizes(update(4, steps(scale), 0, "4/4", "0/0"), [8, 4]);
    }),
    vector("T4", "a size that follows the weight beats every other", || {
        let scale = json!({"replicas": 9, "weight": 100, "matchTrafficWeight": true});
        let moment =
            update(10, steps(json!([{"setWeight": 20}, {"setCanaryScale": scale}])), 20, "10/10", "9/9");
        check_sizes(moment.status(step(1)), [2, 10]);
    }),
    vector("T5", "an aborted canary stays where nobody wants it gone", || {
        check_sizes(aborted_at_a_size(0), [1, 1]);
    }),
    // The reference's own test looks at the size alone; that of a pass is 0 once the delay is over.
    vector("T6", "an aborted canary goes after its delay", || {
        let mut moment = aborted_at_a_size(30);
        moment.pass();
        assert!(moment.has_deadline("v2") && moment.sizes(["v2", "v1"]) == [1, 1]);
        let mut moment = moment.later(31_000);
        moment.pass();
        assert_eq!(moment.sizes(["v2", "v1"]), [0, 1]);
    }),
    vector("T7", "no canary is smaller than the fewest pods", || {
        let mut more = steps(json!([{"setWeight": 5}]));
        more["minPodsPerReplicaSet"] = json!(2);
        check_sizes(update(10, more, 0, "10/10", "0/0"), [2, 10]);
    }),
    vector("T8", "nor larger than what is wished for that", || {
        let mut more = steps(json!([{"pause": {}}]));
        more["minPodsPerReplicaSet"] = json!(2);
        let moment = update(1, more, 0, "1/1", "0/0").status(json!({"promoteFull": true}));
        check_sizes(moment, [1, 1]);
    }),
    vector("T11", "stable shrinks to its share", || {
        check_sizes(
            update(10, shrinking(json!([{"setWeight": 10}, {"pause": {}}])), 10, "10/10", "1/1"),
            [1, 9],
        );
    }),
    vector("T12", "stable keeps the share that is recorded until the weight has moved", || {
        let moment = update(10, shrinking(json!([{"setWeight": 10}, {"setWeight": 20}])), 10, "10/10", "1/1");
        check_sizes(moment.status(step(1)), [2, 9]);
    }),
    // As the reference states it, without ReplicaSets, they stand beside the function; here the same in a pass, which has some.
    vector("T13/pass", "an aborted canary keeps the pods of its weight, stable grows whole", || {
        let moment = update(10, shrinking(json!([{"setWeight": 20}, {"pause": {}}])), 20, "8/8", "2/2");
        check_sizes(moment.status(step(1)).status(aborted()), [2, 10]);
    }),
    vector("T14/pass", "one pod of ten likewise", || {
        let moment = update(10, shrinking(json!([{"setWeight": 10}, {"pause": {}}])), 10, "9/9", "1/1");
        check_sizes(moment.status(step(1)).status(aborted()), [1, 10]);
    }),
    vector("T15", "back from 60 % stable grows to the weight of an earlier step first", || {
        check_sizes(back_from_60("4/4", "6/6"), [6, 8]);
    }),
    // S15: the reference asks for 6 canary pods in both, to match the recorded weight; an aborted version never grows.
    vector("T16", "an aborted canary that has lost pods does not get them back", || {
        check_sizes(back_from_60("4/4", "1/1"), [1, 8]);
    }),
    vector("T17", "nor when stable is on its way", || {
        check_sizes(back_from_60("8/4", "2/2"), [2, 8]);
    }),
    // S15 as in T16; and stable grows whole at once, for nobody else is there.
    vector("T18/pass", "an aborted canary without pods gets none", || {
        check_sizes(back_from_60("4/4", "0/0"), [0, 10]);
        check_sizes(back_from_60("10/10", "0/0"), [0, 10]);
    }),
    vector("T19", "sizes of a canary from step to step", || {
        let mut life = led(
            4,
            json!({"steps": [
            {"pause": {}},
            {"setCanaryScale": {"weight": 25}}, {"pause": {}},
            {"setWeight": 50}, {"pause": {}},
            {"setCanaryScale": {"replicas": 3}}, {"pause": {}},
            {"setCanaryScale": {"matchTrafficWeight": true}}, {"pause": {}}]}),
        );
        life.image("web:2").rest();
        // The reference's test looks at the pause of step 4 while the explicit size of step 1 is in force; so here.
        for (at, sizes) in [(0, [0, 4]), (2, [1, 4]), (4, [1, 4]), (6, [3, 4]), (8, [2, 4])] {
            assert_eq!((life.status("currentStepIndex"), life.sizes([2, 1])), (json!(at), sizes));
            life.promote().rest();
        }
        assert_eq!((life.sizes([2]), life.phase().as_str()), ([4], "Healthy"));
    }),
    vector("T20", "both sides have the size of their share", || {
        let mut life =
            led(4, shrinking(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 75}, {"pause": {}}])));
        life.image("web:2").rest();
        assert_eq!((life.status("currentStepIndex"), life.sizes([2, 1])), (json!(1), [1, 3]));
        life.promote().rest();
        assert_eq!((life.status("currentStepIndex"), life.sizes([2, 1])), (json!(3), [3, 1]));
    }),
    vector("A1", "the way back leads over the weight of an earlier step", || {
        check_way_back(back(50, "9/9", json!(null)), 10, 9);
    }),
    vector("A2", "with a delay of one's own stable alone decides", || {
        check_way_back(back(50, "5/5", json!(30)), 50, 9);
    }),
    vector("A3", "near the end of the way all returns at once", || {
        // From 10 %: the reference holds what is recorded while stable has 9 of 10 pods, and grows it.
        check_way_back(back(10, "9/9", json!(30)), 10, 10);
    }),
    vector("A4", "a delay of 0 is none of one's own", || {
        check_way_back(back(50, "9/9", json!(0)), 10, 9);
    }),
    vector("A5", "an abort never raises the weight", || {
        let mut moment = back_of_five("5/4", "0/0", 0, json!([{"setWeight": 50}, {"pause": {}}]));
        moment.pass();
        assert_eq!((weight(&moment), moment.selects("canary")), (0, "v1"));
    }),
    vector("A6", "as much returns as stable can carry", || {
        let mut moment = back_of_five("5/3", "4/4", 100, json!([{"setWeight": 50}, {"pause": {}}]));
        moment.pass();
        // The reference falls to 50 at once, which its 3 of 5 pods can carry; the canary Service stays.
        assert_eq!((weight(&moment), moment.selects("canary")), (50, "v2"));
    }),
    vector("A7", "without a weight on the way, pod by pod", || {
        let mut moment = back_of_five("5/1", "4/4", 100, json!([{"pause": {}}]));
        moment.pass();
        assert_eq!(weight(&moment), 80);
    }),
    // S8: the canary Service follows once the data plane had time for the weight; in the reference at once.
    vector("A8", "with stable whole all returns, then the canary Service", || {
        let mut moment = back_of_five("5/5", "0/0", 20, json!([{"setWeight": 50}, {"pause": {}}]));
        moment.pass();
        assert_eq!((weight(&moment), moment.selects("canary")), (0, "v2"));
        let mut life = led(5, shrinking(json!([{"setWeight": 20}, {"pause": {}}])));
        life.image("web:2").rest().abort().rest();
        assert_eq!((life.selects("canary"), life.selects("stable")), (life.hash(1), life.hash(1)));
    }),
    vector("A9", "five of ten pods carry half, four do with a threshold of 80 %", || {
        let percent = json!({"type": "Percent", "value": 80});
        check_carries(4, percent.clone(), true);
        check_carries(3, percent, false);
        check_carries(4, Value::Null, false);
    }),
    vector("A10", "parts of a hundred million", || {
        check_carries_of_two(50_000_000, 1, true);
        check_carries_of_two(50_000_000, 0, false);
        check_carries_of_two(0, 0, true);
    }),
    vector("A11", "a full promotion follows the pods where stable shrinks, else waits for all", || {
        for (dynamic, wanted) in [(true, 50), (false, 5)] {
            let mut more = steps(json!([{"setWeight": 5}, {"pause": {}}]));
            more["dynamicStableScale"] = json!(dynamic);
            let mut moment = update(10, more, 5, "10/10", "10/5").status(json!({"promoteFull": true}));
            moment.pass();
            assert_eq!(weight(&moment), wanted, "dynamic: {dynamic}");
        }
    }),
    vector("A12", "a third version waits until stable can carry what the second has", || {
        let mut moment = superseded();
        let pass = moment.pass();
        assert_eq!((weight(&moment), recorded(&moment)), (90, &json!(90)));
        assert_eq!((writes(&pass, "split"), moment.selects("canary")), (0, "v2"));
    }),
    vector("A13", "the weight waits for the pods of its step", || {
        let mut moment = update(10, steps(json!([{"setWeight": 10}, {"setWeight": 20}])), 10, "10/10", "1/1")
            .status(step(1));
        moment.pass();
        assert_eq!((weight(&moment), moment.sizes(["v2", "v1"])), (10, [2, 10]));
    }),
    vector("A14", "back to stable: it grows before traffic returns", || {
        let mut life = led(4, shrinking(json!([{"setWeight": 25}, {"pause": {}}])));
        life.image("web:2").rest();
        let second = life.hash(2);
        life.image("web:1").until(|life| life.size(3) == Some(4));
        assert_eq!((life.size(2), life.weight(), life.selects("canary")), (Some(1), 25, second));
        life.rest();
        assert_eq!((life.sizes([3, 2]), life.weight()), ([4, 0], 0));
        assert_eq!([life.selects("canary"), life.selects("stable")], [life.hash(3), life.hash(3)]);
    }),
    vector("A15", "an abort with a delay: pods stay until stable is whole, and so long after", || {
        let mut more = shrinking(json!([{"setWeight": 75}, {"pause": {}}]));
        more["abortScaleDownDelaySeconds"] = json!(10);
        let mut life = led(4, more);
        life.image("web:2").rest().abort().until(|life| life.size(1) == Some(4));
        assert_eq!((life.size(2), life.weight(), life.has_deadline(2)), (Some(3), 75, false));
        life.until(|life| life.has_deadline(2) && life.weight() == 0);
        assert_eq!((life.size(2), life.size(1)), (Some(3), Some(4)));
        life.rest();
        assert_eq!((life.sizes([2, 1]), life.selects("canary")), ([0, 4], life.hash(1)));
    }),
    // ARGO: the reference's pass fails and stores no status; here the status says what is waited for.
    vector("A16", "what a router does not confirm promotes nobody and shrinks nothing", || {
        let mut moment = at_the_end(false);
        let pass = moment.pass();
        assert!(!pass.told("RolloutCompleted"));
        assert_eq!((&moment.stored()["stableRS"], moment.sizes(["v1", "v2"])), (&json!("v1"), [10, 10]));
        assert_eq!(moment.stored()["canary"]["weights"]["verified"], json!(false));
        let mut moment = at_the_end(true);
        assert!(moment.pass().told("RolloutCompleted"));
    }),
    vector("A17", "an aborted canary follows no change of replicas", || {
        let mut more = steps(json!([{"setWeight": 100}, {"pause": {}}]));
        more["abortScaleDownDelaySeconds"] = json!(30);
        let moment = update(5, more, 0, "5/5", "5/5").status(step(1)).status(aborted());
        let mut moment = moment.spec(json!({"replicas": 4}));
        for _ in 0..4 {
            moment.pass();
        }
        assert_eq!((moment.size("v2"), moment.annotation("v2", DESIRED_REPLICAS)), (5, Some("4")));
        assert!(moment.has_deadline("v2"));
    }),
    vector("X25", "the pair swaps its roles with a promotion", || {
        let pair = json!({"stableService": null, "canaryService": null,
            "pingPong": {"pingService": "ping", "pongService": "pong"}, "steps": [{"setWeight": 100}]});
        let moment =
            Moment::canary(10, split::strategy(split::gateway(), pair)).update("v1", "10/10", "v2", "10/10");
        let route = http_route(100, true)
            .to_string()
            .replace("\"stable\"", "\"ping\"")
            .replace("\"canary\"", "\"pong\"");
        let mut moment = at(moment, 100, "v1", "v2")
            .service("ping", "v1")
            .service("pong", "v2")
            .with(serde_json::from_str(&route).unwrap())
            .status(step(1))
            .status(json!({"canary": {"stablePingPong": "ping"}}));
        assert!(moment.pass().told("RolloutCompleted"));
        assert_eq!(moment.stored()["canary"]["stablePingPong"], "pong");
    }),
];

fn steps(steps: Value) -> Value {
    json!({"steps": steps})
}

/// With a stable side that shrinks.
fn shrinking(steps: Value) -> Value {
    json!({"dynamicStableScale": true, "steps": steps})
}

/// The sizes of canary and stable after a few passes in which nothing changes but sizes.
#[track_caller]
fn check_sizes(mut moment: Moment, sizes: [i64; 2]) {
    moment.pass();
    moment.pass();
    assert_eq!(moment.sizes(["v2", "v1"]), sizes);
}

fn aborted_at_a_size(delay: i64) -> Moment {
    let mut more = steps(json!([{"setCanaryScale": {"replicas": 1}}]));
    more["abortScaleDownDelaySeconds"] = json!(delay);
    update(1, more, 0, "1/1", "1/1").status(aborted())
}

fn back_from_60(stable: &str, canary: &str) -> Moment {
    let more = shrinking(json!([{"setWeight": 20}, {"setWeight": 60}]));
    update(10, more, 60, stable, canary).status(step(2)).status(aborted())
}

/// Aborted, with five canary pods, at this weight.
fn back(recorded: i64, stable: &str, delay: Value) -> Moment {
    let mut more = shrinking(json!([{"setWeight": 10}, {"setWeight": 50}]));
    more["abortScaleDownDelaySeconds"] = delay;
    update(10, more, recorded, stable, "5/5").status(step(2)).status(aborted())
}

#[track_caller]
fn check_way_back(mut moment: Moment, goes_to: i64, stable: i64) {
    moment.pass();
    assert_eq!((weight(&moment), moment.size("v1")), (goes_to, stable));
}

fn back_of_five(stable: &str, canary: &str, recorded: i64, steps: Value) -> Moment {
    update(5, shrinking(steps), recorded, stable, canary).status(step(1)).status(aborted())
}

/// Whether a canary with so many available pods of ten carries half of the traffic.
pub fn check_carries(available: i64, threshold: Value, carries: bool) {
    let mut more = steps(json!([{"setWeight": 50}, {"pause": {}}]));
    more["replicaProgressThreshold"] = threshold;
    let mut moment = update(10, more, 0, "10/10", &format!("5/{available}"));
    moment.pass();
    assert_eq!(weight(&moment), if carries { 50 } else { 0 }, "{available}");
}

/// Whether one with so many of two carries these parts of a hundred million.
pub fn check_carries_of_two(parts: i64, available: i64, carries: bool) {
    const WHOLE: i64 = 100_000_000;
    let more = steps(json!([{"setWeight": parts}, {"pause": {}}]));
    let moment = Moment::canary(2, split::strategy(split::nginx(WHOLE), more))
        .update("v1", "2/2", "v2", &format!("1/{available}"))
        .with(split::ingress());
    let mut moment = split::at_of(moment, 0, WHOLE, "v1", "v2");
    moment.pass();
    let reached = moment.object("web-main-canary").unwrap()["metadata"]["annotations"]
        ["nginx.ingress.kubernetes.io/canary-weight"]
        .as_str()
        .and_then(|weight| weight.parse::<i64>().ok());
    assert_eq!(reached, Some(if carries { parts } else { 0 }), "{parts} {available}");
}

/// The second version has 90 % of the traffic when the third comes.
pub fn superseded() -> Moment {
    let more = shrinking(json!([{"setWeight": 90}, {"pause": {}}]));
    let moment = Moment::canary(10, split::strategy(split::traefik(), more))
        .set("v1", "1/1")
        .set("v2", "9/9")
        .set("v3", "0/0")
        .stable("v1")
        .current("v3");
    at(moment, 90, "v1", "v2").with(traefik_service(90))
}

/// All steps are done and all traffic is with the canary; whether its gateway says so.
pub fn at_the_end(is_accepted: bool) -> Moment {
    let more = steps(json!([{"setWeight": 10}, {"pause": {"duration": 1}}]));
    let moment =
        Moment::canary(10, split::strategy(split::gateway(), more)).update("v1", "10/10", "v2", "10/10");
    at(moment, 100, "v1", "v2").with(http_route(100, is_accepted)).status(step(2))
}

/// A life with traffic led by Traefik.
fn led(replicas: i64, more: Value) -> Life {
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
    };
    let mut routes = traefik_service(0);
    routes["metadata"] = json!({"name": "split", "namespace": "shop"});
    let spec = json!({"strategy": {"canary": split::strategy(split::traefik(), more)}});
    Life::begin_among(&[service("stable"), service("canary"), routes], replicas, spec)
}
