//! The custom resources and other Kubernetes objects as tidegate sees them.

pub mod yaml;
