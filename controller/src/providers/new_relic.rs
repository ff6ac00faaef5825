//! New Relic: rows of an NRQL query, through NerdGraph.

use serde_json::{Value as Json, json};
use tidegate_api::object::{Key, Strings, Text};
use tidegate_api::time::Span;

use super::shared::{self, answer, entries, json_text, number, problem, text};
use super::{Ask, Next, Provider, ProviderProblem, Reading, SoFar, Told};
use crate::analysis::expr::Value;
use crate::question::{ChosenBy, Hidden, Method, Question};

/// Asks New Relic.
pub struct NewRelic;

/// What is asked of the graph; query, account and patience are variables.
const GRAPH: &str = "query($query: Nrql!, $accountId: Int!, $timeout: Seconds) { actor { account(id: $accountId) { \
                     nrql(query: $query, timeout: $timeout) { results } } } }";

impl Provider for NewRelic {
    fn name(&self) -> &'static str {
        "newRelic"
    }

    fn type_name(&self) -> &'static str {
        "NewRelic"
    }

    fn needs(&self, ask: &Ask<'_>) -> Vec<Key> {
        vec![profile(ask)]
    }

    fn masks(&self, ask: &Ask<'_>) -> Vec<Text> {
        let secret = ask.secret(&profile(ask)).ok();
        secret.and_then(|secret| secret.get("personal-api-key")).cloned().into_iter().collect()
    }

    fn metadata(&self, ask: &Ask<'_>) -> Strings {
        let query = text(ask.of("newRelic"), "query");
        let pair = (!query.is_empty()).then(|| ("ResolvedNewRelicQuery", Text::from(query)));
        pair.into_iter().collect()
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
        Ok(Next::Call(Box::new(question(ask)?)))
    }

    fn resume(&self, ask: &Ask<'_>, _: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
        let Told::Reply(reply) = told else { return self.begin(ask) };
        let asked = question(ask)?;
        let response = answer(&asked, reply)?;
        if response.status != 200 {
            return Err(problem(&format!("{} response returned", response.status), &asked, response));
        }
        let document = shared::json(response).map_err(|why| problem(&why, &asked, response))?;
        let errors: Vec<&str> = entries(&document, "errors").map(|error| text(error, "message")).collect();
        if !errors.is_empty() {
            return Err(format!("{} ({asked})", errors.join(", ")).into());
        }
        let rows = &document["data"]["actor"]["account"]["nrql"]["results"];
        let is_empty = |row: &Json| row.as_object().is_none_or(serde_json::Map::is_empty);
        let measured = match rows.as_array().map(Vec::as_slice).unwrap_or_default() {
            [] => None,
            [row] if is_empty(row) => None,
            [row] => Some(row),
            _ => Some(rows),
        };
        let measured =
            measured.ok_or_else(|| problem("no results returned from NRQL query", &asked, response))?;
        Ok(Next::Measured(Reading::new(Value::from_json(measured), json_text(measured))))
    }
}

fn profile(ask: &Ask<'_>) -> Key {
    let name = text(ask.of("newRelic"), "profile");
    ask.operators_secret(if name.is_empty() { "newrelic" } else { name })
}

fn question(ask: &Ask<'_>) -> Result<Question, ProviderProblem> {
    let stanza = ask.of("newRelic");
    let timeout = match number(&stanza["timeout"]) {
        Some(seconds) if seconds < 0 => return Err("timeout value needs to be a positive value".into()),
        None | Some(0) => 5,
        Some(seconds) => seconds,
    };
    let secret = ask.secret(&profile(ask))?;
    let value = |name: &str| secret.get(name).map(|text| &**text).unwrap_or_default();
    let (key, account) = (value("personal-api-key"), value("account-id"));
    if key.is_empty() || account.is_empty() {
        return Err("account ID or personal API key not found".into());
    }
    let account: i64 = account.parse().map_err(|why| format!("could not parse account ID: {why}"))?;
    let address = match (value("base-url-nerdgraph"), value("region").to_ascii_lowercase().as_str()) {
        ("", "" | "us") => "https://api.newrelic.com/graphql",
        ("", "eu") => "https://api.eu.newrelic.com/graphql",
        ("", "staging") => "https://staging-api.newrelic.com/graphql",
        ("", "local") => "http://localhost:3000/graphql",
        ("", region) => return Err(format!("invalid region {region:?} in the secret").into()),
        (address, _) => address,
    };
    let body = json!({"query": GRAPH,
        "variables": {"query": text(stanza, "query"), "accountId": account, "timeout": timeout}});
    let mut asked = ask.question(Method::Post, address);
    asked.body = Some(Hidden::new(body.to_string()));
    asked.set_header("Content-Type", "application/json");
    asked.set_header("API-Key", key);
    let version = &ask.surroundings.version;
    asked.set_header(
        "User-Agent",
        format!("argo-rollouts/{version} (https://github.com/argoproj/argo-rollouts)"),
    );
    // The service's own patience, and the way there and back.
    asked.timeout = Span::seconds(timeout.saturating_add(25));
    asked.chosen_by = ChosenBy::Operator;
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Play, play};
    use super::*;

    const KEYS: &[(&str, &str)] = &[("personal-api-key", "NRAK-1"), ("account-id", "42"), ("region", "eu")];

    fn bench() -> Play {
        play(json!({"newRelic": {"query": "FROM Transaction SELECT count(*)", "timeout": 10}})).secret(
            "argo-rollouts",
            "newrelic",
            KEYS,
        )
    }

    fn rows(rows: Json) -> Json {
        json!({"data": {"actor": {"account": {"nrql": {"results": rows}}}}})
    }

    #[test]
    fn a_query_goes_through_the_graph() {
        let asked = bench().asks();
        let (head, body) = asked.split_once("\n\n").expect("a body");
        assert_eq!(
            head,
            "POST https://api.eu.newrelic.com/graphql\nContent-Type: application/json\nAPI-Key: NRAK-1\n\
             User-Agent: argo-rollouts/v1 (https://github.com/argoproj/argo-rollouts)"
        );
        let body: Json = serde_json::from_str(body).expect("JSON");
        let variables = json!({"query": "FROM Transaction SELECT count(*)", "accountId": 42, "timeout": 10});
        assert_eq!((&body["variables"], body["query"].as_str()), (&variables, Some(GRAPH)));
    }

    /// Vector R31, and others.
    #[test]
    fn rows_are_maps() {
        let check =
            |success: &str, reply: Json, expected: &str| bench().success(success).json(reply).gives(expected);
        check("result.count < 5", rows(json!([{"count": 3}])), "Successful {\"count\":3}");
        check(
            "result['average.duration'] < 1",
            rows(json!([{"average.duration": 1.5}])),
            "Failed {\"average.duration\":1.5}",
        );
        check(
            "all(result, {#.n < 5})",
            rows(json!([{"n": 1}, {"n": 2}])),
            "Successful [{\"n\":1},{\"n\":2}]",
        );
        for empty in [json!([]), json!([{}]), json!(null)] {
            check(
                "true",
                rows(empty),
                "Error: no results returned from NRQL query (POST https://api.eu.newrelic.com/graphql answered 200: …",
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let errors = json!({"errors": [{"message": "NRQL Syntax Error"}], "data": null});
        bench().json(errors).gives("Error: NRQL Syntax Error (POST https://api.eu.newrelic.com/graphql)");
        bench().reply(401, "NRAK-1?").gives(
            "Error: 401 response returned (POST https://api.eu.newrelic.com/graphql answered 401: *****?)",
        );
        bench().reply(200, "").gives("Error: EOF while parsing…");
        let with = |timeout: i64, keys: &[(&str, &str)]| {
            play(json!({"newRelic": {"query": "x", "timeout": timeout, "profile": "p"}})).secret(
                "argo-rollouts",
                "p",
                keys,
            )
        };
        with(-1, KEYS).gives("Error: timeout value needs to be a positive value");
        with(1, &KEYS[..1]).gives("Error: account ID or personal API key not found");
        with(1, &[KEYS[0], ("account-id", "x")]).gives("Error: could not parse account ID: …");
        with(1, &[KEYS[0], KEYS[1], ("region", "moon")])
            .gives("Error: invalid region \"moon\" in the secret");
    }
}
