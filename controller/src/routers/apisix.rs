//! Apache APISIX: weights of two backends in the rules of an ApisixRoute that the user made. A header route is an
//! ApisixRoute of our own, a copy with a higher priority, one more condition and the canary as only backend.

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object, Text};

use super::document::{
    adopt, at, become_if_new, controlling_rollout, create, delete, list, list_mut, mapping, set, set_weight,
    share, text, trouble, weight,
};
use super::{Change, ManagedRoute, Place, Reads, Router, Trouble, View, Want};

/// The ingress controller of Apache APISIX.
pub struct Apisix;

const HTTP: &[&str] = &["spec", "http"];

impl Router for Apisix {
    fn name(&self) -> &'static str {
        "apisix"
    }

    fn reads(&self, at: &Place<'_>) -> Vec<Reads> {
        let managed = at.routing.managed_routes.iter().flatten();
        let managed = managed.map(|name| key(at, name)).filter(|key| key.name != base_key(at).name);
        [base_key(at)].into_iter().chain(managed).map(Reads::One).collect()
    }

    // ARGO: the reference writes in every pass, whether anything differs or not (Q29).
    fn route(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        let key = base_key(&view.at);
        let base = view.get(&key)?;
        let mut document = base.to_value();
        for rule in rules(&view.at) {
            let rule = find_rule(&mut document, rule).map_err(|what| trouble(&key, "spec.http", what))?;
            for (service, parts) in [
                (&view.at.canary.canary_service, want.percent()),
                (&view.at.canary.stable_service, want.stable_percent()),
            ] {
                let backend = find_backend(rule, service).map_err(|what| trouble(&key, "spec.http", what))?;
                set_weight(backend, parts);
            }
        }
        let mut changes: Vec<Change> = become_if_new(base, document).into_iter().collect();
        let headers: Vec<&ManagedRoute> = want.routes.iter().filter(|route| is_header(route)).collect();
        for route in &headers {
            changes.extend(header_route(view, &base.to_value(), route)?);
        }
        for name in view.at.routing.managed_routes.iter().flatten() {
            let key = self::key(&view.at, name);
            let is_wanted = headers.iter().any(|route| route.name == *name);
            if !is_wanted && view.objects.get(&key).is_some_and(|found| view.controls(found)) {
                changes.push(delete(key));
            }
        }
        Ok(changes)
    }

    fn shown(&self, view: &View<'_>) -> Option<i64> {
        let document = view.objects.get(&base_key(&view.at))?.to_value();
        let canary = &*view.at.canary.canary_service;
        // APISIX takes a missing weight for 100.
        let parts = |backend: &Value| match backend.get("weight") {
            None => 100,
            Some(given) => weight(given).unwrap_or(0).max(0),
        };
        let shown = |name: &str| {
            let rule = list(&document, HTTP).iter().find(|rule| text(rule, &["name"]) == name)?;
            let backends = list(rule, &["backends"]);
            let total = backends.iter().map(parts).fold(0, i64::saturating_add);
            let canary = backends.iter().filter(|backend| text(backend, &["serviceName"]) == canary);
            Some(share(canary.map(parts).fold(0, i64::saturating_add), total, view.at.routing.whole()))
        };
        rules(&view.at).into_iter().filter_map(shown).max()
    }

    // ARGO: the reference leaves a header route that `managedRoutes` no longer names; it goes on sending all that it
    // catches to the canary.
    fn clean_up(&self, object: &Object, is_user: &dyn Fn(&str) -> bool) -> Option<Change> {
        let owner = controlling_rollout(object)?;
        let is_left = object.kind == kind() && !is_user(owner);
        is_left.then(|| delete(object.key()))
    }
}

fn kind() -> Kind {
    Kind::new("apisix.apache.org/v2", "ApisixRoute")
}

fn key(at: &Place<'_>, name: impl AsRef<str>) -> Key {
    Key::new(kind(), at.namespace().clone(), name.as_ref())
}

fn base_key(at: &Place<'_>) -> Key {
    key(at, text(at.config(), &["route", "name"]))
}

/// Names of the rules with weights: those listed, else the one named like the route.
fn rules<'a>(at: &Place<'a>) -> Vec<&'a str> {
    let route: &'a Value = self::at(&at.stanza.config, &["route"]);
    match route["rules"].as_array() {
        Some(rules) => rules.iter().filter_map(Value::as_str).collect(),
        None => vec![text(route, &["name"])],
    }
}

fn find_rule<'d>(document: &'d mut Value, name: &str) -> Result<&'d mut Value, String> {
    let Some(rules) = list_mut(document, HTTP) else {
        return Err("spec.http was not found in Apisix Route manifest".to_owned());
    };
    for rule in rules {
        match rule.get("name").and_then(Value::as_str) {
            None => return Err("Apisix http route rule name field not found".to_owned()),
            Some(found) if found == name => return Ok(rule),
            Some(_) => {}
        }
    }
    Err(format!("Apisix http route rule {name} not found"))
}

fn find_backend<'d>(rule: &'d mut Value, service: &str) -> Result<&'d mut Value, String> {
    let backends = list_mut(rule, &["backends"]).into_iter().flatten();
    let mut found = backends.filter(|backend| text(backend, &["serviceName"]) == service);
    found.next().ok_or_else(|| format!("apisix route {service} backend was not found"))
}

/// Whether it is a header route: a step without `match` takes its route away, and mirrors are not supported.
fn is_header(route: &ManagedRoute) -> bool {
    !route.is_mirror && route.step["match"].is_array()
}

/// What the ApisixRoute of a header route needs.
fn header_route(view: &View<'_>, base: &Value, route: &ManagedRoute) -> Result<Option<Change>, Trouble> {
    let key = key(&view.at, &route.name);
    let found = match view.objects.get(&key) {
        Some(found) if !view.controls(found) => {
            let what = format!("duplicate ApisixRoute [{}] already exists", route.name);
            return Err(trouble(&key, "metadata.ownerReferences", what));
        }
        found => found,
    };
    let mut document = match found {
        Some(found) => found.to_value(),
        None => copy_of(view, base, &route.name),
    };
    for name in rules(&view.at) {
        let in_base = list(base, HTTP).iter().find(|rule| text(rule, &["name"]) == name);
        let before = in_base.map_or(&[][..], |rule| list(rule, &["match", "exprs"]));
        let exprs = before.iter().cloned().chain(expressions(&route.step)).collect();
        let rule = find_rule(&mut document, name).map_err(|what| trouble(&key, "spec.http", what))?;
        let canary = &view.at.canary.canary_service;
        let backend = find_backend(rule, canary).map_err(|what| trouble(&key, "spec.http", what))?;
        set_weight(backend, 100);
        if let Some(backends) = list_mut(rule, &["backends"]) {
            backends.retain(|backend| text(backend, &["serviceName"]) != &*view.at.canary.stable_service);
        }
        // ARGO: the reference drops the conditions of the rule that it copies, so its header route catches more.
        set(rule, &["match"], "exprs", Some(Value::Array(exprs)));
    }
    adopt(&mut document, view);
    Ok(match found {
        Some(found) => become_if_new(found, document),
        None => Some(create(key, document)),
    })
}

/// A copy of the user's route under another name: only the rules with weights, one step above them.
// ARGO: the reference copies the other rules too, where they compete with the originals.
fn copy_of(view: &View<'_>, base: &Value, name: &Text) -> Value {
    let mut document = base.clone();
    set(&mut document, &[], "status", None);
    let metadata = mapping(&mut document, &["metadata"]);
    metadata.retain(|field, _| ["labels", "annotations", "namespace"].contains(&field.as_str()));
    metadata.insert("name".to_owned(), Value::from(&**name));
    metadata.insert("ownerReferences".to_owned(), json!([view.owner()]));
    let names = rules(&view.at);
    if let Some(rules) = list_mut(&mut document, HTTP) {
        rules.retain(|rule| names.contains(&text(rule, &["name"])));
        for rule in rules {
            let priority = rule["priority"].as_i64().unwrap_or(0).saturating_add(1);
            set(rule, &[], "priority", Some(Value::from(priority)));
        }
    }
    document
}

/// The conditions of a header route; all of them must hold.
fn expressions(step: &Value) -> Vec<Value> {
    let matches = list(step, &["match"]).iter();
    let expression = |item: &Value| {
        let wanted = &item["headerValue"];
        let (op, value) =
            match (wanted["exact"].as_str(), wanted["regex"].as_str(), wanted["prefix"].as_str()) {
                (Some(exact), ..) if !exact.is_empty() => ("Equal", exact.to_owned()),
                (_, Some(regex), _) if !regex.is_empty() => ("RegexMatch", regex.to_owned()),
                (_, _, Some(prefix)) => ("RegexMatch", format!("^{}.*", escaped(prefix))),
                _ => ("Equal", String::new()),
            };
        let name = text(item, &["headerName"]);
        json!({"subject": {"scope": "Header", "name": name}, "op": op, "value": value})
    };
    matches.map(expression).collect()
}

/// Text as a regular expression that matches just it.
// ARGO: the reference does not escape, so that a dot in a prefix matches any character (as Q17).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests;
