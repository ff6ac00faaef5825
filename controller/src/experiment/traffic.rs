//! Whether users may still be led to the pods of an Experiment. The weights are the Rollout's: it takes them away, and this
//! waits until they are gone everywhere.

use serde_json::Value;
use tidegate_api::experiment::ExperimentTemplate;

use super::{Draft, services};
use crate::plan::Reason;
use crate::sabotage::Sabotage;

/// Whether the pods of a template must stay for the sake of users.
pub fn holds(draft: &mut Draft<'_>, template: &ExperimentTemplate, hash: &str) -> bool {
    services::name(draft.name(), template).is_some_and(|name| holds_service(draft, &name, hash))
}

/// Whether this Service and the pods behind it must stay for the sake of users: the status of the Rollout or one of its
/// routes names them, or did so lately that the data plane may not know better.
// ARGO: the reference lets pods and Service go while the router still points at them (A20).
pub fn holds_service(draft: &mut Draft<'_>, service: &str, hash: &str) -> bool {
    let world = draft.world;
    if draft.facts.is_sabotaged(Sabotage::ServiceBeforeWeight) {
        return false;
    }
    let Some(rollout) = world.rollout.as_ref().filter(|_| !world.routes.is_empty()) else { return false };
    let weights = rollout.rollout().and_then(|body| body.status.canary.as_ref()?.weights.clone());
    let arms = weights.and_then(|weights| weights.additional).unwrap_or_default();
    let recorded = arms.iter().any(|arm| arm.service.as_deref() == Some(service));
    let named =
        |word: &str| !word.is_empty() && world.routes.values().any(|route| mentions(&route.to_value(), word));
    if recorded || named(service) || named(hash) {
        let what = format!("weights to leave Service {service}");
        draft.plan.reasons.push(Reason::WaitingFor(what.into()));
        return true;
    }
    let stretch = world.settings.propagation;
    let rests = world.moments.values().map(|moments| moments.since.plus(stretch));
    let Some(at) = rests.filter(|at| *at > draft.now).max() else { return false };
    draft.plan.wake = draft.plan.wake.or_at(at);
    draft.plan.reasons.push(Reason::Until { what: "routes reach the data plane".into(), at });
    true
}

/// Whether a word stands in some text of a document, by itself or as the first part of a host name.
fn mentions(document: &Value, word: &str) -> bool {
    match document {
        Value::String(text) => has_word(text, word),
        Value::Array(items) => items.iter().any(|item| mentions(item, word)),
        Value::Object(map) => map.iter().any(|(key, value)| key == word || mentions(value, word)),
        _ => false,
    }
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(|c| is_part(c) || c == '.') && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_is_named_as_a_host_in_annotations_and_alone() {
        let text =
            json!({"metadata": {"annotations": {"actions": "{\"serviceName\":\"web-new\",\"weight\":5}"}}});
        assert!(mentions(&text, "web-new"));
        assert!(mentions(&json!([{"host": "web-new.shop.svc"}]), "web-new"));
        for other in ["web-new-2", "my-web-new", "a.web-new"] {
            assert!(!mentions(&json!({"host": other}), "web-new"), "{other}");
        }
    }
}
