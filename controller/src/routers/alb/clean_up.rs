//! What is left on an Ingress by a Rollout that no longer names it.

use serde_json::Value;
use tidegate_api::object::Object;

use super::super::Change;
use super::super::document::{annotate, become_if_new, list, list_mut, text};
use super::action::{Group, forward};
use super::bookkeeping::{Bookkeeping, LEGACY};
use super::service_of;

/// The Ingress with all traffic on the stable Service and without the header routes of such Rollouts. Nothing when
/// there is none, or when what they left cannot be understood: half of a clean-up is worse than none.
pub(super) fn clean_up(object: &Object, is_user: &dyn Fn(&str) -> bool) -> Option<Change> {
    let mut books = Bookkeeping::read(object).ok()?;
    let gone: Vec<String> = books.rollouts().filter(|name| !is_user(name)).map(str::to_owned).collect();
    if gone.is_empty() {
        return None;
    }
    let mut document = object.to_value();
    for rollout in &gone {
        let keys = books.keys(rollout);
        // ARGO: the reference leaves conditions, actions and paths of header routes (Q18).
        for key in &keys {
            let Some((prefix, name)) = key.split_once("/conditions.") else { continue };
            annotate(&mut document, key, None);
            annotate(&mut document, &format!("{prefix}/actions.{name}"), None);
            remove_paths(&mut document, name);
        }
        for key in &keys {
            let Some((prefix, name)) = key.split_once("/actions.") else { continue };
            if keys.iter().any(|other| *other == format!("{prefix}/conditions.{name}")) {
                continue;
            }
            if let Some(action) = object.meta.annotations.get(key) {
                let reset = all_to_stable(&serde_json::from_str(action).ok()?, name)?;
                annotate(&mut document, key, Some(&reset));
            }
        }
        books.forget(rollout);
    }
    annotate(&mut document, LEGACY, None);
    books.write(&mut document);
    become_if_new(object, document)
}

/// The action with everything on the stable Service: the one in whose place the action stands if it is among the
/// groups, else the last group, where every action of ours has the stable one.
// ARGO: the reference knows only the first case, so that with a root Service or ping-pong the weights stay (Q18).
fn all_to_stable(action: &Value, name: &str) -> Option<String> {
    let groups = list(action, &["ForwardConfig", "TargetGroups"]);
    let by_name = groups.iter().find(|group| text(group, &["ServiceName"]) == name);
    let stable = by_name.or(groups.last())?;
    let service = stable["ServiceName"].as_str()?;
    // The port is text in what is written here; the load balancer's controller takes numbers too.
    let number = stable["ServicePort"].as_i64().map(|port| port.to_string());
    let port = match (&number, stable["ServicePort"].as_str()) {
        (Some(number), _) => number,
        (None, text) => text?,
    };
    let sticky = &action["ForwardConfig"]["TargetGroupStickinessConfig"];
    let seconds = sticky["DurationSeconds"].as_i64().filter(|_| sticky["Enabled"] == true);
    Some(forward(&[Group { service, port, weight: 100 }], seconds))
}

fn remove_paths(document: &mut Value, name: &str) {
    for rule in list_mut(document, &["spec", "rules"]).into_iter().flatten() {
        if let Some(paths) = list_mut(rule, &["http", "paths"]) {
            paths.retain(|path| service_of(path) != name);
        }
    }
}
