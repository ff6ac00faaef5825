//! S21: of each question of a Rollout (kind, version, revision, step) at most one run is under way.

use std::collections::BTreeMap;

use tidegate_api::object::{Kind, Object, Text};
use tidegate_controller::names::{HASH_LABEL, REVISION};
use tidegate_controller::rollout::analysis::{ROLLOUT_TYPE, STEP_INDEX};

use super::view::Views;
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant.
pub struct OneRunAQuestion;

/// What a run is about.
type Question = [Option<Text>; 5];

fn question(run: &Object) -> Option<Question> {
    let owner = run.meta.controller().filter(|owner| &*owner.kind == "Rollout")?;
    let label = |name: &str| run.meta.labels.get(name).cloned();
    let revision = run.meta.annotations.get(REVISION).cloned();
    Some([Some(owner.uid.clone()), label(ROLLOUT_TYPE), label(STEP_INDEX), label(HASH_LABEL), revision])
}

impl Invariant for OneRunAQuestion {
    fn name(&self) -> &'static str {
        "S21"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _: &Views) -> Result<(), Violation> {
        let Happened::Stored { by: Writer::Controller, before: None, after: Some(made), .. } = what else {
            return Ok(());
        };
        if made.kind != Kind::AnalysisRun {
            return Ok(());
        }
        if made.meta.name.len() > 253 {
            return Err(Violation::new(
                self.name(),
                world,
                format!("the name of {} is too long", made.meta.name),
            ));
        }
        let mut asked: BTreeMap<Question, &Object> = BTreeMap::new();
        for run in world.store().of_kind(&Kind::AnalysisRun) {
            let is_live = run.meta.deleting.is_none()
                && run
                    .analysis_run()
                    .is_some_and(|body| !body.status.is_over() && !body.spec.spec().terminate);
            let Some(question) = question(run).filter(|_| is_live) else { continue };
            if let Some(other) = asked.insert(question, run) {
                let message = format!("{} and {} ask the same", other.meta.name, run.meta.name);
                return Err(Violation::new(self.name(), world, message));
            }
        }
        Ok(())
    }
}
