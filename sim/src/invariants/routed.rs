//! Rollouts whose traffic routers lead: what a write of the controller did to the shares of its versions.

use std::sync::Arc;

use tidegate_api::object::{Kind, Object, Text};
use tidegate_api::spec::{Canary, Threshold};
use tidegate_controller::seams::CallId;

use super::view::{View, rollout_of};
use crate::dataplane::claims::{Claims, Undone, accepted, most, rollouts_of};
use crate::dataplane::flow::WHOLE;
use crate::world::{Happened, World, Writer};

/// The canary of a Rollout with routers.
pub fn canary(rollout: &Object) -> Option<&Canary> {
    let canary = rollout.rollout()?.spec.spec().canary()?;
    canary.traffic_routing.as_ref().filter(|routing| !routing.routers.is_empty())?;
    Some(canary)
}

/// A write of the controller that concerns traffic: a route or a Service.
pub struct Led<'a> {
    pub truth: View,
    pub call: Option<CallId>,
    pub object: &'a Arc<Object>,
    /// What the newest objects claimed before and claim now.
    pub accepted: (Claims, Claims),
    /// What any mixture claimed before and claims now.
    pub most: (Claims, Claims),
    /// Whether it gives a Service a version that took all of them before.
    pub adopts: bool,
}

impl<'a> Led<'a> {
    /// The write, for each Rollout with routers that it concerns.
    pub fn of(world: &World, what: &Happened<'a>) -> Vec<Led<'a>> {
        let Happened::Stored { by: Writer::Controller, before, after, call } = *what else {
            return Vec::new();
        };
        let Some(object) = after.or(before) else { return Vec::new() };
        let rollouts = match object.kind {
            Kind::Service => rollout_of(world, &object.key()).into_iter().collect(),
            Kind::Other { .. } => {
                let mut all = rollouts_of(world, object);
                all.extend(before.iter().flat_map(|before| rollouts_of(world, before)));
                all.sort();
                all.dedup();
                all
            }
            _ => return Vec::new(),
        };
        let undone = Some(Undone { before, after });
        let selects = |object: Option<&Arc<Object>>| {
            object.is_some_and(|object| {
                !tidegate_controller::rollout::services::selected_hash(object).is_empty()
            })
        };
        let led = |truth: View| {
            canary(&truth.rollout)?;
            let rollout = &truth.rollout;
            Some(Led {
                call,
                object,
                accepted: (accepted(world, rollout, undone), accepted(world, rollout, None)),
                most: (most(world, rollout, undone), most(world, rollout, None)),
                adopts: object.kind == Kind::Service && !selects(before),
                truth,
            })
        };
        rollouts.iter().filter_map(|key| View::of_truth(world, key)).filter_map(led).collect()
    }

    /// Versions that this write may send more requests to, or requests of another kind, and how many they may be.
    pub fn raised(&self) -> Vec<(&Text, i64)> {
        let (before, now) = &self.most;
        let hashes = now.shares.keys().chain(&now.special);
        let mut raised: Vec<(&Text, i64)> = hashes
            .filter(|hash| {
                now.share(hash) > before.share(hash)
                    || (now.special.contains(*hash) && !before.special.contains(*hash))
            })
            .map(|hash| (hash, now.share(hash)))
            .collect();
        raised.dedup();
        raised
    }

    /// The share of the new version by the newest objects, before and now.
    pub fn of_new(&self) -> (i64, i64) {
        let new = self.truth.rollout.rollout().map_or("", |body| body.status.current());
        (self.accepted.0.share(new), self.accepted.1.share(new))
    }
}

/// Pods that a share of the requests needs.
pub fn need(n: i64, share: i64, is_special: bool) -> i64 {
    let exact = (i128::from(share) * i128::from(n.max(0)) + i128::from(WHOLE) - 1) / i128::from(WHOLE);
    let least = i64::from(is_special && n > 0);
    i64::try_from(exact).unwrap_or(i64::MAX).max(least)
}

/// Pods that the user allows to be missing.
pub fn tolerance(canary: &Canary, wished: i64) -> i64 {
    let enough = match canary.threshold {
        Some(Threshold::Percent(percent)) if percent >= 0 => {
            let exact = (i128::from(wished) * i128::from(percent) + 99) / 100;
            i64::try_from(exact).unwrap_or(wished)
        }
        Some(Threshold::Pods(pods)) if pods >= 0 => pods,
        _ => wished,
    };
    (wished - enough).max(0)
}

/// Whether the user chose the size of the canary, by a step so far.
pub fn has_size_of_its_own(view: &View) -> bool {
    let Some(body) = view.rollout.rollout() else { return false };
    let Some(canary) = body.spec.spec().canary() else { return false };
    let index = usize::try_from(body.status.index().unwrap_or(0)).unwrap_or(0);
    let begun = canary.steps.iter().take(index.saturating_add(1));
    begun.rev().any(|step| !step.raw["setCanaryScale"].is_null())
}

/// The weight of the steps so far, as a share; nothing when they are over or do not bind.
pub fn allowed(view: &View) -> Option<i64> {
    let body = view.rollout.rollout()?;
    let (spec, status) = (body.spec.spec(), &body.status);
    let canary = spec.canary()?;
    let free = status.promote_full == Some(true)
        || status.stable_hash().is_empty()
        || status.stable_hash() == status.current()
        || view.of_hash(status.stable_hash()).is_none()
        || spec.rollback_window > 0
        || canary.steps.is_empty();
    let index = usize::try_from(status.index().unwrap_or(0)).unwrap_or(0);
    if free || index >= canary.steps.len() {
        return None;
    }
    let weight = canary.steps[..=index].iter().rev().find_map(|step| step.weight).unwrap_or(0);
    let whole = canary.traffic_routing.as_ref().map_or(100, |routing| routing.whole());
    Some(crate::dataplane::flow::part(WHOLE, weight, whole))
}

/// A share in percent, for messages.
pub fn percent(share: i64) -> String {
    let tenths = (i128::from(share) * 1000 + i128::from(WHOLE) / 2) / i128::from(WHOLE);
    match tenths % 10 {
        0 => format!("{}%", tenths / 10),
        below => format!("{}.{below}%", tenths / 10),
    }
}
