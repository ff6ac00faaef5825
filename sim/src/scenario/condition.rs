//! Whether what a scenario waits for holds.

use std::fmt;

use serde_json::Value;
use tidegate_api::object::Object;

use super::{Bound, Compare, Condition, EventCondition, ObjectCondition, Since, StatusCondition, verbs};
use crate::trace::view::View;
use crate::world::World;

impl Bound {
    /// Whether the number is within the bound.
    pub fn holds(self, number: i64) -> bool {
        match self.how {
            Compare::Less => number < self.with,
            Compare::AtMost => number <= self.with,
            Compare::Equal => number == self.with,
            Compare::AtLeast => number >= self.with,
            Compare::More => number > self.with,
        }
    }

    /// Reads `> 20`, `<=5`, `7`.
    pub fn parse(text: &str) -> Option<Bound> {
        let text = text.trim();
        let signs = [
            ("<=", Compare::AtMost),
            (">=", Compare::AtLeast),
            ("==", Compare::Equal),
            ("<", Compare::Less),
            (">", Compare::More),
        ];
        let (how, rest) = signs
            .iter()
            .find_map(|(sign, how)| Some((*how, text.strip_prefix(sign)?)))
            .unwrap_or((Compare::Equal, text));
        let with = rest.trim().trim_end_matches('%').parse().ok()?;
        Some(Bound { how, with })
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match self.how {
            Compare::Less => "<",
            Compare::AtMost => "<=",
            Compare::Equal => "==",
            Compare::AtLeast => ">=",
            Compare::More => ">",
        };
        write!(out, "{sign} {}", self.with)
    }
}

impl Condition {
    /// Whether all of it holds now, by a status that the controller has computed from the present specification: an
    /// older one says nothing about what the user did since.
    pub fn holds(&self, world: &World, since: Since) -> bool {
        if let Some(name) = &self.rollout {
            let status = verbs::rollout(world, name).and_then(|object| Some((object, object.rollout()?)));
            let Some((object, body)) = status else { return false };
            let observed =
                body.status.observed_generation.as_deref().and_then(|text| text.parse::<i64>().ok());
            if observed.is_none_or(|observed| observed < object.meta.generation) {
                return false;
            }
        }
        self.is_so(world, since)
    }

    /// Whether all of it is so now, by whatever the status says.
    pub fn is_so(&self, world: &World, since: Since) -> bool {
        let run = self.analysis_run.as_ref().map(|name| verbs::analysis_run(world, name));
        let experiment = self.experiment.as_ref().map(|name| verbs::experiment(world, name));
        if [run, experiment].into_iter().flatten().any(|of| !of.is_some_and(|of| self.is_so_of_evidence(of)))
        {
            return false;
        }
        let rollout = self.rollout.as_ref().map(|name| verbs::rollout(world, name));
        self.time_since.is_none_or(|span| world.now().since(since.at) >= span)
            && self.event.as_ref().is_none_or(|event| event.is_so(world, since))
            && self.object.as_ref().is_none_or(|object| object.is_so(world))
            && rollout.is_none_or(|found| found.is_some_and(|object| self.is_so_of(world, object)))
    }

    /// Of an AnalysisRun or an Experiment.
    fn is_so_of_evidence(&self, object: &Object) -> bool {
        let of_run = object.analysis_run().map(|body| (body.status.phase(), body.status.message.as_deref()));
        let of_experiment = || Some(&object.experiment()?.status);
        let Some((phase, said)) =
            of_run.or_else(|| of_experiment().map(|s| (s.phase(), s.message.as_deref())))
        else {
            return false;
        };
        // Beside a Rollout the message is that one's.
        let message = self.message.as_deref().filter(|_| self.rollout.is_none());
        self.phase.as_deref().is_none_or(|wanted| wanted == phase) && contains(message, said)
    }

    fn is_so_of(&self, world: &World, object: &Object) -> bool {
        let Some(body) = object.rollout() else { return false };
        let status = &body.status;
        let plain = self.phase.is_none()
            || self.analysis_run.is_some()
            || self.experiment.is_some()
            || self.phase.as_deref() == status.phase.as_deref();
        if !plain
            || self.step.is_some_and(|step| status.index() != Some(step))
            || !contains(self.message.as_deref(), status.message.as_deref())
            || self.condition.as_ref().is_some_and(|condition| !condition.is_so(object))
        {
            return false;
        }
        if self.weight.is_none() && self.replicas.is_empty() && self.healthy_pods.is_none() {
            return true;
        }
        let view = View::of(world, object);
        let pods =
            |revision: i64| view.sets.iter().filter(|s| s.revision == revision).map(|s| s.pods).sum::<i64>();
        self.weight.is_none_or(|bound| bound.holds(view.weight))
            && self.replicas.iter().all(|(revision, bound)| bound.holds(pods(*revision)))
            && self.healthy_pods.is_none_or(|bound| bound.holds(view.sets.iter().map(|s| s.ready).sum()))
    }
}

fn contains(part: Option<&str>, all: Option<&str>) -> bool {
    part.is_none_or(|part| all.is_some_and(|all| all.contains(part)))
}

impl StatusCondition {
    fn is_so(&self, rollout: &Object) -> bool {
        let document = rollout.to_value();
        let all = document.pointer("/status/conditions").and_then(Value::as_array);
        let says = |found: &Value, key: &str, wish: &Option<String>| {
            wish.as_deref().is_none_or(|wish| found[key] == wish)
        };
        all.into_iter().flatten().any(|found| {
            found["type"] == self.kind.as_str()
                && says(found, "status", &self.status)
                && says(found, "reason", &self.reason)
                && contains(self.message.as_deref(), found["message"].as_str())
        })
    }
}

impl ObjectCondition {
    fn is_so(&self, world: &World) -> bool {
        let mut found = self.target.all(world);
        if let Some(bound) = self.count {
            return bound.holds(i64::try_from(found.count()).unwrap_or(i64::MAX));
        }
        // An object that is not there has no fields: that is what a wish for null asks for.
        let document = found.next().map_or(Value::Null, |object| object.to_value());
        let Some(path) = &self.path else { return !document.is_null() };
        let pointer = match path.starts_with('/') {
            true => path.clone(),
            false => path.split('.').map(|part| format!("/{part}")).collect(),
        };
        let there = document.pointer(&pointer).filter(|value| !value.is_null());
        match (&self.value, there) {
            (None, there) => there.is_some(),
            (Some(Value::Null), there) => there.is_none(),
            (Some(Value::String(text)), Some(Value::Number(number))) => {
                let number = number.as_i64();
                Bound::parse(text).zip(number).is_some_and(|(bound, number)| bound.holds(number))
            }
            (Some(value), there) => there == Some(value),
        }
    }
}

impl EventCondition {
    fn is_so(&self, world: &World, since: Since) -> bool {
        let new = world.recorded().iter().skip(since.recorded);
        let count = new
            .filter(|event| *event.notice.reason == *self.reason)
            .filter(|event| contains(self.message.as_deref(), Some(&event.notice.message)))
            .count();
        let bound = self.count.unwrap_or(Bound { how: Compare::AtLeast, with: 1 });
        bound.holds(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.rollout.clone());
        parts.extend(self.analysis_run.clone());
        parts.extend(self.experiment.clone());
        parts.extend(self.phase.clone());
        parts.extend(self.step.map(|step| format!("at step {step}")));
        parts.extend(self.weight.map(|bound| format!("weight {bound}")));
        parts.extend(self.message.as_ref().map(|message| format!("saying \"{message}\"")));
        parts.extend(self.condition.as_ref().map(StatusCondition::to_string));
        for (revision, bound) in &self.replicas {
            parts.push(format!("revision {revision} with pods {bound}"));
        }
        parts.extend(self.healthy_pods.map(|bound| format!("healthy pods {bound}")));
        parts.extend(self.object.as_ref().map(ObjectCondition::to_string));
        parts.extend(self.event.as_ref().map(|event| match event.count {
            Some(bound) => format!("events {} {bound}", event.reason),
            None => format!("event {}", event.reason),
        }));
        parts.extend(self.time_since.map(|span| format!("after {} seconds", span.0 / 1000)));
        out.write_str(&parts.join(" "))
    }
}

impl fmt::Display for StatusCondition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "condition {}", self.kind)?;
        for part in [&self.status, &self.reason, &self.message].into_iter().flatten() {
            write!(out, " {part}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ObjectCondition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.target)?;
        if let Some(bound) = self.count {
            write!(out, " count {bound}")?;
        }
        if let Some(path) = &self.path {
            write!(out, " {path}")?;
        }
        match &self.value {
            Some(value) => write!(out, " is {value}"),
            None => Ok(()),
        }
    }
}
