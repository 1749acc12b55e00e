//! Reading from memory or disk.
//!
//! Whole batches are returned, and the first one even when it is larger than what was asked for. An offset in the middle
//! of a batch returns that batch. Nothing is returned of a segment that was freed or replaced during the read: then the
//! batches are located again.
//!
//! `cached` reads from the tail cache; `locate` knows where batches lie on the disk, through `index`; `fetch` brings them,
//! in `extents`; `ahead` reads what is wanted next; `by_time` finds batches by their timestamps.

use crate::error::ReadError;
use crate::ids::Offset;
use crate::planted::{self, Bug};
use crate::shard::handle::Shard;
use crate::shard::partitions::PartitionRef;
use crate::shard::state::State;

use super::batches::{Batches, Cached, Offer};
use super::located::{Failed, LOOKUPS_MAX, Located, bytes_of};

/// Parts that are joined into one answer.
const PARTS_MAX: usize = 16;

impl Shard {
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
                // A read for so little is not worth it.
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

    /// Locates batches and works with them (`work`). Does so again if one of the segments was freed or replaced meanwhile:
    /// its file may already hold something else. What the work made of it is discarded then.
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
    /// Whether a partition still has all of these batches where they were located.
    fn hold(&self, at: PartitionRef, located: &[Located]) -> bool {
        let segments = located.chunk_by(|a, b| a.generation == b.generation);
        segments.into_iter().all(|batches| self.holds(at, batches[0].generation))
    }
}
