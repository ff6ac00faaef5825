//! The shape of objects: one table of types, and everything that follows from it.
//!
//! The hash of a pod template and of a canary's steps, the comparison of templates by meaning, what the API server
//! prunes, fills in and refuses, and the CustomResourceDefinitions themselves. All work on plain JSON values.

mod canonical;
mod check;
mod crd;
mod image;
mod prune;
mod table;
mod template;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use canonical::integer;
pub use canonical::{pod_template_hash, steps_hash};
pub use check::{TypeError, type_errors};
pub use crd::crd;
pub use prune::{UnknownField, apply_defaults, explain_unknown_fields, prune, unknown_fields};
pub use template::{default_pod_template, same_template};

use table::{Shape, TypeId, table};

/// The kinds that have a CRD here.
pub const KINDS: [&str; 5] =
    ["Rollout", "Experiment", "AnalysisRun", "AnalysisTemplate", "ClusterAnalysisTemplate"];

fn kind_type(kind: &str) -> Option<TypeId> {
    KINDS.contains(&kind).then(|| table().find(kind).expect("a test finds all kinds"))
}

fn object_meta() -> Shape {
    Shape::Struct(table().find("ObjectMeta").expect("the table has it"))
}
