//! Keylane's server as a library: [`start`] runs it on threads of its own, one per core.
//!
//! A tour, from the outside in: `server` starts and stops the cores; `core` is one of them; `front` speaks Kafka's and
//! Kinesis' protocol with clients; `security` says who they are; `coordinator` keeps groups, their members and their committed
//! offsets; `service` has the topics and their settings; `runtime` has sockets and the rings between cores; `log_levels` changes the
//! levels of the log. `cli` is the command `keylane`, left out by programs that only run a server. Kafka's protocol on the wire is the
//! crate `keylane_kafka`.

#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
mod coordinator;
mod core;
mod front;
mod log_levels;
mod runtime;
mod security;
mod server;
mod service;

/// What the fuzz targets of the tests feed; nothing else may use it.
#[doc(hidden)]
pub mod fuzzed {
    pub use crate::coordinator::groups::rewrites_group_record;
    pub use crate::front::kinesis::{OPERATIONS, opens_iterator, reads_body, reads_sequence, seals_iterator};
}

pub use config::ServerConfig;
pub use keylane_engine::environment;
pub use runtime::ring;
#[cfg(keylane_planted)]
pub use server::power;
pub use server::{ServerHandle, StartError, Stats, abort_on_panic, start};
