//! What is wrong with the templates that a Rollout names: missing ones, contradictions, arguments without a value. Told in
//! the condition `InvalidSpec` before anything depends on them.

use std::sync::Arc;

use tidegate_api::analysis::{Argument, Count, Metric, RolloutAnalysis, RolloutArgument};
use tidegate_api::object::Object;
use tidegate_api::problem::Problem;
use tidegate_api::spec::{StepKind, Strategy};

use crate::analysis::args::{Hashes, Values, field, of_rollout, resolve};
use crate::analysis::templates::{Additions, collect, run_of};
use crate::rollout::draft::Draft;
use crate::sabotage::Sabotage;

/// Stands for an argument that has no value yet.
const DUMMY: &str = "dummy-value";

/// Every problem, in the order in which the reference would find it.
pub fn problems(draft: &Draft<'_>) -> Vec<Problem> {
    if draft.facts.is_sabotaged(Sabotage::TrustTemplates) {
        return Vec::new();
    }
    let mut all: Vec<(String, Arc<RolloutAnalysis>, bool)> = Vec::new();
    let mut ask = |place: String, asked: &Option<Arc<RolloutAnalysis>>, background: bool| {
        all.extend(asked.iter().map(|asked| (place.clone(), asked.clone(), background)));
    };
    match &draft.spec.strategy {
        Strategy::BlueGreen(spec) => {
            ask("blueGreen.prePromotionAnalysis".to_owned(), &spec.pre_promotion_analysis, false);
            ask("blueGreen.postPromotionAnalysis".to_owned(), &spec.post_promotion_analysis, false);
        }
        Strategy::Canary(spec) => {
            for (index, step) in spec.steps.iter().enumerate() {
                if let StepKind::Analysis(asked) = &step.kind {
                    ask(format!("canary.steps[{index}].analysis"), &Some(asked.clone()), false);
                }
            }
            ask("canary.analysis".to_owned(), &spec.analysis, true);
        }
        Strategy::Unclear => {}
    }
    all.iter()
        .filter_map(|(place, asked, background)| {
            problem_of(draft, &format!("spec.strategy.{place}.templates"), asked, *background)
        })
        .collect()
}

fn problem_of(draft: &Draft<'_>, path: &str, asked: &RolloutAnalysis, background: bool) -> Option<Problem> {
    let rollout = draft.rollout();
    let find = |key: &_| draft.world.templates.get(key).cloned();
    let templates = match collect(&asked.templates, &rollout.meta.namespace, &find) {
        Ok(templates) => templates,
        Err(missing) => return Some(Problem::invalid(path, &*missing.0.name, missing.to_string())),
    };
    let names: Vec<&str> = asked.templates.iter().map(|template| &*template.name).collect();
    let names = format!("templateNames: [{}]", names.join(" "));
    let invalid = |why: String| Some(Problem::invalid(path, names.as_str(), why));
    let additions = Additions {
        args: trial_arguments(&asked.args, rollout),
        dry_run: asked.dry_run.clone(),
        retention: asked.retention.clone(),
    };
    if let Err(why) = run_of(&templates, &additions) {
        return invalid(why);
    }
    templates.iter().find_map(|template| problem_of_template(template, asked, background)).and_then(invalid)
}

/// The arguments as they would be; what is not known yet stands for itself.
fn trial_arguments(args: &[RolloutArgument], rollout: &Object) -> Vec<Argument> {
    let hashes = Hashes { latest: "dummy-new-hash", stable: Some("dummy-stable-hash") };
    let known = |arg: &RolloutArgument| match &arg.field {
        Some(path) if arg.hash_of.is_none() && field(rollout, path).is_err() => {
            RolloutArgument { field: None, value: "".into(), ..arg.clone() }
        }
        _ => arg.clone(),
    };
    let args: Vec<RolloutArgument> = args.iter().map(known).collect();
    of_rollout(&args, rollout, hashes).unwrap_or_default()
}

fn problem_of_template(template: &Object, asked: &RolloutAnalysis, background: bool) -> Option<String> {
    let spec = template.analysis_template()?.spec.spec();
    let name = &template.meta.name;
    if background {
        let missing = |arg: &&Argument| {
            let given = asked.args.iter().any(|given| given.name == arg.name);
            arg.value.is_none() && arg.value_from.is_none() && !given
        };
        let arg = spec.args.iter().find(missing)?;
        return Some(if asked.args.is_empty() {
            "missing analysis arguments in rollout spec".to_owned()
        } else {
            arg.name.to_string()
        });
    }
    if let Some(arg) = spec.args.iter().find(|arg| arg.value.is_some() && arg.value_from.is_some()) {
        return Some(format!("arg '{}' has both Value and ValueFrom fields", arg.name));
    }
    let value = |arg: &Argument| (arg.name.clone(), arg.value.clone().unwrap_or_else(|| DUMMY.into()));
    let values: Values = spec.args.iter().map(value).collect();
    spec.metrics.iter().find_map(|metric| {
        let metric: Metric = match resolve(metric, &values) {
            Ok(metric) => metric,
            Err(why) => return Some(format!("AnalysisTemplate {name}: {why}")),
        };
        let count = metric.count.as_ref().map_or_else(|| "nil".to_owned(), |count| count.text.to_string());
        (metric.times() == Count::Unlimited).then(|| {
            format!(
                "AnalysisTemplate {name} has metric {} which runs indefinitely. Invalid value for count: {count}",
                metric.name
            )
        })
    })
}
