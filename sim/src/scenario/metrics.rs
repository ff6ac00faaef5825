//! `metrics`, `metric` and faults of metric providers, as they are written in a scenario.

use serde_json::{Value, json};

use super::cursor::{Cursor, Read};
use super::keys::known;
use super::write::duration;
use crate::metrics::Trouble;
use crate::metrics::series::{Of, Point, Series};

/// Keys of a mapping that is no document but says what becomes of an answer.
const SPECIAL: &[&str] = &["status", "body", "fails", "late", "value"];

/// A list of series.
pub(super) fn read_all(at: &Cursor<'_>) -> Read<Vec<Series>> {
    at.items()?.iter().map(read).collect()
}

/// One series.
pub(super) fn read(at: &Cursor<'_>) -> Read<Series> {
    at.fields(&known("metric"))?;
    let provider = at.get("provider").map(|field| provider(&field)).transpose()?;
    let text = at.get("match").map_or_else(|| Ok(String::new()), |field| field.owned())?;
    let values = at.need("values")?;
    let points: Vec<Point> = values.items()?.iter().map(point).collect::<Read<_>>()?;
    if points.is_empty() {
        return values.wrong("a series has at least one value");
    }
    Ok(Series { of: Of::Matching { provider, text }, values: points })
}

/// The name of a provider, as metrics have it.
pub(super) fn provider(field: &Cursor<'_>) -> Read<String> {
    let name = field.text()?;
    let all = tidegate_controller::providers::ALL;
    match all.iter().any(|provider| provider.name() == name) {
        true => Ok(name.to_owned()),
        false => {
            let names: Vec<&str> = all.iter().map(|provider| provider.name()).collect();
            field.wrong(format!("this must be a provider: {}", names.join(", ")))
        }
    }
}

/// One value.
pub(super) fn point(field: &Cursor<'_>) -> Read<Point> {
    let is_special = field
        .value
        .as_object()
        .is_some_and(|map| !map.is_empty() && map.keys().all(|key| SPECIAL.contains(&key.as_str())));
    if !is_special {
        return Ok(Point::Value(field.value.clone()));
    }
    if let Some(late) = field.get("late") {
        let value = field.get("value").map_or(Ok(Point::Value(Value::from(0))), |value| point(&value))?;
        return Ok(Point::Late(late.span()?, Box::new(value)));
    }
    if let Some(fails) = field.get("fails") {
        return fails.owned().map(Point::Fails);
    }
    let Some(status) = field.get("status") else { return Ok(Point::Value(field.value.clone())) };
    let Some(number) = u16::try_from(status.number()?).ok().filter(|number| (100..=599).contains(number))
    else {
        return status.wrong("this must be a status of HTTP, such as 500");
    };
    let body = field.get("body").map_or_else(|| Ok(String::new()), |body| body.owned())?;
    Ok(Point::Status(number, body))
}

/// The series as a scenario has it.
pub(super) fn series(series: &Series) -> Value {
    let mut fields = json!({"values": series.values.iter().map(value).collect::<Vec<_>>()});
    match &series.of {
        Of::Matching { provider, text } => {
            if let Some(provider) = provider {
                fields["provider"] = json!(provider);
            }
            fields["match"] = json!(text);
        }
        Of::Story(name) => fields["match"] = json!(name),
        // Only forecasts script these, and nobody writes a forecast down as a scenario.
        Of::Asked { metric, .. } => fields["match"] = json!(&**metric),
    }
    fields
}

/// A value as a scenario has it.
pub(super) fn value(point: &Point) -> Value {
    match point {
        Point::Value(value) => value.clone(),
        Point::Status(status, body) => json!({"status": status, "body": body}),
        Point::Fails(why) => json!({"fails": why}),
        Point::Late(by, point) => json!({"late": duration(*by), "value": value(point)}),
    }
}

/// What is wrong with a provider, beside whose and how long.
pub(super) fn trouble(trouble: &Trouble) -> (&'static str, Option<(&'static str, Value)>) {
    match trouble {
        Trouble::Down => ("metric_outage", None),
        Trouble::Slow(by) => ("metric_slow", Some(("by", json!(duration(*by))))),
        Trouble::Says(point) => ("metric_says", Some(("value", value(point)))),
    }
}
