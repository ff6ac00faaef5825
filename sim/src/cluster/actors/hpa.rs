//! A HorizontalPodAutoscaler: looks at the scale subresource of its Rollout and at a load, and writes the wished pods.

use tidegate_api::object::{Body, Key, Kind, Strings, Text};
use tidegate_controller::edit::Edit;

use crate::cluster::store::Part;
use crate::dataplane::flow::{Flow, WHOLE, part};
use crate::world::{Observer, World, Writer};

/// What an autoscaler measures: so much work, of which one pod carries so much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// The work there is.
    pub total: i64,
    /// What one pod carries.
    pub per_pod: i64,
}

impl Load {
    fn pods(self) -> i64 {
        let per_pod = self.per_pod.max(1);
        self.total.max(0) / per_pod + i64::from(self.total.max(0) % per_pod != 0)
    }
}

impl World {
    /// From now on this autoscaler measures so much work.
    pub fn set_load(&mut self, autoscaler: &Key, load: Load) {
        self.loads.insert(autoscaler.clone(), load);
        self.sync_later(autoscaler.clone());
    }

    /// What an autoscaler measures: what a person says, or else the requests that reach the pods it selects.
    fn load_of(&self, scaler: &Key) -> Option<Load> {
        if let Some(load) = self.loads.get(scaler) {
            return Some(*load);
        }
        let traffic = self.config.traffic.as_ref()?;
        let Body::Other(document) = &self.store.get(scaler)?.body else { return None };
        let target = document["spec"]["metrics"].as_array()?.iter().find_map(|metric| {
            let value = &metric["pods"]["target"]["averageValue"];
            value.as_i64().or_else(|| value.as_str()?.parse().ok())
        })?;
        let rollout = self.store.get(&self.target_of(scaler)?)?;
        let selector = rollout.rollout()?.status.selector.clone()?;
        let selects = |labels: &Strings| {
            selector
                .split(',')
                .filter_map(|term| term.split_once('='))
                .all(|(key, value)| labels.get(key).is_some_and(|found| **found == *value))
        };
        let flow = Flow::of(self, rollout, traffic.matching);
        let pods = flow.pods.iter().filter(|(name, _)| {
            let key = Key::new(Kind::Pod, rollout.meta.namespace.clone(), (*name).clone());
            self.store.get(&key).is_some_and(|pod| selects(&pod.meta.labels))
        });
        let share: i64 = pods.map(|(_, (_, share))| *share).sum();
        let rps = traffic.rate(self.now);
        Some(Load { total: part(rps, share.saturating_add(500), WHOLE), per_pod: target })
    }

    /// Where users are counted, autoscalers look again whenever their requests go elsewhere.
    pub(crate) fn wake_scalers(&mut self) {
        if self.config.traffic.is_none() {
            return;
        }
        let all: Vec<Key> =
            self.store.of_kind(&Kind::HorizontalPodAutoscaler).map(|scaler| scaler.key()).collect();
        for scaler in all {
            if !self.loads.contains_key(&scaler) {
                self.sync_later(scaler);
            }
        }
    }

    pub(crate) fn wake_scalers_of(&mut self, target: &Key) {
        let scalers: Vec<Key> =
            self.loads.keys().filter(|key| self.target_of(key).as_ref() == Some(target)).cloned().collect();
        for scaler in scalers {
            self.sync_later(scaler);
        }
    }

    fn target_of(&self, scaler: &Key) -> Option<Key> {
        let Body::Other(document) = &self.store.get(scaler)?.body else { return None };
        let target = &document["spec"]["scaleTargetRef"];
        let kind = Kind::new(target["apiVersion"].as_str()?, target["kind"].as_str()?);
        Some(Key::new(kind, scaler.namespace.clone(), Text::from(target["name"].as_str()?)))
    }

    pub(crate) fn sync_scaler(&mut self, scaler: &Key, watch: &mut dyn Observer) {
        let Some(wished) = self.wished_by(scaler) else { return };
        let Some(target) = self.target_of(scaler) else { return };
        let outcome = self.store.edit(&target, None, Part::Main, &[Edit::Replicas(wished)]);
        let _ = self.settle(Writer::Autoscaler, None, &target, outcome, watch);
    }

    /// The pods an autoscaler wants; nothing when it cannot tell, or when it is switched off by a wish for none.
    fn wished_by(&self, scaler: &Key) -> Option<i64> {
        let load = self.load_of(scaler)?;
        let Body::Other(document) = &self.store.get(scaler)?.body else { return None };
        let target = self.store.get(&self.target_of(scaler)?)?;
        let (now, counted) = match &target.body {
            // Without a selector it finds no pods, and without pods no measure of them.
            Body::Rollout(body) => {
                let selector = body.status.selector.as_deref().unwrap_or("");
                let counted = body.status.hpa.unwrap_or(0);
                (body.spec.spec().wished(), if selector.is_empty() { 0 } else { counted })
            }
            Body::Deployment(body) => (body.wished(), body.status.replicas.unwrap_or(0)),
            Body::ReplicaSet(body) => (body.wished(), body.status.replicas.unwrap_or(0)),
            _ => return None,
        };
        if now == 0 || counted == 0 {
            return None;
        }
        let spec = &document["spec"];
        let (least, most) = (spec["minReplicas"].as_i64().unwrap_or(1), spec["maxReplicas"].as_i64()?);
        Some(load.pods().max(least).min(most))
    }
}
