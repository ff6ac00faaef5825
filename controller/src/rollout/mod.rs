//! The Rollout reconciler, readable as the runbook: [`plan`] is the ordered list of phases.

pub mod analysis;
pub mod blue_green;
pub mod canary;
mod claims;
mod conditions;
pub mod draft;
mod duration;
pub mod experiment;
mod history;
mod pauses;
mod phase;
mod promotion;
mod replicas;
pub mod restart;
mod revision;
mod role_metadata;
pub mod routed;
pub mod scale;
pub mod services;
pub mod set;
mod status;
pub mod traffic;
mod workload;

pub use phase::{not_seen_yet, phase, phase_as_seen};

use tidegate_api::spec::Strategy;
use tidegate_api::time::Time;

use crate::edit::Edit;
use crate::plan::{IfRefused, Plan};
use crate::world::{Facts, RolloutWorld};
use draft::Draft;

/// Decides what happens next with one Rollout. Total: every world, however broken, yields a plan.
pub fn plan(world: &RolloutWorld, facts: &Facts, now: Time) -> Plan {
    let Some(body) = world.rollout.rollout() else { return Plan::default() };
    // A Rollout that is going away is left to the garbage collector.
    if world.rollout.meta.deleting.is_some() {
        return Plan::default();
    }
    let spec = match workload::resolve(world, &body.spec.checked().spec) {
        Ok(spec) => spec,
        Err(problem) => return status::refuse(world, facts, now, &problem),
    };
    let claims = claims::claim(world, facts, &spec);
    if !claims.needs.is_empty() {
        return Plan { needs: claims.needs, ..Plan::default() };
    }
    let mut draft = Draft::new(world, facts, now, spec, claims.kept);
    if routed::is_bounded(&draft)
        && let Strategy::Canary(canary) = &mut draft.spec.to_mut().strategy
    {
        routed::with_bounded_surge(canary);
    }
    if claims::carry_out(&mut draft, &claims.adopted, &claims.released) {
        return draft.finish_without_status();
    }
    if workload::follow(&mut draft) {
        return draft.finish_without_status();
    }
    revision::find(&mut draft);
    let problems = status::problems(&draft);
    if let Some(first) = problems.first() {
        fall_back_if_aborted(&mut draft);
        if !draft.traffic.needs.is_empty() {
            return draft.need_of_traffic();
        }
        return status::refuse_draft(draft, &first.to_string());
    }
    if draft.new.is_none() {
        return revision::create(draft);
    }
    if body.spec.spec().replicas.is_none() {
        // The scale subresource of an autoscaler reads the field, so it may not stay empty.
        let edit = vec![Edit::Replicas(1)];
        draft.edit(&world.rollout, edit, Vec::new(), IfRefused::Stop);
        return draft.finish_without_status();
    }
    if draft.is_fully_promoted() && draft.observed.is_aborted() {
        draft.course.abort_cleared = true;
    }
    if let Some(status) = pauses::note_in_conditions(&draft) {
        draft.status = status;
        return draft.finish();
    }
    if !revision::sync(&mut draft) {
        return draft.finish();
    }
    let strategy = draft.spec.strategy.clone();
    match (&strategy, replicas::is_scaling_event(&draft)) {
        (Strategy::Canary(spec), true) => canary::rescale(draft, spec),
        (Strategy::Canary(spec), false) => canary::advance(draft, spec),
        (Strategy::BlueGreen(spec), true) => blue_green::rescale(draft, spec),
        (Strategy::BlueGreen(spec), false) => blue_green::advance(draft, spec),
        // Validation has refused it before.
        (Strategy::Unclear, _) => draft.finish_without_status(),
    }
}

/// An invalid specification advances nothing, but an abort under way goes on: traffic and pods return to the stable
/// version (S15, L5).
fn fall_back_if_aborted(draft: &mut Draft<'_>) {
    if !draft.observed.is_aborted() || draft.stable.is_none() || draft.stable == draft.new {
        return;
    }
    match draft.spec.strategy.clone() {
        Strategy::Canary(spec) => canary::fall_back(draft, &spec),
        Strategy::BlueGreen(spec) => blue_green::fall_back(draft, &spec),
        Strategy::Unclear => {}
    }
}
