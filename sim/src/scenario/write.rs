//! A [`Script`] as the text of a scenario, which reads as the same script again.

use serde_json::{Map, Value, json};
use tidegate_api::yaml_out::to_yaml;

use super::faults::duration;
use super::{Compare, Condition, Entry, Moment, Patch, Script, Side, Verb};
use crate::world::{Millis, PodModel};

impl Script {
    /// The text of a scenario that holds everything in itself.
    pub fn to_yaml(&self) -> String {
        let mut text = to_yaml(&json!({"about": self.about}));
        text += &to_yaml(&json!({"given": self.given.iter().map(|o| o.to_value()).collect::<Vec<_>>()}));
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
        let mut world = json!({"seed": self.seed, "lag": range(self.watch_lag)});
        if !pods.is_empty() {
            world["pods"] = pods.into();
        }
        world
    }

    fn then_value(&self) -> Map<String, Value> {
        let mut then = Map::new();
        match self.then.ends.get("") {
            Some(phase) => drop(then.insert("ends".to_owned(), json!(phase))),
            None if self.then.ends.is_empty() => {}
            None => drop(then.insert("ends".to_owned(), json!(self.then.ends))),
        }
        if let Some(within) = self.then.within {
            then.insert("within".to_owned(), json!(duration(within)));
        }
        if !self.then.never.is_empty() {
            let never = self.then.never.iter();
            let never: Vec<Value> = never
                .map(|never| json!({"rollout": never.rollout, "weight": never.weight.to_string()}))
                .collect();
            then.insert("never".to_owned(), never.into());
        }
        then
    }
}

/// What a model says that the one it is derived from does not.
fn model(model: &PodModel, base: &PodModel) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    if model.startup != base.startup {
        set("startup", range(model.startup));
    }
    if model.ready != base.ready {
        set("ready", json!(if model.ready { "always" } else { "never" }));
    }
    if let Some(after) = model.crash_after.filter(|_| model.crash_after != base.crash_after) {
        set("crash_after", range(after));
    }
    if model.termination != base.termination {
        set("termination", range(model.termination));
    }
    if let Some(flaps) = model.flaps.as_ref().filter(|_| model.flaps != base.flaps) {
        set("flaps", json!({"up": range(flaps.up), "down": range(flaps.down), "times": flaps.times}));
    }
    fields
}

fn range((low, high): Millis) -> Value {
    use tidegate_api::time::Span;
    let (from, to) = (duration(Span::millis(low)), duration(Span::millis(high)));
    json!(if low == high { from } else { format!("{from}..{to}") })
}

fn entry(entry: &Entry) -> Value {
    let mut fields = Map::new();
    match &entry.moment {
        Moment::At(at) => drop(fields.insert("at".to_owned(), json!(duration(*at)))),
        Moment::Once(condition) => drop(fields.insert("once".to_owned(), once(condition))),
        Moment::Next => {}
    }
    if entry.after.0 != 0 {
        fields.insert("after".to_owned(), json!(duration(entry.after)));
    }
    let (name, value) = verb(&entry.verb);
    fields.insert(name.to_owned(), value);
    fields.into()
}

fn once(condition: &Condition) -> Value {
    let mut once = json!({"rollout": condition.rollout});
    let bound = |bound: super::Bound| match bound.how {
        Compare::Equal => json!(bound.with),
        _ => json!(bound.to_string()),
    };
    let fields = [
        ("phase", condition.phase.as_ref().map(|text| json!(text))),
        ("step", condition.step.map(|step| json!(step))),
        ("weight", condition.weight.map(bound)),
        ("message", condition.message.as_ref().map(|text| json!(text))),
        ("healthy_pods", condition.healthy_pods.map(bound)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            once[name] = value;
        }
    }
    if !condition.replicas.is_empty() {
        let counts = condition.replicas.iter().map(|(revision, n)| (format!("rev{revision}"), json!(n)));
        once["replicas"] = Value::Object(counts.collect());
    }
    once
}

fn verb(verb: &Verb) -> (&'static str, Value) {
    let documents = |objects: &[tidegate_api::object::Object]| -> Value {
        objects.iter().map(|object| object.to_value()).collect()
    };
    match verb {
        Verb::SetImage { rollout, container, image } => {
            let mut value = json!({"rollout": rollout, "image": image});
            if let Some(container) = container {
                value["container"] = json!(container);
            }
            ("set_image", value)
        }
        Verb::Simple(simple, rollout) => (simple.name(), json!(rollout)),
        Verb::Undo { rollout, to_revision } => {
            ("undo", json!({"rollout": rollout, "to_revision": to_revision}))
        }
        Verb::Scale { rollout, replicas } => ("scale", json!({"rollout": rollout, "replicas": replicas})),
        Verb::Apply(objects) => ("apply", documents(objects)),
        Verb::Create(objects) => ("create", documents(objects)),
        Verb::Delete { kind, name } => ("delete", json!({"kind": kind.name(), "name": name})),
        Verb::Patch { kind, name, patch, status } => {
            let mut value = json!({"kind": kind.name(), "name": name});
            match patch {
                Patch::Merge(patch) => value["merge"] = patch.clone(),
                Patch::Operations(patch) => value["json"] = patch.clone(),
            }
            if *status {
                value["subresource"] = json!("status");
            }
            ("patch", value)
        }
        Verb::Ready { rollout, side, count, ready } => {
            let side = match side {
                Side::Stable => json!("stable"),
                Side::New => json!("new"),
                Side::Revision(revision) => json!(revision),
            };
            let mut value = json!({"rollout": rollout, "side": side});
            if let Some(count) = count {
                value["count"] = json!(count);
            }
            (if *ready { "ready" } else { "unready" }, value)
        }
        Verb::RestartController => ("restart_controller", Value::Null),
        Verb::Note(text) => ("note", json!(text)),
        Verb::Fault(fault) => ("fault", fault.to_value()),
    }
}
