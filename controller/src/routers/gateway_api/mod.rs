//! Gateway API: weights of backends in HTTPRoutes, GRPCRoutes, TCPRoutes and TLSRoutes.
//!
//! Whoever serves the routes (Envoy Gateway, Cilium, Kong, Linkerd, Traefik, …) the documents are the same, so this
//! one router reaches all of them. It is configured as the plugin of that name is, which is not needed.

mod backends;
mod config;
mod evidence;
mod header_rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::Object;
use tidegate_api::traffic::GATEWAY_API;

use self::backends::Split;
use self::config::{Config, Route};
use self::header_rules::Managed;
use super::document::{at, become_if_new, list, list_mut, set, trouble};
use super::{Change, Evidence, Place, Reads, Router, Trouble, View, Want};
use crate::sabotage::Sabotage;

/// Routes of Gateway API.
pub struct GatewayApi;

impl Router for GatewayApi {
    fn name(&self) -> &'static str {
        "gatewayAPI"
    }

    fn plugin(&self) -> Option<&'static str> {
        Some(GATEWAY_API)
    }

    fn reads(&self, at: &Place<'_>) -> Vec<Reads> {
        Config::read(at).reads()
    }

    fn route(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        let config = Config::read(&view.at);
        let routes = config.routes(view)?;
        if routes.is_empty() {
            return Err(Trouble::of_config(config::NO_ROUTES));
        }
        let mut changes = Vec::new();
        for (route, object) in routes {
            let change = Edited { view, want, config: &config, route: &route }.change(object);
            changes.extend(change.map_err(|message| trouble(&route.key, "spec.rules", message))?);
        }
        Ok(changes)
    }

    fn shown(&self, view: &View<'_>) -> Option<i64> {
        let names = view.names(true);
        let managed = Managed::of(view, &[]);
        let routes = Config::read(&view.at).routes_that_exist(view);
        let shown = |(route, object): &(Route, &Arc<Object>)| {
            let document = object.to_value();
            let rules = list(&document, &["spec", "rules"]).iter();
            let rules = rules.filter(|rule| !managed.is_made(route.protocol, rule));
            rules.filter_map(|rule| backends::shown(rule, &names, view.at.routing.whole())).max()
        };
        routes.iter().filter_map(shown).max()
    }

    fn evidence(&self, view: &View<'_>, _want: &Want<'_>) -> Evidence {
        let routes = Config::read(&view.at).routes_that_exist(view);
        evidence::of_all(routes.iter().map(|(_, object)| &***object))
    }
}

/// One route on its way to what is wanted.
struct Edited<'a> {
    view: &'a View<'a>,
    want: &'a Want<'a>,
    config: &'a Config<'a>,
    route: &'a Route,
}

impl Edited<'_> {
    fn change(&self, object: &Object) -> Result<Option<Change>, String> {
        let names = self.view.names(true);
        let managed = Managed::of(self.view, self.want.routes);
        let protocol = self.route.protocol;
        let before = object.to_value();
        let mut after = before.clone();
        let not_found = || protocol.not_found().to_owned();
        let rules = list_mut(&mut after, &["spec", "rules"]).ok_or_else(not_found)?;
        let split = Split { view: self.view, want: self.want, names: &names };
        let mut is_found = false;
        for rule in rules.iter_mut().filter(|rule| !managed.is_made(protocol, rule)) {
            is_found |= split.apply(rule);
        }
        if !is_found {
            return Err(not_found());
        }
        let mut notices = Vec::new();
        if after != before {
            notices.push(format!("set to desiredWeight '{}'", self.want.weight));
        }
        if self.route.uses_headers && protocol.has_headers() {
            let rules = list_mut(&mut after, &["spec", "rules"]).ok_or_else(not_found)?;
            managed.apply(protocol, rules, &names, &mut notices)?;
            let weighted = rules.iter().find(|rule| backends::has_both(rule, &names)).cloned();
            if let Some(weighted) = weighted.filter(|_| self.view.is_sabotaged(Sabotage::WeighHeaderRoutes)) {
                rules.iter_mut().for_each(|rule| rule["backendRefs"] = weighted["backendRefs"].clone());
            }
        }
        if let Some((key, value)) = &self.config.label {
            set_label(&mut after, key, (self.want.weight != 0).then_some(&**value));
        }
        let (kind, name) = (object.kind.name(), &object.meta.name);
        let tell = |change: Change, notice: String| {
            change.telling(&format!("Updated{kind}"), format!("{kind} `{name}` {notice}"))
        };
        Ok(become_if_new(object, after).map(|change| notices.into_iter().fold(change, tell)))
    }
}

/// Sets a label, or removes it; the last one takes the mapping with it.
fn set_label(document: &mut Value, key: &str, value: Option<&str>) {
    set(document, &["metadata", "labels"], key, value.map(Value::from));
    if at(document, &["metadata", "labels"]).as_object().is_some_and(|labels| labels.is_empty()) {
        set(document, &["metadata"], "labels", None);
    }
}
