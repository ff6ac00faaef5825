//! A [`Script`] as the text of a scenario, which reads as the same script again.

use serde_json::{Map, Value, json};
use tidegate_api::object::Object;
use tidegate_api::time::Span;
use tidegate_api::yaml_out::to_yaml;

use super::{Bound, Compare, Condition, Entry, Moment, Patch, Script, Side, StatusCondition, Target, Verb};
use super::{EventCondition, Evidence, ObjectCondition, UsersSaw};
use crate::metrics::MetricsModel;
use crate::world::{Millis, PodModel, Quality, RouterModel, TrafficModel, WorldConfig};

impl Script {
    /// The text of a scenario that holds everything in itself.
    pub fn to_yaml(&self) -> String {
        let mut text = to_yaml(&json!({"about": self.about}));
        text += &to_yaml(&json!({ "given": documents(&self.given) }));
        if !self.settled {
            text += "settled: false\n";
        }
        text += &to_yaml(&json!({"world": self.world_value()}));
        let when: Vec<Value> = self.when.iter().map(entry).collect();
        text += &to_yaml(&json!({ "when": when }));
        let then = self.then_value();
        if !then.is_empty() {
            text += &to_yaml(&json!({ "then": then }));
        }
        text
    }

    fn world_value(&self) -> Value {
        let mut pods = model(&self.pods.default, &PodModel::default());
        for (image, of_image) in &self.pods.by_image {
            pods.insert(image.clone(), model(of_image, &self.pods.default).into());
        }
        let mut world = json!({"seed": self.seed});
        if self.watch_lag != WorldConfig::default().watch_lag {
            world["lag"] = range(self.watch_lag);
        }
        if self.routers != RouterModel::default() {
            world["routers"] = routers(&self.routers);
        }
        if let Some(model) = &self.traffic {
            world["traffic"] = traffic(model);
        }
        if !self.metrics.is_empty() {
            world["metrics"] = self.metrics.iter().map(super::metrics::series).collect();
        }
        if self.scrape != MetricsModel::default().scrape {
            world["scrape"] = json!(duration(self.scrape));
        }
        if !self.quality.is_empty() {
            world["quality"] = quality(&self.quality);
        }
        if !pods.is_empty() {
            world["pods"] = pods.into();
        }
        world
    }

    fn then_value(&self) -> Map<String, Value> {
        let mut then = Fields::default();
        match self.then.ends.get("") {
            Some(phase) => then.set("ends", phase.as_str()),
            None if self.then.ends.is_empty() => {}
            None => then.set("ends", json!(self.then.ends)),
        }
        then.set_some("within", self.then.within.map(duration));
        then.set_some("users_saw", self.then.users_saw.as_ref().map(UsersSaw::to_value));
        for (name, conditions) in [("never", &self.then.never), ("holds", &self.then.holds)] {
            if !conditions.is_empty() {
                then.set(name, conditions.iter().map(condition).collect::<Vec<_>>());
            }
        }
        then.0
    }
}

/// A duration as a scenario has it.
pub(super) fn duration(span: Span) -> String {
    match span.0 % 1000 {
        0 => format!("{}s", span.0 / 1000),
        _ => format!("{}ms", span.0),
    }
}

/// A range as a scenario has it.
pub(super) fn range((low, high): Millis) -> Value {
    let (from, to) = (duration(Span::millis(low)), duration(Span::millis(high)));
    json!(if low == high { from } else { format!("{from}..{to}") })
}

fn routers(model: &RouterModel) -> Value {
    let base = RouterModel::default();
    let mut fields = Fields::default();
    fields.set_some("propagation", (model.propagation != base.propagation).then(|| range(model.propagation)));
    fields.set_some("endpoints", (model.endpoints != base.endpoints).then(|| range(model.endpoints)));
    fields.set_some("proxies", (model.proxies != base.proxies).then(|| json!(model.proxies)));
    fields.set_some("elb", model.elb.then_some(json!(true)));
    let unserved: Vec<&String> = model.unserved.keys().collect();
    fields.set_some("unserved", (!unserved.is_empty()).then(|| json!(unserved)));
    for (router, lag) in &model.propagation_of {
        fields.set(router, range(*lag));
    }
    fields.0.into()
}

fn traffic(model: &TrafficModel) -> Value {
    let base = TrafficModel::default();
    let mut fields = Fields::default();
    match model.rps.as_slice() {
        [(Span::ZERO, rps)] => fields.set("rps", *rps),
        steps => {
            let steps = steps.iter().map(|(from, rps)| (duration(*from), json!(rps)));
            fields.set("rps", steps.collect::<Map<_, _>>());
        }
    }
    fields.set_some("sessions", (model.sessions != base.sessions).then(|| duration(model.sessions)));
    let tenths = model.matching;
    fields.set_some("matching", (tenths != 0).then(|| format!("{}.{}%", tenths / 10, tenths % 10)));
    fields.set_some("services", (!model.services.is_empty()).then(|| json!(model.services)));
    fields.0.into()
}

fn quality(qualities: &[(String, Quality)]) -> Value {
    let of = |quality: &Quality| {
        let mut fields = Fields::default();
        let errors = quality.errors;
        fields.set_some(
            "errors",
            (errors != 0).then(|| format!("{}.{:04}%", errors / 10_000, errors % 10_000)),
        );
        fields.set_some("latency", quality.latency.map(duration));
        fields.set_some("capacity", quality.capacity);
        fields.0
    };
    qualities
        .iter()
        .map(|(image, quality)| (image.clone(), Value::from(of(quality))))
        .collect::<Map<_, _>>()
        .into()
}

/// A mapping of which the absent parts are left out.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn set_some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }
}

/// What a model says that the one it is derived from does not.
fn model(model: &PodModel, base: &PodModel) -> Map<String, Value> {
    let mut fields = Fields::default();
    if model.startup != base.startup {
        fields.set("startup", range(model.startup));
    }
    if model.ready != base.ready {
        fields.set("ready", if model.ready { "always" } else { "never" });
    }
    fields.set_some(
        "crash_after",
        model.crash_after.filter(|_| model.crash_after != base.crash_after).map(range),
    );
    fields.set_some("exit", model.exit.filter(|_| model.exit != base.exit));
    if model.termination != base.termination {
        fields.set("termination", range(model.termination));
    }
    if let Some(flaps) = model.flaps.as_ref().filter(|_| model.flaps != base.flaps) {
        let flaps = json!({"up": range(flaps.up), "down": range(flaps.down), "times": flaps.times});
        fields.set("flaps", flaps);
    }
    fields.0
}

fn entry(entry: &Entry) -> Value {
    let mut fields = Fields::default();
    match &entry.moment {
        Moment::At(at) => fields.set("at", duration(*at)),
        Moment::Once(once) => fields.set("once", condition(once)),
        Moment::Next => {}
    }
    if entry.after.0 != 0 {
        fields.set("after", duration(entry.after));
    }
    let (name, value) = verb(&entry.verb);
    fields.set(name, value);
    fields.0.into()
}

fn bound(bound: Bound) -> Value {
    match bound.how {
        Compare::Equal => json!(bound.with),
        _ => json!(bound.to_string()),
    }
}

fn condition(condition: &Condition) -> Value {
    let mut fields = Fields::default();
    fields.set_some("rollout", condition.rollout.as_deref());
    fields.set_some("analysis_run", condition.analysis_run.as_deref());
    fields.set_some("experiment", condition.experiment.as_deref());
    fields.set_some("phase", condition.phase.as_deref());
    fields.set_some("step", condition.step);
    fields.set_some("weight", condition.weight.map(bound));
    fields.set_some("message", condition.message.as_deref());
    fields.set_some("condition", condition.condition.as_ref().map(status_condition));
    if !condition.replicas.is_empty() {
        let counts = condition.replicas.iter().map(|(revision, n)| (format!("rev{revision}"), bound(*n)));
        fields.set("replicas", counts.collect::<Map<_, _>>());
    }
    fields.set_some("healthy_pods", condition.healthy_pods.map(bound));
    fields.set_some("object", condition.object.as_ref().map(object_condition));
    fields.set_some("event", condition.event.as_ref().map(event_condition));
    fields.set_some("time_since", condition.time_since.map(duration));
    fields.0.into()
}

fn status_condition(condition: &StatusCondition) -> Value {
    let mut fields = Fields::default();
    fields.set("type", condition.kind.as_str());
    fields.set_some("status", condition.status.as_deref());
    fields.set_some("reason", condition.reason.as_deref());
    fields.set_some("message", condition.message.as_deref());
    fields.0.into()
}

fn object_condition(condition: &ObjectCondition) -> Value {
    let mut fields = target(&condition.target);
    fields.set_some("path", condition.path.as_deref());
    fields.set_some("value", condition.value.clone());
    fields.set_some("count", condition.count.map(bound));
    fields.0.into()
}

fn event_condition(condition: &EventCondition) -> Value {
    let mut fields = Fields::default();
    fields.set("reason", condition.reason.as_str());
    fields.set_some("message", condition.message.as_deref());
    fields.set_some("count", condition.count.map(bound));
    fields.0.into()
}

fn target(target: &Target) -> Fields {
    let mut fields = Fields::default();
    fields.set("kind", target.kind.name());
    fields.set_some("name", target.name.as_deref());
    fields.set_some("rollout", target.rollout.as_deref());
    fields.set_some("revision", target.revision);
    fields
}

fn documents(objects: &[Object]) -> Value {
    objects.iter().map(Object::to_value).collect()
}

fn verb(verb: &Verb) -> (&'static str, Value) {
    match verb {
        Verb::SetImage { rollout, container, image } => {
            let mut fields = Fields::default();
            fields.set("rollout", rollout.as_str());
            fields.set_some("container", container.as_deref());
            fields.set("image", image.as_str());
            ("set_image", fields.0.into())
        }
        Verb::Simple(simple, rollout) => (simple.name(), json!(rollout)),
        Verb::Undo { rollout, to_revision } => {
            ("undo", json!({"rollout": rollout, "to_revision": to_revision}))
        }
        Verb::Scale { rollout, replicas } => ("scale", json!({"rollout": rollout, "replicas": replicas})),
        Verb::Apply(objects) => ("apply", documents(objects)),
        Verb::Create(objects) => ("create", documents(objects)),
        Verb::Delete(object) => ("delete", target(object).0.into()),
        Verb::Patch { target: object, patch, status } => {
            let mut fields = target(object);
            match patch {
                Patch::Merge(patch) => fields.set("merge", patch.clone()),
                Patch::Operations(patch) => fields.set("json", patch.clone()),
            }
            fields.set_some("subresource", status.then_some("status"));
            ("patch", fields.0.into())
        }
        Verb::Ready { rollout, side, count, ready } => {
            let side = match side {
                Side::Stable => json!("stable"),
                Side::New => json!("new"),
                Side::Revision(revision) => json!(revision),
            };
            let mut fields = Fields::default();
            fields.set("rollout", rollout.as_str());
            fields.set("side", side);
            fields.set_some("count", *count);
            (if *ready { "ready" } else { "unready" }, fields.0.into())
        }
        Verb::Load { autoscaler, total, per_pod } => {
            ("load", json!({"autoscaler": autoscaler, "total": total, "per_pod": per_pod}))
        }
        Verb::Metric(series) => ("metric", super::metrics::series(series)),
        Verb::Terminate(Evidence::Run(name)) => ("terminate", json!({"analysis_run": name})),
        Verb::Terminate(Evidence::Experiment(name)) => ("terminate", json!({"experiment": name})),
        Verb::Traffic(rps) => ("traffic", json!(rps)),
        Verb::Quality(qualities) => ("quality", quality(qualities)),
        Verb::Serve(kind, true) => ("serve", json!(kind)),
        Verb::Serve(kind, false) => ("unserve", json!(kind)),
        Verb::Fault(fault) => ("fault", fault.to_value()),
        Verb::RestartController => ("restart_controller", Value::Null),
        Verb::UpgradeController(down) => ("upgrade_controller", json!({ "down": duration(*down) })),
        Verb::Note(text) => ("note", json!(text)),
    }
}
