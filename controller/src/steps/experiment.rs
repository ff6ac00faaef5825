//! `experiment`: the update waits for an Experiment that stands beside it.

use super::Progress;
use crate::rollout::draft::Draft;
use crate::rollout::experiment::step_has_succeeded;
use crate::sabotage::Sabotage;

/// Done when the Experiment of this step has succeeded. What else it may say, the phase of experiments has acted on.
pub fn advance(draft: &Draft<'_>) -> Progress {
    if step_has_succeeded(draft) || draft.facts.is_sabotaged(Sabotage::StepWithoutVerdict) {
        Progress::Done
    } else {
        Progress::Holding("the experiment of this step".to_owned())
    }
}
