//! Keylane.

pub mod crash;
