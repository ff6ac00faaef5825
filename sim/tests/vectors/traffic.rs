//! What one pass makes of Services, weights and routes, with routers of several kinds.

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind};
use tidegate_api::time::Span;
use tidegate_controller::question::Reply;

use crate::life::Life;
use crate::moment::{Moment, aborted};
use crate::routed::{at_the_end, superseded};
use crate::split::{self, at, recorded, step, update, weight, writes};
use crate::{Vector, vector};

pub const VECTORS: &[Vector] = &[
    // ARGO: the reference stores no status, so that nobody learns why nothing moves (Q1).
    vector("TR1", "a router that fails is told, and nothing goes on", || {
        let mut moment = update(10, ten_and_pause(), 0, "10/10", "1/1");
        moment.forget("split");
        let pass = moment.pass();
        assert!(pass.told("TrafficRoutingError"));
        let message = moment.condition("TrafficRoutingError")["message"].clone();
        assert!(message.as_str().unwrap().contains("\"split\" not found"), "{message}");
        assert_eq!((&moment.stored()["currentStepIndex"], recorded(&moment)), (&json!(0), &json!(0)));
    }),
    // ARGO: the weight counts as not confirmed, and the step waits; in the reference likewise, but for as long as nobody asks.
    vector("TR2", "a question that could not be put fails no pass", || {
        let mut moment = before_the_balancer(10, "1/1");
        moment.pass_hearing(Reply::Failed("nobody there".into()));
        let mut moment = moment.later(2_000);
        let pass = moment.pass_hearing(Reply::Failed("nobody there".into()));
        let (tells, hides) = (pass.told("WeightVerifyError"), !pass.told("TrafficRoutingError"));
        assert!(tells && hides, "{:?} {:?}\n{}", pass.events, pass.plan, moment.stored());
        assert_eq!(moment.condition("TrafficRoutingError"), Value::Null);
        let weights = &moment.stored()["canary"]["weights"];
        assert_eq!((&weights["canary"]["weight"], &weights["verified"]), (&json!(10), &json!(false)));
        assert_eq!((&moment.stored()["currentStepIndex"], pass.has_timer()), (&json!(0), true));
    }),
    vector("TR3", "a step is not done before its weight is confirmed", || {
        let waits = |is_accepted: bool| {
            let moment = Moment::canary(10, split::strategy(split::gateway(), ten_and_pause()))
                .update("v1", "10/10", "v2", "1/1");
            let mut moment = at(moment, 10, "v1", "v2").with(split::http_route(10, is_accepted));
            let pass = moment.pass();
            assert!(!pass.told("TrafficRoutingError"));
            moment.stored()["currentStepIndex"] == 0
        };
        assert!(waits(false) && !waits(true));
    }),
    // ARGO: an error in the reference, whose pass ends there.
    vector("TR4", "the end of a release waits for confirmation too", || {
        let mut moment = at_the_end(false);
        moment.pass();
        assert_eq!((recorded(&moment), &moment.stored()["stableRS"]), (&json!(100), &json!("v1")));
    }),
    vector("TR5", "a pause keeps the weight of the step before", || {
        let mut moment = update(10, ten_and_pause(), 0, "10/10", "1/1").status(step(1));
        moment.pass();
        assert_eq!((weight(&moment), recorded(&moment)), (10, &json!(10)));
    }),
    vector("TR6", "behind the last step all goes to the canary", || {
        let mut moment = update(10, ten_and_pause(), 10, "10/10", "10/10").status(step(2));
        moment.pass();
        assert_eq!(weight(&moment), 100);
    }),
    vector("TR7", "the weight waits for the pods of its step", || {
        let more = json!({"steps": [{"setWeight": 10}, {"setWeight": 20}]});
        let mut moment = update(10, more, 10, "10/10", "1/1").status(step(1));
        moment.pass();
        assert_eq!((weight(&moment), moment.size("v2")), (10, 2));
    }),
    vector("TR8", "a full promotion goes by pods where stable shrinks, without routes of steps", || {
        let more =
            json!({"dynamicStableScale": true, "steps": [{"setHeaderRoute": split::beta()}, {"pause": {}}]});
        let moment = Moment::canary(10, split::strategy(split::istio(), more))
            .update("v1", "10/10", "v2", "10/5")
            .status(step(1))
            .status(json!({"promoteFull": true}));
        let mut moment = at(moment, 50, "v1", "v2").with(split::mesh_with_beta(50));
        moment.pass();
        assert_eq!(split::routes(&moment), (vec!["primary".to_owned()], 50));
        // Header routes go before the weight moves: what they match flows by weight from then on.
        let more = json!({"dynamicStableScale": true, "steps": [{"pause": {}}]});
        let mut moment = update(10, more, 0, "10/10", "10/5").status(json!({"promoteFull": true}));
        moment.pass();
        assert_eq!(weight(&moment), 50);
    }),
    vector("TR9", "else it keeps what is recorded until all pods are there", || {
        let mut moment = update(10, ten_and_pause(), 5, "10/10", "10/5").status(json!({"promoteFull": true}));
        moment.pass();
        assert_eq!((weight(&moment), recorded(&moment)), (5, &json!(5)));
    }),
    vector("TR10", "after a release nothing is left to the canary", || {
        let more = json!({"steps": [{"setHeaderRoute": split::beta()}, {"setWeight": 10}]});
        let moment = Moment::canary(10, split::strategy(split::istio(), more))
            .set("v1", "10/10")
            .stable("v1")
            .current("v1")
            .status(step(2));
        let mut moment = at(moment, 100, "v1", "v1").with(split::mesh_with_beta(100));
        moment.pass();
        let routes_first = split::routes(&moment);
        moment = moment.later(2_000);
        moment.pass();
        assert_eq!(
            (routes_first.0, split::routes(&moment)),
            (vec!["primary".to_owned()], (vec!["primary".to_owned()], 0))
        );
    }),
    vector("TR11", "an arm of a running experiment gets its share beside the step's", || {
        let (backends, additional) = with_an_experiment("Running");
        assert_eq!(backends, [("canary", 10), ("experiment-service", 5), ("stable", 85)].map(named));
        assert_eq!(
            additional,
            json!([{"weight": 5, "serviceName": "experiment-service", "podTemplateHash": "arm"}])
        );
    }),
    vector("TR12", "one that does not run yet gets none", || {
        let (backends, additional) = with_an_experiment("Pending");
        assert_eq!((backends, additional), (vec![named(("canary", 10)), named(("stable", 90))], Value::Null));
    }),
    // 13 to 17 are A5 to A8 again; here what they say of the whole pass.
    vector("TR13", "an abort with nothing at the canary gives its Service back", || {
        let mut moment = back_of_five("4/4", "0/0", 0, json!([{"setWeight": 50}, {"pause": {}}]));
        moment.pass();
        assert_eq!((weight(&moment), moment.selects("canary"), moment.size("v1")), (0, "v1", 5));
    }),
    vector("TR14", "an abort that stable cannot carry returns what it can", || {
        let mut moment = back_of_five("3/3", "4/4", 100, json!([{"setWeight": 50}, {"pause": {}}]));
        moment.pass();
        assert_eq!((weight(&moment), moment.selects("canary")), (50, "v2"));
    }),
    vector("TR15", "one stable pod of five takes a fifth back", || {
        let mut moment = back_of_five("1/1", "4/4", 100, json!([{"pause": {}}]));
        moment.pass();
        assert_eq!((weight(&moment), moment.selects("canary")), (80, "v2"));
    }),
    // S8: the reference moves the canary Service in the same pass; here it waits for the data plane.
    vector("TR16", "whole stable takes all back, the Service follows after the propagation time", || {
        let mut moment = back_of_five("5/5", "0/0", 20, json!([{"setWeight": 50}, {"pause": {}}]));
        moment.pass();
        assert_eq!((weight(&moment), moment.selects("canary")), (0, "v2"));
        moment.pass();
        assert_eq!(moment.selects("canary"), "v1");
    }),
    vector("TR17", "an abort of no pods at all", || {
        let more = json!({"dynamicStableScale": true, "steps": [{"setWeight": 50}, {"pause": {}}]});
        let mut moment = update(0, more, 0, "0/0", "0/0").status(aborted());
        moment.pass();
        assert_eq!(weight(&moment), 0);
    }),
    vector("TR18", "back to stable: traffic stays where it is until that has grown", || {
        let more = json!({"dynamicStableScale": true, "steps": [{"setWeight": 10}, {"pause": {}}]});
        let moment = Moment::canary(10, split::strategy(split::istio_subsets(), more))
            .set("v2", "9/9")
            .set("v1", "1/1")
            .stable("v1")
            .current("v1")
            .status(step(2))
            .with(split::mesh_of_subsets(10))
            .with(split::subsets("v1", "v2"));
        let mut moment = at(moment, 10, "v1", "v2");
        let pass = moment.pass();
        assert_eq!((recorded(&moment), split::routes(&moment).1, writes(&pass, "mesh")), (&json!(10), 10, 0));
        assert_eq!(
            (split::selected(&moment), moment.sizes(["v1", "v2"])),
            (["v1".to_owned(), "v2".to_owned()], [10, 9])
        );
        // The old canary is still who the weight is recorded for, and whom its Service and subset lead to.
        let weights = &moment.stored()["canary"]["weights"];
        assert_eq!(
            [&weights["canary"]["podTemplateHash"], &weights["stable"]["podTemplateHash"]],
            ["v2", "v1"]
        );
        assert_eq!((moment.selects("canary"), moment.selects("stable")), ("v2", "v1"));
        assert_eq!((writes(&pass, "subsets"), writes(&pass, "canary")), (0, 0));
    }),
    vector("TR19", "a superseded canary loses its weight before anything names the next", || {
        let more = json!({"steps": [{"setWeight": 5}, {"pause": {}}]});
        let moment = Moment::canary(10, split::strategy(split::istio_subsets(), more))
            .set("v1", "10/10")
            .set("v2", "1/1")
            .set("v3", "0/0")
            .stable("v1")
            .current("v3")
            .with(split::mesh_of_subsets(5))
            .with(split::subsets("v1", "v2"));
        let mut moment = at(moment, 5, "v1", "v2");
        moment.pass();
        assert_eq!((split::routes(&moment).1, split::selected(&moment)[1].as_str()), (0, "v2"));
        let mut moment = moment.later(2_000);
        moment.pass();
        assert_eq!((split::routes(&moment).1, split::selected(&moment)[1].as_str()), (0, "v3"));
    }),
    vector("TR20", "what stable cannot carry stays with a superseded canary", || {
        let mut moment = superseded();
        let pass = moment.pass();
        assert_eq!((weight(&moment), writes(&pass, "split"), writes(&pass, "canary")), (90, 0, 0));
    }),
    vector("TR21", "a route that cannot be taken away is told, and nothing goes on", || {
        let mut moment = before_the_balancer(10, "0/0");
        moment.edit(
            "front",
            json!({"metadata": {"annotations": {"rollouts.argoproj.io/managed-alb-annotations": "test"}}}),
        );
        let pass = moment.pass();
        assert!(pass.told("TrafficRoutingError"), "{:?}", pass.events);
        assert_eq!(
            (moment.condition("TrafficRoutingError")["status"].as_str(), writes(&pass, "front")),
            (Some("True"), 0)
        );
        assert_eq!((&moment.stored()["currentStepIndex"], moment.size("v2")), (&json!(0), 0));
        assert_eq!((recorded(&moment), moment.stored()["stableRS"].as_str()), (&json!(0), Some("v1")));
        // The condition of a specification that is wrong is another one.
        assert_eq!(moment.condition("InvalidSpec"), Value::Null);
    }),
    vector("TR22", "one pod of two carries half of a hundred million parts", || {
        crate::routed::check_carries_of_two(50_000_000, 1, true);
        crate::routed::check_carries_of_two(50_000_000, 0, false);
    }),
    vector("TR23", "a threshold says how many of five pods carry half", || {
        let percent = json!({"type": "Percent", "value": 80});
        crate::routed::check_carries(4, percent.clone(), true);
        crate::routed::check_carries(3, percent, false);
        crate::routed::check_carries(4, Value::Null, false);
    }),
    vector("TR24", "a header route leads to the canary as its step says", || {
        let more = json!({"steps": [{"setHeaderRoute": split::beta()}, {"pause": {}}]});
        let moment =
            Moment::canary(10, split::strategy(split::istio(), more)).update("v1", "10/10", "v2", "1/1");
        let mut moment = at(moment, 0, "v1", "v2").with(split::mesh(0));
        moment.pass();
        assert_eq!(split::routes(&moment), (vec!["beta".to_owned(), "primary".to_owned()], 0));
        let route = &moment.object("mesh").unwrap()["spec"]["http"][0];
        assert_eq!(route["match"], json!([{"headers": {"x-beta": {"exact": "yes"}}}]));
    }),
    vector("TR25", "a first version has no header route", || {
        let more = json!({"steps": [{"setHeaderRoute": split::beta()}, {"pause": {}}]});
        let moment =
            Moment::canary(10, split::strategy(split::istio(), more)).set("v1", "10/10").current("v1");
        let mut moment = moment.service("stable", "v1").service("canary", "v1").with(split::mesh(0));
        let pass = moment.pass();
        assert_eq!((split::routes(&moment).0, writes(&pass, "mesh")), (vec!["primary".to_owned()], 0));
    }),
    vector("TR26", "routing by nobody records nothing", || {
        let moment = Moment::canary(10, split::strategy(json!({}), ten_and_pause()))
            .update("v1", "10/10", "v2", "1/1");
        let mut moment = moment.service("stable", "v1").service("canary", "v2");
        moment.pass();
        assert_eq!(moment.stored()["canary"]["weights"], Value::Null);
    }),
    // ARGO: the reference fails its pass; here the subset that nothing flows to moves, and the weight waits (Q7).
    vector("TR27", "a quick rollback waits for the pods it goes back to", || {
        let more = json!({"steps": [{"setWeight": 10}, {"pause": {}}]});
        let moment = Moment::canary(10, split::strategy(split::istio_subsets(), more))
            .set("v1", "10/2")
            .set("v2", "10/10")
            .stable("v2")
            .current("v1")
            .spec(json!({"rollbackWindow": {"revisions": 2}}))
            .status(step(2))
            .with(split::mesh_of_subsets(0))
            .with(split::subsets("v2", "v2"));
        let mut moment = at(moment, 0, "v2", "v2");
        let pass = moment.pass();
        assert_eq!((split::routes(&moment).1, writes(&pass, "mesh"), moment.size("v2")), (0, 0, 10));
        assert_eq!(&moment.stored()["stableRS"], "v2");
    }),
    vector("TR40", "a canary Ingress of whose making nothing was heard is taken over", || {
        let steps = json!({"steps": [{"setWeight": 50}, {"pause": {}}]});
        let mut life = Life::begin_among(
            &[service("stable"), service("canary"), bare(split::ingress())],
            3,
            json!({"strategy": {"canary": steps}}),
        );
        let routed = split::strategy(json!({"nginx": {"stableIngress": "main"}}), steps);
        life.lose_reply(ingress_kind()).merge(json!({"spec": {"strategy": {"canary": routed}}})).rest();
        let key = Key::new(ingress_kind(), "shop", "web-main-canary");
        let made = life.object(&key)["metadata"]["uid"].clone();
        // Nothing is shown of Ingresses for a while: that one stands there already is only known by asking.
        life.stall(&ingress_kind(), 60);
        let begun = life.now();
        let weight = |life: &Life| {
            life.object(&key)["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"].clone()
        };
        life.image("web:2").until(|life| weight(life) == "50");
        assert!(life.now().since(begun) < Span::seconds(60), "it did not wait until it was shown");
        life.rest();
        assert_eq!((&life.object(&key)["metadata"]["uid"], weight(&life)), (&made, json!("50")));
        assert_eq!(life.object(&key)["metadata"]["ownerReferences"][0]["name"], "web");
    }),
    vector("TR55", "a pair for one router, plain Services for the other", || {
        let routing = json!({"alb": {"ingress": "front", "rootService": "root", "servicePort": 80},
            "istio": {"virtualService": {"name": "mesh", "routes": ["primary"]}}});
        let more = json!({"pingPong": {"pingService": "ping", "pongService": "pong"}, "steps": [{"setWeight": 25}, {"pause": {}}]});
        let moment = Moment::canary(4, split::strategy(routing, more))
            .update("v1", "4/4", "v2", "1/1")
            .service("ping", "v2")
            .service("pong", "v1")
            .service("root", "")
            .with(front())
            .with(split::mesh(0))
            .status(json!({"canary": {"stablePingPong": "pong"}}));
        let mut moment = at(moment, 0, "v1", "v2");
        moment.pass();
        let action = moment.object("front").unwrap()["metadata"]["annotations"]["alb.ingress.kubernetes.io/actions.root"].clone();
        let action: Value = serde_json::from_str(action.as_str().unwrap()).unwrap();
        let groups = action["ForwardConfig"]["TargetGroups"].as_array().unwrap();
        let groups: Vec<_> = groups
            .iter()
            .map(|group| (group["ServiceName"].as_str().unwrap(), group["Weight"].as_i64()))
            .collect();
        assert_eq!(groups, [("ping", Some(25)), ("pong", Some(75))]);
        let primary = &moment.object("mesh").unwrap()["spec"]["http"][0]["route"];
        assert_eq!([&primary[0]["weight"], &primary[1]["weight"]], [75, 25]);
    }),
    vector("TR94", "a subset through which traffic flows waits for the pods it is to select", || {
        // ARGO: one through which nothing flows need not wait (Q7); in the reference every pass with such a canary fails.
        assert_eq!(subsets_with(0, "1/0", false), ["v1", "v3"]);
        assert_eq!(subsets_with(20, "1/0", false), ["v1", "v2"]);
    }),
    vector("TR95", "an abort leads it to no aborted version", || {
        // ARGO: there it names v3, whose pods go. Here it stays, and names the stable pods once the traffic has left (S8, #2576).
        assert_eq!(subsets_with(0, "1/0", true), ["v1", "v2"]);
    }),
    vector("TR96", "nor do pods that no subset is to select", || {
        let more = json!({"steps": [{"setWeight": 20}, {"pause": {}}]});
        let moment = Moment::canary(5, split::strategy(split::istio_subsets(), more))
            .set("v0", "1/0")
            .update("v1", "5/5", "v2", "1/1")
            .with(split::mesh_of_subsets(0))
            .with(split::subsets("v1", "v1"));
        let mut moment = at(moment, 0, "v1", "v1");
        moment.pass();
        assert_eq!(split::selected(&moment), ["v1", "v2"]);
        assert_eq!(subsets_with(0, "0/0", false), ["v1", "v3"]);
    }),
    vector("TR116", "two routers at once have the same weights at every rest", || {
        let routing = json!({"smi": {}, "nginx": {"stableIngress": "main"}});
        let more = json!({"steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]});
        let mut life = Life::begin_among(
            &[service("stable"), service("canary"), bare(split::ingress())],
            2,
            json!({"strategy": {"canary": split::strategy(routing, more)}}),
        );
        let shown = |life: &Life| {
            let kind = Kind::new("split.smi-spec.io/v1alpha1", "TrafficSplit");
            let split = life.object(&Key::new(kind, "shop", "web"));
            let ingress = life.object(&Key::new(ingress_kind(), "shop", "web-main-canary"));
            let weight =
                ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"].clone();
            let backends = split["spec"]["backends"].as_array().cloned().unwrap_or_default();
            let parts: Vec<String> =
                backends.iter().map(|b| b["weight"].to_string().replace('"', "")).collect();
            (parts.join("/"), weight.as_str().unwrap_or("").to_owned())
        };
        life.image("web:2").rest();
        assert_eq!(shown(&life), ("5/95".to_owned(), "5".to_owned()));
        life.promote().rest();
        assert_eq!(shown(&life), ("50/50".to_owned(), "50".to_owned()));
        life.promote().rest();
        assert_eq!(shown(&life), ("0/100".to_owned(), "0".to_owned()));
    }),
];

fn ten_and_pause() -> Value {
    json!({"steps": [{"setWeight": 10}, {"pause": {}}]})
}

/// A canary behind a load balancer of AWS, at its first step of this weight.
fn before_the_balancer(weight: i64, canary: &str) -> Moment {
    let routing = json!({"managedRoutes": [{"name": "beta"}],
        "alb": {"ingress": "front", "rootService": "root", "servicePort": 80}});
    let more = json!({"steps": [{"setWeight": weight}, {"pause": {}}]});
    let mut front = front();
    front["status"] = json!({"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}});
    let moment = Moment::canary(10, split::strategy(routing, more)).update("v1", "10/10", "v2", canary);
    at(moment, 0, "v1", "v2").service("root", "").with(front)
}

fn named((service, weight): (&str, i64)) -> (String, i64) {
    (service.to_owned(), weight)
}

/// The backends of a split, and the additional weights of the status, in the step of an experiment in this phase.
fn with_an_experiment(phase: &str) -> (Vec<(String, i64)>, Value) {
    let arm = json!({"name": "experiment", "specRef": "canary", "weight": 5});
    let more = json!({"steps": [{"setWeight": 10}, {"experiment": {"templates": [arm]}}]});
    let name = "web-v2-2-1";
    let mut template = crate::moment::template("v2");
    template["metadata"]["labels"]["rollouts-pod-template-hash"] = json!("arm");
    let moment = Moment::canary(10, split::strategy(json!({"smi": {"trafficSplitName": "split"}}), more))
        .update("v1", "10/10", "v2", "1/1")
        .with(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment",
            "metadata": {"name": name, "namespace": "shop", "uid": "u-experiment", "resourceVersion": "1", "generation": 1,
                "labels": {"rollouts-pod-template-hash": "v2"},
                "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "u-web",
                    "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"templates": [{"name": "experiment", "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                "template": crate::moment::template("v2"), "service": {}}]},
            "status": {"phase": phase, "templateStatuses": [{"name": "experiment", "status": phase, "replicas": 1,
                "availableReplicas": 1, "serviceName": "experiment-service", "podTemplateHash": "arm"}]}}))
        .with(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": format!("{name}-experiment"), "namespace": "shop", "uid": "u-arm", "generation": 1,
                "resourceVersion": "1", "labels": {"app": "web", "rollouts-pod-template-hash": "arm"},
                "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "name": name,
                    "uid": "u-experiment", "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"replicas": 1, "template": template,
                "selector": {"matchLabels": {"app": "web", "rollouts-pod-template-hash": "arm"}}},
            "status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "observedGeneration": 1}}))
        .service("experiment-service", "arm")
        .service("root", "");
    let mut moment =
        at(moment, 10, "v1", "v2").status(step(1)).status(json!({"canary": {"currentExperiment": name}}));
    moment.pass();
    let split = moment.object("split").expect("the TrafficSplit").clone();
    let backends = split["spec"]["backends"].as_array().cloned().unwrap_or_default();
    let backend = |one: &Value| {
        let weight = one["weight"].as_i64().or_else(|| one["weight"].as_str()?.parse().ok());
        (one["service"].as_str().unwrap_or("").to_owned(), weight.unwrap_or(-1))
    };
    let additional = moment.stored()["canary"]["weights"]["additional"].clone();
    (backends.iter().map(backend).collect(), additional)
}

fn back_of_five(stable: &str, canary: &str, recorded: i64, steps: Value) -> Moment {
    let more = json!({"dynamicStableScale": true, "steps": steps});
    update(5, more, recorded, stable, canary).status(step(1)).status(aborted())
}

/// What the subsets select after a pass: the second version had this weight, the third one has these pods.
fn subsets_with(weight: i64, size: &str, is_aborted: bool) -> [String; 2] {
    let more = json!({"steps": [{"setWeight": 20}, {"pause": {}}]});
    let moment = Moment::canary(5, split::strategy(split::istio_subsets(), more))
        .set("v1", "5/5")
        .set("v2", "1/1")
        .set("v3", size)
        .stable("v1")
        .current("v3")
        .with(split::mesh_of_subsets(weight))
        .with(split::subsets("v1", "v2"));
    let mut moment = at(moment, weight, "v1", "v2");
    if is_aborted {
        moment = moment.status(aborted());
    }
    moment.pass();
    split::selected(&moment)
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
}

/// As a user would write it.
fn bare(mut object: Value) -> Value {
    object["metadata"] = json!({"name": object["metadata"]["name"], "namespace": "shop"});
    object
}

/// An Ingress of a load balancer.
fn front() -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "front", "namespace": "shop", "uid": "u-front", "generation": 1, "resourceVersion": "1"},
        "spec": {"ingressClassName": "alb", "rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "root", "port": {"name": "use-annotation"}}}}]}}]}})
}

fn ingress_kind() -> Kind {
    Kind::new("networking.k8s.io/v1", "Ingress")
}
