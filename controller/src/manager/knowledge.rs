//! What the manager is shown, and whom it concerns.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::Time;

use super::{INSTANCE_LABEL, Manager, WATCHED, WATCHED_ON_DEMAND, asks, experiments, notice, services_of};
use crate::analysis;
use crate::cache::{named_templates, references};
use crate::routers;
use crate::seams::Seams;

impl Manager {
    pub(super) fn saw(&mut self, object: Arc<Object>, seams: &mut impl Seams) {
        let key = object.key();
        let known = self.cache.get(&key).is_some_and(|held| held.meta.uid == object.meta.uid);
        let Some(object) = self.learn(object, seams.now()) else { return };
        self.ask_for_kinds(&object, seams);
        if key.kind == Kind::Rollout && !known && self.is_ours(&object) {
            let message = format!("Rollout resource added to informer: {}/{}", key.namespace, key.name);
            self.record(notice(&object, "RolloutAddedToInformer", message), seams);
        }
    }

    /// Has those kinds watched that this object refers to and nobody did before.
    pub(super) fn ask_for_kinds(&mut self, rollout: &Object, seams: &mut impl Seams) {
        let refers = matches!(
            rollout.kind,
            Kind::Rollout
                | Kind::AnalysisRun
                | Kind::Experiment
                | Kind::AnalysisTemplate
                | Kind::ClusterAnalysisTemplate
        );
        if !refers || !self.is_ours(rollout) {
            return;
        }
        let measures_by_job = |metric: &Arc<serde_json::Value>| metric["provider"]["job"].is_object();
        let needs_jobs = rollout
            .analysis_run()
            .is_some_and(|run| !run.status.is_over() && run.spec.spec().metrics.iter().any(measures_by_job));
        if needs_jobs && self.asked_for.insert(Kind::Job) {
            seams.watch(Kind::Job);
        }
        let of_routers = routers::reads_of(rollout, &self.settings.routers);
        let of_routers: Vec<Kind> = of_routers.iter().map(|reads| reads.kind().clone()).collect();
        let others = references(rollout, &self.settings.routers).into_iter().map(|key| key.kind);
        let others: Vec<Kind> = others.filter(|kind| WATCHED_ON_DEMAND.contains(kind)).collect();
        for kind in of_routers.into_iter().chain(others) {
            if !WATCHED.contains(&kind) && self.asked_for.insert(kind.clone()) {
                seams.watch(kind);
            }
        }
    }

    /// Whether a key refers to an object of a kind that is not known yet.
    pub(super) fn waits_for_a_list(&self, key: &Key) -> bool {
        if self.asked_for.iter().all(|kind| self.listed.contains(kind)) {
            return false;
        }
        let is_unknown = |key: &Key| self.asked_for.contains(&key.kind) && !self.listed.contains(&key.kind);
        let refers = |rollout: &Arc<Object>| {
            references(rollout, &self.settings.routers).iter().any(is_unknown)
                || (asks(rollout) && !self.listed.contains(&Kind::AnalysisRun))
                || self
                    .cache
                    .templates_of(rollout)
                    .values()
                    .flat_map(|one| named_templates(one))
                    .any(|k| is_unknown(&k))
        };
        self.cache.get(key).is_some_and(|object| refers(object) || self.waits_for_experiments(object))
    }

    /// Takes a version of an object and queues what it concerns. If it was news, answers it as it is held: what it shares
    /// with the version before is understood already.
    pub(super) fn learn(&mut self, object: Arc<Object>, now: Time) -> Option<Arc<Object>> {
        let key = object.key();
        let before = self.cache.get(&key).cloned();
        if !self.cache.put(object, now) {
            return None;
        }
        let object = self.cache.get(&key).cloned()?;
        // What is no longer named must lose what was left there.
        let settings = self.settings.routers.clone();
        let named_before = before.iter().flat_map(|before| references(before, &settings));
        let named_now = references(&object, &settings);
        for left in named_before.filter(|key| !key.name.is_empty() && !named_now.contains(key)) {
            self.agenda.add(left, now);
        }
        self.touch(&object, now);
        if object.rollout().is_some() && experiments::arms_differ(before.as_deref(), &object) {
            self.experiments_of(&object).into_iter().for_each(|key| self.agenda.add(key, now));
        }
        // Measurements come and go; what a run says concerns its Rollout only when it says something else.
        let phase = |object: &Object| object.analysis_run().map(|run| run.status.phase().to_owned());
        if before.is_none_or(|before| phase(&before) != phase(&object)) {
            self.touch_asker(&object, now);
        }
        Some(object)
    }

    /// Queues the Rollout or the Experiment that asks with this run.
    pub(super) fn touch_asker(&mut self, run: &Object, now: Time) {
        if run.analysis_run().is_some() {
            experiments::asker(run).into_iter().for_each(|key| self.agenda.add(key, now));
        }
    }

    pub(super) fn lost_sight_of(&mut self, object: &Object, seams: &mut impl Seams) {
        let key = object.key();
        if !self.cache.remove_for_good(&key, object.meta.resource_version, self.next_call) {
            return;
        }
        self.protected.remove(&key);
        if key.kind == Kind::Rollout && self.is_ours(object) {
            let message = format!("Rollout {}/{} is deleted.", key.name, key.namespace);
            self.record(notice(object, "RolloutDeleted", message), seams);
            for left in references(object, &self.settings.routers) {
                self.agenda.add(left, seams.now());
            }
            self.experiments_of(object).into_iter().for_each(|key| self.agenda.add(key, seams.now()));
            self.failures.remove(&key);
            self.patience.remove(&key);
            self.trail.remove(&key);
        }
        if matches!(key.kind, Kind::AnalysisRun | Kind::Experiment) {
            self.failures.remove(&key);
            self.trail.remove(&key);
            self.touch_asker(object, seams.now());
        }
        self.touch(object, seams.now());
    }

    /// These keys, and instead of each template who refers to it.
    pub(super) fn with_users_of_templates(&self, keys: Vec<Key>) -> BTreeSet<Key> {
        let (mut found, mut waiting) = (BTreeSet::new(), keys);
        while let Some(key) = waiting.pop() {
            let is_template = matches!(key.kind, Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate);
            if found.insert(key.clone()) && is_template {
                waiting.extend(self.cache.referring_to(&key).cloned());
            }
        }
        found.retain(|key| !matches!(key.kind, Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate));
        found
    }

    /// Whether a kind is watched for the sake of routers.
    pub(super) fn is_of_routers(&self, kind: &Kind) -> bool {
        matches!(kind, Kind::Other { .. }) && self.asked_for.contains(kind)
    }

    /// Whether a Rollout carries our instance label.
    pub fn is_ours(&self, rollout: &Object) -> bool {
        rollout.meta.labels.get(INSTANCE_LABEL) == self.settings.instance_id.as_ref()
    }

    pub(super) fn is_restarting(&self, rollout: &Key) -> bool {
        self.cache.get(rollout).and_then(|rollout| rollout.rollout()).is_some_and(|body| {
            let wanted = body.spec.spec().restart_at;
            wanted.is_some() && wanted != body.status.restarted_at
        })
    }

    /// Queues every key that a change of this object concerns.
    pub(super) fn touch(&mut self, object: &Object, now: Time) {
        let key = object.key();
        let referring: Vec<Key> = self.cache.referring_to(&key).cloned().collect();
        let mut keys: Vec<Key> = self.with_users_of_templates(referring).into_iter().collect();
        keys.extend(self.concerned_by_experiments(object));
        match key.kind {
            Kind::Rollout => {
                keys.extend(services_of(object));
                keys.push(key);
            }
            Kind::Service | Kind::AnalysisRun => keys.push(key),
            Kind::Job => keys.extend(analysis::job::run_of(object)),
            _ if self.is_of_routers(&key.kind) => {
                let owner = object.meta.controller().filter(|owner| &*owner.kind == "Rollout");
                keys.extend(
                    owner.map(|owner| Key::new(Kind::Rollout, key.namespace.clone(), owner.name.clone())),
                );
                keys.push(key);
            }
            _ => match object.meta.controller() {
                Some(owner) if &*owner.kind == "Rollout" => {
                    keys.push(Key::new(Kind::Rollout, key.namespace.clone(), owner.name.clone()));
                }
                Some(owner) if key.kind == Kind::Pod => {
                    // Pods matter to a restart under way; all else is told by the counts of their ReplicaSet.
                    let set = Key::new(Kind::ReplicaSet, key.namespace.clone(), owner.name.clone());
                    let rollout = self
                        .cache
                        .get(&set)
                        .and_then(|set| set.meta.controller())
                        .map(|owner| Key::new(Kind::Rollout, key.namespace.clone(), owner.name.clone()));
                    keys.extend(rollout.filter(|rollout| self.is_restarting(rollout)));
                    let job = Key::new(Kind::Job, key.namespace.clone(), owner.name.clone());
                    let job = self.cache.get(&job).filter(|job| job.meta.uid == owner.uid);
                    keys.extend(job.and_then(|job| analysis::job::run_of(job)));
                }
                Some(_) => {}
                None if key.kind == Kind::ReplicaSet => {
                    let adopters = self.cache.named_like(&Kind::Rollout, &key.namespace, "");
                    let selects = |rollout: &&Arc<Object>| {
                        let spec = rollout.rollout().map(|body| body.spec.spec());
                        let selector = spec.and_then(|spec| spec.selector.as_ref());
                        selector.is_some_and(|selector| selector.matches(&object.meta.labels))
                    };
                    keys.extend(adopters.filter(selects).map(|rollout| rollout.key()));
                }
                None => {}
            },
        }
        for key in keys {
            self.agenda.add(key, now);
        }
    }
}
