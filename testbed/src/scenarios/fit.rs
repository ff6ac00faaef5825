//! Which scenarios a real server can show, and what keeps it from showing the others.

use std::collections::BTreeSet;

use tidegate_api::object::{Kind, Object};
use tidegate_sim::metrics::Source;
use tidegate_sim::scenario::{Script, Verb};
use tidegate_sim::world::{Happened, Observer, World};

use super::objects;
use crate::surroundings::is_around;

/// Why a real server cannot show a scenario, if it cannot.
pub(super) fn sim_only(script: &Script) -> Option<String> {
    let why = |why: &str| Some(why.to_owned());
    if script.given.iter().any(|object| !object.meta.uid.is_empty()) {
        return why("another controller's objects are there before");
    }
    if objects(script).any(|object| object.kind == Kind::HorizontalPodAutoscaler) {
        return why("nothing measures load for an autoscaler");
    }
    if !script.routers.unserved.is_empty() {
        return why(UNSERVED);
    }
    if script.routers.proxies > 1 {
        return why("several proxies of one router");
    }
    let namespaces: BTreeSet<&str> =
        objects(script).filter(|o| !o.kind.is_cluster_wide()).map(|object| &*object.meta.namespace).collect();
    if namespaces.len() > 1 {
        return why("several namespaces");
    }
    script.when.iter().find_map(|entry| match &entry.verb {
        Verb::Fault(fault) if !is_around(fault) => why("a fault between controller and API server"),
        Verb::Load { .. } => why("nothing measures load for an autoscaler"),
        Verb::Serve(..) => why(UNSERVED),
        _ => None,
    })
}

/// All scenarios share one API server.
const UNSERVED: &str = "a kind that the API server does not serve";

/// Whether routers send users to a scenario's pods.
pub(super) fn is_routed(script: &Script) -> bool {
    let routes = |object: &Object| {
        let canary = object.rollout().and_then(|body| body.spec.spec().canary());
        canary.is_some_and(|canary| canary.traffic_routing.is_some())
    };
    script.routers.elb || objects(script).any(routes)
}

/// Whether a scenario asks metric providers.
pub(super) fn is_measured(script: &Script) -> bool {
    objects(script).any(|object| {
        matches!(object.kind, Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate | Kind::AnalysisRun)
    })
}

/// Notes whether a measurement was answered from invented users: a real server has none.
#[derive(Default)]
pub(super) struct Answers {
    pub modelled: bool,
}

impl Observer for Answers {
    fn saw(&mut self, _: &World, what: &Happened<'_>) {
        if let Happened::Measured { source: Source::Model(_) | Source::Nothing, question, .. } = what {
            self.modelled |= question.asker.key.kind == Kind::AnalysisRun;
        }
    }
}
