//! What a service account may do and what it did, from its role and the API server's audit log.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::place::{Outcome, text};

/// A right: API group, resource with its subresource, verb.
pub type Right = (String, String, String);

/// The rights that a role grants.
pub fn granted(role: &Value) -> BTreeSet<Right> {
    let words = |rule: &Value, field: &str| -> Vec<String> {
        rule[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                for verb in words(rule, "verbs") {
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    rights
}

/// What a user has asked of the API server.
#[derive(Default, Debug)]
pub struct Asked {
    /// Rights that were used.
    pub used: BTreeSet<Right>,
    /// Requests that were refused for want of a right.
    pub refused: BTreeSet<Right>,
    /// Namespaces of the requests; empty for requests on the whole cluster.
    pub namespaces: BTreeSet<String>,
}

/// What this user has asked so far.
pub fn asked(log: &Path, user: &str) -> Outcome<Asked> {
    let mut asked = Asked::default();
    for line in fs::read_to_string(log)?.lines() {
        let entry: Value = serde_json::from_str(line)?;
        let object = &entry["objectRef"];
        if text(&entry, "/user/username") != user || !object.is_object() {
            continue;
        }
        let mut resource = text(object, "/resource").to_owned();
        if let Some(part) = object["subresource"].as_str() {
            resource = format!("{resource}/{part}");
        }
        let right = (text(object, "/apiGroup").to_owned(), resource, text(&entry, "/verb").to_owned());
        asked.namespaces.insert(text(object, "/namespace").to_owned());
        match entry["responseStatus"]["code"].as_i64() {
            Some(401 | 403) => asked.refused.insert(right),
            _ => asked.used.insert(right),
        };
    }
    Ok(asked)
}

/// The rights as people read them: a resource a line.
pub fn told<'a>(rights: impl IntoIterator<Item = &'a Right>) -> String {
    let mut lines = std::collections::BTreeMap::<String, Vec<&str>>::new();
    for (group, resource, verb) in rights {
        let name = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
        lines.entry(name).or_default().push(verb);
    }
    lines.into_iter().map(|(name, verbs)| format!("  {name}: {}\n", verbs.join(" "))).collect()
}
