//! What the tests of Keylane share: the crash harness, clients and server processes, directories and their contents.

pub mod crash;
pub mod e2e;
pub mod fixture;
pub mod freed;
pub mod held;
pub mod small;
