//! Keylane's server as a library.
pub mod config;
pub mod environment;
pub mod kafka;
pub mod ring;
pub use config::ServerConfig;

/// A running server; stops cleanly when told to.
pub struct ServerHandle {
    addr: std::net::SocketAddr,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Not built yet.
    #[error("not built yet")]
    Unfinished,
}

/// Counters of a running server, since its start, over all cores.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Stats {
    /// Reads of record data that went to the disk.
    pub disk_reads: u64,
    /// Commits (one write and one flush each).
    pub commits: u64,
    /// Bytes written to the commit logs.
    pub commit_bytes: u64,
}

/// Starts a server: its cores run on threads of their own. Returns when it listens.
pub fn start(_config: ServerConfig) -> Result<ServerHandle, StartError> {
    Err(StartError::Unfinished)
}

impl ServerHandle {
    /// Where it listens for Kafka clients (the port that was chosen, if 0 was asked for).
    pub fn kafka_addr(&self) -> std::net::SocketAddr {
        self.addr
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Stops cleanly: everything acked is on disk and the next start has nothing to scan.
    pub fn stop(self) -> Result<(), StartError> {
        Ok(())
    }
}
