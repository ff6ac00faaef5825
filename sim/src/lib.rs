//! An invented cluster, clock and metrics, all driven from one seed.

pub mod reference;
