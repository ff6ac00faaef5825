//! Which routes of a VirtualService are weighted, and whether they can be.

use serde_json::Value;

use super::config::{VirtualService, sorted, texts};
use super::destinations::Sides;
use super::name;

const NO_ROUTES: &str = "Unable to get any of the HTTP, TCP or TLS routes for the Istio VirtualService";

/// The sections of a VirtualService.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// `spec.http`.
    Http,
    /// `spec.tls`.
    Tls,
    /// `spec.tcp`.
    Tcp,
}

impl Protocol {
    /// All, in the order in which they are treated.
    pub const ALL: [Protocol; 3] = [Protocol::Http, Protocol::Tls, Protocol::Tcp];

    /// As messages call it.
    pub fn title(self) -> &'static str {
        match self {
            Protocol::Http => "HTTP",
            Protocol::Tls => "TLS",
            Protocol::Tcp => "TCP",
        }
    }

    /// Where its routes stand.
    pub fn place(self) -> &'static str {
        match self {
            Protocol::Http => "spec.http",
            Protocol::Tls => "spec.tls",
            Protocol::Tcp => "spec.tcp",
        }
    }

    fn section(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Tls => "tls",
            Protocol::Tcp => "tcp",
        }
    }

    /// The field of a Rollout that names routes of this protocol.
    fn field(self) -> &'static str {
        match self {
            Protocol::Http => "routes",
            Protocol::Tls => "tlsRoutes",
            Protocol::Tcp => "tcpRoutes",
        }
    }

    /// The routes of this protocol; nothing when there are none.
    pub fn routes(self, document: &Value) -> Option<&Vec<Value>> {
        let routes = document.get("spec")?.get(self.section())?.as_array()?;
        (!routes.is_empty()).then_some(routes)
    }

    /// The same, to be changed.
    pub fn routes_mut(self, document: &mut Value) -> Option<&mut Vec<Value>> {
        let routes = document.get_mut("spec")?.get_mut(self.section())?.as_array_mut()?;
        (!routes.is_empty()).then_some(routes)
    }

    fn ambiguous(self) -> String {
        let (section, field) = (self.section(), self.field());
        format!(
            "spec.{section}[] should be set in VirtualService and it must have exactly one route when omitting \
             spec.strategy.canary.trafficRouting.istio.virtualService.{field}"
        )
    }
}

/// What keeps the VirtualService from being weighted: at most one thing a protocol.
pub(super) fn all_problems(
    document: &Value,
    wanted: &VirtualService<'_>,
    sides: &Sides,
    is_managed: &dyn Fn(&str) -> bool,
) -> Vec<(Option<Protocol>, String)> {
    let mut problems = Vec::new();
    let mut is_empty = true;
    for protocol in Protocol::ALL {
        let Some(routes) = protocol.routes(document) else { continue };
        is_empty = false;
        if let Err(message) = shape_of(protocol, routes, wanted, sides, is_managed) {
            problems.push((Some(protocol), message));
        }
    }
    if is_empty {
        problems.push((None, NO_ROUTES.to_owned()));
    }
    problems
}

fn shape_of(
    protocol: Protocol,
    routes: &[Value],
    wanted: &VirtualService<'_>,
    sides: &Sides,
    is_managed: &dyn Fn(&str) -> bool,
) -> Result<(), String> {
    for index in weighted(protocol, routes, wanted, is_managed)? {
        if let Some(missing) = sides.missing(&routes[index]) {
            return Err(missing);
        }
    }
    let users = routes.iter().filter(|route| protocol != Protocol::Http || !is_managed(name(route)));
    let names_some = match protocol {
        Protocol::Http => !wanted.routes.is_empty(),
        Protocol::Tls => !wanted.tls.is_empty(),
        Protocol::Tcp => !wanted.tcp.is_empty(),
    };
    if !names_some && users.count() > 1 { Err(protocol.ambiguous()) } else { Ok(()) }
}

/// Places of the routes that are weighted. Managed routes are never among them.
pub(super) fn weighted(
    protocol: Protocol,
    routes: &[Value],
    wanted: &VirtualService<'_>,
    is_managed: &dyn Fn(&str) -> bool,
) -> Result<Vec<usize>, String> {
    match protocol {
        Protocol::Http => http(routes, &wanted.routes, is_managed),
        Protocol::Tls => {
            let is_like = |route: &Value, wanted: &super::config::TlsRoute<'_>| {
                only_port(route) == Some(wanted.port) && sni_hosts(route) == wanted.hosts
            };
            by_match(protocol, routes, &wanted.tls, &is_like)
        }
        Protocol::Tcp => {
            by_match(protocol, routes, &wanted.tcp, &|route, port| only_port(route) == Some(*port))
        }
    }
}

/// HTTP routes by name; without names the only one of the user, or the first without a name.
// ARGO: the reference counts mirror and header routes that it made itself among the user's, so that with one of them
// the user's own route keeps its weights (Q6).
pub(super) fn http(
    routes: &[Value],
    names: &[&str],
    is_managed: &dyn Fn(&str) -> bool,
) -> Result<Vec<usize>, String> {
    let users: Vec<usize> = (0..routes.len())
        .filter(|&index| routes[index].is_object() && !is_managed(name(&routes[index])))
        .collect();
    if names.is_empty() {
        let unnamed = users.iter().find(|&&index| name(&routes[index]).is_empty());
        let chosen = if let [only] = users[..] { Some(only) } else { unnamed.copied() };
        // ARGO: the reference changes nothing and says nothing when no route is found (Q6).
        return chosen.map(|index| vec![index]).ok_or_else(|| Protocol::Http.ambiguous());
    }
    let mut found = Vec::new();
    for wanted in names.iter().filter(|name| !is_managed(name)) {
        match users.iter().find(|&&index| name(&routes[index]) == *wanted) {
            Some(&index) if !found.contains(&index) => found.push(index),
            Some(_) => {}
            None => {
                return Err(format!("HTTP Route '{wanted}' is not found in the defined Virtual Service."));
            }
        }
    }
    if found.is_empty() { Err(Protocol::Http.ambiguous()) } else { Ok(found) }
}

/// TLS and TCP routes by what they match; without any the first.
fn by_match<T>(
    protocol: Protocol,
    routes: &[Value],
    wanted: &[T],
    is_like: &dyn Fn(&Value, &T) -> bool,
) -> Result<Vec<usize>, String> {
    if wanted.is_empty() {
        return Ok(vec![0]);
    }
    let is_wanted = |route: &Value| wanted.iter().any(|wanted| is_like(route, wanted));
    let found: Vec<usize> = (0..routes.len()).filter(|&index| is_wanted(&routes[index])).collect();
    match found.is_empty() {
        true => {
            let title = protocol.title();
            Err(format!("No matching {title} routes found in the defined Virtual Service."))
        }
        false => Ok(found),
    }
}

fn matches(route: &Value) -> impl Iterator<Item = &Value> {
    route.get("match").and_then(Value::as_array).into_iter().flatten()
}

/// The port that all matches agree on; 0 when none names one, nothing when they differ.
fn only_port(route: &Value) -> Option<i64> {
    let mut ports = matches(route).filter_map(|entry| entry.get("port")).filter_map(Value::as_i64);
    let first = ports.next().unwrap_or(0);
    ports.all(|port| port == first).then_some(first)
}

/// The hosts of all matches together, each once.
fn sni_hosts(route: &Value) -> Vec<&str> {
    sorted(matches(route).filter_map(|entry| entry.get("sniHosts")).flat_map(texts).collect())
}
