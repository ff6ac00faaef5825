//! Routers that offer no evidence: what depends on a weight waits for the propagation time, to the millisecond. In an
//! otherwise finished step of a stable side that shrinks, old pods are what depends on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::schema::steps_hash;
use tidegate_api::time::{Span, Time};
use tidegate_controller::cache::Cache;
use tidegate_controller::names::{DESIRED_REPLICAS, HASH_LABEL, MANAGED_BY, REVISION};
use tidegate_controller::plan::{Need, Plan, Verb, Wake};
use tidegate_controller::rollout;
use tidegate_controller::sabotage::Sabotage;
use tidegate_controller::world::{Facts, RolloutWorld};

const NOW: Time = Time(1_767_225_600_000);

/// A router, its configuration, and the objects that it reads.
fn routers() -> Vec<(&'static str, Value, Vec<Value>)> {
    let object = |version: &str, kind: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
    let ingress = |class: &str, service: &str, port: Value| {
        object(
            "networking.k8s.io/v1",
            "Ingress",
            json!({"ingressClassName": class, "rules": [{"host": "shop.example.org", "http": {"paths": [{"path": "/",
                "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}}]}}]}),
        )
    };
    let istio = "networking.istio.io/v1alpha3";
    let to_hosts = json!([{"name": "primary", "route": [{"destination": {"host": "stable"}, "weight": 100},
        {"destination": {"host": "canary"}, "weight": 0}]}]);
    let to_subsets = json!([{"name": "primary", "route": [{"destination": {"host": "web", "subset": "stable"}, "weight": 100},
        {"destination": {"host": "web", "subset": "canary"}, "weight": 0}]}]);
    let labelled = |name: &str, hash: &str| json!({"name": name, "labels": {HASH_LABEL: hash}});
    let mut rule = object(
        istio,
        "DestinationRule",
        json!({"host": "web", "subsets": [labelled("stable", "v1"), labelled("canary", "v2")]}),
    );
    rule["metadata"]["annotations"] = json!({MANAGED_BY: "web"});
    let weighted = json!({"services": [{"name": "stable", "port": 80, "weight": 100}, {"name": "canary", "port": 80, "weight": 0}]});
    let backends = json!([{"serviceName": "stable", "servicePort": 80, "weight": 100},
        {"serviceName": "canary", "servicePort": 80, "weight": 0}]);
    vec![
        (
            "nginx",
            json!({"nginx": {"stableIngress": "web"}}),
            vec![ingress("nginx", "stable", json!({"number": 80}))],
        ),
        (
            "alb",
            json!({"alb": {"ingress": "web", "servicePort": 80}}),
            vec![ingress("alb", "stable", json!({"name": "use-annotation"}))],
        ),
        (
            "istio",
            json!({"istio": {"virtualService": {"name": "web"}}}),
            vec![object(istio, "VirtualService", json!({"hosts": ["web"], "http": to_hosts}))],
        ),
        (
            "istio by subsets",
            json!({"istio": {"virtualService": {"name": "web"},
                "destinationRule": {"name": "web", "stableSubsetName": "stable", "canarySubsetName": "canary"}}}),
            vec![object(istio, "VirtualService", json!({"hosts": ["web"], "http": to_subsets})), rule],
        ),
        ("smi", json!({"smi": {}}), Vec::new()),
        (
            "ambassador",
            json!({"ambassador": {"mappings": ["web"]}}),
            vec![object("getambassador.io/v2", "Mapping", json!({"prefix": "/", "service": "stable:80"}))],
        ),
        (
            "traefik",
            json!({"traefik": {"weightedTraefikServiceName": "web"}}),
            vec![object("traefik.io/v1alpha1", "TraefikService", json!({"weighted": weighted}))],
        ),
        (
            "apisix",
            json!({"apisix": {"route": {"name": "web"}}}),
            vec![object(
                "apisix.apache.org/v2",
                "ApisixRoute",
                json!({"http": [{"name": "web", "backends": backends}]}),
            )],
        ),
    ]
}

/// What is stored, and since when.
struct Stored(BTreeMap<(String, String), (Value, Time)>);

impl Stored {
    fn put(&mut self, mut object: Value, at: Time) {
        let text = |field: &Value| field.as_str().expect("a text").to_owned();
        let key = (text(&object["kind"]), text(&object["metadata"]["name"]));
        let version = self.0.get(&key).map_or(1, |(held, _)| {
            held["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok()).unwrap_or(1) + 1
        });
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("u-{}-{}", key.0, key.1));
        }
        self.0.insert(key, (object, at));
    }

    /// What a pass at this moment would do.
    fn plan(&self, now: Time) -> Plan {
        self.plan_without(None, now)
    }

    /// The same without one of its guards.
    fn plan_without(&self, guard: Option<Sabotage>, now: Time) -> Plan {
        let mut cache = Cache::default();
        let object = |value: &Value| Arc::new(Object::from_value(value.clone()).expect("an object"));
        let rollout = &self.0[&("Rollout".to_owned(), "web".to_owned())];
        cache.put(object(&rollout.0), rollout.1);
        for (value, at) in self.0.values() {
            cache.put(object(value), *at);
        }
        let world =
            RolloutWorld::gather(&cache, &Key::new(Kind::Rollout, "shop", "web")).expect("it is there");
        let mut facts = Facts { sabotage: guard, ..Facts::default() };
        let plan = rollout::plan(&world, &facts, now);
        for need in &plan.needs {
            if let Need::Live(key) = need {
                facts.live.insert(key.clone(), cache.get(key).cloned());
            }
        }
        if facts.live.is_empty() { plan } else { rollout::plan(&world, &facts, now) }
    }

    /// Carries it out.
    fn carry_out(&mut self, plan: &Plan, now: Time) {
        for write in &plan.writes {
            let key = (write.key.kind.name().to_owned(), write.key.name.to_string());
            let object = match &write.verb {
                Verb::Create(object) => object.to_value(),
                Verb::Edit(edits) => {
                    let mut object = Object::from_value(self.0[&key].0.clone()).expect("an object");
                    edits.iter().for_each(|edit| edit.apply(&mut object).expect("it fits"));
                    object.to_value()
                }
                Verb::Delete | Verb::Evict => continue,
            };
            self.put(object, now);
        }
    }
}

/// A canary at its first weight: its pods are there, nobody is led to them yet.
fn begin(routing: &Value, objects: Vec<Value>) -> Stored {
    let steps = json!([{"setWeight": 20}, {"pause": {}}]);
    let template = |version: &str| json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": format!("web:{version}")}]}});
    let mut stored = Stored(BTreeMap::new());
    let destination = |weight: i64, side: &str, hash: &str| json!({"weight": weight, "serviceName": side, "podTemplateHash": hash});
    stored.put(
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-web", "generation": 1, "annotations": {REVISION: "2"}},
            "spec": {"replicas": 10, "selector": {"matchLabels": {"app": "web"}}, "template": template("v2"),
                "strategy": {"canary": {"stableService": "stable", "canaryService": "canary", "dynamicStableScale": true,
                    "trafficRouting": routing, "steps": steps}}},
            "status": {"observedGeneration": "1", "stableRS": "v1", "currentPodHash": "v2", "currentStepIndex": 0,
                "currentStepHash": steps_hash(Some(&steps)), "replicas": 12, "updatedReplicas": 2, "readyReplicas": 12,
                "availableReplicas": 12, "blueGreen": {}, "conditions": [{"type": "Progressing", "status": "True",
                    "reason": "ReplicaSetUpdated", "message": "-", "lastUpdateTime": "2025-12-31T23:59:50Z",
                    "lastTransitionTime": "2025-12-31T23:59:50Z"}],
                "canary": {"weights": {"canary": destination(0, "canary", "v2"), "stable": destination(100, "stable", "v1")}}}}),
        Time(0),
    );
    for (revision, version, size) in [("1", "v1", 10), ("2", "v2", 2)] {
        let mut pods = template(version);
        pods["metadata"]["labels"][HASH_LABEL] = json!(version);
        stored.put(
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": format!("web-{version}"),
                "namespace": "shop", "generation": 1, "creationTimestamp": format!("2025-12-31T0{revision}:00:00Z"),
                "labels": {"app": "web", HASH_LABEL: version}, "annotations": {REVISION: revision, DESIRED_REPLICAS: "10"},
                "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "u-web",
                    "controller": true, "blockOwnerDeletion": true}]},
                "spec": {"replicas": size, "template": pods,
                    "selector": {"matchLabels": {"app": "web", HASH_LABEL: version}}},
                "status": {"replicas": size, "readyReplicas": size, "availableReplicas": size, "observedGeneration": 1}}),
            Time(0),
        );
    }
    for (service, version) in [("stable", "v1"), ("canary", "v2")] {
        stored.put(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": service, "namespace": "shop",
                "annotations": {MANAGED_BY: "web"}},
                "spec": {"selector": {"app": "web", HASH_LABEL: version}, "ports": [{"port": 80}]}}),
            Time(0),
        );
    }
    objects.into_iter().for_each(|object| stored.put(object, Time(0)));
    stored
}

/// Names of the ReplicaSets whose size a plan changes.
fn resized(plan: &Plan) -> Vec<String> {
    let sets = plan.writes.iter().filter(|write| write.key.kind == Kind::ReplicaSet);
    sets.map(|write| write.key.name.to_string()).collect()
}

#[test]
fn what_depends_on_a_weight_waits_for_the_propagation_time() {
    for (router, routing, objects) in routers() {
        let mut stored = begin(&routing, objects);
        let first = stored.plan(NOW);
        let routes = first.writes.iter().filter(|write| matches!(write.key.kind, Kind::Other { .. })).count();
        assert!(routes > 0, "{router}: the weight is written: {first:?}");
        assert_eq!(resized(&first), Vec::<String>::new(), "{router}: nothing goes in the same pass");
        stored.carry_out(&first, NOW);
        // The step is done now; what is left to do is what waits.
        stored.carry_out(&stored.plan(NOW.plus(Span::millis(1))), NOW.plus(Span::millis(1)));
        for early in [100, 500, 900, 999] {
            let plan = stored.plan(NOW.plus(Span::millis(early)));
            assert_eq!(resized(&plan), Vec::<String>::new(), "{router}: {early} ms after the write");
            assert_eq!(
                plan.wake,
                Wake::At(NOW.plus(Span::millis(1_000))),
                "{router}: it looks again in time"
            );
        }
        let hasty = stored.plan_without(Some(Sabotage::ShrinkBeforeWeight), NOW.plus(Span::millis(100)));
        assert_eq!(resized(&hasty), ["web-v1"], "{router}: nothing else keeps them");
        let plan = stored.plan(NOW.plus(Span::millis(1_000)));
        assert_eq!(resized(&plan), ["web-v1"], "{router}: a second after the write");
    }
}
