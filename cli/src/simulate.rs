//! `tidegate simulate`: plays scenarios or plain manifests and shows what happens.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tidegate_api::object::{Kind, Object};
use tidegate_api::spec::StepKind;
use tidegate_api::time::Span;
use tidegate_api::yaml::{self, SourceError};
use tidegate_sim::forecast::{Forecast, STARTUP, forecast};
use tidegate_sim::play::{Outcome, play};
use tidegate_sim::scenario::{Entry, Moment, Script, Verb, object_of, yaml_error};
use tidegate_sim::world::TrafficModel;

use crate::Exit;
use crate::input::{self, Beside, Input};
use crate::output;
use crate::plan::analyses;
use crate::plan::render::Style;
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
            let asked = asked(script);
            for error in asked.iter().filter_map(|asked| asked.as_ref().err()) {
                input::complain(error);
                exit = exit.max(Exit::Failed);
            }
            let asked: Vec<&Forecast> = asked.iter().flatten().collect();
            let text = match self.output {
                Output::Json => {
                    for failure in &outcome.failures {
                        eprintln!("{}: FAILED: {failure}", script.name);
                    }
                    let mut value = outcome.to_value();
                    if !asked.is_empty() {
                        value["analyses"] = asked.iter().map(|forecast| analyses_of(forecast)).collect();
                    }
                    format!("{value}\n")
                }
                Output::Trace => {
                    let gap = if at > 0 { "\n" } else { "" };
                    let asked: String = asked.iter().map(|forecast| told(forecast)).collect();
                    format!("{gap}{}{asked}", shown(script, &outcome))
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

/// What plain manifests ask while they are updated. In a scenario the story says what is measured.
fn asked(script: &Script) -> Vec<Result<Forecast, SourceError>> {
    if script.promote_after.is_none() {
        return Vec::new();
    }
    let rollouts = script.given.iter().filter(|object| object.kind == Kind::Rollout && asks(object));
    let of = |rollout: &Object| {
        forecast(rollout, &script.given, STARTUP).map_err(|refusals| {
            let why: Vec<String> = refusals.iter().map(|one| format!("{}: {}", one.path, one.why)).collect();
            yaml_error(&script.name, &format!("Rollout {}: {}", rollout.meta.name, why.join("; ")))
        })
    };
    rollouts.map(of).collect()
}

/// Whether a Rollout names templates.
fn asks(rollout: &Object) -> bool {
    let Some(body) = rollout.rollout() else { return false };
    let steps = body.spec.spec().canary().into_iter().flat_map(|canary| &canary.steps);
    let mut kinds = steps.map(|step| &step.kind);
    let asks_in_steps = kinds.any(|kind| match kind {
        StepKind::Analysis(_) => true,
        StepKind::Experiment(experiment) => !experiment.analyses.is_empty(),
        _ => false,
    });
    asks_in_steps
        || body.spec.spec().canary().is_some_and(|canary| canary.analysis.is_some())
        || body.spec.spec().blue_green().is_some_and(|spec| {
            spec.pre_promotion_analysis.is_some() || spec.post_promotion_analysis.is_some()
        })
}

fn told(forecast: &Forecast) -> String {
    format!("\n{}: {}", forecast.name, analyses::shown(forecast, Style::Table).trim_end()) + "\n"
}

fn analyses_of(forecast: &Forecast) -> Value {
    json!({"rollout": forecast.name, "asked": forecast.to_value()["analyses"]})
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
    if given.iter().any(|object| object.analysis_template().is_some()) {
        // Queries about users are answered, so there are some.
        let traffic = TrafficModel::default();
        let rps = traffic.rps.first().map_or(0, |(_, rps)| *rps);
        script.about += &format!(" Users send {rps} requests a second; none of them fails.");
        script.traffic = Some(traffic);
    }
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
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn an_update_changes_the_tag_and_nothing_else() {
        assert_eq!(next_tag("web:v1"), "web:v1-next");
        assert_eq!(next_tag("web"), "web:next");
        assert_eq!(next_tag("host:5000/web"), "host:5000/web:next");
        assert_eq!(next_tag("host:5000/web:1@sha256:aa"), "host:5000/web:1-next");
    }

    /// Places in a Rollout, and what a typing error may put there.
    const PLACES: [&str; 22] = [
        "/metadata/labels",
        "/metadata/annotations",
        "/metadata/namespace",
        "/spec",
        "/spec/replicas",
        "/spec/selector",
        "/spec/selector/matchLabels",
        "/spec/template",
        "/spec/template/metadata",
        "/spec/template/metadata/labels",
        "/spec/template/spec",
        "/spec/template/spec/containers",
        "/spec/template/spec/containers/0",
        "/spec/template/spec/containers/0/image",
        "/spec/strategy",
        "/spec/strategy/canary",
        "/spec/strategy/canary/steps",
        "/spec/strategy/canary/steps/0",
        "/spec/strategy/canary/steps/0/setWeight",
        "/spec/strategy/canary/steps/1/pause",
        "/spec/strategy/canary/steps/1/pause/duration",
        "/spec/strategy/canary/maxSurge",
    ];

    fn values() -> impl Strategy<Value = Value> {
        prop::sample::select(vec![
            json!(null),
            json!(true),
            json!(-1),
            json!(0),
            json!(3),
            json!(1.5),
            json!("x"),
            json!(""),
            json!("25%"),
            json!([]),
            json!({}),
            json!("1h"),
            json!([null]),
            json!({"a": 1}),
            json!({"setWeight": 200}),
            json!(u64::MAX),
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_manifest_is_too_strange(changes in prop::collection::vec((prop::sample::select(&PLACES[..]), values()), 1..4)) {
            let mut rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
                "metadata": {"name": "web", "labels": {}, "annotations": {}, "namespace": "shop"},
                "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                    "template": {"metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
                    "strategy": {"canary": {"maxSurge": 1,
                        "steps": [{"setWeight": 50}, {"pause": {"duration": "10s"}}]}}}});
            for (place, value) in changes {
                if let Some(found) = rollout.pointer_mut(place) {
                    *found = value;
                }
            }
            let documents = yaml::read("web", &rollout.to_string()).expect("JSON is YAML");
            let objects: Result<Vec<Object>, SourceError> =
                yaml::objects(documents).iter().map(object_of).collect();
            if let Ok(script) = objects.and_then(|objects| of_manifests("web", objects)) {
                let _ = play(&script).to_value();
            }
        }
    }
}
