//! The Deployment controller, as far as referenced workloads need it: a rolling update with the defaults of
//! Kubernetes, a quarter above and a quarter below.

use std::sync::Arc;

use tidegate_api::object::{Body, Key, Kind, Meta, Object, OwnerRef, ReplicaSetBody, Selector, Text};
use tidegate_controller::edit::Edit;
use tidegate_controller::plan::Guard;

use crate::cluster::store::Part;
use crate::dice::mix;
use crate::world::{Observer, World, Writer};

/// Label that tells the ReplicaSets of a Deployment apart.
const HASH_LABEL: &str = "pod-template-hash";
/// Annotation that counts the revisions of a Deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// A quarter, rounded up.
fn surge(wished: i64) -> i64 {
    (wished + 3) / 4
}

impl World {
    pub(crate) fn sync_deployment(&mut self, key: &Key, watch: &mut dyn Observer) {
        let Some(deployment) = self.store.get(key).cloned() else { return };
        let Some(body) = deployment.deployment() else { return };
        if deployment.meta.deleting.is_some() {
            return;
        }
        let sets: Vec<Arc<Object>> =
            self.store.owned_by(&deployment.meta.uid, &Kind::ReplicaSet).cloned().collect();
        let name = Text::from(format!("{}-{}", key.name, hash(body)));
        let wished = body.wished();
        match sets.iter().find(|set| set.meta.name == name) {
            None => {
                let old: i64 =
                    sets.iter().filter_map(|set| set.replica_set()).map(|body| body.wished()).sum();
                let first = wished.min(wished + surge(wished) - old).max(0);
                let set = self.set_of(&deployment, &name, first, sets.len());
                let set_key = set.key();
                let outcome = self.store.create(set, self.now);
                let _ = self.settle(Writer::Deployments, None, &set_key, outcome, watch);
            }
            Some(current) => {
                let size = |set: &Object| set.replica_set().map_or(0, |body| body.wished());
                let all: i64 = sets.iter().map(|set| size(set)).sum();
                let (mine, most) = (size(current), wished + surge(wished));
                let next = if mine < wished { wished.min(mine + (most - all).max(0)) } else { wished };
                self.scale_set(current, next, watch);
                let ready = current.replica_set().and_then(|body| body.status.available).unwrap_or(0);
                // Old pods go as new ones become available, never below three quarters.
                let mut spare = (all - (wished - wished / 4) - (mine - ready)).max(0);
                for old in sets.iter().filter(|set| set.meta.name != name && size(set) > 0) {
                    let gone = spare.min(size(old));
                    spare -= gone;
                    self.scale_set(old, size(old) - gone, watch);
                }
            }
        }
        let sum = |count: fn(&ReplicaSetBody) -> Option<i64>| -> i64 {
            let sets = self.store.owned_by(&deployment.meta.uid, &Kind::ReplicaSet);
            sets.filter_map(|set| count(set.replica_set()?)).sum()
        };
        let status = body.status.counted(
            sum(|set| set.status.replicas),
            sum(|set| set.status.ready),
            sum(|set| set.status.available),
            deployment.meta.generation,
        );
        let guard = Guard::Identity(deployment.meta.uid.clone());
        let outcome = self.store.update(key, Some(&guard), Part::Status, |object| {
            if let Body::Deployment(body) = &mut object.body {
                body.status = status;
            }
            Ok(())
        });
        let _ = self.settle(Writer::Deployments, None, key, outcome, watch);
    }

    fn scale_set(&mut self, set: &Object, to: i64, watch: &mut dyn Observer) {
        let (key, guard) = (set.key(), Guard::Identity(set.meta.uid.clone()));
        let outcome = self.store.edit(&key, Some(&guard), Part::Main, &[Edit::Replicas(to)]);
        let _ = self.settle(Writer::Deployments, None, &key, outcome, watch);
    }

    fn set_of(&self, deployment: &Object, name: &Text, wished: i64, before: usize) -> Object {
        let meta = &deployment.meta;
        let body = deployment.deployment().expect("only called for a Deployment");
        let hash = name.rsplit('-').next().unwrap_or("").to_owned();
        let template = body.template.with(|template| template.labels.set(HASH_LABEL, hash.as_str()));
        let mut raw = (*body.selector.raw).clone();
        raw["matchLabels"][HASH_LABEL] = hash.into();
        let mut annotations = tidegate_api::object::Strings::default();
        annotations.set(REVISION, (before + 1).to_string());
        let owner = OwnerRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            controller: true,
            block_owner_deletion: true,
        };
        Object {
            kind: Kind::ReplicaSet,
            meta: Meta {
                name: name.clone(),
                namespace: meta.namespace.clone(),
                labels: template.labels.clone(),
                annotations,
                owners: vec![owner],
                ..Meta::default()
            },
            body: Body::ReplicaSet(ReplicaSetBody::new(
                wished,
                0,
                Arc::new(Selector::from_value(Arc::new(raw))),
                template,
            )),
        }
    }
}

/// Ten letters that stand for a template. Not the ones of a real cluster: nobody reads them.
fn hash(body: &tidegate_api::object::DeploymentBody) -> String {
    const LETTERS: &[u8] = b"456789bcdfghjklmnpqrstvwxz";
    let text = body.template.to_value().to_string();
    let mut state = text.bytes().fold(0, |state, byte| mix(state, u64::from(byte)));
    let mut letters = String::new();
    for _ in 0..10 {
        let letter = usize::try_from(state % 26).expect("less than 26");
        letters.push(char::from(LETTERS[letter]));
        state /= 26;
    }
    letters
}
