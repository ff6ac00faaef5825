//! Experiments from their first look to their last, on a cluster that does at once what ReplicaSets ask for. Vectors X13 to
//! X22, X26, A22, A23.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_api::object::Body;

use super::*;
use crate::plan::Wake;

const START: Time = Time(1_767_225_600_000);

struct Life {
    cache: Cache,
    now: Time,
    version: u64,
    events: Vec<String>,
    /// ReplicaSets whose pods never become available.
    broken: BTreeSet<String>,
    /// What a creation of this kind is told.
    refusal: Option<(Kind, Text)>,
    looks: usize,
}

fn key(kind: Kind, name: &str) -> Key {
    Key::new(kind, "n", name)
}

fn template(name: &str) -> Value {
    json!({"name": name, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "web:1", "ports": [{"containerPort": 8080, "name": "http"}]}]}}})
}

fn analysis(name: &str, is_required: bool) -> Value {
    json!({"name": name, "templateName": "t", "requiredForCompletion": is_required})
}

impl Life {
    fn new(spec: Value) -> Life {
        let mut life = Life {
            cache: Cache::default(),
            now: START,
            version: 1,
            events: Vec::new(),
            broken: BTreeSet::new(),
            refusal: None,
            looks: 0,
        };
        life.put(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": "t"},
            "spec": {"args": [{"name": "hash", "value": "none"}],
                "metrics": [{"name": "m", "provider": {"job": {"spec": {}}}}]}}));
        life.put(
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Experiment", "metadata": {"name": "e"},
            "spec": spec}),
        );
        life
    }

    fn put(&mut self, document: Value) {
        self.version += 1;
        let mut object = Object::from_value(document).expect("an object");
        object.meta.namespace = "n".into();
        object.meta.resource_version = self.version;
        if object.meta.uid.is_empty() {
            object.meta.uid = format!("uid-{}", self.version).into();
        }
        self.cache.put(Arc::new(object), self.now);
    }

    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Value)) {
        let mut document = self.cache.get(key).expect("it exists").to_value();
        change(&mut document);
        self.put(document);
    }

    fn status(&self) -> ExperimentStatus {
        let experiment = self.cache.get(&key(Kind::Experiment, "e")).expect("an Experiment");
        (*experiment.experiment().expect("an Experiment").status).clone()
    }

    fn told(&self) -> String {
        let status = self.status();
        let message = status.message.as_deref().unwrap_or("");
        format!("{} {message}", status.phase()).trim().to_owned()
    }

    fn sizes(&self) -> String {
        let sets = self.cache.of_kind(&Kind::ReplicaSet);
        let size = |set: &Arc<Object>| {
            format!("{}={}", set.meta.name, set.replica_set().expect("a ReplicaSet").wished())
        };
        sets.map(size).collect::<Vec<_>>().join(" ")
    }

    fn names(&self, kind: &Kind) -> Vec<String> {
        self.cache.of_kind(kind).map(|object| object.meta.name.to_string()).collect()
    }

    /// What a run says from now on.
    fn say(&mut self, run: &str, phase: &str, message: &str) {
        let run = key(Kind::AnalysisRun, run);
        self.change(&run, |run| run["status"] = json!({"phase": phase, "message": message}));
        self.settle();
    }

    /// ReplicaSets have the pods they ask for.
    fn pods(&mut self) {
        let sets: Vec<Arc<Object>> = self.cache.of_kind(&Kind::ReplicaSet).cloned().collect();
        for set in sets {
            let wished = set.replica_set().expect("a ReplicaSet").wished();
            let up = if self.broken.contains(&*set.meta.name) { 0 } else { wished };
            let status = json!({"replicas": wished, "readyReplicas": up, "availableReplicas": up});
            self.change(&set.key(), |set| set["status"] = status);
        }
    }

    fn carry_out(&mut self, write: Write) -> Result<(), Text> {
        match write.verb {
            Verb::Create(object) => {
                if let Some((kind, why)) = &self.refusal
                    && *kind == object.kind
                {
                    assert_eq!(write.if_refused, IfRefused::Tell);
                    return Err(why.clone());
                }
                assert!(self.cache.get(&write.key).is_none(), "{} exists", write.key);
                self.put(object.to_value());
            }
            Verb::Edit(edits) => {
                let held = self.cache.get(&write.key).expect("it exists").clone();
                let mut object = (*held).clone();
                edits.iter().for_each(|edit| edit.apply(&mut object).expect("fits"));
                self.put(object.to_value());
            }
            Verb::Delete => {
                let version = self.cache.get(&write.key).expect("it exists").meta.resource_version;
                self.cache.remove(&write.key, version);
            }
            Verb::Evict => panic!("nothing is evicted"),
        }
        for notice in write.notices {
            let kind = if notice.about.kind == Kind::Rollout { "Rollout " } else { "" };
            let loud = if notice.warning { "!" } else { "" };
            self.events.push(format!("{kind}{loud}{}: {}", notice.reason, notice.message));
        }
        Ok(())
    }

    /// Looks until there is nothing to do now.
    fn settle(&mut self) -> Wake {
        let mut facts = Facts::default();
        loop {
            self.looks += 1;
            assert!(self.looks < 300, "it never rests: {:?}", self.status());
            let world = ExperimentWorld::gather(&self.cache, &key(Kind::Experiment, "e")).expect("a world");
            let plan = plan(&world, &facts, self.now);
            if !plan.needs.is_empty() {
                let live = |need: &Need| if let Need::Live(key) = need { Some(key.clone()) } else { None };
                facts.live.extend(plan.needs.iter().filter_map(live).map(|key| (key, None)));
                continue;
            }
            if plan.writes.is_empty() {
                return plan.wake;
            }
            facts = Facts::default();
            for write in plan.writes {
                let key = write.key.clone();
                if let Err(why) = self.carry_out(write) {
                    facts.refused.insert(key, why);
                    break;
                }
            }
            self.pods();
        }
    }

    /// Lives on until so many seconds after the start.
    fn until(&mut self, seconds: i64) {
        let end = START.plus(Span::seconds(seconds));
        while let Wake::At(at) = self.settle() {
            if at > end {
                break;
            }
            assert!(at > self.now, "an alarm for now");
            self.now = at;
        }
        self.now = end;
        self.settle();
    }
}

#[test]
fn pods_come_run_and_go() {
    let mut life = Life::new(json!({"duration": "1m", "templates": [template("a"), template("b")]}));
    life.settle();
    assert_eq!(life.told(), "Running");
    assert_eq!(life.sizes(), "e-a=1 e-b=1");
    life.until(60);
    assert_eq!(life.told(), "Running");
    life.until(61);
    assert_eq!((life.told(), life.sizes()), ("Successful".to_owned(), "e-a=1 e-b=1".to_owned()));
    life.until(91);
    assert_eq!(life.sizes(), "e-a=0 e-b=0");
    assert_eq!(
        life.events,
        [
            "TemplateProgressing: Template 'a' transitioned from  -> Progressing",
            "TemplateProgressing: Template 'b' transitioned from  -> Progressing",
            "ExperimentPending: Experiment transitioned from  -> Pending",
            "ScalingReplicaSet: Scaled up ReplicaSet e-a from 0 to 1",
            "ScalingReplicaSet: Scaled up ReplicaSet e-b from 0 to 1",
            "TemplateRunning: Template 'a' transitioned from Progressing -> Running",
            "TemplateRunning: Template 'b' transitioned from Progressing -> Running",
            "ExperimentRunning: Experiment transitioned from Pending -> Running",
            "TemplateSuccessful: Template 'a' transitioned from Running -> Successful",
            "TemplateSuccessful: Template 'b' transitioned from Running -> Successful",
            "ExperimentSuccessful: Experiment transitioned from Running -> Successful",
            "ScalingReplicaSet: Scaled down ReplicaSet e-a from 1 to 0",
            "ScalingReplicaSet: Scaled down ReplicaSet e-b from 1 to 0",
        ]
    );
    assert_eq!(life.settle(), Wake::OnChange);
}

/// Vector X22, and what is told to end early.
#[test]
fn without_a_delay_pods_go_at_once() {
    let mut life = Life::new(json!({"scaleDownDelaySeconds": 0, "templates": [template("a")]}));
    life.until(5000);
    assert_eq!((life.told(), life.sizes()), ("Running".to_owned(), "e-a=1".to_owned()));
    life.change(&key(Kind::Experiment, "e"), |one| one["spec"]["terminate"] = json!(true));
    life.settle();
    assert_eq!((life.told(), life.sizes()), ("Successful".to_owned(), "e-a=0".to_owned()));
    let set = life.cache.get(&key(Kind::ReplicaSet, "e-a")).expect("a ReplicaSet");
    assert!(set.meta.annotations.get("scale-down-deadline").is_none());
}

/// Vector X19.
#[test]
fn a_template_that_is_late_fails_the_experiment() {
    let mut life =
        Life::new(json!({"progressDeadlineSeconds": 30, "templates": [template("bar"), template("ok")]}));
    life.broken.insert("e-bar".to_owned());
    life.until(30);
    assert_eq!(life.told(), "Pending");
    life.until(31);
    assert_eq!(life.told(), "Failed Template 'bar' exceeded its progressDeadlineSeconds (30)");
    assert!(life.events.contains(
        &"!TemplateFailed: Template 'bar' transitioned from Progressing -> Failed: Template 'bar' exceeded its \
         progressDeadlineSeconds (30)"
            .to_owned()
    ));
    life.until(100);
    assert_eq!(life.sizes(), "e-bar=0 e-ok=0");
}

/// Vector X26.
#[test]
fn hashes_are_those_of_no_other_set() {
    let mut life = Life::new(json!({"templates": [template("a"), template("b")]}));
    life.settle();
    let mut hashes: Vec<String> = vec![schema_hash(&template("a")["template"])];
    for set in life.cache.of_kind(&Kind::ReplicaSet) {
        let body = set.replica_set().expect("a ReplicaSet");
        let hash = set.meta.labels.get("rollouts-pod-template-hash").expect("a hash");
        assert_eq!(body.template.labels.get("rollouts-pod-template-hash"), Some(hash));
        assert_eq!(body.selector.labels.get("rollouts-pod-template-hash"), Some(hash));
        assert!(body.template.annotations.is_empty(), "the mark is for the hash only");
        hashes.push(hash.to_string());
    }
    assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), 3, "{hashes:?}");
}

fn schema_hash(template: &Value) -> String {
    tidegate_api::schema::pod_template_hash(template, None)
}

/// Vectors X14 to X18.
#[test]
fn required_analyses_decide_when_it_is_over() {
    let with = |analyses: Value| {
        let mut life =
            Life::new(json!({"duration": "1m", "templates": [template("a")], "analyses": analyses}));
        life.settle();
        assert_eq!(life.told(), "Running");
        life
    };
    let mut life = with(json!([analysis("x", true), analysis("y", true)]));
    assert_eq!(life.names(&Kind::AnalysisRun), ["e-x", "e-y"]);
    life.say("e-x", "Successful", "");
    assert_eq!(life.told(), "Running");
    life.say("e-y", "Successful", "");
    assert_eq!(life.told(), "Successful Required AnalysisRuns completed");

    let mut life = with(json!([analysis("x", false)]));
    life.say("e-x", "Running", "");
    life.until(61);
    assert_eq!(life.told(), "Successful", "an optional one is not waited for");
    let run = life.cache.get(&key(Kind::AnalysisRun, "e-x")).expect("a run");
    assert!(run.analysis_run().expect("a run").spec.spec().terminate);

    let mut life = with(json!([analysis("x", true)]));
    life.say("e-x", "Running", "");
    life.until(100);
    assert_eq!(life.told(), "Running", "a required one is waited for");
    life.say("e-x", "Failed", "too many errors");
    assert_eq!(life.told(), "Failed too many errors");

    let mut life = with(json!([analysis("x", false)]));
    life.say("e-x", "Inconclusive", "");
    assert_eq!(life.told(), "Inconclusive", "each one can end it");
    assert!(life.events.contains(
        &"!AnalysisRunInconclusive: AnalysisRun 'x' transitioned from Pending -> Inconclusive".to_owned()
    ));
}

/// Row A5 of the defects that are mended.
#[test]
fn it_ends_while_runs_are_still_ending() {
    let spec = json!({"templates": [template("a")], "analyses": [analysis("x", true), analysis("y", false)]});
    let mut life = Life::new(spec.clone());
    life.settle();
    life.say("e-y", "Running", "");
    life.say("e-x", "Successful", "");
    assert_eq!(life.told(), "Successful Required AnalysisRuns completed");

    let mut life = Life::new(spec);
    life.settle();
    life.say("e-x", "Running", "");
    life.change(&key(Kind::Experiment, "e"), |one| one["spec"]["terminate"] = json!(true));
    life.settle();
    assert_eq!(life.told(), "Running", "the required run has not said a word");
    assert!(life.events.contains(&"AnalysisRunTerminating: Terminating x (e-x)".to_owned()));
    life.say("e-x", "Inconclusive", "Run Terminated");
    assert_eq!(life.told(), "Inconclusive Run Terminated");
}

/// Row A17: what was never asked was not answered.
#[test]
fn a_required_analysis_that_never_began_is_no_success() {
    let mut life = Life::new(json!({"templates": [template("a")], "analyses": [analysis("x", true)]}));
    life.broken.insert("e-a".to_owned());
    life.settle();
    life.change(&key(Kind::Experiment, "e"), |one| one["spec"]["terminate"] = json!(true));
    life.settle();
    assert_eq!(life.told(), "Inconclusive Required analysis 'x' was never begun");
    assert!(life.names(&Kind::AnalysisRun).is_empty());
}

/// Vector X20.
#[test]
fn a_missing_template_is_told_before_pods_are_there() {
    let mut missing = analysis("x", false);
    missing["templateName"] = json!("nope");
    let mut life = Life::new(json!({"templates": [template("a")], "analyses": [missing]}));
    life.settle();
    assert_eq!(
        life.told(),
        "Error AnalysisTemplate verification failed for analysis 'x': analysistemplate.argoproj.io \"nope\" not found"
    );
}

/// Vectors A22, A23.
#[test]
fn arguments_may_name_the_pods() {
    let with = |value: &str| {
        let mut asked = analysis("x", false);
        asked["args"] = json!([{"name": "hash", "value": value}]);
        let mut life = Life::new(json!({"templates": [template("base")], "analyses": [asked]}));
        life.settle();
        life
    };
    let life = with("{{templates.base.podTemplateHash}}");
    let run = life.cache.get(&key(Kind::AnalysisRun, "e-x")).expect("a run");
    let set = life.cache.get(&key(Kind::ReplicaSet, "e-base")).expect("a ReplicaSet");
    let value = run.analysis_run().expect("a run").spec.spec().args[0].value.clone();
    assert_eq!(value.as_ref(), set.meta.labels.get("rollouts-pod-template-hash"));
    let life = with("{{templates.nope.podTemplateHash}}");
    assert_eq!(
        life.told(),
        "Error Failed to create AnalysisRun for analysis 'x': failed to resolve {{templates.nope.podTemplateHash}}"
    );
}

/// Vector X21.
#[test]
fn a_service_comes_and_goes_with_its_pods() {
    let mut served = template("a");
    served["service"] = json!({"name": "s"});
    let mut life = Life::new(json!({"duration": "10s", "templates": [served]}));
    life.settle();
    let service = life.cache.get(&key(Kind::Service, "s")).expect("a Service").clone();
    let set = life.cache.get(&key(Kind::ReplicaSet, "e-a")).expect("a ReplicaSet").clone();
    assert_eq!(service.service().expect("a Service").selector, set.meta.labels);
    assert_eq!(
        service.to_value()["spec"]["ports"],
        json!([{"name": "http", "port": 8080, "protocol": "TCP", "targetPort": 8080}])
    );
    let status = life.status().template("a").cloned().expect("a status");
    assert_eq!(status.service.as_deref(), Some("s"));
    assert_eq!(status.hash.as_ref(), set.meta.labels.get("rollouts-pod-template-hash"));
    life.until(20);
    assert_eq!(life.names(&Kind::Service), ["s"]);
    life.until(45);
    assert!(life.names(&Kind::Service).is_empty());
    assert_eq!(life.status().template("a").and_then(|status| status.service.clone()), None);
}

#[test]
fn names_of_services_fit_and_ports_have_names() {
    let mut served = template("a");
    served["service"] = json!({});
    served["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80}]);
    let mut life = Life::new(json!({"templates": [served]}));
    life.settle();
    let ports =
        life.cache.get(&key(Kind::Service, "e-a")).expect("a Service").to_value()["spec"]["ports"].take();
    let names: Vec<_> = ports.as_array().expect("ports").iter().map(|port| port["name"].clone()).collect();
    assert_eq!(names, ["tcp-80", "udp-53"]);
    let long = Life::new(json!({"templates": [{"name": "x".repeat(70), "service": {}}]}));
    let experiment = long.cache.get(&key(Kind::Experiment, "e")).expect("an Experiment");
    let spec = experiment.experiment().expect("an Experiment").spec.spec();
    let name = services::name("e", &spec.templates[0]).expect("a name");
    assert!(name.len() <= 63 && name.starts_with("e-xxx"), "{name}");
}

/// Row A7, and refusals by the API server.
#[test]
fn what_cannot_be_made_is_an_error() {
    let spec = json!({"templates": [template("a"), template("b")]});
    let mut life = Life::new(spec.clone());
    life.put(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "e-a"}, "spec": {"replicas": 0}}));
    life.settle();
    let taken = "Error Failed to create ReplicaSet for template 'a': replicasets.apps \"e-a\" already exists";
    assert_eq!(life.told(), taken);

    let mut life = Life::new(spec);
    life.refusal = Some((Kind::ReplicaSet, "no quota".into()));
    life.settle();
    assert_eq!(life.told(), "Error Failed to create ReplicaSet for template 'a': no quota");
    let event = "ReplicaSetCreateError: Failed to create new replica set \"e-a\": no quota";
    assert!(life.events.contains(&event.to_owned()), "{:?}", life.events);

    let mut served = template("a");
    served["service"] = json!({"name": "s"});
    let mut life = Life::new(json!({"templates": [served]}));
    life.put(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}}));
    life.settle();
    assert_eq!(
        life.told(),
        "Error Failed to create Service s for template 'a': service s already exists and is not owned by experiment \
         template a"
    );
    assert_eq!(life.names(&Kind::Service), ["s"]);
}

#[test]
fn nothing_is_done_while_it_is_invalid() {
    let mut life = Life::new(json!({"templates": [template("a"), template("a")]}));
    life.settle();
    assert_eq!((life.told(), life.sizes()), (String::new(), String::new()));
    let status = life.status();
    let condition = status.condition("InvalidSpec").expect("a condition");
    let message = "Experiment e has repeated template name 'a' in templates";
    assert_eq!(condition.message.as_deref(), Some(message));
}

#[test]
fn a_run_that_was_deleted_is_an_error() {
    let mut life = Life::new(json!({"templates": [template("a")], "analyses": [analysis("x", false)]}));
    life.settle();
    let run = key(Kind::AnalysisRun, "e-x");
    let version = life.cache.get(&run).expect("a run").meta.resource_version;
    life.cache.remove(&run, version);
    life.settle();
    assert_eq!(life.told(), "Error analysisruns.argoproj.io \"e-x\" not found");
}

/// Row A20, invariant S8: users go first.
#[test]
fn pods_and_service_wait_for_the_weights_to_leave() {
    let mut served = template("a");
    served["service"] = json!({});
    let mut life = Life::new(json!({"duration": "10s", "scaleDownDelaySeconds": 0, "templates": [served]}));
    life.put(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web", "uid": "r"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "strategy": {"canary": {"canaryService": "c",
            "stableService": "s", "trafficRouting": {"smi": {}}}}},
        "status": {"canary": {"weights": {"additional": [{"serviceName": "e-a", "weight": 5}]}}}}));
    let split = |service: &str| {
        json!({"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit",
            "metadata": {"name": "web", "uid": "split", "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1",
                "kind": "Rollout", "name": "web", "uid": "r", "controller": true}]},
            "spec": {"backends": [{"service": service, "weight": "5"}]}})
    };
    life.put(split("e-a"));
    life.change(&key(Kind::Experiment, "e"), |one| {
        one["metadata"]["ownerReferences"] = json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "name": "web", "uid": "r", "controller": true}]);
    });
    life.until(100);
    assert_eq!((life.told(), life.sizes()), ("Successful".to_owned(), "e-a=1".to_owned()));
    // The route changes first, then the status; the data plane may be some seconds behind.
    life.put(split("s"));
    life.until(120);
    assert_eq!(life.sizes(), "e-a=1", "the status still names it");
    life.change(&key(Kind::Rollout, "web"), |web| web["status"] = json!({}));
    life.put(split("c"));
    life.settle();
    assert_eq!(life.sizes(), "e-a=1", "the route has changed only now");
    assert_eq!(life.names(&Kind::Service), ["e-a"]);
    life.until(200);
    assert_eq!(life.sizes(), "e-a=0");
    assert!(life.names(&Kind::Service).is_empty());
    assert!(matches!(life.cache.get(&key(Kind::Rollout, "web")).expect("a Rollout").body, Body::Rollout(_)));
}
