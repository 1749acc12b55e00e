//! An engine on a simulated disk: what a server is made of, without the server.

use keylane_engine::catalog::{Catalog, Placement};
use keylane_engine::data_dir::DataDir;
use keylane_engine::shard::{PartitionRef, Shard, ShardOptions};
use keylane_engine::{LogId, OpenError, ShardId};
use keylane_sim_disk::SimDisk;

/// An open data directory. Must live inside a `LocalSet`.
pub struct Engine {
    /// Its topics.
    pub catalog: Catalog,
    /// Its shards, by number.
    pub shards: Vec<Shard>,
}

impl Engine {
    /// Opens the directory; formats an empty disk with `shards` shards.
    pub async fn open(disk: &SimDisk, shards: u16, options: &ShardOptions) -> Result<Self, OpenError> {
        let dir = DataDir::open_or_format(disk, shards).await?;
        let catalog = Catalog::open(disk.clone(), dir.shards).await?;
        let mut open = Vec::new();
        for shard in (0..dir.shards).map(ShardId) {
            let live = catalog.logs_of(shard);
            open.push(Shard::open(disk.clone(), dir.id, shard, &live, options.clone()).await?);
        }
        Ok(Self { catalog, shards: open })
    }

    /// Where the partitions of all topics are.
    pub fn placements(&self) -> Vec<Placement> {
        self.catalog.topics().flat_map(|topic| topic.partitions.clone()).collect()
    }

    /// The shard and partition of a log.
    pub fn find(&self, log: LogId) -> Option<(Shard, PartitionRef)> {
        self.shards.iter().find_map(|shard| Some((shard.clone(), shard.partition(log)?)))
    }
}
