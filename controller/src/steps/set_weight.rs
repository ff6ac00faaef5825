//! `setWeight`: the canary gets a share of the traffic.

use tidegate_api::spec::Canary;

use super::Progress;
use crate::rollout::canary::is_at_desired_counts;
use crate::rollout::draft::Draft;

/// Done when the pods of both sides stand as the weight wants them.
pub fn advance(weight: i64, draft: &Draft<'_>, canary: &Canary) -> Progress {
    if is_at_desired_counts(draft, canary) {
        Progress::Done
    } else {
        Progress::Holding(format!("pods to stand at weight {weight}"))
    }
}
