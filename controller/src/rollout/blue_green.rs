//! Blue-green: the new version stands beside the old one, is looked at, and gets all traffic at once.

use tidegate_api::object::BlueGreenStatus;
use tidegate_api::spec::BlueGreen;
use tidegate_api::time::Span;

use super::draft::Draft;
use super::scale::Limits;
use super::services::{selected_hash, switch};
use super::set::{Deadline, Set};
use super::traffic::verification;
use super::{analysis, history, promotion, replicas, restart, role_metadata, status, workload};
use crate::plan::{Plan, Reason};
use crate::sabotage::Sabotage;

const PAUSE: &str = "BlueGreenPause";

/// One pass of a blue-green update. No phase ends it early: one pass can scale, switch and promote.
pub fn advance(mut draft: Draft<'_>, spec: &BlueGreen) -> Plan {
    for name in [&spec.preview_service, &spec.active_service] {
        if !name.is_empty() && !draft.services.contains_key(name) {
            draft.fail(format!("Service {name} is missing"));
            return draft.finish_without_status();
        }
    }
    let hash = draft.current_hash();
    if !replicas::is_halted(&draft) && !spec.preview_service.is_empty() {
        switch(&mut draft, &spec.preview_service, &hash);
    }
    if !draft.observed.current().is_empty() && draft.observed.current() != &*hash {
        return sync(draft, spec, true);
    }
    let limits = Limits::of_blue_green(&spec.max_unavailable, draft.n());
    restart::restart(&mut draft, limits);
    resize(&mut draft, spec);
    history::clean_up(&mut draft);
    pause(&mut draft, spec);
    switch_active(&mut draft, spec);
    verification::registration_of_blue_green(&mut draft, spec);
    if !draft.traffic.needs.is_empty() {
        return draft.need_of_traffic();
    }
    analysis::follow_blue_green(&mut draft, spec);
    role_metadata::sync(&mut draft);
    sync(draft, spec, false)
}

/// One pass while the wished number of pods differs from the one the ReplicaSets were scaled for: sizes only.
pub fn rescale(mut draft: Draft<'_>, spec: &BlueGreen) -> Plan {
    resize(&mut draft, spec);
    draft.status = (*draft.observed).clone();
    if draft.facts.is_sabotaged(Sabotage::ScaleForgets) {
        draft.status.blue_green = None;
    }
    status::count_for_scaling(&mut draft);
    status::persist(draft)
}

/// Returns users to the stable version, and nothing else.
pub fn fall_back(draft: &mut Draft<'_>, spec: &BlueGreen) {
    resize(draft, spec);
    switch_active(draft, spec);
}

/// The hash that the active Service selects; empty when there is none.
pub fn active_hash(draft: &Draft<'_>, spec: &BlueGreen) -> String {
    draft
        .services
        .get(&spec.active_service)
        .map_or(String::new(), |service| selected_hash(service).to_owned())
}

/// The ReplicaSet behind the active Service, as the status has it.
pub fn active_set<'d>(draft: &'d Draft<'_>, hash: &str) -> Option<&'d Set> {
    draft.sets.iter().find(|set| !hash.is_empty() && set.hash() == hash)
}

/// How many pods the new ReplicaSet gets: a preview may be smaller until it passed its gate.
fn preview_size(draft: &Draft<'_>, spec: &BlueGreen) -> i64 {
    let n = draft.n();
    let Some(preview) = spec.preview_replica_count else { return n };
    let observed = &draft.observed;
    let active = active_set(draft, observed.active());
    let is_new = active.is_some_and(|set| Some(set.name()) == draft.new_set().map(Set::name));
    // ARGO: the Service itself is asked too. Between its switch and the status that tells of it, a pause would shrink
    // the version that users are on to the size of a preview.
    let serves = active_hash(draft, spec) == *draft.current_hash();
    // ARGO: what is gone back to is no preview: nobody looks at it, and with seconds until promotion no pause would ever let it
    // grow, so that users stayed where they were (L1). scenarios/analysis/blue_green_undone_while_it_is_asked_after.yaml
    let is_back = promotion::is_fast_rollback(draft);
    let is_small = draft.facts.is_sabotaged(Sabotage::SmallPreviewForUsers);
    if active.is_none() || ((is_new || serves || is_back || draft.is_promoting_fully()) && !is_small) {
        return n;
    }
    if &*draft.current_hash() != observed.current() {
        return preview;
    }
    if !draft.spec.paused && observed.pause_conditions().is_empty() && observed.checkpoint() {
        n
    } else {
        preview
    }
}

fn resize(draft: &mut Draft<'_>, spec: &BlueGreen) {
    let n = draft.n();
    let abort_delay = replicas::abort_delay(draft);
    // What is gone back to keeps its deadline until users are there. It is the memory that this needs no pause: a crash
    // between taking it away and the switch would forget that (S31).
    let is_going_back = draft.new_set().is_some_and(|new| new.hash() != active_hash(draft, spec));
    replicas::clear_deadlines(draft, abort_delay.is_some() || is_going_back);
    if let (Some(index), true) = (draft.stable, draft.stable != draft.new) {
        let drained = draft.facts.is_sabotaged(Sabotage::DrainBeforeSwitch)
            && draft.new_set().is_some_and(|new| new.available() >= n);
        draft.scale(index, if drained { 0 } else { n }, false, "the stable version keeps its size");
    }
    if let Some(index) = draft.new {
        let before = draft.sets[index].wished();
        let mut size = preview_size(draft, spec);
        if draft.is_aborted() && draft.stable.is_some() && draft.stable != draft.new {
            // INVARIANT: S15, an aborted version never grows; a delay of 0 keeps what there is.
            size = size.min(before);
        }
        match abort_delay {
            None => {
                draft.scale(index, size, false, "the new version stands beside the old one");
            }
            Some(delay) => resize_aborted(draft, spec, index, delay, size),
        }
        workload::retire_progressively(draft, before, size);
    }
    let keeps_all = draft.facts.is_sabotaged(Sabotage::KeepSuperseded);
    if draft.observed.is_paused_for("InconclusiveAnalysisRun")
        || analysis::keeps_old_sets(draft, spec)
        || keeps_all
    {
        return;
    }
    let delay = spec.scale_down_delay_seconds.unwrap_or(replicas::DEFAULT_DELAY);
    let mut counted = 0;
    for index in replicas::others_by_revision(draft) {
        if replicas::is_referenced(draft, index) {
            continue;
        }
        let limit = spec.scale_down_delay_revision_limit;
        let size = replicas::delayed_size(draft, index, delay, limit, n, &mut counted);
        draft.scale(index, size, false, "its version is no longer used");
    }
}

/// An aborted new version is kept for a while, so that a second thought costs nothing.
fn resize_aborted(draft: &mut Draft<'_>, spec: &BlueGreen, index: usize, delay: i64, size: i64) {
    // ARGO: pods that the active Service still selects are never taken away (Q1).
    let serving = draft.sets[index].hash() == active_hash(draft, spec);
    // A clock that was ahead when it was aborted costs a second delay, not one after the other.
    let since = draft.observed.aborted_at.unwrap_or(draft.stamp()).min(draft.stamp());
    match draft.sets[index].deadline() {
        Deadline::Unreadable => {
            draft.scale(index, size, true, "the new version stands beside the old one");
        }
        // INVARIANT: S7, its time begins when users have left it, however it has served before.
        // scenarios/races/aborted_again_right_after_the_switch.yaml
        Deadline::At(_) if serving => {
            replicas::note_desired(draft, index);
            replicas::clear_deadline(draft, index);
        }
        // One of before this abort says nothing: each gives the whole time. scenarios/blue_green/aborted_twice.yaml
        Deadline::At(at) if at >= since.plus_seconds(delay) => {
            if at.time() > draft.now {
                replicas::note_desired(draft, index);
                replicas::wait_for_deadline(draft, index, at);
            } else {
                draft.scale(index, 0, true, "its update was aborted");
            }
        }
        Deadline::At(_) | Deadline::None => {
            replicas::note_desired(draft, index);
            let n = draft.n();
            let carried = draft.stable_set().is_some_and(|stable| stable.available() >= n);
            if carried && !serving && draft.sets[index].wished() > 0 {
                replicas::set_deadline(draft, index, delay);
            }
        }
    }
}

/// Whether the new ReplicaSet stands with the size it should have now.
pub fn is_ready(draft: &Draft<'_>, spec: &BlueGreen) -> bool {
    let size = preview_size(draft, spec);
    draft.new_set().is_some_and(|new| new.wished() == size && new.available() == size)
}

/// Whether nothing needs to be waited for: everything was decided before, or traffic is already there.
fn is_fast_tracked(draft: &Draft<'_>, spec: &BlueGreen) -> bool {
    let active = active_hash(draft, spec);
    promotion::is_fast_rollback(draft)
        || draft.is_promoting_fully()
        || (active.is_empty() && draft.distinct_stable().is_none())
        || active == *draft.current_hash()
}

/// Begins and ends the pause between preview and switch.
fn pause(draft: &mut Draft<'_>, spec: &BlueGreen) {
    if draft.observed.is_aborted() && !draft.course.abort_cleared {
        return;
    }
    if replicas::is_halted(draft) {
        return;
    }
    if !is_ready(draft, spec) {
        return spend(draft, spec);
    }
    let needs_pause = (!spec.auto_promotion || spec.auto_promotion_seconds > 0)
        && !draft.facts.is_sabotaged(Sabotage::PromoteUnasked);
    if is_fast_tracked(draft, spec) || draft.observed.checkpoint() || !needs_pause {
        draft.course.pauses_removed.push(PAUSE);
        return;
    }
    if !analysis::allows_switch(draft, spec) {
        return;
    }
    if draft.observed.is_paused_for(PAUSE) {
        if is_pause_over(draft, spec) {
            draft.course.pauses_removed.push(PAUSE);
        } else if let Some(end) = automatic_end(draft, spec) {
            draft.wake_at(end.plus(Span::millis(1)), "the pause before promotion");
        }
    } else if draft.observed.controller_pause != Some(true) {
        draft.course.pauses_added.push(PAUSE);
    }
}

/// Lets the time of a pause run out while pods are missing. What is waited for then are the pods, and the deadline counts.
// ARGO: the reference looks at a pause only while the new version is ready. Pods that are lost in it and never come back
// leave the Rollout paused for ever, though nobody is asked for anything (L1).
// scenarios/blue_green/timed_pause_ends_without_pods.yaml
fn spend(draft: &mut Draft<'_>, spec: &BlueGreen) {
    if !draft.observed.is_paused_for(PAUSE) {
        return;
    }
    match automatic_end(draft, spec) {
        Some(end) if draft.now > end => draft.course.pauses_spent.push(PAUSE),
        Some(end) => draft.wake_at(end.plus(Span::millis(1)), "the pause before promotion"),
        None => {}
    }
}

fn automatic_end(draft: &Draft<'_>, spec: &BlueGreen) -> Option<tidegate_api::time::Time> {
    if !spec.auto_promotion || spec.auto_promotion_seconds <= 0 {
        return None;
    }
    let condition = draft.observed.pause_conditions().iter().find(|p| p.reason.as_deref() == Some(PAUSE))?;
    Some(condition.start?.plus_seconds(spec.auto_promotion_seconds).time())
}

fn is_pause_over(draft: &Draft<'_>, spec: &BlueGreen) -> bool {
    if !draft.course.pauses_added.is_empty() {
        return false;
    }
    if draft.observed.checkpoint() || draft.facts.is_sabotaged(Sabotage::PromoteUnasked) {
        return true;
    }
    let paused = draft.observed.is_paused_for(PAUSE);
    // ARGO: a person who resumes promotes, also where seconds were given (Q8).
    let resumed = draft.observed.controller_pause == Some(true) && !paused;
    if !spec.auto_promotion {
        return resumed;
    }
    if spec.auto_promotion_seconds <= 0 || resumed {
        return true;
    }
    automatic_end(draft, spec).is_some_and(|end| draft.now > end)
}

/// Points the active Service at the version that should serve.
fn switch_active(draft: &mut Draft<'_>, spec: &BlueGreen) {
    let n = draft.n();
    if draft.observed.is_aborted() && !draft.course.abort_cleared {
        // ARGO: back to stable as soon as stable can carry it, whatever the state of the new pods (Q1). Where no pods are
        // wished there is nothing to carry, and the pods that come next are those of the stable version (L5).
        let stable = draft.stable_set().filter(|stable| stable.available() >= n);
        if let Some(hash) = stable.map(|stable| stable.hash().to_owned()) {
            switch(draft, &spec.active_service, &hash);
        } else {
            draft.because(Reason::WaitingFor(
                "the stable version before the active Service moves back".into(),
            ));
        }
        return;
    }
    if replicas::is_halted(draft) {
        return;
    }
    // ARGO: the reference takes an active Service without a hash for one that nobody uses yet and gives it to the new
    // version. If there is a stable version, its users come first (S13). scenarios/races/active_service_edited_by_hand.yaml
    let lost = active_hash(draft, spec).is_empty();
    if let Some(stable) = draft.distinct_stable().filter(|_| lost) {
        if stable.available() >= n {
            let hash = stable.hash().to_owned();
            switch(draft, &spec.active_service, &hash);
        }
        return;
    }
    let unguarded = draft.facts.is_sabotaged(Sabotage::SwitchBeforeAvailable)
        || (draft.facts.is_sabotaged(Sabotage::SwitchAtFirstPod)
            && draft.new_set().is_some_and(|new| new.available() > 0));
    if !unguarded && (!is_ready(draft, spec) || !draft.new_set().is_some_and(|new| new.is_saturated(n))) {
        draft.because(Reason::WaitingFor("all pods of the new version".into()));
        return;
    }
    if is_fast_tracked(draft, spec) || (is_pause_over(draft, spec) && analysis::allows_switch(draft, spec)) {
        let hash = draft.current_hash();
        switch(draft, &spec.active_service, &hash);
    }
}

fn sync(mut draft: Draft<'_>, spec: &BlueGreen, changed: bool) -> Plan {
    status::begin(&mut draft);
    let observed = draft.observed.clone();
    draft.status.stable = observed.stable.clone();
    draft.status.step_index = None;
    if changed {
        status::reset(&mut draft);
    } else if draft.is_promoting_fully() || promotion::is_in_rollback_window(&draft) {
        draft.course.pauses_cleared = true;
        draft.course.abort_cleared = true;
    }
    let selected = |name: &str| draft.services.get(name).map(|service| selected_hash(service).into());
    let mut mine = BlueGreenStatus {
        active: selected(&spec.active_service),
        preview: selected(&spec.preview_service).filter(|_| !spec.preview_service.is_empty()),
        ..BlueGreenStatus::default()
    };
    let checkpoint = spec.preview_replica_count.is_some_and(|count| {
        let available = draft.new_set().map(Set::available) == Some(count);
        (!changed || draft.facts.is_sabotaged(Sabotage::CarryOver))
            && (observed.checkpoint() || (is_pause_over(&draft, spec) && available && is_ready(&draft, spec)))
    });
    let active = mine.active.clone().unwrap_or_default();
    mine.checkpoint = Some(checkpoint && !draft.is_aborted());
    draft.status.blue_green = Some(mine);
    status::count_active(&mut draft, &active);
    if !changed && let Some(reason) = promotion::reason_for_blue_green(&draft) {
        if let Some(mine) = &mut draft.status.blue_green {
            mine.checkpoint = Some(false);
        }
        promotion::promote(&mut draft, &reason);
    }
    status::persist(draft)
}
