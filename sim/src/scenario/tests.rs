//! Scenarios that are read, and what is said about those that cannot be.
