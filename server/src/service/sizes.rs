//! What partitions take on the disk, and how much space there is.
//!
//! Promise: sizes are those of the batches that the engine keeps; nothing is estimated, and no disk is read for it.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use crate::core::Core;

use super::read::on_each_core;
use super::topics::Route;

/// The file system of the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// The data directory, from the root.
    pub directory: PathBuf,
    /// Bytes of the file system.
    pub total: u64,
    /// Bytes of it that the server may still take.
    pub usable: u64,
}

/// Looks at the file system of the data directory.
///
/// # Errors
/// The directory cannot be found, or its file system tells nothing.
pub fn space(core: &Core) -> io::Result<Space> {
    let directory = std::path::absolute(&core.config.data)?;
    let told = rustix::fs::statvfs(&directory)?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
    Ok(Space { directory, total: bytes(told.f_blocks), usable: bytes(told.f_bavail) })
}

/// The bytes of each partition, on whatever cores they live. `None`: the server stops.
pub async fn sizes(core: &Rc<Core>, routes: &[Route]) -> Vec<Option<u64>> {
    on_each_core(core, routes.iter().copied().enumerate(), sizes_here).await
}

async fn sizes_here(core: Rc<Core>, routes: Vec<Route>) -> Vec<u64> {
    let size = |route: Route| match route {
        Route::Here { shard, at } => core.shards[shard].bytes(at),
        Route::There { shard, log, .. } => {
            let shard = &core.shards[shard];
            shard.partition(log).map_or(0, |at| shard.bytes(at))
        }
    };
    routes.into_iter().map(size).collect()
}
