//! `pause`: the update waits, for a time or for a person.
//!
//! The pause is a condition in the status with the time it began. A person resumes by clearing it; that
//! `controllerPause` is still set tells a cleared pause from one that has not begun.

use tidegate_api::spec::Pause;
use tidegate_api::time::Span;

use super::Progress;
use crate::rollout::draft::Draft;
use crate::sabotage::Sabotage;

const REASON: &str = "CanaryPauseStep";

/// Begins the pause, waits for its end.
pub fn advance(pause: &Pause, draft: &mut Draft<'_>) -> Progress {
    if draft.facts.is_sabotaged(Sabotage::SkipPause) {
        return Progress::Done;
    }
    let observed = draft.observed.clone();
    let condition = observed.pause_conditions().iter().find(|p| p.reason.as_deref() == Some(REASON));
    let Some(condition) = condition else {
        let forgets = draft.facts.is_sabotaged(Sabotage::ForgetResume);
        if observed.controller_pause == Some(true) && !forgets {
            return Progress::Done;
        }
        if draft.scaled {
            return Progress::Holding("pods before the pause begins".to_owned());
        }
        draft.course.pauses_added.push(REASON);
        return Progress::Holding("the pause to begin".to_owned());
    };
    match pause {
        Pause::Forever => Progress::Holding("somebody to promote".to_owned()),
        Pause::Seconds(seconds, _) => {
            // Kept with whole seconds and left strictly later, as in the reference (Q38).
            let end = condition.start.unwrap_or(draft.stamp()).plus_seconds(*seconds).time();
            if draft.now > end {
                return Progress::Done;
            }
            if draft.facts.is_sabotaged(Sabotage::NoAlarm) {
                return Progress::Holding("somebody to look".to_owned());
            }
            draft.wake_at(end.plus(Span::millis(1)), "the pause");
            Progress::Holding("the pause to end".to_owned())
        }
    }
}
