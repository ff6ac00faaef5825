//! What has gone wrong in the field: each of these scenarios passes, and with the guard taken away that it is about it
//! shows what users saw. The orders in which requests were lost are in `sabotage.rs`, by the invariants that speak.

use std::path::Path;

use tidegate_controller::sabotage::Sabotage;
use tidegate_sim::play::{Setup, play, play_with};
use tidegate_sim::scenario::Script;
use tidegate_sim::sweep::scripts;

/// The scenario, the guard, and what is said without it.
const ROWS: &[(&str, Sabotage, &str)] = &[
    (
        "routers/istio_and_alb/broken_bookkeeping_of_one_holds_the_other.yaml",
        Sabotage::RunAhead,
        "what is waited for never came",
    ),
    ("field/abort_left_users_on_a_version_without_pods.yaml", Sabotage::ReturnByStep, "users saw errors"),
    ("field/abort_never_ended_because_the_canary_was_to_stay.yaml", Sabotage::ReturnByStep, "L5"),
    ("field/lost_canary_waited_for_a_stable_side_that_had_shrunk.yaml", Sabotage::ReturnByStep, "L7"),
    ("field/rollback_left_users_on_a_version_without_pods.yaml", Sabotage::ReturnByStep, "users saw errors"),
    ("field/node_churn_aborted_a_rollout_without_an_update.yaml", Sabotage::CountOn, "S23"),
    (
        "field/requests_lost_because_an_arm_went_before_its_weight.yaml",
        Sabotage::DropArms,
        "users saw errors",
    ),
    ("field/part_of_the_users_was_sent_to_an_empty_name.yaml", Sabotage::BlankArms, "it may never be that"),
];

fn scenario(name: &str) -> Script {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let (inner, _) = name.rsplit_once('/').expect("a folder and a name");
    let all = scripts(&folder.join(inner)).expect("every scenario can be read");
    all.into_iter().find(|script| script.name.ends_with(name)).expect("the scenario is there")
}

#[test]
fn each_guard_keeps_users_from_what_others_saw() {
    let mut wrong = Vec::new();
    for (name, guard, said) in ROWS {
        let script = scenario(name);
        let honest = play(&script);
        if !honest.failures.is_empty() {
            wrong.push(format!("{name}: {:?}\n{}", honest.failures, honest.trace()));
        }
        let broken = play_with(&script, Setup { sabotage: Some(*guard), ..Setup::default() });
        if !broken.failures.iter().any(|failure| failure.message.contains(said)) {
            wrong.push(format!("{name} without {guard:?}: {:?}\n{}", broken.failures, broken.trace()));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ROWS.len(), wrong.join("\n"));
}
