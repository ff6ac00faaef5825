//! What is correct but does not exist here yet: each use is named, so that nothing is done by halves.

use super::field::{Field, Findings};
use crate::problem::{Problem, ProblemKind};

/// Notes every use of step plugins.
pub(super) fn rules(spec: &Field<'_>, found: &mut Findings) {
    let canary = spec.get("strategy").get("canary");
    for step in canary.get("steps").mappings(found) {
        note(&step.get("plugin"), "plugin steps", found);
    }
}

fn note(field: &Field<'_>, what: &str, found: &mut Findings) {
    if field.is_set() {
        found.not_built(Problem::new(&field.place, ProblemKind::NotBuiltYet, what));
    }
}
