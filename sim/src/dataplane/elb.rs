//! The interface of AWS by which load balancers say what they do (ELBv2), answered from what the proxies serve by: an
//! Ingress that is accepted but not applied is still told as it was.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;
use tidegate_api::object::{Key, Kind, Object, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::question::{Question, Reply, Response};

use super::{alb, list, spec};
use crate::world::World;

/// What is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It asks for patience.
    Throttled,
    /// It answers with an error.
    Error,
    /// It never answers.
    Silent,
    /// It answers, but no target group knows any pod.
    Unregistered,
}

/// Each of them, by its name in scenarios.
pub const REFUSALS: &[(&str, Refusal)] = &[
    ("throttled", Refusal::Throttled),
    ("error", Refusal::Error),
    ("nothing", Refusal::Silent),
    ("unregistered", Refusal::Unregistered),
];

/// What the interface has told.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// What is wrong with it, and until when.
    pub(crate) refuses: Option<(Refusal, Time)>,
    /// The Ingress as its rules were told last.
    told: Vec<(Key, Arc<Object>)>,
    /// Target groups whose targets were told last, and whether they knew their pods.
    registered: BTreeMap<String, bool>,
}

impl Interface {
    /// The version of an Ingress by which its load balancer said to serve when its rules were told last.
    pub fn told(&self, ingress: &Key) -> Option<&Arc<Object>> {
        self.told.iter().find(|(key, _)| key == ingress).map(|(_, object)| object)
    }

    /// Whether a target group said that it knows its pods when it was asked last.
    pub fn said_registered(&self, group: &str) -> bool {
        self.registered.get(group) == Some(&true)
    }

    fn note(&mut self, object: Arc<Object>) {
        let key = object.key();
        self.told.retain(|(known, _)| *known != key);
        self.told.push((key, object));
    }
}

/// The host name under which the load balancer of an Ingress is reached.
pub fn host(ingress: &Object) -> String {
    format!("{}-{}.elb.example.com", ingress.meta.name, ingress.meta.namespace)
}

impl World {
    /// Something is wrong with the interface for a while.
    pub fn refuse_at_elb(&mut self, how: Refusal, until: Time) {
        self.elb.refuses = Some((how, until));
    }

    /// What the interface answers, and how much later than usual.
    pub(crate) fn asked_of_elb(&mut self, question: &Question) -> (Reply, Span) {
        let refusal = self.elb.refuses.filter(|(_, until)| *until > self.now).map(|(how, _)| how);
        let error = |status, code: &str, message: &str| {
            let body = format!(
                "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
            );
            Reply::Answered(Response::new(status, body))
        };
        match refusal {
            Some(Refusal::Throttled) => return (error(400, "Throttling", "Rate exceeded"), Span::ZERO),
            Some(Refusal::Error) => return (error(500, "InternalFailure", "Try again"), Span::ZERO),
            Some(Refusal::Silent) => return (Reply::Lost, Span(question.timeout.0.saturating_add(1))),
            Some(Refusal::Unregistered) | None => {}
        }
        let body = question.body.as_ref().map(|body| body.reveal().to_string()).unwrap_or_default();
        let form = Form::read(&body);
        let action = form.get("Action").to_owned();
        let members = match &*action {
            "DescribeLoadBalancers" => self.balancers(),
            "DescribeTargetGroups" => self.target_groups(form.get("LoadBalancerArn")),
            "DescribeTags" => tags(&form),
            "DescribeListeners" => {
                let arn = form.get("LoadBalancerArn").replace("loadbalancer", "listener");
                ("Listeners", vec![format!("<ListenerArn>{arn}</ListenerArn>")])
            }
            "DescribeRules" => self.rules(form.get("ListenerArn")),
            "DescribeTargetHealth" => {
                self.targets(form.get("TargetGroupArn"), refusal == Some(Refusal::Unregistered))
            }
            _ => return (error(400, "InvalidAction", "no such action"), Span::ZERO),
        };
        let (list, members) = members;
        let members = members.iter().fold(String::new(), |mut all, member| {
            let _ = write!(all, "<member>{member}</member>");
            all
        });
        let body = format!(
            "<{action}Response><{action}Result><{list}>{members}</{list}></{action}Result></{action}Response>"
        );
        (Reply::Answered(Response::new(200, body)), Span::ZERO)
    }

    /// Ingresses as the slowest of their proxies serves by them.
    fn balanced(&self) -> impl Iterator<Item = &Arc<Object>> {
        let lines = self.plane.lines.values().filter(|line| line.proxy == "alb");
        let slowest = |object: &&Arc<Object>| object.meta.resource_version;
        lines.filter_map(move |line| line.applied.iter().flatten().min_by_key(slowest))
    }

    fn balancers(&self) -> (&'static str, Vec<String>) {
        let one = |ingress: &Arc<Object>| {
            format!(
                "<DNSName>{}</DNSName><LoadBalancerName>{}</LoadBalancerName><LoadBalancerArn>{}</LoadBalancerArn>",
                host(ingress),
                ingress.meta.name,
                arn("loadbalancer", &format!("app/{}/{}", ingress.meta.namespace, ingress.meta.name)),
            )
        };
        ("LoadBalancers", self.balanced().map(one).collect())
    }

    /// The Ingress that an ARN names at its end.
    fn ingress_of(&self, arn: &str) -> Option<&Arc<Object>> {
        self.balanced()
            .find(|ingress| arn.ends_with(&format!("/{}/{}", ingress.meta.namespace, ingress.meta.name)))
    }

    fn target_groups(&self, balancer: &str) -> (&'static str, Vec<String>) {
        let mut resources: Vec<String> = Vec::new();
        for (resource, _) in self.ingress_of(balancer).into_iter().flat_map(|one| forwards(one)).flatten() {
            if !resources.contains(&resource) {
                resources.push(resource);
            }
        }
        let one = |resource: &String| {
            let name = resource.rsplit('/').next().unwrap_or_default().replace(':', "-");
            format!(
                "<TargetGroupName>{name}</TargetGroupName><TargetGroupArn>{}</TargetGroupArn>",
                arn("targetgroup", resource)
            )
        };
        ("TargetGroups", resources.iter().map(one).collect())
    }

    fn rules(&mut self, listener: &str) -> (&'static str, Vec<String>) {
        let Some(ingress) = self.ingress_of(listener).cloned() else { return ("Rules", Vec::new()) };
        let rule = |groups: Vec<(String, i64)>| {
            let groups: String = groups
                .iter()
                .map(|(resource, weight)| {
                    format!(
                        "<member><TargetGroupArn>{}</TargetGroupArn><Weight>{weight}</Weight></member>",
                        arn("targetgroup", resource)
                    )
                })
                .collect();
            format!(
                "<Actions><member><Type>forward</Type><ForwardConfig><TargetGroups>{groups}</TargetGroups>\
                 </ForwardConfig></member></Actions>"
            )
        };
        let rules = forwards(&ingress).into_iter().map(rule).collect();
        self.elb.note(ingress);
        ("Rules", rules)
    }

    fn targets(&mut self, group: &str, knows_nobody: bool) -> (&'static str, Vec<String>) {
        let bindings = self.store.of_kind(&binding()).map(|object| object.to_value());
        let bound = bindings.filter(|binding| binding["spec"]["targetGroupARN"].as_str() == Some(group));
        let services: Vec<String> = bound
            .filter_map(|binding| binding["spec"]["serviceRef"]["name"].as_str().map(str::to_owned))
            .collect();
        let label = Text::from("kubernetes.io/service-name");
        let slices = self.store.of_kind(&slice()).filter(|slice| {
            let of = slice.meta.labels.get(&label);
            of.is_some_and(|of| services.iter().any(|service| **service == **of))
        });
        let mut members = Vec::new();
        for document in slices.map(|slice| slice.to_value()).filter(|_| !knows_nobody) {
            let port = document["ports"][0]["port"].as_i64().unwrap_or(0);
            for address in
                list(&document, "endpoints").iter().flat_map(|endpoint| list(endpoint, "addresses"))
            {
                let address = address.as_str().unwrap_or_default();
                members.push(format!("<Target><Id>{address}</Id><Port>{port}</Port></Target>"));
            }
        }
        self.elb.registered.insert(group.to_owned(), !knows_nobody);
        ("TargetHealthDescriptions", members)
    }
}

/// TargetGroupBindings.
pub fn binding() -> Kind {
    Kind::new("elbv2.k8s.aws/v1beta1", "TargetGroupBinding")
}

fn slice() -> Kind {
    Kind::new("discovery.k8s.io/v1", "EndpointSlice")
}

fn arn(kind: &str, of: &str) -> String {
    format!("arn:aws:elasticloadbalancing:invented:1:{kind}/{of}")
}

/// A target group carries as a tag what it stands for; here its ARN ends with that.
fn tags(form: &Form<'_>) -> (&'static str, Vec<String>) {
    let arns = form.0.iter().filter(|(name, _)| name.starts_with("ResourceArns."));
    let one = |(_, found): &(&str, String)| {
        let resource = found.strip_prefix(&arn("targetgroup", "")).unwrap_or_default();
        format!(
            "<ResourceArn>{found}</ResourceArn><Tags><member><Key>ingress.k8s.aws/resource</Key>\
             <Value>{resource}</Value></member></Tags>"
        )
    };
    ("TagDescriptions", arns.map(one).collect())
}

/// Each forward action of an Ingress: the resource of each target group, and its weight.
fn forwards(ingress: &Object) -> Vec<Vec<(String, i64)>> {
    let rules = list(spec(ingress), "rules").iter();
    let paths = rules.flat_map(|rule| list(&rule["http"], "paths"));
    let action = |path: &Value| {
        let name = super::nginx::backend_name(&path["backend"]);
        let ending = format!("/actions.{name}");
        let found = ingress.meta.annotations.iter().find(|(key, _)| key.ends_with(&ending))?;
        let action: Value = serde_json::from_str(found.1).ok()?;
        let groups = alb::field(alb::field(&action, "forwardConfig"), "targetGroups").as_array()?.clone();
        let group = |group: &Value| {
            let text = |name: &str| match alb::field(group, name) {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let (namespace, name) = (&ingress.meta.namespace, &ingress.meta.name);
            let resource = format!("{namespace}/{name}-{}:{}", text("serviceName"), text("servicePort"));
            (resource, alb::field(group, "weight").as_i64().unwrap_or(0))
        };
        Some(groups.iter().map(group).collect())
    };
    paths.filter_map(action).collect()
}

/// The fields of a form.
struct Form<'a>(Vec<(&'a str, String)>);

impl<'a> Form<'a> {
    fn read(body: &'a str) -> Form<'a> {
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        Form(pairs.map(|(name, value)| (name, decode(value))).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }
}

fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(2).collect();
        let number = std::str::from_utf8(&digits).ok().and_then(|two| u8::from_str_radix(two, 16).ok());
        out.extend(number);
    }
    String::from_utf8_lossy(&out).into_owned()
}
