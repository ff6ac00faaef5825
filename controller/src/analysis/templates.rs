//! Templates: collected by their names, nested ones included, and made into one run.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_api::analysis::{AnalysisSpec, Argument, Retention, TemplateRef};
use tidegate_api::object::{Key, Kind, Object, Text};

/// Where a template lives.
pub fn template_key(namespace: &Text, reference: &TemplateRef) -> Key {
    if reference.cluster {
        Key::new(Kind::ClusterAnalysisTemplate, "", reference.name.clone())
    } else {
        Key::new(Kind::AnalysisTemplate, namespace.clone(), reference.name.clone())
    }
}

/// A template that is not there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} '{}' not found", .0.kind.name(), .0.name)]
pub struct Missing(pub Key);

/// Finds templates and those they consist of, each once. Those of the namespace come first, as in the reference.
// ARGO: the reference follows a circle of templates until its stack is full. A template that was visited adds nothing.
pub fn collect(
    references: &[TemplateRef],
    namespace: &Text,
    find: &dyn Fn(&Key) -> Option<Arc<Object>>,
) -> Result<Vec<Arc<Object>>, Missing> {
    let mut found = Vec::new();
    let mut visited = BTreeSet::new();
    let mut waiting: Vec<TemplateRef> = references.iter().rev().cloned().collect();
    while let Some(reference) = waiting.pop() {
        let key = template_key(namespace, &reference);
        if !visited.insert(key.clone()) {
            continue;
        }
        let template = find(&key).ok_or(Missing(key))?;
        if let Some(body) = template.analysis_template() {
            waiting.extend(body.spec.spec().templates.iter().rev().cloned());
        }
        found.push(template);
    }
    // The order within each kind stays.
    found.sort_by_key(|template| template.kind == Kind::ClusterAnalysisTemplate);
    Ok(found)
}

/// What a Rollout or an Experiment adds to its templates.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// Arguments.
    pub args: Vec<Argument>,
    /// Metrics that decide nothing.
    pub dry_run: Vec<Text>,
    /// How many measurements are kept.
    pub retention: Vec<Retention>,
}

/// The run that templates make together.
pub fn run_of(templates: &[Arc<Object>], additions: &Additions) -> Result<AnalysisSpec, String> {
    let specs: Vec<&AnalysisSpec> =
        templates.iter().filter_map(|template| Some(template.analysis_template()?.spec.spec())).collect();
    let mut run = AnalysisSpec {
        dry_run: additions.dry_run.clone(),
        retention: additions.retention.clone(),
        ..AnalysisSpec::default()
    };
    let mut args: Vec<Argument> = Vec::new();
    for spec in specs {
        run.metrics.extend(spec.metrics.iter().cloned());
        run.dry_run.extend(spec.dry_run.iter().cloned());
        run.retention.extend(spec.retention.iter().cloned());
        for arg in &spec.args {
            add_argument(&mut args, arg)?;
        }
    }
    let names = run.metrics.iter().map(|metric| metric["name"].as_str().unwrap_or_default());
    if let Some(name) = twice(names) {
        return Err(format!("two metrics have the same name '{name}'"));
    }
    if let Some(name) = twice(run.dry_run.iter().map(|name| &**name)) {
        return Err(format!("two Dry-Run metric rules have the same name '{name}'"));
    }
    if let Some(name) = twice(run.retention.iter().map(|rule| &*rule.metric)) {
        return Err(format!("two Measurement Retention metric rules have the same name '{name}'"));
    }
    run.args = merge(&additions.args, &args)?;
    Ok(run)
}

/// Adds an argument of a further template. One without a value is replaced whole, also by another one without.
fn add_argument(args: &mut Vec<Argument>, arg: &Argument) -> Result<(), String> {
    let Some(known) = args.iter_mut().find(|known| known.name == arg.name) else {
        args.push(arg.clone());
        return Ok(());
    };
    match (&known.value, &arg.value) {
        (Some(old), Some(new)) if old != new => Err(format!(
            "Argument `{}` specified multiple times with different values: '{old}', '{new}'",
            arg.name
        )),
        (Some(_), _) => Ok(()),
        (None, _) => {
            *known = arg.clone();
            Ok(())
        }
    }
}

/// Puts given arguments over those of a template. What the template does not declare is dropped; the other half of an
/// argument stays, so that a secret stays beside a given value, and wins.
pub fn merge(given: &[Argument], declared: &[Argument]) -> Result<Vec<Argument>, String> {
    let mut args = declared.to_vec();
    for arg in given {
        let Some(known) = args.iter_mut().find(|known| known.name == arg.name) else { continue };
        if arg.value.is_some() {
            known.value.clone_from(&arg.value);
        } else if arg.value_from.is_some() {
            known.value_from.clone_from(&arg.value_from);
        }
    }
    match args.iter().find(|arg| arg.value.is_none() && arg.value_from.is_none()) {
        Some(arg) => Err(format!("args.{} was not resolved", arg.name)),
        None => Ok(args),
    }
}

fn twice<'n>(names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let mut seen = BTreeSet::new();
    let mut names = names;
    names.find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn template(name: &str, spec: Value) -> Arc<Object> {
        let (kind, name) = match name.strip_prefix("cluster/") {
            Some(name) => ("ClusterAnalysisTemplate", name),
            None => ("AnalysisTemplate", name),
        };
        let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": if kind == "AnalysisTemplate" { "n" } else { "" }}, "spec": spec});
        Arc::new(Object::from_value(object).expect("a template"))
    }

    fn reference(name: &str) -> TemplateRef {
        TemplateRef {
            name: name.trim_start_matches("cluster/").into(),
            cluster: name.starts_with("cluster/"),
        }
    }

    fn names(all: &[Arc<Object>], references: &[&str]) -> Result<Vec<String>, String> {
        let references: Vec<TemplateRef> = references.iter().map(|name| reference(name)).collect();
        let find = |key: &Key| all.iter().find(|template| template.key() == *key).cloned();
        let found = collect(&references, &"n".into(), &find).map_err(|missing| missing.to_string())?;
        Ok(found.iter().map(|template| template.meta.name.to_string()).collect())
    }

    fn args(raw: Value) -> Vec<Argument> {
        tidegate_api::analysis::AnalysisDocument::new(json!({"args": raw})).spec().args.clone()
    }

    fn run(specs: &[Value], additions: &Additions) -> Result<AnalysisSpec, String> {
        let templates: Vec<_> = specs.iter().map(|spec| template("t", spec.clone())).collect();
        run_of(&templates, additions)
    }

    /// Vector A11, nesting, circles.
    #[test]
    fn each_template_is_used_once() {
        let nested = |names: &[&str]| {
            let entry = |name: &&str| {
                json!({"templateName": name.trim_start_matches("cluster/"),
                "clusterScope": name.starts_with("cluster/")})
            };
            json!({"templates": names.iter().map(entry).collect::<Vec<_>>()})
        };
        let all = [
            template("a", nested(&["b", "cluster/c"])),
            template("b", nested(&["a"])),
            template("cluster/c", nested(&["d"])),
            template("d", json!({})),
            template("lost", nested(&["nowhere"])),
        ];
        let all_names = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(names(&all, &["a", "a"]), all_names(&["a", "b", "d", "c"]));
        assert_eq!(names(&all, &["cluster/c"]), all_names(&["d", "c"]));
        assert_eq!(names(&all, &["lost"]), Err("AnalysisTemplate 'nowhere' not found".to_owned()));
        assert_eq!(names(&all, &["cluster/a"]), Err("ClusterAnalysisTemplate 'a' not found".to_owned()));
    }

    /// Vectors A1 to A5.
    #[test]
    fn given_arguments_go_over_declared_ones() {
        assert_eq!(merge(&[], &[]), Ok(Vec::new()));
        let declared = args(json!([{"name": "foo", "value": "bar"},
            {"name": "my-secret", "valueFrom": {"secretKeyRef": {"name": "name", "key": "key"}}}]));
        assert_eq!(merge(&[], &declared), Ok(declared.clone()));
        let given = args(json!([{"name": "foo", "value": "overwrite"}, {"name": "extra-arg", "value": "x"},
            {"name": "my-secret", "value": "plain"}]));
        let merged = merge(&given, &declared).expect("all have values");
        assert_eq!(merged[0].value.as_deref(), Some("overwrite"));
        assert_eq!(merged.len(), 2);
        assert!(merged[1].secret().is_some() && merged[1].value.is_some(), "the secret stays, and wins");
        let bare = args(json!([{"name": "foo"}]));
        assert_eq!(merge(&bare, &bare), Err("args.foo was not resolved".to_owned()));
        let empty = args(json!([{"name": "foo", "value": ""}]));
        assert_eq!(merge(&empty, &bare), Ok(empty.clone()));
    }

    /// Vectors A6 to A10.
    #[test]
    fn templates_that_contradict_each_other_are_refused() {
        let foo = |value: Value| json!({"args": [{"name": "foo", "value": value}]});
        let value = |specs: &[Value]| {
            run(specs, &Additions::default())
                .map(|run| run.args[0].value.clone().unwrap_or_default().to_string())
        };
        assert_eq!(value(&[foo(json!(null)), foo(json!("metric-value"))]), Ok("metric-value".to_owned()));
        let conflict = "Argument `foo` specified multiple times with different values: 'a', 'b'";
        assert_eq!(value(&[foo(json!("a")), foo(json!("b"))]), Err(conflict.to_owned()));
        assert_eq!(value(&[foo(json!("a")), foo(json!(null))]), Ok("a".to_owned()));
        let metric = json!({"metrics": [{"name": "x"}]});
        let twice = run(&[metric.clone(), metric], &Additions::default()).map(|_| ());
        assert_eq!(twice, Err("two metrics have the same name 'x'".to_owned()));
        let additions = Additions { dry_run: vec![".*".into()], ..Additions::default() };
        let twice = run(&[json!({"dryRun": [{"metricName": ".*"}]})], &additions).map(|_| ());
        assert_eq!(twice, Err("two Dry-Run metric rules have the same name '.*'".to_owned()));
        let keep = json!({"measurementRetention": [{"metricName": "m", "limit": 1}]});
        let twice = run(&[keep.clone(), keep], &Additions::default()).map(|_| ());
        assert_eq!(twice, Err("two Measurement Retention metric rules have the same name 'm'".to_owned()));
    }
}
