//! `setHeaderRoute` and `setMirrorRoute`: some requests go to the canary whatever its weight, or a copy of them.
//!
//! Routes follow from the steps in every pass ([`crate::rollout::traffic`]); the step only waits for them.

use tidegate_api::spec::Canary;

use super::Progress;
use crate::rollout::draft::Draft;
use crate::rollout::routed;

/// Done when the routers were told. A canary that is to have no pods has nothing to route to: its routes come with its
/// pods.
pub fn advance(draft: &Draft<'_>, canary: &Canary) -> Progress {
    let is_empty = routed::sizes(draft, canary, draft.traffic.weights.as_ref()).canary == 0;
    if draft.traffic.has_routes || is_empty {
        Progress::Done
    } else {
        Progress::Holding("routers to take the route over".to_owned())
    }
}
