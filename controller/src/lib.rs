//! The brain of tidegate: decides what a rollout does next, and does no I/O.
//!
//! Three types to know: [`world::RolloutWorld`] (what a decision may look at), [`plan::Plan`] (what was decided) and
//! [`manager::Manager`] (carries plans out one write at a time, as a state machine). The doors to the outside are in
//! [`seams`].

pub mod agenda;
pub mod analysis;
pub mod cache;
pub mod commands;
pub mod edit;
pub mod experiment;
pub mod jsonpath;
pub mod lanes;
pub mod lease;
pub mod manager;
pub mod names;
pub mod plan;
pub mod providers;
pub mod question;
pub mod rollout;
pub mod routers;
pub mod sabotage;
pub mod seams;
pub mod steps;
pub mod world;
pub mod xml;
