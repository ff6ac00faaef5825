//! Rules that send requests with a header to the canary.
//!
//! Such a rule is known by its name. Where the API server keeps no names of rules (Gateway API before 1.2, Linkerd's
//! own HTTPRoute) it is known by being exactly what a step of this Rollout makes.

use serde_json::{Map, Value, json};
use tidegate_api::object::Text;

use super::super::{ManagedRoute, Names, View};
use super::backends::{backends, has_both, name};
use super::config::Protocol;

const INVALID_MATCH: &str = "invalid header match type";

/// The managed routes of a Rollout.
pub(super) struct Managed<'a> {
    names: Vec<&'a str>,
    wanted: Vec<Step<'a>>,
    /// Every header step of the Rollout, for rules whose names were lost.
    steps: Vec<Step<'a>>,
}

/// A header step.
#[derive(Clone)]
struct Step<'a> {
    name: &'a str,
    matches: Vec<&'a Value>,
}

impl<'a> Step<'a> {
    fn read(name: &'a str, step: &'a Value) -> Step<'a> {
        let matches = step.get("match").and_then(Value::as_array).into_iter().flatten().collect();
        Step { name, matches }
    }
}

impl<'a> Managed<'a> {
    /// Of a Rollout that wants these routes. Mirrors are not for this router, as with the reference's plugin.
    pub fn of(view: &View<'a>, wanted: &'a [ManagedRoute]) -> Managed<'a> {
        let managed = view.at.routing.managed_routes.iter().flatten().map(|name: &Text| &**name);
        let names = managed.chain(wanted.iter().map(|route| &*route.name)).filter(|name| !name.is_empty());
        let of_spec = view.at.canary.steps.iter().filter_map(|step| {
            let step = step.raw.get("setHeaderRoute")?;
            Some(Step::read(step.get("name")?.as_str()?, step))
        });
        let headers = wanted.iter().filter(|route| !route.is_mirror);
        let has_matches = |step: &Step<'_>| !step.matches.is_empty();
        Managed {
            names: names.collect(),
            wanted: headers.map(|route| Step::read(&route.name, &route.step)).filter(has_matches).collect(),
            steps: of_spec.filter(has_matches).collect(),
        }
    }

    /// Whether tidegate made this rule, by its name. A rule without one that was made here has the canary alone and
    /// so is not weighted either.
    // ARGO: for the reference every rule with the canary alone is its own, also one that a user wrote (Q16).
    pub fn is_made(&self, protocol: Protocol, rule: &Value) -> bool {
        protocol.has_headers() && self.maker(rule).is_some()
    }

    /// The managed route that a rule carries the name of.
    fn maker(&self, rule: &Value) -> Option<&'a str> {
        let rule = rule.get("name")?.as_str()?;
        self.names.iter().copied().find(|name| {
            let rest = rule.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_number))
        })
    }

    /// Makes the managed rules exactly those that are wanted. One that is there stays in its place; new ones come
    /// last. All others are the user's and are not touched.
    // ARGO: the reference removes all managed rules where one of them is to go (Q17).
    pub fn apply(
        &self,
        protocol: Protocol,
        rules: &mut Vec<Value>,
        names: &Names,
        notices: &mut Vec<String>,
    ) -> Result<(), String> {
        let is_source = |rule: &&Value| !self.is_made(protocol, rule) && has_both(rule, names);
        let sources: Vec<Value> = rules.iter().filter(is_source).cloned().collect();
        let mut made = Vec::new();
        for step in &self.wanted {
            made.extend(build_all(step, &sources, names)?);
        }
        let mut of_steps = Vec::new();
        for step in &self.steps {
            // A step that is not wanted now and could not be made says nothing about rules that are there.
            of_steps.extend(build_all(step, &sources, names).unwrap_or_default());
        }
        let mut is_there = vec![false; made.len()];
        let mut gone = 0;
        rules.retain_mut(|rule| {
            let rule_name = rule.get("name").and_then(Value::as_str).unwrap_or_default();
            let same = |made: &Value| canonical(made) == canonical(rule);
            let wanted = match rule_name {
                "" => made.iter().position(same),
                rule_name => made.iter().position(|made| made["name"] == *rule_name),
            };
            match wanted {
                Some(index) if !is_there[index] => {
                    is_there[index] = true;
                    become_like(rule, &made[index], notices);
                    true
                }
                Some(_) => false,
                None => {
                    let is_ours = match rule_name {
                        "" => of_steps.iter().any(same),
                        _ => self.is_made(protocol, rule),
                    };
                    gone += usize::from(is_ours);
                    !is_ours
                }
            }
        });
        for (rule, _) in made.into_iter().zip(is_there).filter(|(_, is_there)| !is_there) {
            notices.push(set_notice(&rule));
            rules.push(rule);
        }
        if gone > 0 {
            notices.push("removed managed routes".to_owned());
        }
        Ok(())
    }
}

fn set_notice(rule: &Value) -> String {
    format!("set headerRoute '{}'", rule["name"].as_str().unwrap_or_default())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Sets the fields of a rule that differ in what they mean. Fields that nobody here knows stay, and so does what the
/// API server filled in.
fn become_like(rule: &mut Value, wanted: &Value, notices: &mut Vec<String>) {
    if canonical(rule) == canonical(wanted) {
        return;
    }
    let (Some(rule), Some(fields)) = (rule.as_object_mut(), wanted.as_object()) else { return };
    if !fields.contains_key("filters") {
        rule.remove("filters");
    }
    for (field, value) in fields {
        rule.insert(field.clone(), value.clone());
    }
    notices.push(set_notice(wanted));
}

/// The rules of a step: one for each rule that knows both sides.
fn build_all(step: &Step<'_>, sources: &[Value], names: &Names) -> Result<Vec<Value>, String> {
    let headers = headers(&step.matches)?;
    let build = |(index, source): (usize, &Value)| {
        let name = if index == 0 { step.name.to_owned() } else { format!("{}-{index}", step.name) };
        build(&name, source, &headers, names)
    };
    Ok(sources.iter().enumerate().map(build).collect())
}

fn build(name_of_rule: &str, source: &Value, headers: &[Value], names: &Names) -> Value {
    let matches = source.get("matches").and_then(Value::as_array).filter(|all| !all.is_empty());
    let matches = match matches {
        None => vec![json!({"headers": headers})],
        Some(all) => all.iter().map(|source| joined(source, headers)).collect(),
    };
    let canary = backends(source).iter().find(|entry| name(entry) == &*names.canary);
    let mut backend = json!({"group": "", "kind": "Service", "name": &*names.canary});
    // The namespace is needed where the route lives in another one.
    for field in ["namespace", "port"] {
        if let Some(value) = canary.and_then(|canary| canary.get(field)) {
            backend[field] = value.clone();
        }
    }
    let mut rule = Map::new();
    rule.insert("name".to_owned(), Value::from(name_of_rule));
    rule.insert("matches".to_owned(), Value::Array(matches));
    if let Some(filters) = source.get("filters").filter(|filters| filters.is_array()) {
        rule.insert("filters".to_owned(), filters.clone());
    }
    rule.insert("backendRefs".to_owned(), json!([backend]));
    Value::Object(rule)
}

/// A match of the source with the step's headers added. A header may stand there once, so the step's wins.
fn joined(source: &Value, headers: &[Value]) -> Value {
    let mut made = source.as_object().cloned().unwrap_or_default();
    let is_other = |header: &&Value| !headers.iter().any(|ours| is_same_header(ours, header));
    let own = source.get("headers").and_then(Value::as_array).into_iter().flatten();
    let all: Vec<Value> = own.filter(is_other).chain(headers).cloned().collect();
    made.insert("headers".to_owned(), Value::Array(all));
    Value::Object(made)
}

fn is_same_header(a: &Value, b: &Value) -> bool {
    let name = |header: &Value| header.get("name").and_then(Value::as_str).map(str::to_ascii_lowercase);
    name(a) == name(b)
}

/// The step's matches as headers, all of which a request must have.
fn headers(matches: &[&Value]) -> Result<Vec<Value>, String> {
    let mut made: Vec<Value> = Vec::new();
    for entry in matches {
        let name = entry.get("headerName").and_then(Value::as_str).ok_or(INVALID_MATCH)?;
        let value = entry.get("headerValue").unwrap_or(&Value::Null);
        let text = |how: &str| value.get(how).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (how, text) = match (text("exact"), text("prefix"), text("regex")) {
            (Some(exact), ..) => ("Exact", exact.to_owned()),
            // ARGO: the reference neither anchors nor escapes the prefix (Q17).
            (_, Some(prefix), _) => ("RegularExpression", format!("^{}.*", escaped(prefix))),
            (.., Some(regex)) => ("RegularExpression", regex.to_owned()),
            _ => return Err(INVALID_MATCH.to_owned()),
        };
        let header = json!({"type": how, "name": name, "value": text});
        if made.iter().any(|known| is_same_header(known, &header)) {
            return Err(format!("header {name:?} is matched twice, which Gateway API cannot express"));
        }
        made.push(header);
    }
    Ok(made)
}

/// A text as a regular expression that matches it alone.
fn escaped(text: &str) -> String {
    let mut made = String::new();
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            made.push('\\');
        }
        made.push(c);
    }
    made
}

/// What a rule means: without its name, and in one form whatever defaults an API server has filled in.
fn canonical(rule: &Value) -> Value {
    let mut matches = rule.get("matches").cloned().unwrap_or_default();
    for entry in matches.as_array_mut().into_iter().flatten() {
        let is_default_path = entry.get("path").is_some_and(|path| {
            let how = path.get("type").and_then(Value::as_str).unwrap_or("PathPrefix");
            how == "PathPrefix" && path.get("value").and_then(Value::as_str).unwrap_or("/") == "/"
        });
        let Some(entry) = entry.as_object_mut() else { continue };
        if is_default_path {
            entry.remove("path");
        }
        for field in ["headers", "queryParams"] {
            let compared = entry.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
            compared.for_each(without_default_type);
        }
        entry.get_mut("method").map(without_default_type);
    }
    let mut backends = rule.get("backendRefs").cloned().unwrap_or_default();
    for entry in backends.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        for (field, default) in [("group", json!("")), ("kind", json!("Service")), ("weight", json!(1))] {
            if entry.get(field) == Some(&default) {
                entry.remove(field);
            }
        }
    }
    json!({"matches": matches, "filters": rule.get("filters"), "backendRefs": backends})
}

fn without_default_type(compared: &mut Value) {
    if compared.get("type").and_then(Value::as_str) == Some("Exact")
        && let Some(compared) = compared.as_object_mut()
    {
        compared.remove("type");
    }
}
