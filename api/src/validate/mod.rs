//! From a specification to its meaning and everything that is wrong with it.
//!
//! Nothing here returns early: each rule adds to the findings, so that `lint` shows all of them and the condition
//! `InvalidSpec` the first. Rules stand in the order in which the reference applies them.

mod field;
mod numbers;
mod parse;

use serde_json::Value;

use self::field::{Field, Findings};
use crate::spec::Checked;

/// Reads a specification, whatever it is.
pub fn check(spec: &Value) -> Checked {
    let mut found = Findings::default();
    let field = Field::new(spec, "spec");
    let spec = parse::spec(&field, &mut found);
    Checked { spec, problems: found.into_problems() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{IntOrPercent, Pause, StepKind, Strategy, Threshold};
    use serde_json::json;

    #[test]
    fn defaults_are_those_of_the_reference() {
        let Checked { spec, .. } = check(
            &json!({"strategy": {"canary": {"replicaProgressThreshold": {"type": "Pods", "value": 2}}}}),
        );
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
                (StepKind::SetCanaryScale, None),
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
        assert!(
            matches!(spec.strategy, Strategy::Canary(canary) if canary.max_surge == IntOrPercent::Int(2))
        );
        assert!(matches!(check(&json!([1])).spec.strategy, Strategy::Unclear));
    }
}
