//! Runs that decide nothing any more: those that still measure are told to end, the rest is kept up to a limit.

use std::cmp::Reverse;
use std::sync::Arc;

use tidegate_api::object::Object;

use super::{Runs, hash_label, phase, terminate};
use crate::plan::{Guard, IfRefused, Verb};
use crate::rollout::draft::Draft;
use crate::sabotage::Sabotage;

/// Ends and deletes what is neither current before this pass nor after it.
pub fn clean_up(draft: &mut Draft<'_>, before: &Runs, after: &Runs) {
    let is_current =
        |run: &Arc<Object>| before.all().chain(after.all()).any(|current| current.meta.name == run.meta.name);
    let mut others: Vec<Arc<Object>> =
        draft.world.runs.iter().filter(|run| !is_current(run)).cloned().collect();
    others.iter().for_each(|run| terminate(draft, run));
    others.retain(|run| run.meta.deleting.is_none());
    others.sort_by_key(|run| Reverse((run.meta.created, run.meta.name.clone())));
    let (mut successful, mut unsuccessful) = (0, 0);
    for run in others {
        let known = hash_label(&run).is_some_and(|hash| {
            let mut sets = draft.sets.iter();
            sets.any(|set| set.hash() == &**hash && set.object().meta.deleting.is_none())
        });
        let kept = known
            && match phase(&run) {
                "Successful" => {
                    successful += 1;
                    successful <= draft.spec.successful_run_history_limit
                }
                "Failed" | "Error" | "Inconclusive" => {
                    unsuccessful += 1;
                    unsuccessful <= draft.spec.unsuccessful_run_history_limit
                }
                _ => true,
            };
        if !kept && !draft.facts.is_sabotaged(Sabotage::KeepHistory) {
            let guard = Guard::Identity(run.meta.uid.clone());
            draft.write(run.key(), guard, Verb::Delete, Vec::new(), IfRefused::GoOn);
        }
    }
}
