//! Reading: from the tail cache without a copy, else from the disk through the index.
//!
//! A reader that reads on finds the next stretch ready. Segments may be written anew or freed while
//! somebody reads: then the place is looked up again. `locate` knows where batches lie, `fetch` brings them.
//!
//! Whole batches are returned, and the first one even when it is larger than what was asked for; an
//! offset in the middle of a batch returns that batch. Nothing that is not durable is returned.

use std::time::Duration;

use bytes::Bytes;

use crate::aligned::BLOCK;
use crate::error::ReadError;
use crate::ids::{Generation, Offset};
use crate::log::index::IndexEntry;
use crate::partition::{BatchRef, Partition, Run, Whereabouts};
use crate::record_batch;

use super::cold::Found;
use super::fetch::{Failed, READ_BYTES_MAX};
use super::locate::Located;
use super::{PartitionRef, Shard, State};

/// Read ahead of a reader at once.
const AHEAD_BYTES: usize = READ_BYTES_MAX as usize - BLOCK;
/// Stretches joined into one answer.
const PARTS_MAX: usize = 16;
/// Milliseconds that a reader waits for others who are far behind.
const FOLLOW_MS: u32 = 5;
/// Times that a place is looked up again because the segment was written anew or freed meanwhile.
const LOOKUPS_MAX: usize = 8;

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

impl Batches {
    pub(super) fn push(&mut self, slice: Bytes, next_offset: Offset) {
        self.bytes += slice.len();
        self.next_offset = next_offset;
        self.slices.push(slice);
    }

    /// Whether the first batch holds this offset.
    fn begin_by(&self, offset: Offset) -> bool {
        let first = self.slices.first().and_then(|s| record_batch::base_offset(s));
        first.is_some_and(|base| base <= offset)
    }

    /// Each batch.
    pub(super) fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.slices.iter().flat_map(|slice| {
            let mut rest = &slice[..];
            std::iter::from_fn(move || {
                let (batch, after) = rest.split_at_checked(record_batch::total_len(rest)?)?;
                rest = after;
                Some(batch)
            })
        })
    }

    /// Bytes of the first batch.
    pub(super) fn first_len(&self) -> usize {
        self.slices.first().and_then(|s| record_batch::total_len(s)).unwrap_or(0)
    }

    /// Takes whole batches from the front, at least one, and at most `bytes_max` bytes of them.
    pub(super) fn split_front(&mut self, bytes_max: usize) -> Self {
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
            let (part, cut) = match self.read_cached(at, out.next_offset, left)? {
                Cached::Here(part) => (part, false),
                // Too little for the effort.
                Cached::OnDisk if left < bytes_max / 8 => break,
                Cached::OnDisk => self.read_cold(at, out.next_offset, left, out.slices.is_empty()).await?,
            };
            let fits = out.slices.is_empty() || part.bytes <= left;
            if part.slices.is_empty() || !fits {
                break;
            }
            out.bytes += part.bytes;
            out.next_offset = part.next_offset;
            out.slices.extend(part.slices);
            if cut || out.bytes >= bytes_max {
                break;
            }
        }
        Ok(out)
    }

    /// Says also whether it ends early, see `Places::cut`.
    async fn read_cold(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
        must: bool,
    ) -> Result<(Batches, bool), ReadError> {
        loop {
            let found = self.inner.cold.borrow_mut().take_ahead(at.log(), offset, bytes_max, must);
            let reads_on = match found {
                Found::Ready(batches) => {
                    self.inner.state.borrow().check_range(at, offset)?;
                    self.read_ahead(at);
                    return Ok((batches, false));
                }
                Found::Coming(notify) => {
                    notify.notified().await;
                    continue;
                }
                Found::Nothing { reads_on } => reads_on,
            };
            let (batches, cut) = self.read_disk_some(at, offset, bytes_max, true).await?;
            self.inner.cold.borrow_mut().expect(at.log(), batches.next_offset);
            // Who moves together with others has the segment read ahead of all of them.
            if reads_on && !cut {
                self.read_ahead(at);
            }
            return Ok((batches, cut));
        }
    }

    /// Reads the next stretch for somebody who reads on, in the background.
    fn read_ahead(&self, at: PartitionRef) {
        let log = at.log();
        let Some((epoch, from)) = self.inner.cold.borrow_mut().begin_ahead(log, AHEAD_BYTES) else { return };
        let shard = self.clone();
        tokio::task::spawn_local(async move {
            let cold = &shard.inner.cold;
            cold.borrow_mut().enter();
            // What is in memory needs no reading ahead; an error is met again by the reader itself.
            let in_memory = !matches!(shard.read_cached(at, from, 1), Ok(Cached::OnDisk));
            let located = if in_memory { None } else { shard.locate(at, from, AHEAD_BYTES, true).await.ok() };
            let located = located.filter(|places| !places.cut);
            let next = located.as_ref().and_then(|l| l.batches.last()).map(|l| l.entry.end());
            if cold.borrow_mut().found_ahead(log, epoch, next) {
                let batches = match located {
                    Some(located) => shard.fetch_ahead(at, epoch, from, &located.batches).await.ok(),
                    None => None,
                };
                cold.borrow_mut().end_ahead(log, epoch, from, batches);
            }
            cold.borrow_mut().leave();
        });
    }

    /// Brings a stretch; the next one is read while this one is checked.
    async fn fetch_ahead(
        &self,
        at: PartitionRef,
        epoch: u64,
        from: Offset,
        located: &[Located],
    ) -> Result<Batches, Failed> {
        let brought = self.inner.bring(located).await?;
        self.inner.cold.borrow_mut().ahead_came(at.log(), epoch, from);
        self.read_ahead(at);
        tokio::task::yield_now().await;
        self.inner.check(brought, from).await
    }

    /// Reads from the disk, now.
    pub(super) async fn read_disk(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Batches, ReadError> {
        Ok(self.read_disk_some(at, offset, bytes_max, false).await?.0)
    }

    /// The same; with `together` it may end early, and says so.
    async fn read_disk_some(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
        together: bool,
    ) -> Result<(Batches, bool), ReadError> {
        let mut lookups = 0;
        loop {
            self.inner.cold.borrow_mut().enter();
            let result = self.read_located(at, offset, bytes_max, together).await;
            self.inner.cold.borrow_mut().leave();
            // The partition may have been deleted or trimmed meanwhile, and its space used again.
            self.inner.state.borrow().check_range(at, offset)?;
            let error = match result {
                Ok(batches) => return Ok(batches),
                Err((generation, error)) => {
                    let gone = generation.is_some_and(|g| !self.inner.state.borrow().holds(at, g));
                    if !gone {
                        return Err(error);
                    }
                    error
                }
            };
            lookups += 1;
            if lookups >= LOOKUPS_MAX {
                return Err(error);
            }
        }
    }

    async fn read_located(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
        together: bool,
    ) -> Result<(Batches, bool), Failed> {
        let places = self.locate(at, offset, bytes_max, together).await?;
        if together && let Some(first) = places.batches.first() {
            self.let_others_follow(first).await;
        }
        Ok((self.inner.fetch(&places.batches, offset).await?, places.cut))
    }

    /// Returns when those who read together with this reader are not far behind it any more, or after a moment.
    async fn let_others_follow(&self, first: &Located) {
        for _ in 0..FOLLOW_MS {
            if !self.inner.cold.borrow().is_far_ahead(first.generation, first.entry.position.into()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The first batch with a record at or after `from` whose largest timestamp is at least `timestamp_ms`, and
    /// the first of its offsets that counts: what lies before `from`, or was deleted, does not.
    ///
    /// The largest timestamp can be that of a record which does not count: who looks into the batch and finds none
    /// asks again from its end on.
    pub async fn find_by_time(
        &self,
        at: PartitionRef,
        timestamp_ms: i64,
        from: Offset,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        self.find_batch(at, from, |t| t >= timestamp_ms).await
    }

    /// The first of the batches with a record at or after `from` that hold the largest timestamp, and the first of
    /// its offsets that counts, as for [`Self::find_by_time`].
    pub async fn find_latest_time(
        &self,
        at: PartitionRef,
        from: Offset,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        let mut lookups = 0;
        let latest = loop {
            lookups += 1;
            let before = self.runs_of(at)?;
            match self.latest_time(at, from).await {
                // Segments were written anew meanwhile.
                Err(_) if lookups < LOOKUPS_MAX && self.runs_of(at).is_ok_and(|now| now != before) => {}
                other => break other?,
            }
        };
        match latest {
            Some(latest) => self.find_batch(at, from, |t| t == latest).await,
            None => Ok(None),
        }
    }

    /// The largest timestamp of the batches that have an offset at or after `from`.
    async fn latest_time(&self, at: PartitionRef, from: Offset) -> Result<Option<i64>, ReadError> {
        let (whole, cut, start) = {
            let state = self.inner.state.borrow();
            let partition = state.get(at).ok_or(ReadError::UnknownPartition)?;
            let start = partition.start.max(from);
            let (whole, cut): (Vec<Run>, Vec<Run>) = partition
                .runs
                .iter()
                .filter(|run| run.next_offset > start)
                .partition(|run| run.base_offset >= start);
            let sealed = whole.iter().map(|run| run.max_timestamp);
            let latest = sealed.chain(partition.durable_tail(start).map(|b| b.max_timestamp)).max();
            (latest, cut, start)
        };
        let mut latest = whole;
        // What is stated of a run counts batches before `start` as well.
        for run in cut.iter().filter(|run| whole.is_none_or(|latest| run.max_timestamp > latest)) {
            let mut number = 0;
            while number < run.entries {
                let block = self.inner.entries_from(run, number).await?;
                let kept = block.iter().filter(|e| e.base_offset + u64::from(e.span) > start);
                latest = latest.max(kept.map(|e| e.max_timestamp).max());
                number += block.len() as u32;
            }
        }
        Ok(latest)
    }

    async fn find_batch(
        &self,
        at: PartitionRef,
        from: Offset,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        let mut lookups = 0;
        loop {
            lookups += 1;
            let again = lookups < LOOKUPS_MAX;
            let before = self.runs_of(at)?;
            let changed = || self.runs_of(at).is_ok_and(|now| now != before);
            match self.find_batch_now(at, from, &wanted).await {
                // Segments were written anew meanwhile, or the batch went.
                Err(_) if again && changed() => {}
                Ok(Some((offset, batches))) if again && !batches.begin_by(offset) => {}
                other => return other,
            }
        }
    }

    fn runs_of(&self, at: PartitionRef) -> Result<Vec<Run>, ReadError> {
        let state = self.inner.state.borrow();
        Ok(state.get(at).ok_or(ReadError::UnknownPartition)?.runs.clone())
    }

    async fn find_batch_now(
        &self,
        at: PartitionRef,
        from: Offset,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        let (runs, in_tail, start) = {
            let state = self.inner.state.borrow();
            let partition = state.get(at).ok_or(ReadError::UnknownPartition)?;
            let start = partition.start.max(from);
            let found = partition.durable_tail(start).find(|b| wanted(b.max_timestamp));
            let in_tail = found.map(|b| b.base_offset.max(start));
            (partition.runs.clone(), in_tail, start)
        };
        let mut found = None;
        // Timestamps need not rise: the largest of a run says only that some batch may match.
        'runs: for run in runs.iter().filter(|r| r.next_offset > start && wanted(r.max_timestamp)) {
            let mut number = 0;
            while number < run.entries {
                let block = self.inner.entries_from(run, number).await?;
                let kept = |e: &&IndexEntry| e.base_offset + u64::from(e.span) > start;
                if let Some(entry) = block.iter().find(|e| kept(e) && wanted(e.max_timestamp)) {
                    found = Some(entry.base_offset.max(start));
                    break 'runs;
                }
                number += block.len() as u32;
            }
        }
        let first = match (found, in_tail) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        match first {
            Some(offset) => Ok(Some((offset, self.read(at, offset, 1).await?))),
            None => Ok(None),
        }
    }
}

impl Partition {
    /// The batches named in `tail` that readers may see, from an offset on.
    fn durable_tail(&self, start: Offset) -> impl Iterator<Item = &BatchRef> {
        let end = self.high_watermark;
        let below = move |b: &&BatchRef| b.base_offset + u64::from(b.span) <= start;
        self.tail.iter().skip_while(below).take_while(move |b| b.base_offset < end)
    }
}

impl State {
    pub(super) fn check_range(&self, at: PartitionRef, offset: Offset) -> Result<&Partition, ReadError> {
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

    /// Whether commits go to a segment, or it waits to be sealed.
    pub(super) fn is_unsealed(&self, generation: Generation) -> bool {
        generation == self.active.generation
            || self.seal_jobs.iter().any(|job| job.generation() == generation)
    }

    /// Whether a segment holds something still: sealed, or not yet.
    pub(super) fn exists(&self, generation: Generation) -> bool {
        self.is_unsealed(generation) || self.segments.contains_key(&generation)
    }
}
