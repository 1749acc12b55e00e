//! Keylane.

pub mod crash;
pub mod e2e;
