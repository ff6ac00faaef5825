//! InfluxDB: the `_value` of every row of a Flux query.

use serde_json::json;
use tidegate_api::object::{Key, Text};
use tidegate_api::time::Span;

use super::shared::{self, answer, below, encoded, problem, text};
use super::{Ask, Next, Provider, ProviderProblem, Reading, SoFar, Told};
use crate::analysis::expr::{Value, numbers};
use crate::question::{ChosenBy, Hidden, Method, Question};

/// Asks an InfluxDB.
pub struct InfluxDb;

impl Provider for InfluxDb {
    fn name(&self) -> &'static str {
        "influxdb"
    }

    fn type_name(&self) -> &'static str {
        "Influxdb"
    }

    fn needs(&self, ask: &Ask<'_>) -> Vec<Key> {
        vec![profile(ask)]
    }

    fn masks(&self, ask: &Ask<'_>) -> Vec<Text> {
        let secret = ask.secret(&profile(ask)).ok();
        secret.and_then(|secret| secret.get("authToken")).cloned().into_iter().collect()
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
        Ok(Next::Call(Box::new(question(ask)?)))
    }

    fn resume(&self, ask: &Ask<'_>, _: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
        let Told::Reply(reply) = told else { return self.begin(ask) };
        let asked = question(ask)?;
        let response = answer(&asked, reply)?;
        if !(200..300).contains(&response.status) {
            let what = match shared::json(response) {
                Ok(document) if document["code"].is_string() => {
                    format!("{}: {}", text(&document, "code"), text(&document, "message"))
                }
                _ => format!("Unexpected status code {}", response.status),
            };
            return Err(problem(&what, &asked, response));
        }
        let (values, trouble) = values(&response.text());
        if values.is_empty() {
            let why = trouble.map_or(String::new(), |why| format!(": {why}"));
            return Err(problem(&format!("no results returned from flux query{why}"), &asked, response));
        }
        let printed = values.iter().map(shown).collect::<Vec<_>>().join(" ");
        Ok(Next::Measured(Reading::new(Value::list(values), format!("[{printed}]"))))
    }
}

fn profile(ask: &Ask<'_>) -> Key {
    let name = text(ask.of("influxdb"), "profile");
    ask.operators_secret(if name.is_empty() { "influxdb" } else { name })
}

fn question(ask: &Ask<'_>) -> Result<Question, ProviderProblem> {
    let secret = ask.secret(&profile(ask))?;
    let value = |name: &str| secret.get(name).map(|text| &**text).unwrap_or_default();
    let (address, token, org) = (value("address"), value("authToken"), value("org"));
    if address.is_empty() || token.is_empty() || org.is_empty() {
        return Err("authToken, org, or address not found".into());
    }
    let url = format!("{}?org={}", below(address, "/api/v2/query"), encoded(org));
    let dialect = json!({"annotations": ["datatype", "group", "default"], "delimiter": ",", "header": true});
    let body = json!({"query": text(ask.of("influxdb"), "query"), "type": "flux", "dialect": dialect});
    let mut asked = ask.question(Method::Post, url);
    asked.body = Some(Hidden::new(body.to_string()));
    asked.set_header("Content-Type", "application/json");
    asked.set_header("Accept", "text/csv");
    asked.set_header("Authorization", format!("Token {token}"));
    asked.timeout = Span::seconds(30);
    asked.chosen_by = ChosenBy::Operator;
    Ok(asked)
}

/// As the reference prints a value between others.
fn shown(value: &Value) -> String {
    match value {
        Value::Float(number) => numbers::general(*number),
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Duration(nanos) => tidegate_api::duration::go_text(*nanos),
        other => other.type_name().to_owned(),
    }
}

/// The `_value` of every row of every table, and what ended them early. Rows before a broken one count, as in the reference.
fn values(csv: &str) -> (Vec<Value>, Option<String>) {
    let mut values = Vec::new();
    let mut table = Table::default();
    for record in records(csv) {
        match table.read(&record) {
            Ok(value) => values.extend(value),
            Err(why) => return (values, Some(why)),
        }
    }
    (values, None)
}

/// The columns of the table that is being read.
#[derive(Default)]
struct Table {
    types: Vec<String>,
    defaults: Vec<String>,
    names: Vec<String>,
}

impl Table {
    /// A record: an annotation, the names of columns, or a row, of which the value is given.
    fn read(&mut self, record: &[String]) -> Result<Option<Value>, String> {
        match record.first().map(String::as_str) {
            None => *self = Table::default(),
            Some("#datatype") => {
                *self = Table { types: record.to_vec(), ..Table::default() };
            }
            Some("#default") => self.defaults = record.to_vec(),
            Some(name) if name.starts_with('#') => {}
            Some(_) if self.names.is_empty() => self.names = record.to_vec(),
            Some(_) => return self.row(record),
        }
        Ok(None)
    }

    fn row(&self, record: &[String]) -> Result<Option<Value>, String> {
        let column = |name: &str| self.names.iter().position(|known| known == name);
        let cell = |at: usize| record.get(at).map(String::as_str).unwrap_or_default();
        // A table of its own says that the query broke off.
        if let (Some(error), Some(_)) = (column("error"), column("reference")) {
            return Err(cell(error).to_owned());
        }
        if record.len() != self.names.len() {
            return Err(format!("a row of {} columns among {}", record.len(), self.names.len()));
        }
        let Some(at) = column("_value") else { return Ok(Some(Value::Nil)) };
        let text = match (cell(at), self.defaults.get(at)) {
            ("", Some(default)) => default,
            (text, _) => text,
        };
        typed(text, self.types.get(at).map(String::as_str).unwrap_or_default()).map(Some)
    }
}

fn typed(text: &str, kind: &str) -> Result<Value, String> {
    let wrong = |_| format!("{text:?} is no {kind}");
    if text.is_empty() && kind != "string" {
        return Ok(Value::Nil);
    }
    Ok(match kind {
        "double" => Value::Float(text.parse().map_err(|_| wrong(()))?),
        "long" => Value::Int(text.parse().map_err(|_| wrong(()))?),
        "unsignedLong" => {
            let number: u64 = text.parse().map_err(|_| wrong(()))?;
            i64::try_from(number).map_or(Value::Float(number as f64), Value::Int)
        }
        "boolean" => Value::Bool(text == "true"),
        "duration" => {
            Value::Duration(tidegate_api::duration::GoDuration::parse(text).map_err(|_| wrong(()))?.nanos())
        }
        _ => Value::text(text),
    })
}

/// Records of comma-separated text; an empty line is a record without cells.
fn records(csv: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut cell = String::new();
    let mut is_quoted = false;
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => is_quoted = !is_quoted,
            c if is_quoted => cell.push(c),
            ',' => record.push(std::mem::take(&mut cell)),
            '\r' => {}
            '\n' => {
                if !(record.is_empty() && cell.is_empty()) {
                    record.push(std::mem::take(&mut cell));
                }
                records.push(std::mem::take(&mut record));
            }
            c => cell.push(c),
        }
    }
    if !(record.is_empty() && cell.is_empty()) {
        record.push(cell);
        records.push(record);
    }
    records
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::super::testing::{Play, play};
    use super::*;

    const KEYS: &[(&str, &str)] =
        &[("address", "http://influx:8086"), ("authToken", "t0ken"), ("org", "my org")];

    fn bench() -> Play {
        play(json!({"influxdb": {"query": "from(bucket: \"b\") |> range(start: -5m)"}})).secret(
            "argo-rollouts",
            "influxdb",
            KEYS,
        )
    }

    fn table(kind: &str, values: &[&str]) -> String {
        let mut csv = format!(
            "#datatype,string,long,dateTime:RFC3339,{kind},string\r\n#group,false,false,false,false,true\r\n#default,_result,,,,\r\n\
             ,result,table,_time,_value,host\r\n"
        );
        for value in values {
            csv += &format!(",,0,2026-01-01T00:00:00Z,{value},\"a, \"\"b\"\"\"\r\n");
        }
        csv + "\r\n"
    }

    #[test]
    fn a_query_is_posted_with_its_dialect() {
        let asked = bench().asks();
        let (head, body) = asked.split_once("\n\n").expect("a body");
        assert_eq!(
            head,
            "POST http://influx:8086/api/v2/query?org=my+org\nContent-Type: application/json\nAccept: text/csv\n\
             Authorization: Token t0ken"
        );
        let expected = json!({"query": "from(bucket: \"b\") |> range(start: -5m)", "type": "flux",
            "dialect": {"annotations": ["datatype", "group", "default"], "delimiter": ",", "header": true}});
        assert_eq!(serde_json::from_str::<Json>(body).expect("JSON"), expected);
    }

    /// Vector R34, and others.
    #[test]
    fn rows_of_every_type() {
        let check = |success: &str, csv: String, expected: &str| {
            bench().success(success).reply(200, csv).gives(expected)
        };
        check("result[0] > 9", table("double", &["10", "11"]), "Successful [10 11]");
        check("result[0] > 9", table("long", &["10"]) + &table("double", &["2.5"]), "Successful [10 2.5]");
        check("result[0] == 'a'", table("string", &["a", "\"b, c\""]), "Successful [a b, c]");
        check("result[0]", table("boolean", &["true", "false"]), "Successful [true false]");
        check(
            "result[0] > 1e18",
            table("unsignedLong", &["18446744073709551615"]),
            "Successful [1.8446744073709552e+19]",
        );
        check("result[0] == nil", table("double", &["", "1"]), "Successful [<nil> 1]");
        check("result[0] > 1e6", table("double", &["12345678.5"]), "Successful [1.23456785e+07]");
        // A row that cannot be read ends the rows.
        check("len(result) == 1", table("double", &["1", "x", "3"]), "Successful [1]");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let at = "(POST http://influx:8086/api/v2/query answered";
        bench()
            .reply(200, "\r\n")
            .gives(&format!("Error: no results returned from flux query {at} 200 and nothing else)"));
        let error = "#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,failed to initialize,897\n";
        bench()
            .reply(200, error)
            .gives(&format!("Error: no results returned from flux query: failed to initialize {at} 200: …"));
        let refused = json!({"code": "unauthorized", "message": "unauthorized access"});
        bench()
            .reply(401, refused.to_string())
            .gives(&format!("Error: unauthorized: unauthorized access {at} 401: …"));
        bench().reply(502, "t0ken?").gives(&format!("Error: Unexpected status code 502 {at} 502: *****?)"));
        let without = play(json!({"influxdb": {"query": "x", "profile": "p"}}));
        without.secret("argo-rollouts", "p", &KEYS[..2]).gives("Error: authToken, org, or address not found");
    }

    #[test]
    fn a_hundred_thousand_rows_are_read() {
        let values = vec!["1"; 100_000];
        bench()
            .success("len(result) == 100000")
            .reply(200, table("double", &values))
            .gives("Successful [1 1 …");
    }
}
