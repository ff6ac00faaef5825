//! The CustomResourceDefinitions, printed from the table.

use serde_json::{Map, Value, json};

use super::check::QUANTITY_PATTERN;
use super::table::{Field, Merge, Shape, TypeId, View, table};

/// The CustomResourceDefinition of a kind; null for kinds that have none.
pub fn crd(kind: &str) -> Value {
    let (Some(id), Some(facts)) = (super::kind_type(kind), Facts::of(kind)) else { return Value::Null };
    let singular = kind.to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.argoproj.io", facts.plural),
            // Tools tell by this annotation which rules of schema generation a CRD follows.
            "annotations": {"controller-gen.kubebuilder.io/version": "v0.19.0"},
        },
        "spec": {
            "group": "argoproj.io",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": facts.plural,
                      "singular": singular, "shortNames": [facts.short]},
            "scope": if kind == "ClusterAnalysisTemplate" { "Cluster" } else { "Namespaced" },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "additionalPrinterColumns": facts.columns(),
                "schema": {"openAPIV3Schema": Schema { path: String::new() }.object(id)},
                "subresources": facts.subresources(kind),
            }],
        },
    })
}

/// What differs from kind to kind beside the schema.
struct Facts {
    plural: &'static str,
    short: &'static str,
    /// Name, path, type and meaning of what `kubectl get` prints beside the age.
    columns: &'static [[&'static str; 4]],
}

const ROLLOUT_COLUMNS: [[&str; 4]; 4] = [
    ["Desired", ".spec.replicas", "integer", "Pods wanted"],
    ["Current", ".status.replicas", "integer", "Pods there are"],
    ["Up-to-date", ".status.updatedReplicas", "integer", "Pods of the current template"],
    ["Available", ".status.availableReplicas", "integer", "Pods ready for long enough"],
];
const EXPERIMENT_COLUMNS: [[&str; 4]; 1] = [["Status", ".status.phase", "string", "Phase of the experiment"]];
const RUN_COLUMNS: [[&str; 4]; 1] = [["Status", ".status.phase", "string", "Phase of the run"]];

impl Facts {
    fn of(kind: &str) -> Option<Facts> {
        let (plural, short, columns): (_, _, &[[&str; 4]]) = match kind {
            "Rollout" => ("rollouts", "ro", &ROLLOUT_COLUMNS),
            "Experiment" => ("experiments", "exp", &EXPERIMENT_COLUMNS),
            "AnalysisRun" => ("analysisruns", "ar", &RUN_COLUMNS),
            "AnalysisTemplate" => ("analysistemplates", "at", &[]),
            "ClusterAnalysisTemplate" => ("clusteranalysistemplates", "cat", &[]),
            _ => return None,
        };
        Some(Facts { plural, short, columns })
    }

    fn columns(&self) -> Value {
        let age = ["Age", ".metadata.creationTimestamp", "date", "Time since creation"];
        let columns = self.columns.iter().copied().chain([age]);
        columns
            .map(|[name, path, kind, about]| json!({"name": name, "jsonPath": path, "type": kind, "description": about}))
            .collect()
    }

    /// Only a Rollout has subresources; the status of the others is written with the object.
    fn subresources(&self, kind: &str) -> Value {
        if kind != "Rollout" {
            return json!({});
        }
        json!({"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.HPAReplicas", "labelSelectorPath": ".status.selector"}})
    }
}

/// Writes schemas, knowing where it stands.
struct Schema {
    path: String,
}

impl Schema {
    fn object(&self, id: TypeId) -> Value {
        let of = table().at(id);
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        let properties: Map<_, _> =
            of.sorted().map(|field| (field.name.to_owned(), self.below(field.name).field(field))).collect();
        if !properties.is_empty() {
            schema.insert("properties".into(), properties.into());
        }
        let required: Vec<Value> =
            of.sorted().filter(|field| field.required).map(|field| field.name.into()).collect();
        if !required.is_empty() {
            schema.insert("required".into(), required.into());
        }
        if of.atomic {
            schema.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        schema.into()
    }

    fn below(&self, name: &str) -> Schema {
        Schema { path: format!("{}.{name}", self.path) }
    }

    fn field(&self, field: &Field) -> Value {
        let mut schema = match field.view() {
            View::Any => json!({"x-kubernetes-preserve-unknown-fields": true}),
            View::Open => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            View::Object => json!({"type": "object"}),
            View::Of(shape) => self.shape(shape),
        };
        let is_map = matches!(field.view(), View::Of(Shape::Map(_)));
        match &field.merge {
            _ if field.view() == View::Any => {}
            Merge::Unsaid => {}
            Merge::Atomic if is_map => schema["x-kubernetes-map-type"] = "atomic".into(),
            Merge::Atomic => schema["x-kubernetes-list-type"] = "atomic".into(),
            Merge::Set => schema["x-kubernetes-list-type"] = "set".into(),
            Merge::Keyed(keys) => {
                schema["x-kubernetes-list-type"] = "map".into();
                schema["x-kubernetes-list-map-keys"] = keys.clone().into();
            }
        }
        if field.immutable {
            let message = format!("{} is immutable", self.path);
            schema["x-kubernetes-validations"] = json!([{"rule": "self == oldSelf", "message": message}]);
        }
        if !field.one_of.is_empty() {
            schema["enum"] = field.one_of.clone().into();
        }
        if let Some(default) = &field.default {
            schema["default"] = default.clone();
        }
        schema
    }

    fn shape(&self, shape: &Shape) -> Value {
        match shape {
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Text => json!({"type": "string"}),
            Shape::Int32 => json!({"type": "integer", "format": "int32"}),
            Shape::Int64 => json!({"type": "integer", "format": "int64"}),
            Shape::IntOrString => {
                json!({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true})
            }
            Shape::Quantity => json!({"anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": true, "pattern": QUANTITY_PATTERN}),
            Shape::Time => json!({"type": "string", "format": "date-time"}),
            Shape::Raw => json!({"x-kubernetes-preserve-unknown-fields": true}),
            Shape::Struct(id) => self.object(*id),
            Shape::List(item) => json!({"type": "array", "items": self.shape(item)}),
            Shape::Map(item) => json!({"type": "object", "additionalProperties": self.shape(item)}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::KINDS;

    #[test]
    fn every_kind_has_a_structural_schema() {
        for kind in KINDS {
            let crd = crd(kind);
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            assert_eq!(schema["required"], json!(["spec"]), "{kind}");
            assert_eq!(schema["properties"]["metadata"], json!({"type": "object"}), "{kind}");
        }
        assert_eq!(crd("Pod"), Value::Null);
    }

    #[test]
    fn the_selector_is_immutable() {
        let crd = crd("Rollout");
        let spec =
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        let rule = json!([{"rule": "self == oldSelf", "message": ".spec.selector is immutable"}]);
        assert_eq!(spec["selector"]["x-kubernetes-validations"], rule);
        let volumes = &spec["template"]["properties"]["spec"]["properties"]["volumes"];
        assert_eq!(volumes, &json!({"x-kubernetes-preserve-unknown-fields": true}));
    }
}
