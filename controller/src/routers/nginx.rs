//! ingress-nginx: beside each stable Ingress stands a second one, the canary, with the same rules for the canary
//! Service and the canary's share as an annotation. The stable Ingress is never touched.
//!
//! Everything in the canary Ingress is made from the stable one in every pass, so edits of the stable one follow. What
//! others add to it (labels, annotations, fields) stays; which annotations are ours is noted in one of our own.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object, Text};

use super::document::{
    adopt, annotate, annotation, at, become_if_new, controlling_rollout, create, delete, list, list_mut, set,
    share, text, trouble,
};
use super::{Change, Place, Reads, Router, Trouble, View, Want};
use crate::sabotage::Sabotage;

/// The controller of ingress-nginx.
pub struct Nginx;

const DEFAULT_PREFIX: &str = "nginx.ingress.kubernetes.io";
const CLASS: &str = "kubernetes.io/ingress.class";
/// Annotation of a canary Ingress: the annotations that were made from the Rollout's and the stable Ingress's, as a
/// list. Left out are the class and, under the usual prefix, the three that say what a canary Ingress is: most
/// Ingresses need no note.
const OWN_ANNOTATIONS: &str = "rollouts.argoproj.io/managed-canary-annotations";

impl Router for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn reads(&self, at: &Place<'_>) -> Vec<Reads> {
        let names = Config::read(at).stable;
        let pairs = names.iter().flat_map(|name| [key(at, *name), canary_key(at, name)]);
        pairs.map(Reads::One).chain([Reads::Controlled(kind(), at.namespace().clone())]).collect()
    }

    fn route(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        let config = Config::read(&view.at);
        if config.stable.is_empty() {
            return Err(Trouble::of_config(
                "Either StableIngress or StableIngresses must be configured. Both/Neither are configured.",
            ));
        }
        let mut changes = Vec::new();
        for name in &config.stable {
            changes.extend(canary_change(view, want, &config, name)?);
        }
        for old in no_longer_desired(view, &config) {
            changes.extend(with_weight_zero(old));
        }
        Ok(changes)
    }

    /// ingress-nginx answers 503 without endpoints of the stable Service, also where all weight is on the canary (Q22).
    fn needs_a_stable_pod(&self) -> bool {
        true
    }

    // ARGO: the reference leaves the canary Ingress of a stable Ingress that is no longer named, with its last weight
    // and rules (Q19).
    fn retire(&self, view: &View<'_>, _want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        let old = no_longer_desired(view, &Config::read(&view.at)).into_iter();
        Ok(old.filter(|old| with_weight_zero(old).is_none()).map(|old| delete(old.key())).collect())
    }

    fn shown(&self, view: &View<'_>) -> Option<i64> {
        let config = Config::read(&view.at);
        let whole = view.at.routing.whole();
        let canaries = config.stable.iter().filter_map(|name| view.objects.get(&canary_key(&view.at, name)));
        let canaries = canaries.map(|canary| &**canary).chain(no_longer_desired(view, &config));
        let weights = canaries.map(|canary| weight_of(canary).map_or(0, |(w, total)| share(w, total, whole)));
        // Without a canary Ingress nothing goes to the canary, provided that there is a stable one.
        let stable = config.stable.iter().any(|name| view.objects.contains_key(&key(&view.at, *name)));
        weights.max().or(stable.then_some(0))
    }

    // ARGO: the reference leaves the canary Ingress when `trafficRouting.nginx` is removed from a Rollout (Q19).
    fn clean_up(&self, object: &Object, is_user: &dyn Fn(&str) -> bool) -> Option<Change> {
        let owner = controlling_rollout(object)?;
        let is_canary =
            object.kind == kind() && object.meta.name.ends_with("-canary") && weight_of(object).is_some();
        if !is_canary || is_user(owner) {
            return None;
        }
        Some(with_weight_zero(object).unwrap_or_else(|| delete(object.key())))
    }
}

fn kind() -> Kind {
    Kind::new("networking.k8s.io/v1", "Ingress")
}

fn key(at: &Place<'_>, name: impl Into<Text>) -> Key {
    Key::new(kind(), at.namespace().clone(), name)
}

/// The canary Ingress of a stable one. Names may have 253 characters.
fn canary_key(at: &Place<'_>, stable: &str) -> Key {
    let name: String = format!("{}-{stable}", at.rollout.meta.name).chars().take(246).collect();
    key(at, format!("{name}-canary"))
}

/// What the Rollout says about NGINX.
struct Config<'a> {
    /// Each stable Ingress once, in the order of the list.
    stable: Vec<&'a str>,
    prefix: &'a str,
    additional: Vec<(&'a str, &'a str)>,
    verbatim: Vec<(&'a str, &'a str)>,
}

impl<'a> Config<'a> {
    fn read(at: &Place<'a>) -> Config<'a> {
        let config: &'a Value = &at.stanza.config;
        let mut stable = Vec::new();
        let many = list(config, &["stableIngresses"]).iter().filter_map(Value::as_str);
        for name in [text(config, &["stableIngress"])].into_iter().chain(many) {
            if !name.is_empty() && !stable.contains(&name) {
                stable.push(name);
            }
        }
        let pairs = |field: &str| {
            let map = config[field].as_object().into_iter().flatten();
            map.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
        };
        Config {
            stable,
            prefix: match text(config, &["annotationPrefix"]) {
                "" => DEFAULT_PREFIX,
                prefix => prefix,
            },
            additional: pairs("additionalIngressAnnotations"),
            verbatim: pairs("canaryIngressAnnotations"),
        }
    }
}

/// What the canary Ingress of one stable Ingress needs.
fn canary_change(
    view: &View<'_>,
    want: &Want<'_>,
    config: &Config<'_>,
    name: &str,
) -> Result<Option<Change>, Trouble> {
    let stable_key = key(&view.at, name);
    let stable = view.get(&stable_key).map_err(|cause| Trouble {
        message: format!("error retrieving stableIngress `{name}` from cache: {}", cause.message).into(),
        ..cause
    })?;
    let stable = stable.to_value();
    let canary = &view.at.canary;
    let rules = canary_rules(&stable, &canary.stable_service, &canary.canary_service);
    if rules.is_empty() {
        let what = format!("ingress `{name}` has no rules using service {} backend", canary.stable_service);
        return Err(trouble(&stable_key, "spec.rules", what));
    }
    let canary_key = canary_key(&view.at, name);
    let found = view.objects.get(&canary_key);
    let mut document = match found {
        Some(found) if view.controls(found) => found.to_value(),
        Some(_) => {
            let what = format!("canary ingress `{}` controlled by different object", canary_key.name);
            return Err(trouble(&canary_key, "metadata.ownerReferences", what));
        }
        None => json!({"apiVersion": kind().api_version(), "kind": kind().name(), "spec": {},
            "metadata": {"name": &*canary_key.name, "namespace": &*canary_key.namespace,
                "ownerReferences": [view.owner()]}}),
    };
    let own = own_annotations(view, want, config, &stable);
    put_annotations(&mut document, &own);
    put_spec(&mut document, &stable, rules);
    if view.is_sabotaged(Sabotage::BareCopies) {
        set(&mut document, &["spec"], "ingressClassName", None);
    }
    adopt(&mut document, view);
    Ok(match found {
        None => {
            let told = format!("Creating canary ingress `{}` with weight `{}`", canary_key.name, want.weight);
            Some(create(canary_key, document).telling("CreatingCanaryIngress", told))
        }
        Some(found) => become_if_new(found, document).map(|change| {
            let told = format!("Updating Ingress `{}` to desiredWeight '{}'", canary_key.name, want.weight);
            change.telling("PatchingCanaryIngress", told)
        }),
    })
}

/// The stable rules with a path to the stable Service, those paths leading to the canary Service instead.
// ARGO: rules without `http` and paths without a Service count as having no such path; the reference crashes (Q25).
fn canary_rules(stable: &Value, from: &str, to: &str) -> Vec<Value> {
    let mut rules = list(stable, &["spec", "rules"]).to_vec();
    rules.retain_mut(|rule| {
        let mut is_kept = false;
        for path in list_mut(rule, &["http", "paths"]).into_iter().flatten() {
            if at(path, &["backend", "service", "name"]) == from {
                set(path, &["backend", "service"], "name", Some(Value::from(to)));
                is_kept = true;
            }
        }
        is_kept
    });
    rules
}

/// The annotations that the canary Ingress gets, the later ones winning.
fn own_annotations(
    view: &View<'_>,
    want: &Want<'_>,
    config: &Config<'_>,
    stable: &Value,
) -> BTreeMap<String, String> {
    let prefix = config.prefix;
    let mut own = BTreeMap::new();
    let mut put = |key: String, value: &str| drop(own.insert(key, value.to_owned()));
    if let Some(class) = annotation(stable, CLASS) {
        put(CLASS.to_owned(), class);
    }
    for (key, value) in &config.additional {
        let is_whole = key.starts_with(prefix);
        put(if is_whole { (*key).to_owned() } else { format!("{prefix}/{key}") }, value);
    }
    for (key, value) in &config.verbatim {
        put((*key).to_owned(), value);
    }
    put(format!("{prefix}/canary"), "true");
    put(format!("{prefix}/canary-weight"), &want.weight.to_string());
    if view.at.routing.max_weight.is_some() {
        put(format!("{prefix}/canary-weight-total"), &want.whole.to_string());
    }
    own
}

/// Annotations that are always ours.
fn fixed_annotations() -> [String; 4] {
    let [canary, weight, total] =
        ["canary", "canary-weight", "canary-weight-total"].map(|name| format!("{DEFAULT_PREFIX}/{name}"));
    [CLASS.to_owned(), canary, weight, total]
}

/// Sets our annotations and removes those of ours that are no longer wanted. Others stay.
// ARGO: annotations that are removed from the Rollout stay in the reference (Q20).
fn put_annotations(document: &mut Value, own: &BTreeMap<String, String>) {
    let noted = annotation(document, OWN_ANNOTATIONS).and_then(|noted| serde_json::from_str(noted).ok());
    let noted: Vec<String> = noted.unwrap_or_default();
    let fixed = fixed_annotations();
    for former in noted.iter().chain(&fixed).filter(|key| !own.contains_key(*key)) {
        annotate(document, former, None);
    }
    for (key, value) in own {
        annotate(document, key, Some(value));
    }
    let to_note: Vec<&String> = own.keys().filter(|key| !fixed.contains(key)).collect();
    let note = (!to_note.is_empty()).then(|| json!(to_note).to_string());
    annotate(document, OWN_ANNOTATIONS, note.as_deref());
}

/// Makes the specification that of the stable Ingress with these rules. Fields that neither has to do with stay.
fn put_spec(document: &mut Value, stable: &Value, rules: Vec<Value>) {
    for field in ["tls", "ingressClassName"] {
        set(document, &["spec"], field, stable["spec"].get(field).cloned());
    }
    // A default backend would catch requests that no rule of the stable Ingress sends here.
    set(document, &["spec"], "defaultBackend", None);
    set(document, &["spec"], "rules", Some(Value::from(rules)));
}

/// Weight and total in the annotations of a canary Ingress, whatever their prefix; nothing when it is none.
fn weight_of(canary: &Object) -> Option<(i64, i64)> {
    let (key, weight) = canary.meta.annotations.iter().find(|(key, _)| key.ends_with("/canary-weight"))?;
    let prefix = key.strip_suffix("/canary-weight")?;
    if canary.meta.annotations.get(&format!("{prefix}/canary")).is_none_or(|value| &**value != "true") {
        return None;
    }
    let total = canary.meta.annotations.get(&format!("{prefix}/canary-weight-total"));
    let total = total.and_then(|total| total.parse().ok()).filter(|total| *total > 0).unwrap_or(100);
    Some((weight.parse().ok()?, total))
}

/// Canary Ingresses that the Rollout made and that are not among those wanted now.
fn no_longer_desired<'a>(view: &View<'a>, config: &Config<'_>) -> Vec<&'a Object> {
    let wanted: Vec<Key> = config.stable.iter().map(|name| canary_key(&view.at, name)).collect();
    let ours = view.objects.iter().filter(|(key, object)| {
        key.kind == kind() && !wanted.contains(key) && view.controls(object) && weight_of(object).is_some()
    });
    ours.map(|(_, object)| &**object).collect()
}

/// The change that takes the traffic of a canary Ingress away; nothing when it gets none.
fn with_weight_zero(canary: &Object) -> Option<Change> {
    let (weight, _) = weight_of(canary)?;
    if weight == 0 {
        return None;
    }
    let (key, _) = canary.meta.annotations.iter().find(|(key, _)| key.ends_with("/canary-weight"))?;
    let mut document = canary.to_value();
    annotate(&mut document, key, Some("0"));
    let told = format!("Updating Ingress `{}` to desiredWeight '0'", canary.meta.name);
    become_if_new(canary, document).map(|change| change.telling("PatchingCanaryIngress", told))
}

#[cfg(test)]
mod tests;
