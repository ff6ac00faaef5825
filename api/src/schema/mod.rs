//! The shape of objects: one table of types, and everything that follows from it.
//!
//! The hash of a pod template and of a canary's steps, the comparison of templates by meaning, what the API server
//! prunes, fills in and refuses, and the CustomResourceDefinitions themselves. All work on plain JSON values.

mod canonical;
mod image;
mod table;
mod template;
#[cfg(test)]
mod testing;

pub use canonical::{pod_template_hash, steps_hash};
pub use template::{default_pod_template, same_template};
