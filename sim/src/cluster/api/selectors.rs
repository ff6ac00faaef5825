//! Selecting by labels and by fields, as parameters of lists and watches say it.

use serde_json::Value;

use super::http::Resource;
use super::names::label_value_fault;

/// What a list or a watch is limited to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Clone, PartialEq, Debug)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Clone, PartialEq, Debug)]
enum Rule {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selection {
    /// Reads both selectors; the error is what a client is told.
    pub fn read(resource: &Resource, labels: &str, fields: &str) -> Result<Selection, String> {
        let labels = Parser::new(labels)
            .requirements()
            .map_err(|why| format!("unable to parse requirement: {why}"))?;
        Ok(Selection { labels, fields: read_fields(resource, fields)? })
    }

    /// Whether an object is selected.
    pub fn takes(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|requirement| {
            let found = labels[&requirement.key].as_str();
            let among =
                |values: &[String]| found.is_some_and(|found| values.iter().any(|value| value == found));
            match &requirement.rule {
                Rule::In(values) => among(values),
                Rule::NotIn(values) => !among(values),
                Rule::Exists => found.is_some(),
                Rule::Absent => found.is_none(),
            }
        }) && self.fields.iter().all(|(path, equal, wanted)| {
            let found = path.split('.').fold(object, |at, name| &at[name]);
            (found.as_str().unwrap_or_default() == wanted) == *equal
        })
    }
}

/// Fields beside name and namespace.
fn selectable(resource: &Resource) -> &'static [&'static str] {
    match resource.kind.name() {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "ReplicaSet" => &["status.replicas"],
        "Job" => &["status.successful"],
        "Namespace" => &["status.phase"],
        "Secret" => &["type"],
        "Service" => &["spec.clusterIP", "spec.type"],
        _ => &[],
    }
}

fn read_fields(resource: &Resource, text: &str) -> Result<Vec<(String, bool, String)>, String> {
    let mut fields = Vec::new();
    for term in text.split(',').filter(|term| !term.is_empty()) {
        let (path, equal, value) = match (term.split_once("!="), term.split_once("=="), term.split_once('='))
        {
            (Some((path, value)), ..) => (path, false, value),
            (None, Some((path, value)), _) | (None, None, Some((path, value))) => (path, true, value),
            _ => return Err(format!("invalid selector: '{term}'; can't understand '{term}'")),
        };
        if !matches!(path, "metadata.name" | "metadata.namespace") && !selectable(resource).contains(&path) {
            return Err(match resource.custom {
                true => format!("field label not supported: {path}"),
                false => format!(
                    "\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                ),
            });
        }
        fields.push((path.to_owned(), equal, value.to_owned()));
    }
    Ok(fields)
}

/// Reads label selectors word by word.
struct Parser {
    words: Vec<String>,
    at: usize,
}

impl Parser {
    fn new(text: &str) -> Parser {
        let mut words: Vec<String> = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let operators = ["==", "!=", "=", "!", "(", ")", ",", "<", ">"];
            let word = match operators.into_iter().find(|operator| rest.starts_with(operator)) {
                Some(operator) => operator.len(),
                None => rest.find(|c: char| c.is_whitespace() || "=!(),<>".contains(c)).unwrap_or(rest.len()),
            };
            words.push(rest[..word].to_owned());
            rest = rest[word..].trim_start();
        }
        Parser { words, at: 0 }
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.words.get(self.at - 1).cloned().unwrap_or_default()
    }

    fn requirements(mut self) -> Result<Vec<Requirement>, String> {
        let mut all = Vec::new();
        while self.at < self.words.len() {
            all.push(self.requirement()?);
            match &*self.next() {
                "" | "," => {}
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
        Ok(all)
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut key = self.next();
        if key == "!" {
            key = self.next();
            return Ok(Requirement { key, rule: Rule::Absent });
        }
        let rule = match &*self.words.get(self.at).cloned().unwrap_or_default() {
            "" | "," => return Ok(Requirement { key, rule: Rule::Exists }),
            operator @ ("=" | "==" | "!=") => {
                let values = match self.words.get(self.at + 1).map_or("", String::as_str) {
                    "," | "" => vec![String::new()],
                    value => vec![value.to_owned()],
                };
                self.at += if values[0].is_empty() { 1 } else { 2 };
                if operator == "!=" { Rule::NotIn(values) } else { Rule::In(values) }
            }
            operator @ ("in" | "notin") => {
                self.at += 1;
                let values = self.values()?;
                if operator == "in" { Rule::In(values) } else { Rule::NotIn(values) }
            }
            other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        if let Rule::In(values) | Rule::NotIn(values) = &rule {
            for (at, value) in values.iter().enumerate() {
                if let Some(fault) = label_value_fault(value) {
                    return Err(format!("values[{at}][{key}]: Invalid value: \"{value}\": {fault}"));
                }
            }
        }
        Ok(Requirement { key, rule })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.next();
        if open != "(" {
            return Err(format!("found '{open}' expected: '('"));
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                word if word == ")" => return Ok(values),
                word if word.is_empty() => {
                    return Err("found '', expected: ',', ')' or identifier".to_owned());
                }
                word if word == "," => {}
                word => values.push(word),
            }
        }
    }
}
