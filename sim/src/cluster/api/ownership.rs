//! Who owns which field: `metadata.managedFields`, and what server-side apply makes of it.
//!
//! A set of fields is a set of paths. A path is written as in FieldsV1, one text a step: `f:name`, `k:{"name":"web"}`,
//! `v:"text"`. Enough of the schemas is known to tell lists that are merged by key from those that are one value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// A set of fields.
pub type Fields = BTreeSet<Vec<String>>;

/// Whose fields, written how. An apply is known by its manager alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Owner {
    /// `Apply` or `Update`.
    pub operation: String,
    /// The manager.
    pub manager: String,
    /// The version that an update was written in.
    pub api_version: String,
    /// The subresource it was written through.
    pub subresource: String,
}

#[derive(Clone, PartialEq, Debug)]
struct Owned {
    fields: Fields,
    api_version: String,
    time: Option<String>,
}

/// Everything that is owned in an object.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ownership(BTreeMap<Owner, Owned>);

/// A field that somebody else owns, and wants otherwise.
#[derive(Clone, PartialEq, Debug)]
pub struct Dispute {
    /// As it is told: `"tester" using v1`.
    pub with: String,
    /// The field: `.data.a`.
    pub field: String,
}

impl Ownership {
    /// Takes the managed fields out of an object.
    pub fn take(object: &mut Value) -> Ownership {
        let entries = object["metadata"].as_object_mut().and_then(|meta| meta.remove("managedFields"));
        let mut all = BTreeMap::new();
        for entry in entries.as_ref().and_then(Value::as_array).into_iter().flatten() {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            let (operation, api_version) = (text("operation"), text("apiVersion"));
            let owner = Owner {
                api_version: if operation == "Apply" { String::new() } else { api_version.clone() },
                operation,
                manager: text("manager"),
                subresource: text("subresource"),
            };
            let mut fields = Fields::new();
            read_tree(&entry["fieldsV1"], &mut Vec::new(), &mut fields);
            let time = entry["time"].as_str().map(str::to_owned);
            all.insert(owner, Owned { fields, api_version, time });
        }
        Ownership(all)
    }

    /// Writes the managed fields into an object.
    pub fn put(&self, object: &mut Value) {
        let mut entries: Vec<(&Owner, &Owned)> =
            self.0.iter().filter(|(_, owned)| !owned.fields.is_empty()).collect();
        if entries.is_empty() {
            return;
        }
        entries.sort_by_key(|(owner, owned)| (owner.operation.clone(), owned.time.clone(), (*owner).clone()));
        let entries: Vec<Value> = entries
            .into_iter()
            .map(|(owner, owned)| {
                let mut entry = json!({"manager": owner.manager, "operation": owner.operation,
                    "apiVersion": owned.api_version, "fieldsType": "FieldsV1", "fieldsV1": tree(&owned.fields)});
                if let Some(time) = &owned.time {
                    entry["time"] = time.as_str().into();
                }
                if !owner.subresource.is_empty() {
                    entry["subresource"] = owner.subresource.as_str().into();
                }
                entry
            })
            .collect();
        object["metadata"]["managedFields"] = entries.into();
    }

    /// Somebody has updated an object: what they changed is theirs now.
    pub fn updated(&mut self, owner: &Owner, before: &Value, after: &Value, ignored: &[&str], now: &str) {
        let change = Change::between(before, after, ignored);
        if change.is_empty() {
            return;
        }
        self.lose(owner, &change);
        let owned = self.0.entry(owner.clone()).or_insert_with(|| Owned {
            fields: Fields::new(),
            api_version: owner.api_version.clone(),
            time: None,
        });
        let old = owned.fields.clone();
        owned.fields = &(&old - &change.removed) | &change.changed;
        if owned.fields != old || owned.time.is_none() {
            owned.time = Some(now.to_owned());
        }
    }

    /// Somebody applies a document to what is there: the object as it becomes, or what stands against it.
    pub fn apply(
        &mut self,
        owner: &Owner,
        api_version: &str,
        live: &Value,
        document: &Value,
        (ignored, force, now): (&[&str], bool, &str),
    ) -> Result<Value, Vec<Dispute>> {
        let mut fields = Fields::new();
        own_fields(document, &mut Vec::new(), &mut fields);
        strip(&mut fields, ignored);
        let mut merged = live.clone();
        lay_over(&mut merged, document, &mut Vec::new());
        let last = self.0.get(owner).map(|owned| owned.fields.clone()).unwrap_or_default();
        let others: Fields = self
            .0
            .iter()
            .filter(|(other, _)| *other != owner)
            .flat_map(|(_, owned)| owned.fields.clone())
            .collect();
        for path in &last - &fields {
            let shared = |set: &Fields| set.iter().any(|other| other.starts_with(&path));
            if !shared(&others) && !shared(&fields) {
                remove(&mut merged, &path);
            }
        }
        let change = Change::between(live, &merged, ignored);
        if !force {
            let disputes = self.disputes(owner, &change);
            if !disputes.is_empty() {
                return Err(disputes);
            }
        }
        self.lose(owner, &change);
        let time = match self.0.get(owner) {
            _ if !change.is_empty() => Some(now.to_owned()),
            Some(owned) if owned.fields == fields => owned.time.clone(),
            _ => None,
        };
        self.0.insert(owner.clone(), Owned { fields, api_version: api_version.to_owned(), time });
        Ok(merged)
    }

    fn disputes(&self, owner: &Owner, change: &Change) -> Vec<Dispute> {
        let mut disputes = Vec::new();
        for (other, owned) in self.0.iter().filter(|(other, _)| *other != owner) {
            let with = match &*other.operation {
                "Apply" => format!("\"{}\"", other.manager),
                _ => format!("\"{}\" using {}", other.manager, owned.api_version),
            };
            for path in &owned.fields & &change.changed {
                disputes.push(Dispute { with: with.clone(), field: dotted(&path) });
            }
        }
        disputes
    }

    fn lose(&mut self, owner: &Owner, change: &Change) {
        for (other, owned) in &mut self.0 {
            if other != owner {
                owned.fields = &(&owned.fields - &change.changed) - &change.removed;
            }
        }
        self.0.retain(|_, owned| !owned.fields.is_empty());
    }
}

/// What an update did to fields.
struct Change {
    changed: Fields,
    removed: Fields,
}

impl Change {
    fn between(before: &Value, after: &Value, ignored: &[&str]) -> Change {
        let mut change = Change { changed: Fields::new(), removed: Fields::new() };
        compare(Some(before), Some(after), &mut Vec::new(), &mut change);
        strip(&mut change.changed, ignored);
        strip(&mut change.removed, ignored);
        change
    }

    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

fn compare(before: Option<&Value>, after: Option<&Value>, path: &mut Vec<String>, change: &mut Change) {
    let null = &Value::Null;
    let (old, new) = (before.unwrap_or(null), after.unwrap_or(null));
    let (old_parts, new_parts) = (parts(old, path), parts(new, path));
    let in_parts = old_parts.is_some() && new_parts.is_some();
    let (old_parts, new_parts) = (old_parts.unwrap_or_default(), new_parts.unwrap_or_default());
    if !path.is_empty() {
        match (before, after) {
            (None, Some(_)) => drop(change.changed.insert(path.clone())),
            (Some(_), None) => drop(change.removed.insert(path.clone())),
            _ if old == new || in_parts => {}
            _ => drop(change.changed.insert(path.clone())),
        }
    }
    let steps: BTreeSet<&String> = old_parts.keys().chain(new_parts.keys()).collect();
    for step in steps {
        path.push(step.clone());
        compare(old_parts.get(step).copied(), new_parts.get(step).copied(), path, change);
        path.pop();
    }
}

/// The parts of a value that are owned one by one; nothing for a value that is owned as a whole.
fn parts<'a>(value: &'a Value, path: &[String]) -> Option<BTreeMap<String, &'a Value>> {
    let field = path.last().map_or("", String::as_str);
    match value {
        Value::Object(map) if !is_whole(field) => {
            Some(map.iter().map(|(name, value)| (format!("f:{name}"), value)).collect())
        }
        Value::Array(items) => {
            let keys = list_keys(path)?;
            let step = |item: &'a Value| match keys.is_empty() {
                true => (format!("v:{item}"), item),
                false => {
                    let known: Map<String, Value> = keys
                        .iter()
                        .map(|key| {
                            let missing = if *key == "protocol" { Value::from("TCP") } else { Value::Null };
                            ((*key).to_owned(), item.get(*key).cloned().unwrap_or(missing))
                        })
                        .collect();
                    (format!("k:{}", Value::Object(known)), item)
                }
            };
            Some(items.iter().map(step).collect())
        }
        _ => None,
    }
}

/// Mappings that are one value.
fn is_whole(field: &str) -> bool {
    matches!(
        field,
        "f:selector"
            | "f:labelSelector"
            | "f:nodeSelector"
            | "f:involvedObject"
            | "f:scaleTargetRef"
            | "f:fieldRef"
            | "f:resourceFieldRef"
            | "f:secretKeyRef"
            | "f:configMapKeyRef"
    )
}

/// Lists whose items are owned one by one: the fields that tell items apart; none for a set.
fn list_keys(path: &[String]) -> Option<&'static [&'static str]> {
    let (last, before) = path.split_last()?;
    let in_container = before.last().is_some_and(|step| step.starts_with("k:"));
    Some(match last.as_str() {
        "f:containers" | "f:initContainers" | "f:env" | "f:volumes" | "f:imagePullSecrets" => &["name"],
        "f:volumeMounts" => &["mountPath"],
        "f:ports" if in_container => &["containerPort", "protocol"],
        "f:ports" => &["port", "protocol"],
        "f:conditions" => &["type"],
        "f:ownerReferences" => &["uid"],
        "f:finalizers" => &[],
        _ => return None,
    })
}

/// The fields of an applied document: leaves, and items of lists.
fn own_fields(value: &Value, path: &mut Vec<String>, fields: &mut Fields) {
    let parts = parts(value, path);
    let is_item = path.last().is_some_and(|step| !step.starts_with("f:"));
    if !path.is_empty() && (is_item || parts.as_ref().is_none_or(BTreeMap::is_empty)) {
        fields.insert(path.clone());
    }
    for (step, part) in parts.unwrap_or_default() {
        path.push(step);
        own_fields(part, path, fields);
        path.pop();
    }
}

/// What nobody owns: where an object is, and what the server writes.
fn strip(fields: &mut Fields, ignored: &[&str]) {
    const SERVERS: [&str; 9] = [
        "f:name",
        "f:namespace",
        "f:uid",
        "f:resourceVersion",
        "f:generation",
        "f:creationTimestamp",
        "f:managedFields",
        "f:deletionTimestamp",
        "f:deletionGracePeriodSeconds",
    ];
    fields.retain(|path| match path.first().map(String::as_str) {
        Some("f:apiVersion" | "f:kind") => false,
        Some(first) if ignored.contains(&first) => false,
        Some("f:metadata") => path.get(1).is_some_and(|field| !SERVERS.contains(&field.as_str())),
        _ => true,
    });
}

fn lay_over(live: &mut Value, document: &Value, path: &mut Vec<String>) {
    match (live, document) {
        (live @ Value::Object(_), Value::Object(new))
            if !path.last().is_some_and(|field| is_whole(field)) =>
        {
            for (name, value) in new {
                path.push(format!("f:{name}"));
                match live.get_mut(name) {
                    Some(old) => lay_over(old, value, path),
                    None => live[name] = value.clone(),
                }
                path.pop();
            }
        }
        (Value::Array(old), Value::Array(new)) if list_keys(path).is_some() => {
            let named = |items: &[Value], path: &[String]| -> Vec<String> {
                let one =
                    |item: &Value| parts(&json!([item]), path).and_then(|parts| parts.into_keys().next());
                items.iter().map(|item| one(item).unwrap_or_default()).collect()
            };
            let old_steps = named(old, path);
            for (step, value) in named(new, path).into_iter().zip(new) {
                match old_steps.iter().position(|old| *old == step) {
                    Some(at) => {
                        path.push(step);
                        lay_over(&mut old[at], value, path);
                        path.pop();
                    }
                    None => old.push(value.clone()),
                }
            }
        }
        (live, document) => live.clone_from(document),
    }
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((last, before)) = path.split_last() else { return };
    let mut at = value;
    for (depth, step) in before.iter().enumerate() {
        let next = match (&mut *at, step.strip_prefix("f:")) {
            (Value::Object(map), Some(name)) => map.get_mut(name),
            (Value::Array(items), _) => {
                let place = items.iter().position(|item| {
                    parts(&json!([item]), &path[..depth]).is_some_and(|parts| parts.contains_key(step))
                });
                place.and_then(|place| items.get_mut(place))
            }
            _ => None,
        };
        let Some(next) = next else { return };
        at = next;
    }
    match (at, last.strip_prefix("f:")) {
        (Value::Object(map), Some(name)) => drop(map.remove(name)),
        (Value::Array(items), _) => {
            items.retain(|item| !parts(&json!([item]), before).is_some_and(|parts| parts.contains_key(last)))
        }
        _ => {}
    }
}

fn read_tree(node: &Value, path: &mut Vec<String>, fields: &mut Fields) {
    let Some(map) = node.as_object() else { return };
    if map.is_empty() && !path.is_empty() {
        fields.insert(path.clone());
    }
    for (step, below) in map {
        if step == "." {
            fields.insert(path.clone());
            continue;
        }
        path.push(step.clone());
        read_tree(below, path, fields);
        path.pop();
    }
}

fn tree(fields: &Fields) -> Value {
    let mut root = json!({});
    for path in fields {
        let mut at = &mut root;
        for step in path {
            at = &mut at[step.as_str()];
            if at.is_null() {
                *at = json!({});
            }
        }
        at["."] = json!({});
    }
    tidy(&mut root);
    root
}

/// A leaf needs no dot.
fn tidy(node: &mut Value) {
    let Some(map) = node.as_object_mut() else { return };
    if map.len() == 1 && map.contains_key(".") {
        map.clear();
    }
    map.iter_mut().filter(|(step, _)| *step != ".").for_each(|(_, below)| tidy(below));
}

fn dotted(path: &[String]) -> String {
    path.iter()
        .map(|step| match step.split_at(2) {
            ("f:", name) => format!(".{name}"),
            (_, key) => format!("[{key}]"),
        })
        .collect()
}
