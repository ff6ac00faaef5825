//! Prometheus: instant and range queries.

use serde_json::Value as Json;
use tidegate_api::object::{Strings, Text};
use tidegate_api::problem::Problem;
use tidegate_api::time::{Span, Time};

use super::shared::{
    self, answer, below, client_credentials, entries, headers, is_url, json, number, plain, plain_list,
    problem, secrets_of, text,
};
use super::{Ask, Next, Provider, ProviderProblem, Reading, SoFar, Told};
use crate::analysis::condition::instant;
use crate::analysis::expr::{Value, base64_of};
use crate::question::{ChosenBy, Hidden, Method, Question, Response, SigV4, Tls};

/// Asks a Prometheus, or whatever speaks like one.
pub struct Prometheus;

impl Provider for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn type_name(&self) -> &'static str {
        "Prometheus"
    }

    fn check(&self, stanza: &Json, at: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if text(stanza, "query").is_empty() {
            problems.push(Problem::required(format!("{at}.query"), "without a query nothing is measured"));
        }
        let address = text(stanza, "address");
        if !address.is_empty() && !address.contains("{{") && !is_url(address) {
            problems.push(Problem::invalid(
                format!("{at}.address"),
                address,
                "must be a URL with scheme and host",
            ));
        }
        problems
    }

    fn masks(&self, ask: &Ask<'_>) -> Vec<Text> {
        secrets_of(&ask.of("prometheus")["authentication"])
    }

    fn metadata(&self, ask: &Ask<'_>) -> Strings {
        let query = text(ask.of("prometheus"), "query");
        let pair = (!query.is_empty()).then(|| ("ResolvedPrometheusQuery", Text::from(query)));
        pair.into_iter().collect()
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
        Ok(Next::Call(Box::new(question(ask, Method::Post)?)))
    }

    fn resume(&self, ask: &Ask<'_>, so_far: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
        let Told::Reply(reply) = told else { return self.begin(ask) };
        let method = if so_far.step == 0 { Method::Post } else { Method::Get };
        let asked = question(ask, method)?;
        let response = answer(&asked, reply)?;
        // Some proxies in front of it let nothing but GET pass.
        if method == Method::Post && matches!(response.status, 403 | 405 | 501) {
            return Ok(Next::Call(Box::new(question(ask, Method::Get)?)));
        }
        let document = document(response).map_err(|why| problem(&why, &asked, response))?;
        let (result, printed) = value(&document["data"]).map_err(|why| match why {
            Unread::Kind => ProviderProblem::from("Prometheus metric type not supported"),
            Unread::Malformed(why) => problem(&format!("bad_response: {why}"), &asked, response),
        })?;
        let mut reading = Reading::new(result, printed);
        let warnings: Vec<String> = entries(&document, "warnings")
            .filter_map(Json::as_str)
            .map(|text| format!("\"{text}\""))
            .collect();
        if !warnings.is_empty() {
            reading.metadata.set("warnings", warnings.join(", "));
        }
        Ok(Next::Measured(reading))
    }
}

fn question(ask: &Ask<'_>, method: Method) -> Result<Question, ProviderProblem> {
    let stanza = ask.of("prometheus");
    let given = text(stanza, "address");
    let (address, chosen_by) = match &ask.surroundings.prometheus {
        Some(address) if given.is_empty() => (&**address, ChosenBy::Operator),
        _ => (given, ChosenBy::Author),
    };
    if address.is_empty() {
        return Err("prometheus address is not configured".into());
    }
    if !is_url(address) {
        return Err("prometheus address is not is url format".into());
    }
    let timeout = number(&stanza["timeout"]).unwrap_or(30);
    if timeout < 0 {
        return Err("prometheus timeout should not be negative".into());
    }
    let (path, pairs) = parameters(stanza, ask.now)?;
    let pairs = shared::form(pairs.iter().map(|(name, value)| (*name, &**value)));
    let url = below(address, path);
    let mut asked = match method {
        Method::Get => ask.question(method, format!("{url}?{pairs}")),
        Method::Post | Method::Put => Question {
            body: Some(Hidden::new(pairs)),
            headers: vec![("Content-Type".into(), Hidden::new("application/x-www-form-urlencoded"))],
            ..ask.question(method, url)
        },
    };
    asked.timeout = Span::seconds(timeout);
    asked.chosen_by = chosen_by;
    asked.tls = Tls { insecure: stanza["insecure"] == true, ..Tls::default() };
    authenticate(&mut asked, stanza, address)?;
    Ok(asked)
}

/// Credentials. Of several, what is written over stays unseen: headers win, then signature, token and password.
fn authenticate(asked: &mut Question, stanza: &Json, address: &str) -> Result<(), ProviderProblem> {
    let authentication = &stanza["authentication"];
    let basic = &authentication["basicAuth"];
    let (user, password) = (text(basic, "username"), text(basic, "password"));
    let mut own = headers(stanza);
    if !user.is_empty() || !password.is_empty() {
        for (part, name) in [(user, "username"), (password, "password")] {
            if part.is_empty() {
                let why = format!("missing mandatory parameter in metric for basic auth setup: {name}");
                return Err(why.into());
            }
        }
        if !own.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            let pair = base64_of(format!("{user}:{password}").as_bytes());
            own.push(("Authorization".into(), Hidden::new(format!("Basic {pair}"))));
        }
    }
    let sigv4 = &authentication["sigv4"];
    let field = |name: &str| Some(Text::from(text(sigv4, name))).filter(|text| !text.is_empty());
    let (region, profile, role) = (field("region"), field("profile"), field("roleArn"));
    if address.contains("aps-workspaces") && (region.is_some() || profile.is_some() || role.is_some()) {
        asked.signature = Some(SigV4 { service: "aps".into(), region, profile, role });
    }
    asked.token = client_credentials(authentication)?;
    if let Some(token) = &mut asked.token {
        // The token is asked for on the same way.
        token.headers = own.clone();
    }
    let is_basic = |value: &Hidden| value.reveal().starts_with("Basic ");
    if asked.token.is_some() || asked.signature.is_some() {
        let given = headers(stanza);
        own.retain(|(name, value)| !is_basic(value) || given.iter().any(|(known, _)| known == name));
    }
    for (name, value) in own {
        asked.set_header(&name, value.reveal().clone());
    }
    Ok(())
}

type Parameters = Vec<(&'static str, String)>;

fn parameters(stanza: &Json, now: Time) -> Result<(&'static str, Parameters), ProviderProblem> {
    let query = text(stanza, "query").to_owned();
    let range = &stanza["rangeQuery"];
    if !range.is_object() {
        return Ok(("/api/v1/query", vec![("query", query), ("time", seconds(now))]));
    }
    let bound = |field: &str| {
        instant(text(range, field), now)
            .map_err(|why| ProviderProblem(format!("failed to parse rangeQuery.{field} as time: {why}")))
    };
    let (start, end) = (bound("start")?, bound("end")?);
    let step = shared::span(text(range, "step"))
        .map_err(|why| ProviderProblem(format!("failed to parse rangeQuery.step as duration: {why}")))?;
    let parameters = vec![
        ("query", query),
        ("start", seconds(start)),
        ("end", seconds(end)),
        ("step", seconds(Time(step.0))),
    ];
    Ok(("/api/v1/query_range", parameters))
}

/// Milliseconds as decimal seconds.
fn seconds(time: Time) -> String {
    plain(time.0 as f64 / 1000.0)
}

/// The document of an answer that says it is well; what is wrong in the words of the reference's client.
fn document(response: &Response) -> Result<Json, String> {
    let status = response.status;
    let tells_why = matches!(status, 400 | 422);
    match status {
        200..=299 => {}
        _ if tells_why => {}
        400..=499 => return Err(format!("client_error: client error: {status}")),
        500..=599 => return Err(format!("server_error: server error: {status}")),
        _ => return Err(format!("bad_response: bad response code {status}")),
    }
    let document = json(response).map_err(|why| format!("bad_response: {why}"))?;
    match text(&document, "status") {
        "success" if !tells_why => Ok(document),
        "error" if tells_why => {
            Err(format!("{}: {}", text(&document, "errorType"), text(&document, "error")))
        }
        _ => Err("bad_response: inconsistent body for response code".to_owned()),
    }
}

enum Unread {
    Kind,
    Malformed(String),
}

fn value(data: &Json) -> Result<(Value, String), Unread> {
    let result = &data["result"];
    let series = || result.as_array().ok_or_else(|| Unread::Malformed("data.result is no list".to_owned()));
    match text(data, "resultType") {
        "scalar" => {
            let number = sample(result)?;
            Ok((Value::Float(number), plain(number)))
        }
        "vector" => {
            let numbers: Result<Vec<f64>, Unread> =
                series()?.iter().map(|one| sample(&one["value"])).collect();
            numbers.map(list)
        }
        "matrix" => {
            let mut numbers = Vec::new();
            for one in series()? {
                // A histogram has no single value, and a made-up one would decide a release.
                let points = one["values"].as_array().ok_or(Unread::Kind)?;
                for point in points {
                    numbers.push(sample(point)?);
                }
            }
            Ok(list(numbers))
        }
        _ => Err(Unread::Kind),
    }
}

fn list(numbers: Vec<f64>) -> (Value, String) {
    let printed = plain_list(&numbers);
    (Value::numbers(numbers), printed)
}

/// The value of `[time, "value"]`.
fn sample(pair: &Json) -> Result<f64, Unread> {
    if pair.is_null() {
        return Err(Unread::Kind);
    }
    let value = pair.get(1).and_then(Json::as_str).and_then(|text| text.parse().ok());
    value.ok_or_else(|| Unread::Malformed(format!("no sample: {}", shared::excerpt(&pair.to_string()))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{play, shown};
    use super::*;

    fn provider() -> Json {
        json!({"prometheus": {"address": "http://prometheus.monitoring:9090/", "query": "sum(rate(errors[5m])) or vector(0)"}})
    }

    fn with(more: Json) -> Json {
        let mut provider = provider();
        for (key, value) in more.as_object().expect("fields") {
            provider["prometheus"][key] = value.clone();
        }
        provider
    }

    fn success(kind: &str, result: Json) -> Json {
        json!({"status": "success", "data": {"resultType": kind, "result": result}})
    }

    fn vector(values: &[&str]) -> Json {
        let sample = |value: &&str| json!({"metric": {"job": "web"}, "value": [1767226200.25, value]});
        success("vector", values.iter().map(sample).collect())
    }

    #[test]
    fn an_instant_query_is_posted_and_repeated_as_get_where_posts_are_not_allowed() {
        let play = play(provider()).reply(405, "").json(vector(&["1"]));
        let played = play.go();
        let asked: Vec<String> = played.questions.iter().map(shown).collect();
        let parameters = "query=sum%28rate%28errors%5B5m%5D%29%29+or+vector%280%29&time=1767226200.25";
        assert_eq!(
            asked[0],
            format!(
                "POST http://prometheus.monitoring:9090/api/v1/query\nContent-Type: application/x-www-form-urlencoded\n\n{parameters}"
            )
        );
        assert_eq!(asked[1], format!("GET http://prometheus.monitoring:9090/api/v1/query?{parameters}"));
        assert_eq!(played.outcome, "Successful [1]");
    }

    #[test]
    fn a_range_is_counted_from_the_time_of_the_measurement() {
        let range =
            json!({"rangeQuery": {"start": "now() - duration(\"1h\")", "end": "now()", "step": "1m30s"}});
        let asked = play(with(range)).asks();
        assert!(asked.starts_with("POST http://prometheus.monitoring:9090/api/v1/query_range\n"), "{asked}");
        assert!(asked.ends_with("&start=1767222600.25&end=1767226200.25&step=90"), "{asked}");
        for (field, what) in [("start", "time"), ("end", "time"), ("step", "duration")] {
            let mut range = json!({"rangeQuery": {"start": "now()", "end": "now()", "step": "1m"}});
            range["rangeQuery"][field] = "nonsense".into();
            play(with(range)).gives(&format!("Error: failed to parse rangeQuery.{field} as {what}: …"));
        }
    }

    /// Vectors R1 to R6.
    #[test]
    fn values_of_every_kind() {
        let check = |success: &str, reply: Json, expected: &str| {
            play(provider()).success(success).json(reply).gives(expected);
        };
        check("result == 10", success("scalar", json!([1767226200, "10"])), "Successful 10");
        check("10 in result", vector(&["10", "10"]), "Successful [10,10]");
        check("true", vector(&["NaN"]), "Successful [NaN]");
        check("result[0] < 0.05", vector(&["NaN"]), "Failed [NaN]");
        check("result[0] > 5", vector(&["+Inf", "-Inf"]), "Successful [+Inf,-Inf]");
        let matrix = json!([{"metric": {}, "values": [[1, "11"], [2, "12"]]}, {"metric": {}, "values": []}]);
        check("all(result, # > 10)", success("matrix", matrix), "Successful [11,12]");
        check("true", success("string", json!([1, "x"])), "Error: Prometheus metric type not supported");
        check(
            "true",
            success("vector", json!([{"histogram": [1, {}]}])),
            "Error: Prometheus metric type not supported",
        );
        let nothing = "Error: could not evaluate successCondition \"result[0] < 1\": metric result is nil or empty: no data returned from the metric provider";
        check("result[0] < 1", vector(&[]), nothing);
        check("len(result) == 0 || result[0] < 1", vector(&[]), "Successful []");
        let mut warned = vector(&["1"]);
        warned["warnings"] = json!(["warning1", "warning2"]);
        check("true", warned, "Successful [1] warnings=\"warning1\", \"warning2\"");
    }

    #[test]
    fn what_is_wrong_is_said_with_where_and_what_came_back() {
        let at = "POST http://prometheus.monitoring:9090/api/v1/query";
        let refused = json!({"status": "error", "errorType": "bad_data", "error": "parse error: unclosed left parenthesis"});
        for status in [400, 422] {
            play(provider()).reply(status, refused.to_string()).gives(&format!(
                "Error: bad_data: parse error: unclosed left parenthesis ({at} answered {status}: …"
            ));
        }
        let check =
            |status: u16, body: &str, expected: &str| play(provider()).reply(status, body).gives(expected);
        check(
            404,
            "no such page",
            &format!("Error: client_error: client error: 404 ({at} answered 404: no such page)"),
        );
        check(
            503,
            "",
            &format!("Error: server_error: server error: 503 ({at} answered 503 and nothing else)"),
        );
        check(302, "", "Error: bad_response: bad response code 302 …");
        check(200, "<html>", "Error: bad_response: expected value at line 1 column 1 …");
        check(200, "{}", "Error: bad_response: inconsistent body for response code …");
        check(200, &refused.to_string(), "Error: bad_response: inconsistent body for response code …");
        check(
            200,
            &success("vector", json!([{"value": [1, 2]}])).to_string(),
            "Error: bad_response: no sample: [1,2] …",
        );
        check(
            200,
            &success("vector", json!({})).to_string(),
            "Error: bad_response: data.result is no list …",
        );
        play(provider())
            .fails("POST http://p: connection refused")
            .gives("Error: POST http://p: connection refused");
    }

    #[test]
    fn ten_thousand_series_are_read() {
        let values: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        play(provider()).success("max(result) == 9999").json(vector(&values)).gives("Successful [0,1,2,…");
    }

    /// Vectors R7 to R9, and what else stands in the way before anything is asked.
    #[test]
    fn what_cannot_be_asked() {
        play(with(json!({"address": ":invalid"}))).gives("Error: prometheus address is not is url format");
        play(with(json!({"address": ""}))).gives("Error: prometheus address is not configured");
        play(with(json!({"timeout": -20}))).gives("Error: prometheus timeout should not be negative");
        let half = json!({"authentication": {"basicAuth": {"username": "me"}}});
        play(with(half)).gives("Error: missing mandatory parameter in metric for basic auth setup: password");
        let half = json!({"authentication": {"oauth2": {"tokenUrl": "http://t", "clientId": "me"}}});
        play(with(half)).gives("Error: missing mandatory parameter in metric for OAuth2 setup");
        let from_operator = play(with(json!({"address": ""}))).prometheus("http://localhost:9090");
        assert_eq!(from_operator.go().questions[0].chosen_by, ChosenBy::Operator);
    }

    #[test]
    fn credentials_are_sent_as_the_reference_sends_them() {
        let basic = json!({"basicAuth": {"username": "me", "password": "hunter2"}});
        let asked = |more: Json| play(with(more)).go().questions.remove(0);
        let one = asked(json!({"authentication": basic}));
        assert_eq!(one.header("authorization").map(|h| &**h.reveal()), Some("Basic bWU6aHVudGVyMg=="));
        let one = asked(json!({"authentication": basic, "timeout": 7, "insecure": true,
            "headers": [{"key": "authorization", "value": "Bearer x"}, {"key": "X-Scope-OrgID", "value": "a"},
                {"key": "x-scope-orgid", "value": "b"}]}));
        assert_eq!(one.header("authorization").map(|h| &**h.reveal()), Some("Bearer x"));
        assert_eq!(one.header("X-Scope-OrgID").map(|h| &**h.reveal()), Some("b"));
        assert_eq!((one.timeout, one.tls.insecure), (Span::seconds(7), true));
        let oauth = json!({"tokenUrl": "http://t/token", "clientId": "id", "clientSecret": "s3", "scopes": ["a", "b"]});
        let one = asked(json!({"authentication": {"oauth2": oauth, "basicAuth": basic["basicAuth"]}}));
        let token = one.token.clone().expect("a token");
        assert_eq!(
            (&*token.url, &*token.id, &**token.secret.reveal(), token.scopes.len()),
            ("http://t/token", "id", "s3", 2)
        );
        assert_eq!(token.headers.len(), 1, "the token is asked for with the password");
        assert_eq!(one.header("authorization"), None, "the token stands in its place");
        let sigv4 = json!({"sigv4": {"region": "eu-west-1", "roleArn": "arn:aws:iam::1:role/r"}});
        let aws = json!({"address": "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/w", "authentication": sigv4});
        let signature = asked(aws).signature.expect("a signature");
        assert_eq!((&*signature.service, signature.region.as_deref()), ("aps", Some("eu-west-1")));
        assert_eq!(asked(json!({"authentication": sigv4})).signature, None, "elsewhere nothing is signed");
    }

    #[test]
    fn secrets_are_hidden_from_everything_that_is_said() {
        let stanza = with(
            json!({"address": "http://h/hunter2", "authentication": {"basicAuth": {"username": "me", "password": "s3cret"}}}),
        );
        let played = play(stanza.clone()).mask("hunter2").reply(500, "no hunter2, no s3cret").go();
        assert_eq!(
            played.outcome,
            "Error: server_error: server error: 500 (POST http://h/*****/api/v1/query answered 500: no *****, no *****)"
        );
        assert!(!format!("{:?}", played.questions).contains("hunter2"));
    }
}
