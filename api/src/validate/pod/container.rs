//! Containers and init containers.

use std::collections::BTreeSet;

use super::super::field::{Field, Findings};
use super::super::names;
use super::volume::{self, Volumes};
use super::{id_rule, probe, resources};
use crate::problem::Problem;

const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// Applies the rules to all containers of a pod.
pub(super) fn rules(spec: &Field<'_>, volumes: &Volumes, grace: i64, found: &mut Findings) {
    let field = spec.get("containers");
    let containers = field.mappings(found);
    if containers.is_empty() && field.value.as_array().is_none_or(Vec::is_empty) {
        found.required(&field, "");
    }
    let mut taken = BTreeSet::new();
    for container in &containers {
        common(container, volumes, found);
        unique_name(container, &mut taken, found);
        if container.get("lifecycle").is_set() {
            probe::lifecycle(&container.get("lifecycle"), grace, found);
        }
        for name in PROBES {
            probe::rules(&container.get(name), name, found);
        }
        if container.get("restartPolicy").is_set() {
            found.forbidden(&container.get("restartPolicy"), "may not be set for non-init containers");
        }
    }
    host_ports(&containers, found);
    for container in spec.get("initContainers").mappings(found) {
        init_container(&container, volumes, grace, &mut taken, found);
    }
}

fn init_container(
    container: &Field<'_>,
    volumes: &Volumes,
    grace: i64,
    taken: &mut BTreeSet<String>,
    found: &mut Findings,
) {
    common(container, volumes, found);
    found.one_of(&container.get("restartPolicy"), &["Always"]);
    unique_name(container, taken, found);
    host_ports(std::slice::from_ref(container), found);
    if container.get("restartPolicy").value == "Always" {
        if container.get("lifecycle").is_set() {
            probe::lifecycle(&container.get("lifecycle"), grace, found);
        }
        for name in PROBES {
            probe::rules(&container.get(name), name, found);
        }
        return;
    }
    for name in std::iter::once("lifecycle").chain(PROBES) {
        if container.get(name).is_set() {
            let detail = "may not be set for init containers without restartPolicy=Always";
            found.forbidden(&container.get(name), detail);
        }
    }
}

fn unique_name(container: &Field<'_>, taken: &mut BTreeSet<String>, found: &mut Findings) {
    let name = container.get("name");
    let text = name.text(found).unwrap_or_default();
    if !text.is_empty() && !taken.insert(text.to_owned()) {
        found.duplicate(&name, text);
    }
}

fn common(container: &Field<'_>, volumes: &Volumes, found: &mut Findings) {
    let name = container.get("name");
    match name.text(found).unwrap_or_default() {
        "" => found.required(&name, ""),
        text => found.invalid_each(&name, names::dns_label(text)),
    }
    let image = container.get("image");
    if image.text(found).unwrap_or_default().is_empty() {
        found.required(&image, "");
    }
    for list in ["command", "args"] {
        for word in container.get(list).list(found) {
            word.text(found);
        }
    }
    found.one_of(&container.get("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"]);
    ports(&container.get("ports"), found);
    env(&container.get("env"), found);
    env_from(&container.get("envFrom"), found);
    volume::mounts(container, volumes, found);
    found.one_of(&container.get("imagePullPolicy"), &["Always", "IfNotPresent", "Never"]);
    resources::rules(&container.get("resources"), found);
    security(&container.get("securityContext"), found);
}

fn ports(field: &Field<'_>, found: &mut Findings) {
    let mut taken = BTreeSet::new();
    for port in field.mappings(found) {
        let name = port.get("name");
        let text = name.text(found).unwrap_or_default();
        let wrong = if text.is_empty() { Vec::new() } else { names::port_name(text) };
        if !wrong.is_empty() {
            found.invalid_each(&name, wrong);
        } else if !text.is_empty() && !taken.insert(text) {
            found.duplicate(&name, text);
        }
        let number = port.get("containerPort");
        match number.int32(found) {
            None | Some(0) => found.required(&number, ""),
            Some(n) => found.invalid_each(&number, names::port_number(n)),
        }
        let host = port.get("hostPort");
        if let Some(n) = host.int32(found).filter(|n| *n != 0) {
            found.invalid_each(&host, names::port_number(n));
        }
        found.one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

/// Two ports of one node cannot be given to containers that run at the same time.
fn host_ports(containers: &[Field<'_>], found: &mut Findings) {
    let mut taken = BTreeSet::new();
    for container in containers {
        for port in container.get("ports").mappings(found) {
            let host = port.get("hostPort");
            let Some(number) = host.int32(found).filter(|n| *n != 0) else { continue };
            let protocol = port.get("protocol").value.as_str().unwrap_or("TCP");
            let ip = port.get("hostIP").text(found).unwrap_or_default();
            let all = format!("{protocol}/{ip}/{number}");
            if !taken.insert(all.clone()) {
                found.duplicate(&host, all);
            }
        }
    }
}

fn env(field: &Field<'_>, found: &mut Findings) {
    for variable in field.mappings(found) {
        let name = variable.get("name");
        match name.text(found).unwrap_or_default() {
            "" => found.required(&name, ""),
            text => found.invalid_each(&name, names::env_name(text)),
        }
        let value = variable.get("value").text(found).unwrap_or_default();
        let source = variable.get("valueFrom");
        if source.mapping(found).is_some() {
            value_from(&source, !value.is_empty(), found);
        }
    }
}

fn value_from(source: &Field<'_>, has_value: bool, found: &mut Findings) {
    let mut count = 0;
    for (name, needed) in [
        ("fieldRef", "fieldPath"),
        ("resourceFieldRef", "resource"),
        ("configMapKeyRef", "key"),
        ("secretKeyRef", "key"),
        ("fileKeyRef", "key"),
    ] {
        let field = source.get(name);
        if field.mapping(found).is_none() {
            continue;
        }
        count += 1;
        let of_object = matches!(name, "configMapKeyRef" | "secretKeyRef");
        if of_object && field.get("name").text(found).unwrap_or_default().is_empty() {
            found.required(&field.get("name"), "");
        }
        let key = field.get(needed);
        match key.text(found).unwrap_or_default() {
            "" => found.required(&key, ""),
            text if of_object => found.invalid_each(&key, names::config_key(text)),
            _ => {}
        }
    }
    let detail = match count {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        _ if has_value => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    found.rule(Problem::invalid(&source.place, "", detail));
}

fn env_from(field: &Field<'_>, found: &mut Findings) {
    for source in field.mappings(found) {
        let prefix = source.get("prefix");
        let text = prefix.text(found).unwrap_or_default();
        if !text.is_empty() {
            found.invalid_each(&prefix, names::env_name(text));
        }
        let refs = ["configMapRef", "secretRef"].map(|name| source.get(name));
        let set: Vec<_> = refs.iter().filter(|r| r.mapping(found).is_some()).collect();
        for object in &set {
            let name = object.get("name");
            if name.text(found).unwrap_or_default().is_empty() {
                found.required(&name, "");
            }
        }
        let detail = match set.len() {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        found.rule(Problem::invalid(&field.place, "", detail).at(&source.place));
    }
}

/// `privileged` is not judged: whether it is allowed is up to the cluster. The same goes for what depends on it.
fn security(context: &Field<'_>, found: &mut Findings) {
    if context.mapping(found).is_none() {
        return;
    }
    for name in ["runAsUser", "runAsGroup"] {
        id_rule(&context.get(name), found);
    }
    for name in ["privileged", "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation"] {
        context.get(name).boolean(found);
    }
    found.one_of(&context.get("procMount"), &["Default", "Unmasked"]);
    let mut added = context.get("capabilities").get("add").list(found).into_iter();
    let may_not_escalate = context.get("allowPrivilegeEscalation").value == &serde_json::Value::Bool(false);
    if may_not_escalate && added.any(|capability| capability.value == "CAP_SYS_ADMIN") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        found.invalid(context, detail);
    }
}
