//! Datadog: series of version 1, scalars and formulas of version 2.

use std::cmp::Ordering;

use serde_json::{Value as Json, json};
use tidegate_api::object::{Key, Kind, Strings, Text};
use tidegate_api::problem::Problem;
use tidegate_api::time::Span;

use super::shared::{self, answer, below, encoded, entries, json_text, plain, plain_list, problem, text};
use super::{Ask, Next, Provider, ProviderProblem, Reading, SoFar, Told};
use crate::analysis::expr::Value;
use crate::question::{ChosenBy, Hidden, Method, Question, Response};

/// Asks Datadog.
pub struct Datadog;

const ADDRESS: &str = "https://api.datadoghq.com";
/// The name of a query that has none of its own.
const ONLY_QUERY: &str = "query";
/// More groups than these are not all told.
const MOST_GROUPS: usize = 100;

impl Provider for Datadog {
    fn name(&self) -> &'static str {
        "datadog"
    }

    fn type_name(&self) -> &'static str {
        "Datadog"
    }

    fn check(&self, stanza: &Json, at: &str) -> Vec<Problem> {
        let wrong = judge(stanza).err().filter(|_| !stanza.to_string().contains("{{"));
        wrong
            .map(|why| Problem::invalid(format!("{at}.query"), text(stanza, "query"), why.0))
            .into_iter()
            .collect()
    }

    fn needs(&self, ask: &Ask<'_>) -> Vec<Key> {
        match place_of_keys(ask) {
            Ok(Keys::Secret(key, _)) => vec![key],
            Ok(Keys::Environment) | Err(_) => Vec::new(),
        }
    }

    fn masks(&self, ask: &Ask<'_>) -> Vec<Text> {
        credentials(ask).map(|found| vec![found.api, found.app]).unwrap_or_default()
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
        Ok(Next::Call(Box::new(question(ask)?)))
    }

    fn resume(&self, ask: &Ask<'_>, _: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
        let Told::Reply(reply) = told else { return self.begin(ask) };
        let asked = question(ask)?;
        let response = answer(&asked, reply)?;
        let body = shared::excerpt(&response.text());
        match response.status {
            200 => {}
            status @ (401 | 403) => {
                let what = format!("received authentication error response code: {status} {body}");
                return Err(format!("{what} ({asked})").into());
            }
            status => return Err(format!("received non 2xx response code: {status} {body} ({asked})").into()),
        }
        let document = shared::json(response)
            .map_err(|why| problem(&format!("Could not parse JSON body: {why}"), &asked, response))?;
        let reading = if is_v1(ask.of("datadog")) { series(&document) } else { scalars(&document) };
        reading.map(Next::Measured).map_err(|why| said(why, &asked, response))
    }
}

/// Texts of the service itself stand alone; what we could not read comes with what it was.
fn said(why: String, asked: &Question, response: &Response) -> ProviderProblem {
    match why.starts_with("There were errors") {
        true => format!("{why} ({asked})").into(),
        false => problem(&why, asked, response),
    }
}

fn is_v1(stanza: &Json) -> bool {
    text(stanza, "apiVersion") == "v1"
}

/// What of a metric cannot be asked.
fn judge(stanza: &Json) -> Result<Span, ProviderProblem> {
    const REVIEW: &str = "Please review the Analysis Template.";
    let (query, queries) = (text(stanza, "query"), stanza["queries"].as_object());
    let several = queries.map_or(0, serde_json::Map::len);
    let (formula, aggregator) = (text(stanza, "formula"), text(stanza, "aggregator"));
    let refuse = |why: String| Err(ProviderProblem(why));
    if is_v1(stanza) && query.is_empty() {
        return refuse(
            "Query is empty. API Version v1 only supports using the query parameter in your Analysis Template.".into(),
        );
    }
    if query.is_empty() && several == 0 {
        return refuse(format!("Must have either a query or queries. {REVIEW}"));
    }
    if !query.is_empty() && several > 0 {
        return refuse(format!("Cannot have both a query and queries. {REVIEW}"));
    }
    if !formula.is_empty() && several == 0 {
        return refuse(format!("Formula are only valid when queries are set. {REVIEW}"));
    }
    if several > 1 && formula.is_empty() {
        return refuse("When multiple queries are provided you must include a formula.".into());
    }
    if is_v1(stanza) && !aggregator.is_empty() {
        return refuse(format!("Aggregator is not supported in v1. {REVIEW}"));
    }
    let timeout = text(stanza, "requestTimeout");
    let timeout = if timeout.is_empty() { "10s" } else { timeout };
    match shared::span(timeout) {
        Ok(span) if span > Span::ZERO => Ok(span),
        Ok(_) => refuse(format!("requestTimeout must be greater than 0, but is {timeout}. {REVIEW}")),
        Err(why) => refuse(format!("invalid requestTimeout: {why}. {REVIEW}")),
    }
}

enum Keys {
    Environment,
    Secret(Key, ChosenBy),
}

fn place_of_keys(ask: &Ask<'_>) -> Result<Keys, ProviderProblem> {
    let reference = &ask.of("datadog")["secretRef"];
    let name = text(reference, "name");
    match (reference["namespaced"] == true, name) {
        (true, "") => Err("secret name is required for namespaced credentials".into()),
        (true, name) => {
            let key = Key::new(Kind::Secret, ask.run.namespace.clone(), name);
            Ok(Keys::Secret(key, ChosenBy::Author))
        }
        (false, "") if ask.surroundings.datadog.is_some() => Ok(Keys::Environment),
        (false, name) => {
            let name = if name.is_empty() { "datadog" } else { name };
            Ok(Keys::Secret(ask.operators_secret(name), ChosenBy::Operator))
        }
    }
}

struct Credentials {
    api: Text,
    app: Text,
    address: Text,
    chosen_by: ChosenBy,
}

fn credentials(ask: &Ask<'_>) -> Result<Credentials, ProviderProblem> {
    match place_of_keys(ask)? {
        Keys::Environment => {
            let keys = ask.surroundings.datadog.as_ref();
            let keys = keys.ok_or("failed to find the credentials for datadog metrics provider")?;
            Ok(Credentials {
                api: keys.api.reveal().clone(),
                app: keys.app.reveal().clone(),
                address: keys.address.clone(),
                chosen_by: ChosenBy::Operator,
            })
        }
        Keys::Secret(key, chosen_by) => {
            let data = ask.secret(&key)?;
            let value = |name: &str| data.get(name).filter(|value| !value.is_empty()).cloned();
            let (Some(api), Some(app)) = (value("api-key"), value("app-key")) else {
                let why = "failed to find the credentials for datadog metrics provider";
                return Err(format!("{why} in secret {}/{}", key.namespace, key.name).into());
            };
            let address = value("address").unwrap_or_default();
            Ok(Credentials { api, app, address, chosen_by })
        }
    }
}

fn question(ask: &Ask<'_>) -> Result<Question, ProviderProblem> {
    let stanza = ask.of("datadog");
    let timeout = judge(stanza)?;
    let keys = credentials(ask)?;
    let address = if keys.address.is_empty() { ADDRESS } else { &*keys.address };
    let interval = shared::span(text(stanza, "interval"))?;
    let now = ask.now.stamp().0;
    let from = now.saturating_sub(interval.0.div_euclid(1000));
    let mut asked = if is_v1(stanza) {
        let query = encoded(text(stanza, "query"));
        let url = format!("{}?from={from}&query={query}&to={now}", below(address, "/api/v1/query"));
        ask.question(Method::Get, url)
    } else {
        let mut asked = ask.question(Method::Post, below(address, "/api/v2/query/scalar"));
        asked.body = Some(Hidden::new(scalar_request(stanza, from, now).to_string()));
        asked
    };
    asked.set_header("Content-Type", "application/json");
    asked.set_header("DD-API-KEY", keys.api);
    asked.set_header("DD-APPLICATION-KEY", keys.app);
    asked.timeout = timeout;
    asked.chosen_by = keys.chosen_by;
    Ok(asked)
}

fn scalar_request(stanza: &Json, from: i64, to: i64) -> Json {
    let aggregator = match text(stanza, "aggregator") {
        "" => "last",
        given => given,
    };
    let query = |name: &str, query: &str| json!({"aggregator": aggregator, "data_source": "metrics", "name": name, "query": query});
    let queries: Vec<Json> = match stanza["queries"].as_object().filter(|queries| !queries.is_empty()) {
        Some(several) => {
            several.iter().map(|(name, text)| query(name, text.as_str().unwrap_or_default())).collect()
        }
        None => vec![query(ONLY_QUERY, text(stanza, "query"))],
    };
    let formulas = match text(stanza, "formula") {
        "" => json!([]),
        formula => json!([{"formula": formula}]),
    };
    let millis = |seconds: i64| seconds.saturating_mul(1000);
    json!({"data": {"type": "scalar_request",
        "attributes": {"from": millis(from), "to": millis(to), "queries": queries, "formulas": formulas}}})
}

/// Version 1: the last point of the first series.
fn series(document: &Json) -> Result<Reading, String> {
    let nothing = |printed: &str| Ok(Reading::new(Value::Nil, printed));
    let series = &document["series"];
    let Some(first) = series.get(0) else {
        return nothing(if series.is_array() { "[]" } else { "null" });
    };
    let Some(last) = first["pointlist"].as_array().and_then(|points| points.last()) else {
        return nothing(&json_text(series));
    };
    let point = last.as_array().filter(|point| point.len() == 2).ok_or("Datapoint does not have 2 values")?;
    let value = match &point[1] {
        // As the reference decodes it.
        Json::Null => 0.0,
        value => value.as_f64().ok_or_else(|| format!("Could not parse JSON body: {value} is no number"))?,
    };
    Ok(Reading::new(Value::Float(value), plain(value)))
}

/// Version 2: one number, or one for each group.
fn scalars(document: &Json) -> Result<Reading, String> {
    let errors = match &document["errors"] {
        Json::Null => text(&document["data"], "errors").to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    if !errors.is_empty() {
        return Err(format!("There were errors in your query: {errors}"));
    }
    let columns: Vec<&Json> = entries(&document["data"]["attributes"], "columns").collect();
    let is_group = |column: &&&Json| text(column, "type") == "group";
    let labels: Vec<&Json> = columns.iter().filter(is_group).copied().collect();
    let value_column = columns.iter().find(|column| matches!(text(column, "type"), "number" | ""));
    let name = value_column.map_or("", |column| text(column, "name"));
    let mut groups: Vec<(String, f64)> = Vec::new();
    for (row, value) in value_column.into_iter().flat_map(|column| entries(column, "values")).enumerate() {
        let number = match value {
            Json::Null => continue,
            Json::Number(number) => number.as_f64(),
            _ => None,
        };
        let raw = value.to_string();
        let number =
            number.ok_or_else(|| format!("could not parse numeric value {raw:?} in column {name:?}"))?;
        groups.push((if labels.is_empty() { String::new() } else { label(&labels, row)? }, number));
    }
    let Some((_, first)) = groups.first() else { return Ok(Reading::new(Value::Nil, "[]")) };
    if labels.is_empty() {
        return Ok(Reading::new(Value::Float(*first), plain(*first)));
    }
    let numbers: Vec<f64> = groups.iter().map(|(_, number)| *number).collect();
    let printed = plain_list(&numbers);
    let metadata = told_groups(groups);
    Ok(Reading { metadata, ..Reading::new(Value::numbers(numbers), printed) })
}

fn label(labels: &[&Json], row: usize) -> Result<String, String> {
    let missing = || format!("could not parse group label at index {row}");
    let mut parts = Vec::new();
    for column in labels {
        let values = column["values"].get(row).and_then(Json::as_array).ok_or_else(missing)?;
        parts.extend(values.iter().filter_map(Json::as_str));
    }
    if parts.iter().all(|part| part.is_empty()) {
        return Err(missing());
    }
    Ok(parts.join(","))
}

/// Groups by name for people to read: of very many those that stand out.
fn told_groups(mut groups: Vec<(String, f64)>) -> Strings {
    let mut metadata = Strings::default();
    if groups.len() > MOST_GROUPS {
        groups.sort_by(|(_, a), (_, b)| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        groups.drain(MOST_GROUPS / 2..groups.len() - MOST_GROUPS / 2);
        metadata.set("groups_truncated", "true");
    }
    let told = groups.iter().map(|(name, number)| {
        format!(
            "{{\"name\":{},\"value\":{}}}",
            json_text(&name.as_str().into()),
            shared::json_number(*number)
        )
    });
    metadata.set("groups", format!("[{}]", told.collect::<Vec<_>>().join(",")));
    metadata
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Play, play, shown};
    use super::*;

    const KEYS: &[(&str, &str)] = &[("api-key", "k-api"), ("app-key", "k-app")];

    fn metric(more: Json) -> Json {
        let mut provider =
            json!({"datadog": {"apiVersion": "v1", "interval": "10m", "query": "avg:errors{*}"}});
        for (key, value) in more.as_object().expect("fields") {
            provider["datadog"][key] = value.clone();
        }
        provider
    }

    fn v2(more: Json) -> Play {
        let mut provider = metric(json!({"apiVersion": "v2"}));
        for (key, value) in more.as_object().expect("fields") {
            provider["datadog"][key] = value.clone();
        }
        play(provider).secret("argo-rollouts", "datadog", KEYS)
    }

    fn v1() -> Play {
        play(metric(json!({}))).secret("argo-rollouts", "datadog", KEYS)
    }

    #[test]
    fn series_of_version_1() {
        assert_eq!(
            v1().asks(),
            "GET https://api.datadoghq.com/api/v1/query?from=1767225600&query=avg%3Aerrors%7B%2A%7D&to=1767226200\n\
             Content-Type: application/json\nDD-API-KEY: k-api\nDD-APPLICATION-KEY: k-app"
        );
        let check =
            |success: &str, reply: Json, expected: &str| v1().success(success).json(reply).gives(expected);
        let series = |points: Json| json!({"status": "ok", "series": [{"pointlist": points}]});
        // Vectors R20 and R21.
        let points =
            json!([[1598867910000_i64, 0.0020008318672513122], [1598867925000_i64, 0.0003332881882246533]]);
        check("result < 0.001", series(points), "Successful 0.0003332881882246533");
        check("default(result, 0) < 0.05", json!({"series": []}), "Successful []");
        check("default(result, 0) < 0.05", json!({}), "Successful null");
        check(
            "result < 0.05",
            json!({"series": []}),
            "Error: could not evaluate successCondition \"result < 0.05\": metric result is nil or empty: no data returned from the metric provider",
        );
        check("default(result, 0) < 1", series(json!([])), "Successful [{\"pointlist\":[]}]");
        check("result == 0", series(json!([[1, null]])), "Successful 0");
        check(
            "true",
            series(json!([[1]])),
            "Error: Datapoint does not have 2 values (GET https://api.datadoghq.com/api/v1/query answered 200: …",
        );
    }

    /// Vectors R22 and R28, and others.
    #[test]
    fn what_is_wrong_is_said() {
        let check = |status: u16, body: &str, expected: &str| v1().reply(status, body).gives(expected);
        check(401, "{\"errors\": [\"no k-api\"]}", "Error: received authentication error response code: 401 {\"errors\": [\"no *****\"]} (GET https://api.datadoghq.com/*****…".replace("/*****…", "/api/v1/query)").as_str());
        check(403, "", "Error: received authentication error response code: 403  (GET …");
        check(
            429,
            "slow down",
            "Error: received non 2xx response code: 429 slow down (GET https://api.datadoghq.com/api/v1/query)",
        );
        check(200, "<", "Error: Could not parse JSON body: expected value …");
        v2(json!({})).json(json!({"data": {"errors": "bad query"}})).gives("Error: There were errors in your query: bad query (POST https://api.datadoghq.com/api/v2/query/scalar)");
        play(metric(json!({}))).gives("Error: secrets \"datadog\" not found");
        play(metric(json!({}))).secret("argo-rollouts", "datadog", &[("api-key", "x")]).gives("Error: failed to find the credentials for datadog metrics provider in secret argo-rollouts/datadog");
    }

    #[test]
    fn what_cannot_be_asked() {
        let check = |more: Json, expected: &str| {
            v2(more).gives(&format!("Error: {expected}"));
        };
        check(
            json!({"query": ""}),
            "Must have either a query or queries. Please review the Analysis Template.",
        );
        check(
            json!({"queries": {"a": "x"}}),
            "Cannot have both a query and queries. Please review the Analysis Template.",
        );
        check(
            json!({"apiVersion": "v1", "query": ""}),
            "Query is empty. API Version v1 only supports using the query parameter in your Analysis Template.",
        );
        check(
            json!({"formula": "a/b"}),
            "Formula are only valid when queries are set. Please review the Analysis Template.",
        );
        check(
            json!({"query": "", "queries": {"a": "x", "b": "y"}}),
            "When multiple queries are provided you must include a formula.",
        );
        check(
            json!({"apiVersion": "v1", "aggregator": "sum"}),
            "Aggregator is not supported in v1. Please review the Analysis Template.",
        );
        check(
            json!({"requestTimeout": "0s"}),
            "requestTimeout must be greater than 0, but is 0s. Please review the Analysis Template.",
        );
        check(json!({"interval": ""}), "time: invalid duration \"\"");
        check(
            json!({"secretRef": {"namespaced": true}}),
            "secret name is required for namespaced credentials",
        );
    }

    #[test]
    fn credentials_have_an_order() {
        let asked = |play: Play| play.go().questions.remove(0);
        let own = json!({"secretRef": {"name": "mine", "namespaced": true}});
        let keys = [("api-key", "A"), ("app-key", "B"), ("address", "https://dd.example/")];
        let one = asked(play(metric(own)).secret("shop", "mine", &keys));
        assert!(one.url.starts_with("https://dd.example/api/v1/query?"), "{}", one.url);
        assert_eq!(one.chosen_by, ChosenBy::Author);
        let named = json!({"secretRef": {"name": "other"}});
        let one =
            asked(play(metric(named)).secret("argo-rollouts", "other", KEYS).datadog("x", "y", "http://z"));
        assert_eq!(one.chosen_by, ChosenBy::Operator);
        assert_eq!(one.header("dd-api-key").map(|h| &**h.reveal()), Some("k-api"));
        let one = asked(play(metric(json!({}))).datadog("x", "y", "http://z"));
        assert!(one.url.starts_with("http://z/api/v1/query?"));
    }

    #[test]
    fn formulas_of_version_2() {
        let asked = v2(
            json!({"query": "", "queries": {"b": "sum:hits{*}", "a": "sum:errors{*}"}, "formula": "a / b",
            "aggregator": "sum", "requestTimeout": "3s"}),
        )
        .go()
        .questions
        .remove(0);
        assert_eq!(asked.timeout, Span::seconds(3));
        let text = shown(&asked);
        let body = text.split_once("\n\n").expect("a body").1;
        let expected = json!({"data": {"type": "scalar_request", "attributes": {
            "from": 1767225600000_i64, "to": 1767226200000_i64,
            "queries": [
                {"aggregator": "sum", "data_source": "metrics", "name": "a", "query": "sum:errors{*}"},
                {"aggregator": "sum", "data_source": "metrics", "name": "b", "query": "sum:hits{*}"}],
            "formulas": [{"formula": "a / b"}]}}});
        assert_eq!(serde_json::from_str::<Json>(body).expect("JSON"), expected);
        let text = v2(json!({})).asks();
        assert!(text.contains(r#""aggregator":"last","data_source":"metrics","name":"query""#), "{text}");
    }

    /// Vectors R23 to R27.
    #[test]
    fn scalars_of_version_2() {
        let check = |success: &str, columns: Json, expected: &str| {
            v2(json!({}))
                .success(success)
                .json(json!({"data": {"attributes": {"columns": columns}}}))
                .gives(expected);
        };
        let values = |values: Json| json!({"name": "query1", "type": "number", "values": values});
        let groups = |values: Json| json!({"name": "t", "type": "group", "values": values});
        check(
            "result < 0.05",
            json!([{"values": []}]),
            "Error: could not evaluate successCondition \"result < 0.05\": metric result is nil or empty…",
        );
        check("default(result, 0) < 0.05", json!([]), "Successful []");
        check("result < 0.001", json!([values(json!([0.0006]))]), "Successful 0.0006");
        check(
            "max(result) < 0.05",
            json!([groups(json!([["a"], ["b"], ["c"]])), values(json!([0.01, 0.087, 0.04]))]),
            "Failed [0.01,0.087,0.04] groups=[{\"name\":\"a\",\"value\":0.01},{\"name\":\"b\",\"value\":0.087},{\"name\":\"c\",\"value\":0.04}]",
        );
        check(
            "max(result) < 0.05",
            json!([groups(json!([["a", "z"]])), values(json!([0.087]))]),
            "Failed [0.087] groups=[{\"name\":\"a,z\",\"value\":0.087}]",
        );
        check(
            "max(result) < 2",
            json!([groups(json!([["a"], ["b"]])), values(json!([null, 1]))]),
            "Successful [1] groups=[{\"name\":\"b\",\"value\":1}]",
        );
        check(
            "true",
            json!([values(json!(["oops"]))]),
            "Error: could not parse numeric value \"\\\"oops\\\"\" in column \"query1\" (POST …",
        );
        check(
            "true",
            json!([groups(json!([["a"]])), values(json!([1, 2]))]),
            "Error: could not parse group label at index 1 (POST …",
        );
    }

    #[test]
    fn of_very_many_groups_those_that_stand_out_are_told() {
        let names: Vec<Json> = (0..150).map(|n| json!([format!("g{n}")])).collect();
        let values: Vec<i64> = (0..150).collect();
        let columns = json!([{"type": "group", "values": names}, {"type": "number", "values": values}]);
        let played = v2(json!({}))
            .success("len(result) == 150")
            .json(json!({"data": {"attributes": {"columns": columns}}}))
            .go();
        assert!(played.outcome.ends_with("groups_truncated=true"), "{}", played.outcome);
        assert!(played.outcome.contains("\"g49\"") && !played.outcome.contains("\"g50\""));
        assert!(played.outcome.contains("\"g100\"") && !played.outcome.contains("\"g99\""));
    }
}
