//! `spec` of Experiments, and of the steps that make them: verbatim, and as the brain sees them.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::analysis::{
    Argument, Retention, RolloutArgument, TemplateRef, dry_run, entries, metadata, retention, some_text, text,
};
use crate::duration::GoDuration;
use crate::object::{Selector, Strings, Template, Text};
use crate::schema::integer;
use crate::time::Span;

/// A specification, verbatim; what it means is worked out once, on demand.
#[derive(Debug)]
pub struct ExperimentDocument {
    raw: Value,
    spec: OnceLock<ExperimentSpec>,
}

impl PartialEq for ExperimentDocument {
    fn eq(&self, other: &ExperimentDocument) -> bool {
        self.raw == other.raw
    }
}

impl ExperimentDocument {
    /// A document that nobody has looked at yet.
    pub fn new(raw: Value) -> ExperimentDocument {
        ExperimentDocument { raw, spec: OnceLock::new() }
    }

    /// As the user wrote it.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// What it means.
    pub fn spec(&self) -> &ExperimentSpec {
        self.spec.get_or_init(|| ExperimentSpec::read(&self.raw))
    }

    /// Whether two Experiments ask for the same, whether or not one was told to end.
    pub fn asks_the_same(&self, other: &Value) -> bool {
        let fields = |value: &Value| {
            let fields = value.as_object().into_iter().flatten().filter(|(name, _)| *name != "terminate");
            fields.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
        };
        fields(&self.raw) == fields(other)
    }
}

/// What an Experiment runs and asks. A best effort where types are wrong: the API server refuses those.
#[derive(Clone, PartialEq, Debug)]
pub struct ExperimentSpec {
    /// `templates`
    pub templates: Vec<ExperimentTemplate>,
    /// `duration`: how long the templates run once they are available; absent for no limit, or where it cannot be read.
    pub duration: Option<Span>,
    /// `progressDeadlineSeconds`, 600 when absent.
    pub progress_deadline_seconds: i64,
    /// `terminate`
    pub terminate: bool,
    /// `analyses`
    pub analyses: Vec<ExperimentAnalysis>,
    /// `scaleDownDelaySeconds`, 30 when absent.
    pub scale_down_delay_seconds: i64,
    /// `dryRun`
    pub dry_run: Vec<Text>,
    /// `measurementRetention`
    pub retention: Vec<Retention>,
    /// `analysisRunMetadata.labels`
    pub labels: Strings,
    /// `analysisRunMetadata.annotations`
    pub annotations: Strings,
    /// Why the Experiment is refused, without its name; see [`ExperimentSpec::problem`].
    problem: Option<Flaw>,
}

/// One set of pods of an Experiment.
#[derive(Clone, PartialEq, Debug)]
pub struct ExperimentTemplate {
    /// `name`
    pub name: Text,
    /// `replicas`, 1 when absent.
    pub replicas: i64,
    /// `minReadySeconds`
    pub min_ready_seconds: i64,
    /// `selector`
    pub selector: Arc<Selector>,
    /// `template`
    pub template: Template,
    /// `service`: whether there is to be a Service, and its name; empty for the default one.
    pub service: Option<Text>,
}

/// One analysis of an Experiment.
#[derive(Clone, PartialEq, Debug)]
pub struct ExperimentAnalysis {
    /// `name`
    pub name: Text,
    /// `templateName`, `clusterScope`
    pub template: TemplateRef,
    /// `args`
    pub args: Vec<Argument>,
    /// `requiredForCompletion`
    pub is_required: bool,
}

/// Why an Experiment is refused.
#[derive(Clone, PartialEq, Debug)]
enum Flaw {
    /// This sentence.
    Says(String),
    /// A sentence that begins with the name of the Experiment.
    About(String),
}

impl ExperimentSpec {
    fn read(raw: &Value) -> ExperimentSpec {
        let duration = raw["duration"].as_str().filter(|text| !text.is_empty());
        // What is left of a millisecond counts as one: the end is never early.
        let millis =
            |duration: GoDuration| Span::millis(duration.nanos().saturating_add(999_999) / 1_000_000);
        let deadline = integer(&raw["progressDeadlineSeconds"]).unwrap_or(600);
        ExperimentSpec {
            templates: entries(&raw["templates"]).map(ExperimentTemplate::read).collect(),
            duration: duration.and_then(|text| GoDuration::parse(text).ok()).map(millis),
            progress_deadline_seconds: deadline,
            terminate: raw["terminate"] == true,
            analyses: entries(&raw["analyses"]).map(ExperimentAnalysis::read).collect(),
            scale_down_delay_seconds: integer(&raw["scaleDownDelaySeconds"]).unwrap_or(30),
            dry_run: dry_run(&raw["dryRun"]),
            retention: retention(&raw["measurementRetention"]),
            labels: metadata(raw, "labels"),
            annotations: metadata(raw, "annotations"),
            problem: flaw(raw, deadline),
        }
    }

    /// What is wrong with an Experiment of this name, in the words of the reference; only the first thing.
    pub fn problem(&self, name: &str) -> Option<String> {
        self.problem.as_ref().map(|flaw| match flaw {
            Flaw::Says(text) => text.clone(),
            Flaw::About(text) => format!("Experiment {name} {text}"),
        })
    }

    /// Whether some analysis decides when the Experiment is complete.
    pub fn has_required(&self) -> bool {
        self.analyses.iter().any(|analysis| analysis.is_required)
    }
}

fn flaw(raw: &Value, deadline: i64) -> Option<Flaw> {
    let mut names = Vec::new();
    for (index, template) in entries(&raw["templates"]).enumerate() {
        let name = template["name"].as_str().unwrap_or_default();
        let selector = &template["selector"];
        if selector.is_null() {
            return Some(Flaw::Says(format!(
                "Rollout has missing field '.Spec.Templates[{index}].Selector'"
            )));
        }
        if Selector::from_value(Arc::new(selector.clone())).is_empty() {
            return Some(Flaw::Says(format!(
                "This experiment is selecting all pods at index {index}. A non-empty selector is required."
            )));
        }
        if integer(&template["minReadySeconds"]).unwrap_or(0) > deadline {
            return Some(Flaw::Says(format!(
                "MinReadySeconds cannot be longer than ProgressDeadlineSeconds. Check template index {index}"
            )));
        }
        if name.is_empty() {
            return Some(Flaw::About(format!("has empty template name at index {index}")));
        }
        if names.contains(&name) {
            return Some(Flaw::About(format!("has repeated template name '{name}' in templates")));
        }
        names.push(name);
    }
    // ARGO: a duration that cannot be read is as good as none to the reference, which then never ends.
    let duration = raw["duration"].as_str().filter(|text| !text.is_empty())?;
    GoDuration::parse(duration).err().map(|why| Flaw::About(format!("has an invalid duration: {why}")))
}

impl ExperimentTemplate {
    fn read(raw: &Value) -> ExperimentTemplate {
        let service = &raw["service"];
        ExperimentTemplate {
            name: text(&raw["name"]),
            replicas: integer(&raw["replicas"]).unwrap_or(1),
            min_ready_seconds: integer(&raw["minReadySeconds"]).unwrap_or(0),
            selector: Arc::new(Selector::from_value(Arc::new(raw["selector"].clone()))),
            template: Template::from_value(raw["template"].clone(), "template").unwrap_or_default(),
            service: service.is_object().then(|| text(&service["name"])),
        }
    }
}

fn template_ref(raw: &Value) -> TemplateRef {
    TemplateRef { name: text(&raw["templateName"]), cluster: raw["clusterScope"] == true }
}

impl ExperimentAnalysis {
    fn read(raw: &Value) -> ExperimentAnalysis {
        // Only plain values: what else an argument says is not for an Experiment, as in the reference.
        let arg = |raw: &Value| Argument {
            name: text(&raw["name"]),
            value: some_text(&raw["value"]),
            ..Argument::default()
        };
        ExperimentAnalysis {
            name: text(&raw["name"]),
            template: template_ref(raw),
            args: entries(&raw["args"]).map(arg).collect(),
            is_required: raw["requiredForCompletion"] == true,
        }
    }
}

/// `experiment` of a canary's step.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ExperimentStep {
    /// `templates`
    pub templates: Vec<StepTemplate>,
    /// `analyses`
    pub analyses: Vec<StepAnalysis>,
    /// As the user wrote it.
    pub raw: Arc<Value>,
}

/// One set of pods that a step asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct StepTemplate {
    /// `name`
    pub name: Text,
    /// `specRef`: `canary` or `stable`.
    pub of: Text,
    /// `replicas`
    pub replicas: Option<i64>,
    /// `metadata.labels`
    pub labels: Strings,
    /// `metadata.annotations`
    pub annotations: Strings,
    /// `selector`, where the one of the ReplicaSet is not meant.
    pub selector: Option<Value>,
    /// `weight`
    pub weight: Option<i64>,
    /// `service`: whether there is to be a Service, and its name; empty for the default one.
    pub service: Option<Text>,
}

/// One analysis that a step asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct StepAnalysis {
    /// `name`
    pub name: Text,
    /// `templateName`, `clusterScope`
    pub template: TemplateRef,
    /// `args`
    pub args: Vec<RolloutArgument>,
    /// `requiredForCompletion`
    pub is_required: bool,
}

impl ExperimentStep {
    /// Reads what a step asks for.
    pub fn read(raw: &Value) -> ExperimentStep {
        ExperimentStep {
            templates: entries(&raw["templates"]).map(StepTemplate::read).collect(),
            analyses: entries(&raw["analyses"]).map(StepAnalysis::read).collect(),
            raw: Arc::new(raw.clone()),
        }
    }
}

impl StepTemplate {
    fn read(raw: &Value) -> StepTemplate {
        let strings = |name: &str| {
            let pairs = raw["metadata"][name].as_object().into_iter().flatten();
            pairs.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
        };
        let service = &raw["service"];
        StepTemplate {
            name: text(&raw["name"]),
            of: text(&raw["specRef"]),
            replicas: integer(&raw["replicas"]),
            labels: strings("labels"),
            annotations: strings("annotations"),
            selector: Some(raw["selector"].clone()).filter(Value::is_object),
            weight: integer(&raw["weight"]),
            service: service.is_object().then(|| text(&service["name"])),
        }
    }
}

impl StepAnalysis {
    fn read(raw: &Value) -> StepAnalysis {
        StepAnalysis {
            name: text(&raw["name"]),
            template: template_ref(raw),
            args: entries(&raw["args"]).map(RolloutArgument::read).collect(),
            is_required: raw["requiredForCompletion"] == true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problem(spec: Value) -> Option<String> {
        ExperimentDocument::new(spec).spec().problem("e")
    }

    fn template(name: &str) -> Value {
        json!({"name": name, "selector": {"matchLabels": {"app": name}}})
    }

    #[test]
    fn an_experiment_is_refused_in_the_words_of_the_reference() {
        let says = |templates: Value, want: &str| {
            assert_eq!(problem(json!({"templates": templates})).as_deref(), Some(want));
        };
        says(json!([{"name": "a"}]), "Rollout has missing field '.Spec.Templates[0].Selector'");
        says(
            json!([template("a"), {"name": "b", "selector": {}}]),
            "This experiment is selecting all pods at index 1. A non-empty selector is required.",
        );
        let mut slow = template("a");
        slow["minReadySeconds"] = json!(601);
        says(
            json!([slow]),
            "MinReadySeconds cannot be longer than ProgressDeadlineSeconds. Check template index 0",
        );
        says(json!([template("")]), "Experiment e has empty template name at index 0");
        says(
            json!([template("a"), template("a")]),
            "Experiment e has repeated template name 'a' in templates",
        );
        assert_eq!(problem(json!({"templates": [template("a")], "duration": "1m"})), None);
        assert_eq!(problem(json!({"templates": []})), None);
        let odd = problem(json!({"templates": [], "duration": "soon"})).expect("refused");
        assert!(odd.starts_with("Experiment e has an invalid duration: "), "{odd}");
    }

    #[test]
    fn what_is_absent_has_the_defaults_of_the_reference() {
        let document =
            ExperimentDocument::new(json!({"templates": [template("a"), {"name": "b", "replicas": 0,
            "service": {}}], "duration": "1500ms", "analyses": [{"name": "x", "templateName": "t", "args": [
            {"name": "s", "valueFrom": {"secretKeyRef": {"name": "n", "key": "k"}}}]}]}));
        let spec = document.spec();
        assert_eq!((spec.progress_deadline_seconds, spec.scale_down_delay_seconds), (600, 30));
        assert_eq!((spec.templates[0].replicas, spec.templates[0].service.clone()), (1, None));
        assert_eq!((spec.templates[1].replicas, spec.templates[1].service.as_deref()), (0, Some("")));
        assert_eq!(spec.duration, Some(Span::millis(1500)));
        assert_eq!(spec.analyses[0].args, [Argument { name: "s".into(), ..Argument::default() }]);
        assert!(!spec.has_required());
        assert!(document.asks_the_same(&{
            let mut other = document.raw().clone();
            other["terminate"] = json!(true);
            other
        }));
    }
}
