//! Rules about routers, each by itself. What concerns the strategy as a whole stands with the canary and its steps.
//!
//! Types of the fields, and those that must be there, are the schema's business. The configuration of a plugin is in
//! no schema, so that of Gateway API is read here.

use serde_json::Value;

use super::field::{Field, Findings};
use crate::problem::{Problem, ProblemKind};
use crate::traffic::GATEWAY_API;

const APP_MESH_ENDED: &str = "AWS App Mesh has ended; use another router, for example istio, or Gateway API through \
                              plugins[argoproj-labs/gatewayAPI]";
const BOTH_VIRTUAL_SERVICES: &str = "either VirtualService or VirtualServices must be configured";
const NO_ROUTES: &str = "No routes configured. At least one of 'httpRoutes', 'grpcRoutes', 'tcpRoutes', 'tlsRoutes', \
                         'httpRoute', 'grpcRoute', 'tcpRoute' or 'tlsRoute' must be set";
/// No API server stores a greater `weight` of a backend (schemas of `gateway.networking.k8s.io/v1`); the reference tries.
const MOST_OF_GATEWAY_API: i64 = 1_000_000;
const PROTOCOLS: [&str; 4] = ["http", "grpc", "tcp", "tls"];
const GROUPS: [&str; 2] = ["gateway.networking.k8s.io", "policy.linkerd.io"];

/// Applies the rules router by router, in the order in which the reference looks at them.
pub(super) fn rules(canary: &Field<'_>, found: &mut Findings) {
    let routing = canary.get("trafficRouting");
    let most = routing.get("maxTrafficWeight");
    // ARGO: the reference divides by zero at 0, and takes a negative one for what it is (Q14).
    if most.int32(found).is_some_and(|most| most < 1) {
        found.invalid(&most, "must be at least 1");
    }
    if most.int32(found).is_some_and(|most| most > MOST_OF_GATEWAY_API)
        && routing.get("plugins").get(GATEWAY_API).is_set()
    {
        found.invalid(&most, "must be at most 1000000, the greatest weight of a backend in Gateway API");
    }
    one_of_two(&routing.get("nginx"), ["stableIngress", "stableIngresses"], found);
    one_of_two(&routing.get("alb"), ["ingress", "ingresses"], found);
    let istio = routing.get("istio");
    if istio.is_set() && has(&istio, "virtualService") == has(&istio, "virtualServices") {
        found.rule(Problem::new(&istio.place, ProblemKind::Internal, BOTH_VIRTUAL_SERVICES));
    }
    let ambassador = routing.get("ambassador");
    if ambassador.is_set() && !has(&ambassador, "mappings") {
        let mappings = ambassador.get("mappings");
        found.rule(Problem::invalid(&mappings.place, Value::Null, "must provide at least one mapping"));
    }
    let app_mesh = routing.get("appMesh");
    if app_mesh.is_set() {
        found.forbidden(&app_mesh, APP_MESH_ENDED);
    }
    plugins(&routing.get("plugins"), found);
}

/// Whether a field holds anything: neither nothing nor an empty text, list or mapping.
fn has(field: &Field<'_>, name: &str) -> bool {
    match field.get(name).value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// Ingresses are named by one of two fields.
fn one_of_two(router: &Field<'_>, names: [&str; 2], found: &mut Findings) {
    let how_many = match (has(router, names[0]), has(router, names[1])) {
        (true, true) => "Both",
        (false, false) if router.is_set() => "Neither",
        _ => return,
    };
    let [one, several] = names.map(|name| format!("{}{}", name[..1].to_uppercase(), &name[1..]));
    let detail = format!("Either {one} or {several} must be configured. {how_many} are configured.");
    found.rule(Problem::new(&router.place, ProblemKind::Internal, detail));
}

fn plugins(plugins: &Field<'_>, found: &mut Findings) {
    for name in plugins.mapping(found).into_iter().flat_map(|map| map.keys()) {
        let plugin = plugins.key(name);
        match name == GATEWAY_API {
            true => gateway_api(&plugin, found),
            false => found.not_supported(&plugin, name, &[GATEWAY_API]),
        }
    }
}

/// The configuration of the reference's plugin for Gateway API, with `group` and `version` of a route besides.
fn gateway_api(plugin: &Field<'_>, found: &mut Findings) {
    plugin.mapping(found);
    plugin.get("disableInProgressLabel").boolean(found);
    for name in ["namespace", "inProgressLabelKey", "inProgressLabelValue", "configMap"] {
        plugin.get(name).text(found);
    }
    let mut is_empty = true;
    for protocol in PROTOCOLS {
        let (single, list) =
            (plugin.get(&format!("{protocol}Route")), plugin.get(&format!("{protocol}Routes")));
        is_empty &= single.text(found).unwrap_or_default().is_empty();
        for route in list.mappings(found) {
            is_empty = false;
            let name = route.get("name");
            if name.text(found).unwrap_or_default().is_empty() {
                found.required(&name, "");
            }
            route.get("useHeaderRoutes").boolean(found);
            route.get("version").text(found);
            found.one_of(&route.get("group"), &GROUPS);
        }
        let selector = plugin.get(&format!("{protocol}RouteSelector"));
        if let Some(map) = selector.mapping(found) {
            is_empty = false;
            if map
                .values()
                .all(|part| part.as_object().is_none_or(|labels| labels.is_empty()) && !is_list(part))
            {
                found.invalid(&selector, "selects nothing: name labels");
            }
        }
    }
    if is_empty {
        found.invalid(plugin, NO_ROUTES);
    }
}

fn is_list(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty())
}
