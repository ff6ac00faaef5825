//! What a canary says about traffic: which routers, which routes are managed, which Services swap roles.

use std::sync::Arc;

use serde_json::Value;

use crate::object::Text;

/// Keys of `trafficRouting` that name a router built in, in the order in which the reference treats them.
pub const BUILT_IN: [&str; 8] =
    ["istio", "nginx", "alb", "smi", "ambassador", "appMesh", "traefik", "apisix"];

/// The only plugin of the reference whose router is built in, by its key under `plugins`.
pub const GATEWAY_API: &str = "argoproj-labs/gatewayAPI";

/// The weight that stands for all of the traffic unless `maxTrafficWeight` says otherwise.
pub const WHOLE: i64 = 100;

/// `trafficRouting`. That it is there, even without a router, makes a canary one whose pods do not follow its weight.
#[derive(Clone, PartialEq, Debug)]
pub struct TrafficRouting {
    /// Routers in the order in which they are treated: those built in, then plugins by name.
    pub routers: Vec<RouterStanza>,
    /// Names in `managedRoutes`, first = highest precedence; nothing when the field is absent.
    pub managed_routes: Option<Vec<Text>>,
    /// `maxTrafficWeight`, at least 1; nothing when absent.
    pub max_weight: Option<i64>,
}

/// One router with its own configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct RouterStanza {
    /// The key under `trafficRouting`, or under `trafficRouting.plugins`.
    pub name: Text,
    /// Whether it stands under `plugins`.
    pub is_plugin: bool,
    /// What the user wrote there, verbatim.
    pub config: Arc<Value>,
}

impl TrafficRouting {
    /// The only plugin of the reference whose router is built in, by its key under `plugins`.
    pub const GATEWAY_API: &str = "argoproj-labs/gatewayAPI";

    /// The weight that stands for all of the traffic.
    pub fn whole(&self) -> i64 {
        self.max_weight.unwrap_or(WHOLE)
    }

    /// Whether a router of this key is named.
    pub fn has(&self, name: &str) -> bool {
        self.routers.iter().any(|router| &*router.name == name)
    }

    /// Where a router's configuration stands, for messages.
    pub fn place(router: &RouterStanza) -> String {
        let plugins = if router.is_plugin { "plugins." } else { "" };
        format!("spec.strategy.canary.trafficRouting.{plugins}{}", router.name)
    }
}

/// `pingPong`: two Services that swap the roles of stable and canary.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PingPong {
    /// `pingService`.
    pub ping: Text,
    /// `pongService`.
    pub pong: Text,
}

/// `setCanaryScale`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CanaryScale {
    /// `replicas`: a size of its own.
    pub replicas: Option<i64>,
    /// `weight`: the size that this weight would have; may be more than the whole.
    pub weight: Option<i64>,
    /// `matchTrafficWeight`: the size follows the weight again.
    pub matches_weight: bool,
}
