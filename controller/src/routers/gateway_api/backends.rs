//! The backends of one rule, and the weight that each gets.

use serde_json::{Map, Value, json};
use tidegate_api::object::{Body, Object};

use super::super::document::{list, set_weight, share, text, weight};
use super::super::{Arm, Names, View, Want};
use crate::sabotage::Sabotage;

/// How backends are to be weighted.
pub(super) struct Split<'a> {
    pub view: &'a View<'a>,
    pub want: &'a Want<'a>,
    pub names: &'a Names,
}

impl Split<'_> {
    /// Gives each backend of a rule its weight. False when the rule does not know both sides: such a rule is the
    /// user's own and stays as it is.
    // ARGO: the reference weights rules with one side too, so that at 100 % a rule with the stable side alone answers
    // with errors, and takes a user's rule with the canary alone for one that it made (Q16).
    pub fn apply(&self, rule: &mut Value) -> bool {
        if !has_both(rule, self.names) {
            return false;
        }
        let canary = backends(rule).iter().find(|entry| name(entry) == &*self.names.canary).cloned();
        let Some(entries) = rule.get_mut("backendRefs").and_then(Value::as_array_mut) else { return false };
        let want = self.want;
        let arm = |name: &str| want.arms.iter().find(|arm| &*arm.service == name);
        let is_side = |name: &str| name == &*self.names.canary || name == &*self.names.stable;
        entries.retain(|entry| {
            let name = name(entry);
            let was_arm = want.former_arms.iter().any(|former| &**former == name);
            is_side(name) || !was_arm || arm(name).is_some()
        });
        let arms = match self.view.is_sabotaged(Sabotage::ForgetArms) {
            true => 0,
            false => want.arms.iter().map(|arm| arm.weight).fold(0, i64::saturating_add),
        };
        // ARGO: the reference forgets the canary's weight while an experiment runs, and never changes the weight of
        // an arm (Q17).
        let stable = want.whole.saturating_sub(want.weight).saturating_sub(arms).max(0);
        for entry in entries.iter_mut() {
            let wanted = match name(entry) {
                name if name == &*self.names.canary => want.weight,
                name if name == &*self.names.stable => stable,
                name => match arm(name) {
                    Some(arm) => arm.weight,
                    None => continue,
                },
            };
            set_weight(entry, wanted);
        }
        let mut new: Vec<&Arm> = want
            .arms
            .iter()
            .filter(|arm| !entries.iter().any(|entry| name(entry) == &*arm.service))
            .collect();
        new.sort_by(|a, b| a.service.cmp(&b.service));
        new.dedup_by(|a, b| a.service == b.service);
        entries.extend(new.iter().map(|arm| self.backend(arm, canary.as_ref())));
        true
    }

    /// A further backend. Its port is that of its Service, or the canary's while the Service is not seen yet.
    fn backend(&self, arm: &Arm, canary: Option<&Value>) -> Value {
        let by_service = self.view.services.get(&arm.service).and_then(|service| port(service));
        let by_canary = || canary.and_then(|canary| canary.get("port")).cloned();
        let mut made = Map::new();
        made.insert("name".to_owned(), Value::from(&*arm.service));
        made.insert("namespace".to_owned(), Value::from(&**self.view.at.namespace()));
        if let Some(port) = by_service.or_else(by_canary) {
            made.insert("port".to_owned(), port);
        }
        made.insert("weight".to_owned(), json!(arm.weight));
        Value::Object(made)
    }
}

/// What of a rule's traffic goes to the canary, in parts of the whole and rounded up; nothing when it does not know
/// both sides.
pub(super) fn shown(rule: &Value, names: &Names, whole: i64) -> Option<i64> {
    if !has_both(rule, names) {
        return None;
    }
    let all = backends(rule);
    let sum = |entries: &mut dyn Iterator<Item = &Value>| {
        entries.map(|entry| weight_of(entry).max(0)).fold(0, i64::saturating_add)
    };
    let canary = sum(&mut all.iter().filter(|entry| name(entry) == &*names.canary));
    // Further backends of the user may make it more than the whole; the canary's weight is meant as written.
    Some(share(canary, sum(&mut all.iter()).clamp(1, whole.max(1)), whole))
}

/// Whether a rule has backends of both sides.
pub(super) fn has_both(rule: &Value, names: &Names) -> bool {
    let has = |wanted: &str| !wanted.is_empty() && backends(rule).iter().any(|entry| name(entry) == wanted);
    has(&names.canary) && has(&names.stable)
}

/// `backendRefs` of a rule; none when it has none.
pub(super) fn backends(rule: &Value) -> &[Value] {
    list(rule, &["backendRefs"])
}

/// The Service that a backend names.
pub(super) fn name(entry: &Value) -> &str {
    text(entry, &["name"])
}

/// The weight of a backend: 1 when it is absent, as Gateway API says.
fn weight_of(entry: &Value) -> i64 {
    weight(&entry["weight"]).unwrap_or(1)
}

/// The port of a Service named `http`, or its first.
fn port(service: &Object) -> Option<Value> {
    let Body::Service(_) = &service.body else { return None };
    let document = service.to_value();
    let ports = document.get("spec")?.get("ports")?.as_array()?;
    let by_name = ports.iter().find(|port| port.get("name").and_then(Value::as_str) == Some("http"));
    by_name.or(ports.first())?.get("port").cloned()
}
