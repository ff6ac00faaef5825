//! The brain: what a rollout should do next, decided without I/O.
