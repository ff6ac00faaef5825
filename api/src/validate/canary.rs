//! Rules about a canary apart from its steps.

use super::field::{Field, Findings};
use super::numbers::int_or_percent;
use super::strategy::{invalid, invalid_value, share};
use crate::spec::IntOrPercent;

const BOTH_ZERO: &str = "MaxSurge and MaxUnavailable both can not be zero";
const SAME_STABLE_AND_CANARY: &str = "This rollout uses the same service for the stable and canary services, but \
                                      two different services are required.";
const SAME_PING_AND_PONG: &str = "This rollout uses the same service for the ping and pong services, but two \
                                  different services are required.";
const PING_AND_PONG_NEEDED: &str = "Ping service and Pong service must to be set to use Ping-Pong feature";
const PING_PONG_ROUTERS: &str =
    "Ping-pong feature works with the ALB, Istio, and plugin-based traffic routers only";
const ROOT_SERVICE_NEEDED: &str =
    "Root service field is required for the configuration with ALB and ping-pong feature enabled";
const SERVICES_NEEDED: &str = "Canary service and Stable service must to be set to use Traffic Routing";
const MAX_WEIGHT_ROUTERS: &str =
    "Canary maxTrafficWeight in traffic routing only supported in Nginx and Plugins";

/// Routers that always need both Services.
const ROUTERS_WITH_SERVICES: [&str; 6] = ["smi", "apisix", "ambassador", "nginx", "appMesh", "traefik"];

/// Applies the rules in the reference's order.
pub(super) fn rules(canary: &Field<'_>, found: &mut Findings) {
    let routing = canary.get("trafficRouting");
    shares(canary, found);
    let (stable, of_canary) = (canary.get("stableService"), canary.get("canaryService"));
    let (stable_name, canary_name) = (text(&stable, found), text(&of_canary, found));
    if !stable_name.is_empty() && stable_name == canary_name {
        found.rule(invalid(&stable, SAME_STABLE_AND_CANARY));
    }
    if canary.get("pingPong").mapping(found).is_some() {
        ping_pong(canary, found);
    }
    if needs_services(canary) {
        for (field, name) in [(&stable, stable_name), (&of_canary, canary_name)] {
            if name.is_empty() {
                found.rule(invalid_value(field, "", SERVICES_NEEDED));
            }
        }
    }
    let (delay, dynamic) = (canary.get("scaleDownDelaySeconds"), canary.get("dynamicStableScale"));
    let is_dynamic = dynamic.boolean(found).unwrap_or(false);
    if !routing.is_set() {
        if delay.is_set() {
            found.rule(invalid(&delay, "Canary scaleDownDelaySeconds can only be used with traffic routing"));
        }
        if is_dynamic {
            found.rule(invalid(&dynamic, "Canary dynamicStableScale can only be used with traffic routing"));
        }
        return;
    }
    if delay.is_set() && is_dynamic {
        found.rule(invalid(&dynamic, "Canary dynamicStableScale cannot be used with scaleDownDelaySeconds"));
    }
    let most = routing.get("maxTrafficWeight");
    if most.int32(found).is_some() && !routing.get("nginx").is_set() && !has_plugins(&routing) {
        found.rule(invalid(&most, MAX_WEIGHT_ROUTERS));
    }
}

/// Text that counts as empty when absent.
fn text<'v>(field: &Field<'v>, found: &mut Findings) -> &'v str {
    field.text(found).unwrap_or_default()
}

fn shares(canary: &Field<'_>, found: &mut Findings) {
    let (surge, unavailable) = (canary.get("maxSurge"), canary.get("maxUnavailable"));
    let is_zero = |field: &Field<'_>| match int_or_percent(field.value) {
        IntOrPercent::Int(n) | IntOrPercent::Percent(n) => n == 0,
        IntOrPercent::Broken(_) => true,
    };
    if is_zero(&surge) && is_zero(&unavailable) {
        found.rule(invalid(&surge, BOTH_ZERO));
    }
    share(&surge, found);
    share(&unavailable, found);
}

fn ping_pong(canary: &Field<'_>, found: &mut Findings) {
    let routing = canary.get("trafficRouting");
    let alb = routing.get("alb");
    let fits = alb.is_set() || routing.get("istio").is_set() || has_plugins(&routing);
    if routing.is_set() && !fits {
        found.rule(invalid(&alb, PING_PONG_ROUTERS));
    }
    let (ping, pong) = (canary.get("pingPong").get("pingService"), canary.get("pingPong").get("pongService"));
    let (ping_name, pong_name) = (text(&ping, found), text(&pong, found));
    for (field, name) in [(&ping, ping_name), (&pong, pong_name)] {
        if name.is_empty() {
            found.rule(invalid_value(field, "", PING_AND_PONG_NEEDED));
        }
    }
    if ping_name == pong_name {
        found.rule(invalid_value(&ping, ping_name, SAME_PING_AND_PONG));
    }
    let root = alb.get("rootService");
    if alb.is_set() && text(&root, found).is_empty() {
        found.rule(invalid_value(&root, "", ROOT_SERVICE_NEEDED));
    }
}

fn needs_services(canary: &Field<'_>) -> bool {
    let routing = canary.get("trafficRouting");
    let (alb, istio) = (routing.get("alb"), routing.get("istio"));
    let by_ping_pong = canary.get("pingPong").is_set();
    let by_subsets = istio.get("destinationRule").is_set();
    alb.is_set() && !by_ping_pong
        || istio.is_set() && !by_subsets && !by_ping_pong
        || ROUTERS_WITH_SERVICES.iter().any(|router| routing.get(router).is_set())
}

/// Whether any router plugin is configured.
pub(super) fn has_plugins(routing: &Field<'_>) -> bool {
    routing.get("plugins").value.as_object().is_some_and(|plugins| !plugins.is_empty())
}
