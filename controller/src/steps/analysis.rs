//! `analysis`: the update waits for evidence.

use super::Progress;
use crate::rollout::analysis::step_has_succeeded;
use crate::rollout::draft::Draft;
use crate::sabotage::Sabotage;

/// Done when the run of this step has succeeded. What else it may say, the phase of analysis has acted on.
pub fn advance(draft: &Draft<'_>) -> Progress {
    if step_has_succeeded(draft) || draft.facts.is_sabotaged(Sabotage::StepWithoutVerdict) {
        Progress::Done
    } else {
        Progress::Holding("the analysis of this step".to_owned())
    }
}
