//! The vectors of the reference for the verification of weights, against a stand-in for the load balancer API.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::Arm;
use super::super::super::stage::{Stage, split};
use super::*;

const LB: &str = "arn:aws:elasticloadbalancing:r:1:loadbalancer/app/lb/123";

/// What the invented account has.
#[derive(Clone)]
struct Account {
    host: &'static str,
    /// Resource of each target group; its ARN is made of it.
    groups: Vec<String>,
    /// Target groups with their weights, of each forward action.
    forwards: Vec<Vec<(String, i64)>>,
    /// ARNs that nothing can be read from.
    bare: bool,
    page: usize,
}

impl Account {
    fn arn(&self, resource: &str) -> String {
        let id = resource.replace(['/', ':'], "-");
        if self.bare { id } else { format!("arn:aws:elasticloadbalancing:r:1:targetgroup/{id}/9") }
    }

    fn answer(&self, request: &Request) -> String {
        let get = |name: &str| request.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| &**value);
        let from: usize = get("Marker").map_or(0, |marker| marker.parse().unwrap());
        let (list, members): (&str, Vec<String>) = match request.action {
            "DescribeLoadBalancers" => {
                let one = |host: &str, arn: &str| {
                    format!(
                        "<DNSName>{host}</DNSName><LoadBalancerArn>{arn}</LoadBalancerArn>\
                        <LoadBalancerName>lb</LoadBalancerName>"
                    )
                };
                let lb = if self.bare { "lb" } else { LB };
                ("LoadBalancers", vec![one("other", "x"), one("another", "y"), one(self.host, lb)])
            }
            "DescribeTargetGroups" => {
                let group = |resource: &String| {
                    format!(
                        "<TargetGroupArn>{}</TargetGroupArn><TargetGroupName>tg</TargetGroupName>",
                        self.arn(resource)
                    )
                };
                ("TargetGroups", self.groups.iter().map(group).collect())
            }
            "DescribeTags" => {
                assert!(request.parameters.len() <= 20);
                let tags = request.parameters.iter().map(|(_, arn)| {
                    let resource = self.groups.iter().find(|resource| self.arn(resource) == *arn).unwrap();
                    format!(
                        "<ResourceArn>{arn}</ResourceArn><Tags><member><Key>k</Key><Value>v</Value></member>\
                        <member><Key>ingress.k8s.aws/resource</Key><Value>{resource}</Value></member></Tags>"
                    )
                });
                ("TagDescriptions", tags.collect())
            }
            "DescribeListeners" => ("Listeners", vec!["<ListenerArn>l</ListenerArn>".to_owned()]),
            "DescribeRules" => {
                let rule = |forward: &Vec<(String, i64)>| {
                    let groups = forward.iter().map(|(resource, weight)| {
                        format!(
                            "<member><TargetGroupArn>{}</TargetGroupArn><Weight>{weight}</Weight></member>",
                            self.arn(resource)
                        )
                    });
                    format!(
                        "<Actions><member><Type>forward</Type><ForwardConfig><TargetGroups>{}</TargetGroups>\
                        </ForwardConfig></member></Actions>",
                        groups.collect::<String>()
                    )
                };
                ("Rules", self.forwards.iter().map(rule).collect())
            }
            other => panic!("{other}"),
        };
        let paged = if list == "TagDescriptions" { members.len().max(1) } else { self.page };
        let marker = (from + paged < members.len()).then(|| from + paged);
        let members: String = members
            .iter()
            .skip(from)
            .take(paged)
            .map(|member| format!("<member>{member}</member>"))
            .collect();
        let marker = marker.map_or(String::new(), |marker| format!("<NextMarker>{marker}</NextMarker>"));
        format!(
            "<{0}Response><{0}Result><{list}>{members}</{list}>{marker}</{0}Result></{0}Response>",
            request.action
        )
    }
}

fn resource(ingress: &str, service: &str) -> String {
    format!("prod/{ingress}-{service}:80")
}

fn account(canary: i64, stable: i64) -> Account {
    let (c, s) = (resource("main", "canary"), resource("main", "stable"));
    Account {
        host: "lb.example",
        groups: vec![c.clone(), s.clone(), "prod/main-other:80".to_owned()],
        // The rule of a header route stands behind: its 100 must not count.
        forwards: vec![vec![(c.clone(), canary), (s, stable)], vec![(c, 100)]],
        bare: false,
        page: 2,
    }
}

fn stage_of(ingresses: &[&str], steps: Value, status: Value) -> Stage {
    let objects: Vec<Value> = ingresses
        .iter()
        .map(|name| {
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": {},
                "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}, {"ip": "1.2.3.4"}]}}})
        })
        .collect();
    let mut stage = Stage::with_status(
        json!({"canaryService": "canary", "stableService": "stable", "steps": steps,
            "trafficRouting": {"alb": {"ingresses": ingresses, "servicePort": 80}}}),
        status,
        &objects,
    );
    stage.settings.verify_target_groups = true;
    stage
}

fn stage() -> Stage {
    stage_of(
        &["main"],
        json!([{"setWeight": 10}]),
        json!({"stableRS": "a", "currentPodHash": "b", "currentStepIndex": 0}),
    )
}

fn begun(stage: &Stage, want: &Want<'_>) -> Option<Verification> {
    stage.view(|_, view| weights(view, want))
}

fn outcome(stage: &Stage, want: &Want<'_>, account: &Account) -> Outcome {
    let mut verification = begun(stage, want).unwrap();
    while let Some(request) = verification.request() {
        assert_eq!(verification.outcome(), None);
        verification.take(Carried::Answered(200, &account.answer(&request)));
    }
    verification.outcome().unwrap()
}

fn told(outcome: &Outcome) -> Vec<String> {
    outcome.told.iter().map(|told| format!("{}: {}", told.reason, told.message)).collect()
}

#[test]
fn v62_a_load_balancer_that_is_not_found() {
    let outcome = outcome(&stage(), &split(10), &Account { host: "elsewhere", ..account(10, 90) });
    assert!(!outcome.verified);
    assert_eq!(told(&outcome), ["LoadBalancerNotFound: Failed to find load balancer: lb.example"]);
    assert_eq!(*outcome.albs.unwrap(), json!([{"ingress": "main"}]));
    assert_eq!(*outcome.alb.unwrap(), json!({"ingress": "main"}));
}

#[test]
fn v63_v64_only_the_canarys_weight_counts() {
    let wrong = outcome(&stage(), &split(10), &account(11, 89));
    assert!(!wrong.verified);
    let arn = account(0, 0).arn(&resource("main", "canary"));
    assert_eq!(
        told(&wrong),
        [format!(
            "TargetGroupUnverified: Service canary (TargetGroup {arn}) not verified: canary weight 10 not yet set (current: 11)"
        )]
    );
    let right = outcome(&stage(), &split(10), &account(10, 11));
    assert!(right.verified);
    assert_eq!(
        told(&right),
        [format!("TargetGroupVerified: Service canary (TargetGroup {arn}) verified: canary weight 10 set")]
    );
    let group = |service: &str| {
        let full = format!("prod-main-{service}-80/9");
        json!({"name": "tg", "arn": format!("arn:aws:elasticloadbalancing:r:1:targetgroup/{full}"), "fullName": full})
    };
    assert_eq!(
        *right.albs.unwrap(),
        json!([{"ingress": "main", "loadBalancer": {"name": "lb", "arn": LB, "fullName": "lb/123"},
            "canaryTargetGroup": group("canary"), "stableTargetGroup": group("stable")}])
    );
}

#[test]
fn v65_v66_what_is_waited_for() {
    let at_end = json!({"stableRS": "a", "currentPodHash": "b", "currentStepIndex": 1});
    let end = stage_of(&["main"], json!([{"setWeight": 10}]), at_end.clone());
    assert!(outcome(&end, &split(100), &account(100, 0)).verified);
    let known = |mut status: Value| {
        status["alb"] = json!({"ingress": "main"});
        status
    };
    let steps = json!([{"setWeight": 10}, {"pause": {}}]);
    let stage = |steps: &Value, status: Value| stage_of(&["main"], steps.clone(), known(status));
    assert!(
        begun(
            &stage(&steps, json!({"stableRS": "a", "currentPodHash": "b", "currentStepIndex": 2})),
            &split(50)
        )
        .is_none()
    );
    assert!(begun(&stage(&steps, at_end), &split(10)).is_none());
    let promoted = json!({"stableRS": "a", "currentPodHash": "a", "currentStepIndex": 2});
    assert!(begun(&stage(&steps, promoted.clone()), &split(0)).is_none());
    // Once to fill the status.
    assert!(begun(&stage_of(&["main"], steps, promoted), &split(0)).is_some());
    let mut off = self::stage();
    off.settings.verify_target_groups = false;
    assert!(begun(&off, &split(10)).is_none());
}

#[test]
fn v67_arns_that_nothing_can_be_read_from() {
    let outcome = outcome(&stage(), &split(10), &Account { bare: true, ..account(10, 90) });
    assert!(outcome.verified);
    assert_eq!(outcome.alb.unwrap()["loadBalancer"]["fullName"], "");
}

#[test]
fn v68_every_destination_of_every_ingress() {
    let status = json!({"stableRS": "a", "currentPodHash": "b", "currentStepIndex": 0});
    let stage = stage_of(&["main", "second"], json!([{"setWeight": 10}]), status);
    let arms = ["a1", "a2"].map(|service| Arm { service: service.into(), hash: "h".into(), weight: 5 });
    let want = Want { arms: &arms, ..split(10) };
    let mut account = account(10, 80);
    account.groups.clear();
    account.forwards = ["main", "second"]
        .iter()
        .map(|ingress| {
            let services = [("canary", 10), ("a1", 5), ("a2", 5), ("stable", 80)];
            services.iter().map(|(service, weight)| (resource(ingress, service), *weight)).collect()
        })
        .collect();
    account.groups = account.forwards.iter().flatten().map(|(resource, _)| resource.clone()).collect();
    // More than one request for tags.
    account.groups.extend((0..40).map(|n| format!("prod/other-{n}:80")));
    let all = outcome(&stage, &want, &account);
    assert!(all.verified);
    assert_eq!(all.told.len(), 6);
    account.forwards[1][2].1 = 4;
    assert!(!outcome(&stage, &want, &account).verified);
    account.forwards.pop();
    assert!(!outcome(&stage, &want, &account).verified);
}

#[test]
fn every_rule_of_the_split_must_be_right() {
    let mut account = account(10, 90);
    let mut stale = account.forwards[0].clone();
    stale[0].1 = 0;
    account.forwards.push(stale);
    assert!(!outcome(&stage(), &split(10), &account).verified);
}

#[test]
fn an_ingress_without_a_host_is_not_verified_and_asks_nothing() {
    let mut stage = stage();
    stage.put(json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "main"}, "spec": {}}));
    let verification = begun(&stage, &split(10)).unwrap();
    assert_eq!(verification.request(), None);
    assert!(!verification.outcome().unwrap().verified);
}

#[test]
fn an_error_keeps_what_the_status_knew() {
    let mut stage = stage();
    let known = json!([{"ingress": "main", "loadBalancer": {"name": "lb", "arn": "a", "fullName": "f"}}]);
    let status = json!({"stableRS": "a", "currentPodHash": "b", "currentStepIndex": 0, "albs": known});
    stage.rollout = stage_of(&["main"], json!([{"setWeight": 10}]), status).rollout;
    let mut verification = begun(&stage, &split(10)).unwrap();
    let throttled =
        "<ErrorResponse><Error><Code>Throttling</Code><Message>slow</Message></Error></ErrorResponse>";
    verification.take(Carried::Answered(400, throttled));
    let outcome = verification.outcome().unwrap();
    assert_eq!((outcome.verified, outcome.is_throttled), (false, true));
    assert_eq!(
        told(&outcome),
        ["TargetGroupVerifyError: DescribeLoadBalancers: Throttling: slow (status 400)"]
    );
    assert_eq!(*outcome.albs.unwrap(), known);
}

#[test]
fn pages_without_end_are_an_error() {
    let mut verification = begun(&stage(), &split(10)).unwrap();
    let again = "<R><LoadBalancers/><NextMarker>m</NextMarker></R>";
    verification.take(Carried::Answered(200, again));
    verification.take(Carried::Answered(200, again));
    assert!(verification.outcome().unwrap().error.is_some());
}

proptest! {
    #[test]
    fn no_reply_makes_it_panic(
        replies in prop::collection::vec((0..600u16, r#"(<[a-z]{0,3}>|</[a-z]{0,3}>|[{}":\[\]a-z0-9]){0,12}"#, any::<bool>()), 0..30)
    ) {
        let mut verification = begun(&stage(), &split(10)).unwrap();
        for (status, reply, is_good) in replies {
            let Some(request) = verification.request() else { break };
            match is_good {
                true => verification.take(Carried::Answered(200, &account(10, 90).answer(&request))),
                false => verification.take(Carried::Answered(status, &reply)),
            }
        }
        let _ = verification.outcome();
    }
}
