//! Keylane's engine.
pub mod aligned;
pub mod disk;
