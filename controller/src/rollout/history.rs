//! Old ReplicaSets beyond the history limit go.

use super::draft::{Draft, version_of};
use crate::plan::{IfRefused, Verb};
use crate::sabotage::Sabotage;

/// Deletes the oldest revisions beyond `revisionHistoryLimit`. One that still has or wants pods, or whose status is
/// behind, stays.
// ARGO: sorted by revision, not by creation time: an old ReplicaSet that was rolled back to is not old (Q11).
pub fn clean_up(draft: &mut Draft<'_>) {
    if draft.facts.is_sabotaged(Sabotage::KeepHistory) {
        return;
    }
    let mut old: Vec<_> = draft.others();
    old.retain(|i| draft.sets[*i].object().meta.deleting.is_none());
    let Ok(count) = i64::try_from(old.len()) else { return };
    let excess = usize::try_from(count - draft.spec.revision_history_limit).unwrap_or(0);
    old.sort_by_key(|i| {
        let set = &draft.sets[*i];
        (set.revision().unwrap_or(0), set.created(), set.object().meta.name.clone())
    });
    for index in old.into_iter().take(excess) {
        let set = draft.sets[index].clone();
        let behind = set.object().meta.generation > set.body().status.observed_generation.unwrap_or(0);
        if set.actual() != 0 || set.wished() != 0 || behind {
            continue;
        }
        let object = set.object();
        draft.write(object.key(), version_of(object), Verb::Delete, Vec::new(), IfRefused::Stop);
    }
}
