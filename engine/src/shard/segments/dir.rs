//! The directory of a shard: names of its files, and how they are opened, made and removed.

use std::io;

use bytes::Bytes;

use crate::disk::{Disk, DiskFile, DynDisk, DynFile, write_all_at};
use crate::ids::{Generation, Identity};
use crate::log::files;
use crate::log::format::SegmentHeader;
use crate::planted::{self, Bug};

/// See the module's header.
pub struct ShardDir {
    /// The disk.
    pub disk: DynDisk,
    /// What each file states.
    pub identity: Identity,
    /// Its path.
    pub path: String,
}

impl ShardDir {
    /// The directory of a shard.
    pub fn new(disk: DynDisk, identity: Identity) -> Self {
        let path = files::shard_dir(identity.shard);
        Self { disk, identity, path }
    }

    /// Path of a segment.
    pub fn segment(&self, generation: Generation) -> String {
        files::segment(&self.path, generation)
    }

    /// Path of a segment's index.
    pub fn index(&self, generation: Generation) -> String {
        files::index(&self.path, generation)
    }

    /// The header of a segment, as one block.
    pub fn header(&self, generation: Generation) -> Bytes {
        let Identity { directory, shard } = self.identity;
        files::padded(&SegmentHeader { directory, shard, generation }.encode())
    }

    /// Opens a segment, to be read past the page cache.
    pub async fn open_segment(&self, generation: Generation) -> io::Result<DynFile> {
        self.disk.open(&self.segment(generation)).await
    }

    /// Opens the index of a segment, to be read past the page cache.
    pub async fn open_index(&self, generation: Generation) -> io::Result<DynFile> {
        self.disk.open(&self.index(generation)).await
    }

    /// Opens the checkpoint.
    pub async fn open_checkpoint(&self) -> io::Result<DynFile> {
        self.disk.open(&files::checkpoint(&self.path)).await
    }

    /// Creates a commit segment, or makes one of the freed segment `spare`: durably, header and name.
    pub async fn create_segment(
        &self,
        generation: Generation,
        len: u64,
        spare: Option<Generation>,
    ) -> io::Result<(DynFile, u64)> {
        let path = self.segment(generation);
        let file = match spare {
            Some(old) => {
                self.disk.rename(&self.segment(old), &path).await?;
                self.disk.open(&path).await?
            }
            None => self.disk.create(&path, len).await?,
        };
        write_all_at(&file, self.header(generation), 0).await?;
        file.sync().await?;
        if !planted::is(Bug::NameNotFlushed) {
            self.disk.sync_dir(&self.path).await?;
        }
        let len = file.size().await?;
        Ok((file, len))
    }

    /// Durably writes the index of a segment. Afterwards the name of the segment is durable as well.
    pub async fn write_index(&self, generation: Generation, content: Bytes) -> io::Result<()> {
        files::replace(&self.disk, &self.path, &self.index(generation), content).await
    }

    /// Durably replaces the checkpoint.
    pub async fn write_checkpoint(&self, content: Bytes) -> io::Result<()> {
        files::replace(&self.disk, &self.path, &files::checkpoint(&self.path), content).await
    }

    /// Removes a file, if it is there.
    pub async fn remove(&self, path: &str) -> io::Result<()> {
        match self.disk.remove(path).await {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Makes the names of the files durable.
    pub async fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.path).await
    }
}
