//! Why a server does not start or stop.

use std::io;
use std::net::SocketAddr;

use keylane_engine::OpenError;
use keylane_engine::environment::EnvironmentError;

use crate::config::ConfigError;

/// Why a server could not start, or not stop cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system lacks something.
    #[error("the system lacks what a server needs ({advice})", advice = .0.advice())]
    Environment(#[from] EnvironmentError),
    /// The data directory.
    #[error("data directory {0}")]
    Open(String, #[source] OpenError),
    /// The address.
    #[error("cannot listen on {0}; is another server running there? (see --kafka)")]
    Listen(SocketAddr, #[source] io::Error),
    /// The system refused something a core needs.
    #[error("{what}")]
    System {
        /// What.
        what: String,
        /// What it said.
        #[source]
        cause: io::Error,
    },
    /// A core could not stop cleanly.
    #[error("{0}")]
    Stop(String),
    /// A core ended by itself.
    #[error("a core ended unexpectedly; its last words are in the log")]
    Died,
}
