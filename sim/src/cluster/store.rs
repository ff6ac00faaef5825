//! The invented API server's memory: versions, preconditions, generations, finalizers.
//!
//! Whatever a real API server promises about a single write is promised here, and nothing more. The texts of refusals
//! are the real ones, because they end up in conditions and events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api::object::{Body, Key, Kind, Object, Text};
use tidegate_api::time::Time;
use tidegate_controller::edit::{Edit, Misfit};
use tidegate_controller::plan::Guard;
use tidegate_controller::seams::ApiError;

use super::{admission, stored_form};

/// All objects of the cluster, in their newest version.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Store {
    objects: Arc<BTreeMap<Key, Arc<Object>>>,
    /// Objects by the identity of any of their owners.
    owned: Arc<BTreeMap<Text, BTreeSet<Key>>>,
    version: u64,
    identities: u64,
}

/// Which half of an object a write is meant for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Part {
    /// Everything but the status.
    #[default]
    Main,
    /// The status, and only the status.
    Status,
}

/// What an accepted write did.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// The object before, if it was there.
    pub before: Option<Arc<Object>>,
    /// The object now, if it is still there. The very same one as before when nothing changed.
    pub after: Option<Arc<Object>>,
    /// What watches are told about an object that is gone: its last state, in the version of its deletion.
    pub gone: Option<Arc<Object>>,
}

impl Change {
    /// Whether the write changed nothing.
    pub fn is_idle(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Store {
    /// The object, if it is there.
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// The version of the newest write.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Every object.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Every object of a kind.
    pub fn of_kind<'a>(&'a self, kind: &Kind) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let kind = kind.clone();
        self.objects
            .range(Key::new(kind.clone(), "", "")..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, object)| object)
    }

    /// Every object of a kind in a namespace.
    pub fn in_namespace<'a>(
        &'a self,
        kind: &Kind,
        namespace: &Text,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let (kind, namespace) = (kind.clone(), namespace.clone());
        self.objects
            .range(Key::new(kind.clone(), namespace.clone(), "")..)
            .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// Objects of a kind that name this identity as an owner.
    pub fn owned_by<'a>(&'a self, uid: &str, kind: &'a Kind) -> impl Iterator<Item = &'a Arc<Object>> {
        let keys = self.owned.get(uid).into_iter().flatten();
        keys.filter(move |key| key.kind == *kind).filter_map(|key| self.objects.get(key))
    }

    /// Keys of all objects that name this identity as an owner.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Key> {
        self.owned.get(uid).into_iter().flatten()
    }

    /// Stores a new object. Its status is not taken over for kinds that have a status subresource.
    pub fn create(&mut self, mut object: Object, now: Time) -> Result<Change, ApiError> {
        admission::drop_status(&mut object);
        let meta = &mut object.meta;
        (meta.uid, meta.created, meta.generation) = (Text::default(), None, 0);
        self.place(object, now)
    }

    /// Stores a new object with its status, as if it had been there all along (restored from a backup).
    pub fn place(&mut self, mut object: Object, now: Time) -> Result<Change, ApiError> {
        admission::admit(&mut object);
        stored_form::bring(None, &mut object);
        admission::check(&object)?;
        let key = object.key();
        if self.objects.contains_key(&key) {
            return Err(ApiError::AlreadyExists(format!("{} already exists", called(&key)).into()));
        }
        self.version += 1;
        if object.meta.uid.is_empty() {
            object.meta.uid = self.draw_identity();
        }
        let meta = &mut object.meta;
        meta.resource_version = self.version;
        meta.generation = meta.generation.max(i64::from(has_generation(&key.kind)));
        meta.created = meta.created.or(Some(now.stamp()));
        meta.deleting = None;
        let object = Arc::new(object);
        self.link(&key, &object);
        Arc::make_mut(&mut self.objects).insert(key, object.clone());
        Ok(Change { before: None, after: Some(object), gone: None })
    }

    /// An identity that nothing else has or had.
    pub fn draw_identity(&mut self) -> Text {
        self.identities += 1;
        format!("{:08x}-0000-4000-8000-{:012x}", self.identities, self.identities).into()
    }

    /// Changes an object in place. `edit` gets a copy; what it may not touch is put back afterwards.
    pub fn update(
        &mut self,
        key: &Key,
        guard: Option<&Guard>,
        part: Part,
        edit: impl FnOnce(&mut Object) -> Result<(), ApiError>,
    ) -> Result<Change, ApiError> {
        let before = self.guarded(key, guard)?;
        if part == Part::Status && !key.kind.has_status_subresource() {
            return Err(ApiError::NotFound("the server could not find the requested resource".into()));
        }
        let mut after = (*before).clone();
        edit(&mut after)?;
        admission::carry_identity(&before, &mut after);
        if key.kind.has_status_subresource() {
            match part {
                Part::Main => admission::carry_status(&before, &mut after),
                Part::Status => after = admission::only_status(&before, after),
            }
        }
        stored_form::bring(Some(&before), &mut after);
        if part == Part::Main {
            admission::admit(&mut after);
            admission::check_update(&before, &after)?;
        }
        if is_same(&before, &after) {
            return Ok(Change { before: Some(before.clone()), after: Some(before), gone: None });
        }
        self.version += 1;
        after.meta.resource_version = self.version;
        if has_generation(&key.kind) && bumps_generation(&before, &after) {
            after.meta.generation += 1;
        }
        if after.meta.deleting.is_some() && after.meta.finalizers.is_empty() && key.kind != Kind::Pod {
            return Ok(self.removed(key, before));
        }
        let after = Arc::new(after);
        if before.meta.owners != after.meta.owners {
            self.unlink(key, &before);
            self.link(key, &after);
        }
        Arc::make_mut(&mut self.objects).insert(key.clone(), after.clone());
        Ok(Change { before: Some(before), after: Some(after), gone: None })
    }

    /// Changes an object by edits.
    pub fn edit(
        &mut self,
        key: &Key,
        guard: Option<&Guard>,
        part: Part,
        edits: &[Edit],
    ) -> Result<Change, ApiError> {
        self.update(key, guard, part, |object| {
            let refuse = |misfit: Misfit| invalid(key, &misfit.to_string());
            edits.iter().try_for_each(|edit| edit.apply(object).map_err(refuse))
        })
    }

    /// Asks an object to go: at once, or, with a reason to stay (finalizers, a pod that terminates), by a mark that
    /// says since when it is going.
    pub fn delete(
        &mut self,
        key: &Key,
        guard: Option<&Guard>,
        lingers: bool,
        now: Time,
    ) -> Result<Change, ApiError> {
        let before = self.guarded_deletion(key, guard)?;
        let lingers = lingers || !before.meta.finalizers.is_empty();
        if lingers && before.meta.deleting.is_some() {
            return Ok(Change { before: Some(before.clone()), after: Some(before), gone: None });
        }
        self.delete_with(key, guard, lingers, now, |_| {})
    }

    /// The same, if whoever asks knows whether it lingers, and marks it further.
    pub fn delete_with(
        &mut self,
        key: &Key,
        guard: Option<&Guard>,
        lingers: bool,
        until: Time,
        mark: impl FnOnce(&mut Object),
    ) -> Result<Change, ApiError> {
        let before = self.guarded_deletion(key, guard)?;
        self.version += 1;
        if !lingers {
            return Ok(self.removed(key, before));
        }
        let mut after = (*before).clone();
        mark(&mut after);
        after.meta.resource_version = self.version;
        after.meta.deleting = after.meta.deleting.or(Some(until.stamp()));
        if after.meta.generation > 0 && before.meta.deleting.is_none() {
            after.meta.generation += 1;
        }
        let after = Arc::new(after);
        Arc::make_mut(&mut self.objects).insert(key.clone(), after.clone());
        Ok(Change { before: Some(before), after: Some(after), gone: None })
    }

    /// Takes an object over as another API server stores it, without any of the rules of this one.
    pub(crate) fn mirror(&mut self, object: Object) {
        let key = object.key();
        self.forget(&key);
        self.version = self.version.max(object.meta.resource_version);
        let object = Arc::new(object);
        self.link(&key, &object);
        Arc::make_mut(&mut self.objects).insert(key, object);
    }

    /// Drops an object that is gone on the API server that is mirrored.
    pub(crate) fn forget(&mut self, key: &Key) {
        if let Some(before) = Arc::make_mut(&mut self.objects).remove(key) {
            self.unlink(key, &before);
        }
    }

    fn removed(&mut self, key: &Key, before: Arc<Object>) -> Change {
        self.unlink(key, &before);
        Arc::make_mut(&mut self.objects).remove(key);
        let mut gone = (*before).clone();
        gone.meta.resource_version = self.version;
        Change { before: Some(before), after: None, gone: Some(Arc::new(gone)) }
    }

    /// The object, if the precondition holds.
    pub fn guarded(&self, key: &Key, guard: Option<&Guard>) -> Result<Arc<Object>, ApiError> {
        let Some(object) = self.objects.get(key) else { return Err(not_found(key)) };
        match guard {
            None => {}
            Some(Guard::Absent) => {
                return Err(ApiError::AlreadyExists(format!("{} already exists", called(key)).into()));
            }
            Some(Guard::Identity(uid) | Guard::Version { uid, .. }) if *uid != object.meta.uid => {
                let what = format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                    object.meta.uid
                );
                return Err(conflict(key, &what));
            }
            Some(Guard::Version { resource_version, .. })
                if *resource_version != object.meta.resource_version =>
            {
                return Err(outdated(key));
            }
            Some(Guard::Identity(_) | Guard::Version { .. }) => {}
        }
        Ok(object.clone())
    }

    fn guarded_deletion(&self, key: &Key, guard: Option<&Guard>) -> Result<Arc<Object>, ApiError> {
        let Some(object) = self.objects.get(key) else { return Err(not_found(key)) };
        let because = |field: &str, wanted: String, found: String| {
            let what = format!(
                "the {field} in the precondition ({wanted}) does not match the {field} in record ({found}). \
                 The object might have been deleted and then recreated"
            );
            Err(conflict(key, &what))
        };
        match guard {
            Some(Guard::Identity(uid) | Guard::Version { uid, .. }) if *uid != object.meta.uid => {
                because("UID", uid.to_string(), object.meta.uid.to_string())
            }
            Some(Guard::Version { resource_version, .. })
                if *resource_version != object.meta.resource_version =>
            {
                let what = format!(
                    "the ResourceVersion in the precondition ({resource_version}) does not match the ResourceVersion \
                     in record ({}). The object might have been modified",
                    object.meta.resource_version
                );
                Err(conflict(key, &what))
            }
            _ => Ok(object.clone()),
        }
    }

    fn link(&mut self, key: &Key, object: &Object) {
        for owner in &object.meta.owners {
            let owned = Arc::make_mut(&mut self.owned);
            owned.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
    }

    fn unlink(&mut self, key: &Key, object: &Object) {
        for owner in &object.meta.owners {
            let owned = Arc::make_mut(&mut self.owned);
            if let Some(keys) = owned.get_mut(&owner.uid) {
                keys.remove(key);
                if keys.is_empty() {
                    owned.remove(&owner.uid);
                }
            }
        }
    }
}

/// Whether the API server counts generations for a kind.
fn has_generation(kind: &Kind) -> bool {
    match kind {
        Kind::Service | Kind::Secret | Kind::HorizontalPodAutoscaler => false,
        Kind::Other { name, .. } => !kind.group().is_empty() && &**name != "Lease",
        _ => true,
    }
}

/// Whether nothing changed. A specification that was not touched is not compared field by field.
fn is_same(before: &Object, after: &Object) -> bool {
    let body = match (&before.body, &after.body) {
        (Body::Rollout(a), Body::Rollout(b)) if Arc::ptr_eq(&a.spec, &b.spec) => {
            Arc::ptr_eq(&a.status, &b.status) || a.status == b.status
        }
        (a, b) => a == b,
    };
    body && before.meta == after.meta
}

/// Whether a change is one of the specification. Custom resources without a status subresource count every change
/// outside the metadata; a Deployment counts its annotations too.
fn bumps_generation(before: &Object, after: &Object) -> bool {
    match (&before.body, &after.body) {
        (Body::Rollout(a), Body::Rollout(b)) => !Arc::ptr_eq(&a.spec, &b.spec) && a.spec != b.spec,
        (Body::ReplicaSet(a), Body::ReplicaSet(b)) => {
            let mut a = a.clone();
            a.status = b.status.clone();
            a != *b
        }
        (Body::Deployment(a), Body::Deployment(b)) => {
            let mut a = a.clone();
            a.status = b.status.clone();
            a != *b || before.meta.annotations != after.meta.annotations
        }
        (Body::Pod(a), Body::Pod(b)) => a.spec != b.spec,
        (Body::Other(a), Body::Other(b)) if before.kind.has_status_subresource() => {
            let without_status = |value: &serde_json::Value| {
                let mut map = value.as_object().cloned().unwrap_or_default();
                map.remove("status");
                map
            };
            without_status(a) != without_status(b)
        }
        (a, b) => a != b,
    }
}

/// An object as refusals call it: `rollouts.argoproj.io "demo"`.
pub fn called(key: &Key) -> String {
    format!("{} \"{}\"", resource(&key.kind), key.name)
}

/// A kind as refusals call it: `rollouts.argoproj.io`.
pub fn resource(kind: &Kind) -> String {
    let plural =
        kind.plural().map_or_else(|| format!("{}s", kind.name().to_ascii_lowercase()), str::to_owned);
    match kind.group() {
        "" => plural,
        group => format!("{plural}.{group}"),
    }
}

/// The refusal of a write to an object that is not there.
pub fn not_found(key: &Key) -> ApiError {
    ApiError::NotFound(format!("{} not found", called(key)).into())
}

/// The refusal of a write that was computed from an older version.
pub fn outdated(key: &Key) -> ApiError {
    conflict(
        key,
        "the object has been modified; please apply your changes to the latest version and try again",
    )
}

fn conflict(key: &Key, why: &str) -> ApiError {
    ApiError::Conflict(format!("Operation cannot be fulfilled on {}: {why}", called(key)).into())
}

/// The refusal of a write that would make an invalid object.
pub fn invalid(key: &Key, why: &str) -> ApiError {
    let kind = match key.kind.group() {
        "" => key.kind.name().to_owned(),
        group => format!("{}.{group}", key.kind.name()),
    };
    ApiError::Invalid(format!("{kind} \"{}\" is invalid: {why}", key.name).into())
}

#[cfg(test)]
mod tests;
