//! What a Rollout says about routes of Gateway API.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Key, Kind, Object, Selector, Text};

use super::super::{Place, Reads, Trouble, View};

/// The text of the reference's plugin.
pub(super) const NO_ROUTES: &str = "No routes configured. At least one of 'httpRoutes', 'grpcRoutes', 'tcpRoutes', \
                                    'tlsRoutes', 'httpRoute', 'grpcRoute', 'tcpRoute' or 'tlsRoute' must be set";
const GROUP: &str = "gateway.networking.k8s.io";
const GROUP_LINKERD: &str = "policy.linkerd.io";
/// The newest version of Linkerd's own HTTPRoute. An older one would lose fields on the way.
const VERSION_LINKERD: &str = "v1beta3";
const LABEL_KEY: &str = "rollouts.argoproj.io/gatewayapi-canary";
const LABEL_VALUE: &str = "in-progress";

/// The kinds of routes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Http,
    Grpc,
    Tcp,
    Tls,
}

impl Protocol {
    /// All, in the order in which they are treated.
    const ALL: [Protocol; 4] = [Protocol::Http, Protocol::Grpc, Protocol::Tcp, Protocol::Tls];

    /// As fields of the configuration begin.
    fn prefix(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
            Protocol::Tcp => "tcp",
            Protocol::Tls => "tls",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Protocol::Http => "HTTPRoute",
            Protocol::Grpc => "GRPCRoute",
            Protocol::Tcp => "TCPRoute",
            Protocol::Tls => "TLSRoute",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Protocol::Http | Protocol::Grpc => "v1",
            Protocol::Tcp | Protocol::Tls => "v1alpha2",
        }
    }

    /// Whether its rules can match headers.
    pub fn has_headers(self) -> bool {
        matches!(self, Protocol::Http | Protocol::Grpc)
    }

    /// What is said when no rule has both sides.
    pub fn not_found(self) -> &'static str {
        match self {
            Protocol::Http => "backendRef was not found in httpRoute",
            Protocol::Grpc => "backendRef was not found in grpcRoute",
            Protocol::Tcp => "backendRef list was not found in tcpRoute",
            Protocol::Tls => "backendRef list was not found in tlsRoute",
        }
    }
}

/// The configuration of the plugin.
pub(super) struct Config<'a> {
    namespace: Text,
    named: Vec<Route>,
    selected: Vec<(Protocol, Arc<Selector>)>,
    /// The label that a route has while the canary gets traffic; nothing when it is not wanted.
    pub label: Option<(&'a str, String)>,
}

/// One route that is configured.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Route {
    pub key: Key,
    pub protocol: Protocol,
    /// Whether header routes are made in it.
    pub uses_headers: bool,
}

impl<'a> Config<'a> {
    /// Reads what is there. What has the wrong type was refused before and counts as absent here.
    pub fn read(at: &Place<'a>) -> Config<'a> {
        let config = at.config();
        let text = |name: &str| config[name].as_str().filter(|text| !text.is_empty());
        let namespace = text("namespace").map_or_else(|| at.namespace().clone(), Text::from);
        let mut named: Vec<Route> = Vec::new();
        let mut selected = Vec::new();
        for protocol in Protocol::ALL {
            let prefix = protocol.prefix();
            let listed = config[format!("{prefix}Routes")].as_array().into_iter().flatten();
            let routes = listed.filter_map(|entry| from_entry(protocol, entry, &namespace));
            let single = text(&format!("{prefix}Route")).map(|name| Route {
                key: Key::new(kind(protocol, GROUP, protocol.version()), namespace.clone(), name),
                protocol,
                uses_headers: true,
            });
            for route in routes.chain(single) {
                match named.iter_mut().find(|known| known.key == route.key) {
                    Some(known) => known.uses_headers |= route.uses_headers,
                    None => named.push(route),
                }
            }
            let selector = &config[format!("{prefix}RouteSelector")];
            if selector.is_object() {
                selected.push((protocol, Arc::new(Selector::from_value(Arc::new(selector.clone())))));
            }
        }
        let is_disabled = config["disableInProgressLabel"].as_bool().unwrap_or(false);
        let label = (!is_disabled).then(|| {
            let value = text("inProgressLabelValue").unwrap_or(LABEL_VALUE);
            (text("inProgressLabelKey").unwrap_or(LABEL_KEY), value.to_owned())
        });
        Config { namespace, named, selected, label }
    }

    /// What is to be watched.
    pub fn reads(&self) -> Vec<Reads> {
        let named = self.named.iter().map(|route| Reads::One(route.key.clone()));
        let selected = self.selected.iter().map(|(protocol, selector)| {
            let kind = kind(*protocol, GROUP, protocol.version());
            Reads::Matching(kind, self.namespace.clone(), selector.clone())
        });
        named.chain(selected).collect()
    }

    /// All routes by kind, named ones first; trouble when a named one is missing.
    pub fn routes<'v>(&self, view: &View<'v>) -> Result<Vec<(Route, &'v Arc<Object>)>, Trouble> {
        for route in &self.named {
            view.get(&route.key)?;
        }
        Ok(self.routes_that_exist(view))
    }

    /// The same without those that are missing.
    pub fn routes_that_exist<'v>(&self, view: &View<'v>) -> Vec<(Route, &'v Arc<Object>)> {
        let mut found = Vec::new();
        for protocol in Protocol::ALL {
            let named = self.named.iter().filter(|route| route.protocol == protocol);
            found.extend(named.filter_map(|route| Some((route.clone(), view.objects.get(&route.key)?))));
            let kind = kind(protocol, GROUP, protocol.version());
            let selectors = || self.selected.iter().filter(|(of, _)| *of == protocol);
            let is_selected = |object: &Object| {
                object.kind == kind
                    && object.meta.namespace == self.namespace
                    && selectors().any(|(_, selector)| selector.matches(&object.meta.labels))
            };
            for (key, object) in view.objects.iter().filter(|(_, object)| is_selected(object)) {
                if !self.named.iter().any(|route| route.key == *key) {
                    found.push((Route { key: key.clone(), protocol, uses_headers: false }, object));
                }
            }
        }
        found
    }
}

/// An entry of a list of routes. `group` and `version` are ours: the reference serves one group only.
fn from_entry(protocol: Protocol, entry: &Value, namespace: &Text) -> Option<Route> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let group = text("group").unwrap_or(GROUP);
    let usual = if group == GROUP_LINKERD { VERSION_LINKERD } else { protocol.version() };
    Some(Route {
        key: Key::new(
            kind(protocol, group, text("version").unwrap_or(usual)),
            namespace.clone(),
            text("name")?,
        ),
        protocol,
        uses_headers: entry.get("useHeaderRoutes").and_then(Value::as_bool).unwrap_or(false),
    })
}

fn kind(protocol: Protocol, group: &str, version: &str) -> Kind {
    Kind::new(&format!("{group}/{version}"), protocol.kind())
}
