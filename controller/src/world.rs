//! What a decision may look at: one instant, one consistent view, cheap to copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::spec::WorkloadRef;

use tidegate_api::time::{Span, Time};

use crate::analysis::measure::Exchange;
use crate::analysis::secrets::SecretData;
use crate::cache::{Cache, Moments, named_services};
use crate::routers::{self, Reads};
use crate::sabotage::Sabotage;

/// Everything one Rollout's decision may look at.
#[derive(Clone, Debug)]
pub struct RolloutWorld {
    /// The Rollout itself.
    pub rollout: Arc<Object>,
    /// ReplicaSets that it controls, and orphans in its namespace; by creation time, then name.
    pub sets: Vec<Arc<Object>>,
    /// ReplicaSets of somebody else whose names begin as ours would: they may stand where a new one should go.
    pub strangers: Vec<Arc<Object>>,
    /// The Services it names, those that exist.
    pub services: BTreeMap<Text, Arc<Object>>,
    /// Pods of the ReplicaSets it controls, by name.
    pub pods: Vec<Arc<Object>>,
    /// The workload it refers to, if that exists.
    pub workload: Option<Arc<Object>>,
    /// Objects of its routers, those that exist.
    pub routes: BTreeMap<Key, Arc<Object>>,
    /// Since when its Services, routes and ReplicaSets are as they are. Empty without traffic routing.
    pub moments: BTreeMap<Key, Moments>,
    /// Its analysis runs, by name.
    pub runs: Vec<Arc<Object>>,
    /// All runs of its namespace whose names begin as ours would.
    pub run_names: BTreeMap<Text, Arc<Object>>,
    /// Its Experiments, by name.
    pub experiments: Vec<Arc<Object>>,
    /// All Experiments of its namespace whose names begin as ours would.
    pub experiment_names: BTreeMap<Text, Arc<Object>>,
    /// ReplicaSets of its Experiments that have a Service, by the name of that Service.
    pub arm_sets: BTreeMap<Text, Arc<Object>>,
    /// The analysis templates that it names, and those that they consist of, as far as they exist.
    pub templates: BTreeMap<Key, Arc<Object>>,
    /// How the operator set routers up.
    pub settings: Arc<routers::Settings>,
}

/// What was asked of the outside for this decision.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Live reads: the object, or that there is none.
    pub live: BTreeMap<Key, Option<Arc<Object>>>,
    /// Secrets that were asked for, or why one cannot be had.
    pub secrets: BTreeMap<Key, Result<SecretData, Text>>,
    /// What was said so far in attempts to measure, by metric.
    pub exchanges: BTreeMap<Text, Exchange>,
    /// Writes of this pass that were refused for good, with what was said.
    pub refused: BTreeMap<Key, Text>,
    /// Pods whose eviction a disruption budget has refused a moment ago.
    pub protected: BTreeSet<Key>,
    /// Kinds that the API server does not serve.
    pub unserved: Vec<Kind>,
    /// Nothing more is to be asked for this key before that time ([`crate::plan::Plan::patience`]).
    pub patience: Option<Time>,
    /// A guard that is taken away, to prove that its invariant notices. Never set outside tests.
    pub sabotage: Option<Sabotage>,
}

impl Facts {
    /// Whether this guard is taken away.
    pub fn is_sabotaged(&self, how: Sabotage) -> bool {
        self.sabotage == Some(how)
    }
}

impl RolloutWorld {
    /// Copies what this Rollout may look at out of the cache; nothing when it is not there.
    pub fn gather(cache: &Cache, key: &Key) -> Option<RolloutWorld> {
        let rollout = cache.get(key)?.clone();
        let spec = rollout.rollout()?.spec.spec();
        let namespace = &rollout.meta.namespace;
        let mut sets: Vec<Arc<Object>> =
            cache.owned_by(&rollout.meta.uid, Kind::ReplicaSet).cloned().collect();
        let mut pods = Vec::new();
        for set in &sets {
            pods.extend(cache.owned_by(&set.meta.uid, Kind::Pod).cloned());
        }
        sets.extend(cache.orphans_in(namespace).cloned());
        sets.sort_by(|a, b| (a.meta.created, &a.meta.name).cmp(&(b.meta.created, &b.meta.name)));
        let prefix = format!("{}-", rollout.meta.name);
        let strangers = cache
            .named_like(&Kind::ReplicaSet, namespace, &prefix)
            .filter(|set| set.meta.controller().is_some_and(|owner| owner.uid != rollout.meta.uid))
            .cloned()
            .collect();
        let experiments: Vec<Arc<Object>> =
            cache.owned_by(&rollout.meta.uid, Kind::Experiment).cloned().collect();
        let arm_sets = arm_sets(cache, &experiments);
        let arm_services =
            arm_sets.keys().map(|name| Key::new(Kind::Service, namespace.clone(), name.clone()));
        let services: BTreeMap<Text, Arc<Object>> = named_services(&rollout)
            .into_iter()
            .chain(arm_services)
            .filter_map(|key| Some((key.name.clone(), cache.get(&key)?.clone())))
            .collect();
        let workload = spec
            .workload_ref
            .as_ref()
            .and_then(|workload| cache.get(&workload_key(namespace, workload)))
            .cloned();
        let settings = cache.settings().clone();
        let routes = routes(cache, &rollout, &settings);
        let moments = match spec.canary().is_some_and(|canary| canary.traffic_routing.is_some()) {
            false => BTreeMap::new(),
            true => {
                let carriers = services
                    .values()
                    .chain(&sets)
                    .chain(arm_sets.values())
                    .map(|object| object.key())
                    .chain(routes.keys().cloned());
                carriers.filter_map(|key| Some((key.clone(), cache.moments(&key)?.clone()))).collect()
            }
        };
        let runs = cache.owned_by(&rollout.meta.uid, Kind::AnalysisRun).cloned().collect();
        let run_names = cache.named_like(&Kind::AnalysisRun, namespace, &prefix);
        let run_names = run_names.map(|run| (run.meta.name.clone(), run.clone())).collect();
        let names = cache.named_like(&Kind::Experiment, namespace, &prefix);
        let experiment_names = names.map(|one| (one.meta.name.clone(), one.clone())).collect();
        let templates = cache.templates_of(&rollout);
        Some(RolloutWorld {
            rollout,
            sets,
            strangers,
            services,
            pods,
            workload,
            routes,
            moments,
            runs,
            run_names,
            experiments,
            experiment_names,
            arm_sets,
            templates,
            settings,
        })
    }

    /// When an object that carries traffic will have been as it is for so long; nothing when it already has, and for what
    /// is not there.
    pub fn rests_at(&self, key: &Key, stretch: Span, now: Time) -> Option<Time> {
        let rested = self.moments.get(key)?.since.plus(stretch);
        (rested > now).then_some(rested)
    }
}

/// ReplicaSets of Experiments that have a Service, by its name.
fn arm_sets(cache: &Cache, experiments: &[Arc<Object>]) -> BTreeMap<Text, Arc<Object>> {
    let mut found = BTreeMap::new();
    for experiment in experiments {
        let Some(body) = experiment.experiment() else { continue };
        for template in body.status.templates.iter().flatten() {
            let (Some(service), Some(name)) = (&template.service, &template.name) else { continue };
            let set = crate::experiment::set_name(&experiment.meta.name, name);
            let key = Key::new(Kind::ReplicaSet, experiment.meta.namespace.clone(), set);
            let own = |set: &&Arc<Object>| {
                set.meta.controller().is_some_and(|owner| owner.uid == experiment.meta.uid)
            };
            found.extend(cache.get(&key).filter(own).map(|set| (service.clone(), set.clone())));
        }
    }
    found
}

pub(crate) fn routes(
    cache: &Cache,
    rollout: &Object,
    settings: &routers::Settings,
) -> BTreeMap<Key, Arc<Object>> {
    let mut found = BTreeMap::new();
    for reads in routers::reads_of(rollout, settings) {
        match reads {
            Reads::One(key) => drop(cache.get(&key).map(|object| found.insert(key.clone(), object.clone()))),
            Reads::Matching(kind, namespace, selector) => {
                let all = cache.named_like(&kind, &namespace, "");
                let matching = all.filter(|object| selector.matches(&object.meta.labels));
                found.extend(matching.map(|object| (object.key(), object.clone())));
            }
            Reads::All(kind, namespace) => {
                let all = cache.named_like(&kind, &namespace, "");
                found.extend(all.map(|object| (object.key(), object.clone())));
            }
            Reads::Controlled(kind, namespace) => {
                let owner_is_it = |object: &&Arc<Object>| {
                    let owner = object.meta.controller();
                    owner.is_some_and(|owner| &*owner.kind == "Rollout" && owner.name == rollout.meta.name)
                };
                let all = cache.named_like(&kind, &namespace, "").filter(owner_is_it);
                found.extend(all.map(|object| (object.key(), object.clone())));
            }
        }
    }
    found
}

/// Where the workload of a reference lives. Only the group counts: the version merely chose a watch in the reference.
pub fn workload_key(namespace: &Text, workload: &WorkloadRef) -> Key {
    let group = workload.api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = match (group, &*workload.kind) {
        ("apps", "Deployment") => Kind::Deployment,
        ("apps", "ReplicaSet") => Kind::ReplicaSet,
        ("", "PodTemplate") => Kind::PodTemplate,
        _ => Kind::new(&workload.api_version, &workload.kind),
    };
    Key::new(kind, namespace.clone(), workload.name.clone())
}
