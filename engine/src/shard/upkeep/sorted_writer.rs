//! A sorted segment while it is written: batches by partition, in commits of its own.

use std::io;

use crate::aligned::{AlignedBuf, BLOCK};
use crate::disk::{Disk, DiskFile, DynFile, write_all_at};
use crate::ids::{CommitSeq, Generation, LogId};
use crate::log::chunk::{OpenCommit, Slotted};
use crate::log::format::{COMPACTED, Place, commit_len};
use crate::log::index::{self, Index, IndexEntry};
use crate::log::sealed::Sealed;
use crate::planted::{self, Bug};
use crate::records::with_largest_timestamp;
use crate::shard::counters::Counters;
use crate::shard::inner::Inner;
use crate::shard::segments::free::shrink;

/// Bytes of a commit in a sorted segment, unless one batch is larger.
const COMMIT_BYTES: usize = 1 << 20;

/// The batches of a segment, by partition.
pub type Grouped = Vec<(LogId, Vec<IndexEntry>)>;

/// Bytes of a sorted segment that holds `batches` batches of `bytes` bytes in all, or a little more.
pub fn sorted_bytes(bytes: u64, batches: u64) -> u64 {
    // Each commit begins and ends with a block that is not full.
    let commits = bytes / COMMIT_BYTES as u64 + 1;
    let bytes = bytes + batches * commit_len(0, 64) as u64 / 64 + (1 + 2 * commits) * BLOCK as u64;
    bytes.next_multiple_of(BLOCK as u64)
}

/// Where the batches of a sorted segment come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From one commit segment.
    Regrouped,
    /// From what compaction left of one partition.
    Compacted,
}

/// A sorted segment while it is written.
pub struct SortedWriter {
    file: DynFile,
    origin: Origin,
    generation: Generation,
    /// Bytes of the file as it was created.
    len: u64,
    /// Where the next commit goes.
    position: u64,
    open: OpenCommit,
    /// Batches of the open commit, their positions still relative to it.
    pending: Vec<(LogId, IndexEntry)>,
    /// Batches that were written, by partition.
    groups: Grouped,
}

impl SortedWriter {
    /// Creates the file, with space for `bytes`.
    pub async fn create(
        inner: &Inner,
        generation: Generation,
        origin: Origin,
        bytes: u64,
    ) -> io::Result<Self> {
        let len = bytes.next_multiple_of(BLOCK as u64);
        let file = inner.dir.disk.create(&inner.dir.segment(generation), len).await?;
        write_all_at(&file, inner.dir.header(generation), 0).await?;
        let open = OpenCommit::new(1, AlignedBuf::uninit(COMMIT_BYTES));
        let (pending, groups) = (Vec::new(), Vec::new());
        Ok(Self { file, origin, generation, len, position: BLOCK as u64, open, pending, groups })
    }

    /// Bytes of the segment, with those that are still to be written.
    pub fn len(&self) -> u64 {
        self.position + self.open.disk_len() as u64
    }

    /// Its generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether a batch of this length fits the open commit.
    pub fn fits(&self, len: usize) -> bool {
        self.open.fits(len)
    }

    /// Adds a batch that fits. Batches come by partition, and within one by offset.
    pub fn push(&mut self, log: LogId, entry: &IndexEntry, raw: &[u8]) {
        // The stored header states the largest timestamp of the records, as the index does.
        let raw = &*with_largest_timestamp(raw, entry.max_timestamp);
        let at = self.open.push(raw, Slotted { entry: entry.in_directory(log), slot: 0 }, false);
        self.pending.push((log, IndexEntry { position: at, len: raw.len() as u32, ..*entry }));
    }

    /// Writes the open commit, and begins one that has room for a batch of `next_len` bytes.
    pub async fn flush(&mut self, inner: &Inner, next_len: usize) -> io::Result<()> {
        if !self.open.is_empty() {
            let closed = self.open.close();
            let len = closed.disk_len() as u64;
            let shard = inner.dir.identity.shard;
            let place = Place { shard, generation: self.generation, position: self.position };
            let mark = if self.origin == Origin::Compacted { COMPACTED } else { 0 };
            let (bytes, _, _) = closed.seal(place, mark);
            write_all_at(&self.file, bytes, self.position).await?;
            Counters::add(&inner.counters.background_bytes, len);
            for (log, entry) in self.pending.drain(..) {
                let position = u32::try_from(self.position + u64::from(entry.position))
                    .map_err(|_| io::Error::other("a sorted segment would exceed 4 GiB"))?;
                let entry = IndexEntry { position, ..entry };
                match self.groups.last_mut() {
                    Some((last, group)) if *last == log => group.push(entry),
                    _ => self.groups.push((log, vec![entry])),
                }
            }
            self.position += len;
        }
        self.open.renew(AlignedBuf::uninit(COMMIT_BYTES.max(commit_len(next_len, 1))));
        Ok(())
    }

    /// Makes the segment and its index durable.
    pub async fn finish(mut self, inner: &Inner) -> io::Result<Index> {
        self.flush(inner, 0).await?;
        shrink(inner, &self.file, self.len.max(self.position), self.position).await?;
        if !(self.origin == Origin::Compacted && planted::is(Bug::CompactedNotFlushed)) {
            self.file.sync().await?;
        }
        let next_seq: CommitSeq = self.open.seq;
        let sealed = Sealed { generation: self.generation, first_seq: 1, next_seq, data_end: self.position };
        let (content, index) = index::build(inner.dir.identity.shard, sealed, &self.groups);
        inner.dir.write_index(self.generation, content).await?;
        // What compaction writes is counted when it takes the place of something.
        if self.origin == Origin::Regrouped {
            let mut state = inner.state.borrow_mut();
            state.space.set_segment(self.generation, self.position);
            state.space.set_index(self.generation, index.bytes());
        }
        Ok(index)
    }
}
