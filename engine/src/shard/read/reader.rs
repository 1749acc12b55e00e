//! Reading: from the tail cache without a copy, else from the disk through the index.
//!
//! Whole batches are returned, and the first one even when it is larger than what was asked for; an offset in the
//! middle of a batch returns that batch. Nothing that is not durable is returned, and nothing of a segment that was
//! freed or written anew while it was read: then the place is looked up again.
//!
//! `locate` knows where batches lie, `fetch` brings them, `ahead` reads what is wanted next, `by_time` finds them by their
//! timestamps.

use bytes::Bytes;

use crate::error::ReadError;
use crate::ids::{Generation, Offset};
use crate::partition::{Partition, Whereabouts};
use crate::planted::{self, Bug};
use crate::record_batch;

use super::locate::{Failed, Located, bytes_of};
use crate::shard::{PartitionRef, Shard, State};

/// Stretches joined into one answer.
const PARTS_MAX: usize = 16;
/// Times that a place is looked up again because a segment could not be read any more.
pub(crate) const LOOKUPS_MAX: usize = 8;

/// Batches as stored, in offset order; neighbours in memory are joined into one slice.
#[derive(Debug, Clone, Default)]
pub struct Batches {
    /// The bytes.
    pub slices: Vec<Bytes>,
    /// Their sum.
    pub bytes: usize,
    /// Offset after the last record; equals what was asked for when there is nothing.
    pub next_offset: Offset,
}

/// What memory alone can answer.
#[derive(Debug)]
pub enum Cached {
    /// All of it: possibly nothing, at the high watermark.
    Here(Batches),
    /// The disk is needed: use [`Shard::read`].
    OnDisk,
}

/// What a partition has for a reader, before anything is read from the disk.
#[derive(Debug)]
pub enum Offer {
    /// In memory, all of it: possibly nothing, at the high watermark.
    Here(Batches),
    /// On the disk: so many bytes of whole batches, and those of the first one.
    OnDisk { bytes: usize, first: usize },
}

impl Batches {
    pub(crate) fn push(&mut self, slice: Bytes, next_offset: Offset) {
        self.bytes += slice.len();
        self.next_offset = next_offset;
        self.slices.push(slice);
    }

    /// Whether the first batch holds this offset.
    pub(crate) fn begin_by(&self, offset: Offset) -> bool {
        let first = self.slices.first().and_then(|s| record_batch::base_offset(s));
        first.is_some_and(|base| base <= offset)
    }

    /// Each batch.
    pub(crate) fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.slices.iter().flat_map(|slice| {
            let mut rest = &slice[..];
            std::iter::from_fn(move || {
                let (batch, after) = rest.split_at_checked(record_batch::total_len(rest)?)?;
                rest = after;
                Some(batch)
            })
        })
    }

    /// Bytes of the first batch; 0 if there is none.
    pub fn first_len(&self) -> usize {
        self.slices.first().and_then(|s| record_batch::total_len(s)).unwrap_or(0)
    }

    /// Takes whole batches from the front, at least one, and at most `bytes_max` bytes of them.
    pub fn split_front(&mut self, bytes_max: usize) -> Self {
        if self.bytes <= bytes_max {
            return std::mem::take(self);
        }
        let mut front = Self { next_offset: self.next_offset, ..Self::default() };
        while let Some(first) = self.slices.first_mut() {
            let mut end = 0;
            while let Some(len) = first.get(end..).and_then(record_batch::total_len) {
                if front.bytes + end > 0 && front.bytes + end + len > bytes_max {
                    break;
                }
                front.next_offset = record_batch::end_offset(&first[end..]).unwrap_or(front.next_offset);
                end += len;
            }
            let whole = end >= first.len();
            if end > 0 {
                let slice = first.split_to(end);
                self.bytes -= end;
                front.bytes += end;
                front.slices.push(slice);
            }
            if !whole {
                break;
            }
            self.slices.remove(0);
        }
        front
    }
}

impl Shard {
    /// Reads from memory: batches from the one that holds `offset`, up to `bytes_max` bytes.
    pub fn read_cached(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Cached, ReadError> {
        let state = self.inner.state.borrow();
        let partition = state.check_range(at, offset)?;
        let mut out = Batches { next_offset: offset, ..Batches::default() };
        if offset == partition.high_watermark {
            return Ok(Cached::Here(out));
        }
        let Some(Whereabouts::Tail(index)) = partition.find(offset, state.tail.first()) else {
            return Ok(Cached::OnDisk);
        };
        state.collect_cached(partition, index, bytes_max, &mut out);
        Ok(if out.slices.is_empty() { Cached::OnDisk } else { Cached::Here(out) })
    }

    /// Says what a partition has from the batch on that holds `offset`, up to `bytes_max` bytes.
    pub async fn offer(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Offer, ReadError> {
        if let Cached::Here(batches) = self.read_cached(at, offset, bytes_max)? {
            return Ok(Offer::Here(batches));
        }
        let located = self.looked_up(at, offset, async || {
            let located = self.locate(at, offset, bytes_max).await?;
            Ok((located.clone(), located))
        });
        let located = located.await?;
        let first = located.first().map_or(0, |b| b.entry.len as usize);
        Ok(Offer::OnDisk { bytes: bytes_of(&located), first })
    }

    /// Reads from memory or disk: batches from the one that holds `offset`, up to `bytes_max` bytes.
    pub async fn read(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Batches, ReadError> {
        let mut out = Batches { next_offset: offset, ..Batches::default() };
        for _ in 0..PARTS_MAX {
            let left = bytes_max.saturating_sub(out.bytes);
            let part = match self.read_cached(at, out.next_offset, left)? {
                Cached::Here(part) => part,
                // Too little for the effort.
                Cached::OnDisk if left < bytes_max / 8 => break,
                Cached::OnDisk => self.read_disk(at, out.next_offset, left).await?,
            };
            let fits = out.slices.is_empty() || part.bytes <= left;
            if part.slices.is_empty() || !fits {
                break;
            }
            out.bytes += part.bytes;
            out.next_offset = part.next_offset;
            out.slices.extend(part.slices);
            if out.bytes >= bytes_max {
                break;
            }
        }
        Ok(out)
    }

    /// Reads from the disk.
    pub(crate) async fn read_disk(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Batches, ReadError> {
        let read = self.looked_up(at, offset, async || {
            let located = self.locate(at, offset, bytes_max).await?;
            let batches = self.inner.fetch(&located, offset).await?;
            Ok((located, batches))
        });
        read.await
    }

    /// Does what uses places on the disk, again if they do not count any more when it is done: segments are written
    /// anew, freed, and used again with other content while somebody reads.
    async fn looked_up<T>(
        &self,
        at: PartitionRef,
        offset: Offset,
        work: impl AsyncFn() -> Result<(Vec<Located>, T), Failed>,
    ) -> Result<T, ReadError> {
        let mut failed = 0;
        loop {
            let result = work().await;
            let state = self.inner.state.borrow();
            // The partition may have been deleted or trimmed meanwhile.
            state.check_range(at, offset)?;
            match result {
                Ok((used, done)) if planted::is(Bug::FreedServed) || state.hold(at, &used) => {
                    return Ok(done);
                }
                Ok(_) => {}
                Err((generation, error)) => {
                    failed += 1;
                    if failed >= LOOKUPS_MAX || generation.is_none_or(|g| state.holds(at, g)) {
                        return Err(error);
                    }
                }
            }
        }
    }
}

impl State {
    pub(crate) fn check_range(&self, at: PartitionRef, offset: Offset) -> Result<&Partition, ReadError> {
        let partition = self.get(at).ok_or(ReadError::UnknownPartition)?;
        if offset < partition.start || offset > partition.high_watermark {
            return Err(ReadError::OutOfRange {
                offset,
                start: partition.start,
                high_watermark: partition.high_watermark,
            });
        }
        Ok(partition)
    }

    /// Collects batches from the tail cache, beginning with the one at `index`, while they are there.
    fn collect_cached(&self, partition: &Partition, index: usize, bytes_max: usize, out: &mut Batches) {
        // A stretch of batches that lie next to each other in one commit.
        let mut stretch: Option<(u64, usize, usize, Offset)> = None;
        let mut bytes = 0;
        let flush = |stretch: Option<(u64, usize, usize, Offset)>, out: &mut Batches| {
            if let Some((seq, from, to, next)) = stretch
                && let Some(commit) = self.tail.get(seq)
            {
                out.push(commit.slice(from..to), next);
            }
        };
        for batch in partition.tail.range(index..) {
            let next = batch.base_offset + u64::from(batch.span);
            let full = bytes > 0 && bytes + batch.len as usize > bytes_max;
            if full || next > partition.high_watermark || batch.seq < self.tail.first() {
                break;
            }
            bytes += batch.len as usize;
            let (from, to) = (batch.at as usize, batch.at as usize + batch.len as usize);
            match &mut stretch {
                Some((seq, _, end, offset)) if *seq == batch.seq && *end == from => {
                    (*end, *offset) = (to, next);
                }
                other => {
                    flush(other.take(), out);
                    *other = Some((batch.seq, from, to, next));
                }
            }
        }
        flush(stretch, out);
    }

    /// Whether a partition still has all of these batches where they were found.
    fn hold(&self, at: PartitionRef, located: &[Located]) -> bool {
        let segments = located.chunk_by(|a, b| a.generation == b.generation);
        segments.into_iter().all(|batches| self.holds(at, batches[0].generation))
    }

    /// Whether commits go to a segment, or it waits to be sealed.
    pub(crate) fn is_unsealed(&self, generation: Generation) -> bool {
        generation == self.active.generation
            || self.seal_jobs.iter().any(|job| job.generation() == generation)
    }

    /// Whether a segment holds something still: sealed, or not yet.
    pub(crate) fn exists(&self, generation: Generation) -> bool {
        self.is_unsealed(generation) || self.segments.contains_key(&generation)
    }
}
