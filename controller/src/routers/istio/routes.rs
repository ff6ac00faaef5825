//! Routes that steps ask for: by header to the canary, or with a mirror to it.

use serde_json::{Map, Value, json};

use super::super::ManagedRoute;
use super::destinations::Sides;

/// The ways in which a text is compared.
const COMPARISONS: [&str; 3] = ["exact", "regex", "prefix"];

/// The route as it is to look, made from the one that is there: fields that nobody here knows stay. Nothing when the
/// step matches nothing, which takes the route away.
pub(super) fn build(
    wanted: &ManagedRoute,
    existing: Option<&Value>,
    primary: &Value,
    sides: &Sides,
) -> Result<Option<Value>, String> {
    let matches: Vec<Value> = wanted.step.get("match").and_then(Value::as_array).map_or(Vec::new(), |all| {
        all.iter().filter_map(if wanted.is_mirror { mirror_match } else { header_match }).collect()
    });
    if matches.is_empty() {
        return Ok(None);
    }
    let Some(canary) = sides.canary_destination(primary)? else {
        return Err(format!("spec.http has no weighted route that `{}` could be made from", wanted.name));
    };
    let mut route = existing.and_then(Value::as_object).cloned().unwrap_or_default();
    let mut set = |field: &str, value: Value| {
        if !means_the_same(route.get(field), &value) {
            route.insert(field.to_owned(), value);
        }
    };
    set("name", Value::from(&*wanted.name));
    set("match", Value::Array(matches));
    if wanted.is_mirror {
        // ARGO: the reference copies known fields of each destination only, `headers` are lost (Q27).
        set("route", primary.get("route").cloned().unwrap_or_default());
        set("mirror", canary.clone());
        let percentage = wanted.step.get("percentage").and_then(Value::as_i64).unwrap_or(100);
        set("mirrorPercentage", json!({"value": percentage}));
    } else {
        set("route", json!([{"weight": 100, "destination": canary}]));
        route.remove("mirror");
        route.remove("mirrorPercentage");
    }
    Ok(Some(Value::Object(route)))
}

/// Equal apart from how a number is written: what was sent as 35 may come back as 35.0.
fn means_the_same(have: Option<&Value>, wanted: &Value) -> bool {
    let value = |of: &Value| of.get("value").and_then(Value::as_f64);
    have.is_some_and(|have| have == wanted || (value(wanted).is_some() && value(have) == value(wanted)))
}

/// One entry of a header step's `match`.
fn header_match(entry: &Value) -> Option<Value> {
    let name = entry.get("headerName")?.as_str()?;
    let mut headers = Map::new();
    headers.insert(name.to_owned(), comparison(entry.get("headerValue")?)?);
    Some(json!({"headers": headers}))
}

/// One entry of a mirror step's `match`.
fn mirror_match(entry: &Value) -> Option<Value> {
    let mut made = Map::new();
    for (from, to) in [("method", "method"), ("path", "uri")] {
        if let Some(compared) = entry.get(from).and_then(comparison) {
            made.insert(to.to_owned(), compared);
        }
    }
    let headers: Map<String, Value> = entry
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), comparison(value)?)))
        .collect();
    if !headers.is_empty() {
        made.insert("headers".to_owned(), Value::Object(headers));
    }
    (!made.is_empty()).then_some(Value::Object(made))
}

/// The one comparison that is set.
fn comparison(value: &Value) -> Option<Value> {
    COMPARISONS.iter().find_map(|how| {
        let text = value.get(how)?.as_str().filter(|text| !text.is_empty())?;
        let mut made = Map::new();
        made.insert((*how).to_owned(), Value::from(text));
        Some(Value::Object(made))
    })
}
