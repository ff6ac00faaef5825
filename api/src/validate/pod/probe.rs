//! Probes and life cycle hooks: both have exactly one handler.

use serde_json::Value;

use super::super::field::{Field, Findings};
use super::super::names;
use crate::problem::Problem;

const OF_PROBES: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const OF_HOOKS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];
const NUMBERS: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];

/// Applies the rules to a probe, if there is one.
pub(super) fn rules(probe: &Field<'_>, name: &str, found: &mut Findings) {
    if probe.mapping(found).is_none() {
        return;
    }
    handler(probe, &OF_PROBES, 0, found);
    for name in NUMBERS {
        found.not_negative(&probe.get(name));
    }
    let grace = probe.get("terminationGracePeriodSeconds");
    if grace.is_set() {
        if name == "readinessProbe" {
            found.invalid(&grace, "must not be set for readinessProbes");
        } else if grace.int64(found).is_some_and(|seconds| seconds <= 0) {
            found.invalid(&grace, "must be greater than 0");
        }
    }
    let successes = probe.get("successThreshold");
    let count = successes.int32(found).filter(|count| *count != 0);
    if name != "readinessProbe" && count.is_some_and(|count| count != 1) {
        found.invalid(&successes, "must be 1");
    }
}

/// Applies the rules to the hooks of a container.
pub(super) fn lifecycle(lifecycle: &Field<'_>, grace: i64, found: &mut Findings) {
    lifecycle.mapping(found);
    for name in ["postStart", "preStop"] {
        if lifecycle.get(name).mapping(found).is_some() {
            handler(&lifecycle.get(name), &OF_HOOKS, grace, found);
        }
    }
}

fn handler(field: &Field<'_>, names: &[&str], grace: i64, found: &mut Findings) {
    let set: Vec<Field<'_>> =
        names.iter().map(|name| field.get(name)).filter(|f| f.mapping(found).is_some()).collect();
    if set.is_empty() {
        return found.required(field, "must specify a handler type");
    }
    for extra in &set[1..] {
        found.forbidden(extra, "may not specify more than 1 handler type");
    }
    let handler = &set[0];
    match handler.place.rsplit('.').next() {
        Some("exec") if handler.get("command").list(found).is_empty() => {
            found.required(&handler.get("command"), "");
        }
        Some("httpGet") => http_get(handler, found),
        Some("tcpSocket") => port(&handler.get("port"), found),
        Some("grpc") => {
            let port = handler.get("port");
            let number = port.int32(found).unwrap_or(0);
            for detail in names::port_number(number) {
                found.rule(Problem::invalid(&port.place, number, detail));
            }
        }
        Some("sleep") => sleep(handler, grace, found),
        _ => {}
    }
}

fn http_get(handler: &Field<'_>, found: &mut Findings) {
    handler.get("path").text(found);
    port(&handler.get("port"), found);
    found.one_of(&handler.get("scheme"), &["HTTP", "HTTPS"]);
    for header in handler.get("httpHeaders").mappings(found) {
        let name = header.get("name").text(found).unwrap_or_default();
        for detail in names::header_name(name) {
            let path = format!("{}.httpHeaders", handler.place);
            found.rule(Problem::invalid(path, name, detail).at(&header.place));
        }
    }
}

/// A port by number or by name.
fn port(field: &Field<'_>, found: &mut Findings) {
    let (shown, wrong) = match field.value {
        Value::String(name) => (Value::from(name.as_str()), names::port_name(name)),
        _ => {
            let number = field.int32(found).unwrap_or(0);
            (Value::from(number), names::port_number(number))
        }
    };
    for detail in wrong {
        found.rule(Problem::invalid(&field.place, shown.clone(), detail));
    }
}

fn sleep(handler: &Field<'_>, grace: i64, found: &mut Findings) {
    let seconds = handler.get("seconds").int64(found).unwrap_or(0);
    if seconds <= 0 || seconds > grace {
        let detail = format!(
            "must be greater than 0 and less than terminationGracePeriodSeconds ({grace}). Enable \
             AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep."
        );
        found.rule(Problem::invalid(&handler.place, seconds, detail));
    }
}
