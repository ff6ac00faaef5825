//! What the server refuses, with its causes, in its words and its order.

use std::fmt;

use serde_json::{Value, json};
use tidegate_api::object::{Selector, Strings};
use tidegate_api::schema;

use super::http::{Refusal, Resource};
use super::names::{key_faults, label_value_fault, service_name_fault, subdomain_fault};

/// One thing that is wrong.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    field: String,
    reason: &'static str,
    message: String,
}

impl Problem {
    fn required(field: &str, why: &str) -> Problem {
        let message =
            if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Problem { field: field.to_owned(), reason: "FieldValueRequired", message }
    }

    /// A field that must be there.
    pub fn needed(field: &str, why: &str) -> Problem {
        Problem::required(field, why)
    }

    /// A value that cannot be.
    pub fn invalid(field: impl Into<String>, value: &impl fmt::Display, why: &str) -> Problem {
        Problem {
            field: field.into(),
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {why}"),
        }
    }

    /// Something that may not be done.
    pub fn forbidden(field: &str, why: &str) -> Problem {
        Problem {
            field: field.to_owned(),
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {why}"),
        }
    }

    /// A value that is none of those that can be.
    pub fn unsupported(field: &str, value: &str, choices: &[&str]) -> Problem {
        let choices: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
        let message = format!("Unsupported value: {value:?}: supported values: {}", choices.join(", "));
        Problem { field: field.to_owned(), reason: "FieldValueNotSupported", message }
    }
}

/// The refusal of an object with these problems.
pub fn invalid(called: &str, name: &str, problems: &[Problem]) -> Refusal {
    let (kind, group) = called.split_once('.').unwrap_or((called, ""));
    let mut told: Vec<String> = Vec::new();
    for problem in problems {
        let text = format!("{}: {}", problem.field, problem.message);
        if !told.contains(&text) {
            told.push(text);
        }
    }
    let all = if told.len() == 1 { told[0].clone() } else { format!("[{}]", told.join(", ")) };
    let causes: Vec<Value> = problems
        .iter()
        .map(|problem| json!({"field": problem.field, "message": problem.message, "reason": problem.reason}))
        .collect();
    let mut details = json!({"kind": kind, "causes": causes});
    if !group.is_empty() {
        details["group"] = group.into();
    }
    if !name.is_empty() {
        details["name"] = name.into();
    }
    Refusal::new(422, "Invalid", format!("{called} \"{name}\" is invalid: {all}")).with(details)
}

/// Refuses a body that is no object of the kind.
pub fn decode(resource: &Resource, object: &Value) -> Result<(), Refusal> {
    let (kind, version) = (resource.kind.name(), resource.kind.api_version());
    let version = version.rsplit_once('/').map_or(version, |(_, version)| version);
    let cannot = |why: String| {
        Err(Refusal::bad(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}")))
    };
    if object["kind"] != kind || object["apiVersion"] != resource.kind.api_version() {
        let other = object["kind"].as_str().unwrap_or_default();
        let version = object["apiVersion"].as_str().unwrap_or_default();
        return Err(Refusal::bad(format!(
            "{other} in version \"{version}\" cannot be handled as a {kind}: converting ({version}.{other}) to \
             (core.{kind}): unknown conversion"
        )));
    }
    let of_type = |value: &Value, place: &str, wanted: &str| {
        let found = match value {
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            Value::Array(_) => "array",
            _ => "object",
        };
        format!("json: cannot unmarshal {found} into Go struct field {place} of type {wanted}")
    };
    for field in ["labels", "annotations"] {
        let values = object["metadata"][field].as_object().into_iter().flatten();
        if let Some((_, value)) = values.into_iter().find(|(_, value)| !value.is_string() && !value.is_null())
        {
            let place = if resource.custom {
                format!("ObjectMeta.{field}")
            } else {
                format!("ObjectMeta.metadata.{field}")
            };
            return cannot(of_type(value, &place, "string"));
        }
    }
    match kind {
        "ReplicaSet" | "Deployment" => {
            let replicas = &object["spec"]["replicas"];
            if !replicas.is_null() && !replicas.is_i64() {
                return cannot(of_type(replicas, &format!("{kind}Spec.spec.replicas"), "int32"));
            }
        }
        "ConfigMap" => {
            let values = object["data"].as_object().into_iter().flatten();
            if let Some((_, value)) = values.into_iter().find(|(_, value)| !value.is_string()) {
                return cannot(of_type(value, "ConfigMap.data", "string"));
            }
        }
        "Secret" => {
            for (_, value) in object["data"].as_object().into_iter().flatten() {
                let text = value.as_str().unwrap_or_default();
                let odd = text.bytes().position(|b| !b.is_ascii_alphanumeric() && !b"+/=".contains(&b));
                if let Some(at) = odd {
                    return cannot(format!("illegal base64 data at input byte {at}"));
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Everything that is wrong with an object that is to be stored.
pub fn problems(resource: &Resource, object: &Value) -> Vec<Problem> {
    let mut all = metadata(resource, object);
    let spec = &object["spec"];
    match resource.kind.name() {
        "ReplicaSet" => workload(object, &mut all),
        "Deployment" => {
            workload(object, &mut all);
            let rolling = &spec["strategy"]["rollingUpdate"];
            let zero = |field: &str| rolling[field] == 0 || rolling[field] == "0%";
            if zero("maxSurge") && zero("maxUnavailable") {
                all.push(Problem::invalid(
                    "spec.strategy.rollingUpdate.maxUnavailable",
                    &rolling["maxUnavailable"],
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
        }
        "Pod" => containers(spec, "spec", &mut all),
        "Service" => service(spec, &mut all),
        "HorizontalPodAutoscaler" => {
            let maximum = spec["maxReplicas"].as_i64().unwrap_or(0);
            if maximum < 1 {
                all.push(Problem::invalid("spec.maxReplicas", &json!(maximum), "must be greater than 0"));
            }
            if maximum < spec["minReplicas"].as_i64().unwrap_or(1) {
                all.push(Problem::invalid(
                    "spec.maxReplicas",
                    &json!(maximum),
                    "must be greater than or equal to `minReplicas`",
                ));
            }
        }
        "Lease" => {
            if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
                all.push(Problem::invalid(
                    "spec.leaseDurationSeconds",
                    &json!(seconds),
                    "must be greater than 0",
                ));
            }
        }
        "ConfigMap" | "Secret" => {
            for key in object["data"].as_object().into_iter().flatten().map(|(key, _)| key) {
                if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) || key.is_empty() {
                    all.push(Problem::invalid(
                        format!("data[{key}]"),
                        &json!(key),
                        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
                         'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                    ));
                }
            }
        }
        "Event" => event(object, &mut all),
        _ if resource.custom => custom(resource, object, &mut all),
        _ => {}
    }
    all
}

fn metadata(resource: &Resource, object: &Value) -> Vec<Problem> {
    let mut all = Vec::new();
    let meta = &object["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        all.push(Problem::required("metadata.name", "name or generateName is required"));
    } else {
        let faults =
            if resource.plural == "services" { service_name_fault(name) } else { subdomain_fault(name) };
        all.extend(faults.iter().map(|fault| Problem::invalid("metadata.name", &json!(name), fault)));
    }
    labels(&meta["labels"], "metadata.labels", &mut all);
    annotations(&meta["annotations"], "metadata.annotations", &mut all);
    owners(&meta["ownerReferences"], &mut all);
    for (at, finalizer) in meta["finalizers"].as_array().into_iter().flatten().enumerate() {
        let text = finalizer.as_str().unwrap_or_default();
        let standard = matches!(text, "orphan" | "foregroundDeletion" | "kubernetes");
        if !standard && !text.contains('/') {
            all.push(Problem::invalid(
                format!("metadata.finalizers[{at}]"),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    all
}

fn labels(labels: &Value, field: &str, all: &mut Vec<Problem>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        all.extend(key_faults(key).iter().map(|fault| Problem::invalid(field, &json!(key), fault)));
        let fault = label_value_fault(value.as_str().unwrap_or_default());
        all.extend(fault.iter().map(|fault| Problem::invalid(field, value, fault)));
    }
}

fn annotations(annotations: &Value, field: &str, all: &mut Vec<Problem>) {
    for (key, _) in annotations.as_object().into_iter().flatten() {
        let lower = key.to_ascii_lowercase();
        all.extend(key_faults(&lower).iter().map(|fault| Problem::invalid(field, &json!(key), fault)));
    }
}

fn owners(owners: &Value, all: &mut Vec<Problem>) {
    let owners = owners.as_array().map_or(&[][..], Vec::as_slice);
    let mut controller: Option<String> = None;
    for owner in owners {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let place = match field {
                    "apiVersion" => "metadata.ownerReferences.apiVersion".to_owned(),
                    field => format!("metadata.ownerReferences.{field}"),
                };
                let why =
                    if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                all.push(Problem::invalid(place, &json!(""), why));
            }
        }
        if owner["kind"] == "Event" && owner["apiVersion"] == "v1" {
            all.push(Problem::invalid(
                "metadata.ownerReferences",
                &shown_owner(owner),
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if owner["controller"] == true {
            let name = |field: &str| owner[field].as_str().unwrap_or_default();
            let this = format!("{}/{}", name("kind"), name("name"));
            if let Some(first) = &controller {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and \
                     {this}"
                );
                let shown: Vec<String> = owners.iter().map(shown_owner).collect();
                all.push(Problem {
                    field: "metadata.ownerReferences".to_owned(),
                    reason: "FieldValueInvalid",
                    message: format!("Invalid value: [{}]: {why}", shown.join(",")),
                });
            } else {
                controller = Some(this);
            }
        }
    }
}

/// An owner with its fields in the server's order.
fn shown_owner(owner: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let told: Vec<String> =
        fields.iter().filter_map(|field| Some(format!("{field:?}:{}", owner.get(field)?))).collect();
    format!("{{{}}}", told.join(","))
}

fn workload(object: &Value, all: &mut Vec<Problem>) {
    let spec = &object["spec"];
    for field in ["replicas", "minReadySeconds"] {
        if let Some(number) = spec[field].as_i64().filter(|number| *number < 0) {
            all.push(Problem::invalid(
                format!("spec.{field}"),
                &json!(number),
                "must be greater than or equal to 0",
            ));
        }
    }
    let selector = &spec["selector"];
    let read = Selector::from_value(std::sync::Arc::new(selector.clone()));
    let template = &spec["template"];
    let labelled = Strings::from_value(&template["metadata"]["labels"], "labels").unwrap_or_default();
    let mismatch = |all: &mut Vec<Problem>| {
        all.push(Problem::invalid(
            "spec.template.metadata.labels",
            &template["metadata"]["labels"],
            "`selector` does not match template `labels`",
        ));
    };
    if selector.is_null() {
        all.push(Problem::required("spec.selector", ""));
        mismatch(all);
    } else if read.is_empty() {
        // Of a ReplicaSet, too.
        all.push(Problem::invalid("spec.selector", selector, "empty selector is invalid for deployment"));
    } else if !read.matches(&labelled) {
        mismatch(all);
    }
    labels(&template["metadata"]["labels"], "spec.template.labels", all);
    annotations(&template["metadata"]["annotations"], "spec.template.annotations", all);
    containers(&template["spec"], "spec.template.spec", all);
    let policy = template["spec"]["restartPolicy"].as_str().unwrap_or("Always");
    if policy != "Always" {
        all.push(Problem::unsupported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
}

fn containers(spec: &Value, field: &str, all: &mut Vec<Problem>) {
    let list = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
    if list.is_empty() {
        all.push(Problem::required(&format!("{field}.containers"), ""));
    }
    let mut seen = Vec::new();
    for (at, container) in list.iter().enumerate() {
        let name = &container["name"];
        if name.as_str().unwrap_or_default().is_empty() {
            all.push(Problem::required(&format!("{field}.containers[{at}].name"), ""));
        } else if seen.contains(&name) {
            all.push(Problem {
                field: format!("{field}.containers[{at}].name"),
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: {name}"),
            });
        }
        seen.push(name);
        if container["image"].as_str().unwrap_or_default().is_empty() {
            all.push(Problem::required(&format!("{field}.containers[{at}].image"), ""));
        }
    }
}

fn service(spec: &Value, all: &mut Vec<Problem>) {
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    if ports.is_empty() && spec["clusterIP"] != "None" && spec["type"] != "ExternalName" {
        all.push(Problem::required("spec.ports", ""));
    }
    for (at, port) in ports.iter().enumerate() {
        if ports.len() > 1 && port["name"].as_str().unwrap_or_default().is_empty() {
            all.push(Problem::required(&format!("spec.ports[{at}].name"), ""));
        }
        for field in ["port", "targetPort"] {
            if let Some(number) = port[field].as_i64().filter(|number| !(1..=65_535).contains(number)) {
                all.push(Problem::invalid(
                    format!("spec.ports[{at}].{field}"),
                    &json!(number),
                    "must be between 1 and 65535, inclusive",
                ));
            }
        }
    }
}

fn event(object: &Value, all: &mut Vec<Problem>) {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let namespace = object["involvedObject"]["namespace"].as_str().unwrap_or_default();
    if namespace != object["metadata"]["namespace"].as_str().unwrap_or_default() {
        all.push(Problem::invalid(
            "involvedObject.namespace",
            &json!(namespace),
            "does not match event.namespace",
        ));
    }
    if text("eventTime").is_empty() {
        return;
    }
    let component = text("reportingComponent");
    if component.is_empty() {
        all.push(Problem::required("reportingComponent", ""));
    }
    all.extend(
        key_faults(component)
            .iter()
            .map(|fault| Problem::invalid("reportingComponent", &json!(component), fault)),
    );
    for field in ["reportingInstance", "action"] {
        if text(field).is_empty() {
            all.push(Problem::required(field, ""));
        }
    }
}

fn custom(resource: &Resource, object: &Value, all: &mut Vec<Problem>) {
    let kind = resource.kind.name();
    let errors = schema::type_errors(kind, object);
    let is_rollout = kind == "Rollout";
    for error in &errors {
        let reason = match () {
            () if error.message.starts_with("Required") => "FieldValueRequired",
            () if error.message.starts_with("Unsupported") => "FieldValueNotSupported",
            () if error.message.starts_with("Duplicate") => "FieldValueDuplicate",
            () if error.message.contains("in body must be of type") => "FieldValueTypeInvalid",
            () => "FieldValueInvalid",
        };
        all.push(Problem { field: error.path.clone(), reason, message: error.message.clone() });
        if error.message.contains("must be of type integer,string") {
            let why = format!("\"{}\" must validate at least one schema (anyOf)", error.path);
            all.push(Problem::invalid("<nil>", &json!(""), &why));
            all.push(Problem {
                field: error.path.clone(),
                reason,
                message: error.message.replace("integer,string", "integer"),
            });
        }
    }
    let replicas = &object["spec"]["replicas"];
    if let (true, Some(text)) = (is_rollout, replicas.as_str()) {
        let why = format!(".spec.replicas accessor error: {text} is of the type string, expected int64");
        all.push(Problem::invalid(".spec.replicas", &json!(0), &why));
    }
    // The rules of a CRD are not asked of what cannot be read.
    let blocks = |problem: &Problem| matches!(problem.reason, "FieldValueRequired" | "FieldValueTypeInvalid");
    if is_rollout && all.iter().any(blocks) {
        all.push(Problem::invalid(
            "<nil>",
            &Value::Null,
            "some validation rules were not checked because the object was invalid; correct the existing errors to \
             complete validation",
        ));
    }
}

/// Everything that is wrong with a change. Of the new metadata the server tells several times: here all but one of
/// them, and once by [`problems`].
pub fn change_problems(resource: &Resource, before: &Value, after: &Value) -> Vec<Problem> {
    let again = metadata(resource, after);
    let times = if matches!(resource.kind.name(), "ConfigMap" | "Secret") { 3 } else { 2 };
    let mut all = vec![again; times].concat();
    let (old, new) = (&before["metadata"], &after["metadata"]);
    if !old["deletionTimestamp"].is_null() {
        let list = |meta: &Value| meta["finalizers"].as_array().cloned().unwrap_or_default();
        let (held, wanted) = (list(old), list(new));
        let added: Vec<&str> =
            wanted.iter().filter(|one| !held.contains(one)).filter_map(Value::as_str).collect();
        if !added.is_empty() {
            let shown: Vec<String> = added.iter().map(|one| format!("{one:?}")).collect();
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                shown.join(", ")
            );
            let problem = Problem::forbidden("metadata.finalizers", &why);
            all.extend([problem.clone(), problem]);
        }
    }
    match resource.kind.name() {
        "ReplicaSet" | "Deployment" if before["spec"]["selector"] != after["spec"]["selector"] => {
            all.push(Problem::invalid("spec.selector", &after["spec"]["selector"], "field is immutable"));
        }
        "Rollout" => {
            let (old, new) = (&before["spec"]["selector"], &after["spec"]["selector"]);
            if !old.is_null() && !new.is_null() && old != new {
                all.push(Problem::invalid("spec.selector", &json!("object"), ".spec.selector is immutable"));
            }
        }
        "Pod" if !only_images(&before["spec"], &after["spec"]) => {
            all.push(Problem::forbidden(
                "spec",
                "pod updates may not change fields other than \
                 `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
                 (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if \
                 it was previously negative)\n",
            ));
        }
        "Service" if before["spec"]["clusterIP"] != after["spec"]["clusterIP"] => {
            all.push(Problem::invalid(
                "spec.clusterIPs[0]",
                &after["spec"]["clusterIPs"],
                "may not change once set",
            ));
        }
        _ => {}
    }
    all
}

/// Whether two specifications of a pod differ in nothing but images.
fn only_images(before: &Value, after: &Value) -> bool {
    let plain = |spec: &Value| {
        let mut spec = spec.clone();
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container["image"] = Value::Null;
            }
        }
        spec
    };
    plain(before) == plain(after)
}
