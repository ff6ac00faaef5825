//! The rules of Kubernetes 1.34 for the pod template of a ReplicaSet, after its defaults: an absent field is right
//! wherever the API server would fill it in.
//!
//! Left out are rules that hardly anybody meets: Windows, AppArmor and seccomp profiles, sysctls, resource claims,
//! the details of rarely used volume types, huge pages.

mod container;
mod probe;
mod resources;
mod scheduling;
#[cfg(test)]
mod tests;
mod volume;

use super::field::{Field, Findings};
use super::{names, rollout};
use crate::object::{Selector, Strings};
use crate::problem::{Problem, ProblemKind};

const ANNOTATIONS_LIMIT: usize = 256 * 1024;
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// Applies every rule to a template.
pub(super) fn template_rules(template: &Field<'_>, selector: &Selector, found: &mut Findings) {
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    let strings = labels.strings(found);
    if misses(selector, &strings) {
        found.rule(Problem::invalid(
            &labels.place,
            labels.value.clone(),
            "`selector` does not match template `labels`",
        ));
    }
    rollout::labels(&labels, &format!("{}.labels", template.place), found);
    annotation_rules(template, found);
    let spec = template.get("spec");
    spec.mapping(found);
    spec_rules(&spec, found);
    if !spec.get("ephemeralContainers").list(found).is_empty() {
        found.forbidden(&spec.get("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
    let restart = spec.get("restartPolicy");
    let policy = restart.text(found).unwrap_or("Always");
    if matches!(policy, "OnFailure" | "Never") {
        found.not_supported(&restart, policy, &["Always"]);
    }
    if spec.get("activeDeadlineSeconds").is_set() {
        found.forbidden(
            &spec.get("activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        );
    }
}

/// Whether labels break a selector that has a meaning: of one that is missing, empty or wrong other rules speak.
fn misses(selector: &Selector, labels: &Strings) -> bool {
    !selector.is_empty() && selector.text() != "<error>" && !selector.matches(labels)
}

fn annotation_rules(template: &Field<'_>, found: &mut Findings) {
    let annotations = template.get("metadata").get("annotations");
    let path = format!("{}.annotations", template.place);
    let strings = annotations.strings(found);
    for (key, _) in strings.iter() {
        for detail in names::qualified_name(&key.to_ascii_lowercase()) {
            found.rule(Problem::invalid(&path, &**key, detail).at(annotations.key(key).place));
        }
    }
    if strings.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > ANNOTATIONS_LIMIT {
        let limit = ProblemKind::TooLong(262_144);
        found.rule(Problem::new(&path, limit, "").at(&annotations.place));
    }
}

fn spec_rules(spec: &Field<'_>, found: &mut Findings) {
    let grace = spec.get("terminationGracePeriodSeconds").int64(found).unwrap_or(30);
    let volumes = volume::rules(&spec.get("volumes"), found);
    container::rules(spec, &volumes, grace, found);
    host_network(spec, found);
    let restart = spec.get("restartPolicy");
    found.one_of(&restart, &["Always", "OnFailure", "Never"]);
    found.one_of(&spec.get("dnsPolicy"), &DNS_POLICIES);
    let node_selector = spec.get("nodeSelector");
    node_selector.strings(found);
    rollout::labels(&node_selector, &node_selector.place, found);
    security(&spec.get("securityContext"), spec, found);
    for secret in spec.get("imagePullSecrets").mappings(found) {
        secret.get("name").text(found);
    }
    scheduling::affinity(&spec.get("affinity"), found);
    dns_config(spec, found);
    for gate in spec.get("readinessGates").mappings(found) {
        rollout::label_name(&gate.get("conditionType"), found);
    }
    scheduling::gates(&spec.get("schedulingGates"), found);
    scheduling::topology_spread(&spec.get("topologySpreadConstraints"), found);
    for name in ["serviceAccountName", "nodeName"] {
        name_rule(&spec.get(name), names::dns_subdomain, found);
    }
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.int64(found).is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        found.invalid(&deadline, "must be between 1 and 2147483647, inclusive");
    }
    for name in ["hostname", "subdomain"] {
        name_rule(&spec.get(name), names::dns_label, found);
    }
    scheduling::tolerations(&spec.get("tolerations"), found);
    host_aliases(&spec.get("hostAliases"), found);
    for name in ["priorityClassName", "runtimeClassName"] {
        name_rule(&spec.get(name), names::dns_subdomain, found);
    }
    found.one_of(&spec.get("preemptionPolicy"), &["PreemptLowerPriority", "Never"]);
    resources::list(&spec.get("overhead"), found);
    for name in ["hostNetwork", "hostPID", "hostIPC", "automountServiceAccountToken", "enableServiceLinks"] {
        spec.get(name).boolean(found);
    }
}

/// A name that may be absent or empty.
fn name_rule(field: &Field<'_>, wrong: fn(&str) -> Vec<String>, found: &mut Findings) {
    let name = field.text(found).unwrap_or_default();
    if !name.is_empty() {
        found.invalid_each(field, wrong(name));
    }
}

fn host_network(spec: &Field<'_>, found: &mut Findings) {
    if spec.get("hostNetwork").boolean(found) != Some(true) {
        return;
    }
    for container in spec.get("containers").mappings(found) {
        for port in container.get("ports").mappings(found) {
            let host = port.get("hostPort");
            let number = host.int32(found).unwrap_or(0);
            if number != 0 && Some(number) != port.get("containerPort").int32(found) {
                found.invalid(&host, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

fn security(context: &Field<'_>, spec: &Field<'_>, found: &mut Findings) {
    if context.mapping(found).is_some() {
        for name in ["fsGroup", "runAsUser", "runAsGroup"] {
            id_rule(&context.get(name), found);
        }
        for group in context.get("supplementalGroups").list(found) {
            id_rule(&group, found);
        }
        found.one_of(&context.get("fsGroupChangePolicy"), &["OnRootMismatch", "Always"]);
        context.get("runAsNonRoot").boolean(found);
    }
    let shared = spec.get("shareProcessNamespace");
    if shared.boolean(found) == Some(true) && spec.get("hostPID").boolean(found) == Some(true) {
        let path = format!("{}.shareProcessNamespace", context.place);
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        found.rule(Problem::invalid(path, true, detail).at(&shared.place));
    }
}

/// The number of a user or group.
fn id_rule(field: &Field<'_>, found: &mut Findings) {
    if let Some(id) = field.int64(found) {
        found.invalid_each(field, names::numeric_id(id));
    }
}

fn dns_config(spec: &Field<'_>, found: &mut Findings) {
    let config = spec.get("dnsConfig");
    let servers = config.get("nameservers");
    let count = servers.list(found).len();
    if spec.get("dnsPolicy").value == "None" {
        if !config.is_set() {
            return found.required(&config, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if count == 0 {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return found.required(&servers, detail);
        }
    }
    if count > 3 {
        found.invalid(&servers, "must not have more than 3 nameservers");
    }
    for server in servers.list(found) {
        ip_rule(&server, found);
    }
    let searches = config.get("searches");
    let all = searches.list(found);
    if all.len() > 32 {
        found.invalid(&searches, "must not have more than 32 search paths");
    }
    for search in all {
        let text = search.text(found).unwrap_or_default();
        found.invalid_each(&search, names::dns_subdomain(text.strip_suffix('.').unwrap_or(text)));
    }
    for option in config.get("options").mappings(found) {
        if option.get("name").text(found).unwrap_or_default().is_empty() {
            found.required(&option, "must not be empty");
        }
    }
}

fn host_aliases(aliases: &Field<'_>, found: &mut Findings) {
    for alias in aliases.mappings(found) {
        ip_rule(&alias.get("ip"), found);
        for name in alias.get("hostnames").list(found) {
            let wrong = names::dns_subdomain(name.text(found).unwrap_or_default());
            found.invalid_each(&name, wrong);
        }
    }
}

fn ip_rule(field: &Field<'_>, found: &mut Findings) {
    let text = field.text(found).unwrap_or_default();
    if text.parse::<std::net::IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        found.rule(Problem::invalid(&field.place, text, detail));
    }
}
