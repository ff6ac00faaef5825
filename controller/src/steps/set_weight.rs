//! `setWeight`: the canary gets a share of the traffic.

use tidegate_api::spec::Canary;

use super::Progress;
use crate::rollout::canary::is_at_desired_counts;
use crate::rollout::draft::Draft;
use crate::rollout::traffic;

/// Done when the pods of both sides stand as the weight wants them, and routers, where there are some, were told and do
/// not deny it.
pub fn advance(weight: i64, draft: &Draft<'_>, canary: &Canary) -> Progress {
    if !is_at_desired_counts(draft, canary) {
        return Progress::Holding(format!("pods to stand at weight {weight}"));
    }
    if let Some(held) = traffic::weight_is_held(draft, canary, weight) {
        return Progress::Holding(held);
    }
    Progress::Done
}
