//! The invented API server: requests in, replies out.

mod http;

pub use http::{Method, Refusal, Reply, Request, Resource};

use super::store::Store;

/// The invented API server.
#[derive(Clone, Debug, Default)]
pub struct Server {
    store: Store,
}

impl Server {
    /// Answers a request.
    pub fn ask(&mut self, request: &Request) -> Reply {
        let _ = (&self.store, request);
        Refusal::new(501, "NotImplemented", "not yet").reply()
    }

    /// Lets a second pass.
    pub fn tick(&mut self) {}

    /// Lets the garbage collector do all there is to do.
    pub fn collect_garbage(&mut self) {}
}
