//! Which analysis runs a Rollout has, and what their verdicts do to it.
//!
//! A run that decides now is named in the status; all other runs of the Rollout are history. A question that is no longer
//! asked (superseded, skipped, aborted) is terminated, and its answer is never looked at again (S21, S22).

mod history;
mod make;
mod references;

pub use references::problems;

use std::sync::Arc;

use tidegate_api::analysis::RolloutAnalysis;
use tidegate_api::object::{Object, RunStatus, Text};
use tidegate_api::spec::{BlueGreen, Canary, StepKind};

use super::canary::current_step;
use super::draft::Draft;
use super::{blue_green, conditions, promotion, services};
use crate::edit::Edit;
use crate::names::HASH_LABEL;
use crate::plan::{Guard, IfRefused, Reason, Verb};
use crate::sabotage::Sabotage;

/// Why a Rollout is paused whose evidence decides nothing.
pub const INCONCLUSIVE: &str = "InconclusiveAnalysisRun";

/// Condition of a Rollout that cannot make a run which it needs.
const TROUBLE: &str = "ReconciliationError";

/// Label of runs: the step they belong to.
pub const STEP_INDEX: &str = "step-index";
/// Label of runs: what they are for.
pub const ROLLOUT_TYPE: &str = "rollout-type";

/// What a run is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Question {
    /// After the switch of a blue-green update.
    PostPromotion,
    /// Before it.
    PrePromotion,
    /// In a step of a canary, with its index.
    Step(usize),
    /// While a canary goes on.
    Background,
}

impl Question {
    /// The value of the label [`ROLLOUT_TYPE`].
    pub fn kind(self) -> &'static str {
        match self {
            Question::PostPromotion => "PostPromotion",
            Question::PrePromotion => "PrePromotion",
            Question::Step(_) => "Step",
            Question::Background => "Background",
        }
    }

    fn trouble(self) -> &'static str {
        match self {
            Question::PostPromotion => "Blue/green post-promotion analysis phase error/failed",
            Question::PrePromotion => "Blue/green pre-promotion analysis phase error/failed",
            Question::Step(_) => "Step-based analysis phase error/failed",
            Question::Background => "Background analysis phase error/failed",
        }
    }
}

/// The runs that decide now, as this pass leaves them.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    step: Option<Arc<Object>>,
    background: Option<Arc<Object>>,
    pre: Option<Arc<Object>>,
    post: Option<Arc<Object>>,
}

fn phase(run: &Object) -> &str {
    run.analysis_run().map_or("", |body| body.status.phase())
}

/// What a run says about the question. One that a person ended has not been answered, whatever phase it ends in.
// ARGO: in the reference a cancelled gate is a passed one (S20, #4604).
fn verdict(run: &Object) -> &str {
    match phase(run) {
        "Successful" if is_told_to_end(run) => "Inconclusive",
        phase => phase,
    }
}

fn is_over(run: &Object) -> bool {
    run.analysis_run().is_none_or(|body| body.status.is_over())
}

fn is_told_to_end(run: &Object) -> bool {
    run.analysis_run().is_some_and(|body| body.spec.spec().terminate)
}

/// The runs that the stored status names, those that exist.
fn named(draft: &Draft<'_>) -> Runs {
    let find = |status: Option<&RunStatus>| {
        let name = status?.name.as_deref().filter(|name| !name.is_empty())?;
        draft.world.runs.iter().find(|run| &*run.meta.name == name).cloned()
    };
    let (canary, blue_green) = (draft.observed.canary.as_ref(), draft.observed.blue_green.as_ref());
    Runs {
        step: find(canary.and_then(|canary| canary.step_run.as_ref())),
        background: find(canary.and_then(|canary| canary.background_run.as_ref())),
        pre: find(blue_green.and_then(|blue_green| blue_green.pre_run.as_ref())),
        post: find(blue_green.and_then(|blue_green| blue_green.post_run.as_ref())),
    }
}

impl Runs {
    fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        [&self.post, &self.pre, &self.step, &self.background].into_iter().flatten()
    }

    /// Leaves out what was asked before an abort. A pass that could not ask anew, because pods are missing or the Rollout is
    /// paused by hand, would hand it on to one that no longer knows of the abort.
    // INVARIANT: S21, a run of another epoch is no answer.
    // ARGO: in the reference a bad run after the switch ends each retry as soon as the Service has moved again.
    // scenarios/analysis/blue_green_bad_after_then_retried.yaml
    fn forget(&mut self, draft: &mut Draft<'_>, before: &Runs) {
        for run in [&mut self.post, &mut self.pre, &mut self.step, &mut self.background] {
            if let Some(old) = run.take_if(|run| before.all().any(|old| old.meta.name == run.meta.name)) {
                terminate(draft, &old);
            }
        }
    }
}

/// Whether nothing is to be asked: all is decided, or there is nothing to compare with.
fn asks_nothing(draft: &Draft<'_>) -> bool {
    draft.is_fully_promoted()
        || draft.is_aborted()
        || draft.is_promoting_fully()
        || promotion::is_fast_rollback(draft)
        || draft.observed.stable_hash().is_empty()
}

/// The analysis of one pass of a canary. Says whether the update now waits for a person.
pub fn follow_canary(draft: &mut Draft<'_>, spec: &Canary) -> bool {
    let before = named(draft);
    let mut after = Runs::default();
    if asks_nothing(draft) {
        before.all().for_each(|run| terminate(draft, run));
    } else {
        after.step = step_run(draft, spec, before.step.clone());
        after.background = background_run(draft, spec, before.background.clone());
    }
    settle(draft, before, after)
}

/// The analysis of one pass of a blue-green update. Says whether the update now waits for a person.
pub fn follow_blue_green(draft: &mut Draft<'_>, spec: &BlueGreen) -> bool {
    let before = named(draft);
    let mut after = Runs { pre: before.pre.clone(), post: before.post.clone(), ..Runs::default() };
    if asks_nothing(draft) {
        before.all().for_each(|run| terminate(draft, run));
    } else {
        let has_run = |run: &Option<Arc<Object>>| run.is_some() && !draft.is_retried();
        let (has_pre, has_post) = (has_run(&before.pre), has_run(&before.post));
        let skips = skips_pre_promotion(draft, spec, has_pre);
        let asked = spec.pre_promotion_analysis.clone();
        after.pre = promotion_run(draft, Question::PrePromotion, asked, skips, before.pre.clone());
        let skips = skips_post_promotion(draft, spec, has_post);
        let asked = spec.post_promotion_analysis.clone();
        after.post = promotion_run(draft, Question::PostPromotion, asked, skips, before.post.clone());
    }
    settle(draft, before, after)
}

/// What is the same for both strategies: history, events, what the status will say.
fn settle(draft: &mut Draft<'_>, before: Runs, mut after: Runs) -> bool {
    if draft.is_retried() {
        after.forget(draft, &before);
    }
    history::clean_up(draft, &before, &after);
    tell(draft, &after);
    draft.runs = Some(after);
    draft.course.pauses_added.contains(&INCONCLUSIVE)
}

/// Tells a run to end, unless it has ended or was told.
fn terminate(draft: &mut Draft<'_>, run: &Arc<Object>) {
    let keeps = draft.facts.is_sabotaged(Sabotage::KeepAsking);
    if is_over(run) || is_told_to_end(run) || run.meta.deleting.is_some() || keeps {
        return;
    }
    draft.because(Reason::Note(format!("{} is no longer asked", run.meta.name).into()));
    let guard = Guard::Identity(run.meta.uid.clone());
    draft.write(run.key(), guard, Verb::Edit(vec![Edit::Terminate]), Vec::new(), IfRefused::GoOn);
}

fn step_run(draft: &mut Draft<'_>, spec: &Canary, current: Option<Arc<Object>>) -> Option<Arc<Object>> {
    if !draft.observed.pause_conditions().is_empty() || draft.spec.paused {
        return current;
    }
    let step = current_step(draft, spec);
    let asked = step.and_then(|index| match &spec.steps[index].kind {
        StepKind::Analysis(asked) => Some((index, asked.clone())),
        _ => None,
    });
    let asked = asked.filter(|(_, asked)| !asked.templates.is_empty());
    let is_of_this_step = |run: &Arc<Object>| {
        let index = run.meta.labels.get(STEP_INDEX).and_then(|text| text.parse::<usize>().ok());
        asked.as_ref().is_some_and(|(step, _)| index == Some(*step))
    };
    if let Some(run) = current.as_ref().filter(|run| !is_of_this_step(run)) {
        if draft.facts.is_sabotaged(Sabotage::ListenToThePast) && verdict(run) == "Inconclusive" {
            draft.course.pauses_added.push(INCONCLUSIVE);
            return current;
        }
        terminate(draft, run);
        return None;
    }
    let (index, asked) = asked?;
    ask_or_react(draft, Question::Step(index), &asked, current)
}

fn background_run(draft: &mut Draft<'_>, spec: &Canary, current: Option<Arc<Object>>) -> Option<Arc<Object>> {
    let Some(asked) = spec.analysis.clone().filter(|asked| !asked.templates.is_empty()) else {
        if let Some(run) = &current {
            terminate(draft, run);
        }
        return None;
    };
    let starting = asked.starting_step.filter(|_| !spec.steps.is_empty());
    if draft.observed.current().is_empty() || starting > Some(draft.observed.index().unwrap_or(0)) {
        return None;
    }
    if draft.observed.is_paused_for(INCONCLUSIVE) || draft.spec.paused {
        return current;
    }
    ask_or_react(draft, Question::Background, &asked, current)
}

fn promotion_run(
    draft: &mut Draft<'_>,
    question: Question,
    asked: Option<Arc<RolloutAnalysis>>,
    skips: bool,
    current: Option<Arc<Object>>,
) -> Option<Arc<Object>> {
    let Some(asked) = asked.filter(|asked| !asked.templates.is_empty()) else {
        if let Some(run) = &current {
            terminate(draft, run);
        }
        return None;
    };
    if skips {
        if let Some(run) = &current {
            terminate(draft, run);
        }
        return current;
    }
    if draft.observed.is_paused_for(INCONCLUSIVE) || draft.spec.paused {
        return current;
    }
    ask_or_react(draft, question, &asked, current)
}

/// Whether there is nothing to look at before the switch.
fn skips_pre_promotion(draft: &Draft<'_>, spec: &BlueGreen, has_run: bool) -> bool {
    let (hash, active) = (draft.current_hash(), blue_green::active_hash(draft, spec));
    if hash.is_empty() || *hash == *draft.observed.stable_hash() || active.is_empty() || active == *hash {
        return true;
    }
    if draft.facts.is_sabotaged(Sabotage::NeverAsk) {
        return true;
    }
    let has_run = has_run && !draft.facts.is_sabotaged(Sabotage::CancelledGatePasses);
    !has_run && !blue_green::is_ready(draft, spec)
}

/// Whether there is nothing to look at after the switch.
fn skips_post_promotion(draft: &Draft<'_>, spec: &BlueGreen, has_run: bool) -> bool {
    let (hash, active) = (draft.current_hash(), blue_green::active_hash(draft, spec));
    if hash.is_empty() || *hash == *draft.observed.stable_hash() || active != *hash {
        return true;
    }
    let n = draft.n();
    if !has_run && draft.traffic.is_unregistered {
        return true;
    }
    !has_run && !draft.new_set().is_some_and(|new| new.is_saturated(n))
}

/// Makes a run where a new one is needed; does what the verdict of the current one demands.
fn ask_or_react(
    draft: &mut Draft<'_>,
    question: Question,
    asked: &RolloutAnalysis,
    current: Option<Arc<Object>>,
) -> Option<Arc<Object>> {
    let forgets = draft.facts.is_sabotaged(Sabotage::AskAgain);
    let current =
        current.filter(|run| run.meta.deleting.is_none() && is_of_this_version(draft, run) && !forgets);
    let resumed = is_resumed(draft);
    let Some(run) = current.as_ref().filter(|run| !needs_new(draft, resumed, run)).cloned() else {
        if resumed && current.is_some() {
            // What the person did has led to this run; the next verdict pauses again.
            draft.course.pauses_removed.push(INCONCLUSIVE);
        }
        return make::run(draft, question, asked, current.as_deref());
    };
    match verdict(&run) {
        "Failed" | "Error" if draft.facts.is_sabotaged(Sabotage::IgnoreVerdict) => {}
        // A background run holds nothing up, so that ending it by hand takes nothing for granted.
        "Inconclusive" if question == Question::Background && phase(&run) != "Inconclusive" => {}
        "Inconclusive" => draft.course.pauses_added.push(INCONCLUSIVE),
        "Failed" | "Error" => {
            let message = run.analysis_run().and_then(|body| body.status.message.clone()).unwrap_or_default();
            let why = if message.is_empty() {
                question.trouble().to_owned()
            } else {
                format!("{}: {message}", question.trouble())
            };
            draft.because(Reason::Aborted(why.as_str().into()));
            draft.course.abort.get_or_insert(why.into());
        }
        _ => {}
    }
    Some(run)
}

/// INVARIANT: S21, a run of another version is no answer.
fn is_of_this_version(draft: &Draft<'_>, run: &Object) -> bool {
    hash_label(run).is_none_or(|hash| *hash == draft.current_hash())
}

/// Whether a person has resumed what was paused for want of evidence.
fn is_resumed(draft: &Draft<'_>) -> bool {
    let observed = &draft.observed;
    observed.controller_pause == Some(true)
        && !observed.is_paused_for("CanaryPauseStep")
        && !observed.is_paused_for("BlueGreenPause")
}

fn needs_new(draft: &Draft<'_>, resumed: bool, run: &Object) -> bool {
    if draft.facts.is_sabotaged(Sabotage::ReuseOldRun) {
        return false;
    }
    // After a retry the time of the abort is still there once.
    if resumed { verdict(run) == "Inconclusive" } else { draft.observed.aborted_at.is_some() }
}

/// Tells of phases of the current runs that the stored status does not know.
fn tell(draft: &mut Draft<'_>, runs: &Runs) {
    let (canary, blue_green) =
        (draft.observed.canary(), draft.observed.blue_green.clone().unwrap_or_default());
    let entries = [
        ("PostPromotion", &runs.post, blue_green.post_run),
        ("PrePromotion", &runs.pre, blue_green.pre_run),
        ("Step", &runs.step, canary.step_run),
        ("Background", &runs.background, canary.background_run),
    ];
    for (kind, run, before) in entries {
        let Some(run) = run else { continue };
        let new = phase(run).to_owned();
        let name = &run.meta.name;
        let old = before.as_ref().map(|before| before.status.clone().unwrap_or_default());
        let same_run = before.is_none_or(|before| before.name.as_deref() == Some(&**name));
        if new.is_empty() || !same_run || old.as_deref() == Some(&*new) {
            continue;
        }
        let old = old.unwrap_or_else(|| "NoPreviousStatus".into());
        let message = format!("{kind} Analysis Run '{name}' Status New: '{new}' Previous: '{old}'");
        let reason = format!("AnalysisRun{new}");
        if matches!(&*new, "Failed" | "Error") {
            draft.warn_with_status(&reason, message);
        } else {
            draft.tell_with_status(&reason, message);
        }
    }
}

/// Writes the current runs into the status of this pass, if the pass looked at them.
pub fn record(draft: &mut Draft<'_>) {
    let Some(runs) = draft.runs.clone() else { return forget_unseen(draft) };
    // ARGO: the reference tries again in silence, and the update seems to go on.
    match draft.analysis_trouble.clone() {
        Some(_) if draft.facts.is_sabotaged(Sabotage::SilentTrouble) => {}
        Some(why) => {
            let now = draft.stamp();
            let known = draft.status.condition(TROUBLE).and_then(|known| known.message.clone());
            if known.as_ref() != Some(&why) {
                conditions::renew(&mut draft.status, TROUBLE, "True", "AnalysisRunCreateError", &why, now);
                draft.warn_with_status("AnalysisRunCreateError", why.to_string());
            }
        }
        None => conditions::remove(&mut draft.status, TROUBLE),
    }
    let of = |run: &Option<Arc<Object>>| {
        run.as_ref().map(|run| {
            let status = run.analysis_run().map(|body| body.status.clone()).unwrap_or_default();
            RunStatus {
                name: Some(run.meta.name.clone()),
                status: Some(status.phase().into()),
                message: status.message.clone().filter(|message| !message.is_empty()),
                rest: None,
            }
        })
    };
    // A run whose step is done belongs to the past.
    let same_step = draft.status.index().unwrap_or(0) == draft.observed.index().unwrap_or(0);
    if draft.spec.canary().is_some() {
        let canary = draft.status.canary.get_or_insert_default();
        canary.step_run = of(&runs.step).filter(|_| same_step);
        canary.background_run = of(&runs.background);
    } else {
        let blue_green = draft.status.blue_green.get_or_insert_default();
        blue_green.pre_run = of(&runs.pre);
        blue_green.post_run = of(&runs.post);
    }
}

/// A pass that only changes sizes looks at no run. If it is the one that still knows of an abort, those of before it are
/// not handed on, as in [`Runs::forget`].
fn forget_unseen(draft: &mut Draft<'_>) {
    if !draft.is_retried() {
        return;
    }
    if let Some(canary) = &mut draft.status.canary {
        (canary.step_run, canary.background_run) = (None, None);
    }
    if let Some(blue_green) = &mut draft.status.blue_green {
        (blue_green.pre_run, blue_green.post_run) = (None, None);
    }
}

/// Whether the run of the current step has succeeded.
pub fn step_has_succeeded(draft: &Draft<'_>) -> bool {
    let run = draft.runs.as_ref().and_then(|runs| runs.step.as_ref());
    run.is_some_and(|run| verdict(run) == "Successful" && is_of_this_version(draft, run))
}

/// Whether steps stand still because evidence decides nothing.
pub fn holds_steps(draft: &Draft<'_>) -> bool {
    draft.observed.is_paused_for(INCONCLUSIVE) || draft.course.pauses_added.contains(&INCONCLUSIVE)
}

/// Whether the analysis before the switch allows it.
pub fn allows_switch(draft: &Draft<'_>, spec: &BlueGreen) -> bool {
    let asked = spec.pre_promotion_analysis.as_ref().is_some_and(|asked| !asked.templates.is_empty());
    !asked || has_passed(draft, named(draft).pre.as_ref())
}

/// Whether the analysis after the switch allows the new version to become stable.
pub fn allows_promotion(draft: &Draft<'_>) -> bool {
    let Some(spec) = draft.spec.blue_green() else { return true };
    let asked = spec.post_promotion_analysis.as_ref().is_some_and(|asked| !asked.templates.is_empty());
    !asked || has_passed(draft, named(draft).post.as_ref())
}

/// Whether old versions are kept because the analysis after the switch may still lead back to them.
pub fn keeps_old_sets(draft: &Draft<'_>, spec: &BlueGreen) -> bool {
    let hash = draft.current_hash();
    let is_asked = !asks_nothing(draft) && services::selects(draft, &spec.active_service, &hash);
    spec.scale_down_delay_seconds.is_none() && is_asked && !allows_promotion(draft)
}

fn has_passed(draft: &Draft<'_>, run: Option<&Arc<Object>>) -> bool {
    if draft.facts.is_sabotaged(Sabotage::OpenGates) {
        return true;
    }
    if draft.facts.is_sabotaged(Sabotage::CancelledGatePasses) {
        return run.is_some_and(|run| phase(run) == "Successful");
    }
    // A retried update asks anew: what was answered before its abort counts no more.
    draft.observed.aborted_at.is_none()
        && run.is_some_and(|run| verdict(run) == "Successful" && is_of_this_version(draft, run))
}

/// The hash of the version that a run is about.
fn hash_label(run: &Object) -> Option<&Text> {
    run.meta.labels.get(HASH_LABEL)
}
