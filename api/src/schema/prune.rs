//! What the API server does to an object before it looks at it: drops what the CRD does not know, drops nulls,
//! and fills in the defaults of the CRD.

use serde_json::Value;

use super::table::{Field, Shape, View, table};

/// Removes the fields that the CRD of the kind does not know, and nulls, as the API server does. Objects of other
/// kinds stay as they are.
pub fn prune(kind: &str, object: &mut Value) {
    let mut found = Vec::new();
    prune_recording(kind, object, &mut found);
}

/// Fills in the defaults that the CRD of the kind declares.
pub fn apply_defaults(kind: &str, object: &mut Value) {
    if let Some(id) = super::kind_type(kind) {
        fill(View::Of(&Shape::Struct(id)), object);
    }
}

/// The paths of all fields that the CRD of the kind does not know, such as `spec.strategy.canary.steps[0].setweight`.
pub fn unknown_fields(kind: &str, object: &Value) -> Vec<String> {
    explain_unknown_fields(kind, object).into_iter().map(|unknown| unknown.path).collect()
}

/// The fields that the CRD of the kind does not know, each with the known name that was perhaps meant.
pub fn explain_unknown_fields(kind: &str, object: &Value) -> Vec<UnknownField> {
    let mut found = Vec::new();
    prune_recording(kind, &mut object.clone(), &mut found);
    found
}

/// A field that no type knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownField {
    /// Where it stands.
    pub path: String,
    /// Its name.
    pub name: String,
    /// The name that was perhaps meant.
    pub nearest: Option<&'static str>,
}

impl std::fmt::Display for UnknownField {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "unknown field {:?}", self.name)?;
        match self.nearest {
            Some(nearest) => write!(out, ", did you mean {nearest:?}?"),
            None => Ok(()),
        }
    }
}

fn prune_recording(kind: &str, object: &mut Value, found: &mut Vec<UnknownField>) {
    let Some(id) = super::kind_type(kind) else { return };
    let metadata = super::object_meta();
    if let Some(value) = object.get_mut("metadata") {
        Pruning { path: "metadata".to_owned(), found }.value(Some(View::Of(&metadata)), value);
    }
    let metadata = object.as_object_mut().and_then(|map| map.remove("metadata"));
    Pruning { path: String::new(), found }.value(Some(View::Of(&Shape::Struct(id))), object);
    if let (Some(metadata), Value::Object(map)) = (metadata, object) {
        map.insert("metadata".to_owned(), metadata);
    }
}

struct Pruning<'a> {
    path: String,
    found: &'a mut Vec<UnknownField>,
}

impl Pruning<'_> {
    /// Where nothing is said of a value, no field of it is known.
    fn value(&mut self, view: Option<View<'_>>, value: &mut Value) {
        if matches!(view, Some(View::Any | View::Open)) {
            return;
        }
        match value {
            Value::Object(map) => map.retain(|key, value| {
                let entry = view.and_then(|view| view.entry(key));
                let known = entry.is_some();
                self.below(Step::Key(key), |pruning| match known {
                    true => pruning.value(entry, value),
                    false => pruning.record(key, view),
                });
                known && (!value.is_null() || has_default(view, key))
            }),
            Value::Array(items) => {
                let item = match view {
                    Some(View::Of(Shape::List(item))) => Some(View::of(item)),
                    _ => None,
                };
                for (at, value) in items.iter_mut().enumerate() {
                    self.below(Step::Item(at), |pruning| pruning.value(item, value));
                }
            }
            _ => {}
        }
    }

    fn below(&mut self, step: Step<'_>, then: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        step.append_to(&mut self.path);
        then(self);
        self.path.truncate(length);
    }

    fn record(&mut self, name: &str, view: Option<View<'_>>) {
        let nearest = nearest(view, name);
        self.found.push(UnknownField { path: self.path.clone(), name: name.to_owned(), nearest });
    }
}

fn has_default(view: Option<View<'_>>, name: &str) -> bool {
    match view {
        Some(View::Of(Shape::Struct(id))) => {
            table().at(*id).field(name).is_some_and(|field| field.default.is_some())
        }
        _ => false,
    }
}

fn fill(view: View<'_>, value: &mut Value) {
    match (view, value) {
        (View::Of(Shape::Struct(id)), Value::Object(map)) => {
            for field in &table().at(*id).fields {
                if let Some(default) = &field.default
                    && map.get(field.name).is_none_or(Value::is_null)
                {
                    map.insert(field.name.to_owned(), default.clone());
                }
                if let Some(value) = map.get_mut(field.name) {
                    fill(Field::view(field), value);
                }
            }
        }
        (View::Of(Shape::Map(item)), Value::Object(map)) => {
            map.values_mut().for_each(|v| fill(View::of(item), v))
        }
        (View::Of(Shape::List(item)), Value::Array(items)) => {
            items.iter_mut().for_each(|value| fill(View::of(item), value));
        }
        _ => {}
    }
}

/// One step of a path.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

impl Step<'_> {
    pub(crate) fn append_to(self, path: &mut String) {
        match self {
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Step::Item(at) => path.push_str(&format!("[{at}]")),
        }
    }
}

/// The known name closest to a wrong one, if it is close at all.
fn nearest(view: Option<View<'_>>, wrong: &str) -> Option<&'static str> {
    let Some(View::Of(Shape::Struct(id))) = view else { return None };
    let wrong = wrong.to_lowercase();
    let tolerance = (wrong.chars().count() / 3).clamp(1, 3);
    let names = table().at(*id).sorted().map(|field| field.name);
    let rated = names.map(|name| (distance(&name.to_lowercase(), &wrong), name));
    rated.filter(|(distance, _)| *distance <= tolerance).min().map(|(_, name)| name)
}

/// How many letters must be added, removed or replaced to get from one word to the other; capped for absurd words.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 100;
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(LONGEST).collect(), b.chars().take(LONGEST).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check_pruned(given: Value, want: Value) {
        let mut object = given;
        prune("Rollout", &mut object);
        assert_eq!(object, want);
    }

    #[test]
    fn what_the_crd_does_not_know_is_gone() {
        check_pruned(
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "extra": 1,
                   "metadata": {"name": "r", "odd": 1, "labels": {"any": "label"}},
                   "spec": {"replicas": 1, "Replicas": 2, "strategy": {"canary": {"steps": [{"setweight": 1}]}}}}),
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
                   "metadata": {"name": "r", "labels": {"any": "label"}},
                   "spec": {"replicas": 1, "strategy": {"canary": {"steps": [{}]}}}}),
        );
        let mut other = json!({"anything": 1});
        prune("Pod", &mut other);
        assert_eq!(other, json!({"anything": 1}));
    }

    #[test]
    fn a_template_keeps_labels_and_annotations_alone() {
        check_pruned(
            json!({"spec": {"template": {"metadata": {"name": "x", "labels": {"a": "b"}, "creationTimestamp": null}}}}),
            json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}),
        );
    }

    #[test]
    fn open_places_keep_everything() {
        let object = json!({"spec": {
            "template": {"spec": {"volumes": [{"name": "v", "new": {"x": null}}],
                                  "containers": [{"name": "a", "resources": {"limits": {"a.b/c": {"odd": 1}}}}]}},
            "strategy": {"canary": {"trafficRouting": {"plugins": {"a/b": {"c": [1]}}},
                                    "steps": [{"plugin": {"name": "p", "config": {"deep": {"er": null}}}}]}}},
            "status": {"canary": {"stepPluginStatuses": [{"index": 0, "name": "p", "operation": "Run", "status": {"x": 1}}]}}});
        check_pruned(object.clone(), object);
    }

    #[test]
    fn nulls_vanish_where_the_crd_looks() {
        check_pruned(
            json!({"spec": {"replicas": null, "template": {"spec": {"nodeSelector": {"a": null},
                            "tolerations": [null], "volumes": null}}}}),
            json!({"spec": {"template": {"spec": {"nodeSelector": {}, "tolerations": [null]}}}}),
        );
    }

    #[test]
    fn objects_in_the_place_of_plain_values_are_emptied() {
        check_pruned(
            json!({"spec": {"replicas": {"a": 1}, "paused": [{"b": 1}]}}),
            json!({"spec": {"replicas": {}, "paused": [{}]}}),
        );
    }

    #[test]
    fn the_defaults_of_the_crd_are_filled_in() {
        let mut run = json!({"spec": {"metrics": [{"provider": {"datadog": {"interval": "1m"},
            "job": {"spec": {"template": {"spec": {"containers": [{"ports": [{"containerPort": 1}],
                "env": [{"valueFrom": {"secretKeyRef": {"name": null}}}]}]}}}}}}]}});
        apply_defaults("AnalysisTemplate", &mut run);
        let provider = &run["spec"]["metrics"][0]["provider"];
        assert_eq!(
            provider["datadog"],
            json!({"interval": "1m", "apiVersion": "v1", "requestTimeout": "10s"})
        );
        let container = &provider["job"]["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(container["env"][0]["valueFrom"]["secretKeyRef"]["name"], "");
    }

    #[test]
    fn a_wrong_name_is_told_the_right_one() {
        let check = |step: Value, want: &str| {
            let object = json!({"spec": {"strategy": {"canary": {"steps": [{"setWeight": 1}, step]}}}});
            let unknown = explain_unknown_fields("Rollout", &object);
            assert_eq!(unknown.iter().map(ToString::to_string).collect::<Vec<_>>(), [want]);
            assert!(unknown_fields("Rollout", &object)[0].starts_with("spec.strategy.canary.steps[1]."));
        };
        check(json!({"setweight": 1}), r#"unknown field "setweight", did you mean "setWeight"?"#);
        check(json!({"pasue": {}}), r#"unknown field "pasue""#);
        check(json!({"paus": {}}), r#"unknown field "paus", did you mean "pause"?"#);
        check(json!({"something": {}}), r#"unknown field "something""#);
    }

    proptest! {
        #[test]
        fn a_second_pruning_finds_nothing(value in crate::schema::testing::any_value(), kind in "Rollout|AnalysisRun|Experiment|X") {
            let mut object = value;
            prune(&kind, &mut object);
            apply_defaults(&kind, &mut object);
            prop_assert_eq!(unknown_fields(&kind, &object), Vec::<String>::new());
            let before = object.clone();
            prune(&kind, &mut object);
            prop_assert_eq!(object, before);
        }
    }
}
