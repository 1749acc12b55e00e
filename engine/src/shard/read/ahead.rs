//! Read-ahead: what a reader will want next is read into the page cache before it asks.
//!
//! Only how far each partition was read ahead is remembered (`ahead_offsets`). The bytes are the system's to keep or to
//! drop. Neighbours on the disk are read in one go, whatever partition they belong to.

use std::collections::VecDeque;
use std::ops::Range;

use crate::aligned::{BLOCK, round_down, round_up};
use crate::disk::{DiskFile, LONG_READ_BYTES};
use crate::error::ReadError;
use crate::ids::{Generation, Offset};

use crate::shard::counters::Counters;
use crate::shard::handle::Shard;
use crate::shard::inner::Inner;
use crate::shard::partitions::PartitionRef;

use super::batches::Cached;
use super::located::{Located, bytes_of};
use super::opened::Kind;

/// Tasks that read ahead at once.
const TASKS_MAX: usize = 8;
/// The gap between two batches is read with them if it is smaller than this, and smaller than the batches.
const GAP_BYTES: u64 = 64 << 10;
/// Bytes of one piece of advice to the system (`FADV_WILLNEED`), which takes no more at once on some devices.
const ADVICE_BYTES: u64 = 1 << 20;
/// Bytes of one piece of advice beside commits, where one is given at a time.
const PACED_BYTES: u64 = 128 << 10;
/// Bytes that are read ahead in one partition.
const WANT_BYTES_MAX: usize = 16 << 20;
/// Pieces of advice in one call.
const RANGES_AT_ONCE: usize = 32;

/// Where a reader will go on reading: a partition, and an offset.
pub type Want = (PartitionRef, Offset);

/// The ranges of files that hold the batches, in order. Ranges near each other are joined.
fn merged(mut batches: Vec<Located>) -> Vec<(Generation, Range<u64>)> {
    batches.sort_unstable_by_key(|b| (b.generation, b.entry.position));
    let mut out: Vec<(Generation, Range<u64>, u64)> = Vec::new();
    for Located { generation, entry } in batches {
        let len = u64::from(entry.len);
        let (from, end) = (u64::from(entry.position), u64::from(entry.position) + len);
        match out.last_mut() {
            Some((same, range, wanted))
                if *same == generation
                    && from <= range.end + GAP_BYTES
                    && end - range.start <= 2 * (*wanted + len) =>
            {
                range.end = range.end.max(end);
                *wanted += len;
            }
            _ => out.push((generation, from..end, len)),
        }
    }
    let whole = |range: Range<u64>| round_down(range.start)..round_up(range.end as usize) as u64;
    out.into_iter().map(|(generation, range, _)| (generation, whole(range))).collect()
}

impl Shard {
    /// Reads ahead, in the background, what a reader will want next, as far as it lies in sealed segments. All wants share
    /// [`ShardOptions::read_ahead_bytes`](crate::shard::ShardOptions::read_ahead_bytes) equally, and none gets more than 16 MiB.
    /// What was read ahead before is not read again.
    pub fn read_ahead(&self, wants: Vec<Want>) {
        let bytes = (self.inner.options.read_ahead_bytes / wants.len().max(1)).min(WANT_BYTES_MAX);
        if wants.is_empty() || bytes == 0 || self.inner.reads.ahead.borrow().tasks >= TASKS_MAX {
            return;
        }
        self.inner.reads.ahead.borrow_mut().tasks += 1;
        let shard = self.clone();
        tokio::task::spawn_local(async move {
            let mut batches = Vec::new();
            for want in wants {
                shard.locate_ahead(want, bytes, &mut batches).await;
            }
            for group in merged(batches).chunk_by(|a, b| a.0 == b.0) {
                let ranges = group.iter().map(|(_, range)| range.clone()).collect();
                // The reader itself meets an error again.
                let _ignored = shard.inner.fill_cache(group[0].0, ranges).await;
            }
            shard.inner.reads.ahead.borrow_mut().tasks -= 1;
        });
    }

    /// Adds the batches of one want that are on the disk and were not read ahead, if they are worth a read.
    async fn locate_ahead(&self, (at, from): Want, bytes: usize, out: &mut Vec<Located>) {
        // Batches in memory need no read-ahead.
        if !matches!(self.read_cached(at, from, 0), Ok(Cached::OnDisk)) {
            return;
        }
        let Ok(mut batches) = self.locate(at, from, bytes).await else { return };
        let begin = self.inner.reads.ahead.borrow().begin(at.log(), from);
        batches.retain(|b| b.entry.base_offset >= begin);
        let Some(end) = batches.last().map(|b| b.entry.end()) else { return };
        if begin > from && bytes_of(&batches) < bytes / 4 {
            return;
        }
        self.inner.reads.ahead.borrow_mut().note(at.log(), from, end);
        let state = self.inner.state.borrow();
        out.extend(batches.into_iter().filter(|b| state.segments.sealed.contains_key(&b.generation)));
    }
}

impl Inner {
    /// Reads ranges of a sealed segment into the page cache, giving way to commits. Long ranges are read; for others the system
    /// gets advice.
    async fn fill_cache(
        &self,
        generation: Generation,
        mut ranges: VecDeque<Range<u64>>,
    ) -> Result<(), ReadError> {
        let file = self.open_file(generation, Kind::Sealed, 0).await?;
        while let Some(first) = ranges.front()
            && !self.ends()
        {
            let long = is_long(first);
            let paced = self.commits_flow();
            let (bytes_max, count) = match (paced, long) {
                (true, _) => (PACED_BYTES, 1),
                (false, true) => (ADVICE_BYTES, 1),
                (false, false) => (ADVICE_BYTES, short_ones(&ranges)),
            };
            let now = take(&mut ranges, bytes_max, count);
            Counters::add(&self.counters.disk_reads, now.len() as u64);
            Counters::add(&self.counters.disk_read_bytes, now.iter().map(|r| r.end - r.start).sum());
            if paced {
                let last = now[0].end - BLOCK as u64;
                let _permit = self.reads.paced_permits.acquire().await;
                self.let_commits_land().await;
                file.will_need(now).await;
                // This read returns when the device has read the range: until then no other is begun.
                let _here = file.read_at(self.reads.memory.take(BLOCK), last).await;
            } else if long {
                // Long reads, one after the other, make the kernel read ahead by itself, in large pages: a quarter of the
                // processor time of advice. The bytes are not needed yet.
                let Range { start, end } = now[0];
                let _here = file.read_at(self.reads.memory.take((end - start) as usize), start).await;
            } else {
                file.will_need(now).await;
            }
        }
        Ok(())
    }
}

fn is_long(range: &Range<u64>) -> bool {
    range.end - range.start >= LONG_READ_BYTES
}

/// How many short ranges stand in front, up to what is advised in one call.
fn short_ones(ranges: &VecDeque<Range<u64>>) -> usize {
    ranges.iter().take(RANGES_AT_ONCE).take_while(|range| !is_long(range)).count()
}

/// Takes up to `count` ranges from the front, cut into parts of at most `bytes_max` bytes.
fn take(ranges: &mut VecDeque<Range<u64>>, bytes_max: u64, count: usize) -> Vec<Range<u64>> {
    let mut out = Vec::new();
    while out.len() < count
        && let Some(first) = ranges.front_mut()
    {
        let end = first.end.min(first.start + bytes_max);
        out.push(first.start..end);
        first.start = end;
        if first.is_empty() {
            ranges.pop_front();
        }
    }
    out
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
    fn near_extents_are_one_range_whatever_their_order_and_sparse_ones_are_not() {
        let together = vec![located(1, 70_000, 60_000), located(1, 0, 65_536), located(2, 0, 10)];
        assert_eq!(merged(together), [(Generation(1), 0..131_072), (Generation(2), 0..4_096)]);
        // The gap is larger than the batches.
        let sparse = vec![located(1, 0, 1_000), located(1, 40_960, 1_000)];
        assert_eq!(merged(sparse).len(), 2);
    }

    #[test]
    fn a_long_range_is_never_among_short_ones() {
        let long = |from: u64| from..from + LONG_READ_BYTES;
        assert_eq!(short_ones(&VecDeque::from([0..4_096, 8_192..12_288, long(1 << 20), 0..4_096])), 2);
        assert_eq!(short_ones(&VecDeque::from([long(0), 0..4_096])), 0);
        assert_eq!(short_ones(&(0..100).map(|i| i..i + 1).collect()), RANGES_AT_ONCE);
    }

    #[test]
    fn ranges_are_taken_in_parts_and_in_order() {
        let mut ranges = VecDeque::from([0..10, 20..21, 30..33]);
        assert_eq!(take(&mut ranges, 4, 2), [0..4, 4..8]);
        assert_eq!(take(&mut ranges, 4, 9), [8..10, 20..21, 30..33]);
        assert!(take(&mut ranges, 4, 9).is_empty());
    }
}
