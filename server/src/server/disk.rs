//! Where the data lies: on the disk of the machine, and in a build with `--cfg keylane_planted` on the disk that a
//! test brings, which can lose power (`scene`).

use keylane_engine::disk::DynDisk;

use crate::config::ServerConfig;

/// The disk of a data directory.
#[cfg(not(keylane_planted))]
pub fn open(config: &ServerConfig) -> DynDisk {
    DynDisk::new(keylane_engine::disk::uring::UringDisk::new(&config.data, config.direct_io))
}

/// The disk that this thread serves on.
#[cfg(keylane_planted)]
pub fn open(_: &ServerConfig) -> DynDisk {
    super::scene::disk()
}
