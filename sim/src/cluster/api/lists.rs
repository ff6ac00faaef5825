//! Lists and watches.

use serde_json::{Value, json};

use super::http::{Refusal, Reply, Request};
use super::rules::{self, Problem};
use super::selectors::Selection;
use super::{Server, Target, shown};

impl Server {
    pub(super) fn list(&self, target: &Target, request: &Request) -> Result<Reply, Refusal> {
        let selection = self.selection(target, request)?;
        check_match(request, false)?;
        version_of(request).map_err(|why| Refusal::bad(format!("invalid resource version: {why}")))?;
        let token = request.parameter("continue");
        let from = if token.is_empty() { None } else { Some(read_token(token)?) };
        let all = self.selected(target, &selection);
        let place = |item: &Value| {
            let text = |field: &str| item["metadata"][field].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text("namespace"), text("name"))
        };
        let mut items: Vec<Value> =
            all.into_iter().filter(|item| from.as_ref().is_none_or(|from| place(item) > *from)).collect();
        let limit: usize = request.parameter("limit").parse().unwrap_or(0);
        let mut metadata = json!({"resourceVersion": self.store.version().to_string()});
        if target.resource.custom {
            metadata["continue"] = "".into();
        }
        if limit > 0 && items.len() > limit {
            metadata["remainingItemCount"] = (items.len() - limit).into();
            items.truncate(limit);
            metadata["continue"] =
                items.last().map(place).map_or(Value::Null, |last| format!("after:{last}").into());
        }
        if !target.resource.custom {
            // The items of a list of built-in objects do not repeat what they are.
            for map in items.iter_mut().filter_map(Value::as_object_mut) {
                map.remove("apiVersion");
                map.remove("kind");
            }
        }
        Ok(Reply::new(
            200,
            json!({"apiVersion": target.resource.kind.api_version(), "kind": format!("{}List", target.resource.kind.name()),
                "metadata": metadata, "items": items}),
        ))
    }

    pub(super) fn watch(&self, target: &Target, request: &Request) -> Result<Reply, Refusal> {
        let selection = self.selection(target, request)?;
        check_match(request, true)?;
        let version =
            version_of(request).map_err(|why| Refusal { reason: "", ..Refusal::new(500, "", why) })?;
        let as_list = request.parameter("sendInitialEvents");
        let mut events = Vec::new();
        let from = match version {
            Some(version) if version > 0 && as_list.is_empty() => version,
            _ => {
                if as_list != "false" {
                    let all = self.selected(target, &selection);
                    events.extend(all.into_iter().map(|object| json!({"type": "ADDED", "object": object})));
                }
                self.store.version()
            }
        };
        if from < self.compacted {
            let message = format!("too old resource version: {from} ({})", self.compacted);
            let expired = Refusal::new(410, "Expired", message).status();
            return Ok(Reply::watched(vec![json!({"type": "ERROR", "object": expired})]));
        }
        for told in self.history.iter().filter(|told| told.version > from) {
            if told.key.kind != target.resource.kind
                || (!target.namespace.is_empty() && *told.key.namespace != *target.namespace)
            {
                continue;
            }
            let seen = |object: &Option<Value>| object.clone().filter(|object| selection.takes(object));
            let (before, after) = (seen(&told.before), seen(&told.after));
            let (change, object) = match (before, after) {
                (None, Some(after)) => ("ADDED", after),
                (Some(_), Some(after)) => ("MODIFIED", after),
                // Who leaves is told as it was, in the version in which it left.
                (Some(mut before), None) => {
                    before["metadata"]["resourceVersion"] = told.version.to_string().into();
                    ("DELETED", told.gone.clone().unwrap_or(before))
                }
                (None, None) => continue,
            };
            events.push(json!({"type": change, "object": object}));
        }
        let bookmark = |annotated: bool| {
            let mut meta = json!({"resourceVersion": self.store.version().to_string()});
            if annotated {
                meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
            }
            json!({"type": "BOOKMARK", "object": {"apiVersion": target.resource.kind.api_version(),
                "kind": target.resource.kind.name(), "metadata": meta}})
        };
        let patience: u64 = request.parameter("timeoutSeconds").parse().unwrap_or(300);
        if as_list == "true" {
            events.push(bookmark(true));
        }
        // Two seconds before the end of a watch.
        if request.is_set("allowWatchBookmarks") && patience > 2 {
            events.push(bookmark(false));
        }
        Ok(Reply::watched(events))
    }

    pub(super) fn selection(&self, target: &Target, request: &Request) -> Result<Selection, Refusal> {
        let (labels, fields) = (request.parameter("labelSelector"), request.parameter("fieldSelector"));
        Selection::read(&target.resource, labels, fields).map_err(Refusal::bad)
    }

    pub(super) fn selected(&self, target: &Target, selection: &Selection) -> Vec<Value> {
        self.store
            .of_kind(&target.resource.kind)
            .filter(|object| target.namespace.is_empty() || *object.meta.namespace == *target.namespace)
            .map(|object| shown(object))
            .filter(|object| selection.takes(object))
            .collect()
    }
}

fn version_of(request: &Request) -> Result<Option<u64>, String> {
    match request.parameter("resourceVersion") {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            format!(
                "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
            )
        }),
    }
}

fn check_match(request: &Request, is_watch: bool) -> Result<(), Refusal> {
    let (matching, version) =
        (request.parameter("resourceVersionMatch"), request.parameter("resourceVersion"));
    let as_list = request.query.contains_key("sendInitialEvents");
    let mut problems = Vec::new();
    let forbid = |why: &str| Problem::forbidden("resourceVersionMatch", why);
    match (is_watch, as_list) {
        (true, true) => {
            if matching != "NotOlderThan" {
                problems
                    .push(forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
            }
            if !request.is_set("allowWatchBookmarks") {
                problems.push(Problem::forbidden(
                    "allowWatchBookmarks",
                    "sendInitialEvents requires setting allowWatchBookmarks to true",
                ));
            }
        }
        (true, false) if !matching.is_empty() => {
            problems.push(forbid(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        (false, _) if !matching.is_empty() => {
            if version.is_empty() {
                problems.push(forbid("resourceVersionMatch is forbidden unless resourceVersion is provided"));
            } else if !matches!(matching, "Exact" | "NotOlderThan") {
                problems.push(Problem::unsupported(
                    "resourceVersionMatch",
                    matching,
                    &["Exact", "NotOlderThan", ""],
                ));
            } else if matching == "Exact" && version == "0" {
                problems
                    .push(forbid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
            }
        }
        _ => {}
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(rules::invalid("ListOptions.meta.k8s.io", "", &problems)),
    }
}

fn read_token(token: &str) -> Result<String, Refusal> {
    if let Some(place) = token.strip_prefix("after:") {
        return Ok(place.to_owned());
    }
    // A real token is JSON in base64; the first letter that cannot begin JSON is what is complained about.
    let sextet = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'-' => 62,
        _ => 63,
    };
    let bytes = token.as_bytes();
    let first = bytes.first().map_or(0, |b| sextet(*b)) << 2 | bytes.get(1).map_or(0, |b| sextet(*b)) >> 4;
    Err(Refusal::bad(format!(
        "invalid continue token: continue key is not valid: invalid character '{}' looking for beginning of value",
        char::from(first)
    )))
}
