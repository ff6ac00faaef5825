//! What the conditions of routes say: whoever serves a route writes whether it took it over.

use serde_json::Value;
use tidegate_api::object::Object;

use super::super::Evidence;
use super::super::document::{list, text};

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
    let asked = list(&document, &["spec", "parentRefs"]);
    let said = list(&document, &["status", "parents"]);
    let is_asked = |said: &&Value| asked.iter().any(|asked| is_same(asked, said.get("parentRef")));
    let mut evidence = Evidence::None;
    let mut is_silent = false;
    for parent in said.iter().filter(is_asked) {
        for condition in ["Accepted", "ResolvedRefs"] {
            match of_condition(parent, condition, route.meta.generation) {
                Evidence::Applied => {}
                Evidence::None => is_silent = true,
                Evidence::NotYet(why) => {
                    let kind = text(parent, &["parentRef", "kind"]);
                    let kind = if kind.is_empty() { "Gateway" } else { kind };
                    let name = text(parent, &["parentRef", "name"]);
                    let route = format!("{} {:?}", route.kind.name(), &*route.meta.name);
                    return Evidence::NotYet(format!("{route}: {kind} {name:?} {why}").into());
                }
            }
        }
        evidence = Evidence::Applied;
    }
    if is_silent { Evidence::None } else { evidence }
}

/// Of one condition. One that does not tell which generation it is about says nothing about this one.
fn of_condition(parent: &Value, wanted: &str, generation: i64) -> Evidence {
    let condition =
        list(parent, &["conditions"]).iter().find(|condition| text(condition, &["type"]) == wanted);
    let Some(condition) = condition else {
        return Evidence::NotYet(format!("has not said {wanted} yet").into());
    };
    let observed = condition.get("observedGeneration").and_then(Value::as_i64);
    if observed.is_some_and(|observed| observed < generation) {
        return Evidence::NotYet(format!("has not looked at generation {generation} yet").into());
    }
    if text(condition, &["status"]) != "True" {
        let (reason, message) = (text(condition, &["reason"]), text(condition, &["message"]));
        return Evidence::NotYet(format!("says that {wanted} is not so: {reason} ({message})").into());
    }
    if observed.is_some() { Evidence::Applied } else { Evidence::None }
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
