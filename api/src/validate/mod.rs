//! From a specification to its meaning and everything that is wrong with it.
//!
//! Nothing here returns early: each rule adds to the findings, so that `lint` shows all of them and the condition
//! `InvalidSpec` the first. Rules stand in the order in which the reference applies them.

mod among_files;
mod canary;
mod field;
mod metrics;
mod names;
mod not_built;
mod numbers;
mod parse;
mod pod;
#[cfg(test)]
mod random_tests;
mod references;
mod rollout;
mod routing;
#[cfg(test)]
mod routing_tests;
mod steps;
mod strategy;
#[cfg(test)]
mod tests;
mod traffic;
mod warnings;

use serde_json::Value;

pub use self::among_files::{Find, References, references_among};
pub use self::metrics::metric_problem;
pub use self::references::{Lookup, service_problems, workload_refusal};

use self::field::{Field, Findings};
use crate::object::{Selector, Template};
use crate::problem::Problem;
use crate::spec::Checked;

/// Reads a specification, whatever it is.
pub fn check(spec: &Value) -> Checked {
    let mut found = Findings::default();
    let field = Field::new(spec, "spec");
    let spec = parse::spec(&field, &mut found);
    rollout::rules(&field, &mut found);
    not_built::rules(&field, &mut found);
    Checked { spec, problems: found.into_problems() }
}

/// What is wrong with a pod template that comes from a referenced workload. Of a Rollout's own template
/// [`check`] says it already.
pub fn template_problems(template: &Template, selector: &Selector) -> Vec<Problem> {
    let mut found = Findings::default();
    let template = template.to_value();
    pod::template_rules(&Field::new(&template, "spec.template"), selector, &mut found);
    found.into_problems()
}

/// What is accepted but probably not meant, for `lint`.
pub fn warnings(spec: &Value) -> Vec<Problem> {
    warnings::of(spec)
}
