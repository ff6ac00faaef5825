//! `setCanaryScale`: the canary gets a size of its own, whatever its weight.

use tidegate_api::spec::Canary;

use super::Progress;
use crate::rollout::canary::is_at_desired_counts;
use crate::rollout::draft::Draft;

/// Done when the pods of both sides stand as it says.
pub fn advance(draft: &Draft<'_>, canary: &Canary) -> Progress {
    if is_at_desired_counts(draft, canary) {
        Progress::Done
    } else {
        Progress::Holding("pods to stand at the scale of the step".to_owned())
    }
}
