//! The doors of the controller, opened onto a real Kubernetes API server.
//!
//! The brain and its manager are data and functions; what is here only carries. Watches become [`Event`]s, calls of
//! the manager become requests, the outcome of a request becomes an event again ([`driver`] is the loop that ties them
//! together). Nothing here decides about a Rollout: whoever looks for a rule looks in `tidegate-controller`.
//!
//! Three rules hold everywhere below:
//! - every request is bounded in time, and no request starts whose bound lies beyond the lease ([`fence`]);
//! - every write carries a precondition, and a reply that never came is [`Answer::Lost`], never a guess;
//! - one thread: the work is waiting, not computing.
//!
//! [`Event`]: tidegate_controller::seams::Event
//! [`Answer::Lost`]: tidegate_controller::seams::Answer::Lost

pub mod admin;
pub mod bucket;
pub mod calls;
pub mod client;
#[allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the clock that the seam stands for")]
pub mod clock;
pub mod convert;
pub mod document;
pub mod driver;
pub mod election;
pub mod events;
pub mod fence;
pub mod metrics;
pub mod outside;
pub mod process;
pub mod recorder;
pub mod remote;
pub mod requests;
pub mod telemetry;
pub mod watches;

/// Name under which our writes stand in `managedFields` and our events in `source.component`. The reference's, so that
/// ownership of fields goes over when it is replaced.
pub const FIELD_MANAGER: &str = "rollouts-controller";
