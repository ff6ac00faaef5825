//! Istio: weights of destinations in VirtualServices, hashes in the subsets of a DestinationRule.
//!
//! Destinations are told apart by Service (two Services, no DestinationRule) or by subset (one host). Only the routes
//! that the Rollout names are weighted, all else in the objects is the user's and keeps its place.

mod config;
mod destination_rule;
mod destinations;
mod resolve;
mod routes;
#[cfg(test)]
mod tests;

use serde_json::Value;
use tidegate_api::object::{Key, Object, Text};

use self::config::{Config, VirtualService};
use self::destinations::Sides;
use self::resolve::{Protocol, all_problems, weighted};
use super::document::{become_if_new, trouble};
use super::{Change, ManagedRoute, Place, Reads, Router, Trouble, View, Want};
use crate::sabotage::Sabotage;

/// Istio's VirtualServices and DestinationRule.
pub struct Istio;

impl Router for Istio {
    fn name(&self) -> &'static str {
        "istio"
    }

    fn reads(&self, at: &Place<'_>) -> Vec<Reads> {
        let config = Config::read(at);
        let rule = config.rule.iter().map(|rule| rule.key.clone());
        config.virtual_services.iter().map(|wanted| wanted.key.clone()).chain(rule).map(Reads::One).collect()
    }

    fn route(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        let config = Config::read(&view.at);
        if config.virtual_services.is_empty() {
            return Err(Trouble::of_config("either VirtualService or VirtualServices must be configured"));
        }
        let sides = Sides::of(view, &config);
        let mut changes = Vec::new();
        for wanted in &config.virtual_services {
            let name = &wanted.key.name;
            let missing = |trouble: Trouble| {
                trouble.telling("VirtualServiceNotFound", format!("VirtualService `{name}` not found"))
            };
            let object = view.get(&wanted.key).map_err(missing)?;
            let change = Edited { view, want, wanted, sides: &sides }.change(object);
            changes.extend(change.map_err(|(at, message)| trouble(&wanted.key, at, message))?);
        }
        Ok(changes)
    }

    fn label(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        match &Config::read(&view.at).rule {
            Some(rule) => Ok(destination_rule::label(view, want, rule)?.into_iter().collect()),
            None => Ok(Vec::new()),
        }
    }

    fn shown(&self, view: &View<'_>) -> Option<i64> {
        let config = Config::read(&view.at);
        let sides = Sides::of(view, &config);
        let shown = |wanted: &VirtualService<'_>| {
            let document = view.objects.get(&wanted.key)?.to_value();
            let routes = shown_routes(&document, wanted, &sides, &|name| is_managed(view, &[], name));
            routes.iter().filter_map(|route| sides.shown(route, view.at.routing.whole())).max()
        };
        config.virtual_services.iter().filter_map(shown).max()
    }

    fn subsets(&self, at: &Place<'_>) -> Vec<Key> {
        Config::read(at).rule.map(|rule| rule.key).into_iter().collect()
    }

    fn labelled(&self, view: &View<'_>) -> Option<(Text, Text)> {
        let rule = Config::read(&view.at).rule?;
        let object = view.objects.get(&rule.key)?;
        Some((destination_rule::hash_of(object, rule.canary), destination_rule::hash_of(object, rule.stable)))
    }

    fn names_hashes(&self, view: &View<'_>) -> Vec<Text> {
        let rule = Config::read(&view.at).rule.and_then(|rule| view.objects.get(&rule.key));
        rule.map(|rule| destination_rule::hashes(rule)).unwrap_or_default()
    }

    fn clean_up(&self, object: &Object, is_user: &dyn Fn(&str) -> bool) -> Option<Change> {
        let is_rule = object.kind.name() == "DestinationRule" && object.kind.group() == config::GROUP;
        if is_rule { destination_rule::clean_up(object, is_user) } else { None }
    }
}

/// Whether an HTTP route is one that tidegate makes and removes.
fn is_managed(view: &View<'_>, wanted: &[ManagedRoute], name: &str) -> bool {
    let managed = view.at.routing.managed_routes.iter().flatten();
    !name.is_empty() && managed.chain(wanted.iter().map(|route| &route.name)).any(|known| &**known == name)
}

/// The routes whose destinations say how traffic is split: weighted ones, and copies of them beside a mirror. Where
/// the routes cannot be told, all that know both sides.
fn shown_routes<'d>(
    document: &'d Value,
    wanted: &VirtualService<'_>,
    sides: &Sides,
    is_managed: &dyn Fn(&str) -> bool,
) -> Vec<&'d Value> {
    let mut found = Vec::new();
    for protocol in Protocol::ALL {
        let Some(routes) = protocol.routes(document) else { continue };
        match weighted(protocol, routes, wanted, is_managed) {
            Ok(indexes) => found.extend(indexes.iter().map(|&index| &routes[index])),
            Err(_) => found.extend(routes.iter().filter(|route| sides.missing(route).is_none())),
        }
        found.extend(routes.iter().filter(|route| is_managed(name(route)) && route.get("mirror").is_some()));
    }
    found
}

/// `name` of a route; empty when it has none.
fn name(route: &Value) -> &str {
    route.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// One VirtualService on its way to what is wanted.
struct Edited<'a> {
    view: &'a View<'a>,
    want: &'a Want<'a>,
    wanted: &'a VirtualService<'a>,
    sides: &'a Sides,
}

impl Edited<'_> {
    /// An error names the field.
    fn change(&self, object: &Object) -> Result<Option<Change>, (&'static str, String)> {
        let is_managed = |name: &str| is_managed(self.view, self.want.routes, name);
        let before = object.to_value();
        // All protocols are checked before anything is edited.
        let problems = all_problems(&before, self.wanted, self.sides, &is_managed);
        if let Some((protocol, message)) = problems.into_iter().next() {
            return Err((protocol.map_or("spec", Protocol::place), message));
        }
        let mut after = before.clone();
        let mut notices = Vec::new();
        let mut is_split = false;
        let overlooks = self.view.is_sabotaged(Sabotage::OverlookNamed);
        for protocol in Protocol::ALL {
            let Some(routes) = protocol.routes_mut(&mut after).filter(|_| !overlooks) else { continue };
            let chosen = weighted(protocol, routes, self.wanted, &is_managed);
            for index in chosen.map_err(|message| (protocol.place(), message))? {
                is_split |= self.sides.split(&mut routes[index], self.want);
            }
        }
        if is_split {
            notices.push(format!("set to desiredWeight '{}'", self.want.percent()));
        }
        let managed = self.managed(&mut after, &is_managed, &mut notices);
        managed.map_err(|message| (Protocol::Http.place(), message))?;
        let name = &object.meta.name;
        let tell = |change: Change, notice: String| {
            change.telling("Updated VirtualService", format!("VirtualService `{name}` {notice}"))
        };
        Ok(become_if_new(object, after).map(|change| notices.into_iter().fold(change, tell)))
    }

    /// Puts the managed routes that are wanted first, in their order, and leaves all others as they stand.
    // ARGO: the reference joins the two lists by name, so that k routes without one come out k² times (Q9).
    fn managed(
        &self,
        document: &mut Value,
        is_managed: &dyn Fn(&str) -> bool,
        notices: &mut Vec<String>,
    ) -> Result<(), String> {
        let Some(routes) = Protocol::Http.routes_mut(document) else {
            return if self.want.routes.is_empty() { Ok(()) } else { Err("spec.http not found".to_owned()) };
        };
        let user = weighted(Protocol::Http, routes, self.wanted, is_managed)?;
        let primary = user.first().map_or(&Value::Null, |&index| &routes[index]);
        let mut made = Vec::new();
        for wanted in self.want.routes {
            let existing = routes.iter().find(|route| name(route) == &*wanted.name);
            let Some(route) = routes::build(wanted, existing, primary, self.sides)? else { continue };
            if existing != Some(&route) {
                let what = if wanted.is_mirror { "mirrorRoute" } else { "headerRoute" };
                notices.push(format!("set {what} '{}'", wanted.name));
            }
            made.push(route);
        }
        let is_gone =
            |route: &&Value| is_managed(name(route)) && !made.iter().any(|m| name(m) == name(route));
        match routes.iter().filter(is_gone).count() {
            0 => {}
            _ if made.is_empty() => notices.push("removed all managed routes.".to_owned()),
            n => notices.push(format!("removed {n} managed routes.")),
        }
        if self.view.is_sabotaged(Sabotage::AddRoutesAgain) {
            made.extend(made.clone());
        }
        let users = std::mem::take(routes).into_iter().filter(|route| !is_managed(name(route)));
        made.extend(users);
        *routes = made;
        Ok(())
    }
}

/// The VirtualServices that a Rollout names, in order.
pub(super) fn virtual_services(at: &Place<'_>) -> Vec<Key> {
    Config::read(at).virtual_services.into_iter().map(|wanted| wanted.key).collect()
}

/// What keeps VirtualServices that are there from being weighted: the object, the protocol and what is wrong.
pub(super) fn shape_problems(view: &View<'_>) -> Vec<(Key, Option<&'static str>, String)> {
    let config = Config::read(&view.at);
    let sides = Sides::of(view, &config);
    let is_managed = |name: &str| is_managed(view, &[], name);
    let mut problems = Vec::new();
    for wanted in &config.virtual_services {
        let Some(object) = view.objects.get(&wanted.key) else { continue };
        for (protocol, message) in all_problems(&object.to_value(), wanted, &sides, &is_managed) {
            problems.push((wanted.key.clone(), protocol.map(Protocol::title), message));
        }
    }
    problems
}
