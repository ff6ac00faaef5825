//! What the conditions of routes say: whoever serves a route writes whether it took it over.

use serde_json::Value;
use tidegate_api::object::Object;

use super::super::Evidence;

/// Of several routes together: one that is not taken over is enough, and one that says nothing makes all say nothing.
pub(super) fn of_all<'a>(routes: impl Iterator<Item = &'a Object>) -> Evidence {
    let mut together = Evidence::None;
    let mut is_silent = false;
    for route in routes {
        match of(route) {
            Evidence::NotYet(why) => return Evidence::NotYet(why),
            Evidence::None => is_silent = true,
            Evidence::Applied => together = Evidence::Applied,
        }
    }
    if is_silent { Evidence::None } else { together }
}

/// Of one route: by each parent that it still names and that somebody serves.
fn of(route: &Object) -> Evidence {
    let document = route.to_value();
    let asked = list(&document, "spec", "parentRefs");
    let said = list(&document, "status", "parents");
    let is_asked = |said: &&Value| asked.iter().any(|asked| is_same(asked, said.get("parentRef")));
    let mut evidence = Evidence::None;
    for parent in said.iter().filter(is_asked) {
        for condition in ["Accepted", "ResolvedRefs"] {
            if let Some(why) = lacks(parent, condition, route.meta.generation) {
                let name = |field: &str| parent["parentRef"].get(field).and_then(Value::as_str);
                let (kind, name) = (name("kind").unwrap_or("Gateway"), name("name").unwrap_or_default());
                let route = format!("{} {:?}", route.kind.name(), &*route.meta.name);
                return Evidence::NotYet(format!("{route}: {kind} {name:?} {why}").into());
            }
        }
        evidence = Evidence::Applied;
    }
    evidence
}

/// Why a condition does not hold for this generation.
fn lacks(parent: &Value, wanted: &str, generation: i64) -> Option<String> {
    let text = |condition: &Value, field: &str| {
        condition.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let conditions = parent.get("conditions").and_then(Value::as_array);
    let condition = conditions.into_iter().flatten().find(|condition| text(condition, "type") == wanted);
    let Some(condition) = condition else { return Some(format!("has not said {wanted} yet")) };
    let observed = condition.get("observedGeneration").and_then(Value::as_i64);
    if observed.is_some_and(|observed| observed < generation) {
        return Some(format!("has not looked at generation {generation} yet"));
    }
    (text(condition, "status") != "True").then(|| {
        format!(
            "says that {wanted} is not so: {} ({})",
            text(condition, "reason"),
            text(condition, "message")
        )
    })
}

fn list<'d>(document: &'d Value, part: &str, field: &str) -> &'d [Value] {
    let list = document.get(part).and_then(|part| part.get(field)).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// Whether both name the same parent. What is absent in one may have been filled in in the other.
fn is_same(asked: &Value, said: Option<&Value>) -> bool {
    let Some(said) = said else { return false };
    let agree = |field: &str| match (asked.get(field), said.get(field)) {
        (Some(asked), Some(said)) => asked == said,
        _ => true,
    };
    asked.get("name") == said.get("name")
        && ["kind", "namespace", "sectionName", "port"].into_iter().all(agree)
}
