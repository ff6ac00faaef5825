//! One row for each rule, and manifests that break several at once.

use super::*;
use crate::spec::{IntOrPercent, Pause, StepKind, Strategy, Threshold};
use crate::traffic::CanaryScale;
use serde_json::json;

#[test]
fn defaults_are_those_of_the_reference() {
    let Checked { spec, .. } =
        check(&json!({"strategy": {"canary": {"replicaProgressThreshold": {"type": "Pods", "value": 2}}}}));
    assert_eq!((spec.replicas, spec.wished(), spec.revision_history_limit), (None, 1, 10));
    assert_eq!((spec.progress_deadline_seconds, spec.min_ready_seconds), (600, 0));
    let canary = spec.canary().unwrap();
    assert_eq!(canary.max_surge, IntOrPercent::Percent(25));
    assert_eq!(canary.threshold, Some(Threshold::Pods(2)));
    let Checked { spec, .. } = check(&json!({"strategy": {"blueGreen": {"activeService": "a"}}}));
    assert!(spec.blue_green().unwrap().auto_promotion);
}

#[test]
fn steps_are_what_their_first_key_says() {
    let steps = json!([{"setWeight": 20}, {"pause": {}}, {"pause": {"duration": "1m"}, "setWeight": 5},
        {"pause": {"duration": 10}}, {"setCanaryScale": {"weight": 3}, "plugin": {}}, {}, {"plugin": {"name": "p"}}]);
    let Checked { spec, .. } = check(&json!({"strategy": {"canary": {"steps": steps}}}));
    let kinds: Vec<_> = spec.canary().unwrap().steps.iter().map(|s| (s.kind.clone(), s.weight)).collect();
    assert_eq!(
        kinds,
        [
            (StepKind::SetWeight(20), Some(20)),
            (StepKind::Pause(Pause::Forever), None),
            (StepKind::Pause(Pause::Seconds(60, "1m".into())), Some(5)),
            (StepKind::Pause(Pause::Seconds(10, "10".into())), None),
            (StepKind::SetCanaryScale(CanaryScale { weight: Some(3), ..CanaryScale::default() }), None),
            (StepKind::Empty, None),
            (StepKind::Plugin, None),
        ]
    );
}

#[test]
fn wrong_types_are_problems_and_the_rest_is_read() {
    let Checked { spec, problems } = check(&json!({
        "replicas": "3", "paused": "yes", "progressDeadlineSeconds": 3_000_000_000_u64, "minReadySeconds": 1.5,
        "strategy": {"canary": {"steps": {"setWeight": 1}, "maxSurge": 2}}}));
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for expected in [
        "spec.replicas: Invalid value: \"3\": must be a whole number",
        "spec.minReadySeconds: Invalid value: 1.5: must be a whole number that fits into 64 bits",
        "spec.paused: Invalid value: \"yes\": must be true or false",
        "spec.progressDeadlineSeconds: Invalid value: 3000000000: must be between -2147483648 and 2147483647",
        "spec.strategy.canary.steps: Invalid value: {\"setWeight\":1}: must be a list",
    ] {
        assert!(shown.iter().any(|p| p == expected), "{expected} is not in {shown:#?}");
    }
    assert!(matches!(spec.strategy, Strategy::Canary(canary) if canary.max_surge == IntOrPercent::Int(2)));
    assert!(matches!(check(&json!([1])).spec.strategy, Strategy::Unclear));
}

/// A valid Rollout with these fields changed: keys are paths, null removes.
pub(super) fn with(changes: Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "demo"}},
        "template": {
            "metadata": {"labels": {"app": "demo"}},
            "spec": {"containers": [{"name": "c", "image": "img:1"}]},
        },
        "strategy": {"canary": {}},
    });
    for (path, value) in changes.as_object().unwrap() {
        let mut at = &mut spec;
        for part in path.split('.') {
            at = match part.parse::<usize>() {
                Ok(index) => &mut at[index],
                Err(_) => &mut at[part],
            };
        }
        *at = value.clone();
    }
    spec
}

/// Every problem as the condition would show it. (Kubernetes prints no colon before a detail that is empty.)
pub(super) fn shown(spec: &Value) -> Vec<String> {
    check(spec).problems.iter().map(|p| p.to_string().trim_end_matches(": ").to_owned()).collect()
}

/// Checks that these changes to a valid Rollout break exactly these rules, in this order.
#[track_caller]
pub(super) fn breaks(changes: Value, expected: &[&str]) {
    assert_eq!(shown(&with(changes.clone())), expected, "{changes}");
}

#[test]
fn a_small_rollout_breaks_no_rule() {
    breaks(json!({}), &[]);
    breaks(json!({"strategy": {"blueGreen": {"activeService": "a"}}}), &[]);
    breaks(json!({"strategy": {"canary": null, "blueGreen": {"activeService": "a"}}}), &[]);
    breaks(json!({"workloadRef": {"kind": "Deployment"}, "selector": null, "template": null}), &[]);
}

#[test]
fn rules_of_all_rollouts() {
    breaks(
        json!({"replicas": -1}),
        &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    );
    breaks(
        json!({"selector": null}),
        &["spec.selector: Required value: Rollout has missing field '.spec.selector'"],
    );
    breaks(
        json!({"selector": {}}),
        &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
    );
    breaks(
        json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
        &[
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or \
             'NotIn'",
            "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}: invalid \
             label selector",
        ],
    );
    breaks(
        json!({"workloadRef": {"kind": "Deployment"}}),
        &["spec.template: Internal error: template must be empty for workload reference rollout"],
    );
    breaks(
        json!({"workloadRef": {}, "template": null, "selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}),
        &[
            "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Near\"}]}: invalid \
           label selector",
        ],
    );
    breaks(
        json!({"minReadySeconds": -1}),
        &["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"],
    );
    breaks(
        json!({"revisionHistoryLimit": -1}),
        &["spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"],
    );
    breaks(
        json!({"progressDeadlineSeconds": -1}),
        &[
            "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
            "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than minReadySeconds",
        ],
    );
    // Recorded: bad_min_ready_over_deadline.
    breaks(
        json!({"minReadySeconds": 10, "progressDeadlineSeconds": 5}),
        &["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
    );
    let late = check(&with(json!({"minReadySeconds": 600}))).problems;
    assert_eq!((&*late[0].path, late[0].place()), ("spec.progressDeadlineSeconds", "spec.minReadySeconds"));
    // Recorded: bad_no_strategy.
    let none = "spec.strategy.strategy: Required value: Rollout has missing field '.spec.strategy.canary or \
                .spec.strategy.blueGreen'";
    breaks(json!({"strategy": null}), &[none]);
    breaks(json!({"strategy": {}}), &[none]);
    breaks(
        json!({"strategy.blueGreen": {"activeService": "a"}}),
        &[
            "spec.strategy.strategy: Invalid value: \"blueGreen: true canary: true\": Multiple Strategies can not be \
           listed",
        ],
    );
}

#[test]
fn rules_of_blue_green() {
    // Recorded: bad_same_bluegreen_services.
    breaks(
        json!({"strategy": {"blueGreen": {"activeService": "active", "previewService": "active"}}}),
        &[
            "spec.strategy.activeService: Invalid value: \"active\": This rollout uses the same service for the active \
           and preview services, but two different services are required.",
        ],
    );
    breaks(
        json!({"strategy": {"blueGreen": {}}}),
        &["spec.strategy.blueGreen.activeService: Required value: the Service for production traffic"],
    );
    breaks(
        json!({"strategy": {"blueGreen": {"activeService": "", "scaleDownDelayRevisionLimit": 11,
            "antiAffinity": {}, "maxUnavailable": "half"}}}),
        &[
            "spec.strategy.activeService: Invalid value: \"\": This rollout uses the same service for the active and \
             preview services, but two different services are required.",
            "spec.strategy.scaleDownDelayRevisionLimit: Invalid value: 11: This rollout's revision history limit can \
             not be smaller than the rollout's scale down limit",
            "spec.strategy.antiAffinity: Invalid value: \
             \"antiAffinity.PreferredDuringSchedulingIgnoredDuringExecution: false \
             antiAffinity.RequiredDuringSchedulingIgnoredDuringExecution: false\": AntiAffinity must have exactly one \
             strategy listed",
            "spec.strategy.maxUnavailable: Invalid value: \"half\": must be a number or a share such as 25%",
        ],
    );
}

#[test]
fn rules_of_a_canary_without_routing() {
    let zero = |surge: &str| {
        format!(
            "spec.strategy.maxSurge: Invalid value: {surge}: MaxSurge and MaxUnavailable both can not be zero"
        )
    };
    for surge in [json!(0), json!("0"), json!("0%")] {
        let expected = zero(&surge.to_string());
        breaks(json!({"strategy.canary": {"maxSurge": surge, "maxUnavailable": 0}}), &[&expected]);
    }
    breaks(
        json!({"strategy.canary": {"maxSurge": "oops", "maxUnavailable": "0"}}),
        &[
            &zero("\"oops\""),
            "spec.strategy.maxSurge: Invalid value: \"oops\": must be a number or a share such as 25%",
        ],
    );
    // Safer on purpose: the reference takes the text for 0 and goes on.
    breaks(
        json!({"strategy.canary": {"maxSurge": "oops", "maxUnavailable": -1}}),
        &[
            "spec.strategy.maxSurge: Invalid value: \"oops\": must be a number or a share such as 25%",
            "spec.strategy.maxUnavailable: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    // Recorded: bad_same_services.
    breaks(
        json!({"strategy.canary": {"stableService": "stable", "canaryService": "stable"}}),
        &[
            "spec.strategy.stableService: Invalid value: \"stable\": This rollout uses the same service for the stable \
           and canary services, but two different services are required.",
        ],
    );
    breaks(
        json!({"strategy.canary": {"scaleDownDelaySeconds": 1, "dynamicStableScale": true}}),
        &[
            "spec.strategy.scaleDownDelaySeconds: Invalid value: 1: Canary scaleDownDelaySeconds can only be used \
             with traffic routing",
            "spec.strategy.dynamicStableScale: Invalid value: true: Canary dynamicStableScale can only be used with \
             traffic routing",
        ],
    );
    breaks(
        json!({"strategy.canary": {"antiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": {"weight": 101}}}}),
        &["spec.strategy.antiAffinity.weight: Invalid value: 101: AntiAffinity weight must be between 1-100"],
    );
}

#[test]
fn rules_of_steps() {
    let steps = |steps: Value| json!({"strategy.canary": {"steps": steps}});
    // Recorded: bad_step_empty, bad_step_two_things, bad_step_weight_range, bad_canary_scale_without_router.
    breaks(
        steps(json!([{}])),
        &[
            "spec.strategy.steps[0]: Invalid value: \"step.Experiment: true step.Pause: true step.SetWeight: true \
           step.Analysis: true step.SetCanaryScale: true step.SetHeaderRoute: true step.SetMirrorRoute: true \
           step.Plugin: true\": Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin \
           or pause",
        ],
    );
    breaks(
        steps(json!([{"setWeight": 1, "pause": {}}])),
        &[
            "spec.strategy.steps[0]: Invalid value: \"step.Experiment: false step.Pause: true step.SetWeight: true \
           step.Analysis: false\": Step must have one of the following set: experiment, setWeight, setCanaryScale, \
           plugin or pause",
        ],
    );
    breaks(
        steps(json!([{"setWeight": 101}, {"setWeight": -1}])),
        &[
            "spec.strategy.steps[0].setWeight: Invalid value: 101: SetWeight needs to be between 0 and 100",
            "spec.strategy.steps[1].setWeight: Invalid value: -1: SetWeight needs to be between 0 and 100",
        ],
    );
    breaks(
        steps(json!([{"setCanaryScale": {"replicas": 1}}])),
        &["spec.strategy.trafficRouting: Required value: SetCanaryScale requires TrafficRouting to be set"],
    );
    breaks(
        steps(
            json!([{"pause": {"duration": "1d"}}, {"pause": {"duration": -5}}, {"pause": {"duration": "0"}}]),
        ),
        &[
            "spec.strategy.steps[0].pause.duration: Invalid value: -1: Duration needs to be greater than 0",
            "spec.strategy.steps[1].pause.duration: Invalid value: -5: Duration needs to be greater than 0",
        ],
    );
    breaks(
        steps(json!([{"setHeaderRoute": {"name": "h"}}, {"setMirrorRoute": {"name": "m", "match":
            [{"method": {"exact": "a", "prefix": "b"}, "path": {}}]}}])),
        &[
            "spec.strategy.steps[0].setHeaderRoute: Invalid value: {\"name\":\"h\"}: SetHeaderRoute requires \
             TrafficRouting, supports Istio and ALB and Apisix",
            "spec.strategy.steps[1].setMirrorRoute: Invalid value: \
             {\"match\":[{\"method\":{\"exact\":\"a\",\"prefix\":\"b\"},\"path\":{}}],\"name\":\"m\"}: SetMirrorRoute \
             requires TrafficRouting, supports Istio and Plugins",
            "spec.strategy.steps[1].setMirrorRoute.match[0]: Invalid value: {\"exact\":\"a\",\"prefix\":\"b\"}: \
             StringMatch match value must have exactly one of the following: exact, regex, prefix",
            "spec.strategy.steps[1].setMirrorRoute.match[0]: Invalid value: {}: StringMatch value missed, match value \
             must have one of the following: exact, regex, prefix",
        ],
    );
    breaks(
        steps(json!([{"experiment": {"templates": [{"weight": 5}]}},
            {"analysis": {"args": [{"valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a b']"}}},
                {"valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['x/y']"}}}]}}])),
        &[
            "spec.strategy.steps[0].experiment.templates[0].weight: Invalid value: 5: Experiment template weight \
             cannot be set unless TrafficRouting is enabled",
            "spec.strategy.steps[1].analyses: Invalid value: \
             [{\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['a \
             b']\"}}},{\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.annotations['x/y']\"}}}]: Analyses \
             arguments must refer to valid object metadata supported by downwardAPI",
        ],
    );
}

#[test]
fn what_is_not_built_yet_is_named_with_its_path() {
    breaks(
        json!({"strategy.canary": {"analysis": {"templates": []}, "steps": [{"plugin": {"name": "p"}}]}}),
        &["spec.strategy.canary.steps[0].plugin: not built yet: plugin steps"],
    );
}

#[test]
fn several_mistakes_stand_in_the_order_of_the_reference() {
    let spec = with(json!({
        "replicas": -1, "minReadySeconds": 700, "paused": 1,
        "template.metadata.labels": {"app": "other"},
        "template.spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]},
        "strategy.canary": {"maxSurge": 0, "maxUnavailable": 0,
            "steps": [{"setWeight": 200}, {"pause": {"duration": "soon"}}, {"plugin": {"name": "p"}}]}}));
    assert_eq!(
        shown(&spec),
        [
            "spec.paused: Invalid value: 1: must be true or false",
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does not match template \
             `labels`",
            "spec.template.spec.containers[0].image: Required value",
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            "spec.strategy.maxSurge: Invalid value: 0: MaxSurge and MaxUnavailable both can not be zero",
            "spec.strategy.steps[0].setWeight: Invalid value: 200: SetWeight needs to be between 0 and 100",
            "spec.strategy.steps[1].pause.duration: Invalid value: -1: Duration needs to be greater than 0",
            "spec.strategy.canary.steps[2].plugin: not built yet: plugin steps",
        ]
    );
    let places: Vec<String> = check(&spec).problems.iter().map(|p| p.place().to_owned()).collect();
    assert_eq!(places[7], "spec.strategy.canary.steps[0].setWeight");
    assert_eq!(places[5], "spec.minReadySeconds");
}

#[test]
fn a_wrong_type_is_not_judged_by_rules_as_well() {
    breaks(
        json!({"strategy": {"canary": {"maxSurge": 0, "maxUnavailable": 0}, "blueGreen": 5}, "selector": "app=demo"}),
        &[
            "spec.selector: Invalid value: \"app=demo\": must be a mapping",
            "spec.strategy.blueGreen: Invalid value: 5: must be a mapping",
            "spec.strategy.strategy: Invalid value: \"blueGreen: true canary: true\": Multiple Strategies can not be \
             listed",
        ],
    );
    breaks(
        json!({"template.spec.containers": "none", "strategy.canary": {"steps": [{"setWeight": "20"}, 7]}}),
        &[
            "spec.strategy.canary.steps[0].setWeight: Invalid value: \"20\": must be a whole number",
            "spec.strategy.canary.steps[1]: Invalid value: 7: must be a mapping",
            "spec.template.spec.containers: Invalid value: \"none\": must be a list",
        ],
    );
}

#[test]
fn doubts_are_told_apart_from_problems() {
    let doubts = |changes: Value| -> Vec<String> {
        warnings(&with(changes)).iter().map(|p| format!("{}: {}", p.path, p.detail)).collect()
    };
    assert_eq!(doubts(json!({})), Vec::<String>::new());
    assert_eq!(
        doubts(json!({"replicas": 0, "strategy.canary": {"maxSurge": "2", "stableService": "s",
            "minPodsPerReplicaSet": 3, "steps": [{"setCanaryScale": {}, "setWeight": 5}, {"pause": {}}]}})),
        [
            "spec.strategy.canary.maxSurge: text is a share: this is 2 %, not 2 pods",
            "spec.strategy.canary.stableService: without trafficRouting it splits no traffic: weights are reached by \
             numbers of pods alone",
            "spec.strategy.canary.steps[0]: has several keys (setCanaryScale, setWeight); `setCanaryScale` alone \
             decides when it is complete",
            "spec.replicas: no pods are wished, so an update is done at once",
            "spec.strategy.canary.minPodsPerReplicaSet: is more than the 0 pods that are wished",
        ]
    );
    assert_eq!(
        doubts(json!({"strategy.canary": {"trafficRouting": {"gatewayAPI": {}}}})),
        ["spec.strategy.canary.trafficRouting: names no known router: traffic would stay as it is"]
    );
}
