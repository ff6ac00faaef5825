//! Web: any address that answers with JSON, or with text.

use serde_json::Value as Json;
use tidegate_api::object::Text;
use tidegate_api::problem::Problem;
use tidegate_api::time::Span;

use super::shared::{answer, client_credentials, headers, json_text, number, problem, secrets_of, text};
use super::{Ask, Next, Provider, ProviderProblem, Reading, SoFar, Told};
use crate::analysis::expr::Value;
use crate::jsonpath::JsonPath;
use crate::question::{Hidden, Method, Question, Tls};

/// Asks any address.
pub struct Web;

impl Provider for Web {
    fn name(&self) -> &'static str {
        "web"
    }

    fn type_name(&self) -> &'static str {
        "Web"
    }

    fn check(&self, stanza: &Json, at: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if text(stanza, "url").is_empty() {
            problems.push(Problem::required(format!("{at}.url"), ""));
        }
        let path = text(stanza, "jsonPath");
        if !path.contains("{{")
            && let Err(why) = path_of(stanza)
        {
            problems.push(Problem::invalid(format!("{at}.jsonPath"), path, why));
        }
        if let Err(why) = body_of(stanza, method_of(stanza)) {
            problems.push(Problem::invalid(format!("{at}.body"), text(stanza, "body"), why.0));
        }
        problems
    }

    fn masks(&self, ask: &Ask<'_>) -> Vec<Text> {
        secrets_of(&ask.of("web")["authentication"])
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
        let _ = path_of(ask.of("web"))?;
        Ok(Next::Call(Box::new(question(ask)?)))
    }

    fn resume(&self, ask: &Ask<'_>, _: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
        let Told::Reply(reply) = told else { return self.begin(ask) };
        let asked = question(ask)?;
        let response = answer(&asked, reply)?;
        if !(200..300).contains(&response.status) {
            let what = format!("received non 2xx response code: {}", response.status);
            return Err(problem(&what, &asked, response));
        }
        let Ok(document) = serde_json::from_slice::<Json>(&response.body) else {
            // No JSON, and nothing too, is a text: conditions may be about it.
            let body = response.text();
            return Ok(Next::Measured(Reading::new(Value::text(body.as_str()), body.as_str())));
        };
        let path = path_of(ask.of("web"))?;
        let found = path
            .first(&document)
            .map_err(|why| problem(&format!("Could not find JSONPath in body: {why}"), &asked, response))?;
        let found =
            found.ok_or_else(|| problem("result of web metric produced no value", &asked, response))?;
        Ok(Next::Measured(Reading::new(Value::from_json(&found), json_text(&found))))
    }
}

fn path_of(stanza: &Json) -> Result<JsonPath, String> {
    let path = text(stanza, "jsonPath");
    JsonPath::parse(if path.is_empty() { "{$}" } else { path })
}

fn method_of(stanza: &Json) -> Method {
    match text(stanza, "method") {
        "POST" => Method::Post,
        "PUT" => Method::Put,
        _ => Method::Get,
    }
}

fn body_of(stanza: &Json, method: Method) -> Result<Option<(String, bool)>, ProviderProblem> {
    let (body, json_body) = (text(stanza, "body"), &stanza["jsonBody"]);
    let has_json = !json_body.is_null();
    if !body.is_empty() && has_json {
        return Err("use either Body or JSONBody; both cannot exists for WebMetric payload".into());
    }
    if (!body.is_empty() || has_json) && method == Method::Get {
        return Err("Body/JSONBody can only be used with POST or PUT WebMetric Method types".into());
    }
    Ok(match (has_json, body) {
        (true, _) => Some((json_body.to_string(), true)),
        (false, "") => None,
        (false, body) => Some((body.to_owned(), false)),
    })
}

fn question(ask: &Ask<'_>) -> Result<Question, ProviderProblem> {
    let stanza = ask.of("web");
    let method = method_of(stanza);
    let body = body_of(stanza, method)?;
    let mut asked = ask.question(method, text(stanza, "url"));
    asked.headers = headers(stanza);
    if let Some((body, is_json)) = body {
        asked.body = Some(Hidden::new(body));
        if is_json {
            asked.set_header("Content-Type", "application/json");
        }
    }
    let seconds = number(&stanza["timeoutSeconds"]).filter(|seconds| *seconds > 0).unwrap_or(10);
    asked.timeout = Span::seconds(seconds);
    let insecure = stanza["insecure"] == true;
    asked.tls = Tls { insecure, no_proxy: insecure };
    asked.token = client_credentials(&stanza["authentication"])?;
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::play;
    use super::*;

    fn provider(more: Json) -> Json {
        let mut provider = json!({"web": {"url": "https://shop.example/health?token=hunter2"}});
        for (key, value) in more.as_object().expect("fields") {
            provider["web"][key] = value.clone();
        }
        provider
    }

    #[test]
    fn a_plain_question() {
        let headers = json!({"headers": [{"key": "Authorization", "value": "Bearer x"}]});
        let played = play(provider(headers)).go();
        let asked = &played.questions[0];
        assert_eq!(
            super::super::testing::shown(asked),
            "GET https://shop.example/health?token=hunter2\nAuthorization: Bearer x"
        );
        assert_eq!((asked.timeout, asked.tls), (Span::seconds(10), Tls::default()));
        let played = play(provider(json!({"timeoutSeconds": 3, "insecure": true}))).go();
        assert_eq!((played.questions[0].timeout, played.questions[0].tls.no_proxy), (Span::seconds(3), true));
    }

    #[test]
    fn bodies() {
        let asks = |more: Json| play(provider(more)).asks();
        let json_body = json!({"method": "POST", "jsonBody": {"b": [1, "x"], "a": null},
            "headers": [{"key": "content-type", "value": "text/plain"}]});
        assert_eq!(
            asks(json_body),
            "POST https://shop.example/health?token=hunter2\nContent-Type: application/json\n\n{\"a\":null,\"b\":[1,\"x\"]}"
        );
        assert_eq!(
            asks(json!({"method": "PUT", "body": "hello"})),
            "PUT https://shop.example/health?token=hunter2\n\nhello"
        );
        // Vectors R16 and R17.
        assert_eq!(
            asks(json!({"method": "GET", "body": "hello"})),
            "Error: Body/JSONBody can only be used with POST or PUT WebMetric Method types"
        );
        assert_eq!(
            asks(json!({"method": "POST", "body": "hello", "jsonBody": {}})),
            "Error: use either Body or JSONBody; both cannot exists for WebMetric payload"
        );
    }

    /// Vectors R10 to R15 and R18.
    #[test]
    fn values() {
        let check = |path: &str, success: &str, status: u16, body: &str, expected: &str| {
            let more = if path.is_empty() { json!({}) } else { json!({"jsonPath": path}) };
            play(provider(more)).success(success).reply(status, body).gives(expected);
        };
        let nested = r#"{"key":[{"key2":{"value":"1"}}]}"#;
        check("{$.key[0].key2.value}", "asInt(result) > 0", 200, nested, "Successful \"1\"");
        check("{$.value}", "result > 0", 200, r#"{"value": 1.1}"#, "Successful 1.1");
        check(
            "",
            "",
            300,
            "",
            "Error: received non 2xx response code: 300 (GET https://shop.example/health answered 300 and nothing else)",
        );
        check("{$.x}", "true", 200, "", "Successful ");
        check("{$.x}", "result == 'fail123'", 200, "", "Failed ");
        check("{$.x}", "result == 'test: notJson'", 200, "test: notJson", "Successful test: notJson");
        check(
            "{$.key[0].other}",
            "true",
            200,
            nested,
            "Error: Could not find JSONPath in body: other is not found (GET https://shop.example/health answered 200: {\"key\":…",
        );
        let object = r#"{"key":{"num":1.2,"bool":true,"mapfield":{"foo":"bar"}}}"#;
        check(
            "{$.key}",
            "result.num > 1 && result.mapfield.foo == 'bar'",
            200,
            object,
            r#"Successful {"bool":true,"mapfield":{"foo":"bar"},"num":1.2}"#,
        );
        check("{$.a[*]}", "result == 1", 200, r#"{"a": [1, 2]}"#, "Successful 1");
        check("{$.a}", "isNil(result)", 200, r#"{"a": null}"#, "Successful null");
        check(
            "{$.a[?(@.n > 5)].n}",
            "",
            200,
            r#"{"a": [{"n": 1}]}"#,
            "Error: n is not found…"
                .replace("Error: n", "Error: Could not find JSONPath in body: n")
                .as_str(),
        );
        check("", "result > 1e20", 200, "1000000000000000000000", "Successful 1e+21");
        check("{.a", "true", 200, "{}", "Error: unclosed action");
    }

    #[test]
    fn a_reply_of_many_megabytes_is_read() {
        let body = format!("{{\"v\": 1, \"pad\": \"{}\"}}", "x".repeat(4 << 20));
        play(provider(json!({"jsonPath": "{$.v}"})))
            .success("result == 1")
            .reply(200, body)
            .gives("Successful 1");
        let deep = "[".repeat(100_000);
        play(provider(json!({}))).success("true").reply(200, deep).gives("Successful [[[[…");
    }

    #[test]
    fn a_token_is_asked_for_and_its_failure_is_the_outcome() {
        let oauth2 = json!({"authentication": {"oauth2": {"tokenUrl": "http://t", "clientId": "i", "clientSecret": "hunter2"},
            "basicAuth": {"username": "not", "password": "used"}}});
        let played = play(provider(oauth2.clone())).go();
        let asked = &played.questions[0];
        assert_eq!(asked.token.as_ref().map(|token| &*token.url), Some("http://t"));
        assert!(asked.headers.is_empty());
        // Vector R19.
        play(provider(oauth2))
            .fails("oauth2: cannot fetch token: 401 for hunter2")
            .gives("Error: oauth2: cannot fetch token: 401 for *****");
    }
}
