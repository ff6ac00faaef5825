//! The draft of a plan: what was seen, what was decided so far in this pass, and the status that comes of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::object::{Key, Object, RolloutStatus, Text};
use tidegate_api::spec::Spec;
use tidegate_api::time::{Stamp, Time};

use super::set::{Deadline, Set};
use crate::edit::Edit;
use crate::names::{DESIRED_REPLICAS, REVISION, SCALE_DOWN_DEADLINE};
use crate::plan::{Guard, IfRefused, Notice, Plan, Reason, Verb, Write};
use crate::world::{Facts, RolloutWorld};

/// A pass in the making.
pub struct Draft<'a> {
    /// What may be looked at.
    pub world: &'a RolloutWorld,
    /// What was asked.
    pub facts: &'a Facts,
    /// The time of this pass.
    pub now: Time,
    /// What the user wants; template and selector come from the referenced workload where there is one.
    pub spec: Cow<'a, Spec>,
    /// The status as it was when the pass began.
    pub observed: Arc<RolloutStatus>,
    /// The status as it will be.
    pub status: RolloutStatus,
    /// Hash of the current template.
    pub hash: Text,
    /// ReplicaSets of this Rollout by creation time, as this pass leaves them.
    pub sets: Vec<Set>,
    /// Which of them has the current template.
    pub new: Option<usize>,
    /// Which of them is stable. May be the same.
    pub stable: Option<usize>,
    /// Services by name, as this pass leaves them.
    pub services: BTreeMap<Text, Arc<Object>>,
    /// What this pass does about pauses and abort.
    pub course: Course,
    /// Whether this pass changed the size of a ReplicaSet.
    pub scaled: bool,
    /// What this pass knows and does about traffic.
    pub traffic: super::traffic::Traffic,
    /// The analysis runs that decide now, once this pass has looked at them.
    pub runs: Option<super::analysis::Runs>,
    /// The Experiment that decides now, once this pass has looked for it.
    pub experiment: Option<super::experiment::Current>,
    /// Why a run that is needed could not be made.
    pub analysis_trouble: Option<Text>,
    /// The revision in the Rollout's annotation, as this pass leaves it.
    revision: Text,
    /// Kubernetes events that go out before those of the next write.
    next_notices: Vec<Notice>,
    /// Kubernetes events that go out once the status is stored.
    status_notices: Vec<Notice>,
    plan: Plan,
}

/// What a pass does about pauses and abort. Carried out when the status is written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Course {
    /// Pause reasons that begin.
    pub pauses_added: Vec<&'static str>,
    /// Pause reasons that end.
    pub pauses_removed: Vec<&'static str>,
    /// Pause reasons whose time is over, though what follows cannot happen yet.
    pub pauses_spent: Vec<&'static str>,
    /// All pauses end.
    pub pauses_cleared: bool,
    /// The update is aborted, with a message.
    pub abort: Option<Text>,
    /// An abort ends.
    pub abort_cleared: bool,
}

impl<'a> Draft<'a> {
    /// An empty draft.
    pub fn new(
        world: &'a RolloutWorld,
        facts: &'a Facts,
        now: Time,
        spec: Cow<'a, Spec>,
        sets: Vec<Set>,
    ) -> Draft<'a> {
        let observed = world.rollout.rollout().map(|body| body.status.clone()).unwrap_or_default();
        let status = carried_over(&observed);
        Draft {
            world,
            facts,
            now,
            spec,
            observed,
            status,
            hash: Text::default(),
            sets,
            new: None,
            stable: None,
            services: world.services.clone(),
            course: Course::default(),
            scaled: false,
            traffic: super::traffic::Traffic::default(),
            runs: None,
            experiment: None,
            analysis_trouble: None,
            revision: world.rollout.meta.annotations.get(REVISION).cloned().unwrap_or_default(),
            next_notices: Vec::new(),
            status_notices: Vec::new(),
            plan: Plan::default(),
        }
    }

    /// The Rollout.
    pub fn rollout(&self) -> &'a Arc<Object> {
        &self.world.rollout
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.world.rollout.meta.name
    }

    /// Wished pods.
    pub fn n(&self) -> i64 {
        self.spec.wished()
    }

    /// The second this pass happens in, as Kubernetes writes it.
    pub fn stamp(&self) -> Stamp {
        self.now.stamp()
    }

    /// The ReplicaSet of the current template.
    pub fn new_set(&self) -> Option<&Set> {
        self.new.map(|i| &self.sets[i])
    }

    /// The stable ReplicaSet.
    pub fn stable_set(&self) -> Option<&Set> {
        self.stable.map(|i| &self.sets[i])
    }

    /// The stable ReplicaSet, if it is not also the one of the current template.
    pub fn distinct_stable(&self) -> Option<&Set> {
        if self.stable == self.new { None } else { self.stable_set() }
    }

    /// Indices of the ReplicaSets that are neither of the two.
    pub fn others(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|i| Some(*i) != self.new && Some(*i) != self.stable).collect()
    }

    /// Hash of the current template's ReplicaSet: its label, or the computed hash where there is none.
    pub fn current_hash(&self) -> Text {
        self.new_set().map_or_else(|| self.hash.clone(), |set| set.hash().into())
    }

    /// Whether the stored status says that the current template is the stable one.
    pub fn is_fully_promoted(&self) -> bool {
        self.observed.stable_hash() == self.observed.current()
    }

    /// Whether the update is aborted, as far as this pass knows.
    pub fn is_aborted(&self) -> bool {
        !self.course.abort_cleared && (self.course.abort.is_some() || self.observed.is_aborted())
    }

    /// Whether a person tries an aborted update again, and no pass has acted on that yet: the time of the abort is there once
    /// more.
    pub fn is_retried(&self) -> bool {
        self.observed.aborted_at.is_some() && !self.is_aborted()
    }

    /// Whether a full promotion is under way. One that was asked for after an abort was noted overrules it; an abort
    /// that comes in the middle of a full promotion ends it.
    // ARGO: the reference lets a full promotion win over every abort, so that nobody can stop it (S15).
    // scenarios/races/abort_ends_a_full_promotion.yaml
    pub fn is_promoting_fully(&self) -> bool {
        let abort_is_news = self.observed.is_aborted() && self.observed.aborted_at.is_none();
        self.observed.promote_full == Some(true) && !abort_is_news
    }

    /// The revision in the Rollout's annotation; empty when there is none.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Sum over all ReplicaSets.
    pub fn sum(&self, of: impl Fn(&Set) -> i64) -> i64 {
        self.sets.iter().map(of).sum()
    }

    /// Notes that this pass writes another revision into the annotation.
    pub fn set_revision(&mut self, revision: &str) {
        self.revision = revision.into();
    }

    /// A line of the trail.
    pub fn because(&mut self, reason: Reason) {
        self.plan.reasons.push(reason);
    }

    /// Looks again at this time, if nothing moves before.
    pub fn wake_at(&mut self, at: Time, what: &str) {
        self.plan.wake = self.plan.wake.or_at(at);
        self.because(Reason::Until { what: what.into(), at });
    }

    /// The pass could not do its work and is to be tried again.
    pub fn fail(&mut self, why: impl Into<Text>) {
        self.plan.failure = Some(why.into());
    }

    /// What must be asked before this can be decided.
    pub fn need(mut self, needs: Vec<crate::plan::Need>) -> Plan {
        self.plan.writes.clear();
        self.plan.told.clear();
        Plan { needs, ..self.plan }
    }

    /// The same, with what load balancers are to be asked.
    pub fn need_of_traffic(mut self) -> Plan {
        let needs = std::mem::take(&mut self.traffic.needs);
        self.need(needs)
    }

    /// An event about the Rollout.
    pub fn notice(&self, reason: &str, message: String) -> Notice {
        let rollout = self.rollout();
        Notice {
            about: rollout.key(),
            uid: rollout.meta.uid.clone(),
            warning: false,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// An event that goes out once the status is stored.
    pub fn tell_with_status(&mut self, reason: &str, message: String) {
        let notice = self.notice(reason, message);
        self.status_notices.push(notice);
    }

    /// An event that goes out with the next write, whatever that is, before its own: what it tells is done by then.
    pub fn tell_with_next_write(&mut self, reason: &str, message: String) {
        let notice = self.notice(reason, message);
        self.next_notices.push(notice);
    }

    /// The same for something that went wrong.
    pub fn warn_with_status(&mut self, reason: &str, message: String) {
        let notice = Notice { warning: true, ..self.notice(reason, message) };
        self.status_notices.push(notice);
    }

    /// An event that goes out when the pass has ended, whatever it wrote.
    pub fn tell(&mut self, notice: Notice) {
        self.plan.told.push(notice);
    }

    /// Nobody is asked again before this time; then the pass looks again.
    pub fn have_patience(&mut self, until: Time, what: &str) {
        self.plan.patience = Some(until);
        self.wake_at(until, what);
    }

    /// Writes already planned.
    pub fn writes(&self) -> &[Write] {
        &self.plan.writes
    }

    /// Plans a write.
    pub fn write(&mut self, key: Key, guard: Guard, verb: Verb, notices: Vec<Notice>, if_refused: IfRefused) {
        let notices = self.next_notices.drain(..).chain(notices).collect();
        self.plan.writes.push(Write { key, guard, verb, notices, if_refused });
    }

    /// Plans a change of an object, in the version that was looked at.
    pub fn edit(&mut self, object: &Object, edits: Vec<Edit>, notices: Vec<Notice>, if_refused: IfRefused) {
        self.write(object.key(), version_of(object), Verb::Edit(edits), notices, if_refused);
    }

    /// Plans a change of a ReplicaSet and shows it to the rest of the pass.
    pub fn edit_set(&mut self, index: usize, edits: Vec<Edit>, notices: Vec<Notice>) {
        let mut object = (**self.sets[index].object()).clone();
        self.edit(&object.clone(), edits.clone(), notices, IfRefused::Stop);
        for edit in &edits {
            // An edit of a ReplicaSet always fits a ReplicaSet; one that did not would change nothing here either.
            let _ = edit.apply(&mut object);
        }
        if let Some(set) = Set::new(Arc::new(object)) {
            self.sets[index] = set;
        }
    }

    /// Gives a ReplicaSet a size. Says whether the size changed. `keep_deadline` protects a deadline that is still
    /// needed when the size becomes 0.
    pub fn scale(&mut self, index: usize, target: i64, keep_deadline: bool, because: &str) -> bool {
        let n = self.n();
        let set = self.sets[index].clone();
        let (from, has_deadline) = (set.wished(), set.deadline() != Deadline::None);
        if from == target && set.desired() == Some(n) && !(n == 0 && has_deadline && !keep_deadline) {
            return false;
        }
        let mut edits = Vec::new();
        let mut notices = Vec::new();
        if from != target {
            edits.push(Edit::Replicas(target));
            let direction = if target > from { "up" } else { "down" };
            let revision = set.annotation(REVISION).unwrap_or("");
            let message = format!(
                "Scaled {direction} ReplicaSet {} (revision {revision}) from {from} to {target}",
                set.name()
            );
            notices.push(self.notice("ScalingReplicaSet", message));
            let (set, because) = (set.name().into(), because.into());
            self.because(Reason::Scaling { set, from, to: target, because });
        }
        if set.desired() != Some(n) {
            edits.push(Edit::Annotation(DESIRED_REPLICAS.into(), Some(n.to_string().into())));
        }
        if target == 0 && has_deadline && !keep_deadline {
            edits.push(Edit::Annotation(SCALE_DOWN_DEADLINE.into(), None));
        }
        if edits.is_empty() {
            return false;
        }
        self.edit_set(index, edits, notices);
        self.scaled |= from != target;
        from != target
    }

    /// Plans the status as the last write, if it means something else than before, and ends the pass.
    pub fn finish(mut self) -> Plan {
        let to = std::mem::take(&mut self.status);
        if !self.observed.means(&to) {
            let edit = Edit::Status(self.observed.clone(), Arc::new(to));
            let notices = std::mem::take(&mut self.status_notices);
            let rollout = self.rollout().clone();
            self.edit(&rollout, vec![edit], notices, IfRefused::Stop);
        }
        self.plan
    }

    /// Ends the pass without a status.
    pub fn finish_without_status(self) -> Plan {
        self.plan
    }
}

/// The guard that demands exactly the version that was looked at.
pub fn version_of(object: &Object) -> Guard {
    Guard::Version { uid: object.meta.uid.clone(), resource_version: object.meta.resource_version }
}

/// The few fields that a new status takes over unasked; all others must be set again by the pass, which is how
/// what is obsolete disappears.
fn carried_over(observed: &RolloutStatus) -> RolloutStatus {
    let mut canary = tidegate_api::object::CanaryStatus::default();
    canary.weights = observed.canary.as_ref().and_then(|canary| canary.weights.clone());
    RolloutStatus {
        restarted_at: observed.restarted_at,
        alb: observed.alb.clone(),
        albs: observed.albs.clone(),
        duration: observed.duration.clone(),
        canary: Some(canary),
        blue_green: Some(Default::default()),
        ..RolloutStatus::default()
    }
}
