//! Keylane's server as a library: [`start`] runs it on threads of its own, one per core.
//!
//! A tour: `server` starts and stops the cores; `core` is one of them; `connection` reads requests and
//! writes answers in order; `broker` does what requests ask for; `groups` keeps committed offsets; `mesh` and
//! `ring` carry work between cores. The protocol on the wire is the crate `keylane_kafka`.

mod broker;
pub mod check;
pub mod config;
mod connection;
mod controller;
mod core;
mod disk;
mod groups;
mod mesh;
mod net;
pub mod ring;
mod server;
pub mod topic_settings;
mod topics;

pub use config::ServerConfig;
pub use keylane_engine::environment;
#[cfg(keylane_planted)]
pub use server::power;
pub use server::{ServerHandle, StartError, Stats, abort_on_panic, start};
