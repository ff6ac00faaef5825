//! SkyWalking: whatever a GraphQL query over a span of time gives.

use serde_json::{Value as Json, json};
use tidegate_api::problem::Problem;
use tidegate_api::time::{Span, Stamp};

use super::shared::{self, answer, below, entries, is_url, json_text, problem, text};
use super::{Ask, Next, Provider, ProviderProblem, Reading, SoFar, Told};
use crate::analysis::expr::Value;
use crate::question::{Hidden, Method, Question};

/// Asks a SkyWalking.
pub struct SkyWalking;

impl Provider for SkyWalking {
    fn name(&self) -> &'static str {
        "skywalking"
    }

    fn type_name(&self) -> &'static str {
        "skywalking"
    }

    fn check(&self, stanza: &Json, at: &str) -> Vec<Problem> {
        let interval = text(stanza, "interval");
        let wrong = shared::span(interval).err().filter(|_| !interval.contains("{{"));
        wrong.map(|why| Problem::invalid(format!("{at}.interval"), interval, why)).into_iter().collect()
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
        Ok(Next::Call(Box::new(question(ask)?)))
    }

    fn resume(&self, ask: &Ask<'_>, _: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
        let Told::Reply(reply) = told else { return self.begin(ask) };
        let asked = question(ask)?;
        let response = answer(&asked, reply)?;
        // The status says nothing here; what is wrong stands in the document.
        let document = shared::json(response)
            .map_err(|why| problem(&format!("decoding response: {why}"), &asked, response))?;
        if let Some(error) = entries(&document, "errors").next() {
            return Err(problem(&format!("graphql: {}", text(error, "message")), &asked, response));
        }
        let data = &document["data"];
        if data.is_null() {
            return Err(problem("no results returned from SkyWalking query", &asked, response));
        }
        Ok(Next::Measured(Reading::new(Value::from_json(data), json_text(data))))
    }
}

fn question(ask: &Ask<'_>) -> Result<Question, ProviderProblem> {
    let stanza = ask.of("skywalking");
    let address = text(stanza, "address");
    if !is_url(address) {
        return Err(format!("SkyWalking address {address:?} is not a valid URL").into());
    }
    let interval = shared::span(text(stanza, "interval"))?;
    let end = ask.now.stamp();
    let start = end.plus_seconds(-interval.0.div_euclid(1000));
    let local = |at: Stamp| minute(at.plus_seconds(ask.surroundings.utc_offset));
    let body = json!({"query": text(stanza, "query"),
        "variables": {"duration": {"start": local(start), "end": local(end), "step": "MINUTE"}}});
    let mut asked = ask.question(Method::Post, below(address, "/graphql"));
    asked.body = Some(Hidden::new(body.to_string()));
    asked.set_header("Content-Type", "application/json; charset=utf-8");
    asked.set_header("Accept", "application/json; charset=utf-8");
    asked.timeout = Span::seconds(30);
    Ok(asked)
}

/// `2006-01-02 1504`
fn minute(at: Stamp) -> String {
    let text = at.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let time: String = time.chars().filter(char::is_ascii_digit).take(4).collect();
    format!("{date} {time}")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Play, play};
    use super::*;

    fn bench() -> Play {
        play(json!({"skywalking": {"address": "http://oap:12800", "interval": "3m",
            "query": "query q($duration: Duration!) { v: readMetricsValues { values { values { value } } } }"}}))
    }

    #[test]
    fn the_span_is_told_in_minutes() {
        let asked = bench().asks();
        let (head, body) = asked.split_once("\n\n").expect("a body");
        assert!(
            head.starts_with("POST http://oap:12800/graphql\nContent-Type: application/json; charset=utf-8")
        );
        let body: Json = serde_json::from_str(body).expect("JSON");
        let span = json!({"start": "2026-01-01 0007", "end": "2026-01-01 0010", "step": "MINUTE"});
        assert_eq!(body["variables"]["duration"], span);
    }

    #[test]
    fn data_and_errors() {
        let values = json!({"v": {"values": {"values": [{"value": 9900}, {"value": 10000}]}}});
        let condition = "all(result.v.values.values, {asFloat(#.value) >= 9900})";
        let printed = "{\"v\":{\"values\":{\"values\":[{\"value\":9900},{\"value\":10000}]}}}";
        bench().success(condition).json(json!({"data": values})).gives(&format!("Successful {printed}"));
        let at = "(POST http://oap:12800/graphql answered";
        bench()
            .reply(500, r#"{"errors": [{"message": "no such metric"}]}"#)
            .gives(&format!("Error: graphql: no such metric {at} 500: …"));
        bench()
            .json(json!({"data": null}))
            .gives(&format!("Error: no results returned from SkyWalking query {at} 200: …"));
        bench().reply(502, "Bad Gateway").gives(&format!(
            "Error: decoding response: expected value at line 1 column 1 {at} 502: Bad Gateway)"
        ));
        let without = json!({"skywalking": {"address": "http://oap", "query": "q"}});
        play(without).gives("Error: time: invalid duration \"\"");
        play(json!({"skywalking": {"query": "q"}}))
            .gives("Error: SkyWalking address \"\" is not a valid URL");
    }
}
