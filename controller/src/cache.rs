//! What is known of the cluster: fed by watches, and by the replies to our own writes.
//!
//! Watches lag, and each at its own pace, so two rules make the cache safe to decide on. It only moves forward: a
//! version older than the one held is dropped, whoever brings it (the reference wrote replies over newer versions and
//! stayed blind until a restart). And it is never older than our own last write, because every reply goes in as well.
//! What was deleted leaves a mark, so that neither a late watch event nor a late reply can bring it back. The mark goes
//! when neither can come any more: the watch has shown the deletion itself, and every call that was under way then has
//! its answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tidegate_api::analysis::TemplateRef;
use tidegate_api::object::{Body, Key, Kind, Object, Text};
use tidegate_api::spec::StepKind;
use tidegate_api::time::{Span, Time};

use crate::analysis::templates::template_key;
use crate::routers;

/// Objects by key, with the indexes that decisions need.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cache {
    objects: BTreeMap<Key, Arc<Object>>,
    /// Objects by the identity of their controller.
    owned: BTreeMap<Text, BTreeSet<Key>>,
    /// ReplicaSets that nobody controls, by namespace.
    orphans: BTreeMap<Text, BTreeSet<Key>>,
    /// Rollouts by the objects they refer to.
    references: BTreeMap<Key, BTreeSet<Key>>,
    graves: BTreeMap<Key, Grave>,
    /// Graves of objects whose end the watch has shown, in that order.
    closing: VecDeque<(u64, Key)>,
    /// Since when things that carry traffic are as they are.
    moments: BTreeMap<Key, Moments>,
    /// How the operator set routers up: it decides which objects a Rollout refers to.
    settings: Arc<routers::Settings>,
}

/// Since when something is as it is, as far as was seen here. A restart forgets it, which makes everything new: what
/// waits for a time of rest then waits once more.
#[derive(Clone, PartialEq, Debug)]
pub struct Moments {
    /// Since when the object asks for what it asks for (its status does not count).
    pub since: Time,
    /// Available pods of a ReplicaSet since each of these times, oldest first.
    pub available: VecDeque<(Time, i64)>,
    /// Versions of a route that were replaced at these times, oldest first: load balancers may not have let go of them.
    pub earlier: VecDeque<(Time, Arc<Object>)>,
    /// Whether nobody had led traffic through it yet when it was seen first: then nothing about it was forgotten.
    pub was_unused: bool,
}

/// How far back numbers of available pods and earlier versions of routes are remembered.
const REMEMBERED: Span = Span::seconds(60);

/// So many earlier versions of a route are remembered at most. One that changes more often than that is no release.
const MOST_EARLIER: usize = 8;

/// What is left of a deleted object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Grave {
    /// Its last known version.
    version: u64,
    /// Set once the watch has shown the end: the number of the first call that began after that.
    closed_at: Option<u64>,
}

impl Cache {
    /// An empty cache of a controller whose routers are set up so.
    pub fn new(settings: Arc<routers::Settings>) -> Cache {
        Cache { settings, ..Cache::default() }
    }

    /// How the operator set routers up.
    pub fn settings(&self) -> &Arc<routers::Settings> {
        &self.settings
    }

    /// Since when an object is as it is; nothing for kinds of which that is not noted.
    pub fn moments(&self, key: &Key) -> Option<&Moments> {
        self.moments.get(key)
    }

    /// The object, as far as is known.
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// Takes a version of an object that came now. Says whether it was news.
    pub fn put(&mut self, object: Arc<Object>, now: Time) -> bool {
        let key = object.key();
        let version = object.meta.resource_version;
        if self.graves.get(&key).is_some_and(|grave| grave.version >= version) {
            return false;
        }
        let mut object = object;
        if let Some(held) = self.objects.get(&key) {
            if held.meta.resource_version >= version {
                return false;
            }
            let held = held.clone();
            object = shared(object, &held);
            self.unlink(&key, &held);
        }
        self.note(&key, &object, now);
        self.graves.remove(&key);
        self.link(&key, &object);
        self.objects.insert(key, object);
        true
    }

    /// Takes the news that an object is gone; `version` is the last one it had. Says whether it was news.
    pub fn remove(&mut self, key: &Key, version: u64) -> bool {
        let grave = self.graves.entry(key.clone()).or_default();
        if grave.version < version {
            *grave = Grave { version, closed_at: None };
        }
        match self.objects.get(key) {
            // A new object of the same name was seen already: this is old news about its predecessor.
            Some(held) if held.meta.resource_version > version => {
                self.graves.remove(key);
                false
            }
            Some(held) => {
                let held = held.clone();
                self.unlink(key, &held);
                self.objects.remove(key);
                self.moments.remove(key);
                true
            }
            None => false,
        }
    }

    /// The same, from the watch: it shows nothing older any more. What calls before this number bring may still be older.
    pub fn remove_for_good(&mut self, key: &Key, version: u64, next_call: u64) -> bool {
        let news = self.remove(key, version);
        self.close(key, next_call);
        news
    }

    fn close(&mut self, key: &Key, next_call: u64) {
        if let Some(grave) = self.graves.get_mut(key)
            && grave.closed_at.is_none()
        {
            grave.closed_at = Some(next_call);
            self.closing.push_back((next_call, key.clone()));
        }
    }

    /// Forgets the dead that nothing can bring back: `oldest` is the oldest call that has no answer yet.
    pub fn forget_graves(&mut self, oldest: u64) {
        while let Some((call, key)) = self.closing.pop_front_if(|(call, _)| *call <= oldest) {
            // One that was opened again has another entry, or will have.
            if self.graves.get(&key).is_some_and(|grave| grave.closed_at == Some(call)) {
                self.graves.remove(&key);
            }
        }
    }

    /// Takes a complete list of a kind: what is not in it is gone. Returns what went.
    pub fn keep_only(&mut self, kind: &Kind, keys: &BTreeSet<Key>, next_call: u64) -> Vec<Arc<Object>> {
        let gone: Vec<Arc<Object>> =
            self.of_kind(kind).filter(|object| !keys.contains(&object.key())).cloned().collect();
        for object in &gone {
            self.remove(&object.key(), object.meta.resource_version);
        }
        let start = Key::new(kind.clone(), "", "");
        let buried = self.graves.range(start..).map(|(key, _)| key).take_while(|key| key.kind == *kind);
        let closed: Vec<Key> = buried.filter(|key| !keys.contains(*key)).cloned().collect();
        closed.iter().for_each(|key| self.close(key, next_call));
        gone
    }

    /// Every object of a kind.
    pub fn of_kind<'a>(&'a self, kind: &Kind) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let kind = kind.clone();
        let start = Key::new(kind.clone(), "", "");
        self.objects.range(start..).take_while(move |(key, _)| key.kind == kind).map(|(_, object)| object)
    }

    /// Objects of a kind in a namespace whose names begin so.
    pub fn named_like<'a>(
        &'a self,
        kind: &Kind,
        namespace: &'a str,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let kind = kind.clone();
        self.objects
            .range(Key::new(kind.clone(), namespace, prefix)..)
            .take_while(move |(key, _)| {
                key.kind == kind && &*key.namespace == namespace && key.name.starts_with(prefix)
            })
            .map(|(_, object)| object)
    }

    /// Objects of a kind that are controlled by this identity.
    pub fn owned_by<'a>(&'a self, uid: &str, kind: Kind) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let keys = self.owned.get(uid).into_iter().flatten();
        keys.filter(move |key| key.kind == kind).filter_map(|key| self.objects.get(key))
    }

    /// ReplicaSets of a namespace that nobody controls.
    pub fn orphans_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.orphans.get(namespace).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }

    /// Rollouts that refer to an object, present or not, or to all objects of its kind in its namespace.
    pub fn referring_to(&self, key: &Key) -> impl Iterator<Item = &Key> {
        let all = Key::new(key.kind.clone(), key.namespace.clone(), "");
        let to_all = self.references.get(&all).into_iter().flatten();
        self.references.get(key).into_iter().flatten().chain(to_all)
    }

    /// Rollouts that refer to any object of this kind.
    pub fn referring_to_kind<'a>(&'a self, kind: &'a Kind) -> impl Iterator<Item = &'a Key> {
        let start = Key::new(kind.clone(), "", "");
        let of_kind = self.references.range(start..).take_while(move |(target, _)| target.kind == *kind);
        of_kind.flat_map(|(_, rollouts)| rollouts)
    }

    /// The analysis templates that an object refers to, and those that they refer to, as far as they exist.
    pub fn templates_of(&self, object: &Object) -> BTreeMap<Key, Arc<Object>> {
        let mut found = BTreeMap::new();
        let mut waiting = named_templates(object);
        while let Some(key) = waiting.pop() {
            if let Some(template) = self.objects.get(&key).filter(|_| !found.contains_key(&key)) {
                waiting.extend(named_templates(template));
                found.insert(key, template.clone());
            }
        }
        found
    }

    /// Notes since when it is as it is.
    fn note(&mut self, key: &Key, object: &Object, now: Time) {
        let of_rollout =
            || object.meta.controller().is_some_and(|owner| matches!(&*owner.kind, "Rollout" | "Experiment"));
        let is_noted = match &object.body {
            Body::Service(_) | Body::Other(_) => true,
            Body::ReplicaSet(_) => of_rollout(),
            _ => false,
        };
        if !is_noted {
            return;
        }
        let held = self.objects.get(key);
        let same = held.is_some_and(|held| asks_the_same(held, object));
        let replaced = held.filter(|held| !same && matches!(held.body, Body::Other(_))).cloned();
        let is_old = |at: Time| now.since(at) > REMEMBERED;
        let has_weights = |rollout: &Key| {
            let body = self.objects.get(rollout).and_then(|rollout| rollout.rollout());
            body.and_then(|body| body.status.canary.as_ref()).is_some_and(|canary| canary.weights.is_some())
        };
        let users: Vec<&Key> = self.referring_to(key).collect();
        let was_unused = held.is_none() && !users.is_empty() && !users.into_iter().any(has_weights);
        let moments = self
            .moments
            .entry(key.clone())
            .and_modify(|moments| moments.since = if same { moments.since } else { now })
            .or_insert_with(|| Moments {
                since: now,
                available: VecDeque::new(),
                earlier: VecDeque::new(),
                was_unused,
            });
        moments.earlier.extend(replaced.map(|held| (now, held)));
        while moments.earlier.len() > MOST_EARLIER
            || moments.earlier.front().is_some_and(|(at, _)| is_old(*at))
        {
            moments.earlier.pop_front();
        }
        if let Some(set) = object.replica_set() {
            // Pods that have been given up serve nobody for long, whatever is still counted.
            let available = set.status.available.unwrap_or(0).min(set.wished());
            if moments.available.back().is_none_or(|(_, known)| *known != available) {
                moments.available.push_back((now, available));
            }
            // The one before the oldest that counts says what held at the beginning of the time remembered.
            while moments.available.len() > 2 && is_old(moments.available[1].0) {
                moments.available.pop_front();
            }
        }
    }

    fn link(&mut self, key: &Key, object: &Object) {
        match object.meta.controller() {
            Some(owner) => drop(self.owned.entry(owner.uid.clone()).or_default().insert(key.clone())),
            None if key.kind == Kind::ReplicaSet => {
                self.orphans.entry(key.namespace.clone()).or_default().insert(key.clone());
            }
            None => {}
        }
        for target in references(object, &self.settings) {
            self.references.entry(target).or_default().insert(key.clone());
        }
    }

    fn unlink(&mut self, key: &Key, object: &Object) {
        match object.meta.controller() {
            Some(owner) => leave(&mut self.owned, &owner.uid, key),
            None if key.kind == Kind::ReplicaSet => leave(&mut self.orphans, &key.namespace, key),
            None => {}
        }
        for target in references(object, &self.settings) {
            leave(&mut self.references, &target, key);
        }
    }
}

/// The new version of an object with the parts that have not changed taken from the version before. A document that comes
/// over the wire is all new; what was understood of its specification, and the hash of its template, would be worked out
/// again after every change of a status.
fn shared(new: Arc<Object>, held: &Object) -> Arc<Object> {
    let body = match (&new.body, &held.body) {
        (Body::Rollout(body), Body::Rollout(known))
            if !Arc::ptr_eq(&body.spec, &known.spec) && body.spec == known.spec =>
        {
            let mut body = body.clone();
            body.spec = known.spec.clone();
            Body::Rollout(body)
        }
        (Body::ReplicaSet(body), Body::ReplicaSet(known))
            if !body.template.spec.is_shared_with(&known.template.spec)
                && body.template == known.template =>
        {
            let mut body = body.clone();
            body.template = known.template.clone();
            Body::ReplicaSet(body)
        }
        _ => return new,
    };
    Arc::new(Object { kind: new.kind.clone(), meta: new.meta.clone(), body })
}

/// Whether two versions of an object ask for the same: all but their status and what the server notes.
fn asks_the_same(before: &Object, after: &Object) -> bool {
    if before.meta.uid != after.meta.uid
        || before.meta.labels != after.meta.labels
        || before.meta.annotations != after.meta.annotations
    {
        return false;
    }
    match (&before.body, &after.body) {
        (Body::Service(before), Body::Service(after)) => before.selector == after.selector,
        (Body::Other(before), Body::Other(after)) => {
            let fields = |value: &serde_json::Value| {
                let fields = value.as_object().into_iter().flatten();
                fields
                    .filter(|(name, _)| *name != "status")
                    .map(|(n, v)| (n.clone(), v.clone()))
                    .collect::<Vec<_>>()
            };
            Arc::ptr_eq(before, after) || fields(before) == fields(after)
        }
        _ => true,
    }
}

impl Moments {
    /// Versions that load balancers may still go by: those replaced within this stretch of time.
    pub fn lately(&self, now: Time, stretch: Span) -> impl Iterator<Item = &Arc<Object>> {
        self.earlier.iter().filter(move |(at, _)| now.since(*at) < stretch).map(|(_, object)| object)
    }

    /// Whether it is known what load balancers may go by: it has rested for so long, or what was before is remembered.
    pub fn is_known(&self, now: Time, stretch: Span) -> bool {
        self.was_unused || now.since(self.since) >= stretch || self.lately(now, stretch).next().is_some()
    }

    /// The fewest pods that were available in the last stretch of time; 0 where not all of it was seen.
    pub fn steadily_available(&self, now: Time, stretch: Span) -> i64 {
        let begins = Time(now.0.saturating_sub(stretch.0));
        let mut fewest = self.available.back().map_or(0, |(_, available)| *available);
        for (since, available) in self.available.iter().rev() {
            fewest = fewest.min(*available);
            if *since <= begins {
                return fewest;
            }
        }
        0
    }
}

fn leave<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Key>>, at: &K, key: &Key) {
    if let Some(set) = index.get_mut(at) {
        set.remove(key);
        if set.is_empty() {
            index.remove(at);
        }
    }
}

/// The objects that a Rollout names in its specification. A key without a name stands for all objects of that kind in
/// the namespace.
pub fn references(object: &Object, settings: &routers::Settings) -> Vec<Key> {
    let mut keys = named_services(object);
    keys.extend(named_templates(object));
    let Some(rollout) = object.rollout() else { return keys };
    let spec = rollout.spec.spec();
    if let Some(workload) = &spec.workload_ref {
        keys.push(crate::world::workload_key(&object.meta.namespace, workload));
    }
    keys.extend(routers::reads_of(object, settings).into_iter().filter_map(|reads| match reads {
        routers::Reads::One(key) => Some(key),
        routers::Reads::Matching(kind, namespace, _) | routers::Reads::All(kind, namespace) => {
            Some(Key::new(kind, namespace, ""))
        }
        // Its owner reference leads to the Rollout.
        routers::Reads::Controlled(..) => None,
    }));
    keys
}

/// The analysis templates that a Rollout, an Experiment or a template names in its specification.
pub fn named_templates(object: &Object) -> Vec<Key> {
    let namespace = &object.meta.namespace;
    let keys = |references: &[TemplateRef]| {
        references.iter().map(|reference| template_key(namespace, reference)).collect::<Vec<_>>()
    };
    if let Some(template) = object.analysis_template() {
        return keys(&template.spec.spec().templates);
    }
    if let Some(experiment) = object.experiment() {
        let analyses = experiment.spec.spec().analyses.iter();
        return analyses.map(|analysis| template_key(namespace, &analysis.template)).collect();
    }
    let Some(rollout) = object.rollout() else { return Vec::new() };
    let spec = rollout.spec.spec();
    let mut asked = Vec::new();
    if let Some(canary) = spec.canary() {
        asked.extend(canary.analysis.iter());
        asked.extend(canary.steps.iter().filter_map(|step| match &step.kind {
            StepKind::Analysis(analysis) => Some(analysis),
            _ => None,
        }));
    }
    if let Some(blue_green) = spec.blue_green() {
        asked.extend(blue_green.pre_promotion_analysis.iter().chain(&blue_green.post_promotion_analysis));
    }
    asked.into_iter().flat_map(|analysis| keys(&analysis.templates)).collect()
}

/// The Services that a Rollout names in its specification.
pub fn named_services(object: &Object) -> Vec<Key> {
    let Some(rollout) = object.rollout() else { return Vec::new() };
    let spec = rollout.spec.spec();
    let service = |name: &Text| Key::new(Kind::Service, object.meta.namespace.clone(), name.clone());
    let mut keys = Vec::new();
    if let Some(canary) = spec.canary() {
        keys.extend([&canary.canary_service, &canary.stable_service].map(service));
        keys.extend(canary.ping_pong.iter().flat_map(|pair| [&pair.ping, &pair.pong]).map(service));
    }
    if let Some(blue_green) = spec.blue_green() {
        keys.extend([&blue_green.active_service, &blue_green.preview_service].map(service));
    }
    keys.retain(|key| !key.name.is_empty());
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(version: u64, label: &str) -> Arc<Object> {
        let object = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "s", "namespace": "n", "resourceVersion": version.to_string(), "labels": {"v": label}}});
        Arc::new(Object::from_value(object).expect("a service"))
    }

    #[test]
    fn what_has_not_changed_is_shared_with_the_version_before() {
        let rollout = |version: u64, image: &str| {
            let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
                "metadata": {"name": "r", "namespace": "n", "resourceVersion": version.to_string()},
                "spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
                "status": {"replicas": version}});
            Arc::new(Object::from_value(object).expect("a rollout"))
        };
        let mut cache = Cache::default();
        let mut spec_after = |object: Arc<Object>| {
            let key = object.key();
            cache.put(object, Time(0));
            cache.get(&key).and_then(|held| held.rollout()).expect("a rollout").spec.clone()
        };
        let first = spec_after(rollout(1, "web:1"));
        let second = spec_after(rollout(2, "web:1"));
        assert!(Arc::ptr_eq(&first, &second));
        let third = spec_after(rollout(3, "web:2"));
        assert_eq!(third.raw()["template"]["spec"]["containers"][0]["image"], "web:2");
    }

    #[test]
    fn it_only_moves_forward() {
        let mut cache = Cache::default();
        assert!(cache.put(service(5, "five"), Time(0)));
        assert!(!cache.put(service(4, "late"), Time(0)));
        assert!(!cache.put(service(5, "twice"), Time(0)));
        let key = service(5, "").key();
        assert_eq!(cache.get(&key).and_then(|o| o.meta.labels.get("v")).map(|v| &**v), Some("five"));
    }

    #[test]
    fn what_was_deleted_stays_deleted() {
        let mut cache = Cache::default();
        cache.put(service(5, ""), Time(0));
        let key = service(5, "").key();
        assert!(cache.remove(&key, 6));
        assert!(!cache.put(service(6, "late"), Time(0)));
        assert!(cache.put(service(7, "new"), Time(0)));
        assert!(!cache.remove(&key, 6), "old news about the predecessor");
        assert!(cache.get(&key).is_some());
    }
    #[test]
    fn the_dead_are_forgotten_when_nothing_can_bring_them_back() {
        let mut cache = Cache::default();
        let key = service(5, "").key();
        cache.put(service(5, ""), Time(0));
        // A reply told the end, in call 3; the watch may still show a version from before.
        cache.remove(&key, 6);
        cache.forget_graves(100);
        assert!(!cache.put(service(6, "late"), Time(0)));
        // The watch tells it too, while calls 4 and 5 are under way: their replies may be older.
        cache.remove_for_good(&key, 6, 6);
        cache.forget_graves(5);
        assert!(!cache.put(service(6, "late"), Time(0)));
        cache.remove(&key, 6);
        cache.forget_graves(6);
        assert_eq!(cache, Cache::default());
    }

    #[test]
    fn a_list_that_lacks_the_dead_is_their_end_too() {
        let mut cache = Cache::default();
        cache.put(service(5, ""), Time(0));
        cache.remove(&service(5, "").key(), 5);
        cache.keep_only(&Kind::Service, &BTreeSet::new(), 1);
        cache.forget_graves(1);
        assert_eq!(cache, Cache::default());
    }
}
