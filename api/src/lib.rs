//! The custom resources and other Kubernetes objects as tidegate sees them.

pub mod duration;
pub mod int_or_percent;
pub mod yaml;
