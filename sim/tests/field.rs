//! Failures of the field: each story passes, and fails as it did in the field when the guard against it is taken away.

use std::path::Path;

use tidegate_api::time::Span;
use tidegate_controller::sabotage::Sabotage;
use tidegate_sim::play::{Outcome, Setup, play_with};
use tidegate_sim::scenario::Script;
use tidegate_sim::sweep::scripts;

/// What says that a story went wrong.
#[derive(Clone, Copy, Debug)]
enum Speaks {
    /// This invariant, first of all.
    Invariant(&'static str),
    /// What the story itself expects.
    Story,
    /// Anybody, in these words.
    Says(&'static str),
}

use Speaks::{Invariant, Says, Story};

/// The story, the guard that is taken away, and who notices.
const ROWS: &[(&str, Sabotage, Speaks)] = &[
    // Traffic. The orders in which requests were lost are in `sabotage.rs`, by the invariants that speak.
    (
        "routers/istio_and_alb/broken_bookkeeping_of_one_holds_the_other",
        Sabotage::RunAhead,
        Says("what is waited for never came"),
    ),
    ("field/abort_left_users_on_a_version_without_pods", Sabotage::ReturnByStep, Says("users saw errors")),
    ("field/abort_never_ended_because_the_canary_was_to_stay", Sabotage::ReturnByStep, Says("L5")),
    ("field/lost_canary_waited_for_a_stable_side_that_had_shrunk", Sabotage::ReturnByStep, Says("L7")),
    ("field/rollback_left_users_on_a_version_without_pods", Sabotage::ReturnByStep, Says("users saw errors")),
    ("field/node_churn_aborted_a_rollout_without_an_update", Sabotage::CountOn, Says("S23")),
    (
        "field/requests_lost_because_an_arm_went_before_its_weight",
        Sabotage::ServiceBeforeWeight,
        Says("users saw errors"),
    ),
    ("field/part_of_the_users_was_sent_to_an_empty_name", Sabotage::BlankArms, Says("it may never be that")),
    // Analyses and experiments.
    ("field/requests_failed_when_an_experiment_ended", Sabotage::ServiceBeforeWeight, Story),
    ("field/retry_was_answered_by_the_failed_run", Sabotage::ReuseOldRun, Story),
    ("field/cancelled_analysis_let_a_bad_version_live", Sabotage::CancelledGatePasses, Invariant("S14")),
    ("field/bad_version_stayed_live_after_its_analysis_failed", Sabotage::IgnoreVerdict, Invariant("L1")),
    ("field/rollback_failed_on_the_verdict_of_an_older_update", Sabotage::ReuseOldRun, Story),
    (
        "field/gate_was_skipped_when_replicas_and_template_changed_together",
        Sabotage::OpenGates,
        Invariant("S14"),
    ),
    ("field/errors_counted_as_evidence", Sabotage::ErrorsCount, Invariant("S20")),
    ("field/experiment_passed_while_its_analysis_went_on", Sabotage::RequiredIsOptional, Invariant("S20")),
    ("field/first_metric_decided_for_all", Sabotage::FirstMetricDecides, Invariant("S20")),
    ("field/gate_before_the_switch_was_never_asked", Sabotage::NeverAsk, Story),
    ("field/load_test_ran_twice", Sabotage::GeneratedNames, Invariant("S21")),
    ("field/ended_run_was_looked_at_for_ever", Sabotage::WakeForTheDead, Story),
    ("field/status_grew_until_it_was_refused", Sabotage::KeepMeasurements, Invariant("L10")),
    ("field/thousands_of_runs_were_left", Sabotage::KeepHistory, Invariant("L10")),
    ("field/empty_result_was_taken_for_an_answer", Sabotage::EmptyIsGood, Story),
    ("field/endless_metric_held_a_step_for_ever", Sabotage::TrustTemplates, Story),
    ("field/missing_argument_held_the_update_without_a_word", Sabotage::TrustTemplates, Story),
    ("field/missing_template_in_the_background_was_not_noticed", Sabotage::TrustTemplates, Story),
    ("field/experiments_piled_up", Sabotage::ForgetInconclusive, Invariant("S21")),
    ("field/nobody_was_told_why_no_analysis_ran", Sabotage::SilentTrouble, Story),
    ("field/failed_analysis_left_the_update_progressing", Sabotage::IgnoreVerdict, Story),
    // The same guards hold experiments, which are questions too.
    ("experiments/required_analysis_good", Sabotage::StepWithoutVerdict, Invariant("S14")),
    ("experiments/required_analysis_good", Sabotage::DecideAtOnce, Invariant("S20")),
    ("experiments/required_analysis_good", Sabotage::NoNextMeasurement, Invariant("L9")),
    ("experiments/its_run_ended_by_hand", Sabotage::CancelledGatePasses, Invariant("S20")),
    ("field/stable_share_was_wrong_beside_an_experiment", Sabotage::KeepAsking, Invariant("S22")),
];

fn named(all: &[Script], name: &str) -> Script {
    let ending = format!("{name}.yaml");
    let found = all.iter().find(|script| script.name.ends_with(&ending));
    found.unwrap_or_else(|| panic!("there is no scenario {name}")).clone()
}

fn noticed(outcome: &Outcome, who: Speaks) -> bool {
    match who {
        Invariant(id) => outcome.violations.first().is_some_and(|first| first.id == id),
        Says(words) => outcome.failures.iter().any(|failure| failure.message.contains(words)),
        Story => outcome.violations.is_empty() && !outcome.failures.is_empty(),
    }
}

#[test]
fn each_story_fails_as_it_did_when_its_guard_is_gone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let all = scripts(&folder).expect("every scenario can be read");
    let mut wrong = Vec::new();
    for (name, sabotage, who) in ROWS {
        let script = named(&all, name);
        let honest = play_with(&script, Setup::default());
        if !honest.failures.is_empty() {
            wrong.push(format!("{name} with every guard in its place: {:?}", honest.failures));
        }
        let mut broken = script.clone();
        // What is asked without end is asked often enough until then.
        broken.then.within = match who {
            Invariant("S21") => Some(Span::seconds(60)),
            Says(_) => broken.then.within,
            _ => Some(Span::seconds(2400)),
        };
        let broken = play_with(&broken, Setup { sabotage: Some(*sabotage), ..Setup::default() });
        if !noticed(&broken, *who) {
            let (first, failures) = (broken.violations.first(), &broken.failures);
            wrong.push(format!("{name} without {sabotage:?}, {who:?} is silent: {first:?} {failures:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), ROWS.len(), wrong.join("\n"));
}
