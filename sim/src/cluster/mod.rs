//! The invented API server and the built-in controllers around it.

pub mod actors;
pub mod admission;
pub mod api;
pub mod disruption;
pub mod gc;
pub mod life;
pub mod patch;
pub mod store;
pub mod stored_form;
