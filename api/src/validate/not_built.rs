//! What is correct but does not exist here yet: each use is named, so that nothing is done by halves.

use super::field::{Field, Findings};
use crate::problem::{Problem, ProblemKind};

/// Notes every use of analysis, experiments and step plugins.
pub(super) fn rules(spec: &Field<'_>, found: &mut Findings) {
    let canary = spec.get("strategy").get("canary");
    note(&canary.get("analysis"), "background analysis", found);
    for step in canary.get("steps").mappings(found) {
        note(&step.get("experiment"), "experiment steps", found);
        note(&step.get("analysis"), "analysis steps", found);
        note(&step.get("plugin"), "plugin steps", found);
    }
    let blue_green = spec.get("strategy").get("blueGreen");
    note(&blue_green.get("prePromotionAnalysis"), "analysis before the promotion", found);
    note(&blue_green.get("postPromotionAnalysis"), "analysis after the promotion", found);
}

fn note(field: &Field<'_>, what: &str, found: &mut Findings) {
    if field.is_set() {
        found.not_built(Problem::new(&field.place, ProblemKind::NotBuiltYet, what));
    }
}
