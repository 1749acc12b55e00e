//! Reads of files, which give way to commits.
//!
//! Reads beside commits are few and small: what is queued at the device before the write or flush of a commit is time
//! that a producer waits.

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::aligned::{AlignedBuf, BLOCK};
use crate::disk::{Disk, DiskFile, DynFile, read_exact_at};
use crate::error::ReadError;
use crate::ids::Generation;
use crate::shard::counters::Counters;
use crate::shard::inner::Inner;

use super::opened::Kind;

/// Bytes of one read of the device beside commits.
const READ_SLICE: usize = 128 << 10;
/// How long a read waits for the commits in flight to land.
const READ_PATIENCE: Duration = Duration::from_millis(2);

impl Inner {
    /// The open file of a segment, or its index. `at` is where the caller is about to read, for the error.
    pub(crate) async fn open_file(
        &self,
        generation: Generation,
        kind: Kind,
        at: u64,
    ) -> Result<DynFile, ReadError> {
        let known = self.reads.opened.borrow().file(generation, kind);
        if let Some(file) = known {
            return Ok(file);
        }
        let io = |cause| ReadError::Io { shard: self.dir.identity.shard, generation, position: at, cause };
        let file = match kind {
            Kind::Unsealed => self.dir.open_segment(generation).await,
            Kind::Sealed => self.dir.disk.open_cached(&self.dir.segment(generation)).await,
            Kind::Index => self.dir.disk.open_cached(&self.dir.index(generation)).await,
        };
        let file = file.map_err(io)?;
        if self.state.borrow().exists(generation) {
            self.reads.opened.borrow_mut().keep_file(generation, kind, &file);
        }
        Ok(file)
    }

    /// Fills `buf` with what lies at `at`. While commits flow, what is not in the page cache is read in slices, one after
    /// the other, and each slice lets commits go first.
    pub(crate) async fn read_paced(&self, file: &DynFile, at: u64, mut buf: AlignedBuf) -> io::Result<Bytes> {
        let len = buf.capacity();
        let mut done = buf.split_front(0);
        let mut permit = None;
        while buf.capacity() > 0 {
            let pos = at + done.capacity() as u64;
            let flow = self.commits_flow();
            let slice = if flow { buf.capacity().min(READ_SLICE) } else { buf.capacity() };
            if flow && !self.is_cached(file, pos) {
                if permit.is_none() {
                    permit = self.reads.paced_permits.acquire().await.ok();
                }
                self.let_commits_land().await;
            }
            let _permit = self.reads.permits.acquire().await;
            let (result, part) = self.read_some(file, pos, buf.split_front(slice)).await;
            if result? < slice {
                // Rare: a short read.
                return read_exact_at(file, at, len).await;
            }
            done.unsplit(part);
        }
        Ok(done.into_bytes())
    }

    /// Reads from the page cache, and the rest from the device.
    async fn read_some(&self, file: &DynFile, at: u64, buf: AlignedBuf) -> (io::Result<usize>, AlignedBuf) {
        let len = buf.capacity();
        let (cached, buf) = file.read_cached(buf, at);
        if cached == len {
            return (Ok(len), buf);
        }
        Counters::add(&self.counters.disk_reads, 1);
        Counters::add(&self.counters.disk_read_bytes, (len - cached) as u64);
        file.read_at(buf, at).await
    }

    /// Whether the block at `at` is in the page cache. If not, it is now being read.
    fn is_cached(&self, file: &DynFile, at: u64) -> bool {
        file.read_cached(self.reads.memory.take(BLOCK), at).0 == BLOCK
    }

    /// Reads the block at `at` of an index. If it is not in the page cache, all of `range` is read.
    pub(crate) async fn read_block(&self, file: &DynFile, range: Range<u64>, at: u64) -> io::Result<Bytes> {
        let (cached, block) = file.read_cached(self.reads.memory.take(BLOCK), at);
        if cached == BLOCK {
            return Ok(block.into_bytes());
        }
        let near = self
            .read_paced(file, range.start, self.reads.memory.take((range.end - range.start) as usize))
            .await?;
        let from = (at - range.start) as usize;
        Ok(near.slice(from..from + BLOCK))
    }

    /// Whether commits are in flight, or were a moment ago.
    pub(crate) fn commits_flow(&self) -> bool {
        self.state.borrow().busy.flows()
    }

    /// Returns when no commit is in flight, or after a moment.
    pub(crate) async fn let_commits_land(&self) {
        let landed = self.landed.notified();
        if !self.state.borrow().commits.none_in_flight() {
            let _in_time = tokio::time::timeout(READ_PATIENCE, landed).await;
        }
    }
}
