//! One pass on its way: what it must ask first, then its writes, one at a time, each on the answer to the one before.

use std::collections::BTreeMap;

use tidegate_api::object::{Key, Kind, Text};
use tidegate_api::time::Span;

use super::{BACKOFF_BASE, BACKOFF_CAP, Manager, Pass, Stage};
use crate::analysis::secrets::SecretData;
use crate::plan::{Guard, IfRefused, Verb, Wake, Write};
use crate::rollout::restart::AGAIN_AFTER;
use crate::sabotage::Sabotage;
use crate::seams::{Answer, ApiCall, ApiError, Seams};
use crate::world::Facts;

impl Manager {
    /// Starts the next write of a pass, or ends the pass.
    pub(super) fn go_on(&mut self, key: &Key, seams: &mut impl Seams) {
        let Some(Pass { stage: Stage::Writing { plan, at }, versions, failed }) = self.passes.get(key) else {
            return;
        };
        let Some(write) = plan.writes.get(*at) else {
            let failed = *failed || plan.failure.is_some();
            let (wake, told) = (plan.wake, plan.told.clone());
            told.into_iter().for_each(|notice| self.record(notice, seams));
            return self.end(key, failed, wake, seams);
        };
        let guard = self.guard_of(write, versions);
        let call = ApiCall::Write { key: write.key.clone(), guard, verb: write.verb.clone() };
        self.stats.writes += 1;
        self.call(key, call, seams);
    }

    /// The precondition of a write; one that was computed from a version which this pass itself has replaced names
    /// the replacement.
    pub(super) fn guard_of(&self, write: &Write, versions: &BTreeMap<Key, (u64, u64)>) -> Guard {
        match &write.guard {
            Guard::Version { uid, .. } if self.settings.sabotage == Some(Sabotage::NoPreconditions) => {
                Guard::Identity(uid.clone())
            }
            Guard::Version { uid, resource_version } => match versions.get(&write.key) {
                Some((from, to)) if from == resource_version => {
                    Guard::Version { uid: uid.clone(), resource_version: *to }
                }
                _ => write.guard.clone(),
            },
            guard => guard.clone(),
        }
    }

    pub(super) fn end(&mut self, key: &Key, failed: bool, wake: Wake, seams: &mut impl Seams) {
        let now = seams.now();
        self.passes.remove(key);
        self.lanes.ended(key);
        self.agenda.release(key);
        seams.ended(key, failed);
        if failed {
            let count = self.failures.entry(key.clone()).or_default();
            let wait = BACKOFF_BASE
                .0
                .saturating_mul(1_i64.checked_shl(*count).unwrap_or(i64::MAX))
                .min(BACKOFF_CAP.0);
            *count = (*count + 1).min(20);
            self.agenda.add(key.clone(), now.plus(Span::millis(wait)));
        } else {
            self.failures.remove(key);
        }
        if let Wake::At(at) = wake {
            self.agenda.add(key.clone(), at.max(now.plus(Span::millis(1))));
        }
    }

    /// Asks for the first fact that is still missing; they are asked one after the other.
    pub(super) fn ask(&mut self, key: &Key, seams: &mut impl Seams) {
        let Some(Pass { stage: Stage::Asking { waiting, .. }, .. }) = self.passes.get(key) else { return };
        if let Some(target) = waiting.first() {
            self.call(key, ApiCall::Get(target.clone()), seams);
        }
    }

    pub(super) fn fact_came(&mut self, key: &Key, answer: Answer, seams: &mut impl Seams) {
        let Some(Pass { stage: Stage::Asking { waiting, facts }, .. }) = self.passes.get_mut(key) else {
            return;
        };
        let target = waiting.remove(0);
        match answer {
            Answer::Done(Some(object)) if target.kind == Kind::Secret => {
                drop(facts.secrets.insert(target, Ok(SecretData::of(&object))));
            }
            Answer::Refused(ApiError::NotFound(_)) if target.kind == Kind::Secret => {
                let why = format!("secrets \"{}\" not found", target.name);
                drop(facts.secrets.insert(target, Err(why.into())));
            }
            Answer::Refused(ApiError::Forbidden(why)) if target.kind == Kind::Secret => {
                drop(facts.secrets.insert(target, Err(why)));
            }
            // What may never be seen is an answer too, or a measurement would wait for ever (L9).
            Answer::Refused(ApiError::Forbidden(why)) if target.kind == Kind::Job => {
                drop(facts.refused.insert(target, why));
            }
            Answer::Done(object) => drop(facts.live.insert(target, object)),
            Answer::Refused(ApiError::NotFound(_)) => drop(facts.live.insert(target, None)),
            Answer::Refused(_) | Answer::Lost => return self.end(key, true, Wake::OnChange, seams),
        }
        if waiting.is_empty() {
            let facts = facts.clone();
            self.passes.remove(key);
            self.look(key.clone(), facts, seams);
        } else {
            self.ask(key, seams);
        }
    }

    pub(super) fn write_ended(&mut self, key: &Key, answer: Answer, seams: &mut impl Seams) {
        let Some(pass) = self.passes.get_mut(key) else { return };
        let Stage::Writing { plan, at } = &mut pass.stage else { return };
        let plan = plan.clone();
        let Some(write) = plan.writes.get(*at) else { return };
        match &answer {
            Answer::Done(object) => {
                if let (Some(object), Guard::Version { resource_version, .. }) = (object, &write.guard) {
                    let from = pass.versions.get(&write.key).map_or(*resource_version, |(from, _)| *from);
                    pass.versions.insert(write.key.clone(), (from, object.meta.resource_version));
                }
                *at += 1;
                // What was deleted or evicted counts no more, whatever a late watch still shows: a second pass that
                // took an evicted pod for an available one would evict one too many.
                if object.is_none()
                    && matches!(write.verb, Verb::Delete | Verb::Evict)
                    && let Some(held) = self.cache.get(&write.key)
                {
                    let version = held.meta.resource_version;
                    self.cache.remove(&write.key, version);
                }
                for notice in &write.notices {
                    self.record(notice.clone(), seams);
                }
                self.go_on(key, seams);
            }
            // What should go is gone.
            Answer::Refused(ApiError::NotFound(_)) if matches!(write.verb, Verb::Delete | Verb::Evict) => {
                *at += 1;
                self.go_on(key, seams);
            }
            Answer::Refused(ApiError::Conflict(_))
                if matches!(write.guard, Guard::Version { .. })
                    && write.if_refused != IfRefused::GoOn
                    && (self.failures.get(key).is_some_and(|count| *count > 1)
                        || has_made_what_a_status_names(&plan.writes[..*at])) =>
            {
                let outdated = write.key.clone();
                pass.stage = Stage::CatchingUp { wake: plan.wake };
                self.call(key, ApiCall::Get(outdated), seams);
            }
            Answer::Refused(_) | Answer::Lost => match write.if_refused {
                IfRefused::Stop => self.end(key, true, plan.wake, seams),
                IfRefused::Tell => match answer {
                    Answer::Refused(
                        ApiError::Invalid(why) | ApiError::Forbidden(why) | ApiError::NotFound(why),
                    ) => self.tell(key, write.key.clone(), why, seams),
                    Answer::Refused(ApiError::AlreadyExists(why))
                        if self.settings.sabotage == Some(Sabotage::TrustTheCache) =>
                    {
                        self.tell(key, write.key.clone(), why, seams);
                    }
                    _ => self.end(key, true, plan.wake, seams),
                },
                IfRefused::GoOn => {
                    pass.failed = true;
                    *at += 1;
                    self.go_on(key, seams);
                }
                IfRefused::Accept => {
                    // The rest of the plan counted on it: look again, knowing that it is not to be had now.
                    let now = seams.now();
                    self.protected.retain(|_, until| *until > now);
                    self.protected.insert(write.key.clone(), now.plus(AGAIN_AFTER));
                    self.end(key, false, Wake::At(now), seams);
                }
            },
        }
    }

    /// Looks once more, knowing why a write was refused.
    fn tell(&mut self, key: &Key, target: Key, why: Text, seams: &mut impl Seams) {
        let mut facts = Facts { sabotage: self.settings.sabotage, ..Facts::default() };
        facts.refused.insert(target, why);
        self.passes.remove(key);
        self.look(key.clone(), facts, seams);
    }
}

/// Whether these writes have made an object that is found again by its name in the status. A pass that cannot store the
/// name must not wait for a watch: the next one would make another (S21).
fn has_made_what_a_status_names(done: &[Write]) -> bool {
    done.iter().any(|write| {
        matches!(write.verb, Verb::Create(_))
            && matches!(write.key.kind, Kind::AnalysisRun | Kind::Experiment)
    })
}
