//! Load balancers that send traffic to the two sides of a canary. One file a router, one line in [`ALL`].
//!
//! A router is pure: it reads the documents that the cache holds and says how they must look. It sends nothing, waits
//! for nothing and decides nothing: which weight, when, and in which order with Services and ReplicaSets is decided
//! once for all routers in `rollout::traffic`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Key, Kind, Object, Selector, Text};
use tidegate_api::spec::Canary;
use tidegate_api::traffic::{RouterStanza, TrafficRouting};

pub mod alb;
mod ambassador;
mod apisix;
mod app_mesh;
pub mod check;
mod document;
mod gateway_api;
mod istio;
mod nginx;
mod orphans;
mod settings;
mod smi;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod testing;
mod traefik;

use crate::sabotage::Sabotage;

pub use orphans::plan_clean_up;
pub use settings::Settings;

/// Every router, by the key under `trafficRouting` (or under its `plugins`).
pub const ALL: &[&dyn Router] = &[
    &istio::Istio,
    &nginx::Nginx,
    &alb::Alb,
    &smi::Smi,
    &ambassador::Ambassador,
    &app_mesh::AppMesh,
    &traefik::Traefik,
    &apisix::Apisix,
    &gateway_api::GatewayApi,
];

/// The router for a stanza; nothing when nobody serves that key.
pub fn find(stanza: &RouterStanza) -> Option<&'static dyn Router> {
    ALL.iter().copied().find(|router| {
        let name = if stanza.is_plugin { router.plugin() } else { Some(router.name()) };
        name == Some(&*stanza.name)
    })
}

/// Everything that the routers of a Rollout want to see; nothing where it has none.
pub fn reads_of(rollout: &Object, settings: &Settings) -> Vec<Reads> {
    let Some(spec) = rollout.rollout().map(|body| body.spec.spec()) else { return Vec::new() };
    if spec.blue_green().is_some() {
        // Its active Service may be behind a load balancer that registers pods by their addresses.
        return alb::registration::reads(&rollout.meta.namespace, settings);
    }
    let Some(canary) = spec.canary() else { return Vec::new() };
    places(rollout, canary, settings).flat_map(|(router, at)| router.reads(&at)).collect()
}

/// The routers of a Rollout in their order, each with its configuration.
pub fn places<'a>(
    rollout: &'a Object,
    canary: &'a Canary,
    settings: &'a Settings,
) -> impl Iterator<Item = (&'static dyn Router, Place<'a>)> {
    canary.traffic_routing.iter().flat_map(move |routing| {
        let place = move |stanza| Place { rollout, canary, routing, stanza, settings };
        routing.routers.iter().filter_map(move |stanza| Some((find(stanza)?, place(stanza))))
    })
}

/// Makes some load balancer split traffic. Edits documents, does not send them.
pub trait Router: Sync {
    /// The key under `trafficRouting`.
    fn name(&self) -> &'static str;

    /// The key under `trafficRouting.plugins` by which it is configured too; nothing for most.
    fn plugin(&self) -> Option<&'static str> {
        None
    }

    /// The objects that it reads or makes, in the order in which it treats them. Each kind named here is watched as
    /// long as some Rollout names it.
    fn reads(&self, at: &Place<'_>) -> Vec<Reads>;

    /// How its objects look with traffic split as wanted: weights, and exactly the header and mirror routes that are
    /// wanted. What already is so is not among the changes. All of them are computed before any is sent; they are sent
    /// in this order, and each one alone must be safe.
    fn route(&self, view: &View<'_>, want: &Want<'_>) -> Result<Vec<Change>, Trouble>;

    /// What may be taken away only once the wanted split has been in force for the propagation time: objects that it
    /// made and that have sent nothing to the canary since. Asked after [`Router::route`] had nothing left to change.
    fn retire(&self, _view: &View<'_>, _want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        Ok(Vec::new())
    }

    /// How its objects look with the two sides naming these pods by their hash (Istio's subsets). Most routers reach
    /// pods through Services and have nothing to do.
    fn label(&self, _view: &View<'_>, _want: &Want<'_>) -> Result<Vec<Change>, Trouble> {
        Ok(Vec::new())
    }

    /// The largest weight that any of its objects sends to the canary now, in parts of [`Want::whole`]; nothing when
    /// they say nothing about it (no object yet). Read before anything is decided: what the status remembers may be
    /// older than what was written.
    fn shown(&self, view: &View<'_>) -> Option<i64>;

    /// Hashes of pods that its objects name, whatever their weight: such pods are not taken away.
    fn names_hashes(&self, _view: &View<'_>) -> Vec<Text> {
        Vec::new()
    }

    /// The hashes by which its objects name the canary's and the stable pods now, each empty where it names none; nothing
    /// for routers that reach pods through Services.
    fn labelled(&self, _view: &View<'_>) -> Option<(Text, Text)> {
        None
    }

    /// The objects by which [`Router::label`] names pods.
    fn subsets(&self, _at: &Place<'_>) -> Vec<Key> {
        Vec::new()
    }

    /// Whether it answers with errors as soon as the stable Service has no pod, however small the stable share is.
    fn needs_a_stable_pod(&self) -> bool {
        false
    }

    /// The same for the canary Service.
    fn needs_a_canary_pod(&self) -> bool {
        false
    }

    /// What its objects say about having reached the data plane.
    fn evidence(&self, _view: &View<'_>, _want: &Want<'_>) -> Evidence {
        Evidence::None
    }

    /// What is to be asked of the load balancer's own interface about the weights that are accepted; nothing for most, and
    /// where the operator does not want it.
    /// `is_moving` says that pods may have to go.
    fn verification(
        &self,
        _view: &View<'_>,
        _want: &Want<'_>,
        _is_moving: bool,
    ) -> Option<alb::verify::Verification> {
        None
    }

    /// Whether it can be asked at all: then nothing shrinks before it has said that the weights are in force.
    fn verifies(&self, _settings: &Settings) -> bool {
        false
    }

    /// Undoes what Rollouts left on an object that they no longer name. `is_user` says whether a Rollout of that name
    /// still names the object. Called for every object of its kinds that is watched; nothing to do for most.
    fn clean_up(&self, _object: &Object, _is_user: &dyn Fn(&str) -> bool) -> Option<Change> {
        None
    }
}

/// An object that a router wants to see.
#[derive(Clone, PartialEq, Debug)]
pub enum Reads {
    /// This one, whether it exists or not.
    One(Key),
    /// All of a kind in a namespace whose labels match.
    Matching(Kind, Text, Arc<Selector>),
    /// All of a kind in a namespace, to be looked at: does not count as naming the object ([`Router::clean_up`]).
    All(Kind, Text),
    /// All of a kind in a namespace that a Rollout of this name controls ([`View::controls`]): what it made before,
    /// under whatever name. Does not count as naming the object ([`Router::clean_up`]).
    Controlled(Kind, Text),
}

impl Reads {
    /// The kind of what it wants to see.
    pub fn kind(&self) -> &Kind {
        match self {
            Reads::One(key) => &key.kind,
            Reads::Matching(kind, ..) | Reads::All(kind, _) | Reads::Controlled(kind, _) => kind,
        }
    }
}

/// What is known of a Rollout before any object is looked at.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The Rollout.
    pub rollout: &'a Object,
    /// Its strategy.
    pub canary: &'a Canary,
    /// Its routing as a whole.
    pub routing: &'a TrafficRouting,
    /// The router's own configuration.
    pub stanza: &'a RouterStanza,
    /// How the operator set routers up.
    pub settings: &'a Settings,
}

impl<'a> Place<'a> {
    /// The router's own configuration.
    pub fn config(&self) -> &'a Value {
        &self.stanza.config
    }

    /// The namespace of the Rollout.
    pub fn namespace(&self) -> &'a Text {
        &self.rollout.meta.namespace
    }
}

/// What a router may look at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The Rollout and its configuration.
    pub at: Place<'a>,
    /// Those objects of [`Router::reads`] that exist.
    pub objects: &'a BTreeMap<Key, Arc<Object>>,
    /// Services that the Rollout names, and those of experiment arms.
    pub services: &'a BTreeMap<Text, Arc<Object>>,
    /// Kinds among those of [`Router::reads`] that the API server does not serve.
    pub unserved: &'a [Kind],
    /// A guard that is taken away, in tests.
    pub sabotage: Option<Sabotage>,
}

/// The Services of the two sides as a router is to use them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// Of the stable side; empty when there is none.
    pub stable: Text,
    /// Of the canary side; empty when there is none.
    pub canary: Text,
}

impl<'a> View<'a> {
    /// Whether this guard is taken away.
    pub fn is_sabotaged(&self, how: Sabotage) -> bool {
        self.sabotage == Some(how)
    }

    /// An object that the router named; trouble that names it when it is missing.
    pub fn get(&self, key: &Key) -> Result<&'a Arc<Object>, Trouble> {
        self.objects.get(key).ok_or_else(|| {
            let what = format!("{} {:?} not found", key.kind.resource(), &*key.name);
            let message = match self.unserved.contains(&key.kind) {
                true => format!("{what}: the API server does not serve {}", key.kind.api_version()),
                false => what,
            };
            Trouble::of(key, message).missing()
        })
    }

    /// The Services of the two sides. With `prefer_ping_pong` the pair wins where it is configured (ALB, Gateway
    /// API); else only where neither `stableService` nor `canaryService` is set.
    pub fn names(&self, prefer_ping_pong: bool) -> Names {
        let canary = self.at.canary;
        let plain = Names { stable: canary.stable_service.clone(), canary: canary.canary_service.clone() };
        let Some(pair) = &canary.ping_pong else { return plain };
        let has_plain = !plain.stable.is_empty() || !plain.canary.is_empty();
        if has_plain && !prefer_ping_pong {
            return plain;
        }
        match self.is_ping_stable() {
            true => Names { stable: pair.ping.clone(), canary: pair.pong.clone() },
            false => Names { stable: pair.pong.clone(), canary: pair.ping.clone() },
        }
    }

    /// Whether the ping Service is the stable one, as the status says; else pong is.
    pub fn is_ping_stable(&self) -> bool {
        let body = self.at.rollout.rollout();
        let pair = body.and_then(|body| body.status.canary.as_ref()).map(|canary| &canary.stable_ping_pong);
        pair.is_some_and(|stable| stable.as_deref() == Some("ping"))
    }

    /// The owner reference of an object that the router makes.
    pub fn owner(&self) -> Value {
        let meta = &self.at.rollout.meta;
        serde_json::json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": &*meta.name,
            "uid": &*meta.uid, "controller": true, "blockOwnerDeletion": true})
    }

    /// Whether this Rollout controls the object; also one of the same name that no longer exists did (a restored
    /// backup gives new identities).
    // ARGO: the reference refuses an object of its predecessor for ever (Q30).
    pub fn controls(&self, object: &Object) -> bool {
        let meta = &self.at.rollout.meta;
        object.meta.controller().is_some_and(|owner| &*owner.kind == "Rollout" && owner.name == meta.name)
    }
}

/// How traffic is to be split.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Want<'a> {
    /// Parts for the canary.
    pub weight: i64,
    /// Parts that make the whole: 100, or `maxTrafficWeight`.
    pub whole: i64,
    /// Further destinations: the arms of a running experiment. Those without a Service are left out already.
    pub arms: &'a [Arm],
    /// Hash of the canary's pods; empty when there are none.
    pub canary_hash: &'a str,
    /// Hash of the stable pods; empty when there are none.
    pub stable_hash: &'a str,
    /// The header and mirror routes that are to exist, first = highest precedence. Every other managed route goes.
    pub routes: &'a [ManagedRoute],
    /// Arms that were written before, by Service: a destination among them that is no longer wanted goes; a
    /// destination that is neither is the user's own.
    pub former_arms: &'a [Text],
}

impl Want<'_> {
    /// The canary's weight for a router that knows percent only: rounded down, so that rounding is for the stable
    /// side (but never to nothing of what is the whole).
    pub fn percent(&self) -> i64 {
        percent(self.weight, self.whole)
    }

    /// Percent that the arms get together.
    pub fn arms_percent(&self) -> i64 {
        self.arms.iter().map(|arm| percent(arm.weight, self.whole)).sum()
    }

    /// Percent of the stable side: the rest, never less than nothing.
    pub fn stable_percent(&self) -> i64 {
        (100 - self.percent() - self.arms_percent()).max(0)
    }
}

/// Parts of a whole in percent, rounded down.
pub fn percent(weight: i64, whole: i64) -> i64 {
    let exact = i128::from(weight) * 100 / i128::from(whole.max(1));
    i64::try_from(exact).unwrap_or(100).clamp(0, 100)
}

/// A further destination: one arm of an experiment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arm {
    /// Its Service; never empty.
    pub service: Text,
    /// Hash of its pods.
    pub hash: Text,
    /// Parts of the whole.
    pub weight: i64,
}

/// A route that a step asks for: `setHeaderRoute` or `setMirrorRoute`, verbatim.
#[derive(Clone, PartialEq, Debug)]
pub struct ManagedRoute {
    /// `name`.
    pub name: Text,
    /// Whether it mirrors; else it sends all matching requests to the canary.
    pub is_mirror: bool,
    /// The step's own mapping: `match`, and `percentage` of a mirror.
    pub step: Arc<Value>,
}

/// One change of one object.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// Which object.
    pub key: Key,
    /// What becomes of it.
    pub what: What,
    /// Events to record once it is done: reason and message.
    pub notices: Vec<(Text, Text)>,
}

/// What becomes of an object.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// It is made. The whole document.
    Create(Arc<Value>),
    /// It becomes this. The whole document; only what differs is sent, with the version it was computed from.
    Become(Arc<Value>),
    /// It is deleted, in the version that was looked at.
    Delete,
}

/// What a router's objects say about the data plane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// They say nothing: a bounded wait must do.
    None,
    /// They say that what they ask for was taken over.
    Applied,
    /// They say that it was not, or not yet, and why.
    NotYet(Text),
}

/// Why a router cannot do what is wanted. Names the object and the field.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    /// The object; nothing when the Rollout's own configuration is to blame.
    pub object: Option<Box<Key>>,
    /// The reason of the warning event; `TrafficRoutingError` unless the reference has one of its own beside it.
    pub event: Option<(Text, Text)>,
    /// Whether the object does not exist.
    pub is_missing: bool,
    /// The text of the reference where it has one.
    pub message: Text,
}

impl Trouble {
    /// With an object.
    pub fn of(key: &Key, message: impl Into<Text>) -> Trouble {
        Trouble {
            object: Some(Box::new(key.clone())),
            event: None,
            is_missing: false,
            message: message.into(),
        }
    }

    /// With the Rollout's own configuration.
    pub fn of_config(message: impl Into<Text>) -> Trouble {
        Trouble { object: None, event: None, is_missing: false, message: message.into() }
    }

    /// Because the object does not exist.
    pub fn missing(self) -> Trouble {
        Trouble { is_missing: true, ..self }
    }

    /// With a warning event of its own, beside `TrafficRoutingError`.
    pub fn telling(self, reason: &str, message: impl Into<Text>) -> Trouble {
        Trouble { event: Some((reason.into(), message.into())), ..self }
    }
}
