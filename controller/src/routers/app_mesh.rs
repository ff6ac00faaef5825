//! AWS App Mesh has ended. A Rollout that names it is refused, with what to use instead.

use super::{Change, Place, Reads, Router, Trouble, View, Want};

/// Refuses `appMesh`.
pub struct AppMesh;

/// What a Rollout with `trafficRouting.appMesh` is told.
pub const REFUSAL: &str = "spec.strategy.canary.trafficRouting.appMesh: AWS App Mesh has ended (30 September 2026) and is \
    not supported; use istio, nginx, alb, smi, ambassador, traefik, apisix or the Gateway API instead";

impl Router for AppMesh {
    fn name(&self) -> &'static str {
        "appMesh"
    }

    fn reads(&self, _at: &Place<'_>) -> Vec<Reads> {
        Vec::new()
    }

    // ARGO: the reference still edits VirtualRouters and VirtualNodes.
    fn route(&self, _view: &View<'_>, _want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        Err(Trouble::of_config(REFUSAL))
    }

    fn shown(&self, _view: &View<'_>) -> Option<i64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{Stage, split};
    use super::*;

    #[test]
    fn it_is_refused_with_what_to_use_instead() {
        let stage =
            Stage::new(json!({"trafficRouting": {"appMesh": {"virtualService": {"name": "a"}}}}), &[]);
        let trouble = stage.route(&split(10)).unwrap_err();
        assert_eq!(&*trouble.message, REFUSAL);
        assert_eq!(stage.view(|router, view| router.shown(view)), None);
    }
}
