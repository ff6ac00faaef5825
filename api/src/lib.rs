//! The custom resources and other Kubernetes objects as tidegate sees them.

pub mod quantity;
pub mod schema;
pub mod time;
pub mod yaml_out;
