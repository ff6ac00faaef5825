//! Analyses: what is measured, and what the measurements mean.

pub mod condition;
pub mod expr;
