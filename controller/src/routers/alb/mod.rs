//! AWS Load Balancer Controller: the share of each Service stands in an annotation of an Ingress that the user made, a
//! forward action; a header route is a second action with conditions, and a path that leads to it.
//!
//! Which annotations are ours is noted in one more annotation, by Rollout: an Ingress may serve several.

mod action;
mod bookkeeping;
mod clean_up;
mod elb;
mod headers;
pub mod registration;
#[cfg(test)]
mod tests;
pub mod verify;
mod xml;

use serde_json::Value;
use tidegate_api::object::{Key, Kind, Object};

use self::action::{Group, Stickiness};
use self::bookkeeping::Bookkeeping;
use super::document::{annotate, at, become_if_new, list, share, text, trouble, weight};
use super::{Change, Names, Place, Reads, Router, Settings, Trouble, View, Want};

/// Application Load Balancers through Ingresses.
pub struct Alb;

impl Router for Alb {
    fn name(&self) -> &'static str {
        "alb"
    }

    fn reads(&self, at: &Place<'_>) -> Vec<Reads> {
        let ingresses = Config::read(at).ingresses;
        let ingresses = ingresses.into_iter().map(|name| Reads::One(key(at, name)));
        ingresses.chain(registration::reads(at.namespace(), at.settings)).collect()
    }

    fn verifies(&self, settings: &Settings) -> bool {
        settings.verify_target_groups
    }

    fn verification(
        &self,
        view: &View<'_>,
        want: &Want<'_>,
        is_moving: bool,
    ) -> Option<verify::Verification> {
        let is_on = view.at.settings.verify_target_groups;
        verify::weights(view, want).or_else(|| (is_on && is_moving).then(|| verify::begin(view, want)))
    }

    fn route(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        let config = Config::read(&view.at);
        if config.ingresses.is_empty() {
            return Err(Trouble::of_config(
                "Either Ingress or Ingresses must be configured. Both/Neither are configured.",
            ));
        }
        let mut changes = Vec::new();
        // ARGO: an Ingress that is right already ends the whole operation in the reference, so that later ones are
        // never written (Q5).
        for name in &config.ingresses {
            let object = view.get(&key(&view.at, name))?;
            changes.extend(ingress_change(view, want, &config, object)?);
        }
        Ok(changes)
    }

    fn shown(&self, view: &View<'_>) -> Option<i64> {
        let config = Config::read(&view.at);
        let names = view.names(true);
        let shown = |name: &&str| {
            let object = view.objects.get(&key(&view.at, name))?;
            let action = object.meta.annotations.get(&config.action_key(config.root))?;
            let action: Value = serde_json::from_str(action).ok()?;
            let groups = list(&action, &["ForwardConfig", "TargetGroups"]);
            let parts = |group: &Value| weight(&group["Weight"]).unwrap_or(0).max(0);
            let total = groups.iter().map(parts).fold(0, i64::saturating_add);
            let canary = groups.iter().filter(|group| text(group, &["ServiceName"]) == &*names.canary);
            Some(share(canary.map(parts).fold(0, i64::saturating_add), total, view.at.routing.whole()))
        };
        config.ingresses.iter().filter_map(shown).max()
    }

    fn clean_up(&self, object: &Object, is_user: &dyn Fn(&str) -> bool) -> Option<Change> {
        let is_ingress = object.kind == kind();
        if is_ingress { clean_up::clean_up(object, is_user) } else { None }
    }
}

fn kind() -> Kind {
    Kind::new("networking.k8s.io/v1", "Ingress")
}

fn key(at: &Place<'_>, name: &str) -> Key {
    Key::new(kind(), at.namespace().clone(), name)
}

/// What the Rollout says about its Ingresses.
struct Config<'a> {
    /// Each Ingress once, in the order of the list.
    ingresses: Vec<&'a str>,
    /// The Service in whose place the action stands.
    root: &'a str,
    port: String,
    prefix: &'a str,
    stickiness: Stickiness,
}

impl<'a> Config<'a> {
    fn read(at: &Place<'a>) -> Config<'a> {
        let config: &'a Value = &at.stanza.config;
        let mut ingresses = Vec::new();
        let many = list(config, &["ingresses"]).iter().filter_map(Value::as_str);
        for name in [text(config, &["ingress"])].into_iter().chain(many) {
            if !name.is_empty() && !ingresses.contains(&name) {
                ingresses.push(name);
            }
        }
        Config {
            ingresses,
            root: match text(config, &["rootService"]) {
                "" => &at.canary.stable_service,
                root => root,
            },
            port: config["servicePort"].as_i64().unwrap_or(0).to_string(),
            prefix: match text(config, &["annotationPrefix"]) {
                "" => "alb.ingress.kubernetes.io",
                prefix => prefix,
            },
            stickiness: Stickiness::read(&config["stickinessConfig"]),
        }
    }

    fn action_key(&self, name: &str) -> String {
        format!("{}/actions.{name}", self.prefix)
    }

    fn conditions_key(&self, name: &str) -> String {
        format!("{}/conditions.{name}", self.prefix)
    }
}

/// What one Ingress needs.
fn ingress_change(
    view: &View<'_>,
    want: &Want<'_>,
    config: &Config<'_>,
    object: &Object,
) -> Result<Option<Change>, Trouble> {
    let key = object.key();
    let mut document = object.to_value();
    if !paths(&document).any(|path| service_of(path) == config.root) {
        let what = format!("ingress does not have service `{}` in rules", config.root);
        return Err(trouble(&key, "spec.rules", what));
    }
    let names = view.names(true);
    let sticky = config.stickiness.check().map_err(Trouble::of_config)?;
    let action = action::forward(&groups(&names, want, &config.port), sticky);
    let own = config.action_key(config.root);
    let is_weight_new = object.meta.annotations.get(&own).map(|text| &**text) != Some(action.as_str());
    annotate(&mut document, &own, Some(&action));
    let mut books = Bookkeeping::read(object)
        .map_err(|what| trouble(&key, &format!("metadata.annotations[{}]", bookkeeping::KEY), what))?;
    books.add(&view.at.rollout.meta.name, &own);
    let only_canary = [Group { service: &names.canary, port: &config.port, weight: 100 }];
    let headers =
        headers::Headers { view, config, wanted: want.routes, action: action::forward(&only_canary, sticky) };
    let told = headers.edit(&mut document, &mut books);
    books.write(&mut document);
    Ok(become_if_new(object, document).map(|mut change| {
        let name = &object.meta.name;
        if is_weight_new {
            let told = format!("Updating Ingress `{name}` to desiredWeight '{}'", want.percent());
            change = change.telling("PatchingALBIngress", told);
        }
        told.iter().fold(change, |change, told| {
            change.telling("PatchingALBIngress", format!("Updating Ingress `{name}` {told}"))
        })
    }))
}

/// Canary, arms, stable: the order of the reference.
fn groups<'a>(names: &'a Names, want: &Want<'a>, port: &'a str) -> Vec<Group<'a>> {
    let group = |service: &'a str, weight: i64| Group { service, port, weight };
    let arms = want.arms.iter().map(|arm| group(&arm.service, super::percent(arm.weight, want.whole)));
    let mut groups = vec![group(&names.canary, want.percent())];
    groups.extend(arms);
    groups.push(group(&names.stable, want.stable_percent()));
    groups
}

/// Every path of every rule.
fn paths(document: &Value) -> impl Iterator<Item = &Value> {
    list(document, &["spec", "rules"]).iter().flat_map(|rule| list(rule, &["http", "paths"]))
}

/// The Service that a path leads to; empty when it leads to none.
fn service_of(path: &Value) -> &str {
    at(path, &["backend", "service", "name"]).as_str().unwrap_or_default()
}
