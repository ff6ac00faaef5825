//! Kayenta: a judgement of its own over many metrics, which takes a while.

use serde_json::{Value as Json, json};
use tidegate_api::object::{Strings, Text};
use tidegate_api::time::{Span, Stamp};

use super::shared::{self, answer, entries, number, problem, text};
use super::{Ask, Next, Provider, ProviderProblem, SoFar, Told};
use crate::analysis::condition::Outcome;
use crate::question::{Hidden, Method, Question, Reply};

/// Asks a Kayenta to judge.
pub struct Kayenta;

/// Metadata of a measurement: the judgement that is under way.
const EXECUTION: &str = "canaryExecutionId";
/// How often a judgement that is under way is looked at.
const AGAIN_AFTER: Span = Span::seconds(15);

impl Provider for Kayenta {
    fn name(&self) -> &'static str {
        "kayenta"
    }

    fn type_name(&self) -> &'static str {
        "Kayenta"
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
        Ok(Next::Call(Box::new(configs(ask))))
    }

    fn resume(&self, ask: &Ask<'_>, so_far: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
        let under_way = so_far.metadata.get(EXECUTION);
        match (told, under_way) {
            (Told::Time, None) => self.begin(ask),
            (Told::Time, Some(id)) => Ok(Next::Call(Box::new(look(ask, id)))),
            (Told::Reply(reply), Some(id)) => judged(ask, &look(ask, id), reply, so_far.metadata),
            (Told::Reply(reply), None) if so_far.step == 0 => start(ask, reply),
            (Told::Reply(reply), None) => started(ask, reply),
        }
    }
}

fn asked(ask: &Ask<'_>, method: Method, path: &str) -> Question {
    let url = format!("{}{path}", text(ask.of("kayenta"), "address"));
    Question { timeout: Span::seconds(15), ..ask.question(method, url) }
}

fn configs(ask: &Ask<'_>) -> Question {
    let stanza = ask.of("kayenta");
    let (application, account) = (text(stanza, "application"), text(stanza, "storageAccountName"));
    // The account of the storage, not that of the configuration: installations are set up for it.
    let path = format!("/canaryConfig?application={application}&configurationAccountName={account}");
    asked(ask, Method::Get, &path)
}

fn look(ask: &Ask<'_>, id: &str) -> Question {
    asked(ask, Method::Get, &format!("/canary/{id}"))
}

/// The document of an answer with status 200.
fn document(asked: &Question, reply: &Reply, what: &str) -> Result<Json, ProviderProblem> {
    let response = answer(asked, reply)?;
    if response.status != 200 {
        return Err(problem(what, asked, response));
    }
    shared::json(response).map_err(|why| problem(&format!("{what}: {why}"), asked, response))
}

fn start(ask: &Ask<'_>, reply: &Reply) -> Result<Next, ProviderProblem> {
    let first = configs(ask);
    let status = match reply {
        Reply::Answered(response) => response.status,
        Reply::Failed(_) | Reply::Lost => 0,
    };
    let configs = document(&first, reply, &format!("Invalid Response: HTTP {status}"))?;
    let wanted = text(ask.of("kayenta"), "canaryConfigName");
    let field = |config: &Json, name: &str| {
        let fields = config.as_object()?;
        let found = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_str()).map(str::to_owned)
    };
    let all = configs.as_array().map(Vec::as_slice).unwrap_or_default();
    let found = all.iter().find(|config| field(config, "name").as_deref() == Some(wanted));
    let id = found.and_then(|config| field(config, "id"));
    let id = id.ok_or_else(|| format!("Canary config not found: {first} knows none named {wanted:?}"))?;
    Ok(Next::Call(Box::new(judge(ask, &id)?)))
}

fn judge(ask: &Ask<'_>, id: &str) -> Result<Question, ProviderProblem> {
    let stanza = ask.of("kayenta");
    let field = |name| text(stanza, name);
    let path = format!(
        "/canary/{id}?application={}&metricsAccountName={}&configurationAccountName={}&storageAccountName={}",
        field("application"),
        field("metricsAccountName"),
        field("configurationAccountName"),
        field("storageAccountName"),
    );
    let mut scopes = json!({});
    for scope in entries(stanza, "scopes") {
        scopes[text(scope, "name")] = pair(ask, scope)?;
    }
    let thresholds = &stanza["threshold"];
    let threshold = |name: &str| number(&thresholds[name]).unwrap_or(0);
    let body = json!({"scopes": scopes,
        "thresholds": {"pass": threshold("pass"), "marginal": threshold("marginal")}});
    let mut asked = asked(ask, Method::Post, &path);
    asked.body = Some(Hidden::new(body.to_string()));
    asked.set_header("Content-Type", "application/json");
    Ok(asked)
}

/// A scope of the control and one of the experiment, over the same time unless both say otherwise.
fn pair(ask: &Ask<'_>, scope: &Json) -> Result<Json, ProviderProblem> {
    let (control, experiment) = (&scope["controlScope"], &scope["experimentScope"]);
    for bound in ["start", "end"] {
        if text(control, bound).is_empty() != text(experiment, bound).is_empty() {
            let why =
                format!("controlScope.{bound} and experimentScope.{bound} must both be set or be empty");
            return Err(why.into());
        }
    }
    let one = |scope: &Json| -> Result<Json, ProviderProblem> {
        let mut out = json!({"scope": text(scope, "scope"), "location": text(scope, "region")});
        if let Some(step) = number(&scope["step"]) {
            out["step"] = step.into();
        }
        out["start"] = match text(scope, "start") {
            "" => default_start(ask)?.to_string().into(),
            given => given.into(),
        };
        out["end"] = match text(scope, "end") {
            "" => ask.now.stamp().to_string().into(),
            given => given.into(),
        };
        Ok(out)
    };
    Ok(json!({"controlScope": one(control)?, "experimentScope": one(experiment)?}))
}

fn default_start(ask: &Ask<'_>) -> Result<Stamp, ProviderProblem> {
    if ask.of("kayenta")["lookback"] == true {
        // ARGO: at its first look the reference reads a time that is not there yet, and crashes.
        return Ok(ask.began.unwrap_or(ask.now.stamp()));
    }
    let interval = &ask.metric.interval;
    let span = shared::span(interval).map_err(|why| format!("Invalid duration {interval:?}: {why}"))?;
    Ok(ask.now.plus(Span::millis(span.0.saturating_neg())).stamp())
}

fn started(ask: &Ask<'_>, reply: &Reply) -> Result<Next, ProviderProblem> {
    let asked = asked(ask, Method::Post, "/canary");
    let document = document(&asked, reply, "Invalid Response")?;
    let id = text(&document, EXECUTION);
    if id.is_empty() {
        return Err(format!("Invalid canaryExecutionId ({asked} named none)").into());
    }
    let metadata = [(EXECUTION, Text::from(id))].into_iter().collect();
    Ok(Next::Again { at: ask.now.plus(AGAIN_AFTER), metadata })
}

fn judged(
    ask: &Ask<'_>,
    asked: &Question,
    reply: &Reply,
    metadata: &Strings,
) -> Result<Next, ProviderProblem> {
    let document = document(asked, reply, "Invalid Response")?;
    let is_complete =
        document["complete"].as_bool().ok_or_else(|| format!("Missing Complete Status ({asked})"))?;
    if !is_complete {
        return Ok(Next::Again { at: ask.now.plus(AGAIN_AFTER), metadata: metadata.clone() });
    }
    let score = document["result"]["judgeResult"]["score"]["score"].as_f64();
    // Towards zero, as the reference does.
    let score = score.ok_or_else(|| format!("Missing Score ({asked})"))? as i64;
    let thresholds = &ask.of("kayenta")["threshold"];
    let reaches = |name: &str| score >= number(&thresholds[name]).unwrap_or(0);
    let outcome = match (reaches("pass"), reaches("marginal")) {
        (true, _) => Outcome::Successful,
        (false, true) => Outcome::Inconclusive,
        (false, false) => Outcome::Failed,
    };
    Ok(Next::Decided { outcome, value: score.to_string().into(), metadata: metadata.clone() })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{play, shown};
    use super::*;

    fn provider() -> Json {
        json!({"kayenta": {"address": "http://kayenta:8090", "application": "guestbook", "canaryConfigName": "my-test",
            "metricsAccountName": "wavefront", "configurationAccountName": "intuit-kayenta", "storageAccountName": "s3",
            "threshold": {"pass": 90, "marginal": 60},
            "scopes": [{"name": "default",
                "controlScope": {"scope": "app=web and hash=old", "region": "us", "step": 60},
                "experimentScope": {"scope": "app=web and hash=new", "region": "us", "step": 60}}]}})
    }

    fn known() -> Json {
        json!([{"id": "other", "name": "x"}, {"ID": "abc", "Name": "my-test"}])
    }

    #[test]
    fn a_judgement_is_found_started_and_awaited() {
        let play_it =
            || play(provider()).interval("5m").json(known()).json(json!({"canaryExecutionId": "01H"}));
        let played = play_it().go();
        let asked: Vec<String> = played.questions.iter().map(shown).collect();
        assert_eq!(
            asked[0],
            "GET http://kayenta:8090/canaryConfig?application=guestbook&configurationAccountName=s3"
        );
        let (head, body) = asked[1].split_once("\n\n").expect("a body");
        assert_eq!(
            head,
            "POST http://kayenta:8090/canary/abc?application=guestbook&metricsAccountName=wavefront\
             &configurationAccountName=intuit-kayenta&storageAccountName=s3\nContent-Type: application/json"
        );
        let scope = |name: &str| {
            json!({"scope": format!("app=web and hash={name}"), "location": "us", "step": 60,
                "start": "2026-01-01T00:05:00Z", "end": "2026-01-01T00:10:00Z"})
        };
        let expected = json!({"scopes": {"default": {"controlScope": scope("old"), "experimentScope": scope("new")}},
            "thresholds": {"pass": 90, "marginal": 60}});
        assert_eq!(serde_json::from_str::<Json>(body).expect("JSON"), expected);
        assert_eq!(played.outcome, "again in 15000 ms canaryExecutionId=01H");
    }

    /// Vector R35.
    #[test]
    fn the_score_decides() {
        let check = |reply: Json, expected: &str| {
            play(provider()).stored(&[(EXECUTION, "01H")]).json(reply).gives(expected);
        };
        let score =
            |score: f64| json!({"complete": true, "result": {"judgeResult": {"score": {"score": score}}}});
        check(score(100.0), "Successful 100 canaryExecutionId=01H");
        check(score(89.9), "Inconclusive 89 canaryExecutionId=01H");
        check(score(70.0), "Inconclusive 70 canaryExecutionId=01H");
        check(score(59.0), "Failed 59 canaryExecutionId=01H");
        check(json!({"complete": false}), "again in 15000 ms canaryExecutionId=01H");
        check(json!({}), "Error: Missing Complete Status (GET http://kayenta:8090/canary/01H)");
        check(json!({"complete": true}), "Error: Missing Score (GET http://kayenta:8090/canary/01H)");
        play(provider())
            .stored(&[(EXECUTION, "01H")])
            .reply(500, "boom")
            .gives("Error: Invalid Response (GET http://kayenta:8090/canary/01H answered 500: boom)");
    }

    #[test]
    fn what_is_wrong_is_said() {
        play(provider()).reply(404, "").gives("Error: Invalid Response: HTTP 404 (GET …");
        play(provider()).json(json!([])).gives("Error: Canary config not found: GET http://kayenta:8090/canaryConfig knows none named \"my-test\"");
        play(provider()).json(json!({"not": "a list"})).gives("Error: Canary config not found…");
        play(provider()).json(known()).gives("Error: Invalid duration \"\": time: invalid duration \"\"");
        play(provider())
            .interval("1m")
            .json(known())
            .json(json!({}))
            .gives("Error: Invalid canaryExecutionId (POST http://kayenta:8090/canary named none)");
        let mut half = provider();
        half["kayenta"]["scopes"][0]["controlScope"]["start"] = "2026-01-01T00:00:00Z".into();
        play(half)
            .interval("1m")
            .json(known())
            .gives("Error: controlScope.start and experimentScope.start must both be set or be empty");
        let mut back = provider();
        back["kayenta"]["lookback"] = true.into();
        let asked = play(back).json(known()).go().questions;
        assert!(
            shown(&asked[1]).contains(r#""start":"2026-01-01T00:00:00Z""#),
            "from the beginning of the run"
        );
    }
}
