//! Real requests: a steady stream through a real proxy to the pods of a release, every answer counted.
//!
//! What users feel is claimed by the simulator; here it is measured. Traefik, built from its Go module, serves the routes
//! that the test API server stores. Pods answer at their own addresses, which takes a network of our own
//! ([`crate::own_network`]). A [`Case`] says once what happens; the bed plays it, and the simulator does, and what users
//! saw is compared. See `testbed/tests/real_requests.rs`.

mod comparison;
mod ground;
mod proxy;
mod report;
mod route;
mod simulated;
mod story;
mod stream;
mod timeline;

pub use comparison::Comparison;
pub use ground::{Ground, Pods, install};
pub use proxy::{Proxy, build};
pub use report::{Answer, Outcome, Report, Shares};
pub use route::Route;
pub use simulated::Simulated;
pub use story::{Act, Case, HEARD, Manner, Story, image};
pub use stream::Stream;
pub use timeline::Timeline;
