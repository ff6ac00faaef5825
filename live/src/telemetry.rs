//! Log lines as log pipelines in the field read them: the field names, keys and levels of the reference (operations.md
//! 1.10), one line an event, on standard error.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use serde_json::{Map, Value};
use tidegate_api::object::{Key, Kind, Object};
use tidegate_controller::plan::Notice;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::clock;

/// Crates whose lines `--loglevel` governs; all others belong to the client library.
const OURS: &str = "tidegate";

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `time="…" level=info msg="…" rollout=web`
    Text,
    /// `{"level":"info","msg":"…","time":"…","rollout":"web"}`
    Json,
}

impl Format {
    /// What `--logformat` says, in any case; nothing for a word that is neither.
    pub fn parse(text: &str) -> Option<Format> {
        match &*text.to_ascii_lowercase() {
            "" | "text" => Some(Format::Text),
            "json" => Some(Format::Json),
            _ => None,
        }
    }
}

/// What `--loglevel` says: the reference's seven words and their short forms, in any case.
pub fn level(text: &str) -> Option<LevelFilter> {
    Some(match &*text.to_ascii_lowercase() {
        "panic" | "fatal" | "error" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// From now on lines are written. `kubernetes` is `--kloglevel`: how much the client library tells, 0 for warnings only.
pub fn start(ours: LevelFilter, kubernetes: i64, format: Format) {
    let theirs = match kubernetes {
        ..=0 => LevelFilter::WARN,
        1..=3 => LevelFilter::INFO,
        4..=7 => LevelFilter::DEBUG,
        8.. => LevelFilter::TRACE,
    };
    let targets = Targets::new().with_default(theirs).with_target(OURS, ours);
    let lines = tracing_subscriber::registry().with(Lines(format).with_filter(targets));
    // Only the first one counts; a second start in one process (tests) changes nothing.
    let _ = tracing::subscriber::set_global_default(lines);
}

/// An object under the field names of the reference.
pub struct Names<'a> {
    /// Name of the Rollout, if it is one.
    pub rollout: Option<&'a str>,
    /// Name of the Service, if it is one.
    pub service: Option<&'a str>,
    /// Its namespace.
    pub namespace: &'a str,
    key: &'a Key,
}

impl<'a> Names<'a> {
    /// The names of this object.
    pub fn of(key: &'a Key) -> Names<'a> {
        Names {
            rollout: (key.kind == Kind::Rollout).then_some(&*key.name),
            service: (key.kind == Kind::Service).then_some(&*key.name),
            namespace: &key.namespace,
            key,
        }
    }

    /// Kind and name of an object of any other kind.
    pub fn object(&self) -> Option<String> {
        let has_a_field = self.rollout.is_some() || self.service.is_some();
        (!has_a_field).then(|| format!("{}/{}", self.key.kind.name(), self.key.name))
    }
}

/// A line for a Kubernetes event.
pub fn tell(notice: &Notice) {
    let names = Names::of(&notice.about);
    let (rollout, service, object, namespace) =
        (names.rollout, names.service, names.object(), names.namespace);
    let event_reason = &*notice.reason;
    if notice.warning {
        tracing::warn!(rollout, service, object, namespace, event_reason, "{}", notice.message);
    } else {
        tracing::info!(rollout, service, object, namespace, event_reason, "{}", notice.message);
    }
}

/// A line for a pass that is over; `object` as it is known now.
pub fn passed(key: &Key, object: Option<&Object>, seconds: f64, failed: bool) {
    let Names { rollout, service, namespace, .. } = Names::of(key);
    let time_ms = (seconds * 1e6).round() / 1e3;
    let generation = object.map(|object| object.meta.generation);
    #[allow(non_snake_case, reason = "the name that log pipelines know")]
    let resourceVersion = object.map(|object| object.meta.resource_version.to_string());
    if failed {
        let msg = "Reconciliation failed and is tried again";
        tracing::warn!(rollout, service, namespace, generation, resourceVersion, time_ms, "{msg}");
    } else if rollout.is_some() {
        tracing::info!(rollout, namespace, generation, resourceVersion, time_ms, "Reconciliation completed");
    } else {
        tracing::debug!(service, namespace, time_ms, "Reconciliation completed");
    }
}

struct Lines(Format);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let line = line(self.0, &clock::stamp(), *event.metadata().level(), said);
        // If nobody can be told, nobody can be told that either.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.fields.push((name, Value::from(value))),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), Value::from(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::from(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), Value::from(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Value::from(value)));
    }
}

fn line(format: Format, time: &str, level: Level, said: Said) -> String {
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    let mut line = match format {
        Format::Json => {
            let mut map: Map<String, Value> =
                said.fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            map.insert("level".to_owned(), level.into());
            map.insert("msg".to_owned(), said.message.into());
            map.insert("time".to_owned(), time.into());
            Value::Object(map).to_string()
        }
        Format::Text => {
            let mut line = format!("time=\"{time}\" level={level} msg={}", quoted(&said.message));
            for (name, value) in said.fields {
                let value = match value {
                    Value::String(text) => quoted(&text),
                    other => other.to_string(),
                };
                // Writing to a String does not fail.
                let _ = write!(line, " {name}={value}");
            }
            line
        }
    };
    line.push('\n');
    line
}

/// As it is where that is safe, else in quotes. One event stays one line, whatever a server sent.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tidegate_controller::plan::Notice;

    use super::*;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);
    struct Listener(Format, Heard);

    impl<S: Subscriber> Layer<S> for Listener {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut said = Said::default();
            event.record(&mut said);
            let line = line(self.0, "2026-01-01T00:00:00Z", *event.metadata().level(), said);
            self.1.0.lock().unwrap().push(line);
        }
    }

    fn heard(format: Format, tell: impl FnOnce()) -> String {
        let heard = Heard::default();
        let listener = tracing_subscriber::registry().with(Listener(format, heard.clone()));
        tracing::subscriber::with_default(listener, tell);
        std::mem::take(&mut *heard.0.lock().unwrap()).concat()
    }

    fn web() -> Object {
        Object::from_value(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata":
            {"name": "web", "namespace": "shop", "generation": 3, "resourceVersion": "41"}}))
        .unwrap()
    }

    #[test]
    fn a_pass_is_told_under_the_names_that_pipelines_know() {
        let web = web();
        let text = heard(Format::Text, || passed(&web.key(), Some(&web), 0.0125, false));
        assert_eq!(
            text,
            "time=\"2026-01-01T00:00:00Z\" level=info msg=\"Reconciliation completed\" rollout=web namespace=shop \
             generation=3 resourceVersion=41 time_ms=12.5\n"
        );
        let text = heard(Format::Json, || passed(&web.key(), Some(&web), 0.0125, true));
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({"level": "warning", "msg": "Reconciliation failed and is tried again", "rollout": "web",
                "namespace": "shop", "generation": 3, "resourceVersion": "41", "time_ms": 12.5,
                "time": "2026-01-01T00:00:00Z"})
        );
    }

    #[test]
    fn an_event_carries_its_reason_and_stays_on_one_line() {
        let notice = Notice {
            about: web().key(),
            uid: "u".into(),
            warning: true,
            reason: "RolloutAborted".into(),
            message: "first\nsecond".into(),
        };
        let text = heard(Format::Text, || tell(&notice));
        assert_eq!(
            text,
            "time=\"2026-01-01T00:00:00Z\" level=warning msg=\"first\\nsecond\" rollout=web namespace=shop \
             event_reason=RolloutAborted\n"
        );
    }

    #[test]
    fn levels_and_formats_are_the_words_of_the_reference() {
        for word in ["panic", "fatal", "error", "warn", "warning", "INFO", "debug", "trace"] {
            assert!(level(word).is_some(), "{word}");
        }
        assert_eq!(level("loud"), None);
        assert_eq!(Format::parse("JSON"), Some(Format::Json));
        assert_eq!(Format::parse(""), Some(Format::Text));
        assert_eq!(Format::parse("xml"), None);
    }
}
