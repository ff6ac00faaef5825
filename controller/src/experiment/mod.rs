//! Experiments: sets of pods side by side for a while, and analyses of them.
//!
//! [`plan`] decides about one Experiment, as [`crate::rollout::plan`] does about a Rollout. All decisions of a pass rest on
//! the status as it was read: a template that fails now has its pods taken away in the next pass.
//!
//! Pods and Services of an Experiment that a Rollout has made may carry users. They go only when no route of that Rollout
//! names them any more and the routes have rested for the propagation time (`traffic`).

mod analyses;
mod phase;
mod services;
mod sets;
mod traffic;

pub use sets::name as set_name;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::experiment::ExperimentSpec;
use tidegate_api::object::{
    Condition, ExperimentStatus, Key, Kind, Object, OwnerRef, TemplateStatus, Text, is_final,
};
use tidegate_api::time::{Span, Stamp, Time};

use crate::cache::{Cache, Moments};
use crate::edit::Edit;
use crate::names::{EXPERIMENT_NAME, EXPERIMENT_TEMPLATE};
use crate::plan::{Guard, IfRefused, Need, Notice, Plan, Reason, Verb, Write};
use crate::rollout::draft::version_of;
use crate::routers;
use crate::world::{Facts, routes};

/// Everything one Experiment's decision may look at.
#[derive(Clone, Debug)]
pub struct ExperimentWorld {
    /// The Experiment.
    pub experiment: Arc<Object>,
    /// ReplicaSets that it controls, and those that stand where its own should go.
    pub sets: Vec<Arc<Object>>,
    /// Services that it controls, and those that stand where its own should go.
    pub services: BTreeMap<Text, Arc<Object>>,
    /// Runs whose names begin as ours would.
    pub runs: BTreeMap<Text, Arc<Object>>,
    /// The analysis templates that it names, and those that they consist of, as far as they exist.
    pub templates: BTreeMap<Key, Arc<Object>>,
    /// The Rollout that has made it, if one did and is still there.
    pub rollout: Option<Arc<Object>>,
    /// Objects of that Rollout's routers.
    pub routes: BTreeMap<Key, Arc<Object>>,
    /// Since when those are as they are.
    pub moments: BTreeMap<Key, Moments>,
    /// How the operator set routers up.
    pub settings: Arc<routers::Settings>,
}

impl ExperimentWorld {
    /// Copies what this Experiment may look at out of the cache; nothing when it is not there.
    pub fn gather(cache: &Cache, key: &Key) -> Option<ExperimentWorld> {
        let experiment = cache.get(key)?.clone();
        let spec = experiment.experiment()?.spec.spec();
        let (uid, namespace, name) =
            (&experiment.meta.uid, &experiment.meta.namespace, &experiment.meta.name);
        let at = |kind: Kind, name: Text| cache.get(&Key::new(kind, namespace.clone(), name)).cloned();
        let mut sets: Vec<Arc<Object>> = cache.owned_by(uid, Kind::ReplicaSet).cloned().collect();
        let mut services: Vec<Arc<Object>> = cache.owned_by(uid, Kind::Service).cloned().collect();
        for template in &spec.templates {
            let set = sets::name(name, &template.name);
            sets.extend(at(Kind::ReplicaSet, set).filter(|set| !is_controlled_by(set, uid)));
            services.extend(services::name(name, template).and_then(|name| at(Kind::Service, name)));
        }
        let prefix = format!("{name}-");
        let runs = cache.named_like(&Kind::AnalysisRun, namespace, &prefix);
        let settings = cache.settings().clone();
        let owner = experiment.meta.controller().filter(|owner| &*owner.kind == "Rollout");
        let rollout = owner
            .and_then(|owner| at(Kind::Rollout, owner.name.clone()).filter(|one| one.meta.uid == owner.uid));
        let routes = rollout.as_ref().map(|rollout| routes(cache, rollout, &settings)).unwrap_or_default();
        let moments = routes.keys().filter_map(|key| Some((key.clone(), cache.moments(key)?.clone())));
        Some(ExperimentWorld {
            sets,
            services: services.into_iter().map(|one| (one.meta.name.clone(), one)).collect(),
            runs: runs.map(|run| (run.meta.name.clone(), run.clone())).collect(),
            templates: cache.templates_of(&experiment),
            rollout,
            moments: moments.collect(),
            routes,
            settings,
            experiment,
        })
    }
}

fn is_controlled_by(object: &Object, uid: &str) -> bool {
    object.meta.controller().is_some_and(|owner| &*owner.uid == uid)
}

/// Decides what happens next with one Experiment. Total: every world, however broken, yields a plan.
pub fn plan(world: &ExperimentWorld, facts: &Facts, now: Time) -> Plan {
    let Some(body) = world.experiment.experiment() else { return Plan::default() };
    if world.experiment.meta.deleting.is_some() {
        return Plan::default();
    }
    let spec = body.spec.spec();
    let mut draft = Draft::new(world, facts, now, spec, &body.status);
    if let Some(problem) = spec.problem(&world.experiment.meta.name) {
        draft.plan.reasons.push(Reason::Refused(problem.as_str().into()));
        draft.set_condition("InvalidSpec", "True", "InvalidSpec", &problem, false);
        return draft.finish();
    }
    draft
        .status
        .conditions
        .iter_mut()
        .for_each(|all| all.retain(|c| c.kind.as_deref() != Some("InvalidSpec")));
    for template in &spec.templates {
        sets::reconcile(&mut draft, template);
    }
    for analysis in &spec.analyses {
        analyses::reconcile(&mut draft, analysis);
    }
    if !draft.needs.is_empty() {
        return Plan { needs: draft.needs, ..Plan::default() };
    }
    phase::settle(&mut draft);
    draft.finish()
}

/// A look at an Experiment in the making.
struct Draft<'a> {
    world: &'a ExperimentWorld,
    facts: &'a Facts,
    now: Time,
    spec: &'a ExperimentSpec,
    /// The status as it was when the pass began.
    observed: &'a Arc<ExperimentStatus>,
    /// The status as it will be.
    status: ExperimentStatus,
    /// Whether all pods are to go, by the status as it was.
    is_terminating: bool,
    /// Whether numbers of a template changed, or a template was looked at first.
    has_progressed: bool,
    /// Kubernetes events that go out once the status is stored.
    notices: Vec<Notice>,
    needs: Vec<Need>,
    plan: Plan,
}

impl<'a> Draft<'a> {
    fn new(
        world: &'a ExperimentWorld,
        facts: &'a Facts,
        now: Time,
        spec: &'a ExperimentSpec,
        observed: &'a Arc<ExperimentStatus>,
    ) -> Draft<'a> {
        Draft {
            is_terminating: phase::is_terminating(spec, observed),
            status: (**observed).clone(),
            has_progressed: false,
            notices: Vec::new(),
            needs: Vec::new(),
            plan: Plan::default(),
            world,
            facts,
            now,
            spec,
            observed,
        }
    }

    fn name(&self) -> &'a str {
        &self.world.experiment.meta.name
    }

    fn stamp(&self) -> Stamp {
        self.now.stamp()
    }

    /// What was said when this write of the pass was refused for good.
    fn refusal(&self, key: &Key) -> Option<Text> {
        self.facts.refused.get(key).cloned()
    }

    /// Whether further objects may be made in this look. After a refusal only the status is written, so that every
    /// refusal is told.
    fn may_make(&self) -> bool {
        self.facts.refused.is_empty()
    }

    /// Whether the running time is over: strictly later than its last instant.
    fn has_run_its_time(&self) -> bool {
        self.ends_at().is_some_and(|end| self.now > end)
    }

    /// When the running time is over, once it runs.
    fn ends_at(&self) -> Option<Time> {
        Some(self.observed.available?.time().plus(self.spec.duration?))
    }

    /// Looks again strictly after this time.
    fn wake_after(&mut self, at: Time, what: &str) {
        let at = at.plus(Span::millis(1));
        self.plan.wake = self.plan.wake.or_at(at);
        self.plan.reasons.push(Reason::Until { what: what.into(), at });
    }

    fn notice(&self, about: &Object, warning: bool, reason: &str, message: &str) -> Notice {
        let (reason, message) = (reason.into(), message.into());
        Notice { about: about.key(), uid: about.meta.uid.clone(), warning, reason, message }
    }

    /// An event about the Experiment that goes out once the status is stored.
    fn tell(&mut self, warning: bool, reason: &str, message: &str) {
        let notice = self.notice(&self.world.experiment, warning, reason, message);
        self.notices.push(notice);
    }

    fn write(&mut self, key: Key, guard: Guard, verb: Verb, notices: Vec<Notice>, if_refused: IfRefused) {
        self.plan.writes.push(Write { key, guard, verb, notices, if_refused });
    }

    fn put_template(&mut self, status: TemplateStatus) {
        let all = self.status.templates.get_or_insert_default();
        match all.iter_mut().find(|known| known.name == status.name) {
            Some(known) => *known = status,
            None => all.push(status),
        }
    }

    /// Sets a condition. One with the same status and reason stays as it is, unless it is to be renewed.
    fn set_condition(&mut self, kind: &str, status: &str, reason: &str, message: &str, renew: bool) {
        let now = self.stamp();
        let all = self.status.conditions.get_or_insert_default();
        let at = all.iter().position(|c| c.kind.as_deref() == Some(kind));
        let known = at.map(|at| all[at].clone());
        let same_status = known.as_ref().is_some_and(|c| c.status.as_deref() == Some(status));
        let same = same_status && known.as_ref().is_some_and(|c| c.reason.as_deref() == Some(reason));
        // What is wrong with a specification may change while it stays wrong.
        let said = known.as_ref().and_then(|c| c.message.as_deref()) == Some(message);
        if same && !renew && (said || kind != "InvalidSpec") {
            return;
        }
        let changed = known.and_then(|c| c.changed).filter(|_| same_status).unwrap_or(now);
        if let Some(at) = at {
            all.remove(at);
        }
        all.push(Condition {
            kind: Some(kind.into()),
            status: Some(status.into()),
            reason: Some(reason.into()),
            message: Some(message.into()),
            updated: Some(now),
            changed: Some(changed),
            rest: None,
        });
    }

    fn finish(mut self) -> Plan {
        if !self.observed.means(&self.status) {
            let experiment = &self.world.experiment;
            let (from, to) = (self.observed.phase().to_owned(), self.status.phase().to_owned());
            if from != to {
                let warning = is_final(&to) && to != "Successful";
                let message = format!("Experiment transitioned from {from} -> {to}");
                self.tell(warning, &format!("Experiment{to}"), &message);
            }
            let edit =
                Edit::ExperimentStatus(self.observed.clone(), Arc::new(std::mem::take(&mut self.status)));
            let notices = std::mem::take(&mut self.notices);
            let (key, guard) = (experiment.key(), version_of(experiment));
            self.write(key, guard, Verb::Edit(vec![edit]), notices, IfRefused::Stop);
        }
        self.plan
    }
}

/// The annotations by which a ReplicaSet or a Service belongs to a template.
fn marks(experiment: &str, template: &str) -> [(&'static str, Text); 2] {
    [(EXPERIMENT_NAME, experiment.into()), (EXPERIMENT_TEMPLATE, template.into())]
}

/// Whether an object is the Experiment's own, of this template.
fn belongs(world: &ExperimentWorld, object: &Object, template: &str) -> bool {
    let mut marks = marks(&world.experiment.meta.name, template).into_iter();
    is_controlled_by(object, &world.experiment.meta.uid)
        && marks.all(|(key, value)| object.meta.annotations.get(key) == Some(&value))
}

/// Whether an object is one of a namesake that was deleted: it goes by itself.
fn is_of_a_predecessor(world: &ExperimentWorld, object: &Object) -> bool {
    let meta = &world.experiment.meta;
    let owner = object.meta.controller().filter(|owner| &*owner.kind == "Experiment");
    owner.is_some_and(|owner| owner.name == meta.name && owner.uid != meta.uid)
}

fn owner(experiment: &Object) -> OwnerRef {
    OwnerRef {
        api_version: experiment.kind.api_version().into(),
        kind: experiment.kind.name().into(),
        name: experiment.meta.name.clone(),
        uid: experiment.meta.uid.clone(),
        controller: true,
        block_owner_deletion: true,
    }
}
