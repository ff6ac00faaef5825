//! An invented cluster, clock and metrics, all driven from one seed.
//!
//! Start with [`world::World`]: the event heap with the store, the actors and the controller behind its seams. It is
//! plain data, so a run can be copied at any point and continued twice.

pub mod cluster;
pub mod dataplane;
pub mod dice;
pub mod election;
pub mod forecast;
pub mod invariants;
pub mod metrics;
pub mod play;
pub mod reference;
pub mod scenario;
pub mod swarm;
pub mod sweep;
pub mod trace;
pub mod traffic;
pub mod world;
