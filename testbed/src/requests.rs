//! Real requests: a steady stream through a real proxy to the pods of a release, every answer counted.
//!
//! What users feel is claimed by the simulator; here it is measured. Traefik, built from its Go module, serves the routes
//! that the test API server stores. Pods answer at their own addresses, which takes a network of our own
//! ([`crate::own_network`]). See `testbed/tests/real_requests.rs`.

mod ground;
mod proxy;
mod report;
mod route;
mod stream;
mod timeline;

pub use ground::{Ground, Pods, install};
pub use proxy::{Proxy, build};
pub use report::{Answer, Outcome, Report, Shares};
pub use route::Route;
pub use stream::Stream;
pub use timeline::Timeline;
