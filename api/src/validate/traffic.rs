//! Reading what a canary says about traffic.

use std::sync::Arc;

use super::field::{Field, Findings};
use crate::traffic::{BUILT_IN, CanaryScale, PingPong, RouterStanza, TrafficRouting};

/// `trafficRouting`, with its routers in the order in which they are treated.
pub(super) fn routing(field: &Field<'_>, found: &mut Findings) -> Option<TrafficRouting> {
    field.mapping(found)?;
    let stanza = |field: &Field<'_>, name: &str, is_plugin: bool| RouterStanza {
        name: name.into(),
        is_plugin,
        config: Arc::new(field.value.clone()),
    };
    let mut routers: Vec<RouterStanza> = BUILT_IN
        .iter()
        .map(|name| (name, field.get(name)))
        .filter(|(_, router)| router.is_set())
        .filter(|(_, router)| router.mapping(found).is_some())
        .map(|(name, router)| stanza(&router, name, false))
        .collect();
    let plugins = field.get("plugins");
    let names: Vec<String> = plugins.mapping(found).into_iter().flat_map(|map| map.keys().cloned()).collect();
    routers.extend(names.iter().map(|name| stanza(&plugins.key(name), name, true)));
    let managed = field.get("managedRoutes");
    let names: Vec<_> =
        managed.list(found).iter().map(|route| route.get("name").shared_text(found)).collect();
    Some(TrafficRouting {
        routers,
        managed_routes: managed.is_set().then_some(names),
        max_weight: field.get("maxTrafficWeight").int32(found).map(|most| most.max(1)),
    })
}

/// `pingPong`.
pub(super) fn ping_pong(field: &Field<'_>, found: &mut Findings) -> Option<PingPong> {
    field.mapping(found)?;
    Some(PingPong {
        ping: field.get("pingService").shared_text(found),
        pong: field.get("pongService").shared_text(found),
    })
}

/// `setCanaryScale`; empty where the step has none.
pub(super) fn canary_scale(field: &Field<'_>, found: &mut Findings) -> CanaryScale {
    CanaryScale {
        replicas: field.get("replicas").int32(found),
        weight: field.get("weight").int32(found),
        matches_weight: field.get("matchTrafficWeight").boolean(found).unwrap_or(false),
    }
}
