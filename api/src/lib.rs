//! The custom resources and other Kubernetes objects as tidegate sees them.

pub mod object;
pub mod problem;
pub mod spec;
pub mod time;
pub mod validate;
