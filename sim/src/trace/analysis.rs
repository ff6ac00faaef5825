//! What a trace says of analysis runs: each measurement, and the verdict.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Key, Measurement, MetricResult, Object, Text};

use crate::metrics::Source;
use crate::scenario::verbs::{controller_of, plain_name};
use crate::world::World;

/// Whom a run or an Experiment is about: its Rollout, or what stands alone.
pub fn who(world: &World, object: &Object) -> String {
    match controller_of(world, object) {
        Some(owner) => who(world, owner),
        None => object.meta.name.to_string(),
    }
}

/// What is new in a run.
pub fn news(
    world: &World,
    before: Option<&Arc<Object>>,
    after: Option<&Arc<Object>>,
    sources: &BTreeMap<(Key, Text), Source>,
) -> Vec<(String, String)> {
    let Some((run, body)) = after.and_then(|run| Some((run, run.analysis_run()?))) else { return Vec::new() };
    let old = before.and_then(|run| run.analysis_run());
    let mut all = Vec::new();
    for result in body.status.results.iter().flatten() {
        let name = result.name.clone().unwrap_or_default();
        let known = old.and_then(|old| old.status.result(&name)).and_then(MetricResult::last);
        let Some(last) = result.last().filter(|last| last.finished.is_some()) else { continue };
        let is_known = known.is_some_and(|known| known.started == last.started && known.finished.is_some());
        if is_known && taken(result) == old.and_then(|old| old.status.result(&name)).map_or(0, taken) {
            continue;
        }
        let source = sources.get(&(run.key(), name.clone()));
        let spec = body.spec.spec().metrics.iter().find(|raw| raw["name"].as_str() == Some(&*name));
        all.push((format!("analysis {name}"), told(last, result, spec.map(|raw| &**raw), source)));
    }
    let (was, is) = (old.map_or("", |old| old.status.phase()), body.status.phase());
    if was != is && body.status.is_over() {
        let why = body.status.message.as_deref().unwrap_or("");
        let because = if why.is_empty() { String::new() } else { format!("because {why}") };
        all.push((format!("analysis {} {is}", plain_name(world, run)), because));
    }
    all
}

/// How many measurements there were.
fn taken(result: &MetricResult) -> i64 {
    result.count.unwrap_or(0).saturating_add(result.error.unwrap_or(0))
}

/// `0.081 Failed  1 bad of 2, 0 allowed  by the traffic model (requests)`.
fn told(
    last: &Measurement,
    result: &MetricResult,
    metric: Option<&Value>,
    source: Option<&Source>,
) -> String {
    let value = last.value.as_deref().map_or(String::new(), |value| format!("{} ", short(value)));
    let mut text = format!("{value}{}", last.phase());
    let count = |number: Option<i64>| number.unwrap_or(0);
    let limit = |name: &str| {
        let limit = metric.and_then(|metric| metric.get(name)).filter(|limit| !limit.is_null());
        limit.map_or(String::new(), |limit| {
            format!(", {} allowed", limit.as_str().map_or_else(|| limit.to_string(), str::to_owned))
        })
    };
    match last.phase() {
        "Failed" => {
            text +=
                &format!("  failed {} of {}{}", count(result.failed), taken(result), limit("failureLimit"))
        }
        "Inconclusive" => {
            text += &format!(
                "  inconclusive {} of {}{}",
                count(result.inconclusive),
                taken(result),
                limit("inconclusiveLimit")
            );
        }
        "Error" => {
            text += &format!(
                "  errors in a row {}{}",
                count(result.consecutive_error),
                limit("consecutiveErrorLimit")
            );
            if let Some(why) = last.message.as_deref() {
                text += &format!("  {}", short(why));
            }
        }
        _ => {}
    }
    match source {
        Some(Source::Model(presets)) => text + &format!("  by the traffic model ({presets})"),
        Some(Source::Fault) => text + "  by a fault",
        _ => text,
    }
}

/// No more than a line holds.
fn short(text: &str) -> String {
    match text.char_indices().nth(160) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}
