//! Plays one measurement against given replies, for the tests of providers.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tidegate_api::analysis::Metric;
use tidegate_api::object::{Key, Kind, Object, Strings, Text};
use tidegate_api::time::{Stamp, Time};

use super::{Ask, DatadogKeys, Next, SoFar, Surroundings, Told, begin, needs, resume};
use crate::analysis::condition::judge;
use crate::analysis::expr::base64_of;
use crate::analysis::secrets::{Masks, SecretData};
use crate::question::{Hidden, Question, Reply, Response};

/// 2026-01-01T00:10:00.250Z
pub const NOW: Time = Time(1_767_226_200_250);

/// One measurement to be played.
#[derive(Default)]
pub struct Play {
    provider: Json,
    success: Text,
    interval: Text,
    replies: Vec<Reply>,
    secrets: BTreeMap<Key, Result<SecretData, Text>>,
    surroundings: Surroundings,
    masks: Masks,
    metadata: Strings,
    told_time: bool,
}

/// What was asked, and what came of it.
#[derive(Debug)]
pub struct Played {
    /// In the order of the calls.
    pub questions: Vec<Question>,
    /// `PHASE VALUE`, with metadata behind; `Error: TEXT`.
    pub outcome: String,
}

/// A measurement by this provider.
pub fn play(provider: Json) -> Play {
    let surroundings =
        Surroundings { namespace: "argo-rollouts".into(), version: "v1".into(), ..Default::default() };
    Play { provider, surroundings, ..Play::default() }
}

impl Play {
    pub fn success(mut self, condition: &str) -> Play {
        self.success = condition.into();
        self
    }
    pub fn interval(mut self, interval: &str) -> Play {
        self.interval = interval.into();
        self
    }
    pub fn reply(mut self, status: u16, body: impl AsRef<[u8]>) -> Play {
        self.replies.push(Reply::Answered(Response::new(status, body)));
        self
    }
    pub fn json(self, body: Json) -> Play {
        self.reply(200, body.to_string())
    }
    pub fn fails(mut self, why: &str) -> Play {
        self.replies.push(Reply::Failed(why.into()));
        self
    }
    pub fn secret(mut self, namespace: &str, name: &str, data: &[(&str, &str)]) -> Play {
        let encode = |text: &str| base64_of(text.as_bytes());
        let data: serde_json::Map<String, Json> =
            data.iter().map(|(key, value)| ((*key).to_owned(), encode(value).into())).collect();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
        let object = Object::from_value(secret).expect("a Secret");
        self.secrets.insert(Key::new(Kind::Secret, namespace, name), Ok(SecretData::of(&object)));
        self
    }
    pub fn mask(mut self, secret: &str) -> Play {
        self.masks.add(&secret.into());
        self
    }
    pub fn datadog(mut self, api: &str, app: &str, address: &str) -> Play {
        let keys = DatadogKeys { api: Hidden::new(api), app: Hidden::new(app), address: address.into() };
        self.surroundings.datadog = Some(keys);
        self
    }
    pub fn prometheus(mut self, address: &str) -> Play {
        self.surroundings.prometheus = Some(address.into());
        self
    }
    /// The measurement is stored already, with this metadata, and its time has come.
    pub fn stored(mut self, metadata: &[(&str, &str)]) -> Play {
        self.metadata = metadata.iter().map(|(key, value)| (Text::from(*key), Text::from(*value))).collect();
        self.told_time = true;
        self
    }

    pub fn go(self) -> Played {
        let metric = Metric {
            name: "errors".into(),
            interval: self.interval,
            success_condition: self.success,
            provider: std::sync::Arc::new(self.provider),
            ..Metric::default()
        };
        let run = Key::new(Kind::AnalysisRun, "shop", "web-1");
        let mut secrets = self.secrets;
        let mut ask = Ask {
            run: &run,
            began: Some(Stamp(1_767_225_600)),
            metric: &metric,
            now: NOW,
            secrets: &BTreeMap::new(),
            surroundings: &self.surroundings,
            masks: &self.masks,
        };
        let missing = needs(&ask);
        secrets.retain(|key, _| missing.contains(key));
        for key in missing {
            let not_found = Err(format!("secrets \"{}\" not found", key.name).into());
            secrets.entry(key).or_insert(not_found);
        }
        ask.secrets = &secrets;
        let mut questions = Vec::new();
        let mut replies = self.replies.iter();
        let so_far = |step| SoFar { step, metadata: &self.metadata };
        let mut next = match self.told_time {
            true => resume(&ask, so_far(0), Told::Time),
            false => begin(&ask),
        };
        for step in 0.. {
            let Ok(Next::Call(question)) = &next else { break };
            questions.push((**question).clone());
            let Some(reply) = replies.next() else { break };
            next = resume(&ask, so_far(step), Told::Reply(reply));
        }
        let with = |metadata: &Strings| {
            metadata.iter().map(|(key, value)| format!(" {key}={value}")).collect::<String>()
        };
        let outcome = match next {
            Err(problem) => format!("Error: {problem}"),
            Ok(Next::Call(_)) => "asking".to_owned(),
            Ok(Next::Again { at, metadata }) => format!("again in {} ms{}", at.since(NOW).0, with(&metadata)),
            Ok(Next::Decided { outcome, value, metadata }) => {
                format!("{} {value}{}", outcome.phase(), with(&metadata))
            }
            Ok(Next::Measured(reading)) => match judge(&metric, &reading.result, NOW) {
                Ok(outcome) => format!("{} {}{}", outcome.phase(), reading.printed, with(&reading.metadata)),
                Err(why) if reading.keeps_value => format!("Error: {why} value {}", reading.printed),
                Err(why) => format!("Error: {why}"),
            },
        };
        Played { questions, outcome }
    }

    /// Checks what comes of it: all of it, or what it begins with where `…` ends the expectation.
    pub fn gives(self, expected: &str) {
        let played = self.go();
        match expected.strip_suffix('…') {
            Some(begin) => assert!(played.outcome.starts_with(begin), "{}\nnot {expected}", played.outcome),
            None => assert_eq!(played.outcome, expected),
        }
    }

    /// The first question, with its headers and body.
    pub fn asks(self) -> String {
        let played = self.go();
        played.questions.first().map_or(played.outcome, shown)
    }
}

/// Everything of a question, secrets included.
pub fn shown(question: &Question) -> String {
    let mut out = format!("{} {}", question.method.name(), question.url);
    for (name, value) in &question.headers {
        out += &format!("\n{name}: {}", value.reveal());
    }
    if let Some(body) = &question.body {
        out += &format!("\n\n{}", body.reveal());
    }
    out
}
