//! Reading: from the tail cache without a copy, else from the disk through the index.
//!
//! Extents near each other are read in one go; small ones share pieces that are kept for a while, so that
//! readers of several partitions scan a segment once; a reader that reads on finds the next stretch
//! ready. Segments may be written anew or freed while somebody reads: then the place is looked up again.
//!
//! Whole batches are returned, and the first one even when it is larger than what was asked for; an
//! offset in the middle of a batch returns that batch. Nothing that is not durable is returned. What
//! comes from the disk is checked against its index entry and its checksum before anybody sees it.

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::aligned::{AlignedBuf, BLOCK, round_down, round_up};
use crate::disk::{Disk, DiskFile, read_exact_at, read_exact_into};
use crate::error::ReadError;
use crate::ids::{Generation, Offset};
use crate::log::files;
use crate::log::format::{Entry, check_entry};
use crate::log::index::{ENTRIES_PER_BLOCK, GAP_BYTES, IndexEntry, decode_entries};
use crate::partition::{BatchRef, Partition, Run, Whereabouts};
use crate::record_batch;

use super::cold::Found;
use super::{Counters, Inner, PartitionRef, Shard, State};

/// Largest single read, unless one batch is larger.
const READ_BYTES_MAX: u64 = READ_BUFFER_BYTES as u64 - BLOCK as u64;
/// Memory that such a read uses, again and again.
pub(super) const READ_BUFFER_BYTES: usize = 2 << 20;
/// Reads of less than this take memory of their own, so that little data does not hold much.
const POOLED_BYTES_MIN: usize = 512 << 10;
/// Smaller reads go through pieces of this size.
const PIECE_BYTES: u64 = 128 << 10;
/// Of an index, a piece of this size.
const INDEX_PIECE_BYTES: u64 = 64 << 10;
/// Read ahead of a reader at once.
const AHEAD_BYTES: usize = READ_BYTES_MAX as usize - BLOCK;
/// Stretches joined into one answer.
const PARTS_MAX: usize = 16;
/// Sealed segments of which one read takes something.
const RUNS_MAX: usize = 32;
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

/// An error, and the segment that was read then, if it came to that.
type Failed = (Option<Generation>, ReadError);

/// One batch on the disk.
#[derive(Debug, Clone, Copy)]
struct Located {
    generation: Generation,
    entry: IndexEntry,
}

impl Batches {
    fn push(&mut self, slice: Bytes, next_offset: Offset) {
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

impl<D: Disk> Shard<D> {
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
            let part = match self.read_cached(at, out.next_offset, left)? {
                Cached::Here(part) => part,
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
            if out.bytes >= bytes_max {
                break;
            }
        }
        Ok(out)
    }

    async fn read_cold(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
        must: bool,
    ) -> Result<Batches, ReadError> {
        loop {
            let found = self.inner.cold.borrow_mut().take_ahead(at.log(), offset, bytes_max, must);
            let reads_on = match found {
                Found::Ready(batches) => {
                    self.inner.state.borrow().check_range(at, offset)?;
                    self.read_ahead(at);
                    return Ok(batches);
                }
                Found::Coming(notify) => {
                    notify.notified().await;
                    continue;
                }
                Found::Nothing { reads_on } => reads_on,
            };
            let batches = self.read_disk(at, offset, bytes_max).await?;
            self.inner.cold.borrow_mut().expect(at.log(), batches.next_offset);
            if reads_on {
                self.read_ahead(at);
            }
            return Ok(batches);
        }
    }

    /// Reads the next stretches for somebody who reads on, in the background: while one is being read, the
    /// next is looked for.
    fn read_ahead(&self, at: PartitionRef) {
        let log = at.log();
        let Some((epoch, from)) = self.inner.cold.borrow_mut().begin_ahead(log, AHEAD_BYTES) else { return };
        let shard = self.clone();
        tokio::task::spawn_local(async move {
            let cold = &shard.inner.cold;
            cold.borrow_mut().enter();
            // What is in memory needs no reading ahead; an error is met again by the reader itself.
            let in_memory = !matches!(shard.read_cached(at, from, 1), Ok(Cached::OnDisk));
            let located = if in_memory { None } else { shard.locate(at, from, AHEAD_BYTES).await.ok() };
            let next = located.as_ref().and_then(|l| l.last()).map(|l| l.entry.end());
            if cold.borrow_mut().found_ahead(log, epoch, next) {
                shard.read_ahead(at);
                let batches = match located {
                    Some(located) => shard.inner.fetch(&located, from).await.ok(),
                    None => None,
                };
                cold.borrow_mut().end_ahead(log, epoch, from, batches);
            }
            cold.borrow_mut().leave();
        });
    }

    /// Reads from the disk, now.
    pub(super) async fn read_disk(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Batches, ReadError> {
        let mut lookups = 0;
        loop {
            self.inner.cold.borrow_mut().enter();
            let result = self.read_located(at, offset, bytes_max).await;
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
    ) -> Result<Batches, Failed> {
        let located = self.locate(at, offset, bytes_max).await?;
        self.inner.fetch(&located, offset).await
    }

    /// Finds where batches lie that are not in memory: in one sealed segment after the other, or in those that
    /// are not sealed yet.
    async fn locate(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Located>, Failed> {
        let (runs, high_watermark) = {
            let state = self.inner.state.borrow();
            let partition = state.check_range(at, offset).map_err(|e| (None, e))?;
            match partition.find(offset, state.sealed_below) {
                Some(Whereabouts::Tail(index)) => {
                    state.tail.missed();
                    return Ok(state.locate_unsealed(partition, index, bytes_max));
                }
                Some(Whereabouts::Run(index)) => {
                    let runs = partition.runs.get(index..).unwrap_or_default();
                    (runs.iter().take(RUNS_MAX).copied().collect::<Vec<_>>(), partition.high_watermark)
                }
                None => {
                    let what = format!("no batch holds offset {offset} of log {}", at.log());
                    return Err((None, self.inner.damaged(Generation(0), 0, what)));
                }
            }
        };
        let (mut out, mut bytes) = (Vec::new(), 0);
        for run in runs {
            let first = out.is_empty();
            match self.locate_in(&run, offset, high_watermark, bytes_max, &mut bytes, &mut out).await {
                Ok(true) => {}
                Ok(false) => break,
                // What lies before it can be read; who reads on meets the error again.
                Err(_) if !first => break,
                Err(e) => return Err((Some(run.generation), e)),
            }
        }
        Ok(out)
    }

    /// Adds batches of one run, from the one that holds `offset`. `false`: there is no room for more.
    async fn locate_in(
        &self,
        run: &Run,
        offset: Offset,
        high_watermark: Offset,
        bytes_max: usize,
        bytes: &mut usize,
        out: &mut Vec<Located>,
    ) -> Result<bool, ReadError> {
        let mut number =
            if offset <= run.base_offset { 0 } else { self.inner.find_entry(run, offset).await? };
        while number < run.entries {
            let block = self.inner.entries_from(run, number).await?;
            for entry in &block {
                let end = entry.base_offset + u64::from(entry.span);
                let full = !out.is_empty() && *bytes + entry.len as usize > bytes_max;
                if full || end > high_watermark {
                    return Ok(false);
                }
                *bytes += entry.len as usize;
                out.push(Located { generation: run.generation, entry: *entry });
            }
            number += block.len() as u32;
        }
        Ok(*bytes < bytes_max)
    }

    /// The first batch whose largest timestamp is at least `timestamp_ms`, and its base offset.
    pub async fn find_by_time(
        &self,
        at: PartitionRef,
        timestamp_ms: i64,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        self.find_batch(at, |t| t >= timestamp_ms).await
    }

    /// The first of the batches that hold the largest timestamp, and its base offset.
    pub async fn find_latest_time(&self, at: PartitionRef) -> Result<Option<(Offset, Batches)>, ReadError> {
        let latest = {
            let state = self.inner.state.borrow();
            let partition = state.get(at).ok_or(ReadError::UnknownPartition)?;
            let sealed = partition.runs.iter().map(|r| r.max_timestamp);
            sealed.chain(partition.durable_tail().map(|b| b.max_timestamp)).max()
        };
        match latest {
            Some(latest) => self.find_batch(at, |t| t == latest).await,
            None => Ok(None),
        }
    }

    async fn find_batch(
        &self,
        at: PartitionRef,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        let mut lookups = 0;
        loop {
            lookups += 1;
            let again = lookups < LOOKUPS_MAX;
            let before = self.runs_of(at)?;
            let changed = || self.runs_of(at).is_ok_and(|now| now != before);
            match self.find_batch_now(at, &wanted).await {
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
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        let (runs, in_tail, start) = {
            let state = self.inner.state.borrow();
            let partition = state.get(at).ok_or(ReadError::UnknownPartition)?;
            let found = partition.durable_tail().find(|b| wanted(b.max_timestamp));
            let in_tail = found.map(|b| b.base_offset.max(partition.start));
            (partition.runs.clone(), in_tail, partition.start)
        };
        let mut found = None;
        // Timestamps need not rise: the largest of a run says only that some batch may match.
        'runs: for run in runs.iter().filter(|r| wanted(r.max_timestamp)) {
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
    /// The batches named in `tail` that readers may see.
    fn durable_tail(&self) -> impl Iterator<Item = &BatchRef> {
        let (start, end) = (self.start, self.high_watermark);
        let below = move |b: &&BatchRef| b.base_offset + u64::from(b.span) <= start;
        self.tail.iter().skip_while(below).take_while(move |b| b.base_offset < end)
    }
}

impl<F> State<F> {
    fn check_range(&self, at: PartitionRef, offset: Offset) -> Result<&Partition, ReadError> {
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
    fn exists(&self, generation: Generation) -> bool {
        self.is_unsealed(generation) || self.segments.contains_key(&generation)
    }

    fn locate_unsealed(&self, partition: &Partition, index: usize, bytes_max: usize) -> Vec<Located> {
        let (mut out, mut bytes) = (Vec::new(), 0);
        for batch in partition.tail.range(index..) {
            let next = batch.base_offset + u64::from(batch.span);
            let full = !out.is_empty() && bytes + batch.len as usize > bytes_max;
            if full || next > partition.high_watermark || self.tail.holds(batch.seq) {
                break;
            }
            let Some((generation, position)) = self.place(batch.seq) else { break };
            bytes += batch.len as usize;
            let entry = IndexEntry {
                base_offset: batch.base_offset,
                position: (position + u64::from(batch.at)) as u32,
                len: batch.len,
                span: batch.span,
                max_timestamp: batch.max_timestamp,
            };
            out.push(Located { generation, entry });
        }
        out
    }
}

impl<D: Disk> Inner<D> {
    fn damaged(&self, generation: Generation, position: u64, what: String) -> ReadError {
        ReadError::Damaged { shard: self.identity.shard, generation, position, what }
    }

    /// Reads batches that have been located: neighbours in one go, what lies apart at the same time.
    async fn fetch(&self, located: &[Located], offset: Offset) -> Result<Batches, Failed> {
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

    /// Number, within the run, of the entry of the batch that holds `offset` or is the first behind it.
    /// Guesses by proportion, then narrows block by block.
    async fn find_entry(&self, run: &Run, offset: Offset) -> Result<u32, ReadError> {
        let (mut low, mut high) = (0u32, run.entries);
        let (mut low_offset, mut high_offset) = (run.base_offset, run.next_offset);
        while low < high {
            let share = u128::from(offset.saturating_sub(low_offset)) * u128::from(high - low);
            let guess = low + (share / u128::from((high_offset - low_offset).max(1))) as u32;
            let guess = guess.clamp(low, high - 1);
            let start = self.block_start(run, guess);
            let block = self.entries_from(run, start).await?;
            let (Some(first), Some(last)) = (block.first(), block.last()) else { break };
            if offset < first.base_offset {
                (high, high_offset) = (start, first.base_offset);
            } else if offset >= last.base_offset + u64::from(last.span) {
                (low, low_offset) = (start + block.len() as u32, last.base_offset + u64::from(last.span));
            } else {
                let before = block.partition_point(|e| e.base_offset + u64::from(e.span) <= offset);
                return Ok(start + before as u32);
            }
        }
        if low < run.entries {
            return Ok(low);
        }
        Err(self.damaged(run.generation, 0, format!("its index names no batch with offset {offset}")))
    }

    /// The first entry of the run in the index block that holds entry `number` of the run.
    fn block_start(&self, run: &Run, number: u32) -> u32 {
        let absolute = run.first_entry + number;
        (absolute - absolute % ENTRIES_PER_BLOCK as u32).saturating_sub(run.first_entry)
    }

    /// The entries of the run from `number` to the end of that index block.
    async fn entries_from(&self, run: &Run, number: u32) -> Result<Vec<IndexEntry>, ReadError> {
        let entries_block = {
            let state = self.state.borrow();
            state.segments.get(&run.generation).map(|s| s.entries_block).ok_or(ReadError::UnknownPartition)?
        };
        let absolute = run.first_entry + number;
        let block_number = entries_block + absolute / ENTRIES_PER_BLOCK as u32;
        let block = self.index_block(run.generation, block_number).await?;
        let from = absolute as usize % ENTRIES_PER_BLOCK;
        let to = (from + (run.entries - number) as usize).min(block.len());
        match block.get(from..to) {
            Some(entries) if !entries.is_empty() => Ok(entries.to_vec()),
            _ => Err(self.damaged(run.generation, 0, format!("index block {block_number} ends early"))),
        }
    }

    async fn index_block(&self, generation: Generation, number: u32) -> Result<Vec<IndexEntry>, ReadError> {
        let at = u64::from(number) * BLOCK as u64;
        let piece = self.piece(generation, true, at - at % INDEX_PIECE_BYTES, INDEX_PIECE_BYTES).await?;
        let from = (at % INDEX_PIECE_BYTES) as usize;
        let entries = piece
            .get(from..from + BLOCK)
            .and_then(|block| decode_entries(self.identity.shard, generation, number, block));
        entries.ok_or_else(|| {
            let what = format!(
                "index block {number} is damaged; a restart derives it anew once the index file is removed"
            );
            self.damaged(generation, at, what)
        })
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
    async fn piece(
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
