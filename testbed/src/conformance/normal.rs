//! What differs from run to run is told by its role: identities in the order in which they appear, versions by their
//! order, times by being times. Everything else stays.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_sim::cluster::api::Reply;

/// Learns from all replies of a case, then tells them.
#[derive(Debug)]
pub struct Normaliser {
    namespace: String,
    identities: Vec<String>,
    versions: BTreeSet<u64>,
}

impl Normaliser {
    /// For a case that was played in this namespace.
    pub fn new(namespace: &str) -> Normaliser {
        Normaliser { namespace: namespace.to_owned(), identities: Vec::new(), versions: BTreeSet::new() }
    }

    /// Takes notice of identities and versions of objects.
    pub fn learn(&mut self, reply: &Reply) {
        self.learn_from(&reply.body);
        for event in &reply.events {
            if event["type"] != "BOOKMARK" {
                self.learn_from(&event["object"]);
            }
        }
    }

    fn learn_from(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                let is_list =
                    map.contains_key("items") || map.get("kind").is_some_and(|kind| kind == "Status");
                if let Some(meta) = map.get("metadata") {
                    if let Some(uid) =
                        meta["uid"].as_str().filter(|uid| !self.identities.iter().any(|u| u == uid))
                    {
                        self.identities.push(uid.to_owned());
                    }
                    if let Some(version) = meta["resourceVersion"].as_str().and_then(|v| v.parse().ok())
                        && !is_list
                    {
                        self.versions.insert(version);
                    }
                }
                map.values().for_each(|value| self.learn_from(value));
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn_from(item)),
            _ => {}
        }
    }

    /// The reply as it is compared.
    pub fn tell(&self, reply: &Reply, ownership: bool) -> Value {
        let mut body = reply.body.clone();
        self.rewrite(&mut body, false, ownership);
        let mut told = json!({"code": reply.code, "body": body});
        if reply.is_watch {
            let mut events = reply.events.clone();
            // Only the bookmark that ends the beginning is promised; others come when there is something to tell.
            events.retain(|event| {
                event["type"] != "BOOKMARK" || !event["object"]["metadata"]["annotations"].is_null()
            });
            let mut events = Value::Array(events);
            for event in events.as_array_mut().into_iter().flatten() {
                let is_bookmark = event["type"] == "BOOKMARK";
                self.rewrite(&mut event["object"], is_bookmark, ownership);
            }
            told["events"] = events;
            told.as_object_mut().map(|map| map.remove("body"));
        }
        told
    }

    fn rewrite(&self, value: &mut Value, is_bookmark: bool, ownership: bool) {
        match value {
            Value::Object(map) => {
                let is_list = is_bookmark || map.contains_key("items");
                let prefix = map.get("generateName").and_then(Value::as_str).map(str::to_owned);
                if !ownership {
                    map.remove("managedFields");
                }
                if let Some(Value::Array(entries)) = map.get_mut("managedFields") {
                    // They are ordered by time first, and that to the second.
                    let text =
                        |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
                    entries.sort_by_key(|entry| {
                        ["operation", "manager", "subresource"].map(|field| text(entry, field))
                    });
                }
                for (name, value) in map.iter_mut() {
                    match (name.as_str(), &mut *value) {
                        ("metadata", Value::Object(meta)) => {
                            if let Some(version) = meta.get_mut("resourceVersion") {
                                let text = version.as_str().unwrap_or_default().to_owned();
                                *version = self.version(&text, is_list).into();
                            }
                            if meta.get("continue").is_some_and(|token| token != "") {
                                meta.insert("continue".into(), "<token>".into());
                            }
                        }
                        ("creationTimestamp" | "deletionTimestamp" | "time", Value::String(text))
                            if text.ends_with('Z') =>
                        {
                            *text = "<time>".into();
                        }
                        ("name", Value::String(text)) => {
                            if let Some(prefix) = &prefix
                                && text.len() == prefix.len() + 5
                                && text.starts_with(prefix.as_str())
                            {
                                *text = format!("{prefix}<random>");
                            }
                        }
                        ("clusterIP", Value::String(text)) if text.starts_with("10.96.") => {
                            *text = "<address>".into();
                        }
                        ("clusterIPs", Value::Array(texts)) => {
                            for text in texts
                                .iter_mut()
                                .filter(|t| t.as_str().is_some_and(|t| t.starts_with("10.96.")))
                            {
                                *text = "<address>".into();
                            }
                        }
                        ("resourceVersion", Value::String(text))
                            if text.parse::<u64>().is_ok_and(|v| self.versions.contains(&v)) =>
                        {
                            *text = self.version(text, false);
                        }
                        _ => {}
                    }
                    self.rewrite(value, false, ownership);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.rewrite(item, false, ownership)),
            Value::String(text) => *text = self.text(text),
            _ => {}
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.replace(&self.namespace, "here");
        // The difference of two objects as Go would print them.
        text.truncate(text.find("@@ -").unwrap_or(text.len()));
        for (at, uid) in self.identities.iter().enumerate() {
            text = text.replace(uid.as_str(), &format!("<identity {}>", at + 1));
        }
        // Numbers of versions inside of sentences.
        for lead in [
            "in precondition (",
            "in record (",
            "resource version: ",
            "Current resource version: ",
            "current: ",
            "resourceVersion: ",
        ] {
            let mut from = 0;
            while let Some(at) = text[from..].find(lead).map(|at| at + from + lead.len()) {
                let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
                if digits > 0 {
                    text.replace_range(at..at + digits, "<version>");
                    if let Some(rest) = text[at..].strip_prefix("<version> (") {
                        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                        let at = at + "<version> (".len();
                        text.replace_range(at..at + digits, "<version>");
                    }
                }
                from = at;
            }
        }
        text
    }

    /// The place of a version among those of the objects seen. That of a list may be newer than any of them.
    fn version(&self, text: &str, is_list: bool) -> String {
        let Ok(number) = text.parse::<u64>() else { return text.to_owned() };
        let place = self.versions.range(..=number).count();
        match (is_list, self.versions.contains(&number)) {
            (true, _) => format!("not older than version {place}"),
            (false, true) => format!("version {place}"),
            (false, false) => format!("a version after {place}"),
        }
    }
}
