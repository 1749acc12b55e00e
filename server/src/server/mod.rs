//! Starting and stopping the server: `start` for its user, `thread` a core on its thread, `run` a core at work, `disk` what
//! lies below. This is where the rooms come together.
//!
//! Promises: a server that has started listens on every core; after a clean stop everything acked is on the disk and the
//! next start has nothing to scan.

mod disk;
mod error;
#[cfg(keylane_planted)]
pub mod power;
mod run;
#[cfg(keylane_planted)]
mod scene;
mod start;
mod thread;

pub use error::StartError;
pub use start::{ServerHandle, Stats, abort_on_panic, start};
