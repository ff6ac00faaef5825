//! Reading a story from its document.
//!
//! The format is that of the recordings, key by key; a key or verb that is not part of it is an error that names it,
//! because a step that is silently not played would make every later difference meaningless.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tidegate_api::time::Span;

use super::story::{Change, Looked, Step, Story, StoryError, Wait};

impl Story {
    /// Reads a story from its document.
    pub fn from_value(document: &Value) -> Result<Story, StoryError> {
        let mut keys = Keys::of(document, "story")?;
        let story = Story {
            name: keys.need("name", text)?,
            about: keys.take("about", text)?.unwrap_or_default(),
            area: keys.take("area", text)?.unwrap_or_default(),
            objects: keys
                .need("objects", list)?
                .into_iter()
                .map(|(at, object)| manifest(&at, object))
                .collect::<Result<_, _>>()?,
            web: keys.take("web", series)?.unwrap_or_default(),
            script: keys
                .take("script", list)?
                .unwrap_or_default()
                .into_iter()
                .map(|(at, step)| read_step(&at, step))
                .collect::<Result<_, _>>()?,
            settle: keys.take("settle", span)?.unwrap_or(Span::seconds(3)),
            settle_limit: keys.take("settle_limit", span)?.unwrap_or(Span::seconds(20)),
            calm: keys.take("calm", span)?.unwrap_or(Span::millis(600)),
        };
        keys.end()?;
        Ok(story)
    }
}

/// A length of time as stories write it: `2s`, `1500ms`, `1.5m`, or a plain number of seconds.
fn read_span(value: &Value) -> Option<Span> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let millis = match unit {
        "ms" => 1.0,
        "s" | "" => 1000.0,
        "m" => 60_000.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    // A cast from a float saturates: an absurd length is merely a very long one.
    Some(Span::millis((number * millis).round() as i64))
}

fn read_step(place: &str, step: &Value) -> Result<Step, StoryError> {
    let one = step.as_object().filter(|verbs| verbs.len() == 1).and_then(|verbs| verbs.iter().next());
    let (verb, argument) = one.ok_or_else(|| wrong(place, "a step is one verb with what it needs"))?;
    let place = format!("{place}.{verb}");
    match verb.as_str() {
        "sleep" => return span(&place, argument).map(Step::Sleep),
        "web" => return series(&place, argument).map(Step::Web),
        "apply" => return manifest(&place, argument).map(Step::Apply),
        "create" => return manifest(&place, argument).map(Step::Create),
        "wait" => return read_wait(&place, argument).map(|wait| Step::Wait(Box::new(wait))),
        _ => {}
    }
    let mut keys = Keys::of(argument, &place)?;
    let step = match verb.as_str() {
        "set_image" => return set_image(keys),
        "abort" => Step::Abort(keys.need("rollout", text)?),
        "promote" => Step::Promote(keys.need("rollout", text)?),
        "promote_full" => Step::PromoteFull(keys.need("rollout", text)?),
        "retry" => match keys.take("experiment", text)? {
            Some(experiment) => Step::RetryExperiment(experiment),
            None => Step::Retry(keys.need("rollout", text)?),
        },
        "pause" => Step::Pause(keys.need("rollout", text)?),
        "resume" => Step::Resume(keys.need("rollout", text)?),
        "restart" => Step::Restart(keys.need("rollout", text)?),
        "undo" => Step::Undo {
            rollout: keys.need("rollout", text)?,
            to: keys.take("to", integer)?.filter(|to| *to != 0),
        },
        "terminate" => match keys.take("analysisrun", text)? {
            Some(part) => Step::Terminate { kind: "AnalysisRun", part },
            None => Step::Terminate { kind: "Experiment", part: keys.need("experiment", text)? },
        },
        "scale" => {
            Step::Scale { rollout: keys.need("rollout", text)?, replicas: keys.need("replicas", integer)? }
        }
        "patch" => Step::Patch {
            kind: keys.need("kind", text)?,
            name: keys.need("name", text)?,
            change: match keys.take("json", list)? {
                Some(operations) => Change::Json(operations.into_iter().map(|(_, o)| o.clone()).collect()),
                None => Change::Merge(keys.need("merge", anything)?),
            },
            subresource: keys.take("sub", text)?,
        },
        "delete" => Step::Delete { kind: keys.need("kind", text)?, name: keys.need("name", text)? },
        "scale_set" => Step::ScaleSet {
            revision: keys.need("revision", text)?,
            replicas: keys.need("replicas", integer)?,
        },
        "delete_set" => Step::DeleteSet { revision: keys.need("revision", text)? },
        "ready" | "unready" => Step::Readiness {
            ready: verb == "ready",
            revision: keys.need("revision", text)?,
            count: keys.take("count", integer)?.map(|n| usize::try_from(n).unwrap_or(0)),
        },
        unknown => return Err(wrong(&place, format!("unknown verb `{unknown}`"))),
    };
    keys.end()?;
    Ok(step)
}

/// Everything beside the workload's own key is a container and its image.
fn set_image(mut keys: Keys<'_>) -> Result<Step, StoryError> {
    let (kind, name) = match keys.take("rollout", text)? {
        Some(rollout) => ("Rollout", rollout),
        None => ("Deployment", keys.need("deployment", text)?),
    };
    let images = keys
        .rest()
        .map(|(at, container, image)| Ok((container.to_owned(), text(&at, image)?)))
        .collect::<Result<_, _>>()?;
    Ok(Step::SetImage { kind, name, images })
}

fn read_wait(place: &str, source: &Value) -> Result<Wait, StoryError> {
    let mut keys = Keys::of(source, place)?;
    let mut counts = BTreeMap::new();
    for (key, field) in [
        ("updatedReplicas", "updatedReplicas"),
        ("availableReplicas", "availableReplicas"),
        ("readyReplicas", "readyReplicas"),
        ("pods", "replicas"),
    ] {
        if let Some(count) = keys.take(key, integer)? {
            counts.insert(field, count);
        }
    }
    // That the spec is observed is demanded of every rollout; saying so changes nothing.
    keys.take("observed", anything)?;
    let wait = Wait {
        rollout: keys.take("rollout", text)?,
        phase: keys.take("phase", text)?,
        step: keys.take("step", integer)?,
        message: keys.take("message", text)?,
        condition: keys.take("condition", text)?,
        counts,
        analysis_run: keys.take("analysisrun", text)?,
        experiment: keys.take("experiment", text)?,
        replicas: keys.take("replicas", integers)?.unwrap_or_default(),
        object: keys.take("object", looked)?,
        event: keys.take("event", text)?,
        timeout: keys.take("timeout", span)?.unwrap_or(Span::seconds(30)),
        source: source.clone(),
    };
    keys.end()?;
    if wait.phase.is_none() && (wait.analysis_run.is_some() || wait.experiment.is_some()) {
        return Err(wrong(place, "an analysis run or experiment is waited for by its `phase`"));
    }
    Ok(wait)
}

// ---- reading values: each takes a place and a value, and says what it wanted

fn wrong(at: &str, what: impl Into<String>) -> StoryError {
    StoryError { at: at.to_owned(), what: what.into() }
}

fn text(at: &str, value: &Value) -> Result<String, StoryError> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(at, "must be a text"))
}

fn integer(at: &str, value: &Value) -> Result<i64, StoryError> {
    value.as_i64().ok_or_else(|| wrong(at, "must be a whole number"))
}

fn span(at: &str, value: &Value) -> Result<Span, StoryError> {
    read_span(value).ok_or_else(|| wrong(at, "must be a length of time such as 2s, 1500ms or 1m"))
}

fn anything(_: &str, value: &Value) -> Result<Value, StoryError> {
    Ok(value.clone())
}

/// The items with their places.
fn list<'a>(at: &str, value: &'a Value) -> Result<Vec<(String, &'a Value)>, StoryError> {
    let items = value.as_array().ok_or_else(|| wrong(at, "must be a list"))?;
    Ok(items.iter().enumerate().map(|(i, item)| (format!("{at}[{i}]"), item)).collect())
}

fn map<'a>(at: &str, value: &'a Value) -> Result<&'a Map<String, Value>, StoryError> {
    value.as_object().ok_or_else(|| wrong(at, "must be a map"))
}

fn integers(at: &str, value: &Value) -> Result<BTreeMap<String, i64>, StoryError> {
    map(at, value)?.iter().map(|(key, n)| Ok((key.clone(), integer(&format!("{at}.{key}"), n)?))).collect()
}

fn series(at: &str, value: &Value) -> Result<BTreeMap<String, Vec<Value>>, StoryError> {
    let one = |(key, values): (&String, &Value)| match values.as_array() {
        Some(values) => Ok((key.clone(), values.clone())),
        None => Err(wrong(&format!("{at}.{key}"), "must be a list of values")),
    };
    map(at, value)?.iter().map(one).collect()
}

fn manifest(at: &str, value: &Value) -> Result<Value, StoryError> {
    for pointer in ["/kind", "/metadata/name"] {
        if value.pointer(pointer).and_then(Value::as_str).is_none() {
            return Err(wrong(at, format!("must be a manifest with a {}", pointer[1..].replace('/', "."))));
        }
    }
    Ok(value.clone())
}

fn looked(at: &str, value: &Value) -> Result<Looked, StoryError> {
    let mut keys = Keys::of(value, at)?;
    let looked = Looked {
        kind: keys.need("kind", text)?,
        name: keys.need("name", text)?,
        path: keys.take("path", text)?,
        value: keys.take("value", anything)?.unwrap_or(Value::Null),
    };
    keys.end()?;
    Ok(looked)
}

/// The keys of a map, taken one by one; what is left at the end is unknown.
struct Keys<'a> {
    at: String,
    left: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Keys<'a> {
    fn of(value: &'a Value, at: &str) -> Result<Self, StoryError> {
        let left = map(at, value)?.iter().map(|(key, value)| (key.as_str(), value)).collect();
        Ok(Keys { at: at.to_owned(), left })
    }

    /// A key with `null` counts as left out.
    fn take<T>(
        &mut self,
        key: &str,
        read: impl Fn(&str, &'a Value) -> Result<T, StoryError>,
    ) -> Result<Option<T>, StoryError> {
        let value = self.left.remove(key).filter(|value| !value.is_null());
        value.map(|value| read(&self.place(key), value)).transpose()
    }

    fn need<T>(
        &mut self,
        key: &str,
        read: impl Fn(&str, &'a Value) -> Result<T, StoryError>,
    ) -> Result<T, StoryError> {
        self.take(key, read)?.ok_or_else(|| wrong(&self.at, format!("needs `{key}`")))
    }

    fn rest(self) -> impl Iterator<Item = (String, &'a str, &'a Value)> {
        self.left.into_iter().map(move |(key, value)| (format!("{}.{key}", self.at), key, value))
    }

    fn end(self) -> Result<(), StoryError> {
        match self.left.keys().next() {
            Some(key) => Err(wrong(&self.at, format!("unknown key `{key}`"))),
            None => Ok(()),
        }
    }

    fn place(&self, key: &str) -> String {
        if self.at == "story" { key.to_owned() } else { format!("{}.{key}", self.at) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn script(steps: Value) -> Result<Vec<Step>, StoryError> {
        Story::from_value(&json!({"name": "n", "objects": [], "script": steps})).map(|story| story.script)
    }

    #[test]
    fn every_verb_is_read() {
        let steps = script(json!([
            {"wait": {"rollout": "demo", "phase": "Paused", "step": 1, "message": "m", "condition": "A=True(B)", "updatedReplicas": 2,
                "pods": 3, "observed": true, "timeout": "5s", "replicas": {"rev1": 0}, "event": "E",
                "object": {"kind": "Deployment", "name": "w", "path": "spec.replicas", "value": 0}}},
            {"set_image": {"deployment": "work", "c": "img:2", "d": "img:3"}},
            {"abort": {"rollout": "demo"}}, {"promote": {"rollout": "demo"}}, {"promote_full": {"rollout": "demo"}},
            {"retry": {"rollout": "demo"}}, {"retry": {"experiment": "x"}}, {"pause": {"rollout": "demo"}},
            {"resume": {"rollout": "demo"}}, {"restart": {"rollout": "demo"}}, {"undo": {"rollout": "demo", "to": 1}},
            {"terminate": {"analysisrun": "a"}}, {"scale": {"rollout": "demo", "replicas": 4}},
            {"patch": {"kind": "Service", "name": "s", "json": [{"op": "remove", "path": "/spec"}], "sub": "status"}},
            {"apply": {"kind": "Service", "metadata": {"name": "s"}}}, {"create": {"kind": "Service", "metadata": {"name": "s"}}},
            {"delete": {"kind": "Service", "name": "s"}}, {"scale_set": {"revision": "rev1", "replicas": 1}},
            {"delete_set": {"revision": "rev1"}}, {"unready": {"revision": "rev2", "count": 1}}, {"ready": {"revision": "rev2"}},
            {"web": {"err": [1, {"$status": 500}]}}, {"sleep": "1500ms"},
        ]))
        .unwrap();
        let verbs: Vec<&str> = steps.iter().map(Step::verb).collect();
        assert_eq!(
            verbs.join(" "),
            "wait set_image abort promote promote_full retry retry pause resume restart undo terminate scale patch apply create delete \
             scale_set delete_set unready ready web sleep"
        );
        assert_eq!(steps.iter().filter(|step| !step.writes()).count(), 3);
        let Step::Wait(wait) = &steps[0] else { panic!() };
        assert_eq!(wait.counts, [("replicas", 3), ("updatedReplicas", 2)].into());
        assert_eq!(wait.timeout, Span::seconds(5));
        let images = [("c".to_owned(), "img:2".to_owned()), ("d".to_owned(), "img:3".to_owned())].into();
        assert_eq!(steps[1], Step::SetImage { kind: "Deployment", name: "work".to_owned(), images });
        assert_eq!(steps[22], Step::Sleep(Span::millis(1500)));
    }

    #[test]
    fn what_is_unknown_or_missing_is_named() {
        for (steps, error) in [
            (json!([{"dance": {"rollout": "demo"}}]), "script[0].dance: unknown verb `dance`"),
            (json!([{"sleep": "1s"}, {"abort": {"rolout": "demo"}}]), "script[1].abort: needs `rollout`"),
            (json!([{"abort": {"rollout": "demo", "now": true}}]), "script[0].abort: unknown key `now`"),
            (json!([{"wait": {"rollout": "demo", "fase": "x"}}]), "script[0].wait: unknown key `fase`"),
            (json!([{"wait": {"object": {"kind": "A"}}}]), "script[0].wait.object: needs `name`"),
            (
                json!([{"wait": {"analysisrun": "a"}}]),
                "script[0].wait: an analysis run or experiment is waited for by its `phase`",
            ),
            (json!([{"wait": {"step": "one"}}]), "script[0].wait.step: must be a whole number"),
            (
                json!([{"sleep": "soon"}]),
                "script[0].sleep: must be a length of time such as 2s, 1500ms or 1m",
            ),
            (
                json!([{"create": {"kind": "Service"}}]),
                "script[0].create: must be a manifest with a metadata.name",
            ),
            (json!([{"abort": {}, "retry": {}}]), "script[0]: a step is one verb with what it needs"),
            (json!({}), "script: must be a list"),
        ] {
            assert_eq!(script(steps).unwrap_err().to_string(), error);
        }
        let unknown = Story::from_value(&json!({"name": "n", "objects": [], "moral": 1})).unwrap_err();
        assert_eq!(unknown.to_string(), "story: unknown key `moral`");
    }

    #[test]
    fn times_are_read_in_all_their_forms() {
        for (value, millis) in [
            (json!("2s"), 2000),
            (json!("1.5m"), 90_000),
            (json!(3), 3000),
            (json!(0.6), 600),
            (json!("7"), 7000),
        ] {
            assert_eq!(read_span(&value), Some(Span::millis(millis)), "{value}");
        }
        for value in [json!("-1s"), json!("1h"), json!(""), json!("1.2.3s"), json!(null)] {
            assert_eq!(read_span(&value), None, "{value}");
        }
    }
}
