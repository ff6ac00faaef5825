//! Analyses: what is measured, and what the measurements mean.

pub mod args;
pub mod assess;
pub mod condition;
pub mod expr;
pub mod placeholders;
pub mod rules;
pub mod schedule;
pub mod secrets;
pub mod templates;
