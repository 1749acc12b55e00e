//! Checks a whole data directory: its format, its catalog, and each of its shards.

use std::collections::{BTreeMap, HashSet};

use crate::catalog::Catalog;
use crate::data_dir::DataDir;
use crate::disk::{Disk, DynDisk};
use crate::error::OpenError;
use crate::ids::{Identity, ShardId};

use super::checker::Checker;
use super::report::Report;
use super::shard;

/// Checks a data directory. `progress` is called with the name of each file that is begun, and the bytes of log read so far.
pub async fn check(disk: &impl Disk, progress: &mut dyn FnMut(&str, u64)) -> Report {
    check_on(&DynDisk::new(disk.clone()), progress).await
}

async fn check_on(disk: &DynDisk, progress: &mut dyn FnMut(&str, u64)) -> Report {
    let mut checker = Checker { disk, progress, report: Report::default(), names: BTreeMap::new() };
    if let Err(error) = checker.directory().await {
        checker.error(error, "what depends on it was not checked; a start is refused");
    }
    checker.report
}

impl Checker<'_> {
    async fn directory(&mut self) -> Result<(), OpenError> {
        let names = self.disk.list("").await.map_err(OpenError::io("listing the data directory"))?;
        for name in names.iter().filter(|n| n.ends_with(".new")) {
            self.leftover(name.clone(), "a file that was being replaced when the process ended");
        }
        if !names.iter().any(|n| n == "keylane.format") {
            return Err(OpenError::damaged("keylane.format", 0, "it is missing"));
        }
        let (dir, version) = DataDir::read(self.disk).await?;
        (self.report.format_version, self.report.shards) = (version, dir.shards);
        let has_catalog = names.iter().any(|n| n == "catalog");
        // Opening would create a catalog where none exists, and a check changes nothing.
        let catalog = match has_catalog {
            true => match Catalog::open(self.disk.clone(), dir.shards).await {
                Ok(catalog) => Some(catalog),
                Err(error) => {
                    self.error(error, "topics cannot be told from their logs; a start is refused");
                    None
                }
            },
            false => None,
        };
        for topic in catalog.iter().flat_map(Catalog::topics) {
            self.report.topics += 1;
            for (number, placement) in topic.partitions.iter().enumerate() {
                self.names.insert(placement.log, format!("{}-{number}", topic.name));
            }
        }
        let mut records = false;
        for shard in (0..dir.shards).map(ShardId) {
            let live: Option<HashSet<_>> = catalog.as_ref().map(|c| c.logs_of(shard));
            let identity = Identity { directory: dir.id, shard };
            match shard::check_shard(self, &identity, live.as_ref()).await {
                Ok(any) => records |= any,
                Err(error) => self.error(error, "the rest of this shard was not checked"),
            }
        }
        if !has_catalog && records {
            self.fault("catalog", 0, "it is missing, but the shards hold records")
                .means("without it a start would take all topics for deleted; it is refused")
                .advice("do not start on this directory: restore the file from a copy first")
                .done();
        }
        Ok(())
    }
}
