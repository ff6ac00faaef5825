//! An invariant that never fires proves nothing: with one guard taken away it must be the first to speak.

#[allow(dead_code)]
mod releases;

use tidegate_controller::sabotage::Sabotage;

fn first(story: &str, sabotage: Sabotage) -> Option<&'static str> {
    let stories = releases::stories();
    let story = stories.iter().find(|known| known.name == story).expect("a story");
    releases::play(story, 0, Vec::new(), Some(sabotage)).violation.map(|violation| violation.id)
}

#[test]
fn a_canary_that_shrinks_without_budget_breaks_s4() {
    assert_eq!(first("rolling update", Sabotage::ScaleDownWithoutBudget), Some("S4"));
}

#[test]
fn a_switch_before_pods_are_available_breaks_s1() {
    assert_eq!(first("blue-green", Sabotage::SwitchBeforeAvailable), Some("S1"));
}

#[test]
fn a_forgotten_abort_breaks_s15() {
    assert_eq!(first("abort and retry", Sabotage::ForgetAbort), Some("S15"));
}

#[test]
fn a_skipped_pause_breaks_s13() {
    assert_eq!(first("canary with steps", Sabotage::SkipPause), Some("S13"));
}
