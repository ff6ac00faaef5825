//! `tidegate lint`: everything that is wrong with manifests, at its place.

use std::io::IsTerminal;

use clap::Args;
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
        let (mut findings, mut exit) = (Vec::new(), Exit::AsExpected);
        for file in &self.files {
            let read = input::read(file).and_then(|Input { name, text }| yaml::read(&name, &text));
            match read {
                Ok(documents) => yaml::objects(documents).iter().for_each(|d| look_at(d, &mut findings)),
                Err(error) => {
                    findings.push(error);
                    exit = Exit::Unreadable;
                }
            }
        }
        let color = input::color(std::io::stdout().is_terminal());
        for finding in &findings {
            println!("{}", finding.render(color));
        }
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        println!("{errors} errors, {} warnings", findings.len() - errors);
        if errors > 0 { exit.max(Exit::Failed) } else { exit }
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
