//! The destinations of one route: which side each is, and the weight that it gets.

use serde_json::{Value, json};

use super::super::document::{list, share, text, weight};
use super::super::{Arm, View, Want, percent};
use super::config::Config;
use crate::sabotage::Sabotage;

/// How destinations are told apart.
pub(super) struct Sides {
    canary: Names,
    stable: Names,
    is_by_subset: bool,
    drops_foreign: bool,
}

/// Service and subset of one side; empty where it has none.
struct Names {
    service: String,
    subset: String,
}

/// What a destination is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Canary,
    Stable,
    /// The user's own, or an arm of an experiment.
    Other,
}

impl Sides {
    pub fn of(view: &View<'_>, config: &Config<'_>) -> Sides {
        let services = view.names(false);
        let rule = config.rule.as_ref();
        let names = |service: &str, subset: Option<&str>| Names {
            service: service.to_owned(),
            subset: subset.unwrap_or_default().to_owned(),
        };
        Sides {
            canary: names(&services.canary, rule.map(|rule| rule.canary)),
            stable: names(&services.stable, rule.map(|rule| rule.stable)),
            is_by_subset: rule.is_some(),
            drops_foreign: view.is_sabotaged(Sabotage::DropForeign),
        }
    }

    /// What a destination is. A subset says more than a host.
    // ARGO: for the reference both subsets of a shared host are the canary when `canaryService` names that host (Q39).
    pub(super) fn side(&self, entry: &Value) -> Side {
        let (host, subset) = (host(entry), subset(entry));
        if self.is_by_subset && !subset.is_empty() {
            return match subset {
                _ if subset == self.canary.subset => Side::Canary,
                _ if subset == self.stable.subset => Side::Stable,
                _ => Side::Other,
            };
        }
        match host {
            "" => Side::Other,
            _ if host == self.canary.service => Side::Canary,
            _ if host == self.stable.service => Side::Stable,
            _ => Side::Other,
        }
    }

    /// The side that a route has no destination for, in the reference's words.
    pub fn missing(&self, route: &Value) -> Option<String> {
        for (side, title, names) in
            [(Side::Canary, "Canary", &self.canary), (Side::Stable, "Stable", &self.stable)]
        {
            let is_there = |entry: &Value| match self.is_by_subset {
                true => self.side(entry) == side && !subset(entry).is_empty(),
                false => self.side(entry) == side,
            };
            if !list(route, &["route"]).iter().any(is_there) {
                return Some(match self.is_by_subset {
                    true => format!("{title} DestinationRule subset '{}' not found in route", names.subset),
                    false => format!("{title} Service '{}' not found in route", names.service),
                });
            }
        }
        None
    }

    /// What of a route's traffic goes to the canary, in parts of the whole; nothing when it does not know the canary.
    pub fn shown(&self, route: &Value, whole: i64) -> Option<i64> {
        let all = list(route, &["route"]);
        let is_canary = |entry: &&Value| self.side(entry) == Side::Canary;
        all.iter().find(is_canary)?;
        let sum = |entries: &mut dyn Iterator<Item = &Value>| {
            entries.map(|entry| weight_of(entry).max(0)).fold(0, i64::saturating_add)
        };
        // Further destinations of the user may make it more than the whole; the canary's weight is meant as written.
        let total = sum(&mut all.iter()).clamp(1, 100);
        Some(share(sum(&mut all.iter().filter(is_canary)), total, whole))
    }

    /// The canary's destination of a route, whose port and host others copy; trouble when several differ in them.
    // ARGO: the reference takes the port of the first destination, whatever it is (Q26).
    pub fn canary_destination<'r>(&self, route: &'r Value) -> Result<Option<&'r Value>, String> {
        let mut all = list(route, &["route"]).iter().filter(|entry| self.side(entry) == Side::Canary);
        let Some(first) = all.next().and_then(|entry| entry.get("destination")) else { return Ok(None) };
        match all.find(|entry| entry.get("destination") != Some(first)) {
            None => Ok(Some(first)),
            Some(other) => Err(format!(
                "HTTP Route '{}' has several canary destinations, which of them a managed route is to use cannot be \
                 told: {first} and {}",
                super::name(route),
                other.get("destination").unwrap_or(&Value::Null)
            )),
        }
    }

    /// Gives each destination of a route its weight. True when anything changed.
    pub fn split(&self, route: &mut Value, want: &Want<'_>) -> bool {
        let made_from =
            list(route, &["route"]).iter().find(|entry| self.side(entry) == Side::Canary).cloned();
        let Some(entries) = route.get_mut("route").and_then(Value::as_array_mut) else { return false };
        let before = entries.clone();
        let arm = |host: &str| want.arms.iter().find(|arm| &*arm.service == host);
        // ARGO: the reference deletes every destination that it does not know, but those whose subset is among
        // `additionalSubsetNames` (Q23).
        let is_former = |host: &str| want.former_arms.iter().any(|former| &**former == host);
        entries.retain(|entry| {
            let host = host(entry);
            let is_kept = !is_former(host) && !self.drops_foreign;
            self.side(entry) != Side::Other || is_kept || arm(host).is_some()
        });
        let is_foreign = |entry: &&Value| self.side(entry) == Side::Other && arm(host(entry)).is_none();
        let foreign = entries.iter().filter(is_foreign).map(weight_of).fold(0, i64::saturating_add);
        let stable = want.stable_percent().saturating_sub(foreign.max(0)).max(0);
        for entry in entries.iter_mut() {
            let wanted = match (self.side(entry), arm(host(entry))) {
                (Side::Canary, _) => want.percent(),
                (Side::Stable, _) => stable,
                (Side::Other, Some(arm)) => percent(arm.weight, want.whole),
                (Side::Other, None) => continue,
            };
            set_weight(entry, wanted);
        }
        let is_placed = |arm: &&Arm| !entries.iter().any(|entry| host(entry) == &*arm.service);
        let mut new: Vec<&Arm> = want.arms.iter().filter(is_placed).collect();
        new.sort_by(|a, b| a.service.cmp(&b.service));
        new.dedup_by(|a, b| a.service == b.service);
        entries.extend(new.iter().map(|arm| arm_destination(arm, want.whole, made_from.as_ref())));
        *entries != before
    }
}

/// A further destination, reached like the canary: the same port, and a name that is understood where the canary's is.
// ARGO: the reference writes no port, which Istio needs where a Service has several (Q12).
fn arm_destination(arm: &Arm, whole: i64, canary: Option<&Value>) -> Value {
    let canary = canary.map_or(&Value::Null, |entry| &entry["destination"]);
    let host = text(canary, &["host"]);
    let domain = host.split_once('.').map(|(_, domain)| format!(".{domain}")).unwrap_or_default();
    let mut destination = json!({"host": format!("{}{domain}", arm.service)});
    if let Some(port) = canary.get("port") {
        destination["port"] = port.clone();
    }
    json!({"destination": destination, "weight": percent(arm.weight, whole)})
}

/// The name of the Service that a destination leads to.
fn host(entry: &Value) -> &str {
    text(entry, &["destination", "host"]).split('.').next().unwrap_or_default()
}

fn subset(entry: &Value) -> &str {
    text(entry, &["destination", "subset"])
}

/// The weight of a destination: 0 when it is absent, as beside others it means.
fn weight_of(entry: &Value) -> i64 {
    weight(&entry["weight"]).unwrap_or(0)
}

fn set_weight(entry: &mut Value, wanted: i64) {
    if weight_of(entry) != wanted
        && let Some(entry) = entry.as_object_mut()
    {
        entry.insert("weight".to_owned(), Value::from(wanted));
    }
}
