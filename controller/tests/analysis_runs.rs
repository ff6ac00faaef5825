//! The manager and its three doors while an analysis run is measured: what is asked, kept, asked again, and told.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::{Span, Time};
use tidegate_controller::manager::{Manager, Settings, WATCHED};
use tidegate_controller::plan::Verb;
use tidegate_controller::question::{Question, Reply, Response};
use tidegate_controller::seams::{Answer, ApiCall, ApiError, CallId, Clock, Cluster, Event, Metrics};

/// Everything that the manager asked for, and a store with one run.
struct World {
    now: Time,
    calls: VecDeque<(CallId, ApiCall)>,
    questions: Vec<(CallId, Question)>,
    watches: Vec<Kind>,
    told: Vec<String>,
    alarm: Option<Time>,
}

impl Cluster for World {
    fn start(&mut self, id: CallId, call: ApiCall) {
        match call {
            ApiCall::Record(notice) => self.told.push(notice.reason.to_string()),
            call => self.calls.push_back((id, call)),
        }
    }
    fn watch(&mut self, kind: Kind) {
        self.watches.push(kind);
    }
}

impl Clock for World {
    fn now(&self) -> Time {
        self.now
    }
    fn wake_at(&mut self, at: Time) {
        self.alarm = Some(at);
    }
}

impl Metrics for World {
    fn ask(&mut self, id: CallId, question: Question) {
        self.questions.push((id, question));
    }
}

struct Life {
    manager: Manager,
    world: World,
    run: Object,
    secret: Option<Object>,
}

impl Life {
    fn new(spec: Value) -> Life {
        Life::with(spec, Settings { passes_at_once: Some(1), ..Settings::default() })
    }

    fn with(spec: Value, settings: Settings) -> Life {
        let run = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
            "metadata": {"name": "run", "namespace": "n", "uid": "u", "resourceVersion": "1"}, "spec": spec});
        let run = Object::from_value(run).expect("a run");
        let world = World {
            now: Time(1_767_225_600_000),
            calls: VecDeque::new(),
            questions: Vec::new(),
            watches: Vec::new(),
            told: Vec::new(),
            alarm: None,
        };
        let mut life = Life { manager: Manager::new(settings), world, run, secret: None };
        for kind in WATCHED {
            life.tell(Event::Listed(kind.clone(), BTreeSet::new()));
        }
        let seen = Arc::new(life.run.clone());
        life.tell(Event::Seen(seen));
        life
    }

    fn tell(&mut self, event: Event) {
        self.world.alarm = None;
        self.manager.handle(event, &mut self.world);
        while let Some((id, call)) = self.world.calls.pop_front() {
            let answer = self.answer(call);
            self.world.alarm = None;
            self.manager.handle(Event::Answered(id, answer), &mut self.world);
        }
    }

    fn answer(&mut self, call: ApiCall) -> Answer {
        match call {
            ApiCall::Get(key) if key.kind == Kind::Secret => match &self.secret {
                Some(secret) => Answer::Done(Some(Arc::new(secret.clone()))),
                None => Answer::Refused(ApiError::NotFound("not there".into())),
            },
            ApiCall::Write { verb: Verb::Edit(edits), .. } => {
                edits.iter().for_each(|edit| edit.apply(&mut self.run).expect("fits"));
                self.run.meta.resource_version += 1;
                Answer::Done(Some(Arc::new(self.run.clone())))
            }
            other => panic!("nobody expects {other:?}"),
        }
    }

    fn wake(&mut self) {
        let at = self.world.alarm.expect("an alarm");
        self.world.now = self.world.now.max(at);
        self.tell(Event::Woken);
    }

    fn reply(&mut self, url: &str, reply: Reply) {
        let at = self.world.questions.iter().position(|(_, question)| &*question.url == url);
        let (id, _) = self.world.questions.remove(at.unwrap_or_else(|| panic!("nobody asks {url}")));
        self.tell(Event::Replied(id, reply));
    }

    fn status(&self) -> Value {
        self.run.to_value()["status"].clone()
    }
}

fn web(name: &str) -> Value {
    json!({"name": name, "successCondition": "result < 5", "provider": {"web": {"url": format!("http://web/{name}")}}})
}

fn said(body: &str) -> Reply {
    Reply::Answered(Response::new(200, body))
}

#[test]
fn all_measurements_of_a_look_are_asked_together() {
    let mut life = Life::new(json!({"metrics": [web("a"), web("b")]}));
    assert!(life.world.watches.contains(&Kind::AnalysisRun), "runs stand alone too");
    assert_eq!(life.world.questions.len(), 2);
    life.world.now = life.world.now.plus(Span::seconds(2));
    life.reply("http://web/b", said("7"));
    assert_eq!(life.status(), Value::Null, "nothing is stored before all have come");
    life.world.now = life.world.now.plus(Span::seconds(3));
    life.reply("http://web/a", said("3"));
    let status = life.status();
    assert_eq!(
        (&status["phase"], &status["metricResults"][0]["phase"]),
        (&json!("Failed"), &json!("Successful"))
    );
    let [a, b] = [0, 1].map(|at| status["metricResults"][at]["measurements"][0].clone());
    assert_eq!((&a["value"], &b["value"]), (&json!("3"), &json!("7")));
    assert_eq!(
        (&a["startedAt"], &a["finishedAt"]),
        (&json!("2026-01-01T00:00:00Z"), &json!("2026-01-01T00:00:05Z"))
    );
    assert_eq!(b["finishedAt"], "2026-01-01T00:00:02Z", "each ends by itself");
    assert_eq!(life.world.told, ["MetricSuccessful", "MetricFailed", "AnalysisRunFailed"]);
}

#[test]
fn a_lost_reply_is_asked_for_again_and_counts_for_nothing() {
    let mut life = Life::new(json!({"metrics": [web("a")]}));
    life.reply("http://web/a", Reply::Lost);
    assert_eq!((life.status(), life.world.questions.len()), (Value::Null, 0));
    life.wake();
    life.reply("http://web/a", said("3"));
    let status = life.status();
    assert_eq!(
        (&status["phase"], &status["metricResults"][0]["error"]),
        (&json!("Successful"), &Value::Null)
    );
}

#[test]
fn a_provider_that_is_down_is_an_error_that_is_tried_again() {
    let mut life = Life::new(json!({"metrics": [web("a")]}));
    for attempt in 1..=5 {
        life.reply("http://web/a", Reply::Failed("connection refused".into()));
        assert_eq!(life.status()["metricResults"][0]["error"], attempt);
        if attempt < 5 {
            life.wake();
        }
    }
    assert_eq!(life.status()["phase"], "Error");
    assert_eq!(life.world.now, Time(1_767_225_600_000).plus(Span::millis(40_001)));
}

#[test]
fn who_waits_for_a_reply_is_in_nobodys_way() {
    let mut life = Life::new(json!({"metrics": [web("a")]}));
    let mut other = life.run.to_value();
    other["metadata"]["name"] = json!("other");
    other["metadata"]["uid"] = json!("u2");
    let other = Object::from_value(other).expect("a run");
    life.tell(Event::Seen(Arc::new(other)));
    assert_eq!(life.world.questions.len(), 2, "one pass at once, and it only listens");
}

#[test]
fn a_secret_is_used_and_forgotten() {
    let mut metric = web("a");
    metric["provider"]["web"]["headers"] = json!([{"key": "Authorization", "value": "{{args.token}}"}]);
    let spec = json!({"metrics": [metric], "args": [
        {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]});
    let missing = Life::new(spec.clone());
    assert_eq!(missing.status()["message"], "Unable to resolve metric arguments: secrets \"s\" not found");
    assert_eq!(missing.world.told, ["AnalysisRunError"]);

    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n", "uid": "x",
        "resourceVersion": "9"}, "data": {"k": "aHVudGVyMg=="}});
    let secret = Object::from_value(secret).expect("a secret");
    let mut life = Life::new(json!({"metrics": []}));
    life.run = {
        let mut run = life.run.to_value();
        run["metadata"]["resourceVersion"] = json!("7");
        run["spec"] = spec;
        run.as_object_mut().expect("a mapping").remove("status");
        Object::from_value(run).expect("a run")
    };
    life.secret = Some(secret.clone());
    let seen = Arc::new(life.run.clone());
    life.tell(Event::Seen(seen));
    let header = life.world.questions[0].1.header("Authorization").expect("a header").reveal().clone();
    assert_eq!(&*header, "hunter2");
    assert!(life.manager.cache().get(&secret.key()).is_none(), "Secrets are not kept");
    assert!(!format!("{:?}", life.manager).contains("hunter2"));
    life.reply("http://web/a", said("\"hunter2\""));
    let document = life.run.to_value().to_string();
    assert!(!document.contains("hunter2"), "{document}");
    assert_eq!(life.run.key(), Key::new(Kind::AnalysisRun, "n", "run"));
}

#[test]
fn a_run_that_is_told_to_end_while_it_is_asked_takes_no_measurement() {
    let mut metric = web("a");
    metric["interval"] = json!("10s");
    let mut life = Life::new(json!({"metrics": [metric]}));
    life.run = {
        let mut run = life.run.to_value();
        run["metadata"]["resourceVersion"] = json!("2");
        run["spec"]["terminate"] = json!(true);
        Object::from_value(run).expect("a run")
    };
    let seen = Arc::new(life.run.clone());
    life.tell(Event::Seen(seen));
    life.reply("http://web/a", said("9"));
    let status = life.status();
    assert_eq!((&status["phase"], &status["message"]), (&json!("Successful"), &json!("Run Terminated")));
    assert_eq!(status["metricResults"], Value::Null);
}

/// Any write for the Rollout would be one that nobody expects.
#[test]
fn a_controller_of_runs_alone_leaves_rollouts_alone() {
    let settings = Settings { runs_only: true, ..Settings::default() };
    let mut life = Life::with(json!({"metrics": [web("a")]}), settings);
    let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "n", "uid": "r", "resourceVersion": "2", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "strategy": {"canary": {}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}}}});
    life.tell(Event::Seen(Arc::new(Object::from_value(rollout).expect("a rollout"))));
    life.reply("http://web/a", said("3"));
    assert_eq!(life.status()["phase"], "Successful");
}
