//! `tidegate simulate`: plays scenarios or plain manifests and shows what happens.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::Value;
use tidegate_api::object::{Kind, Object};
use tidegate_api::time::Span;
use tidegate_api::yaml::{self, SourceError};
use tidegate_sim::play::{Outcome, play};
use tidegate_sim::scenario::{Entry, Moment, Script, Verb, object_of, yaml_error};

use crate::Exit;
use crate::input::{self, Beside, Input};
use crate::output;
use crate::progress::Progress;

/// Arguments of `simulate`.
#[derive(Args)]
pub struct Simulate {
    /// Scenarios, or manifests to deploy and then update; `-` is standard input.
    #[arg(required = true)]
    files: Vec<String>,
    /// How to show the run.
    #[arg(short, long, value_enum, default_value_t = Output::Trace)]
    output: Output,
    /// Where all chance comes from, instead of the scenario's own seed.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// One line an event.
    Trace,
    /// One JSON document a run.
    Json,
}

/// Endless pauses of plain manifests are promoted after so long.
const PATIENCE: Span = Span::seconds(30);

impl Simulate {
    /// Plays everything.
    pub fn run(&self) -> Exit {
        let scripts = match self.scripts() {
            Ok(scripts) => scripts,
            Err(error) => {
                input::complain(&error);
                return Exit::Unreadable;
            }
        };
        let mut exit = Exit::AsExpected;
        let mut progress = Progress::of(scripts.len());
        for (at, script) in scripts.iter().enumerate() {
            progress.next(&script.name);
            let outcome = play(script);
            progress.erase();
            if !outcome.failures.is_empty() {
                exit = exit.max(Exit::Failed);
            }
            let text = match self.output {
                Output::Json => {
                    for failure in &outcome.failures {
                        eprintln!("{}: FAILED: {failure}", script.name);
                    }
                    format!("{}\n", outcome.to_value())
                }
                Output::Trace => {
                    let gap = if at > 0 { "\n" } else { "" };
                    format!("{gap}{}", shown(script, &outcome))
                }
            };
            exit = output::say(&text, exit);
        }
        exit
    }

    fn scripts(&self) -> Result<Vec<Script>, SourceError> {
        let (mut scripts, mut manifests, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for file in &self.files {
            let Input { name, text } = input::read(file)?;
            let documents = yaml::read(&name, &text)?;
            if documents.iter().any(Script::is_scenario) {
                scripts.push(Script::read(&name, &text, &Beside(Path::new(file)))?);
                continue;
            }
            for document in yaml::objects(documents) {
                manifests.push(object_of(&document)?);
            }
            names.push(name);
        }
        if !names.is_empty() {
            scripts.push(of_manifests(&names.join(", "), manifests)?);
        }
        for script in &mut scripts {
            script.seed = self.seed.unwrap_or(script.seed);
        }
        Ok(scripts)
    }
}

/// Plain manifests: the first deployment, an update of the first container, to rest.
fn of_manifests(name: &str, given: Vec<Object>) -> Result<Script, SourceError> {
    let mut script = Script::of(name, Vec::new());
    for rollout in given.iter().filter(|object| object.kind == Kind::Rollout) {
        let Some((container, image)) = first_container(rollout, &given) else { continue };
        let verb = Verb::SetImage {
            rollout: rollout.meta.name.to_string(),
            container: Some(container),
            image: next_tag(&image),
        };
        script.when.push(Entry { moment: Moment::At(Span::ZERO), after: Span::ZERO, verb, line: 0 });
    }
    if !given.iter().any(|object| object.kind == Kind::Rollout) {
        return Err(yaml_error(name, "there is no Rollout to simulate"));
    }
    script.about = "The first deployment, then an update.".to_owned();
    script.given = given;
    script.promote_after = Some(PATIENCE);
    Ok(script)
}

/// The first container, of the referenced workload if there is one: name and image.
fn first_container(rollout: &Object, given: &[Object]) -> Option<(String, String)> {
    let reference = rollout.rollout()?.spec.spec().workload_ref.as_ref();
    let source = match reference {
        None => rollout,
        Some(reference) => given
            .iter()
            .find(|object| object.kind.name() == &*reference.kind && object.meta.name == reference.name)?,
    };
    let document = source.to_value();
    let container = document.pointer("/spec/template/spec/containers/0")?;
    let text = |field: &str| container.get(field).and_then(Value::as_str).map(str::to_owned);
    Some((text("name")?, text("image")?))
}

/// The same image with another tag; a digest is left out, since it names one content.
fn next_tag(image: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag { format!("{name}-next") } else { format!("{name}:next") }
}

fn shown(script: &Script, outcome: &Outcome) -> String {
    let mut out = format!("{}\n", script.name);
    if !script.about.is_empty() {
        out += &format!("{}\n", script.about);
    }
    out += &format!("\n{}\n{}\n", outcome.trace(), summary(outcome));
    for failure in &outcome.failures {
        out += &format!("FAILED: {failure}\n");
    }
    out
}

/// `web ends Healthy, at rest after 185 s, 27 writes, seed 0`.
fn summary(outcome: &Outcome) -> String {
    let ends: Vec<String> = outcome
        .ends
        .iter()
        .map(|(name, phase)| {
            format!("{name} ends {}", if phase.is_empty() { "without a phase" } else { phase })
        })
        .collect();
    let rest = if outcome.at_rest { "at rest after" } else { "not at rest after" };
    let seconds = outcome.simulated.0 / 1000;
    format!("{}, {rest} {seconds} s, {} writes, seed {}", ends.join(", "), outcome.writes, outcome.seed)
}

#[cfg(test)]
mod tests {
    use super::next_tag;

    #[test]
    fn an_update_changes_the_tag_and_nothing_else() {
        assert_eq!(next_tag("web:v1"), "web:v1-next");
        assert_eq!(next_tag("web"), "web:next");
        assert_eq!(next_tag("host:5000/web"), "host:5000/web:next");
        assert_eq!(next_tag("host:5000/web:1@sha256:aa"), "host:5000/web:1-next");
    }
}
