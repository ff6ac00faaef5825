//! Counts pods while a world is lived through.

use std::collections::BTreeMap;

use tidegate_api::object::{Kind, Text};
use tidegate_api::time::{Span, Time};

use crate::world::{Happened, Observer, World};

/// The pods of one Rollout: how many there are, how many there were at most, and what that was beyond the usual.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    rollout: Text,
    normal: i64,
    /// Pods that exist and pods that are ready, by the ReplicaSet's identity.
    sets: BTreeMap<Text, (i64, i64)>,
    pods: i64,
    since: Time,
    /// Most pods at once.
    pub peak: i64,
    /// Most pods at once since the row began.
    pub row_peak: i64,
    /// Fewest ready pods.
    pub fewest_ready: i64,
    /// Pods beyond the usual number, times how long.
    pub extra: Span,
    /// When anything was written last.
    pub last_change: Time,
}

impl Meter {
    /// Begins to count with what is there now.
    pub fn new(world: &World, rollout: &Text, normal: i64) -> Meter {
        let store = world.store();
        let mut sets = BTreeMap::new();
        for set in store.owned_by(rollout, &Kind::ReplicaSet) {
            let pods = store.owned_by(&set.meta.uid, &Kind::Pod).count();
            let ready = set.replica_set().and_then(|body| body.status.ready).unwrap_or(0);
            sets.insert(set.meta.uid.clone(), (i64::try_from(pods).unwrap_or(i64::MAX), ready));
        }
        let pods = sets.values().map(|(pods, _)| pods).sum();
        let fewest_ready = sets.values().map(|(_, ready)| ready).sum();
        let now = world.now();
        Meter {
            rollout: rollout.clone(),
            normal,
            sets,
            pods,
            since: now,
            peak: pods,
            row_peak: pods,
            fewest_ready,
            extra: Span::ZERO,
            last_change: now,
        }
    }

    /// A row begins with the pods that are there.
    pub fn begin_row(&mut self) {
        self.row_peak = self.pods;
    }

    fn count(&mut self, now: Time, change: i64) {
        let beyond = (self.pods - self.normal).max(0);
        self.extra = Span(self.extra.0.saturating_add(beyond.saturating_mul(now.since(self.since).0)));
        self.since = now;
        self.pods += change;
        self.peak = self.peak.max(self.pods);
        self.row_peak = self.row_peak.max(self.pods);
    }
}

impl Observer for Meter {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        let Happened::Stored { before, after, .. } = what else { return };
        let Some(object) = after.or(*before) else { return };
        self.last_change = world.now();
        let Some(owner) = object.meta.controller().map(|owner| owner.uid.clone()) else { return };
        match &object.kind {
            Kind::ReplicaSet if owner == self.rollout => {
                let ready = after.and_then(|set| set.replica_set()?.status.ready).unwrap_or(0);
                self.sets.entry(object.meta.uid.clone()).or_default().1 = ready;
                let ready = self.sets.values().map(|(_, ready)| ready).sum();
                self.fewest_ready = self.fewest_ready.min(ready);
            }
            Kind::Pod => {
                let change = i64::from(after.is_some()) - i64::from(before.is_some());
                if let Some((pods, _)) = self.sets.get_mut(&owner).filter(|_| change != 0) {
                    *pods += change;
                    self.count(world.now(), change);
                }
            }
            _ => {}
        }
    }
}
