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
    // Traffic, sizes, promotions, aborts and interruptions. The orders in which requests were lost are also in
    // `sabotage.rs`, by the invariants that speak.
    ("field/abort_did_nothing_while_new_pods_were_never_ready", Sabotage::GiveUpOnGaps, Story),
    ("field/abort_failed_without_services", Sabotage::AbortByServices, Invariant("L5")),
    ("field/abort_looped_while_the_rollout_was_paused", Sabotage::HaltAborts, Invariant("L5")),
    ("field/abort_scaled_the_stable_version_down", Sabotage::AbortStable, Invariant("S8")),
    ("field/abort_of_a_referenced_deployment_was_ignored", Sabotage::ForgetAbort, Invariant("S15")),
    ("field/aborted_canary_goes_after_five_seconds", Sabotage::NoScaleDownDelay, Invariant("S7")),
    ("field/aborted_canary_goes_after_thirty_seconds", Sabotage::NoScaleDownDelay, Invariant("S7")),
    ("field/aborted_canary_stays", Sabotage::ZeroIsNow, Invariant("S7")),
    ("field/bad_stable_version_blocked_the_fix", Sabotage::WaitForStable, Story),
    ("field/both_versions_stayed_after_a_rollback", Sabotage::KeepSuperseded, Invariant("L6")),
    ("field/canary_ingress_lacked_its_class", Sabotage::BareCopies, Story),
    ("field/canary_of_its_own_size_was_never_removed", Sabotage::KeepOwnSize, Invariant("L5")),
    ("field/canary_service_flapped_after_an_abort", Sabotage::FlapAfterAbort, Invariant("L2")),
    ("field/canary_service_led_nowhere_after_an_abort", Sabotage::LeaveOnAborted, Invariant("L5")),
    ("field/canary_subset_led_nowhere_after_an_abort", Sabotage::LeaveOnAborted, Story),
    ("field/capacity_lost_in_an_abort_of_a_shrunk_stable_side", Sabotage::ReturnBeforePods, Invariant("S2")),
    (
        "field/capacity_was_lost_because_unready_pods_counted",
        Sabotage::ScaleDownWithoutBudget,
        Invariant("S4"),
    ),
    ("field/database_overload_because_the_surge_was_not_bounded", Sabotage::SurgeAtWill, Invariant("S4")),
    ("field/deployment_came_back_when_the_autoscaler_moved", Sabotage::ReturnWorkload, Story),
    ("field/deployment_stayed_after_the_switch", Sabotage::KeepWorkload, Story),
    (
        "field/errors_at_the_end_of_a_canary_behind_a_slow_load_balancer",
        Sabotage::DrainReferenced,
        Invariant("S8"),
    ),
    ("field/errors_because_an_empty_subset_counted_as_ready", Sabotage::RelabelBeforeWeight, Invariant("S1")),
    ("field/errors_because_the_delay_began_before_traffic_had_left", Sabotage::CountFromAbort, Story),
    (
        "field/errors_because_the_stable_side_shrank_before_the_weight_was_taken_over",
        Sabotage::ShrinkBeforeWeight,
        Invariant("S3"),
    ),
    (
        "field/errors_because_the_stable_side_shrank_behind_a_slow_load_balancer",
        Sabotage::ShrinkBeforeWeight,
        Invariant("S3"),
    ),
    (
        "field/errors_because_the_subset_moved_before_the_weight",
        Sabotage::RelabelBeforeWeight,
        Invariant("S1"),
    ),
    ("field/full_promotion_asked_for_more_than_everything", Sabotage::GiveUpOnGaps, Story),
    ("field/full_promotion_grew_the_version_that_was_leaving", Sabotage::GrowTheLeaving, Story),
    ("field/growth_went_to_a_version_that_crashed", Sabotage::NeverShrink, Invariant("L8")),
    ("field/grpc_canary_could_not_be_reached", Sabotage::BareCopies, Story),
    ("field/header_routes_multiplied_until_the_object_was_refused", Sabotage::AddRoutesAgain, Story),
    ("field/header_rules_changed_with_the_weight", Sabotage::WeighHeaderRoutes, Story),
    ("field/single_named_route_was_not_weighted", Sabotage::OverlookNamed, Invariant("S12")),
    ("field/misspelt_router_was_ignored", Sabotage::TrustTemplates, Story),
    ("field/nginx_answered_503_at_weight_100", Sabotage::ShrinkPrimary, Invariant("S8")),
    ("field/no_traffic_moved_with_fine_weights", Sabotage::HundredIsWhole, Story),
    ("field/nothing_moved_while_the_service_slept", Sabotage::GiveUpOnGaps, Story),
    ("field/old_pods_went_a_second_after_the_switch", Sabotage::NoScaleDownDelay, Story),
    ("field/old_version_flashed_up_after_the_last_step", Sabotage::DrainReferenced, Invariant("S8")),
    ("field/one_flaky_pod_held_the_promotion", Sabotage::PromoteByAll, Story),
    (
        "field/outage_because_a_delayed_subset_still_named_the_second_version",
        Sabotage::DrainReferenced,
        Invariant("S8"),
    ),
    (
        "field/outage_because_the_new_version_failed_right_after_its_promotion",
        Sabotage::DrainReferenced,
        Invariant("S8"),
    ),
    (
        "field/outage_because_the_stable_service_switched_after_its_pods_had_gone",
        Sabotage::ShrinkBeforeWeight,
        Invariant("S3"),
    ),
    ("field/outage_when_a_service_of_a_deployment_was_taken_over", Sabotage::SwitchAtFirstPod, Story),
    (
        "field/overload_because_a_full_promotion_did_not_wait_for_pods",
        Sabotage::PromoteUnavailable,
        Invariant("S14"),
    ),
    ("field/overload_because_a_rollback_went_to_three_pods", Sabotage::ReturnBeforePods, Invariant("S2")),
    (
        "field/overload_because_a_rollback_within_the_window_went_to_one_pod",
        Sabotage::WeightBeforePods,
        Invariant("S2"),
    ),
    ("field/pods_went_early_in_a_rollback_during_the_delay", Sabotage::NoScaleDownDelay, Invariant("S7")),
    ("field/preview_showed_the_old_version_after_a_change_of_size", Sabotage::ScaleOnly, Invariant("L6")),
    ("field/preview_was_promoted_by_itself", Sabotage::PromoteUnasked, Story),
    ("field/promote_full_kept_the_size_of_a_preview", Sabotage::SmallPreviewForUsers, Invariant("S3")),
    ("field/promotion_removed_a_label_of_the_template", Sabotage::RoleOverTemplate, Story),
    ("field/rollback_within_the_window_walked_all_steps", Sabotage::WalkAllSteps, Story),
    ("field/rollout_looked_broken_after_its_service_was_made", Sabotage::InvalidForEver, Story),
    ("field/router_added_later_never_began", Sabotage::RouterAtBirth, Story),
    ("field/routers_disagreed_with_a_pair_and_two_services", Sabotage::FollowThePair, Invariant("L6")),
    ("field/second_version_came_and_went_after_a_third", Sabotage::DrainReferenced, Invariant("S8")),
    ("field/stable_version_was_deleted_by_hand", Sabotage::WaitForStable, Story),
    ("field/strategy_changed_to_blue_green_midway", Sabotage::SwitchBeforeAvailable, Invariant("S2")),
    ("field/stuck_after_scaling_during_a_delayed_service_switch", Sabotage::ScaleOnly, Invariant("L6")),
    ("field/third_version_midway_was_ignored", Sabotage::KeepSuperseded, Invariant("L6")),
    ("field/third_version_was_scaled_down_after_an_aborted_second", Sabotage::CarryOver, Story),
    ("field/too_many_pods_went_in_a_restart", Sabotage::EvictEverything, Invariant("S26")),
    ("field/weight_of_other_destinations_was_lost", Sabotage::DropForeign, Story),
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
    ("experiments/paused_by_hand_until_it_has_succeeded", Sabotage::ForgetInconclusive, Invariant("S21")),
    ("field/nobody_was_told_why_no_analysis_ran", Sabotage::SilentTrouble, Story),
    ("field/failed_analysis_left_the_update_progressing", Sabotage::IgnoreVerdict, Story),
    ("field/check_point_of_the_last_update_opened_the_gate", Sabotage::CarryOver, Story),
    ("field/empty_result_aborted_a_good_release", Sabotage::EmptyIsAnError, Story),
    ("field/experiment_failed_because_its_names_were_too_long", Sabotage::PlainNames, Story),
    ("field/experiment_failed_because_its_run_was_there_already", Sabotage::TrustTheCache, Story),
    ("field/experiment_without_weights_stopped_the_controller", Sabotage::GiveUpOnGaps, Story),
    ("field/null_value_stopped_the_controller", Sabotage::GiveUpOnGaps, Story),
    ("field/promote_did_not_leave_an_inconclusive_step", Sabotage::ListenToThePast, Story),
    ("field/scale_event_forgot_the_analysis_of_a_preview", Sabotage::ScaleForgets, Story),
    ("field/stable_share_was_wrong_beside_an_experiment", Sabotage::ForgetArms, Story),
    ("field/update_hung_on_a_job_that_could_not_be_scheduled", Sabotage::IgnoreFailedJobs, Story),
    ("field/traffic_was_lost_to_an_arm_without_a_service", Sabotage::ServiceBeforeWeight, Story),
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
            Invariant("L2") => Some(Span::seconds(20)),
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

/// The numbers that stand in brackets at the end of what a scenario is about, as the page writes them.
fn numbers(about: &str) -> &str {
    let told = about.trim_end_matches(").").rsplit_once('(').map_or("", |(_, numbers)| numbers);
    if told.contains(|c: char| c.is_ascii_digit()) { told } else { "ours" }
}

#[test]
fn the_page_has_every_story_with_its_numbers_and_its_guards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/field.md")).expect("the page is there");
    let told: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.contains("](../scenarios/field/"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let all = scripts(&root.join("scenarios/field")).expect("every scenario can be read");
    let mut wrong = Vec::new();
    for script in &all {
        let name = Path::new(&script.name).file_stem().and_then(|name| name.to_str()).expect("a name");
        let link = format!("](../scenarios/field/{name}.yaml)");
        let rows: Vec<_> = told.iter().filter(|row| row[1].ends_with(&link)).collect();
        let [row] = rows[..] else {
            wrong.push(format!("{name} is told {} times", rows.len()));
            continue;
        };
        let saw = name.replace('_', " ");
        if !row[1].to_lowercase().starts_with(&format!("[{saw}]").to_lowercase()) {
            wrong.push(format!("{name} is called {}", row[1]));
        }
        if row[0] != numbers(&script.about) {
            wrong.push(format!("{name} has the numbers {}, not {}", numbers(&script.about), row[0]));
        }
        let field = format!("field/{name}");
        let bites = ROWS.iter().filter(|(story, ..)| *story == field);
        let bites: Vec<String> = bites.map(|(_, guard, _)| format!("`{guard:?}`")).collect();
        if bites.join(", ") != row[2] && !(bites.is_empty() && row[2].starts_with("none")) {
            wrong.push(format!("{name} fails without {}, not {}", bites.join(", "), row[2]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(told.len(), all.len(), "the page tells what is not there");
}
