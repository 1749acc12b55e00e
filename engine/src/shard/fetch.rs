//! From places on the disk to batches: reads what lies there, checks it, joins neighbours.
//!
//! Extents near each other are read in one go; small ones share pieces that are kept for a while, so that
//! readers of several partitions scan a segment once. What comes from the disk is checked against its index
//! entry and its checksum before anybody sees it.

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::aligned::{AlignedBuf, BLOCK, round_down, round_up};
use crate::disk::{Disk, DiskFile, read_exact_at, read_exact_into};
use crate::error::ReadError;
use crate::ids::{Generation, Offset};
use crate::log::files;
use crate::log::format::{Entry, check_entry};
use crate::log::index::GAP_BYTES;

use super::locate::Located;
use super::read::Batches;
use super::{Counters, Inner};

/// Largest single read, unless one batch is larger.
pub(super) const READ_BYTES_MAX: u64 = READ_BUFFER_BYTES as u64 - BLOCK as u64;
/// Memory that such a read uses, again and again.
pub(super) const READ_BUFFER_BYTES: usize = 2 << 20;
/// Reads of less than this take memory of their own, so that little data does not hold much.
const POOLED_BYTES_MIN: usize = 512 << 10;
/// Smaller reads go through pieces of this size.
const PIECE_BYTES: u64 = 128 << 10;

/// An error, and the segment that was read then, if it came to that.
pub(super) type Failed = (Option<Generation>, ReadError);

impl<D: Disk> Inner<D> {
    pub(super) fn damaged(&self, generation: Generation, position: u64, what: String) -> ReadError {
        ReadError::Damaged { shard: self.identity.shard, generation, position, what }
    }

    /// Reads batches that have been located: neighbours in one go, what lies apart at the same time.
    pub(super) async fn fetch(&self, located: &[Located], offset: Offset) -> Result<Batches, Failed> {
        let mut reads = Vec::new();
        let mut rest = located;
        while let Some(first) = rest.first() {
            let from = round_down(u64::from(first.entry.position));
            let mut end = u64::from(first.entry.position) + u64::from(first.entry.len);
            let mut n = 1;
            for next in &rest[1..] {
                let (at, len) = (u64::from(next.entry.position), u64::from(next.entry.len));
                let near = at >= end && at - end <= GAP_BYTES && at + len - from <= READ_BYTES_MAX;
                if next.generation != first.generation || !near {
                    break;
                }
                end = at + len;
                n += 1;
            }
            let len = ((end - from) as usize).next_multiple_of(BLOCK);
            let (part, generation) = (&rest[..n], first.generation);
            reads.push(async move {
                let read = self.read_range(generation, from, len).await;
                read.map(|bytes| (part, from, bytes)).map_err(|e| (Some(generation), e))
            });
            rest = &rest[n..];
        }
        let mut out = Batches { next_offset: offset, ..Batches::default() };
        for (part, from, bytes) in try_join_all(reads).await? {
            let generation = part.first().map(|l| l.generation);
            self.slice_batches(part, from, &bytes, &mut out).map_err(|e| (generation, e))?;
        }
        Ok(out)
    }

    /// Checks batches in bytes that were read at `from`, and joins neighbours.
    fn slice_batches(
        &self,
        part: &[Located],
        from: u64,
        bytes: &Bytes,
        out: &mut Batches,
    ) -> Result<(), ReadError> {
        let mut stretch: Option<(usize, usize, Offset)> = None;
        for batch in part {
            let entry = &batch.entry;
            let at = (u64::from(entry.position) - from) as usize;
            let to = at + entry.len as usize;
            let expected = Entry {
                log: crate::ids::LogId(0),
                len: entry.len,
                at: 0,
                span: entry.span,
                base_offset: entry.base_offset,
                max_timestamp: entry.max_timestamp,
            };
            check_entry(&expected, &bytes[at..to]).map_err(|cause| {
                let what = cause.map_or("another batch than the index names".to_owned(), |c| c.to_string());
                self.damaged(batch.generation, u64::from(entry.position), what)
            })?;
            let next = entry.base_offset + u64::from(entry.span);
            match &mut stretch {
                Some((_, end, offset)) if *end == at => (*end, *offset) = (to, next),
                other => {
                    if let Some((a, b, offset)) = other.take() {
                        out.push(bytes.slice(a..b), offset);
                    }
                    *other = Some((at, to, next));
                }
            }
        }
        if let Some((a, b, offset)) = stretch {
            out.push(bytes.slice(a..b), offset);
        }
        Ok(())
    }

    /// Bytes of a segment: small ranges through pieces, so that neighbours find them.
    async fn read_range(&self, generation: Generation, from: u64, len: usize) -> Result<Bytes, ReadError> {
        if len as u64 > PIECE_BYTES {
            return self.read_file(generation, false, from, len).await;
        }
        let start = from - from % PIECE_BYTES;
        let piece = self.piece(generation, false, start, PIECE_BYTES).await?;
        let at = (from - start) as usize;
        if at + len <= piece.len() {
            return Ok(piece.slice(at..at + len));
        }
        if piece.len() < PIECE_BYTES as usize {
            return Err(self.damaged(generation, from, "the segment ends early".to_owned()));
        }
        let rest = self.piece(generation, false, start + PIECE_BYTES, PIECE_BYTES).await?;
        let missing = len - (piece.len() - at);
        if missing > rest.len() {
            return Err(self.damaged(generation, from, "the segment ends early".to_owned()));
        }
        Ok([&piece[at..], &rest[..missing]].concat().into())
    }

    /// One piece of a file, or what there is of it before the file ends.
    pub(super) async fn piece(
        &self,
        generation: Generation,
        index: bool,
        at: u64,
        len: u64,
    ) -> Result<Bytes, ReadError> {
        let place = (generation, index, at);
        loop {
            let here = self.cold.borrow().piece(&place);
            match here {
                Some(Ok(piece)) => return Ok(piece),
                Some(Err(coming)) => coming.notified().await,
                None => break,
            }
        }
        self.cold.borrow_mut().piece_comes(place);
        let cold = &self.cold;
        let done = OnDrop(|piece: Option<&Bytes>| cold.borrow_mut().piece_is_here(place, piece));
        let io = |cause| ReadError::Io { shard: self.identity.shard, generation, position: at, cause };
        let file = self.open_file(generation, index, at).await?;
        let size = file.size().await.map_err(io)?;
        let len = round_up(size.saturating_sub(at).min(len) as usize);
        Counters::add(&self.counters.disk_reads, 1);
        let piece = read_exact_at(&file, at, len).await.map_err(io)?;
        // A segment that is still written to holds more the next time.
        let keep = self.state.borrow().segments.contains_key(&generation);
        done.finish(keep.then_some(&piece));
        Ok(piece)
    }

    async fn read_file(
        &self,
        generation: Generation,
        index: bool,
        at: u64,
        len: usize,
    ) -> Result<Bytes, ReadError> {
        let file = self.open_file(generation, index, at).await?;
        Counters::add(&self.counters.disk_reads, 1);
        let io = |cause| ReadError::Io { shard: self.identity.shard, generation, position: at, cause };
        let pooled = (POOLED_BYTES_MIN..=READ_BUFFER_BYTES).contains(&len);
        let buf = if pooled { self.read_pool.take().split_front(len) } else { AlignedBuf::uninit(len) };
        read_exact_into(&file, at, buf).await.map_err(io)
    }

    async fn open_file(&self, generation: Generation, index: bool, at: u64) -> Result<D::File, ReadError> {
        if let Some(file) = self.cold.borrow().file(generation, index) {
            return Ok(file);
        }
        let name = if index { files::index } else { files::segment };
        let io = |cause| ReadError::Io { shard: self.identity.shard, generation, position: at, cause };
        let file = self.disk.open(&name(&self.dir, generation)).await.map_err(io)?;
        if self.state.borrow().exists(generation) {
            self.cold.borrow_mut().keep_file(generation, index, file.clone());
        }
        Ok(file)
    }
}

/// Says once that something is done, in vain unless told otherwise: a reader may go away in the middle.
struct OnDrop<A: FnMut(Option<&Bytes>)>(A);

impl<A: FnMut(Option<&Bytes>)> OnDrop<A> {
    fn finish(mut self, with: Option<&Bytes>) {
        (self.0)(with);
    }
}

impl<A: FnMut(Option<&Bytes>)> Drop for OnDrop<A> {
    fn drop(&mut self) {
        (self.0)(None);
    }
}
