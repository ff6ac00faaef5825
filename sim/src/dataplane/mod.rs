//! What proxies make of the objects that route traffic.
//!
//! A router's controller writes weights into Ingresses, VirtualServices or HTTPRoutes; what users feel is what the
//! proxies do with them, a little later. One file a router reads its objects the way the real proxy does and says where
//! requests go: [`Door`]s, each with its [`Entry`]s. Nothing here knows what a rollout wants, and nothing here shares
//! code with the routers of the controller: a mistake there must show here.
//!
//! [`applied`] holds which version of each object every proxy serves by now, and [`flow`] follows requests from doors
//! through Services to pods.

pub mod alb;
pub mod ambassador;
pub mod apisix;
pub mod applied;
pub mod claims;
pub mod elb;
pub mod flow;
pub mod gateway;
pub mod istio;
pub mod nginx;
pub mod smi;
#[cfg(test)]
mod tests;
pub mod traefik;

use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Body, Key, Kind, Object, Strings, Text};

/// A place where requests come in, and where they go from there.
#[derive(Clone, PartialEq, Debug)]
pub struct Door {
    /// The object that says so.
    pub at: Key,
    /// Which of its routes.
    pub route: String,
    /// Where requests go.
    pub entries: Vec<Entry>,
    /// Without an endpoint behind each of these nobody is served, whatever the weights say.
    pub needs: Vec<Backend>,
    /// Requests for a backend without an endpoint go to the first that the door needs.
    pub falls_back: bool,
    /// Users stay where they once were sent, for so many seconds; for their whole session when 0.
    pub sticky: Option<i64>,
}

/// One destination of a route.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Where to.
    pub backend: Backend,
    /// Parts of the requests.
    pub parts: i64,
    /// Parts that make the whole.
    pub of: i64,
    /// Which requests.
    pub rule: Rule,
}

/// Which requests an entry is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Its share of all that come through the door.
    Weight,
    /// Only those that carry certain headers.
    Headers,
    /// Copies whose answers nobody sees.
    Mirror,
}

/// Where an entry points.
#[derive(Clone, PartialEq, Debug)]
pub enum Backend {
    /// The endpoints of a Service.
    Service(Key),
    /// Those endpoints of a Service that carry these labels.
    Subset(Key, Strings),
    /// Nowhere, and why; with the Service that was meant.
    Lost(Key, Text),
    /// Nowhere, and why.
    Nothing(Text),
}

impl Backend {
    /// The Service behind which the endpoints are.
    pub fn service(&self) -> Option<&Key> {
        match self {
            Backend::Service(key) | Backend::Subset(key, _) | Backend::Lost(key, _) => Some(key),
            Backend::Nothing(_) => None,
        }
    }
}

/// A kind of proxy: which objects it serves by, and how it reads them.
pub struct Proxy {
    /// Its name in scenarios: that of the router.
    pub name: &'static str,
    /// Whether it serves by this object.
    pub owns: fn(&Object) -> bool,
    /// Where requests go by these objects; they are its own, in the order of their keys.
    pub read: fn(&[Arc<Object>]) -> Vec<Door>,
}

/// Every kind of proxy.
pub const ALL: &[Proxy] = &[
    Proxy { name: "istio", owns: istio::owns, read: istio::read },
    Proxy { name: "nginx", owns: nginx::owns, read: nginx::read },
    Proxy { name: "alb", owns: alb::owns, read: alb::read },
    Proxy { name: "smi", owns: smi::owns, read: smi::read },
    Proxy { name: "ambassador", owns: ambassador::owns, read: ambassador::read },
    Proxy { name: "traefik", owns: traefik::owns, read: traefik::read },
    Proxy { name: "apisix", owns: apisix::owns, read: apisix::read },
    Proxy { name: "gateway", owns: gateway::owns, read: gateway::read },
];

/// The proxy that serves by an object; nothing for objects that route nothing.
pub fn proxy_of(object: &Object) -> Option<&'static Proxy> {
    match object.kind {
        Kind::Other { .. } => ALL.iter().find(|proxy| (proxy.owns)(object)),
        _ => None,
    }
}

impl Door {
    fn new(at: &Object, route: impl Into<String>, entries: Vec<Entry>) -> Door {
        Door {
            at: at.key(),
            route: route.into(),
            entries,
            needs: Vec::new(),
            falls_back: false,
            sticky: None,
        }
    }

    /// Whether only requests with certain headers come through.
    pub fn is_for_headers(&self) -> bool {
        let mut served = self.entries.iter().filter(|entry| entry.rule != Rule::Mirror).peekable();
        served.peek().is_some() && served.all(|entry| entry.rule == Rule::Headers)
    }
}

impl Entry {
    fn mirror(backend: Backend, percent: i64) -> Entry {
        Entry { backend, parts: percent, of: 100, rule: Rule::Mirror }
    }
}

/// Destinations with relative weights, as nearly all proxies take them. Weights that add up to nothing serve nobody.
fn weighted(rule: Rule, destinations: Vec<(Backend, i64)>) -> Vec<Entry> {
    let of: i64 = destinations.iter().map(|(_, weight)| (*weight).max(0)).sum();
    if of == 0 && !destinations.is_empty() {
        let meant = destinations.iter().find_map(|(backend, _)| backend.service());
        let why = Text::from("all weights are 0");
        let backend = meant.map_or(Backend::Nothing(why.clone()), |key| Backend::Lost(key.clone(), why));
        return vec![Entry { backend, parts: 1, of: 1, rule }];
    }
    let entry = |(backend, weight): (Backend, i64)| Entry { backend, parts: weight.max(0), of, rule };
    destinations.into_iter().map(entry).collect()
}

fn service(namespace: &Text, name: &str) -> Key {
    Key::new(Kind::Service, namespace.clone(), name)
}

/// The Service behind a name of the cluster: `web`, `web.shop`, `web.shop.svc.cluster.local`.
fn service_of_host(namespace: &Text, host: &str) -> Key {
    let mut parts = host.split('.');
    let name = parts.next().unwrap_or("");
    match parts.next() {
        Some(other) => Key::new(Kind::Service, other, name),
        None => service(namespace, name),
    }
}

fn is(object: &Object, group: &str, name: &str) -> bool {
    object.kind.name() == name && object.kind.group() == group
}

fn spec(object: &Object) -> &Value {
    match &object.body {
        Body::Other(document) => &document["spec"],
        _ => &Value::Null,
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

/// A number, also one that is written as text.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Whether all requests that a route matches must carry headers. `matches` is its list of conditions.
fn needs_headers(matches: &[Value]) -> bool {
    let has = |condition: &Value| match &condition["headers"] {
        Value::Array(headers) => !headers.is_empty(),
        Value::Object(headers) => !headers.is_empty(),
        _ => false,
    };
    !matches.is_empty() && matches.iter().all(has)
}
