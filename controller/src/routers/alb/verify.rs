//! Whether the load balancers really send the weights that an Ingress asks for, read from their own listener rules.
//!
//! [`weights`] says what is to be checked, if anything; the [`Verification`] then is plain data: it says the next
//! request, takes what came back, and ends with an [`Outcome`]. Who carries the requests, and when the next
//! verification is due, is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tidegate_api::object::Text;
use tidegate_api::spec::StepKind;

use super::super::document::{list, text};
use super::super::{View, Want, percent};
pub use super::elb::{Carried, ENDPOINT, Request, SERVICE};
use super::elb::{MOST_PAGES, next_marker, result};
use super::xml::Element;
use super::{Config, key};

/// Resource tags are asked for so many target groups at once.
const TAGS_AT_ONCE: usize = 20;

/// A verification under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    ingresses: Vec<Expected>,
    tag: Text,
    /// `status.albs` as it was, for what is not found again.
    before: Vec<Value>,
    balancers: Vec<Balancer>,
    stage: Stage,
    /// Page of the list that is being read.
    marker: Option<String>,
    pages: usize,
    error: Option<(String, bool)>,
}

/// What one Ingress must lead to.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Expected {
    ingress: String,
    hosts: Vec<String>,
    /// Resource of the stable target group: it marks the rules that split traffic.
    stable: String,
    /// Service, resource and weight of the canary and of each arm, the canary first.
    others: Vec<(Text, String, i64)>,
}

/// A load balancer, as far as it has been read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Balancer {
    host: String,
    name: String,
    arn: String,
    groups: Vec<TargetGroup>,
    listeners: Vec<String>,
    /// The target groups of each forward action, with their weights.
    forwards: Vec<BTreeMap<String, i64>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct TargetGroup {
    name: String,
    arn: String,
    resource: String,
}

/// The list that is read next. Balancers by their place among those found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Balancers,
    Groups(usize),
    Tags(usize, usize),
    Listeners(usize),
    Rules(usize, usize),
    Done,
}

/// What a verification found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Outcome {
    /// Whether everything is as expected.
    pub verified: bool,
    /// Why it could not be found out; such a verification is to be begun anew, not at once.
    pub error: Option<Text>,
    /// Whether the API asked for patience.
    pub is_throttled: bool,
    /// Events to record.
    pub told: Vec<Told>,
    /// `status.alb`, where weights were verified.
    pub alb: Option<Arc<Value>>,
    /// `status.albs`, where weights were verified.
    pub albs: Option<Arc<Value>>,
}

/// An event of a verification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Whether something is wrong.
    pub is_warning: bool,
    /// One word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: Text,
}

impl Told {
    pub(super) fn new(reason: &'static str, message: String) -> Told {
        Told { is_warning: reason != "TargetGroupVerified", reason, message: message.into() }
    }
}

/// What is to be verified of the weights; nothing when there is nothing to verify: the flag is off (then `status.alb`
/// and `status.albs` go), or no weight of an update is waited for and the status knows its load balancers.
pub fn weights(view: &View<'_>, want: &Want<'_>) -> Option<Verification> {
    if !view.at.settings.verify_target_groups {
        return None;
    }
    let status = &view.at.rollout.rollout()?.status;
    let is_known = status.alb.is_some() || status.albs.is_some();
    if !is_waited_for(view, want) && is_known {
        return None;
    }
    Some(begin(view, want))
}

/// The same, whether or not anything waits for it.
pub fn begin(view: &View<'_>, want: &Want<'_>) -> Verification {
    let config = Config::read(&view.at);
    let names = view.names(true);
    let expected = |name: &&str| {
        let object = view.objects.get(&key(&view.at, name));
        let document = object.map(|object| object.to_value()).unwrap_or_default();
        let hosts = list(&document, &["status", "loadBalancer", "ingress"]).iter();
        let hosts = hosts.map(|entry| text(entry, &["hostname"]).to_owned()).filter(|host| !host.is_empty());
        let resource = |service: &str| format!("{}/{name}-{service}:{}", view.at.namespace(), config.port);
        let mut others = vec![(names.canary.clone(), resource(&names.canary), want.percent())];
        others.extend(
            want.arms
                .iter()
                .map(|arm| (arm.service.clone(), resource(&arm.service), percent(arm.weight, want.whole))),
        );
        let stable = resource(&names.stable);
        Expected { ingress: (*name).to_owned(), hosts: hosts.collect(), stable, others }
    };
    let ingresses: Vec<Expected> = config.ingresses.iter().map(expected).collect();
    let status = view.at.rollout.rollout().map(|body| &body.status);
    let before = status
        .and_then(|status| status.albs.as_ref())
        .and_then(|albs| albs.as_array().cloned())
        .unwrap_or_default();
    let before = if before.len() == ingresses.len() { before } else { Vec::new() };
    let has_hosts = ingresses.iter().any(|expected| !expected.hosts.is_empty());
    Verification {
        ingresses,
        tag: view.at.settings.alb_resource_tag.clone(),
        before,
        balancers: Vec::new(),
        stage: if has_hosts { Stage::Balancers } else { Stage::Done },
        marker: None,
        pages: 0,
        error: None,
    }
}

/// Whether an update waits for this weight: in a `setWeight` step, or at the end with everything on the canary.
fn is_waited_for(view: &View<'_>, want: &Want<'_>) -> bool {
    let Some(body) = view.at.rollout.rollout() else { return false };
    let (stable, current) = (body.status.stable.as_deref(), body.status.current_hash.as_deref());
    if stable.unwrap_or_default().is_empty() || stable == current {
        return false;
    }
    let index = body.status.index().and_then(|index| usize::try_from(index).ok());
    match index.and_then(|index| view.at.canary.steps.get(index)) {
        Some(step) => matches!(step.kind, StepKind::SetWeight(_)),
        None => want.weight == want.whole,
    }
}

impl Verification {
    /// The next request; nothing when the outcome stands.
    pub fn request(&self) -> Option<Request> {
        let balancer = |at: usize| self.balancers.get(at);
        let request = match self.stage {
            Stage::Balancers => Request::new("DescribeLoadBalancers", &[("PageSize", "300")]),
            Stage::Groups(at) => {
                Request::new("DescribeTargetGroups", &[("LoadBalancerArn", &balancer(at)?.arn)])
            }
            Stage::Tags(at, from) => {
                let mut request = Request::new("DescribeTags", &[]);
                let groups = balancer(at)?.groups.iter().skip(from).take(TAGS_AT_ONCE);
                let named = groups.enumerate();
                request.parameters.extend(
                    named.map(|(n, group)| (format!("ResourceArns.member.{}", n + 1), group.arn.clone())),
                );
                return Some(request);
            }
            Stage::Listeners(at) => {
                Request::new("DescribeListeners", &[("LoadBalancerArn", &balancer(at)?.arn)])
            }
            Stage::Rules(at, n) => {
                Request::new("DescribeRules", &[("ListenerArn", balancer(at)?.listeners.get(n)?)])
            }
            Stage::Done => return None,
        };
        Some(request.at(&self.marker))
    }

    /// Takes what came back of the last [`Verification::request`].
    pub fn take(&mut self, carried: Carried<'_>) {
        let Some(request) = self.request() else { return };
        match result(request.action, carried) {
            Ok(found) => self.read(&found),
            Err(refusal) => self.fail(refusal.message, refusal.is_throttled),
        }
    }

    fn fail(&mut self, message: String, is_throttled: bool) {
        self.error = Some((message, is_throttled));
        self.stage = Stage::Done;
    }

    fn read(&mut self, found: &Element) {
        match self.stage {
            Stage::Balancers => {
                for member in found.members("LoadBalancers") {
                    let host = member.text_of("DNSName");
                    let is_asked =
                        self.ingresses.iter().any(|expected| expected.hosts.iter().any(|h| h == host));
                    if is_asked && self.balancers.iter().all(|known| known.host != host) {
                        self.balancers.push(Balancer {
                            host: host.to_owned(),
                            name: member.text_of("LoadBalancerName").to_owned(),
                            arn: member.text_of("LoadBalancerArn").to_owned(),
                            ..Balancer::default()
                        });
                    }
                }
            }
            Stage::Groups(at) => {
                let members = found.members("TargetGroups").iter();
                let groups = members.map(|member| TargetGroup {
                    name: member.text_of("TargetGroupName").to_owned(),
                    arn: member.text_of("TargetGroupArn").to_owned(),
                    resource: String::new(),
                });
                self.balancers[at].groups.extend(groups.filter(|group| !group.arn.is_empty()));
            }
            Stage::Tags(at, _) => {
                for description in found.members("TagDescriptions") {
                    let tags = description.members("Tags").iter();
                    let Some(tag) = tags.into_iter().find(|tag| tag.text_of("Key") == &*self.tag) else {
                        continue;
                    };
                    for group in &mut self.balancers[at].groups {
                        if group.arn == description.text_of("ResourceArn") {
                            tag.text_of("Value").clone_into(&mut group.resource);
                        }
                    }
                }
            }
            Stage::Listeners(at) => {
                let members = found.members("Listeners").iter();
                let arns = members.map(|member| member.text_of("ListenerArn").to_owned());
                self.balancers[at].listeners.extend(arns.filter(|arn| !arn.is_empty()));
            }
            Stage::Rules(at, _) => {
                let actions = found.members("Rules").iter().flat_map(|rule| rule.members("Actions"));
                let forwards = actions.filter_map(|action| {
                    let groups = action.child("ForwardConfig")?.members("TargetGroups").iter();
                    let weights = groups.filter_map(|group| {
                        let weight = group.text_of("Weight").parse().ok()?;
                        Some((group.text_of("TargetGroupArn").to_owned(), weight))
                    });
                    Some(weights.collect::<BTreeMap<String, i64>>())
                });
                self.balancers[at].forwards.extend(forwards);
            }
            Stage::Done => {}
        }
        self.go_on(next_marker(found));
    }

    /// To the next page, or to the next list.
    fn go_on(&mut self, marker: Option<String>) {
        let hosts = self.ingresses.iter().flat_map(|expected| &expected.hosts);
        let has_all = hosts.clone().all(|host| self.balancers.iter().any(|known| known.host == *host));
        let is_read = matches!(self.stage, Stage::Tags(..)) || (self.stage == Stage::Balancers && has_all);
        if marker.is_some() && !is_read {
            self.pages += 1;
            if self.pages >= MOST_PAGES || marker == self.marker {
                return self.fail("the load balancer API gives pages without end".to_owned(), false);
            }
            self.marker = marker;
            return;
        }
        self.marker = None;
        self.pages = 0;
        let size = |at: usize, of: fn(&Balancer) -> usize| self.balancers.get(at).map_or(0, of);
        let mut next = match self.stage {
            Stage::Balancers => Stage::Groups(0),
            Stage::Groups(at) => Stage::Tags(at, 0),
            Stage::Tags(at, from) => Stage::Tags(at, from + TAGS_AT_ONCE),
            Stage::Listeners(at) => Stage::Rules(at, 0),
            Stage::Rules(at, n) => Stage::Rules(at, n + 1),
            Stage::Done => Stage::Done,
        };
        // What is empty is passed over.
        loop {
            next = match next {
                Stage::Groups(at) if at >= self.balancers.len() => Stage::Done,
                Stage::Tags(at, from) if from >= size(at, |b| b.groups.len()) => Stage::Listeners(at),
                Stage::Rules(at, n) if n >= size(at, |b| b.listeners.len()) => Stage::Groups(at + 1),
                other => {
                    self.stage = other;
                    return;
                }
            };
        }
    }

    /// What was found; nothing as long as there is a request.
    // ARGO: the reference counts target groups, so that several Ingresses with arms, several host names or an active
    // header route never or wrongly count as verified (Q31).
    pub fn outcome(&self) -> Option<Outcome> {
        if self.stage != Stage::Done {
            return None;
        }
        let mut outcome = Outcome { verified: true, ..Outcome::default() };
        let mut albs = Vec::new();
        for (at, expected) in self.ingresses.iter().enumerate() {
            let before = self.before.get(at).and_then(Value::as_object).cloned().unwrap_or_default();
            albs.push(self.judge(expected, before, &mut outcome));
        }
        if let Some((message, is_throttled)) = &self.error {
            outcome.verified = false;
            outcome.is_throttled = *is_throttled;
            outcome.error = Some(message.as_str().into());
            outcome.told = vec![Told::new("TargetGroupVerifyError", message.clone())];
        }
        outcome.alb = Some(Arc::new(albs.last().cloned().unwrap_or_else(|| json!({}))));
        outcome.albs = Some(Arc::new(Value::from(albs)));
        Some(outcome)
    }

    /// Judges one Ingress; gives its entry of the status.
    fn judge(&self, expected: &Expected, mut entry: Map<String, Value>, outcome: &mut Outcome) -> Value {
        entry.insert("ingress".to_owned(), Value::from(&*expected.ingress));
        let mut seen: Vec<Vec<(&str, i64)>> = vec![Vec::new(); expected.others.len()];
        for host in &expected.hosts {
            let Some(balancer) = self.balancers.iter().find(|known| known.host == *host) else {
                outcome.verified = false;
                let message = format!("Failed to find load balancer: {host}");
                outcome.told.push(Told::new("LoadBalancerNotFound", message));
                continue;
            };
            let group = |resource: &str| balancer.groups.iter().find(|group| group.resource == resource);
            let stable = group(&expected.stable);
            let canary = expected.others.first().and_then(|(_, resource, _)| group(resource));
            let mut note = |field: &str, name: &str, arn: &str, full: String| {
                entry.insert(field.to_owned(), json!({"name": name, "arn": arn, "fullName": full}));
            };
            note("loadBalancer", &balancer.name, &balancer.arn, full_name(&balancer.arn, 2));
            for (field, group) in [("canaryTargetGroup", canary), ("stableTargetGroup", stable)] {
                if let Some(group) = group {
                    note(field, &group.name, &group.arn, full_name(&group.arn, 1));
                }
            }
            // The rules of the root action are those that lead to the stable side too; that of a header route does not.
            let Some(stable) = stable else { continue };
            let split = balancer.forwards.iter().filter(|forward| forward.contains_key(&stable.arn));
            for forward in split {
                for (seen, (_, resource, _)) in seen.iter_mut().zip(&expected.others) {
                    let Some(group) = group(resource) else { continue };
                    seen.extend(forward.get(&group.arn).map(|weight| (&*group.arn, *weight)));
                }
            }
        }
        for (seen, (service, _, want)) in seen.iter().zip(&expected.others) {
            let wrong = seen.iter().find(|(_, weight)| weight != want);
            match (wrong, seen.first()) {
                (None, None) => outcome.verified = false,
                (None, Some((arn, weight))) => outcome.told.push(Told::new(
                    "TargetGroupVerified",
                    format!("Service {service} (TargetGroup {arn}) verified: canary weight {weight} set"),
                )),
                (Some((arn, weight)), _) => {
                    outcome.verified = false;
                    outcome.told.push(Told::new(
                        "TargetGroupUnverified",
                        format!(
                            "Service {service} (TargetGroup {arn}) not verified: canary weight {want} not yet set \
                             (current: {weight})"
                        ),
                    ));
                }
            }
        }
        Value::Object(entry)
    }
}

/// The part of an ARN by which other services of AWS name the resource; empty when it has none.
fn full_name(arn: &str, from: usize) -> String {
    let parts: Vec<&str> = arn.split('/').collect();
    if parts.len() < 3 { String::new() } else { parts[from..].join("/") }
}

#[cfg(test)]
mod tests;
