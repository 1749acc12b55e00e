//! Where the data lies: on the disk of the machine, and in a build with `--cfg keylane_planted` on a simulated
//! one, which can lose power ([`power`](crate::power)).

use crate::config::ServerConfig;

#[cfg(not(keylane_planted))]
pub type ServerDisk = keylane_engine::disk::uring::UringDisk;
#[cfg(keylane_planted)]
pub type ServerDisk = keylane_engine::disk::sim::SimDisk;

/// The disk of a data directory.
#[cfg(not(keylane_planted))]
pub fn open(config: &ServerConfig) -> ServerDisk {
    ServerDisk::new(&config.data, config.direct_io)
}

/// The disk that this thread serves on.
#[cfg(keylane_planted)]
pub fn open(_: &ServerConfig) -> ServerDisk {
    crate::power::disk()
}
