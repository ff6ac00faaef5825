//! The objects that lead traffic before the update: those among the files, or ones that say no more than what the Rollout
//! itself tells of them.

use serde_json::{Value, json};
use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::spec::Canary;
use tidegate_controller::routers::{Reads, Settings, reads_of};

use super::Refusal;
use super::given::namespace;

/// Services that only routers name.
pub(super) fn root_services(canary: &Canary) -> Vec<Text> {
    let stanzas = canary.traffic_routing.iter().flat_map(|routing| &routing.routers);
    stanzas.filter_map(|stanza| stanza.config["rootService"].as_str()).map(Text::from).collect()
}

/// What the routers of a Rollout read. What they make themselves need not be there.
pub(super) fn objects(
    rollout: &Object,
    canary: &Canary,
    others: &[Object],
    notes: &mut Vec<String>,
) -> Result<Vec<Object>, Vec<Refusal>> {
    if canary.traffic_routing.is_none() {
        return Ok(Vec::new());
    }
    // Services that only the objects of routers name.
    let is_near = |object: &&Object| object.kind == Kind::Service && namespace(object) == namespace(rollout);
    let named = [&canary.stable_service, &canary.canary_service];
    let is_named = |object: &&Object| named.contains(&&object.meta.name);
    let mut found: Vec<Object> = others.iter().filter(is_near).filter(|o| !is_named(o)).cloned().collect();
    let mut refusals = Vec::new();
    for reads in reads_of(rollout, &Settings::default()) {
        match reads {
            Reads::One(key) => match others.iter().find_map(|object| as_read(object, &key)) {
                Some(object) => found.push(object),
                None => match invented(&key, canary) {
                    Ok(None) => {}
                    Ok(Some(object)) => {
                        let (kind, name) = (key.kind.name(), &key.name);
                        notes.push(format!(
                            "{kind} {name} is not among the files; taken to lead to the stable Service"
                        ));
                        found.push(object);
                    }
                    Err(refusal) => refusals.push(refusal),
                },
            },
            Reads::Matching(kind, _, selector) => {
                let is_of = |object: &&Object| {
                    is_kind(&object.kind, &kind) && namespace(object) == namespace(rollout)
                };
                let matching = others.iter().filter(is_of).filter(|o| selector.matches(&o.meta.labels));
                found.extend(matching.filter_map(|object| {
                    let key = Key::new(kind.clone(), namespace(object), object.meta.name.clone());
                    as_read(object, &key)
                }));
            }
            // Read for verification alone, or made by the Rollout itself.
            Reads::All(..) | Reads::Controlled(..) => {}
        }
    }
    found.dedup_by_key(|object| object.key());
    if refusals.is_empty() { Ok(found) } else { Err(refusals) }
}

/// Whether both are one kind, in whatever version: the API server converts.
fn is_kind(one: &Kind, other: &Kind) -> bool {
    let group = |kind: &Kind| kind.api_version().rsplit_once('/').map(|(group, _)| group.to_owned());
    one.name() == other.name() && group(one) == group(other)
}

/// An object as it is read under this key; nothing when it is another one.
fn as_read(object: &Object, key: &Key) -> Option<Object> {
    let near = namespace(object) == if key.namespace.is_empty() { "default" } else { &key.namespace };
    if !is_kind(&object.kind, &key.kind) || object.meta.name != key.name || !near {
        return None;
    }
    let mut document = object.to_value();
    document["apiVersion"] = json!(key.kind.api_version());
    Object::from_value(document).ok()
}

/// An object that says what the Rollout says of it; nothing for those that routers make, and a refusal where more is
/// to be known than the Rollout says.
fn invented(key: &Key, canary: &Canary) -> Result<Option<Object>, Refusal> {
    let (stable, new) = (&*canary.stable_service, &*canary.canary_service);
    let stanzas = || canary.traffic_routing.iter().flat_map(|routing| &routing.routers);
    let config = |name: &str| stanzas().find(|stanza| &*stanza.name == name).map(|stanza| &stanza.config);
    let missing = |router: &str| Refusal {
        path: format!("spec.strategy.canary.trafficRouting.{router}"),
        why: format!("{} {:?} is not among the files, and cannot be made up", key.kind.name(), &*key.name),
    };
    let backends = json!([{"name": stable, "port": 80}, {"name": new, "port": 80}]);
    let spec = match key.kind.name() {
        "TrafficSplit" => return Ok(None),
        "Ingress" => match config("nginx") {
            Some(nginx) if names(nginx, &key.name) => json!({"ingressClassName": "nginx", "rules": [
                {"http": {"paths": [{"path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": stable, "port": {"number": 80}}}}]}}]}),
            Some(_) if config("alb").is_none() => return Ok(None),
            _ => return Err(missing("alb")),
        },
        "TraefikService" => json!({"weighted": {"services": backends}}),
        "HTTPRoute" if is_plain(stable, new) => json!({"rules": [{"backendRefs": backends}]}),
        "VirtualService" => {
            let Some(istio) = config("istio") else { return Err(missing("istio")) };
            let route = &istio["virtualService"]["routes"];
            let is_simple = istio["destinationRule"].is_null() && istio["virtualServices"].is_null();
            let is_http = istio["virtualService"]["tlsRoutes"].is_null()
                && istio["virtualService"]["tcpRoutes"].is_null();
            if !is_simple || !is_http || !is_plain(stable, new) {
                return Err(missing("istio"));
            }
            let routes: Vec<Value> = match route.as_array().filter(|routes| !routes.is_empty()) {
                None => vec![Value::Null],
                Some(names) => names.clone(),
            };
            let http = |name: Value| {
                json!({"name": name, "route": [
                    {"destination": {"host": stable}, "weight": 100}, {"destination": {"host": new}, "weight": 0}]})
            };
            json!({"hosts": [stable], "http": routes.into_iter().map(http).collect::<Vec<_>>()})
        }
        _ => {
            let router = match key.kind.name() {
                "DestinationRule" => "istio",
                "ApisixRoute" => "apisix",
                "Mapping" | "AmbassadorMapping" => "ambassador",
                _ => "plugins",
            };
            // Copies for the canary are made by the router itself.
            let is_copy = ["apisix", "ambassador"].contains(&router)
                && config(router).is_some_and(|config| !names(config, &key.name));
            return if is_copy { Ok(None) } else { Err(missing(router)) };
        }
    };
    let document = json!({"apiVersion": key.kind.api_version(), "kind": key.kind.name(),
        "metadata": {"name": &*key.name, "namespace": &*key.namespace}, "spec": spec});
    let refused = |why: String| Refusal { path: "spec.strategy.canary.trafficRouting".to_owned(), why };
    Object::from_value(document).map(Some).map_err(|why| refused(why.to_string()))
}

fn is_plain(stable: &str, canary: &str) -> bool {
    !stable.is_empty() && !canary.is_empty()
}

/// Whether a name stands anywhere in a configuration.
fn names(config: &Value, name: &str) -> bool {
    match config {
        Value::String(text) => text == name,
        Value::Array(list) => list.iter().any(|entry| names(entry, name)),
        Value::Object(map) => map.values().any(|entry| names(entry, name)),
        _ => false,
    }
}
