//! Keylane.

pub mod crash;
pub mod e2e;
pub mod freed;
pub mod held;
pub mod small;
