//! Conditions: from the value of a measurement to what it says.

use tidegate_api::analysis::Metric;
use tidegate_api::time::Time;

use super::expr::{Scope, Type, Value, run, type_of};

/// What a measurement says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All is well.
    Successful,
    /// It is not.
    Failed,
    /// Neither is certain.
    Inconclusive,
}

impl Outcome {
    /// The phase of a measurement that says so.
    pub fn phase(self) -> &'static str {
        match self {
            Outcome::Successful => "Successful",
            Outcome::Failed => "Failed",
            Outcome::Inconclusive => "Inconclusive",
        }
    }
}

/// What a value says about a metric; an error in words where a condition cannot be judged, which is never a failure.
pub fn judge(metric: &Metric, value: &Value, now: Time) -> Result<Outcome, String> {
    let success = holds("successCondition", &metric.success_condition, value, now)?;
    let failure = holds("failureCondition", &metric.failure_condition, value, now)?;
    Ok(match (success, failure) {
        // Without any condition everything is well, whatever the public documentation says.
        (None, None) | (Some(true), None | Some(false)) | (None, Some(false)) => Outcome::Successful,
        (Some(false), None) | (_, Some(true)) => Outcome::Failed,
        (Some(false), Some(false)) => Outcome::Inconclusive,
    })
}

/// Whether a condition holds; nothing when there is none.
fn holds(name: &str, condition: &str, value: &Value, now: Time) -> Result<Option<bool>, String> {
    if condition.is_empty() {
        return Ok(None);
    }
    let scope = Scope { result: Some(value), now };
    let held = run(condition, &scope).and_then(|held| match held {
        Value::Bool(truth) => Ok(Some(truth)),
        other => {
            let kind = match type_of(condition, &scope) {
                Ok(Type::Int64) => "int64",
                _ => other.type_name(),
            };
            Err(format!("expected bool, but got {kind}"))
        }
    });
    held.map_err(|detail| {
        let detail = if value.is_nil_or_empty_list() {
            "metric result is nil or empty: no data returned from the metric provider".to_owned()
        } else {
            detail
        };
        format!("could not evaluate {name} \"{condition}\": {detail}")
    })
}

/// The instant that an expression of time means, as in the range of a query. `now` is the only clock it sees.
pub fn instant(source: &str, now: Time) -> Result<Time, String> {
    match run(source, &Scope { result: None, now })? {
        Value::Time(nanos) => Ok(Time(i64::try_from(nanos.div_euclid(1_000_000)).unwrap_or(i64::MAX))),
        other => Err(format!("expected time.Time, but got {}", other.type_name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn judged(value: &Value, success: &str, failure: &str) -> String {
        let metric = Metric {
            success_condition: success.into(),
            failure_condition: failure.into(),
            ..Metric::default()
        };
        match judge(&metric, value, Time(0)) {
            Ok(outcome) => outcome.phase().to_owned(),
            Err(why) => format!("Error: {why}"),
        }
    }

    /// An expected outcome, or a part of the error that is expected.
    fn check(value: Value, success: &str, failure: &str, expected: &str) {
        let judged = judged(&value, success, failure);
        let fits = if let Some(part) = expected.strip_prefix("Error") {
            judged.starts_with("Error") && judged.contains(part.trim_start_matches([':', ' ']))
        } else {
            judged == expected
        };
        assert!(fits, "{value:?} | {success} | {failure}: {judged}, not {expected}");
    }

    fn of(json: Json) -> Value {
        Value::from_json(&json)
    }

    fn floats(items: &[f64]) -> Value {
        Value::numbers(items.iter().copied())
    }

    /// Vectors E1 to E8.
    #[test]
    fn two_conditions_decide_together() {
        let yes = || Value::Bool(true);
        check(yes(), "true", "false", "Successful");
        check(yes(), "true", "true", "Failed");
        check(yes(), "false", "false", "Inconclusive");
        check(yes(), "", "false", "Successful");
        check(yes(), "false", "", "Failed");
        check(yes(), "", "", "Successful");
        check(yes(), "a == true", "true", "Error: unknown name a");
        check(yes(), "1", "", "Error: expected bool, but got int");
        check(yes(), " ", "", "Error");
    }

    /// Vectors E9 to E15, E28.
    #[test]
    fn types_decide_between_failures_and_errors() {
        check(floats(&[2.0, 2.0]), "2 in result", "", "Successful");
        check(Value::Float(5.0), "result > 1", "", "Successful");
        check(
            Value::text("1.1"),
            "asInt(result) == 1",
            "",
            "Error: strconv.ParseInt: parsing \"1.1\": invalid syntax",
        );
        check(Value::text("1"), "asInt(result) == 1", "", "Successful");
        check(Value::Float(1.123), "asInt(result) == 1", "", "Successful");
        let not_a_number = "Error: could not evaluate successCondition \"asFloat(result) == 1.1\": \
                            strconv.ParseFloat: parsing \"NotANum\": invalid syntax";
        check(Value::text("NotANum"), "asFloat(result) == 1.1", "", not_a_number);
        let mismatch = "Error: invalid operation: == (mismatched types float64 and string)";
        check(Value::text("1.1"), "asFloat(result) == \"1.1\"", "", mismatch);
        check(Value::Bool(true), "result.Name() == 'hi'", "", "Error: type bool has no field Name");
        check(Value::Float(1.0), "asInt(result)", "", "Error: expected bool, but got int64");
    }

    /// Vectors E16 to E27.
    #[test]
    fn nothing_and_not_a_number_have_rules_of_their_own() {
        let nothing = "Error: metric result is nil or empty: no data returned from the metric provider";
        check(Value::Nil, "result[0] >= 0.95", "", nothing);
        check(floats(&[]), "result[0] >= 0.95", "", nothing);
        check(floats(&[]), "len(result) == 0 || result[0] >= 0.95", "", "Successful");
        check(floats(&[]), "len(result) > 0 && result[0] >= 0.95", "", "Failed");
        let nan = || Value::Float(f64::NAN);
        check(nan(), "isNaN(result) || result >= 0.95", "", "Successful");
        check(nan(), "result >= 0.95", "result < 0.95", "Inconclusive");
        check(nan(), "result >= 0.95", "", "Failed");
        let infinite = || Value::Float(f64::INFINITY);
        check(infinite(), "result >= 0.95", "", "Successful");
        check(infinite(), "", "isInf(result)", "Failed");
        let apdex = of(json!({"service_apdex": {"label": null, "values": {"values": [2, 2]}}}));
        check(apdex, "all(result.service_apdex.values.values, {# > 1})", "", "Successful");
        check(Value::Nil, "default(result, 0) < 0.05", "", "Successful");
        check(Value::Nil, "default(result, 1) < 0.05", "", "Failed");
        check(Value::Nil, "result == nil || result < 5", "", nothing);
    }

    /// Vectors E29 to E37.
    #[test]
    fn documents_are_judged_as_they_come() {
        let document = || of(json!({"a": 1, "b": true, "c": [1, 2, 3, 4], "d": null}));
        check(
            document(),
            "result.a > 0 && result.b && all(result.c, {# < 5}) && result.d == nil",
            "",
            "Successful",
        );
        let six = || of(json!([1, 2, 3, 4, 5, 6]));
        check(six(), "any(result, {# > 5})", "", "Successful");
        check(six(), "any(result, {# > 6})", "", "Failed");
        check(Value::Float(5.0), "result == \"x\"", "", "Error: mismatched types float64 and string");
        let five = || of(json!({"v": 5}));
        check(five(), "result.v == \"x\"", "", "Failed");
        check(five(), "result.missing == nil", "", "Successful");
        check(five(), "result.missing.x == nil", "", "Error: cannot fetch x from <nil>");
        check(five(), "result.missing?.x == nil", "", "Successful");
        check(five(), "result.missing?.x.y.z == nil", "", "Successful");
        check(floats(&[0.96, 0.2]), "result[5] != 3", "", "Error: index out of range: 5 (array length is 2)");
        check(floats(&[0.96, 0.2]), "result[-1] == 0.2", "", "Successful");
        check(Value::Float(5.0), "1 < result < 10", "", "Successful");
        check(Value::Float(5.0), "1 < result < 4", "", "Failed");
        check(Value::text("abc"), "result not contains \"x\"", "", "Successful");
        check(of(json!([{"value": "9901"}])), "all(result, {asFloat(.value) >= 9900})", "", "Successful");
    }

    /// What section 4.3 says of static types.
    #[test]
    fn what_makes_no_sense_is_an_error_even_where_it_would_not_run() {
        let number = || Value::Float(5.0);
        check(number(), "true || foo", "", "Error: unknown name foo");
        check(number(), "result % 2 == 1", "", "Error: mismatched types float64 and int");
        check(number(), "result[0] > 1", "", "Error: type float64[int] is undefined");
        check(number(), "all(result, # > 1)", "", "Error: builtin all takes only array (got float64)");
        check(number(), "len(result) > 1", "", "Error: invalid argument for len (type float64)");
        check(number(), "not result", "", "Error");
        check(number(), "isNaN(result) or isNaN(1)", "", "Failed");
        check(floats(&[1.0]), "result > 1", "", "Error: mismatched types []float64 and int");
        check(floats(&[1.0]), "'x' in result", "", "Error: cannot use string as type float64 in array");
        check(floats(&[1.0]), "any(result, #)", "", "Error: predicate should return boolean (got float64)");
        check(
            of(json!({"a": 1})),
            "result[0] >= 0.95",
            "",
            "Error: cannot use int to get an element from map[string]interface {}",
        );
        check(Value::text("a"), "result matches '('", "", "Error: error parsing regexp");
        check(of(json!({"a": "x"})), "result.a < 1", "", "Error: invalid operation: string < int");
        check(of(json!({"a": null})), "result.a && true", "", "Error");
    }

    /// Patterns of section 4.4 that are seen in the field.
    #[test]
    fn the_language_of_the_field_is_understood() {
        for (value, condition) in [
            (floats(&[0.96]), "result[0] >= 0.95"),
            (floats(&[0.96]), "len(result) == 0 || result[0] < 5"),
            (floats(&[f64::NAN]), "isNaN(result[0]) || result[0] >= 0.95"),
            (floats(&[1.0, 2.0]), "all(result, # < 1000)"),
            (floats(&[2.0, 3.0]), "all(result, {# > 1})"),
            (of(json!({"ok": true, "successPercent": 0.95})), "result.ok && result.successPercent >= 0.90"),
            (Value::text("1.3"), "asFloat(result) > 1.2"),
            (Value::text("It worked!"), "result == 'It worked!'"),
            (of(json!([{"Values": [0.05]}])), "result[0].Values[0] < 0.1 and all(result[0].Values, {# < 1})"),
            (of(json!({"states": ["healthy"]})), "\"healthy\" in result.states"),
            (floats(&[6.0]), "len(filter(result, # > 5)) == 1"),
            (Value::text("b"), "result in [\"a\",\"b\"]"),
            (Value::Float(1.0), "-2 ** 2 == -4 and 5 / 0 > 1e300 and 0x1F == 31 and 1_000 == 1e3"),
            (Value::Float(1.0), "let x = result + 1; x == 2 ? true : false"),
            (Value::Float(1.0), "if result > 0 { true } else { false }"),
            (Value::Nil, "(result ?? 3) == 3"),
            (floats(&[1.0, 2.0]), "result | filter(# > 1) | len() > 0"),
            (
                floats(&[1.0, 2.0]),
                "reduce(result, #acc + #, 0) == 3 and sum(result) == 3 and mean(result) == 1.5",
            ),
            (floats(&[1.0, 2.0, 3.0]), "result[1:] == [2, 3] and result[:-1] == [1, 2]"),
            (of(json!([{"status": "up", "n": 2}])), "any(result, .status == \"up\" && .n > 1)"),
            (
                Value::text("v1.2"),
                "result matches '^v[0-9]' and result not matches 'x' and result startsWith 'v'",
            ),
            (
                Value::text("a,b"),
                "split(result, ',') == ['a', 'b'] && fromBase64(toBase64(result)) == result",
            ),
            (Value::Float(1.0), "result == 1 // the rest is a comment\n /* and this */ && true"),
            (Value::Float(1.0), "$env[\"result\"] == 1"),
            (Value::Float(1.0), "1 in 1..3 and count([1, 2, 3], # > 1) == 2 and {a: 1, \"b\": 2}.b == 2"),
            (Value::Float(1.0), "fromJSON('{\"a\": [1]}').a[0] == 1 and now() - duration('1h') < now()"),
            (Value::Float(1.0), "none([1], # > 1) ?: false"),
        ] {
            check(value, condition, "", "Successful");
        }
    }

    /// Vectors E38 and E39.
    #[test]
    fn times_are_computed_from_the_given_clock() {
        let at = instant(
            "date(\"2023-08-14 00:00:00\", \"2006-01-02 15:04:05\", \"UTC\") - duration(\"1h\")",
            Time(0),
        );
        assert_eq!(at.map(|at| at.stamp().to_string()).as_deref(), Ok("2023-08-13T23:00:00Z"));
        assert_eq!(instant("now() - duration(\"1m\")", Time(90_000)), Ok(Time(30_000)));
        assert!(instant("hello", Time(0)).is_err());
        assert!(instant("now() -- ?", Time(0)).is_err());
        assert_eq!(instant("5", Time(0)), Err("expected time.Time, but got int".to_owned()));
        assert_eq!(
            instant("date('2023-08-14T01:02:03+01:00')", Time(0)).map(|t| t.stamp().to_string()).as_deref(),
            Ok("2023-08-14T00:02:03Z")
        );
    }

    #[test]
    fn no_expression_stops_the_controller() {
        for hostile in [
            "len(1..1000000) > 1".to_owned(),
            "all(1..9999, {all(1..9999, {true})})".to_owned(),
            "len(reduce(1..60, #acc + #acc, \"xxxxxxxx\")) > 1".to_owned(),
            "reduce(1..9999, [#acc], 1) == 1".to_owned(),
            "reduce(1..60, [#acc, #acc], 1) == reduce(1..60, [#acc, #acc], 1)".to_owned(),
            "len(repeat(\"x\", 1000000000)) > 1".to_owned(),
            format!("{}true{}", "(".repeat(4000), ")".repeat(4000)),
            format!("{}true", "!".repeat(7000)),
            format!("true{}", " && true".repeat(900)),
            format!("{}1{}", "0 < (".repeat(90), " < 2) < 2".repeat(90)),
            "x".repeat(9000),
            "result.".to_owned(),
            "[".repeat(3000),
        ] {
            check(Value::Float(1.0), &hostile, "", "Error");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged_or_refused(text in ".{0,40}", words in "[a-z#.,?(){}\\[\\]0-9<>=&|! -]{0,30}") {
            let _ = judged(&floats(&[1.0]), &text, &words);
            let _ = judged(&of(json!({"a": [1, "b", null]})), &words, &text);
        }
    }
}
