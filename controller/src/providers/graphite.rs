//! Graphite: the points of the first target.

use serde_json::Value as Json;
use tidegate_api::problem::Problem;
use tidegate_api::time::Span;

use super::shared::{self, answer, below, encoded, is_url, problem, text};
use super::{Ask, Next, Provider, ProviderProblem, Reading, SoFar, Told};
use crate::analysis::expr::Value;
use crate::question::{Method, Question};

/// Asks a Graphite.
pub struct Graphite;

impl Provider for Graphite {
    fn name(&self) -> &'static str {
        "graphite"
    }

    fn type_name(&self) -> &'static str {
        "Graphite"
    }

    fn check(&self, stanza: &Json, at: &str) -> Vec<Problem> {
        let address = text(stanza, "address");
        let is_fine = is_url(address) || address.contains("{{");
        let wrong =
            || Problem::invalid(format!("{at}.address"), address, "must be a URL with scheme and host");
        (!is_fine).then(wrong).into_iter().collect()
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
        Ok(Next::Call(Box::new(question(ask)?)))
    }

    fn resume(&self, ask: &Ask<'_>, _: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
        let Told::Reply(reply) = told else { return self.begin(ask) };
        let asked = question(ask)?;
        let response = answer(&asked, reply)?;
        if response.status >= 400 {
            let body = shared::excerpt(&response.text());
            return Err(format!("error response: {body} ({asked} answered {})", response.status).into());
        }
        let document = shared::json(response).map_err(|why| problem(&why, &asked, response))?;
        let points = document.get(0).and_then(|target| target["datapoints"].as_array());
        let points = points.filter(|points| !points.is_empty());
        let points = points.ok_or_else(|| problem("no values found", &asked, response))?;
        let mut values = Vec::new();
        for point in points {
            match &point[0] {
                Json::Null => {}
                value => values.push(shared::float(value).ok_or_else(|| {
                    problem(
                        &format!("{} is no number", shared::excerpt(&value.to_string())),
                        &asked,
                        response,
                    )
                })?),
            }
        }
        let printed = values.iter().map(|value| format!("{value:.6}")).collect::<Vec<_>>().join(",");
        let reading = Reading::new(Value::numbers(values), format!("[{printed}]"));
        Ok(Next::Measured(Reading { keeps_value: true, ..reading }))
    }
}

fn question(ask: &Ask<'_>) -> Result<Question, ProviderProblem> {
    let stanza = ask.of("graphite");
    let address = text(stanza, "address");
    if !is_url(address) {
        return Err(format!("Graphite address {address} is not a valid URL").into());
    }
    let query: String = text(stanza, "query").chars().filter(|c| !c.is_whitespace()).collect();
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        })
        .filter(|(name, _)| name != "format")
        .collect();
    pairs.push(("format".to_owned(), "json".to_owned()));
    // By name; several of one name stay in their order.
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    let query: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let url = format!("{}?{}", below(address, "/render"), query.join("&"));
    Ok(Question { timeout: Span::seconds(10), ..ask.question(Method::Get, url) })
}

/// A part of a query as it was meant; nothing where an escape is broken.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || Some((bytes.next()? as char).to_digit(16)? as u8);
                let (high, low) = (digit()?, digit()?);
                high << 4 | low
            }
            byte => byte,
        });
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Play, play};

    fn with(query: &str) -> Play {
        play(json!({"graphite": {"address": "http://graphite:9000/", "query": query}}))
    }

    #[test]
    fn a_query_is_sent_in_order_and_without_blanks() {
        let asked = with(
            "target=summarize(\n  asPercent(a.errors, a.total),\n  '5min', 'avg')&from=-2min&format=png",
        )
        .asks();
        assert_eq!(
            asked,
            "GET http://graphite:9000/render?format=json&from=-2min&target=summarize%28asPercent%28a.errors%2Ca.total%29%2C%275min%27%2C%27avg%27%29"
        );
        assert_eq!(
            with("target=a%20b+c&x=%zz").asks(),
            "GET http://graphite:9000/render?format=json&target=a+b+c"
        );
    }

    /// Vectors R32 and R33, and others.
    #[test]
    fn points_of_the_first_target() {
        let check = |success: &str, body: &str, expected: &str| {
            with("target=a").success(success).reply(200, body).gives(expected)
        };
        check(
            "result[0] > 2",
            r#"[{"target": "a", "datapoints": [[null, 1], [2.5, 2]]}, {"datapoints": [[9, 9]]}]"#,
            "Successful [2.500000]",
        );
        check(
            "result[1] == 1",
            r#"[{"datapoints": [["2.5", 1], [1, 2]]}]"#,
            "Successful [2.500000,1.000000]",
        );
        check("len(result) == 0", r#"[{"datapoints": [[null, 1]]}]"#, "Successful []");
        check(
            "result[0] > 2",
            r#"[{"datapoints": [[null, 1]]}]"#,
            "Error: could not evaluate successCondition \"result[0] > 2\": metric result is nil or empty: no data returned from the metric provider value []",
        );
        check(
            "nope",
            r#"[{"datapoints": [[1, 1]]}]"#,
            "Error: could not evaluate successCondition \"nope\": unknown name nope…",
        );
        for empty in ["[]", r#"[{"datapoints": []}]"#, "{}"] {
            check("true", empty, "Error: no values found (GET http://graphite:9000/render answered 200: …");
        }
        check("true", r#"[{"datapoints": [["x", 1]]}]"#, "Error: \"x\" is no number (GET …");
        check(
            "true",
            "Traceback",
            "Error: expected value at line 1 column 1 (GET http://graphite:9000/render answered 200: Traceback)",
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        with("target=a")
            .reply(500, "boom")
            .gives("Error: error response: boom (GET http://graphite:9000/render answered 500)");
        play(json!({"graphite": {"address": "", "query": "target=a"}}))
            .gives("Error: Graphite address  is not a valid URL");
    }
}
