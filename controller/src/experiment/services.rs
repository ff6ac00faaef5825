//! The Service of each template that asks for one.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_api::experiment::ExperimentTemplate;
use tidegate_api::object::{Key, Kind, Meta, Object, TemplateStatus, Text};

use super::{Draft, belongs, is_of_a_predecessor, marks, owner, sets, traffic};
use crate::plan::{Guard, IfRefused, Reason, Verb};
use crate::rollout::set::Set;
use crate::sabotage::Sabotage;

/// The longest name of a Service.
const LONGEST: usize = 63;

/// The name of a template's Service; nothing where there is to be none.
pub fn name(experiment: &str, template: &ExperimentTemplate) -> Option<Text> {
    let given = template.service.as_ref()?;
    if !given.is_empty() {
        return Some(given.clone());
    }
    let name = sets::name(experiment, &template.name);
    // ARGO: the reference asks for a name that is too long, is refused, and the Experiment fails (#2622).
    let short = name.get(..LONGEST).filter(|_| name.len() > LONGEST);
    Some(short.map_or(name.clone(), |_| shortened(&name)))
}

/// A name that fits and is another one for another long name.
fn shortened(name: &str) -> Text {
    let digest = tidegate_api::schema::pod_template_hash(&json!({"metadata": {"name": name}}), None);
    let kept = LONGEST.saturating_sub(digest.len() + 1);
    let begin = name.get(..kept).unwrap_or_default().trim_end_matches(['-', '.']);
    format!("{begin}-{digest}").into()
}

/// Makes the Service of a template, or takes it away.
pub fn reconcile(
    draft: &mut Draft<'_>,
    template: &ExperimentTemplate,
    set: Option<&Set>,
    is_ending: bool,
    status: &mut TemplateStatus,
) {
    let mut wanted = name(draft.name(), template);
    if draft.facts.is_sabotaged(Sabotage::PlainNames) {
        wanted = wanted.map(|_| sets::name(draft.name(), &template.name));
    }
    let own = |service: &&Arc<Object>| belongs(draft.world, service, &template.name);
    let surplus = |service: &&Arc<Object>| is_ending || Some(&service.meta.name) != wanted.as_ref();
    let surplus: Vec<Arc<Object>> =
        draft.world.services.values().filter(own).filter(surplus).cloned().collect();
    let has_pods = is_ending && set.is_some_and(|set| set.available() > 0 || set.wished() > 0);
    let mut is_gone = true;
    for service in surplus {
        let hash = set.map_or("", Set::hash).to_owned();
        // INVARIANT: S8, a route leads to it or may still do so.
        if has_pods || traffic::holds_service(draft, &service.meta.name, &hash) {
            is_gone = false;
            continue;
        }
        let guard = Guard::Identity(service.meta.uid.clone());
        draft.write(service.key(), guard, Verb::Delete, Vec::new(), IfRefused::GoOn);
    }
    match (wanted, set) {
        (Some(wanted), Some(set)) if !is_ending => provide(draft, template, &wanted, set, status),
        _ if is_gone && !has_pods => (status.service, status.hash) = (None, None),
        _ => {}
    }
}

fn provide(
    draft: &mut Draft<'_>,
    template: &ExperimentTemplate,
    name: &Text,
    set: &Set,
    status: &mut TemplateStatus,
) {
    let experiment = draft.world.experiment.clone();
    let key = Key::new(Kind::Service, experiment.meta.namespace.clone(), name.clone());
    let mut refused = draft.refusal(&key);
    match draft.world.services.get(name).cloned() {
        Some(standing) if belongs(draft.world, &standing, &template.name) => {}
        Some(standing) if is_of_a_predecessor(draft.world, &standing) => {
            let what = format!("Service {name} of a deleted Experiment to go");
            return draft.plan.reasons.push(Reason::WaitingFor(what.into()));
        }
        Some(_) => {
            let why = format!(
                "service {name} already exists and is not owned by experiment template {}",
                template.name
            );
            refused = Some(why.into());
        }
        None if refused.is_some() => {}
        None => {
            let ports = ports(&template.template.spec.value());
            if ports.is_empty() {
                let what = format!("no container of template {} has a port: no Service", template.name);
                return draft.plan.reasons.push(Reason::Note(what.into()));
            }
            if !draft.may_make() {
                return;
            }
            let object = Arc::new(new_service(draft, template, name, set, ports));
            draft.write(key, Guard::Absent, Verb::Create(object), Vec::new(), IfRefused::Tell);
        }
    }
    if let Some(why) = refused {
        let what = format!("Failed to create Service {name} for template '{}': {why}", template.name);
        return sets::fail(status, what);
    }
    status.service = Some(name.clone());
    status.hash = Some(set.hash().into());
}

fn new_service(
    draft: &Draft<'_>,
    template: &ExperimentTemplate,
    name: &Text,
    set: &Set,
    ports: Vec<Value>,
) -> Object {
    let experiment = &draft.world.experiment;
    let document = json!({"apiVersion": "v1", "kind": "Service",
        "spec": {"selector": set.object().meta.labels.to_value(), "ports": ports}});
    let mut service = Object::from_value(document).expect("a Service written here is an object");
    service.meta = Meta {
        name: name.clone(),
        namespace: experiment.meta.namespace.clone(),
        owners: vec![owner(experiment)],
        ..Meta::default()
    };
    for (key, value) in marks(draft.name(), &template.name) {
        service.meta.annotations.set(key, value);
    }
    service
}

/// One port for each port of each container.
fn ports(spec: &Value) -> Vec<Value> {
    let of = |container: &Value| container["ports"].as_array().cloned().unwrap_or_default();
    let all: Vec<Value> =
        spec["containers"].as_array().into_iter().flatten().flat_map(of).filter(Value::is_object).collect();
    let several = all.len() > 1;
    let mut seen = BTreeSet::new();
    let port = |port: &Value| {
        let number = port["containerPort"].as_i64()?;
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
        // The same port of two containers would be refused.
        if !seen.insert((number, protocol.clone())) {
            return None;
        }
        let mut made = json!({"port": number, "targetPort": number, "protocol": protocol});
        match port["name"].as_str().filter(|name| !name.is_empty()) {
            Some(name) => made["name"] = name.into(),
            // Of several ports each must have a name.
            None if several => made["name"] = format!("{}-{number}", protocol.to_lowercase()).into(),
            None => {}
        }
        Some(made)
    };
    all.iter().filter_map(port).collect()
}
