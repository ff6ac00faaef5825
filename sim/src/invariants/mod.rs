//! What must hold whatever happens. One file per invariant; [`all`] lists them.
//!
//! The names are those of the design (S1, L1, ...). An invariant blames the controller only for its own writes, and
//! only when the write is wrong both by the truth and by what the controller could know when it decided: pods that die
//! and watches that lag are nobody's fault.

mod abort_completes;
mod abort_of_nothing_is_nothing;
mod abort_wins;
mod analysis_ends;
mod bad_stable_does_not_block;
mod budgets;
mod capacity_before_traffic;
mod clear_ownership;
mod comes_to_an_end;
mod commands_work;
mod delays_are_kept;
mod evidence_before_destruction;
mod foreign_data_is_kept;
mod history_is_bounded;
mod intent_is_kept;
mod migration;
mod no_destruction;
mod no_early_exposure;
mod no_ghosts;
mod no_uninvited_rollout;
mod one_budget;
mod one_run_a_question;
mod pauses_are_kept;
mod promotion_gate;
mod quiet_when_done;
mod routed;
mod scale_at_any_time;
mod scaler_reads_the_truth;
mod services_have_pods;
mod status_is_true;
mod step_discipline;
mod superseded_goes;
mod traffic_before_scale_down;
mod verdicts_need_evidence;
mod version_truth;
mod view;

use std::fmt;

use tidegate_api::object::{Key, Kind, PauseCondition, RolloutBody, RolloutStatus};
use tidegate_api::time::Time;
use tidegate_controller::rollout::{analysis, experiment};

use crate::world::{Happened, Observer, World, Writer};
use view::Views;

/// Something that must hold at every moment, or whenever the world has come to rest.
pub trait Invariant {
    /// Its name in the design.
    fn name(&self) -> &'static str;

    /// Judges what just happened.
    /// `known` is what the controller knew when it started its latest calls.
    fn saw(&mut self, _world: &World, _what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        Ok(())
    }

    /// Judges a world in which nothing is under way.
    fn at_rest(&mut self, _world: &World) -> Result<(), Violation> {
        Ok(())
    }
}

/// An invariant that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Name of the invariant.
    pub id: &'static str,
    /// When.
    pub at: Time,
    /// The objects concerned: the one that was written, or the Rollouts of a world at rest.
    pub objects: Vec<Key>,
    /// What was seen.
    pub message: String,
}

impl Violation {
    /// A violation now. Which objects it concerns is added by the [`Watchdog`], which knows the event.
    pub fn new(id: &'static str, world: &World, message: impl Into<String>) -> Violation {
        Violation { id, at: world.now(), objects: Vec::new(), message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}: {}", self.id, self.at, self.message)
    }
}

/// Every invariant, fresh. The more special ones come first: where one write breaks two, theirs is the better name.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(clear_ownership::ClearOwnership),
        Box::new(abort_of_nothing_is_nothing::AbortOfNothingIsNothing),
        Box::new(abort_wins::AbortWins),
        Box::new(services_have_pods::ServicesHavePods),
        Box::new(no_destruction::NoDestruction),
        Box::new(capacity_before_traffic::CapacityBeforeTraffic),
        Box::new(traffic_before_scale_down::TrafficBeforeScaleDown),
        Box::new(evidence_before_destruction::EvidenceBeforeDestruction),
        Box::<delays_are_kept::DelaysAreKept>::default(),
        Box::new(no_early_exposure::NoEarlyExposure),
        Box::new(budgets::Budgets),
        Box::<one_budget::OneBudget>::default(),
        Box::new(foreign_data_is_kept::ForeignDataIsKept),
        Box::new(step_discipline::StepDiscipline),
        Box::new(pauses_are_kept::PausesAreKept),
        Box::new(verdicts_need_evidence::VerdictsNeedEvidence),
        Box::<one_run_a_question::OneRunAQuestion>::default(),
        Box::<no_ghosts::NoGhosts>::default(),
        Box::new(promotion_gate::PromotionGate),
        Box::<intent_is_kept::IntentIsKept>::default(),
        Box::<version_truth::VersionTruth>::default(),
        Box::<no_uninvited_rollout::NoUninvitedRollout>::default(),
        Box::new(status_is_true::StatusIsTrue),
        Box::new(scaler_reads_the_truth::ScalerReadsTheTruth),
        Box::new(migration::Migration),
        Box::new(analysis_ends::AnalysisEnds),
        Box::new(abort_completes::AbortCompletes),
        Box::new(superseded_goes::SupersededGoes),
        Box::new(bad_stable_does_not_block::BadStableDoesNotBlock),
        Box::new(scale_at_any_time::ScaleAtAnyTime),
        Box::new(history_is_bounded::HistoryIsBounded),
        Box::<commands_work::CommandsWork>::default(),
        Box::new(comes_to_an_end::ComesToAnEnd),
        Box::<quiet_when_done::QuietWhenDone>::default(),
    ]
}

/// Watches a run with every invariant and keeps the first violation of each.
pub struct Watchdog {
    known: Views,
    invariants: Vec<Box<dyn Invariant>>,
    violations: Vec<Violation>,
    checks: u64,
}

impl Default for Watchdog {
    fn default() -> Watchdog {
        Watchdog { known: Views::default(), invariants: all(), violations: Vec::new(), checks: 0 }
    }
}

impl Watchdog {
    /// One that knows no invariant.
    pub fn blind() -> Watchdog {
        Watchdog { invariants: Vec::new(), ..Watchdog::default() }
    }

    /// Judges a world that has come to rest.
    pub fn at_rest(&mut self, world: &World) {
        let rollouts = || world.store().of_kind(&Kind::Rollout).map(|object| object.key()).collect();
        self.judge(rollouts, |invariant| invariant.at_rest(world));
    }

    /// The first violation.
    pub fn violation(&self) -> Option<&Violation> {
        self.violations.first()
    }

    /// The first violation of each invariant, in the order in which they happened.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// How many times an invariant was asked.
    pub fn checks(&self) -> u64 {
        self.checks
    }

    fn judge(
        &mut self,
        objects: impl Fn() -> Vec<Key>,
        mut ask: impl FnMut(&mut dyn Invariant) -> Result<(), Violation>,
    ) {
        for invariant in &mut self.invariants {
            self.checks += 1;
            if let Err(violation) = ask(&mut **invariant)
                && !self.violations.iter().any(|known| known.id == violation.id)
            {
                self.violations.push(Violation { objects: objects(), ..violation });
            }
        }
    }
}

impl Observer for Watchdog {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        if self.invariants.is_empty() {
            return;
        }
        let objects = || match what {
            Happened::Stored { before, after, .. } => {
                after.or(*before).map(|object| object.key()).into_iter().collect()
            }
            _ => Vec::new(),
        };
        self.known.note(world, what);
        let known = std::mem::take(&mut self.known);
        self.judge(objects, |invariant| invariant.saw(world, what, &known));
        self.known = known;
    }
}

/// A Rollout before and after a write of the controller; nothing for any other event.
fn rewritten<'a>(
    what: &Happened<'a>,
) -> Option<(&'a RolloutBody, &'a RolloutBody, &'a tidegate_api::object::Object)> {
    let Happened::Stored { by: Writer::Controller, before: Some(before), after: Some(after), .. } = what
    else {
        return None;
    };
    Some((before.rollout()?, after.rollout()?, after))
}

/// Whether an update was stopped because its evidence decides nothing: anywhere on its way, and as often as that happens.
fn is_for_want_of_evidence(pause: &PauseCondition) -> bool {
    [analysis::INCONCLUSIVE, experiment::INCONCLUSIVE].map(Some).contains(&pause.reason.as_deref())
}

/// Whether an update pauses where it is meant to. For want of evidence it may pause at any time, and again.
fn has_planned_pause(status: &RolloutStatus) -> bool {
    status.pause_conditions().iter().any(|pause| !is_for_want_of_evidence(pause))
}

/// Whether a write begins another epoch: another template or other steps, which resets what the old one reached.
fn is_another_epoch(before: &RolloutBody, after: &RolloutBody) -> bool {
    before.status.current() != after.status.current() || before.status.step_hash != after.status.step_hash
}
