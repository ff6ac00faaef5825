//! The steps of a canary: one file each, one line to register.

mod analysis;
mod experiment;
mod pause;
mod set_canary_scale;
mod set_route;
mod set_weight;

use serde_json::Value;
use tidegate_api::spec::{Canary, Step, StepKind};

use crate::rollout::draft::Draft;

/// Where a step stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It is complete.
    Done,
    /// It waits, for this.
    Holding(String),
}

/// Looks at the step under way. Called in every pass until it is done.
pub fn advance(step: &Step, draft: &mut Draft<'_>, canary: &Canary) -> Progress {
    match &step.kind {
        StepKind::Pause(pause) => pause::advance(pause, draft),
        StepKind::SetWeight(weight) => set_weight::advance(*weight, draft, canary),
        StepKind::SetCanaryScale(_) => set_canary_scale::advance(draft, canary),
        StepKind::SetHeaderRoute | StepKind::SetMirrorRoute => set_route::advance(draft, canary),
        StepKind::Analysis(_) => analysis::advance(draft),
        StepKind::Experiment(_) => experiment::advance(draft),
        StepKind::Plugin | StepKind::Empty => {
            Progress::Holding("a kind of step that validation refuses".to_owned())
        }
    }
}

/// The step in the words of the reference's events.
pub fn text(step: &Step) -> String {
    match &step.kind {
        StepKind::Pause(_) => match &step.raw["pause"]["duration"] {
            Value::Null => "pause".to_owned(),
            Value::String(text) => format!("pause: {text}"),
            number => format!("pause: {number}"),
        },
        StepKind::SetWeight(weight) => format!("setWeight: {weight}"),
        StepKind::SetCanaryScale(scale) => match (scale.matches_weight, scale.replicas, scale.weight) {
            (true, ..) => "setCanaryScale{matchTrafficWeight: true}".to_owned(),
            (false, Some(replicas), _) => format!("setCanaryScale{{replicas: {replicas}}}"),
            (false, None, Some(weight)) => format!("setCanaryScale{{weight: {weight}}}"),
            (false, None, None) => "setCanaryScale".to_owned(),
        },
        StepKind::Experiment(_) => "experiment".to_owned(),
        StepKind::Analysis(_) => "analysis".to_owned(),
        StepKind::SetHeaderRoute => {
            format!("setHeaderRoute: {}", step.raw["setHeaderRoute"]["name"].as_str().unwrap_or(""))
        }
        StepKind::SetMirrorRoute => {
            format!("setMirrorRoute: {}", step.raw["setMirrorRoute"]["name"].as_str().unwrap_or(""))
        }
        StepKind::Plugin => format!("plugin: {}", step.raw["plugin"]["name"].as_str().unwrap_or("")),
        StepKind::Empty => "invalid".to_owned(),
    }
}
