//! Compaction of the partitions whose `cleanup.policy` says so, by the rules of [`crate::compaction`]: in the
//! background, one partition after the other, the one with the most dirt first.
//!
//! A pass reads the sealed part of a partition twice and writes what is left of it into sorted segments of its
//! own. These take the place of all that was read when the checkpoint says so; until then nothing has changed.
//! Afterwards the old segments are freed like deleted ones, and where they hold other partitions as well, the
//! space is given back.
//!
//! Promises:
//! * The offsets where a log starts and ends stay, and so does what is known of its producers.
//! * The last batch of a log is left alone until another follows: readers must find the end.
//! * Whoever reads gets each batch as it was before the pass or as it is after it. What lies in the tail cache is
//!   not preferred to what was written anew.
//! * Memory: [`ShardOptions::compaction_keys_bytes`](crate::shard::ShardOptions::compaction_keys_bytes), two stretches
//!   of 1 MiB (or one batch), three times a batch's records of at most [`RECORDS_BYTES_MAX`], and 32 bytes for
//!   each batch that is left in a segment.

use std::collections::TryReserveError;
use std::io;
use std::rc::Rc;

use crate::compaction::{Dirt, Due, KeyOffsets, Pass, Policy, Rewritten};
use crate::error::ReadError;
use crate::ids::{Generation, LogId, Offset};
use crate::log::checkpoint::Compacted;
use crate::log::index::{Index, IndexEntry};
use crate::log::recovery::SealedSegment;
use crate::log_config::LogConfig;
use crate::partition::Partition;
use crate::record_batch::{self, RecordBatch};
use crate::records::RecordsError;

use super::pace::{Pace, Wait};
use super::regroup::{Origin, SortedWriter, discard, is_wasteful};
use crate::shard::segments::seal::no_space;
use crate::shard::{Counters, Inner, PartitionRef, Shard, State};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// Bytes of records looked at without a pause for others.
const WORK_BYTES: usize = 128 << 10;
/// Most bytes of a batch's records when uncompressed. A partition with a larger one is not compacted.
const RECORDS_BYTES_MAX: usize = 64 << 20;
/// Smallest size at which a segment is followed by another.
const SPLIT_BYTES_MIN: u64 = 1 << 20;
/// Room in the file of a segment for what its commits add.
const SPARE_BYTES: u64 = 1 << 20;
/// A dirty part from which on a pass does not wait for a quiet moment: else the log would grow and grow.
const URGENT_RATIO: f64 = 0.8;
/// A partition that could not be compacted is left alone for so long, in milliseconds.
const RETRY_MS: i64 = 60_000;

/// Why a pass came to nothing.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the batch at offset {offset}: {cause}")]
    Records { offset: Offset, cause: RecordsError },
    #[error("no memory for its keys: {0}")]
    Memory(#[from] TryReserveError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the shard ends")]
    Ends,
}

/// What a pass may cover.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plan {
    dirt: Dirt,
    policy: Policy,
    /// Log start offset.
    start: Offset,
    /// Where the dirty part begins.
    clean_end: Offset,
    /// Where what may be cleaned ends: with a sealed part.
    end: Offset,
    /// The last batch is left alone, as nothing follows it.
    is_last: bool,
}

/// Compacts what is due until the shard stops or fails.
pub(crate) async fn cleaner(inner: Rc<Inner>) {
    let mut pace = Pace::new();
    while !inner.ends() {
        let notified = inner.cleaning.notified();
        let due = inner.due_for_compaction().await;
        if due.is_empty() {
            notified.await;
            continue;
        }
        for (due, at) in due {
            if inner.ends() {
                break;
            }
            let urgent = match due {
                Due::Lag(_) => true,
                Due::Ratio(ratio) => ratio >= URGENT_RATIO,
            };
            let wait = if urgent { Wait::Moment } else { Wait::AWhile };
            if let Err(e) = compact(&inner, at, &mut pace, wait).await {
                inner.put_off(at, &e);
            }
        }
    }
    inner.leave_keepers();
}

impl Policy {
    fn of(config: &LogConfig) -> Self {
        Self {
            min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
            min_compaction_lag_ms: config.min_compaction_lag_ms,
            max_compaction_lag_ms: config.max_compaction_lag_ms,
            delete_retention_ms: config.delete_retention_ms,
        }
    }
}

impl Partition {
    /// What a pass may cover, if there is anything that was not seen before.
    fn plan(&self, now_ms: i64) -> Option<Plan> {
        if !self.config.compact || now_ms < self.cleaning.not_before_ms {
            return None;
        }
        let policy = Policy::of(&self.config);
        let cleaned = self.compacted.as_ref().map_or(0, |c| c.clean_end);
        let clean_bytes = self.compacted.as_ref().map_or(0, |c| c.clean_bytes);
        let (mut clean, mut dirty, mut end) = (0u64, 0u64, self.start);
        for run in self.runs.iter().filter(|r| r.next_offset > self.start) {
            let bytes = u64::from(run.bytes);
            if run.next_offset <= cleaned {
                clean += bytes;
            } else if !policy.may_clean(run.max_timestamp, now_ms) {
                break;
            } else {
                let also_clean = if run.base_offset < cleaned { clean_bytes.min(bytes) } else { 0 };
                clean += also_clean;
                dirty += bytes - also_clean;
            }
            end = run.next_offset;
        }
        let is_last = self.high_watermark == end;
        if dirty == 0 || self.cleaning.settled == Some((end, !is_last)) {
            return None;
        }
        let dirt = Dirt { clean_bytes: clean, dirty_bytes: dirty, oldest_dirty_ms: None };
        Some(Plan { dirt, policy, start: self.start, clean_end: cleaned.max(self.start), end, is_last })
    }
}

impl Inner {
    /// The time, in milliseconds since 1970, if anybody has told it.
    fn now_ms(&self) -> Option<i64> {
        let (said, at) = self.state.borrow().now?;
        Some(said.saturating_add(i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX)))
    }

    /// The partitions for which a pass is due, the most urgent first.
    async fn due_for_compaction(self: &Rc<Self>) -> Vec<(Due, PartitionRef)> {
        let Some(now_ms) = self.now_ms() else { return Vec::new() };
        let plans: Vec<_> = {
            let state = self.state.borrow();
            let slots = (0..).zip(&state.partitions);
            let plan = |(slot, p): (u32, &Option<Partition>)| {
                let p = p.as_ref()?;
                Some((PartitionRef { slot, log: p.log }, p.plan(now_ms)?))
            };
            slots.filter_map(plan).collect()
        };
        let mut due = Vec::new();
        for (at, plan) in plans {
            let limited = plan.policy.max_compaction_lag_ms < i64::MAX as u64;
            let oldest_dirty_ms = if limited { self.oldest_dirty(at, &plan).await } else { None };
            let dirt = Dirt { oldest_dirty_ms, ..plan.dirt };
            due.extend(plan.policy.due(&dirt, now_ms).map(|due| (due, at)));
        }
        due.sort_by(|(a, _), (b, _)| urgency(b).total_cmp(&urgency(a)));
        due
    }

    /// The largest timestamp of the first dirty batch, if it has one.
    async fn oldest_dirty(self: &Rc<Self>, at: PartitionRef, plan: &Plan) -> Option<i64> {
        let from = plan.clean_end;
        let known = self.state.borrow().get(at)?.cleaning.oldest;
        if let Some((_, oldest)) = known.filter(|(offset, _)| *offset == from) {
            return Some(oldest).filter(|t| *t >= 0);
        }
        let run = self.state.borrow().get(at)?.runs.iter().find(|run| run.next_offset > from).copied()?;
        let (mut number, mut first) = (0, None);
        while first.is_none() && number < run.entries {
            let block = self.entries_from(&run, number).await.ok()?;
            first = block.iter().find(|e| e.end() > from).map(|e| e.max_timestamp);
            number += block.len() as u32;
        }
        let first = first?;
        self.state.borrow_mut().get_mut(at)?.cleaning.oldest = Some((from, first));
        Some(first).filter(|t| *t >= 0)
    }

    /// Leaves a partition alone for a while.
    fn put_off(&self, at: PartitionRef, error: &PassError) {
        let Some(now_ms) = self.now_ms() else { return };
        let mut state = self.state.borrow_mut();
        // Deleted meanwhile, or records of it: there is nothing wrong.
        let harmless = matches!(
            error,
            PassError::Ends | PassError::Read(ReadError::OutOfRange { .. } | ReadError::UnknownPartition)
        );
        let Some(partition) = state.get_mut(at).filter(|_| !harmless) else { return };
        partition.cleaning.not_before_ms = now_ms.saturating_add(RETRY_MS);
        let log = at.log();
        if matches!(error, PassError::Io(e) if no_space(e)) {
            tracing::warn!(%log, "no space to compact a log: it is tried again");
        } else {
            tracing::warn!(%log, %error, "compacting a log failed: it stays as it is, and is tried again");
        }
    }
}

/// By this the partitions are taken in order.
fn urgency(due: &Due) -> f64 {
    match due {
        Due::Ratio(ratio) => *ratio,
        // Above any ratio, which is at most 1.
        Due::Lag(ms) => 2.0 + *ms as f64,
    }
}

/// Compacts a partition, in as many passes as its keys need.
async fn compact(inner: &Rc<Inner>, at: PartitionRef, pace: &mut Pace, wait: Wait) -> Result<(), PassError> {
    loop {
        let now_ms = inner.now_ms().unwrap_or(0);
        let Some(plan) = inner.state.borrow().get(at).and_then(|p| p.plan(now_ms)) else { return Ok(()) };
        let Some(keys) = collect_keys(inner, at, &plan, pace, wait).await? else {
            inner.state.borrow_mut().settle(at, &plan);
            return Ok(());
        };
        let full = keys.full;
        let mut output = Output::new(inner, at.log(), &keys.offsets);
        let end = match rewrite_all(inner, at, &plan, &keys.offsets, &mut output, pace, wait).await {
            Ok(end) => end,
            Err(e) => {
                output.discard().await?;
                return Err(e);
            }
        };
        let (log, clean_end) = (at.log(), keys.offsets.end());
        drop(keys);
        let (indexes, clean_bytes) = output.take();
        let segments = indexes.iter().map(|i| i.sealed.generation.number() as u32).collect();
        let compacted = Compacted { log, end, clean_end, clean_bytes, segments };
        exchange(inner, at, compacted, indexes).await?;
        if !full {
            inner.state.borrow_mut().settle(at, &plan);
            return Ok(());
        }
    }
}

struct Keys {
    offsets: KeyOffsets,
    /// There were more.
    full: bool,
}

/// The latest offsets of the keys in the dirty part. `None`: there is nothing that may be cleaned.
async fn collect_keys(
    inner: &Rc<Inner>,
    at: PartitionRef,
    plan: &Plan,
    pace: &mut Pace,
    wait: Wait,
) -> Result<Option<Keys>, PassError> {
    let shard = Shard { inner: Rc::clone(inner) };
    let records = usize::try_from(plan.end - plan.clean_end).unwrap_or(usize::MAX);
    let mut offsets = KeyOffsets::new(plan.clean_end, inner.options.compaction_keys_bytes, records)?;
    let (mut full, mut worked) = (false, 0);
    let mut next = plan.clean_end;
    'read: while next < plan.end {
        if !pace.turn(inner, wait).await {
            return Err(PassError::Ends);
        }
        let batches = shard.read_disk(at, next, READ_BYTES).await?;
        Counters::add(&inner.counters.background_bytes, batches.bytes as u64);
        // A stretch may reach beyond what the pass covers.
        for batch in batches.each().take_while(|b| begins_below(b, plan.end)) {
            let is_last = record_batch::end_offset(batch).is_none_or(|end| end >= plan.end);
            if is_last && plan.is_last {
                break 'read;
            }
            if !offsets.add(batch, RECORDS_BYTES_MAX).map_err(|cause| in_batch(batch, cause))? {
                full = true;
                break 'read;
            }
            pause(batch, &mut worked).await;
        }
        next = batches.next_offset;
    }
    Ok((offsets.end() > plan.clean_end).then_some(Keys { offsets, full }))
}

/// Writes what is left of all that the keys cover, to the end of the sealed part in which they end; gives
/// that end.
async fn rewrite_all(
    inner: &Rc<Inner>,
    at: PartitionRef,
    plan: &Plan,
    keys: &KeyOffsets,
    output: &mut Output<'_>,
    pace: &mut Pace,
    wait: Wait,
) -> Result<Offset, PassError> {
    let shard = Shard { inner: Rc::clone(inner) };
    let now_ms = inner.now_ms().unwrap_or(0);
    let delete_retention_ms = plan.policy.delete_retention_ms;
    let pass = Pass { keys, now_ms, delete_retention_ms, limit: RECORDS_BYTES_MAX };
    let end = {
        let state = inner.state.borrow();
        let partition = state.get(at).ok_or(ReadError::UnknownPartition)?;
        let covered = partition.runs.iter().find(|r| r.next_offset >= keys.end());
        let end = covered.map_or(plan.end, |r| r.next_offset);
        output.room = partition.runs.iter().filter(|r| r.next_offset <= end).map(room_of).sum();
        end
    };
    let (mut next, mut worked) = (plan.start, 0);
    while next < end {
        if !pace.turn(inner, wait).await {
            return Err(PassError::Ends);
        }
        let batches = shard.read_disk(at, next, READ_BYTES).await?;
        Counters::add(&inner.counters.background_bytes, batches.bytes as u64);
        for batch in batches.each().take_while(|b| begins_below(b, end)) {
            match pass.clean(batch).map_err(|cause| in_batch(batch, cause))? {
                Rewritten::Unchanged => output.push(batch).await?,
                Rewritten::Batch(batch) => output.push(&batch).await?,
                Rewritten::Empty => {}
            }
            pause(batch, &mut worked).await;
        }
        next = batches.next_offset;
    }
    output.finish().await?;
    Ok(end)
}

fn begins_below(batch: &[u8], end: Offset) -> bool {
    record_batch::base_offset(batch).is_some_and(|base| base < end)
}

/// Bytes that a run may take when it is written anew.
fn room_of(run: &crate::partition::Run) -> u64 {
    u64::from(run.bytes) + u64::from(run.entries) * 32
}

fn in_batch(batch: &[u8], cause: RecordsError) -> PassError {
    PassError::Records { offset: record_batch::base_offset(batch).unwrap_or(0), cause }
}

/// Lets others work after a while.
async fn pause(batch: &[u8], worked: &mut usize) {
    *worked += batch.len();
    if *worked >= WORK_BYTES {
        *worked = 0;
        tokio::task::yield_now().await;
    }
}

/// The segments that a pass writes.
struct Output<'a> {
    inner: &'a Rc<Inner>,
    log: LogId,
    clean_end: Offset,
    /// A segment of this size is followed by another.
    split: u64,
    /// Bytes that may still come.
    room: u64,
    writer: Option<SortedWriter>,
    indexes: Vec<Index>,
    /// Clean bytes in the segment that is being written, and in the one where the dirty part begins.
    clean_bytes: u64,
    clean_beside_dirty: Option<u64>,
}

impl<'a> Output<'a> {
    fn new(inner: &'a Rc<Inner>, log: LogId, keys: &KeyOffsets) -> Self {
        let split = inner.options.segment_bytes.max(SPLIT_BYTES_MIN);
        let (writer, indexes) = (None, Vec::new());
        let (clean_bytes, clean_beside_dirty) = (0, None);
        let clean_end = keys.end();
        Self { inner, log, clean_end, split, room: 0, writer, indexes, clean_bytes, clean_beside_dirty }
    }

    async fn push(&mut self, batch: &[u8]) -> io::Result<()> {
        let malformed = || io::Error::other("a batch that was read is none");
        let view = RecordBatch::peek(batch).ok_or_else(malformed)?;
        let base_offset = record_batch::base_offset(batch).ok_or_else(malformed)?;
        if self.writer.as_ref().is_some_and(|w| w.len() + batch.len() as u64 > self.split) {
            self.finish().await?;
        }
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let number = self.inner.take_sorted_number();
                let number = number.ok_or_else(|| io::Error::other("no number is left for a segment"))?;
                self.clean_bytes = 0;
                let bytes = self.room.min(self.split) + SPARE_BYTES;
                SortedWriter::create(self.inner, number, Origin::Compacted, bytes).await?
            }
        };
        if !writer.fits(batch.len()) {
            let flushed = writer.flush(self.inner, batch.len()).await;
            if let Err(e) = flushed {
                self.writer = Some(writer);
                return Err(e);
            }
        }
        let (len, span, max_timestamp) = (batch.len() as u32, view.span, view.max_timestamp);
        let entry = IndexEntry { base_offset, position: 0, len, span, max_timestamp };
        writer.push(self.log, &entry, batch);
        self.writer = Some(writer);
        self.room = self.room.saturating_sub(batch.len() as u64);
        if entry.end() <= self.clean_end {
            self.clean_bytes += batch.len() as u64;
        } else {
            self.clean_beside_dirty.get_or_insert(self.clean_bytes);
        }
        Ok(())
    }

    /// Ends the segment that is being written.
    async fn finish(&mut self) -> io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let generation = writer.generation();
        match writer.finish(self.inner).await {
            Ok(index) => self.indexes.push(index),
            Err(e) => {
                discard(self.inner, generation).await?;
                return Err(e);
            }
        }
        Ok(())
    }

    /// What was written.
    fn take(self) -> (Vec<Index>, u64) {
        (self.indexes, self.clean_beside_dirty.unwrap_or(0))
    }

    /// Removes what was written.
    async fn discard(self) -> io::Result<()> {
        let open = self.writer.map(|w| w.generation());
        for generation in self.indexes.iter().map(|i| i.sealed.generation).chain(open) {
            discard(self.inner, generation).await?;
        }
        Ok(())
    }
}

/// Lets what a pass wrote take the place of what it read.
async fn exchange(
    inner: &Rc<Inner>,
    at: PartitionRef,
    compacted: Compacted,
    indexes: Vec<Index>,
) -> Result<(), PassError> {
    let new: Vec<_> = indexes.iter().map(|i| i.sealed).collect();
    let result = {
        let _manifest = inner.manifest.lock().await;
        let there = inner.state.borrow().get(at).is_some();
        if !there || inner.ends() {
            for sealed in &new {
                discard(inner, sealed.generation).await?;
            }
            return Err(PassError::Ends);
        }
        let base = Rc::clone(&inner.state.borrow().base);
        let stored = inner.store_checkpoint(&base, &new, &[], Some(&compacted)).await;
        let mut state = inner.state.borrow_mut();
        if stored.is_ok() {
            state.take_compacted(at, compacted, &indexes, inner.options.regroup_extent_bytes > 0);
        } else {
            // It may be in force all the same: the segments go only after the next checkpoint.
            state.dead.extend(new.iter().map(|s| s.generation));
        }
        stored
    };
    // What was read ahead is what was there before.
    inner.sealing.notify_one();
    inner.keeping.notify_one();
    result?;
    Counters::add(&inner.counters.compacted, 1);
    Ok(())
}

impl State {
    /// There is nothing more to do for a partition until it changes.
    fn settle(&mut self, at: PartitionRef, plan: &Plan) {
        if let Some(partition) = self.get_mut(at) {
            partition.cleaning.settled = Some((plan.end, !plan.is_last));
        }
    }

    /// Lets the runs that a pass wrote take the place of those that it read.
    fn take_compacted(&mut self, at: PartitionRef, compacted: Compacted, new: &[Index], regroups: bool) {
        let end = compacted.end;
        let Some(partition) = self.get_mut(at) else {
            // Deleted meanwhile.
            self.dead.extend(new.iter().map(|i| i.sealed.generation));
            return;
        };
        let runs = new.iter().flat_map(|i| &i.runs).map(|(_, run)| *run);
        let covered = partition.runs.partition_point(|r| r.next_offset <= end);
        let old: Vec<_> = partition.runs.splice(..covered, runs.clone()).collect();
        let gone: u64 = old.iter().map(|r| u64::from(r.bytes)).sum();
        let came: u64 = runs.clone().map(|r| u64::from(r.bytes)).sum();
        partition.bytes = partition.bytes.saturating_sub(gone) + came;
        partition.compacted = Some(compacted);
        let bounded = partition.bound().is_some();
        partition.cleaning.oldest = None;
        // Else readers would be served from the cache what has gone from the log.
        while partition.tail.front().is_some_and(|b| b.base_offset + u64::from(b.span) <= end) {
            partition.tail.pop_front();
        }
        self.compacted.insert(at.slot);
        for index in new {
            let mut segment = SealedSegment::new(index);
            index.runs.iter().for_each(|(_, run)| segment.add(run));
            self.room.set_segment(index.sealed.generation, index.sealed.data_end);
            self.room.set_index(index.sealed.generation, index.bytes());
            self.segments.insert(index.sealed.generation, segment);
        }
        for run in old {
            if !self.release(run, bounded) {
                self.reclaim(run.generation, regroups);
            }
        }
        // The log start offset may have been raised meanwhile.
        self.trimmed.push((at.slot, at.log()));
    }

    /// Has a segment written anew of which little is left, and that of other partitions.
    fn reclaim(&mut self, generation: Generation, regroups: bool) {
        let wasteful = self.segments.get(&generation).is_some_and(is_wasteful);
        if regroups && wasteful && !self.regroup.contains(&generation) {
            self.regroup.push_back(generation);
        }
    }
}
