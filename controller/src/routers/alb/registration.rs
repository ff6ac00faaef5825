//! Whether the pods behind the stable Service are registered in its target groups: before that is so, the pods that
//! were stable before must not go.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_api::object::{Kind, Object, Text};

use super::super::document::{at, list, text};
use super::super::{Reads, Settings};
use super::elb::{Carried, Request, result};
use super::verify::{Outcome, Told};

/// The objects that tell which target groups a Service has, and which pods are to be registered there; nothing as long as
/// the operator does not want to know.
pub fn reads(namespace: &Text, settings: &Settings) -> Vec<Reads> {
    if !settings.verify_target_groups {
        return Vec::new();
    }
    let kinds = [bindings(settings), slices()];
    kinds.into_iter().map(|kind| Reads::All(kind, namespace.clone())).collect()
}

/// TargetGroupBindings.
pub fn bindings(settings: &Settings) -> Kind {
    Kind::new(&settings.target_group_binding_version, "TargetGroupBinding")
}

/// EndpointSlices.
pub fn slices() -> Kind {
    Kind::new("discovery.k8s.io/v1", "EndpointSlice")
}

/// A verification of target groups under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    service: Text,
    /// Each target group that registers addresses, and what must be registered there.
    groups: Vec<(String, BTreeSet<Target>)>,
    /// What is registered in those that have been read.
    found: Vec<BTreeSet<Target>>,
    error: Option<(String, bool)>,
}

/// Address and port.
type Target = (String, i64);

impl Registration {
    /// What is to be verified of a Service, its TargetGroupBindings and its EndpointSlices (of the namespace: those of
    /// other Services are left out); nothing when no target group registers its addresses.
    pub fn of(service: &Object, bindings: &[&Object], slices: &[&Object]) -> Option<Registration> {
        let document = service.to_value();
        let ports = list(&document, &["spec", "ports"]);
        let mut groups: Vec<(String, BTreeSet<Target>)> = Vec::new();
        for binding in bindings {
            let binding = binding.to_value();
            let to = at(&binding, &["spec", "serviceRef"]);
            let is_of_service = text(to, &["name"]) == &*service.meta.name;
            let is_by_address = text(&binding, &["spec", "targetType"]) == "ip";
            let port = ports.iter().find(|port| match &to["port"] {
                Value::String(name) => text(port, &["name"]) == name,
                number => number.is_i64() && port["port"] == *number,
            });
            let Some(port) = port.filter(|_| is_of_service && is_by_address) else { continue };
            let arn = text(&binding, &["spec", "targetGroupARN"]);
            if arn.is_empty() || groups.iter().any(|(known, _)| known == arn) {
                continue;
            }
            let mine = slices.iter().filter(|slice| {
                slice.meta.namespace == service.meta.namespace
                    && slice.meta.labels.get("kubernetes.io/service-name") == Some(&service.meta.name)
            });
            let targets = mine.flat_map(|slice| targets(&slice.to_value(), text(port, &["name"])));
            groups.push((arn.to_owned(), targets.collect()));
        }
        (!groups.is_empty()).then(|| Registration {
            service: service.meta.name.clone(),
            groups,
            found: Vec::new(),
            error: None,
        })
    }

    /// The next request; nothing when the outcome stands.
    pub fn request(&self) -> Option<Request> {
        let (arn, _) = self.groups.get(self.found.len()).filter(|_| self.error.is_none())?;
        Some(Request::new("DescribeTargetHealth", &[("TargetGroupArn", arn)]))
    }

    /// Takes what came back of the last [`Registration::request`].
    pub fn take(&mut self, carried: Carried<'_>) {
        let Some(request) = self.request() else { return };
        match result(request.action, carried) {
            Err(refusal) => self.error = Some((refusal.message, refusal.is_throttled)),
            Ok(found) => {
                let members = found.members("TargetHealthDescriptions").iter();
                let registered = members.filter_map(|member| {
                    let target = member.child("Target")?;
                    Some((target.text_of("Id").to_owned(), target.text_of("Port").parse().ok()?))
                });
                self.found.push(registered.collect());
            }
        }
    }

    /// What was found; nothing as long as there is a request.
    pub fn outcome(&self) -> Option<Outcome> {
        if let Some((message, is_throttled)) = &self.error {
            return Some(Outcome {
                error: Some(message.as_str().into()),
                is_throttled: *is_throttled,
                told: vec![Told::new("TargetGroupVerifyError", message.clone())],
                ..Outcome::default()
            });
        }
        if self.found.len() < self.groups.len() {
            return None;
        }
        let mut outcome = Outcome { verified: true, ..Outcome::default() };
        for ((arn, expected), registered) in self.groups.iter().zip(&self.found) {
            let (all, some) = (expected.len(), expected.intersection(registered).count());
            let whose = format!("Service {} (TargetGroup {arn})", self.service);
            outcome.told.push(match some == all {
                true => {
                    Told::new("TargetGroupVerified", format!("{whose} verified: {all} endpoints registered"))
                }
                false => {
                    outcome.verified = false;
                    let message = format!("{whose} not verified: {some}/{all} endpoints registered");
                    Told::new("TargetGroupUnverified", message)
                }
            });
        }
        Some(outcome)
    }
}

/// Ready addresses of a slice with the port of this name: the number on the pod.
fn targets(slice: &Value, port_name: &str) -> Vec<Target> {
    let ports = list(slice, &["ports"]).iter();
    let numbers: Vec<i64> = ports
        .filter(|port| text(port, &["name"]) == port_name)
        .filter_map(|port| port["port"].as_i64())
        .collect();
    let endpoints = list(slice, &["endpoints"]).iter();
    let ready = endpoints.filter(|endpoint| at(endpoint, &["conditions", "ready"]) != false);
    let addresses = ready.flat_map(|endpoint| list(endpoint, &["addresses"])).filter_map(Value::as_str);
    addresses.flat_map(|address| numbers.iter().map(|port| (address.to_owned(), *port))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::super::testing::any_json;
    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    fn service() -> Object {
        object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "prod"},
            "spec": {"ports": [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 90}]}}))
    }

    fn slice(service: &str) -> Object {
        object(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": service, "namespace": "prod", "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"name": "web", "port": 8080}, {"name": "admin", "port": 90}],
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.3"]}, {"addresses": ["10.0.0.4"], "conditions": {"ready": false}}]}))
    }

    fn binding(target_type: &str, port: Value) -> Object {
        object(json!({"apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "TargetGroupBinding",
            "metadata": {"name": "b", "namespace": "prod"},
            "spec": {"targetGroupARN": "arn", "targetType": target_type, "serviceRef": {"name": "s", "port": port}}}))
    }

    fn health(targets: &[(&str, i64)]) -> String {
        let member = |(id, port): &(&str, i64)| {
            format!(
                "<member><Target><Id>{id}</Id><Port>{port}</Port></Target><TargetHealth><State>initial</State>\
                 </TargetHealth></member>"
            )
        };
        format!(
            "<DescribeTargetHealthResponse><DescribeTargetHealthResult><TargetHealthDescriptions>{}\
             </TargetHealthDescriptions></DescribeTargetHealthResult></DescribeTargetHealthResponse>",
            targets.iter().map(member).collect::<String>()
        )
    }

    fn check(port: Value, registered: &[(&str, i64)], verified: bool, message: &str) {
        let (service, binding) = (service(), binding("ip", port));
        let (mine, other) = (slice("s"), slice("other"));
        let mut registration = Registration::of(&service, &[&binding], &[&mine, &other]).unwrap();
        assert_eq!(registration.outcome(), None);
        let request = registration.request().unwrap();
        assert_eq!(request.body(), "Action=DescribeTargetHealth&Version=2015-12-01&TargetGroupArn=arn");
        registration.take(Carried::Answered(200, &health(registered)));
        assert_eq!(registration.request(), None);
        let outcome = registration.outcome().unwrap();
        assert_eq!((outcome.verified, &*outcome.told[0].message), (verified, message));
    }

    #[test]
    fn v69_every_ready_address_must_be_registered_at_the_pods_port() {
        let all = [("10.0.0.1", 8080), ("10.0.0.2", 8080), ("10.0.0.3", 8080), ("10.0.0.9", 8080)];
        check(json!("web"), &all, true, "Service s (TargetGroup arn) verified: 3 endpoints registered");
        check(json!(80), &all, true, "Service s (TargetGroup arn) verified: 3 endpoints registered");
        let two = [("10.0.0.1", 8080), ("10.0.0.2", 8080), ("10.0.0.3", 9999)];
        check(json!(80), &two, false, "Service s (TargetGroup arn) not verified: 2/3 endpoints registered");
        check(
            json!("admin"),
            &all,
            false,
            "Service s (TargetGroup arn) not verified: 0/3 endpoints registered",
        );
    }

    #[test]
    fn v70_other_target_groups_are_no_matter() {
        let (service, slice) = (service(), slice("s"));
        let of = |binding: &Object| Registration::of(&service, &[binding], &[&slice]);
        assert_eq!(of(&binding("instance", json!(80))), None);
        assert_eq!(of(&binding("ip", json!(81))), None);
        assert_eq!(Registration::of(&service, &[], &[&slice]), None);
    }

    #[test]
    fn an_error_ends_it() {
        let (service, binding) = (service(), binding("ip", json!(80)));
        let mut registration = Registration::of(&service, &[&binding], &[]).unwrap();
        registration.take(Carried::Failed("no route"));
        assert_eq!(registration.request(), None);
        let outcome = registration.outcome().unwrap();
        assert!(!outcome.verified);
        assert_eq!(outcome.error.as_deref(), Some("DescribeTargetHealth: no route"));
        assert_eq!(outcome.told[0].reason, "TargetGroupVerifyError");
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(a in any_json(), b in any_json(), c in any_json()) {
            let (mut service, mut binding, mut slice) =
                (service().to_value(), binding("ip", json!(80)).to_value(), slice("s").to_value());
            binding["spec"]["serviceRef"]["port"] = a.clone();
            service["spec"]["ports"] = json!([b, {"port": 80}]);
            slice["ports"] = json!([c, {"port": 1}]);
            slice["endpoints"] = json!([a, b, c]);
            if let (Ok(service), Ok(slice)) = (Object::from_value(service), Object::from_value(slice)) {
                let _ = Registration::of(&service, &[&object(binding)], &[&slice]);
            }
        }
    }
}
