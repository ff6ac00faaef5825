//! What a Rollout says about Istio.

use serde_json::Value;
use tidegate_api::object::{Key, Kind, Text};

use super::super::Place;

/// The group of both kinds.
pub(super) const GROUP: &str = "networking.istio.io";

/// `trafficRouting.istio`.
pub(super) struct Config<'a> {
    /// `virtualService`, or each of `virtualServices`.
    pub virtual_services: Vec<VirtualService<'a>>,
    /// `destinationRule`.
    pub rule: Option<Rule<'a>>,
}

/// One VirtualService with the routes in it that are weighted.
pub(super) struct VirtualService<'a> {
    /// The object.
    pub key: Key,
    /// `routes`: names of HTTP routes; the only one when there are none.
    pub routes: Vec<&'a str>,
    /// `tlsRoutes`.
    pub tls: Vec<TlsRoute<'a>>,
    /// `tcpRoutes`: their ports.
    pub tcp: Vec<i64>,
}

/// A TLS route as it is told from others.
pub(super) struct TlsRoute<'a> {
    /// `port`; 0 when it does not matter.
    pub port: i64,
    /// `sniHosts`, sorted, each once.
    pub hosts: Vec<&'a str>,
}

/// `destinationRule`.
pub(super) struct Rule<'a> {
    /// The object, in the namespace of the Rollout.
    pub key: Key,
    /// `canarySubsetName`.
    pub canary: &'a str,
    /// `stableSubsetName`.
    pub stable: &'a str,
}

impl<'a> Config<'a> {
    /// Reads what is there. What has the wrong type was refused before and counts as absent here.
    pub fn read(at: &Place<'a>) -> Config<'a> {
        let rule = &at.config()["destinationRule"];
        let rule = rule.is_object().then(|| Rule {
            key: Key::new(kind(at, "DestinationRule"), at.namespace().clone(), text(rule, "name")),
            canary: text(rule, "canarySubsetName"),
            stable: text(rule, "stableSubsetName"),
        });
        Config { virtual_services: virtual_services(at), rule }
    }
}

/// The VirtualServices in the order in which they are treated.
fn virtual_services<'a>(at: &Place<'a>) -> Vec<VirtualService<'a>> {
    let config = at.config();
    let entries: Vec<&'a Value> = match (&config["virtualService"], &config["virtualServices"]) {
        (Value::Null, several) => several.as_array().into_iter().flatten().collect(),
        (single, Value::Null) => vec![single],
        // Both: which of them is meant cannot be told. The check of the specification says so.
        _ => Vec::new(),
    };
    entries.into_iter().filter(|entry| entry.is_object()).map(|entry| virtual_service(at, entry)).collect()
}

fn virtual_service<'a>(at: &Place<'a>, entry: &'a Value) -> VirtualService<'a> {
    let (name, namespace) = parse_name(text(entry, "name"));
    let namespace = namespace.map_or_else(|| at.namespace().clone(), Text::from);
    let port = |route: &Value| route["port"].as_i64().unwrap_or(0);
    let list = |name: &str| entry[name].as_array().into_iter().flatten();
    VirtualService {
        key: Key::new(kind(at, "VirtualService"), namespace, name),
        routes: texts(&entry["routes"]),
        tls: list("tlsRoutes")
            .map(|route| TlsRoute { port: port(route), hosts: sorted(texts(&route["sniHosts"])) })
            .collect(),
        tcp: list("tcpRoutes").map(port).collect(),
    }
}

fn kind(at: &Place<'_>, name: &str) -> Kind {
    Kind::new(&format!("{GROUP}/{}", at.settings.istio_version), name)
}

/// `name.namespace`, with or without the cluster's domain; nothing for the namespace when it is not said.
pub(super) fn parse_name(reference: &str) -> (&str, Option<&str>) {
    let reference = reference.strip_suffix(".cluster.local").unwrap_or(reference);
    match reference.rsplit_once('.') {
        Some((name, namespace)) => (name, Some(namespace)),
        None => (reference, None),
    }
}

/// Each text once, in order.
pub(super) fn sorted(mut texts: Vec<&str>) -> Vec<&str> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// The texts in a list.
pub(super) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn text<'a>(mapping: &'a Value, name: &str) -> &'a str {
    mapping.get(name).and_then(Value::as_str).unwrap_or_default()
}
