//! CloudWatch: `GetMetricData`, signed with the credentials of the controller's surroundings.

use serde_json::Value as Json;
use tidegate_api::object::Text;
use tidegate_api::time::Stamp;

use super::shared::{self, answer, entries, form, number, problem, text};
use super::{Ask, Next, Provider, ProviderProblem, Reading, SoFar, Told};
use crate::analysis::expr::{Value, numbers};
use crate::question::{ChosenBy, Hidden, Method, Question, REGION, SigV4};
use crate::xml::Element;

/// Asks CloudWatch.
pub struct CloudWatch;

impl Provider for CloudWatch {
    fn name(&self) -> &'static str {
        "cloudWatch"
    }

    fn type_name(&self) -> &'static str {
        "CloudWatch"
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
        Ok(Next::Call(Box::new(question(ask)?)))
    }

    fn resume(&self, ask: &Ask<'_>, _: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
        let Told::Reply(reply) = told else { return self.begin(ask) };
        let asked = question(ask)?;
        let response = answer(&asked, reply)?;
        let document = Element::parse(&response.text());
        if response.status != 200 {
            let said = document.unwrap_or_default();
            let (code, message) = (said.text_at(&["Error", "Code"]), said.text_at(&["Error", "Message"]));
            let what = match code {
                "" => format!("operation error CloudWatch: GetMetricData, StatusCode: {}", response.status),
                code => format!("operation error CloudWatch: GetMetricData, {code}: {message}"),
            };
            return Err(problem(&what, &asked, response));
        }
        let document = document.map_err(|why| problem(&why, &asked, response))?;
        let result = document.child("GetMetricDataResult");
        let result = result.ok_or_else(|| problem("GetMetricDataResult is missing", &asked, response))?;
        let series: Result<Vec<Series>, String> =
            members(result, "MetricDataResults").map(Series::read).collect();
        let series = series.map_err(|why| problem(&why, &asked, response))?;
        let printed = series.iter().map(Series::shown).collect::<Vec<_>>().join(" ");
        let result_value = Value::list(series.into_iter().map(Series::into_value).collect());
        let mut reading = Reading::new(result_value, format!("[{printed}]"));
        reading.keeps_value = true;
        let messages: Vec<String> = members(result, "Messages")
            .map(|message| format!("{}: {}", message.text_at(&["Code"]), message.text_at(&["Value"])))
            .collect();
        if !messages.is_empty() {
            reading.metadata.set("messages", messages.join(", "));
        }
        Ok(Next::Measured(reading))
    }
}

fn members<'e>(element: &'e Element, name: &str) -> impl Iterator<Item = &'e Element> {
    element.child(name).into_iter().flat_map(|list| list.all("member"))
}

/// One series, under the names that conditions use.
struct Series {
    id: String,
    label: String,
    status: String,
    messages: Vec<Value>,
    times: Vec<Value>,
    values: Vec<f64>,
}

impl Series {
    fn read(element: &Element) -> Result<Series, String> {
        let texts = |name| members(element, name).map(|member| member.text.trim());
        let values: Result<Vec<f64>, String> =
            texts("Values").map(|text| text.parse().map_err(|_| format!("{text:?} is no number"))).collect();
        let message = |message: &Element| {
            let part = |name: &'static str| (Text::from(name), Value::text(message.text_at(&[name])));
            Value::map([part("Code"), part("Value")])
        };
        Ok(Series {
            id: element.text_at(&["Id"]).to_owned(),
            label: element.text_at(&["Label"]).to_owned(),
            status: element.text_at(&["StatusCode"]).to_owned(),
            messages: members(element, "Messages").map(message).collect(),
            times: texts("Timestamps")
                .map(|text| {
                    Stamp::parse(text).map_or(Value::Nil, |at| Value::Time(i128::from(at.0) * 1_000_000_000))
                })
                .collect(),
            values: values?,
        })
    }

    fn shown(&self) -> String {
        let values: Vec<String> = self.values.iter().map(|value| numbers::general(*value)).collect();
        format!("[{}]", values.join(" "))
    }

    fn into_value(self) -> Value {
        Value::map([
            ("Id".into(), Value::text(self.id)),
            ("Label".into(), Value::text(self.label)),
            ("StatusCode".into(), Value::text(self.status)),
            ("Messages".into(), Value::list(self.messages)),
            ("Timestamps".into(), Value::list(self.times)),
            ("Values".into(), Value::numbers(self.values)),
        ])
    }
}

fn question(ask: &Ask<'_>) -> Result<Question, ProviderProblem> {
    let stanza = ask.of("cloudWatch");
    let interval = text(stanza, "interval");
    let interval = shared::span(if interval.is_empty() { "5m" } else { interval })?;
    let end = ask.now.stamp();
    let start = end.plus_seconds(-interval.0.div_euclid(1000));
    let mut pairs: Vec<(String, String)> = vec![
        ("Action".into(), "GetMetricData".into()),
        ("Version".into(), "2010-08-01".into()),
        ("StartTime".into(), start.to_string()),
        ("EndTime".into(), end.to_string()),
    ];
    for (index, query) in entries(stanza, "metricDataQueries").enumerate() {
        let at = format!("MetricDataQueries.member.{}", index + 1);
        parameters(query, &at, &mut pairs)?;
    }
    let body = form(pairs.iter().map(|(name, value)| (&**name, &**value)));
    let mut asked = ask.question(Method::Post, format!("https://monitoring.{REGION}.amazonaws.com/"));
    asked.set_header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    asked.body = Some(Hidden::new(body));
    asked.chosen_by = ChosenBy::Operator;
    asked.signature = Some(SigV4 { service: "monitoring".into(), ..SigV4::default() });
    Ok(asked)
}

fn parameters(query: &Json, at: &str, pairs: &mut Vec<(String, String)>) -> Result<(), ProviderProblem> {
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            pairs.push((format!("{at}.{name}"), value.to_owned()));
        }
    };
    for (field, name) in [("id", "Id"), ("expression", "Expression"), ("label", "Label")] {
        put(name, text(query, field));
    }
    put("Period", &period(&query["period"])?);
    if let Some(returns) = query["returnData"].as_bool() {
        put("ReturnData", &returns.to_string());
    }
    let stat = &query["metricStat"];
    let metric = &stat["metric"];
    put("MetricStat.Metric.Namespace", text(metric, "namespace"));
    put("MetricStat.Metric.MetricName", text(metric, "metricName"));
    for (index, dimension) in entries(metric, "dimensions").enumerate() {
        let at = format!("MetricStat.Metric.Dimensions.member.{}", index + 1);
        put(&format!("{at}.Name"), text(dimension, "name"));
        put(&format!("{at}.Value"), text(dimension, "value"));
    }
    put("MetricStat.Period", &period(&stat["period"])?);
    put("MetricStat.Stat", text(stat, "stat"));
    put("MetricStat.Unit", text(stat, "unit"));
    Ok(())
}

/// Seconds, written as a number or as text.
fn period(value: &Json) -> Result<String, ProviderProblem> {
    if value.is_null() {
        return Ok(String::new());
    }
    let seconds = number(value).ok_or_else(|| format!("period {value} is no number of seconds"))?;
    Ok(seconds.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Play, play};

    fn bench() -> Play {
        play(json!({"cloudWatch": {"interval": "30m", "metricDataQueries": [
            {"id": "rate", "expression": "errors / requests"},
            {"id": "errors", "returnData": false, "metricStat": {"period": "300", "stat": "Sum", "unit": "Count",
                "metric": {"namespace": "app", "metricName": "errors",
                    "dimensions": [{"name": "service", "value": "a b"}]}}}]}}))
    }

    fn reply(members: &str, more: &str) -> String {
        format!(
            "<GetMetricDataResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\"><GetMetricDataResult>\
             <MetricDataResults>{members}</MetricDataResults>{more}</GetMetricDataResult>\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetMetricDataResponse>"
        )
    }

    const MEMBER: &str = "<member><Id>rate</Id><Label>Rate</Label><StatusCode>Complete</StatusCode>\
        <Timestamps><member>2026-01-01T00:05:00Z</member><member>2026-01-01T00:00:00Z</member><member>2025-12-31T23:55:00Z</member></Timestamps>\
        <Values><member>0.1</member><member>0.2</member><member>0.3</member></Values></member>";

    #[test]
    fn a_query_is_signed_for_the_region_of_the_surroundings() {
        let asked = bench().go().questions.remove(0);
        assert_eq!(&*asked.url, "https://monitoring.{region}.amazonaws.com/");
        assert_eq!(asked.signature.as_ref().map(|one| &*one.service), Some("monitoring"));
        let body = asked.body.expect("a body");
        let parts: Vec<&str> = body.reveal().split('&').collect();
        let member = "MetricDataQueries.member";
        assert_eq!(
            parts,
            [
                "Action=GetMetricData",
                "Version=2010-08-01",
                "StartTime=2025-12-31T23%3A40%3A00Z",
                "EndTime=2026-01-01T00%3A10%3A00Z",
                &format!("{member}.1.Id=rate"),
                &format!("{member}.1.Expression=errors+%2F+requests"),
                &format!("{member}.2.Id=errors"),
                &format!("{member}.2.ReturnData=false"),
                &format!("{member}.2.MetricStat.Metric.Namespace=app"),
                &format!("{member}.2.MetricStat.Metric.MetricName=errors"),
                &format!("{member}.2.MetricStat.Metric.Dimensions.member.1.Name=service"),
                &format!("{member}.2.MetricStat.Metric.Dimensions.member.1.Value=a+b"),
                &format!("{member}.2.MetricStat.Period=300"),
                &format!("{member}.2.MetricStat.Stat=Sum"),
                &format!("{member}.2.MetricStat.Unit=Count"),
            ]
        );
    }

    /// Vector R29, and others.
    #[test]
    fn series_have_the_names_of_the_reference() {
        let check = |success: &str, body: &str, expected: &str| {
            bench().success(success).reply(200, body).gives(expected)
        };
        let all = "result[0].Values[0] == 0.1 && result[0].Id == 'rate' && result[0].StatusCode == 'Complete' && len(result[0].Timestamps) == 3";
        check(all, &reply(MEMBER, ""), "Successful [[0.1 0.2 0.3]]");
        let two = format!("{MEMBER}<member><Id>b</Id><Values><member>3</member></Values></member>");
        check("all(result[1].Values, {# > 5})", &reply(&two, ""), "Failed [[0.1 0.2 0.3] [3]]");
        check(
            "nope",
            &reply(MEMBER, ""),
            "Error: could not evaluate successCondition \"nope\": unknown name nope…",
        );
        let nothing = reply(
            "",
            "<Messages><member><Code>ArithmeticError</Code><Value>1 of 2</Value></member></Messages>",
        );
        check("len(result) == 0", &nothing, "Successful [] messages=ArithmeticError: 1 of 2");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let at = "(POST https://monitoring.{region}.amazonaws.com/ answered";
        let refused = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>";
        bench().reply(403, refused).gives(&format!(
            "Error: operation error CloudWatch: GetMetricData, AccessDenied: not you {at} 403: …"
        ));
        bench().reply(500, "").gives(&format!(
            "Error: operation error CloudWatch: GetMetricData, StatusCode: 500 {at} 500 and nothing else)"
        ));
        bench().reply(200, "{}").gives("Error: no element …");
        bench().reply(200, "<a/>").gives("Error: GetMetricDataResult is missing …");
        bench()
            .reply(200, reply("<member><Values><member>x</member></Values></member>", ""))
            .gives("Error: \"x\" is no number …");
        let wrong = json!({"cloudWatch": {"metricDataQueries": [{"id": "a", "period": "5m"}]}});
        play(wrong).gives("Error: period \"5m\" is no number of seconds");
    }
}
