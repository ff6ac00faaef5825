//! The two ways in which the proxy is told to split requests.

use kube::core::GroupVersionKind;
use serde_json::{Value, json};

/// How requests are split between `web-stable` and `web-canary`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// By a weighted TraefikService.
    TraefikService,
    /// By the weights of backends of a Gateway API HTTPRoute.
    HttpRoute,
}

/// The host that all requests ask for.
pub(super) const HOST: &str = "web.test";

impl Route {
    /// A word for names.
    pub fn word(self) -> &'static str {
        match self {
            Route::TraefikService => "traefik",
            Route::HttpRoute => "gateway",
        }
    }

    /// The `trafficRouting` of a Rollout behind this route.
    pub fn traffic_routing(self) -> Value {
        match self {
            Route::TraefikService => json!({"traefik": {"weightedTraefikServiceName": "web"}}),
            Route::HttpRoute => json!({"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "web"}}}),
        }
    }

    /// What must be stored so that the proxy, listening on this port, serves this route, with all weight on stable.
    pub(super) fn objects(self, namespace: &str, port: u16) -> Vec<Value> {
        let metadata = |name: &str| json!({"name": name, "namespace": namespace});
        match self {
            Route::TraefikService => vec![
                json!({"apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService", "metadata": metadata("web"),
                    "spec": {"weighted": {"services": [
                        {"name": "web-stable", "port": 80, "weight": 100},
                        {"name": "web-canary", "port": 80, "weight": 0}]}}}),
                json!({"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": metadata("web"),
                    "spec": {"entryPoints": ["web"], "routes": [{
                        "kind": "Rule", "match": format!("Host(`{HOST}`)"),
                        "services": [{"kind": "TraefikService", "name": "web"}]}]}}),
            ],
            Route::HttpRoute => vec![
                json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
                    "metadata": {"name": namespace, "labels": {"proxy": namespace}},
                    "spec": {"controllerName": "traefik.io/gateway-controller"}}),
                json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata("web"),
                    "spec": {"gatewayClassName": namespace,
                        "listeners": [{"name": "web", "protocol": "HTTP", "port": port}]}}),
                json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata("web"),
                    "spec": {"parentRefs": [{"name": "web"}], "hostnames": [HOST], "rules": [{"backendRefs": [
                        {"name": "web-stable", "port": 80, "weight": 100},
                        {"name": "web-canary", "port": 80, "weight": 0}]}]}}),
            ],
        }
    }

    /// Its kind, and where the canary's weight stands in it.
    pub(super) fn shows_weight(self) -> (GroupVersionKind, &'static str) {
        match self {
            Route::TraefikService => (
                GroupVersionKind::gvk("traefik.io", "v1alpha1", "TraefikService"),
                "/spec/weighted/services/1/weight",
            ),
            Route::HttpRoute => (
                GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"),
                "/spec/rules/0/backendRefs/1/weight",
            ),
        }
    }

    /// What a person writes to give the canary this weight.
    pub(super) fn weighted(self, namespace: &str, port: u16, canary: i64) -> Value {
        let (mut object, list) = match self {
            Route::TraefikService => {
                (self.objects(namespace, port).swap_remove(0), "/spec/weighted/services")
            }
            Route::HttpRoute => (self.objects(namespace, port).swap_remove(2), "/spec/rules/0/backendRefs"),
        };
        if let Some(Value::Array(sides)) = object.pointer_mut(list) {
            sides[0]["weight"] = (100 - canary).into();
            sides[1]["weight"] = canary.into();
        }
        object
    }
}
