//! `tidegate lint`: everything that is wrong with manifests, at its place.

use std::io::IsTerminal;
use std::sync::Arc;

use clap::Args;
use tidegate_api::object::{Object, Text};
use tidegate_api::problem::Problem;
use tidegate_api::schema;
use tidegate_api::validate;
use tidegate_api::yaml::{self, Document, Severity, SourceError};

use crate::Exit;
use crate::input::{self, Input};

/// Arguments of `lint`.
#[derive(Args)]
pub struct Lint {
    /// Manifests to look at; `-` is standard input.
    #[arg(short, long = "filename", required = true, num_args = 1..)]
    files: Vec<String>,
}

impl Lint {
    /// Looks at every document of every file.
    pub fn run(&self) -> Exit {
        let (mut documents, mut findings, mut exit) = (Vec::new(), Vec::new(), Exit::AsExpected);
        for file in &self.files {
            let read = input::read(file).and_then(|Input { name, text }| yaml::read(&name, &text));
            match read {
                Ok(read) => documents.extend(yaml::objects(read)),
                Err(error) => {
                    findings.push(error);
                    exit = Exit::Unreadable;
                }
            }
        }
        findings.extend(look_at_all(&documents));
        let color = input::color(std::io::stdout().is_terminal());
        for finding in &findings {
            println!("{}", finding.render(color));
        }
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        println!("{errors} errors, {} warnings", findings.len() - errors);
        if errors > 0 { exit.max(Exit::Failed) } else { exit }
    }
}

/// Everything that is wrong with documents, each by itself and where they name each other.
fn look_at_all(documents: &[Document]) -> Vec<SourceError> {
    let mut findings = Vec::new();
    let objects: Vec<Option<Arc<Object>>> =
        documents.iter().map(|d| Object::from_value(d.value.clone()).ok().map(Arc::new)).collect();
    for (at, (document, object)) in documents.iter().zip(&objects).enumerate() {
        look_at(document, &mut findings);
        let Some(object) = object else { continue };
        let key = object.key();
        if objects[..at].iter().flatten().any(|earlier| earlier.key() == key) {
            let (kind, name) = (key.kind.name(), &key.name);
            let message = format!("{kind} {name:?} stands in these files twice; the last one wins");
            findings.push(document.error_at("metadata.name", message).as_warning());
        }
        follow_references(document, object, &objects, &mut findings);
    }
    findings
}

/// What a Rollout names must be among the files, or at least in the cluster, and fit.
fn follow_references(
    document: &Document,
    rollout: &Object,
    objects: &[Option<Arc<Object>>],
    findings: &mut Vec<SourceError>,
) {
    let namespace = &rollout.meta.namespace;
    let find = |kind: &str, name: &str| {
        // A file that names no namespace is applied into the one of the others.
        let is_near = |other: &Text| other.is_empty() || namespace.is_empty() || other == namespace;
        let fits = |other: &&Arc<Object>| {
            other.kind.name() == kind && &*other.meta.name == name && is_near(&other.meta.namespace)
        };
        objects.iter().flatten().rfind(fits).cloned()
    };
    let found = validate::references_among(rollout, &find);
    for problem in found.errors {
        findings.push(document.error_at(problem.place(), problem.to_string()));
    }
    for problem in found.missing {
        findings.push(document.error_at(problem.place(), &*problem.detail).as_warning());
    }
}

/// Finds everything that is wrong with one document.
pub fn look_at(document: &Document, findings: &mut Vec<SourceError>) {
    let kind = document.value.get("kind").and_then(|kind| kind.as_str()).unwrap_or("");
    for field in ["apiVersion", "kind"] {
        if document.value.get(field).and_then(|value| value.as_str()).is_none_or(str::is_empty) {
            findings.push(document.error_at("", format!("this is no Kubernetes object: {field} is missing")));
            return;
        }
    }
    let version = document.value.get("apiVersion").and_then(|version| version.as_str()).unwrap_or("");
    if !schema::KINDS.contains(&kind) || version != "argoproj.io/v1alpha1" {
        return;
    }
    for unknown in schema::explain_unknown_fields(kind, &document.value) {
        findings.push(document.error_at_key(&unknown.path, unknown.to_string()));
    }
    let types = schema::type_errors(kind, &document.value);
    for error in &types {
        findings.push(document.error_at(&error.path, error.to_string()));
    }
    if kind != "Rollout" {
        return;
    }
    let spec = document.value.get("spec").unwrap_or(&serde_json::Value::Null);
    // A value of the wrong type breaks rules as well; saying it once is enough.
    let is_news = |problem: &Problem| !types.iter().any(|error| error.path == problem.place());
    for problem in validate::check(spec).problems.into_iter().filter(is_news) {
        findings.push(document.error_at(problem.place(), problem.to_string()));
    }
    for problem in validate::warnings(spec) {
        findings.push(document.error_at(problem.place(), problem.to_string()).as_warning());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages(text: &str) -> Vec<String> {
        let documents = yaml::objects(yaml::read("web.yaml", text).expect("readable"));
        look_at_all(&documents).iter().map(|finding| finding.render(false)).collect()
    }

    const ROLLOUT: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web:1}]}
  strategy: {blueGreen: {activeService: active}}
";

    fn service(name: &str, app: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: {app}}}}}\n"
        )
    }

    #[test]
    fn a_service_that_is_not_there_is_a_warning() {
        let found = messages(ROLLOUT);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("Service \"active\" is not among the files given"), "{}", found[0]);
        assert!(found[0].starts_with("warning"), "{}", found[0]);
        assert!(messages(&format!("{ROLLOUT}{}", service("active", "web"))).is_empty());
    }

    #[test]
    fn a_service_that_does_not_fit_is_an_error() {
        let found = messages(&format!("{ROLLOUT}{}", service("active", "other")));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("error") && found[0].contains("has unmatch label"), "{}", found[0]);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "([a-z]{1,8}: ?|- |[{}\\[\\]&*!|>'\"#,\n ]|---\n|apiVersion: v1\n|kind: Rollout\n|.){0,60}") {
            if let Ok(read) = yaml::read("text", &text) {
                look_at_all(&yaml::objects(read)).iter().for_each(|finding| drop(finding.render(true)));
            }
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(text) = String::from_utf8(bytes)
                && let Ok(read) = yaml::read("bytes", &text)
            {
                look_at_all(&yaml::objects(read)).iter().for_each(|finding| drop(finding.render(true)));
            }
        }

        #[test]
        fn a_rollout_that_is_torn_anywhere_is_still_looked_at(from in 0..ROLLOUT.len(), length in 0..80_usize, with in ".{0,8}") {
            let to = (from + length).min(ROLLOUT.len());
            let torn = format!("{}{with}{}{}", &ROLLOUT[..from], &ROLLOUT[to..], service("active", "web"));
            match yaml::read("torn", &torn) {
                Ok(read) => look_at_all(&yaml::objects(read)).iter().for_each(|finding| drop(finding.render(true))),
                Err(error) => drop(error.render(true)),
            }
        }
    }

    #[test]
    fn an_object_that_stands_there_twice_is_a_warning() {
        let found = messages(&format!("{ROLLOUT}{0}{0}", service("active", "web")));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("twice"), "{}", found[0]);
    }
}
