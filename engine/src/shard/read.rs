//! Reading: from the tail cache without a copy, else from the disk through the index.
//!
//! Whole batches are returned, and the first one even when it is larger than what was asked for; an
//! offset in the middle of a batch returns that batch. Nothing that is not durable is returned. What
//! comes from the disk is checked against its index entry and its checksum before anybody sees it.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use crate::aligned::{BLOCK, round_down};
use crate::disk::{Disk, read_exact_at};
use crate::error::ReadError;
use crate::ids::{Generation, Offset};
use crate::log::files;
use crate::log::format::{Entry, check_entry};
use crate::log::index::{ENTRIES_PER_BLOCK, IndexEntry, decode_entries};
use crate::partition::{BatchRef, Partition, Run};

use super::{Counters, Inner, PartitionRef, Shard, State};

/// Extents nearer to each other than this are read at once.
const GAP_BYTES: u64 = 64 << 10;
/// Largest single read, unless one batch is larger.
const READ_BYTES_MAX: u64 = 2 << 20;
/// Stretches joined into one answer.
const PARTS_MAX: usize = 16;
const FILES_MAX: usize = 32;
const BLOCKS_MAX: usize = 256;

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
        let Some(index) = partition.tail_index(offset) else { return Ok(Cached::OnDisk) };
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
                Cached::OnDisk => self.read_cold(at, out.next_offset, left).await?,
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
    ) -> Result<Batches, ReadError> {
        let located = self.locate(at, offset, bytes_max).await?;
        let out = self.inner.fetch(&located, offset).await?;
        // The partition may have been deleted, and its segment used again, meanwhile.
        self.inner.state.borrow().check_range(at, offset)?;
        Ok(out)
    }

    /// Finds where batches lie that are not in memory.
    async fn locate(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Located>, ReadError> {
        let (run, high_watermark) = {
            let state = self.inner.state.borrow();
            let partition = state.check_range(at, offset)?;
            if let Some(index) = partition.tail_index(offset) {
                state.tail.missed();
                return Ok(state.locate_unsealed(partition, index, bytes_max));
            }
            (partition.run_of(offset).copied(), partition.high_watermark)
        };
        let Some(run) = run else {
            let what = format!("no batch holds offset {offset} of log {}", at.log());
            return Err(self.inner.damaged(Generation(0), 0, what));
        };
        let mut number = self.inner.find_entry(&run, offset).await?;
        let (mut out, mut bytes) = (Vec::new(), 0);
        while number < run.entries {
            let block = self.inner.entries_from(&run, number).await?;
            for entry in block.iter() {
                let end = entry.base_offset + u64::from(entry.span);
                let full = !out.is_empty() && bytes + entry.len as usize > bytes_max;
                if full || end > high_watermark {
                    return Ok(out);
                }
                bytes += entry.len as usize;
                out.push(Located { generation: run.generation, entry: *entry });
            }
            number += block.len() as u32;
        }
        Ok(out)
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
        let (runs, in_tail) = {
            let state = self.inner.state.borrow();
            let partition = state.get(at).ok_or(ReadError::UnknownPartition)?;
            let in_tail = partition.durable_tail().find(|b| wanted(b.max_timestamp)).map(|b| b.base_offset);
            (partition.runs.clone(), in_tail)
        };
        let mut found = None;
        // Timestamps need not rise: the largest of a run says only that some batch may match.
        'runs: for run in runs.iter().filter(|r| wanted(r.max_timestamp)) {
            let mut number = 0;
            while number < run.entries {
                let block = self.inner.entries_from(run, number).await?;
                if let Some(entry) = block.iter().find(|e| wanted(e.max_timestamp)) {
                    found = Some(entry.base_offset);
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
        let end = self.high_watermark;
        self.tail.iter().take_while(move |b| b.base_offset < end)
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

    /// Reads batches that have been located: neighbours in one go.
    async fn fetch(&self, located: &[Located], offset: Offset) -> Result<Batches, ReadError> {
        let mut out = Batches { next_offset: offset, ..Batches::default() };
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
            let bytes = self.read_file(first.generation, false, from, len).await?;
            self.slice_batches(&rest[..n], from, &bytes, &mut out)?;
            rest = &rest[n..];
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

    /// Number, within the run, of the entry of the batch that holds `offset`. Guesses by proportion,
    /// then narrows block by block.
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
                let after = block.partition_point(|e| e.base_offset <= offset);
                return Ok(start + after as u32 - 1);
            }
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

    async fn index_block(
        &self,
        generation: Generation,
        number: u32,
    ) -> Result<Rc<Vec<IndexEntry>>, ReadError> {
        if let Some(block) = self.cold.borrow().block(generation, number) {
            return Ok(block);
        }
        let bytes = self.read_file(generation, true, u64::from(number) * BLOCK as u64, BLOCK).await?;
        let entries = decode_entries(self.identity.shard, generation, number, &bytes)
            .ok_or_else(|| self.damaged(generation, 0, format!("index block {number} is damaged; a restart derives it anew once the index file is removed")))?;
        let entries = Rc::new(entries);
        self.cold.borrow_mut().keep_block(generation, number, Rc::clone(&entries));
        Ok(entries)
    }

    async fn read_file(
        &self,
        generation: Generation,
        index: bool,
        at: u64,
        len: usize,
    ) -> Result<Bytes, ReadError> {
        let io = |cause| ReadError::Io { shard: self.identity.shard, generation, position: at, cause };
        let kept = self.cold.borrow().file(generation, index);
        let file = match kept {
            Some(file) => file,
            None => {
                let name = if index { files::index } else { files::segment };
                let file = self.disk.open(&name(&self.dir, generation)).await.map_err(io)?;
                self.cold.borrow_mut().keep_file(generation, index, file.clone());
                file
            }
        };
        Counters::add(&self.counters.disk_reads, 1);
        read_exact_at(&file, at, len).await.map_err(io)
    }
}

/// Open files and index blocks of recent cold reads; bounded.
pub(super) struct ColdCache<F> {
    files: VecDeque<(Generation, bool, F)>,
    blocks: VecDeque<(Generation, u32, Rc<Vec<IndexEntry>>)>,
}

impl<F> Default for ColdCache<F> {
    fn default() -> Self {
        Self { files: VecDeque::new(), blocks: VecDeque::new() }
    }
}

impl<F: Clone> ColdCache<F> {
    fn file(&self, generation: Generation, index: bool) -> Option<F> {
        self.files.iter().find(|(g, i, _)| *g == generation && *i == index).map(|(_, _, f)| f.clone())
    }

    fn keep_file(&mut self, generation: Generation, index: bool, file: F) {
        if self.files.len() >= FILES_MAX {
            self.files.pop_front();
        }
        self.files.push_back((generation, index, file));
    }

    fn block(&self, generation: Generation, number: u32) -> Option<Rc<Vec<IndexEntry>>> {
        self.blocks
            .iter()
            .rev()
            .find(|(g, n, _)| *g == generation && *n == number)
            .map(|(_, _, b)| Rc::clone(b))
    }

    fn keep_block(&mut self, generation: Generation, number: u32, block: Rc<Vec<IndexEntry>>) {
        if self.blocks.len() >= BLOCKS_MAX {
            self.blocks.pop_front();
        }
        self.blocks.push_back((generation, number, block));
    }

    /// Drops what belongs to a segment that is gone.
    pub(super) fn forget(&mut self, generation: Generation) {
        self.files.retain(|(g, _, _)| *g != generation);
        self.blocks.retain(|(g, _, _)| *g != generation);
    }
}
