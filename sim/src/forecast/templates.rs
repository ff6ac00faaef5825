//! The analyses that a Rollout names: their templates, found among the files, and made to be played.
//!
//! A forecast is about what outcomes lead to, and no manifest says what a provider will answer. So each metric is asked of
//! a provider of the forecast's own, in whose words "good", "bad" and everything else mean a success, a failure and
//! neither; names, counts, intervals, delays, limits, arguments and rules stay as they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidegate_api::analysis::{Metric, RolloutAnalysis, TemplateRef};
use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::problem::Problem;
use tidegate_api::spec::{Spec, StepKind, Strategy};
use tidegate_controller::analysis::args::PLACE_OF_A_SECRET;
use tidegate_controller::analysis::expr::{base64_of, unreadable};
use tidegate_controller::analysis::templates::template_key;
use tidegate_controller::providers;

use super::Refusal;
use super::given::namespace;
use crate::metrics::series::Point;

/// What a metric can come to, if all of its measurements do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Answer {
    /// Each measurement succeeds.
    Good,
    /// Each one fails.
    Bad,
    /// Each one is an error: the provider cannot be reached.
    Error,
    /// Each one is neither.
    Inconclusive,
}

impl Answer {
    /// Every one, in the order in which they are told.
    pub const ALL: [Answer; 4] = [Answer::Good, Answer::Bad, Answer::Error, Answer::Inconclusive];

    /// How it is called in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Answer::Good => "good",
            Answer::Bad => "bad",
            Answer::Error => "error",
            Answer::Inconclusive => "inconclusive",
        }
    }

    /// What the provider of a forecast answers.
    pub(super) fn point(self) -> Point {
        match self {
            Answer::Error => Point::Fails("the provider is down".to_owned()),
            Answer::Good | Answer::Bad | Answer::Inconclusive => Point::Value(json!({"says": self.name()})),
        }
    }
}

/// What a metric as written can come to: without a condition nothing is bad, and without two nothing is neither.
pub(super) fn can_be(metric: &Metric) -> Vec<Answer> {
    let conditions = [&metric.success_condition, &metric.failure_condition];
    let written = conditions.iter().filter(|condition| !condition.is_empty()).count();
    let of = |bad: bool, neither: bool| {
        let is_so = |answer: &Answer| match answer {
            Answer::Good | Answer::Error => true,
            Answer::Bad => bad,
            Answer::Inconclusive => neither,
        };
        Answer::ALL.into_iter().filter(is_so).collect()
    };
    match providers::type_name(&metric.provider) {
        "Job" => of(true, false),
        "Kayenta" => of(true, true),
        _ => of(written > 0, written > 1),
    }
}

/// The templates of a Rollout.
#[derive(Clone, Debug, Default)]
pub(super) struct Templates {
    /// As they are written, by key.
    pub written: BTreeMap<Key, Arc<Object>>,
    /// What is put into the invented cluster: templates whose metrics can be played, and the Secrets of their arguments.
    pub played: Vec<Object>,
}

/// Finds what the Rollout names, and what that names; each that is missing is refused by object and field.
pub(super) fn templates(
    rollout: &Object,
    spec: &Spec,
    others: &[Object],
    notes: &mut Vec<String>,
) -> Result<Templates, Vec<Refusal>> {
    let near = namespace(rollout);
    let find = |key: &Key| {
        let is_it = |object: &&Object| {
            let here = key.kind == Kind::ClusterAnalysisTemplate || namespace(object) == near;
            object.kind == key.kind && object.meta.name == key.name && here
        };
        others.iter().find(is_it)
    };
    let mut found = Templates::default();
    let (mut refusals, mut missing) = (Vec::new(), BTreeSet::new());
    for (path, reference) in named(spec) {
        let mut waiting = vec![(reference, String::new())];
        while let Some((reference, by)) = waiting.pop() {
            let key = template_key(&Text::from(near), &reference);
            if found.written.contains_key(&key) || !missing.insert((path.clone(), key.clone())) {
                continue;
            }
            let Some(template) = find(&key) else {
                let why = format!("{} \"{}\"{by} is not among the files", key.kind.name(), key.name);
                refusals.push(Refusal { path: path.clone(), why });
                continue;
            };
            let nested = template.analysis_template().map(|body| body.spec.spec().templates.clone());
            for (index, reference) in nested.unwrap_or_default().into_iter().enumerate() {
                let (kind, name) = (key.kind.name(), &key.name);
                let by = format!(", which {kind} \"{name}\" names (spec.templates[{index}].templateName),");
                waiting.push((reference, by));
            }
            refusals.extend(unplayable(template).map(|why| Refusal { path: path.clone(), why }));
            found.written.insert(key, Arc::new(template.clone()));
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let refused =
        |why: String| vec![Refusal { path: "spec.strategy".to_owned(), why: format!("a template: {why}") }];
    for template in found.written.values() {
        found.played.push(played(template).map_err(refused)?);
    }
    found.played.extend(secrets(near, &found.written, others, notes).map_err(refused)?);
    Ok(found)
}

/// Every reference to a template, with its field.
fn named(spec: &Spec) -> Vec<(String, TemplateRef)> {
    let mut all = Vec::new();
    let mut of = |place: &str, asked: &RolloutAnalysis| {
        for (index, reference) in asked.templates.iter().enumerate() {
            all.push((format!("spec.strategy.{place}.templates[{index}].templateName"), reference.clone()));
        }
    };
    match &spec.strategy {
        Strategy::Canary(canary) => {
            canary.analysis.iter().for_each(|asked| of("canary.analysis", asked));
            for (index, step) in canary.steps.iter().enumerate() {
                if let StepKind::Analysis(asked) = &step.kind {
                    of(&format!("canary.steps[{index}].analysis"), asked);
                }
            }
            for (index, step) in canary.steps.iter().enumerate() {
                let StepKind::Experiment(experiment) = &step.kind else { continue };
                for (at, analysis) in experiment.analyses.iter().enumerate() {
                    let place =
                        format!("spec.strategy.canary.steps[{index}].experiment.analyses[{at}].templateName");
                    all.push((place, analysis.template.clone()));
                }
            }
        }
        Strategy::BlueGreen(blue_green) => {
            blue_green
                .pre_promotion_analysis
                .iter()
                .for_each(|asked| of("blueGreen.prePromotionAnalysis", asked));
            blue_green
                .post_promotion_analysis
                .iter()
                .for_each(|asked| of("blueGreen.postPromotionAnalysis", asked));
        }
        Strategy::Unclear => {}
    }
    all
}

/// What would never come to a value, whatever a provider answers.
fn unplayable(template: &Object) -> impl Iterator<Item = String> {
    let (kind, name) = (template.kind.name().to_owned(), template.meta.name.clone());
    let metrics =
        template.analysis_template().map(|body| body.spec.spec().metrics.clone()).unwrap_or_default();
    metrics.into_iter().enumerate().flat_map(move |(index, raw)| {
        let metric = Metric::read(&raw);
        let place = format!("{kind} \"{name}\": spec.metrics[{index}].provider");
        let problems = match metric.provider["job"].is_null() {
            true => match providers::of(&metric) {
                Ok(_) => providers::check(&metric.provider, "provider"),
                Err(why) => vec![Problem::required("provider", why.to_string())],
            },
            false => Vec::new(),
        };
        let conditions = [
            ("successCondition", &metric.success_condition),
            ("failureCondition", &metric.failure_condition),
        ];
        let of_condition = |(field, source): (&str, &Text)| {
            // What arguments will make of it is not known yet.
            let why =
                Some(source).filter(|s| !s.is_empty() && !s.contains("{{")).and_then(|s| unreadable(s))?;
            Some(format!("{kind} \"{name}\": spec.metrics[{index}].{field}: {why}"))
        };
        let conditions: Vec<String> = conditions.into_iter().filter_map(of_condition).collect();
        let problems = problems.into_iter().map(|problem| format!("{place}: {}", problem.detail));
        problems.chain(conditions).collect::<Vec<_>>()
    })
}

/// A template whose metrics are asked of the forecast's own provider.
fn played(template: &Object) -> Result<Object, String> {
    let mut document = template.to_value();
    for metric in document["spec"]["metrics"].as_array_mut().into_iter().flatten() {
        metric["provider"] = json!({"web": {"url": "http://forecast.invalid", "jsonPath": "{$.says}"}});
        metric["successCondition"] = json!("result == \"good\"");
        metric["failureCondition"] = json!("result == \"bad\"");
    }
    Object::from_value(document).map_err(|why| why.to_string())
}

/// The Secrets of arguments. One that is not among the files is made up: in planning, no secret shows anyway.
fn secrets(
    near: &str,
    templates: &BTreeMap<Key, Arc<Object>>,
    others: &[Object],
    notes: &mut Vec<String>,
) -> Result<Vec<Object>, String> {
    let specs = templates.values().filter_map(|template| Some(template.analysis_template()?.spec.spec()));
    let mut wanted: BTreeMap<Text, Map<String, Value>> = BTreeMap::new();
    for secret in specs.flat_map(|spec| spec.args.iter().filter_map(|arg| arg.secret())) {
        let value = base64_of(PLACE_OF_A_SECRET.as_bytes());
        wanted.entry(secret.name).or_default().insert(secret.key.to_string(), value.into());
    }
    let mut all = Vec::new();
    for (name, data) in wanted {
        let is_it = |object: &&Object| {
            object.kind == Kind::Secret && object.meta.name == name && namespace(object) == near
        };
        if let Some(secret) = others.iter().find(is_it) {
            all.push(secret.clone());
            continue;
        }
        notes.push(format!(
            "Secret {name} is not among the files; taken to hold what the templates ask of it"
        ));
        let document = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": &*name, "namespace": near}, "data": data});
        all.push(Object::from_value(document).map_err(|why| why.to_string())?);
    }
    Ok(all)
}
