//! From places on the disk to batches: reads what lies there, checks it, joins neighbours.
//!
//! What comes from the disk is checked against its index entry and its checksum before anybody sees it. Extents are
//! read side by side, and none of them waits for another reader. Sealed segments are read through the system's page
//! cache, so that what was read ahead, or for somebody else, is here already.

use std::ops::Range;

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::aligned::{AlignedBuf, BLOCK, round_down, round_up};
use crate::error::ReadError;
use crate::ids::{Generation, LogId, Offset};
use crate::log::format::{Entry, check_entry};

use super::locate::{Failed, Located};
use super::opened::Kind;
use super::reader::Batches;
use crate::shard::Inner;

/// Largest single read, unless one batch is larger; memory for it is used again and again.
pub(crate) const READ_BUFFER_BYTES: usize = 2 << 20;
/// Batches further apart than this are not neighbours.
const APART_BYTES: u64 = 2 * BLOCK as u64;

/// Batches of one segment near each other, and the bytes of it that hold them.
struct Extent<'a> {
    batches: &'a [Located],
    range: Range<u64>,
}

/// Joins batches near each other.
fn extents(mut rest: &[Located]) -> Vec<Extent<'_>> {
    let mut out = Vec::new();
    while let Some(first) = rest.first() {
        let from = round_down(first.entry.position.into());
        let mut end = u64::from(first.entry.position) + u64::from(first.entry.len);
        let joins = |next: &&Located| {
            let (at, to) =
                (u64::from(next.entry.position), next.entry.position as u64 + next.entry.len as u64);
            let near = at >= end && at - end <= APART_BYTES;
            let fits = round_up((to - from.min(to)) as usize) <= READ_BUFFER_BYTES;
            let joined = next.generation == first.generation && near && fits;
            if joined {
                end = to;
            }
            joined
        };
        let count = 1 + rest[1..].iter().take_while(joins).count();
        let (batches, after) = rest.split_at(count);
        out.push(Extent { batches, range: from..from + round_up((end - from) as usize) as u64 });
        rest = after;
    }
    out
}

impl Inner {
    pub(crate) fn damaged(&self, generation: Generation, position: u64, what: String) -> ReadError {
        ReadError::Damaged { shard: self.identity.shard, generation, position, what }
    }

    /// Reads batches that have been located, and checks them.
    pub(crate) async fn fetch(&self, located: &[Located], offset: Offset) -> Result<Batches, Failed> {
        let extents = extents(located);
        let reads = extents.iter().map(|extent| async {
            let generation = extent.batches[0].generation;
            self.read_segment(generation, &extent.range).await.map_err(|e| (Some(generation), e))
        });
        let read = try_join_all(reads).await?;
        let mut out = Batches { next_offset: offset, ..Batches::default() };
        for (extent, bytes) in extents.iter().zip(&read) {
            let generation = extent.batches[0].generation;
            self.take_batches(extent, bytes, &mut out).map_err(|e| (Some(generation), e))?;
            // Checksums are most of the work: others have their turn in between.
            tokio::task::yield_now().await;
        }
        Ok(out)
    }

    /// Checks the batches of an extent, and joins neighbours.
    fn take_batches(&self, extent: &Extent<'_>, bytes: &Bytes, out: &mut Batches) -> Result<(), ReadError> {
        let mut stretch: Option<(usize, usize, Offset)> = None;
        for batch in extent.batches {
            let entry = &batch.entry;
            let at = (u64::from(entry.position) - extent.range.start) as usize;
            let to = at + entry.len as usize;
            let expected = Entry {
                log: LogId(0),
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
            match &mut stretch {
                Some((_, end, next)) if *end == at => (*end, *next) = (to, entry.end()),
                other => {
                    if let Some((from, end, next)) = other.replace((at, to, entry.end())) {
                        out.push(bytes.slice(from..end), next);
                    }
                }
            }
        }
        if let Some((from, end, next)) = stretch {
            out.push(bytes.slice(from..end), next);
        }
        Ok(())
    }

    async fn read_segment(&self, generation: Generation, range: &Range<u64>) -> Result<Bytes, ReadError> {
        let kind = if self.state.borrow().is_unsealed(generation) { Kind::Unsealed } else { Kind::Sealed };
        let file = self.open_file(generation, kind, range.start).await?;
        let buf = self.read_buffer((range.end - range.start) as usize);
        let read = self.read_paced(&file, range.start, buf).await;
        read.map_err(|cause| ReadError::Io {
            shard: self.identity.shard,
            generation,
            position: range.start,
            cause,
        })
    }

    /// Memory for a read. Small reads, which readers take and let go of in about the same order, share one buffer.
    pub(crate) fn read_buffer(&self, len: usize) -> AlignedBuf {
        if len > READ_BUFFER_BYTES {
            return AlignedBuf::uninit(len);
        }
        let mut open = self.read_memory.borrow_mut();
        match &mut *open {
            Some(buf) if buf.capacity() >= len => {
                let front = buf.split_front(len);
                if buf.capacity() == 0 {
                    *open = None;
                }
                front
            }
            _ => {
                let mut buf = self.read_pool.take();
                let front = buf.split_front(len);
                *open = (buf.capacity() > 0).then_some(buf);
                front
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::index::IndexEntry;

    fn located(generation: u64, position: u32, len: u32) -> Located {
        let entry = IndexEntry { base_offset: 0, position, len, span: 1, max_timestamp: 0 };
        Located { generation: Generation(generation), entry }
    }

    #[test]
    fn neighbours_are_read_together_in_whole_blocks_and_what_lies_apart_is_not() {
        let batches = [
            located(1, 5_000, 3_000),
            located(1, 8_000, 100),
            located(1, 15_000, 100),
            located(1, 100_000, 1),
            located(2, 100_001, 1),
            located(2, 50_000, 10),
        ];
        let found: Vec<_> = extents(&batches).iter().map(|e| (e.batches.len(), e.range.clone())).collect();
        assert_eq!(
            found,
            [(3, 4_096..16_384), (1, 98_304..102_400), (1, 98_304..102_400), (1, 49_152..53_248)]
        );
    }

    #[test]
    fn no_read_is_larger_than_its_memory_unless_one_batch_is() {
        let batches: Vec<_> = (0..6).map(|n| located(1, n << 20, 1 << 20)).collect();
        assert!(extents(&batches).iter().all(|e| e.batches.len() == 2));
        let large = [located(1, 0, 5 << 20), located(1, 5 << 20, 100)];
        assert_eq!(extents(&large)[0].range, 0..5 << 20);
        assert!(extents(&[]).is_empty());
    }
}
