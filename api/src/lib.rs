//! The custom resources and other Kubernetes objects as tidegate sees them.

pub mod analysis;
pub mod duration;
pub mod experiment;
pub mod object;
pub mod problem;
pub mod quantity;
pub mod schema;
pub mod spec;
pub mod time;
pub mod traffic;
pub mod validate;
pub mod yaml;
pub mod yaml_out;
