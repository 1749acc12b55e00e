//! Reads a segment from front to back. Recovery uses a scan to find the whole commits, the offline check to find damaged
//! ones.
//!
//! Promises: a scan writes nothing. Its memory is bounded by a window and the largest commit.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::aligned::{BLOCK, round_down, round_up};
use crate::disk::{DiskFile, DynFile, read_exact_at};
use crate::error::OpenError;
use crate::ids::{CommitSeq, Generation, LogId, Offset};
use crate::planted::{self, Bug};
use crate::records::largest_timestamp;

use super::format::{COMMIT_HEADER_BYTES, CommitHeader, Entry, Place, SegmentHeader, check_commit_but};
use super::index::IndexEntry;
use super::sealed::Sealed;
use crate::ids::Identity;

const WINDOW_BYTES: usize = 2 << 20;

/// What a scan of one segment found.
pub(crate) struct Scan {
    /// Sequences of the commits, and end of the data.
    pub sealed: Sealed,
    /// The batches, by log and offset.
    pub logs: BTreeMap<LogId, Vec<IndexEntry>>,
}

impl Scan {
    /// Adds the next commit of the segment.
    pub fn add(&mut self, header: &CommitHeader, entries: &[Entry]) {
        for entry in entries.iter().filter(|e| !e.is_trim()) {
            self.logs.entry(entry.log).or_default().push(IndexEntry {
                base_offset: entry.base_offset,
                position: (header.place.position + u64::from(entry.at)) as u32,
                len: entry.len,
                span: entry.span,
                max_timestamp: entry.max_timestamp,
            });
        }
        self.sealed.data_end += header.total_len() as u64;
        self.sealed.next_seq += 1;
    }

    /// Leaves out batches that were deleted or replaced, by log and the offset after the batch.
    pub fn forget(&mut self, is_dead: impl Fn(LogId, Offset) -> bool) {
        for (log, entries) in &mut self.logs {
            entries.retain(|e| !is_dead(*log, e.end()));
        }
        self.logs.retain(|_, entries| !entries.is_empty());
    }
}

/// Reads a segment from front to back in large windows.
pub(crate) struct Scanner {
    file: DynFile,
    path: String,
    identity: Identity,
    generation: Generation,
    /// Whole blocks in the file.
    pub end: u64,
    /// The directories state the times that producers claimed, so the times are taken from the records.
    untrue_times: bool,
    window: Bytes,
    start: u64,
}

impl Scanner {
    /// Scans an open segment.
    pub async fn new(
        file: DynFile,
        path: String,
        identity: &Identity,
        generation: Generation,
    ) -> Result<Self, OpenError> {
        let size = file.size().await.map_err(OpenError::io(format!("reading the size of {path}")))?;
        let (end, identity) = (round_down(size), identity.clone());
        let (window, untrue_times) = (Bytes::new(), false);
        let mut scanner = Self { file, path, identity, generation, end, untrue_times, window, start: 0 };
        let head = scanner.bytes(0, BLOCK).await?;
        scanner.untrue_times = head.is_some_and(|block| SegmentHeader::has_untrue_times(&block));
        Ok(scanner)
    }

    /// Puts the largest timestamps of the records into the entries of a commit, if its directory may state other ones.
    /// Batches that are `unknown` are left out.
    pub fn true_times(&self, bytes: &[u8], entries: &mut [Entry], unknown: impl Fn(&Entry) -> bool) {
        if !self.untrue_times {
            return;
        }
        for entry in entries.iter_mut().filter(|e| !e.is_trim() && !unknown(e)) {
            let raw = bytes.get(entry.at as usize..).and_then(|b| b.get(..entry.len as usize));
            if let Some(largest) = raw.and_then(largest_timestamp) {
                entry.max_timestamp = largest;
            }
        }
    }

    /// `len` bytes at `position`; `None` beyond the end of the file.
    pub async fn bytes(&mut self, position: u64, len: usize) -> Result<Option<Bytes>, OpenError> {
        if position.checked_add(len as u64).is_none_or(|end| end > self.end) {
            return Ok(None);
        }
        let inside = position >= self.start && position + len as u64 <= self.start + self.window.len() as u64;
        if !inside {
            let want = round_up(len).max(WINDOW_BYTES) as u64;
            let want = want.min(self.end - position) as usize;
            let what = format!("reading {} at {position}", self.path);
            self.window = read_exact_at(&self.file, position, want).await.map_err(OpenError::io(what))?;
            self.start = position;
        }
        let at = (position - self.start) as usize;
        Ok(Some(self.window.slice(at..at + len)))
    }

    /// The segment header, if it is whole and that of this segment.
    pub async fn header(&mut self) -> Result<Option<SegmentHeader>, OpenError> {
        let Some(block) = self.bytes(0, BLOCK).await? else { return Ok(None) };
        Ok(SegmentHeader::decode(&block).filter(|h| {
            h.directory == self.identity.directory
                && h.shard == self.identity.shard
                && h.generation == self.generation
        }))
    }

    fn place(&self, position: u64) -> Place {
        Place { shard: self.identity.shard, generation: self.generation, position }
    }

    /// The commit header at `position`; `None` if no commit that belongs there begins there.
    pub async fn head(&mut self, position: u64) -> Result<Option<CommitHeader>, OpenError> {
        let Some(head) = self.bytes(position, BLOCK).await? else { return Ok(None) };
        Ok(CommitHeader::decode(&head[..COMMIT_HEADER_BYTES], self.place(position)))
    }

    /// The commit `seq` at `position`, if it is whole and valid. Batches that are `dead` need not be whole. The times of the
    /// others are those of their records.
    pub async fn commit(
        &mut self,
        position: u64,
        seq: CommitSeq,
        dead: impl Fn(&Entry) -> bool,
    ) -> Result<Option<(CommitHeader, Bytes, Vec<Entry>)>, OpenError> {
        let Some(header) = self.head(position).await?.filter(|h| h.seq == seq) else { return Ok(None) };
        let Some(bytes) = self.bytes(position, header.total_len()).await? else { return Ok(None) };
        match check_commit_but(&header, &bytes, &dead) {
            Ok(mut entries) => {
                self.true_times(&bytes, &mut entries, dead);
                Ok(Some((header, bytes, entries)))
            }
            Err(what) if planted::is(Bug::TornTailRefused) => {
                Err(OpenError::damaged(self.path.clone(), position, what.to_string()))
            }
            Err(what) => {
                tracing::warn!(segment = self.path, position, seq, %what, "invalid commit");
                Ok(None)
            }
        }
    }

    /// Position of the first commit header at or after `from` that `wanted` accepts.
    pub async fn find_commit(
        &mut self,
        from: u64,
        wanted: impl Fn(&CommitHeader) -> bool,
    ) -> Result<Option<u64>, OpenError> {
        let mut position = from;
        while position < self.end {
            if self.head(position).await?.is_some_and(|h| wanted(&h)) {
                return Ok(Some(position));
            }
            position += BLOCK as u64;
        }
        Ok(None)
    }
}
