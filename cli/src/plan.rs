//! `tidegate plan`: what an update of a manifest will do, step by step, and how two manifests differ in that.
//!
//! The figures come from [`tidegate_sim::forecast`], which plays the real controller; here manifests are read and
//! refused, and forecasts shown.

pub(crate) mod analyses;
mod estimate;
pub(crate) mod render;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tidegate_api::duration::GoDuration;
use tidegate_api::object::{Kind, Object};
use tidegate_api::time::Span;
use tidegate_api::validate;
use tidegate_api::yaml::{self, Document, Severity, SourceError};
use tidegate_sim::forecast::estimate::{Assumed, Estimate, LIVES, estimate};
use tidegate_sim::forecast::{Difference, Forecast, Refusal, difference, forecast};
use tidegate_sim::scenario::{Script, object_of, yaml_error};

use crate::Exit;
use crate::input::{self, Input};
use crate::lint;
use crate::output::say;

/// What the help says below the arguments.
const HELP: &str = "\
The update is played by the real controller in a simulated cluster: the first deployment comes to rest, the pod \
template changes, all pods take the same time to start. A pause without duration is promoted at once, so the end is \
the earliest one. At each step a copy of the cluster is aborted and played to rest.

Objects that a Rollout names must be among the files: the workload of a workloadRef, and AnalysisTemplates and \
ClusterAnalysisTemplates. Missing Services are made up.

Where analyses are asked, the plan shows when each measurement happens and what becomes of the update if those of one \
metric are all good, all bad, unanswered or inconclusive. With --error-rate and --rps it also estimates how often a good \
version is aborted and a bad one promoted, how long that takes and how many requests it costs: the update is lived \
through thousands of times with errors drawn by chance. Queries of Prometheus about requests are evaluated on those; \
what else a metric asks cannot be estimated, and is named.

Examples:
  tidegate plan -f rollout.yaml                         what an update will do
  tidegate plan -f rollout.yaml -f services.yaml        the same, with its Services
  helm template mychart | tidegate plan -f -            whatever prints manifests
  kustomize build overlays/prod | tidegate plan -f - -o markdown
  tidegate plan -f rollout.yaml --startup 40s           with pods that take 40 seconds to be ready
  git show main:rollout.yaml | tidegate plan -f rollout.yaml --against -
                                                        what the change of a manifest changes in the update
  tidegate plan -f rollout.yaml -f templates.yaml --error-rate 2% --rps 50
                                                        is a version with 2 % errors found, and at what price?
  tidegate plan … --error-rate 2% --good-error-rate 0.5% --rps 50 --seeds 100000
                                                        the same where a good version has errors too

Exit codes: 0 shown; 1 a manifest is invalid or cannot be played; 2 unreadable input, or no Rollout in it.";

/// Arguments of `plan`.
#[derive(Args)]
#[command(after_help = HELP)]
pub struct Plan {
    /// Manifests with one or more Rollouts and the objects they name; `-` is standard input.
    #[arg(short, long = "filename", value_name = "FILE", num_args = 1.., required_unless_present = "more")]
    files: Vec<String>,
    /// More manifests.
    #[arg(value_name = "FILE")]
    more: Vec<String>,
    /// How to show the plan.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Manifests as they were: shows only how the update differs.
    #[arg(long, value_name = "OLD")]
    against: Vec<String>,
    /// How long each pod takes to be ready.
    #[arg(long, default_value = "5s", value_parser = startup)]
    startup: Span,
    /// Estimates what becomes of a new version with this part of errors: 0.02 or 2%.
    #[arg(long, value_name = "PART", value_parser = part, requires = "rps", conflicts_with = "against")]
    error_rate: Option<f64>,
    /// The part of errors of a good version, and of the one before the update.
    #[arg(long, value_name = "PART", default_value = "0", value_parser = part, requires = "error_rate")]
    good_error_rate: f64,
    /// Requests a second that users send, to all versions together.
    #[arg(long, requires = "error_rate", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    rps: Option<i64>,
    /// How many updates to each version are lived through.
    #[arg(long, default_value_t = LIVES, value_parser = lives, requires = "error_rate")]
    seeds: usize,
    /// Where the chance of the estimate comes from.
    #[arg(long, default_value_t = 0, requires = "error_rate")]
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For a terminal.
    Table,
    /// For a pull request.
    Markdown,
    /// For programs; docs/plan.md has the shape.
    Json,
}

fn startup(text: &str) -> Result<Span, String> {
    let span = GoDuration::parse(text).map(|duration| Span::millis(duration.nanos() / 1_000_000));
    span.ok()
        .filter(|span| (0..=86_400_000).contains(&span.0))
        .ok_or_else(|| "this must be a duration such as 5s or 1m30s, a day at most".to_owned())
}

fn part(text: &str) -> Result<f64, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let part = match text.strip_suffix('%') {
        Some(percent) => number(percent).map(|percent| percent / 100.0),
        None => number(text),
    };
    part.filter(|part| (0.0..=1.0).contains(part))
        .ok_or_else(|| "this must be a part of all requests, such as 0.02 or 2%".to_owned())
}

fn lives(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|number| (1..=10_000_000).contains(number));
    number.ok_or_else(|| "this must be a number from 1 to 10000000".to_owned())
}

/// What is wrong, and how bad that is.
struct Refused {
    exit: Exit,
    findings: Vec<SourceError>,
}

impl Plan {
    /// Plays every Rollout and shows what came of it.
    pub fn run(&self) -> Exit {
        match self.shown() {
            Ok(shown) => say(&shown, Exit::AsExpected),
            Err(refused) => {
                refused.findings.iter().for_each(input::complain);
                refused.exit
            }
        }
    }

    fn shown(&self) -> Result<String, Refused> {
        let files: Vec<&String> = self.files.iter().chain(&self.more).collect();
        let old: Vec<&String> = self.against.iter().collect();
        if files.iter().chain(&old).filter(|file| **file == "-").count() > 1 {
            let error = yaml_error("<stdin>", "standard input can be read only once");
            return Err(Refused { exit: Exit::Unreadable, findings: vec![error] });
        }
        let new = self.forecasts(&files)?;
        if old.is_empty() {
            return Ok(match self.output {
                Output::Table => plans(&new, render::Style::Table),
                Output::Markdown => plans(&new, render::Style::Markdown),
                Output::Json => {
                    let values: Vec<Value> = new.iter().map(value).collect();
                    format!("{:#}\n", json!({"rollouts": values}))
                }
            });
        }
        let bare = |all: Vec<Planned>| all.into_iter().map(|(forecast, _)| forecast).collect();
        let (pairs, removed, added) = paired(bare(self.forecasts(&old)?), bare(new));
        Ok(match self.output {
            Output::Table => render::differences(&pairs, &removed, &added, render::Style::Table),
            Output::Markdown => render::differences(&pairs, &removed, &added, render::Style::Markdown),
            Output::Json => {
                let values = |of: &[Forecast]| of.iter().map(Forecast::to_value).collect::<Vec<Value>>();
                let pairs: Vec<Value> = pairs.iter().map(Difference::to_value).collect();
                let all = json!({"differences": pairs, "removed": values(&removed), "added": values(&added)});
                format!("{all:#}\n")
            }
        })
    }

    fn forecasts(&self, files: &[&String]) -> Result<Vec<Planned>, Refused> {
        let documents = read(files)?;
        let objects: Vec<(Document, Object)> = checked(documents, files)?;
        let others: Vec<Object> = objects.iter().map(|(_, object)| object.clone()).collect();
        let (mut forecasts, mut findings) = (Vec::new(), Vec::new());
        for (document, object) in objects.iter().filter(|(_, object)| object.kind == Kind::Rollout) {
            match self.planned(object, &others) {
                Ok(planned) => forecasts.push(planned),
                Err(refusals) => findings.extend(refusals.into_iter().map(|Refusal { path, why }| {
                    document.error_at(&path, format!("Rollout {}: {path}: {why}", object.meta.name))
                })),
            }
        }
        if findings.is_empty() { Ok(forecasts) } else { Err(Refused { exit: Exit::Failed, findings }) }
    }

    fn planned(&self, rollout: &Object, others: &[Object]) -> Result<Planned, Vec<Refusal>> {
        let forecast = forecast(rollout, others, self.startup)?;
        let (Some(error_rate), Some(rps)) = (self.error_rate, self.rps) else { return Ok((forecast, None)) };
        let (good_error_rate, lives) = (self.good_error_rate, self.seeds);
        let assumed = Assumed { rps, error_rate, good_error_rate, lives, seed: self.seed };
        let estimate = estimate(rollout, others, self.startup, assumed)?;
        Ok((forecast, Some(estimate)))
    }
}

/// What is shown of one Rollout.
type Planned = (Forecast, Option<Estimate>);

fn plans(all: &[Planned], style: render::Style) -> String {
    let shown = |(forecast, estimate): &Planned| {
        let estimate = estimate.as_ref().map(|estimate| estimate::shown(forecast, estimate, style));
        render::plan(forecast, style) + &estimate.unwrap_or_default()
    };
    all.iter().map(shown).collect::<Vec<_>>().join("\n")
}

fn value((forecast, estimate): &Planned) -> Value {
    let mut value = forecast.to_value();
    if let Some(estimate) = estimate {
        value["estimate"] = estimate.to_value();
    }
    value
}

fn read(files: &[&String]) -> Result<Vec<Document>, Refused> {
    let (mut documents, mut findings) = (Vec::new(), Vec::new());
    for file in files {
        match input::read(file).and_then(|Input { name, text }| yaml::read(&name, &text)) {
            Ok(read) => match read.iter().find(|document| Script::is_scenario(document)) {
                Some(scenario) => findings.push(
                    scenario
                        .error_at("", "this is a scenario; plan takes manifests")
                        .with_help("run `tidegate simulate` on it"),
                ),
                None => documents.extend(yaml::objects(read)),
            },
            Err(error) => findings.push(error),
        }
    }
    if findings.is_empty() { Ok(documents) } else { Err(Refused { exit: Exit::Unreadable, findings }) }
}

/// The objects, if nothing is wrong with the Rollouts among them; else all that is.
fn checked(documents: Vec<Document>, files: &[&String]) -> Result<Vec<(Document, Object)>, Refused> {
    let (mut objects, mut findings) = (Vec::new(), Vec::new());
    let (mut rollouts, mut exit) = (0, Exit::Failed);
    for document in documents {
        let text = |field: &str| document.value.get(field).and_then(Value::as_str).unwrap_or("");
        let is_rollout = text("kind") == "Rollout" && text("apiVersion").starts_with("argoproj.io/");
        let before = findings.len();
        if is_rollout || text("kind").is_empty() || text("apiVersion").is_empty() {
            lint::look_at(&document, &mut findings);
        }
        findings.retain(|finding: &SourceError| finding.severity == Severity::Error);
        rollouts += usize::from(is_rollout);
        let name = document.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
        for finding in findings.iter_mut().skip(before).filter(|_| is_rollout) {
            finding.message = format!("Rollout {name}: {}", finding.message);
        }
        if is_rollout && text("apiVersion") != "argoproj.io/v1alpha1" {
            let message = format!("Rollout {name}: apiVersion: must be argoproj.io/v1alpha1");
            findings.push(document.error_at("apiVersion", message));
        }
        if findings.len() > before {
            continue;
        }
        match object_of(&document) {
            Ok(object) => objects.push((document, object)),
            Err(error) if is_rollout => findings.push(error),
            // Around a Rollout stand objects of all sorts; only what it names is looked at.
            Err(_) => {}
        }
    }
    let mut workloads = workload_problems(&objects);
    findings.append(&mut workloads);
    if rollouts == 0 && findings.is_empty() {
        let names: Vec<&str> = files.iter().map(|f| if *f == "-" { "<stdin>" } else { f.as_str() }).collect();
        findings.push(yaml_error(&names.join(", "), "there is no Rollout to plan"));
        exit = Exit::Unreadable;
    }
    if findings.is_empty() { Ok(objects) } else { Err(Refused { exit, findings }) }
}

/// Rules about pod templates that come from a Deployment.
fn workload_problems(objects: &[(Document, Object)]) -> Vec<SourceError> {
    let mut findings = Vec::new();
    for (_, rollout) in objects {
        let Some(reference) = rollout.rollout().and_then(|body| body.spec.spec().workload_ref.as_ref())
        else {
            continue;
        };
        for (document, workload) in objects.iter().filter(|(_, o)| o.meta.name == reference.name) {
            let Some(body) = workload.deployment() else { continue };
            for problem in validate::template_problems(&body.template, &body.selector) {
                let message = format!("Deployment {}: {problem}", workload.meta.name);
                findings.push(document.error_at(problem.place(), message));
            }
        }
    }
    findings
}

/// Pairs of the same name; a single Rollout is compared with a single one whatever they are called.
fn paired(old: Vec<Forecast>, new: Vec<Forecast>) -> (Vec<Difference>, Vec<Forecast>, Vec<Forecast>) {
    let (mut old, mut pairs, mut added) = (old, Vec::new(), Vec::new());
    let are_single = old.len() == 1 && new.len() == 1;
    for new in new {
        let is_same = |old: &Forecast| (&old.namespace, &old.name) == (&new.namespace, &new.name);
        match old.iter().position(|old| are_single || is_same(old)) {
            Some(at) => pairs.push(difference(old.remove(at), new)),
            None => added.push(new),
        }
    }
    (pairs, old, added)
}
