//! Making a run: its name, labels, owner and specification.

use std::sync::Arc;

use tidegate_api::analysis::{AnalysisSpec, RolloutAnalysis};
use tidegate_api::object::{
    AnalysisRunBody, AnalysisRunStatus, Body, Kind, Meta, Object, OwnerRef, Strings, Text,
};

use super::{Question, ROLLOUT_TYPE, STEP_INDEX, is_over, is_told_to_end};
use crate::analysis::args::{Hashes, of_rollout};
use crate::analysis::templates::{Additions, collect, run_of};
use crate::manager::INSTANCE_LABEL;
use crate::names::{HASH_LABEL, REVISION};
use crate::plan::{Guard, IfRefused, Reason, Verb};
use crate::rollout::draft::Draft;
use crate::sabotage::Sabotage;

/// The run that answers a question from now on: one that exists and asks the same, else a new one. `before` is the run that
/// the stored status names.
pub fn run(
    draft: &mut Draft<'_>,
    question: Question,
    asked: &RolloutAnalysis,
    before: Option<&Object>,
) -> Option<Arc<Object>> {
    let spec = match spec_of(draft, asked) {
        Ok(spec) => spec,
        Err(why) => {
            let trouble: Text = format!("{} analysis: {why}", question.kind()).into();
            draft.analysis_trouble = Some(trouble.clone());
            draft.fail(trouble);
            return None;
        }
    };
    let rollout = draft.rollout().clone();
    let infix = match question {
        Question::Step(index) => format!("-{index}"),
        Question::Background => String::new(),
        Question::PrePromotion => "-pre".to_owned(),
        Question::PostPromotion => "-post".to_owned(),
    };
    let base = format!("{}-{}-{}{infix}", rollout.meta.name, draft.current_hash(), draft.revision());
    if draft.facts.is_sabotaged(Sabotage::ReuseOldRun) {
        let asks = |run: &&Arc<Object>| {
            let label = |name: &str| run.meta.labels.get(name).map(|value| value.to_string());
            label(HASH_LABEL) == Some(draft.current_hash().to_string())
                && label(ROLLOUT_TYPE).as_deref() == Some(question.kind())
        };
        if let Some(old) = draft.world.runs.iter().find(asks) {
            return Some(old.clone());
        }
    }
    let mut number = 0_u64;
    let name = loop {
        let name = if number == 0 { base.clone() } else { format!("{base}.{number}") };
        let Some(standing) = draft.world.run_names.get(&*name) else { break name };
        let was_lost = before.is_some_and(|before| is_later(standing, before, &base));
        if is_adoptable(standing, &rollout, &spec, was_lost) && !draft.facts.is_sabotaged(Sabotage::AskAgain)
        {
            return Some(standing.clone());
        }
        number += 1;
    };
    let object = Arc::new(object(draft, question, asked, &name, &spec));
    draft.because(Reason::Note(format!("asks {name}").into()));
    draft.write(object.key(), Guard::Absent, Verb::Create(object.clone()), Vec::new(), IfRefused::Stop);
    Some(object)
}

/// Whether a run that stands where a new one should go is the one that is meant.
// ARGO: the reference also adopts one that was told to end, which then succeeds without a measurement.
fn is_adoptable(run: &Object, rollout: &Object, spec: &AnalysisSpec, was_lost: bool) -> bool {
    let owned = run.meta.controller().is_some_and(|owner| owner.uid == rollout.meta.uid);
    let same = run.analysis_run().is_some_and(|body| body.spec.spec().asks_the_same(spec));
    owned && same && (was_lost || !is_over(run)) && !is_told_to_end(run) && run.meta.deleting.is_none()
}

/// Whether a run was made after the one that the status names: by a pass whose status was never stored. It may have its
/// verdict already.
// INVARIANT: S21, or each pass that cannot store its status asks once more.
fn is_later(run: &Object, named: &Object, base: &str) -> bool {
    let number = |run: &Object| match run.meta.name.strip_prefix(base)? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse::<u64>().ok(),
    };
    let later = matches!((number(run), number(named)), (Some(run), Some(named)) if run > named);
    later && run.meta.created >= named.meta.created
}

fn spec_of(draft: &Draft<'_>, asked: &RolloutAnalysis) -> Result<AnalysisSpec, String> {
    let rollout = draft.rollout();
    let find = |key: &_| draft.world.templates.get(key).cloned();
    let templates =
        collect(&asked.templates, &rollout.meta.namespace, &find).map_err(|missing| missing.to_string())?;
    let latest = draft.current_hash();
    let stable = draft.stable_set().map(|set| set.hash());
    let args = of_rollout(&asked.args, rollout, Hashes { latest: &latest, stable })?;
    let additions = Additions { args, dry_run: asked.dry_run.clone(), retention: asked.retention.clone() };
    run_of(&templates, &additions)
}

fn object(
    draft: &Draft<'_>,
    question: Question,
    asked: &RolloutAnalysis,
    name: &str,
    spec: &AnalysisSpec,
) -> Object {
    let rollout = draft.rollout();
    let mut labels = Strings::default();
    labels.set(HASH_LABEL, draft.current_hash());
    labels.set(ROLLOUT_TYPE, question.kind());
    if let Question::Step(index) = question {
        labels.set(STEP_INDEX, index.to_string());
    }
    if let Some(instance) = rollout.meta.labels.get(INSTANCE_LABEL).filter(|id| !id.is_empty()) {
        labels.set(INSTANCE_LABEL, instance.clone());
    }
    for (key, value) in asked.labels.iter() {
        labels.set(key, value.clone());
    }
    // Those of the Rollout's selector win over all others, as in the reference.
    let selector = draft.spec.selector.as_ref().map(|selector| selector.raw.clone()).unwrap_or_default();
    let selected = Strings::from_value(&selector["matchLabels"], "matchLabels").unwrap_or_default();
    for (key, value) in selected.iter() {
        labels.set(key, value.clone());
    }
    let mut annotations = Strings::default();
    annotations.set(REVISION, draft.revision());
    for (key, value) in asked.annotations.iter() {
        annotations.set(key, value.clone());
    }
    let owner = OwnerRef {
        api_version: rollout.kind.api_version().into(),
        kind: rollout.kind.name().into(),
        name: rollout.meta.name.clone(),
        uid: rollout.meta.uid.clone(),
        controller: true,
        block_owner_deletion: true,
    };
    Object {
        kind: Kind::AnalysisRun,
        meta: Meta {
            name: name.into(),
            namespace: rollout.meta.namespace.clone(),
            labels,
            annotations,
            owners: vec![owner],
            ..Meta::default()
        },
        body: Body::AnalysisRun(
            AnalysisRunBody::new(spec.to_run()).with_status(AnalysisRunStatus::unbegun()),
        ),
    }
}
