//! One partition as its shard knows it: its offsets, where its batches are, its producers, and its watchers.
//!
//! Invariants: `start <= high_watermark <= next`. Offsets are dense, but for records that compaction took away. `runs`
//! and `recent` together name each batch from `start` to `next` at least once, in order. Everything below
//! `high_watermark` is durable, and nothing above it is shown to a reader.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::{Arc, LazyLock};
use std::task::{Poll, Waker};

use crate::ids::{CommitSeq, Generation, LogId, Offset};
use crate::log::checkpoint::Compacted;
use crate::log::index::IndexEntry;
use crate::log::sealed::Run;
use crate::log_config::LogConfig;
use crate::producer_state::ProducerTable;

/// One batch in a commit whose segment is not sealed yet, or that is still in the tail cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRef {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The commit that holds it.
    pub seq: CommitSeq,
    /// Largest timestamp, in milliseconds.
    pub max_timestamp: i64,
    /// Position of the batch in the commit.
    pub at: u32,
    /// Bytes of the batch.
    pub len: u32,
    /// Offsets that the batch spans.
    pub span: u32,
}

impl BatchRef {
    /// Offset after the last one that the batch spans.
    pub fn end(&self) -> Offset {
        self.base_offset + u64::from(self.span)
    }

    /// As an index entry, when its commit begins at `position` of a segment.
    pub fn index_entry(&self, position: u64) -> IndexEntry {
        IndexEntry {
            base_offset: self.base_offset,
            position: (position + u64::from(self.at)) as u32,
            len: self.len,
            span: self.span,
            max_timestamp: self.max_timestamp,
        }
    }
}

/// The settings of partitions that were not configured. All of them share it.
fn keep_all() -> Arc<LogConfig> {
    static KEEP_ALL: LazyLock<Arc<LogConfig>> = LazyLock::new(|| Arc::new(LogConfig::keep_all()));
    Arc::clone(&KEEP_ALL)
}

/// State of one partition.
#[derive(Debug)]
pub struct Partition {
    /// The log of the partition.
    pub log: LogId,
    /// Log start offset: the first offset that can be read.
    pub start: Offset,
    /// Log end offset: what the next record gets.
    pub next: Offset,
    /// Durable below this: what consumers may see.
    pub high_watermark: Offset,
    /// The commit that holds the last appended record; 0: none in memory.
    pub last_seq: CommitSeq,
    /// Batches in unsealed segments, and in sealed ones while cached; by offset.
    pub recent: VecDeque<BatchRef>,
    /// Parts in sealed segments; by offset.
    pub runs: Vec<Run>,
    /// Idempotent producers.
    pub producers: ProducerTable,
    /// Watchers that are told when the high watermark rises, and when the partition goes away.
    watchers: Vec<Weak<Watcher>>,
    /// The last segment with durable batches of it. That segment has it in its list of partitions.
    pub touched: Generation,
    /// The last segment at the end of which it was noted for a checkpoint.
    pub noted: Generation,
    /// Bytes of its durable batches in the segment `touched`.
    pub touched_bytes: u64,
    /// Bytes of its batches. Batches before the log start offset count as long as their run in a sealed segment does.
    pub bytes: u64,
    /// The highest log start offset that was asked for, and the commit that states it.
    pub trim: (Offset, CommitSeq),
    /// It takes no more batches.
    pub ended: bool,
    /// Settings of the partition: retention and compaction.
    pub config: Arc<LogConfig>,
    /// How far the partition was compacted.
    pub compacted: Option<Compacted>,
    /// What the compaction task remembers of the partition.
    pub compaction: CompactionNotes,
}

/// What the compaction task remembers of a partition. It is in memory only: after a start the task looks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactionNotes {
    /// The offset at which the last pass ended, and whether batches followed it. As long as both are the same, there is
    /// nothing to do.
    pub settled: Option<(Offset, bool)>,
    /// The largest timestamp of the first dirty batch, and the offset where the dirty part began.
    pub oldest: Option<(Offset, i64)>,
    /// Compaction is not tried before this time, in milliseconds since 1970, because the last try failed.
    pub not_before_ms: i64,
}

/// Where to look for an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// In `recent`, at this index.
    Recent(usize),
    /// In `runs`, at this index.
    Run(usize),
}

impl Partition {
    /// An empty partition.
    pub fn new(log: LogId) -> Self {
        Self {
            log,
            start: 0,
            next: 0,
            high_watermark: 0,
            last_seq: 0,
            recent: VecDeque::new(),
            runs: Vec::new(),
            producers: ProducerTable::default(),
            watchers: Vec::new(),
            touched: Generation(0),
            noted: Generation(0),
            touched_bytes: 0,
            bytes: 0,
            trim: (0, 0),
            ended: false,
            config: keep_all(),
            compacted: None,
            compaction: CompactionNotes::default(),
        }
    }

    /// Whether a batch, or a run, that ends at `end` in this segment was replaced by what compaction wrote.
    pub fn is_replaced(&self, generation: Generation, end: Offset) -> bool {
        self.compacted.as_ref().is_some_and(|c| c.replaces(generation, end))
    }

    /// Position in `recent` of the batch that holds `offset`, or of the first one behind it.
    pub fn recent_position(&self, offset: Offset) -> usize {
        self.recent.partition_point(|b| b.end() <= offset)
    }

    /// Where the batch is that holds `offset`, or the first one behind it: compaction leaves gaps. A batch that `recent`
    /// names is preferred if its commit is at or after `recent_from`.
    pub fn find(&self, offset: Offset, recent_from: CommitSeq) -> Option<Whereabouts> {
        let from = self.recent.partition_point(|b| b.seq < recent_from);
        let in_recent = |at: usize| (at < self.recent.len()).then_some(Whereabouts::Recent(at));
        if self.recent.get(from).is_some_and(|b| b.base_offset <= offset) {
            return in_recent(self.recent_position(offset));
        }
        let run = self.runs.partition_point(|r| r.next_offset <= offset);
        if run < self.runs.len() {
            return Some(Whereabouts::Run(run));
        }
        // A batch that `recent` names before `from` has to be in a run. If it is in none, it is nowhere.
        let passed = from.checked_sub(1).and_then(|before| self.recent.get(before));
        passed.is_none_or(|b| b.end() <= offset).then(|| in_recent(from))?
    }

    /// The recent batches that readers may see, from an offset on.
    pub fn durable_recent(&self, start: Offset) -> impl Iterator<Item = &BatchRef> {
        let end = self.high_watermark;
        let below = move |b: &&BatchRef| b.end() <= start;
        self.recent.iter().skip_while(below).take_while(move |b| b.base_offset < end)
    }

    /// The most bytes that retention by size leaves it. `None`: it has no such bound.
    pub fn bound(&self) -> Option<u64> {
        self.config.retention_bytes.filter(|_| self.config.delete)
    }

    /// Appends a batch: its offsets follow those of the last one.
    pub fn push(&mut self, batch: BatchRef) {
        self.recent.push_back(batch);
        self.next += u64::from(batch.span);
        self.bytes += u64::from(batch.len);
        self.last_seq = batch.seq;
        self.check();
    }

    /// Checks the invariants that can be checked at once, in debug builds.
    pub fn check(&self) {
        debug_assert!(self.start <= self.high_watermark && self.high_watermark <= self.next, "{self:?}");
        debug_assert!(self.recent.back().is_none_or(|b| b.end() == self.next), "offsets are dense: {self:?}");
    }

    /// Raises the high watermark and wakes the watchers.
    pub fn advance(&mut self, to: Offset) {
        assert!(to >= self.high_watermark && to <= self.next, "high watermark out of range");
        self.high_watermark = to;
        self.check();
        self.wake_watchers();
    }

    /// Raises the log start offset. The bytes of batches before it in segments that are not sealed (from commit
    /// `sealed_below` on) count no more. Those of a run count until the whole run is deleted.
    pub fn raise_start(&mut self, to: Offset, sealed_below: CommitSeq) {
        let old = self.recent.partition_point(|b| b.seq < sealed_below || b.end() <= self.start);
        let gone = self.recent.range(old..).take_while(|b| b.end() <= to).map(|b| u64::from(b.len));
        self.bytes = self.bytes.saturating_sub(gone.sum());
        self.start = self.start.max(to);
        self.check();
    }

    /// Has a watcher told of the next change. Forgets watchers that are gone.
    pub fn watch(&mut self, watcher: &Rc<Watcher>) {
        self.watchers.retain(|w| w.strong_count() > 0);
        self.watchers.push(Rc::downgrade(watcher));
    }

    /// Wakes all watchers.
    pub fn wake_watchers(&mut self) {
        for watcher in self.watchers.drain(..) {
            if let Some(watcher) = watcher.upgrade() {
                watcher.fire();
            }
        }
    }
}

/// Waits for any of several partitions to change. Fires once.
#[derive(Debug, Default)]
pub struct Watcher {
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Watcher {
    fn fire(&self) {
        self.fired.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits until one of the partitions has changed.
    pub async fn fired(&self) {
        poll_fn(|cx| {
            if self.fired.get() {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    fn batch(base_offset: Offset) -> BatchRef {
        BatchRef { base_offset, seq: 1, max_timestamp: 0, at: 0, len: 100, span: 2 }
    }

    #[test]
    fn offsets_stay_in_order() {
        let mut partition = Partition::new(LogId(1));
        partition.push(batch(0));
        partition.push(batch(2));
        partition.advance(4);
        partition.raise_start(2, 1);
        assert_eq!((partition.start, partition.next, partition.bytes), (2, 4, 100));
    }

    #[test]
    #[should_panic(expected = "offsets are dense")]
    fn a_gap_between_batches_is_found() {
        let mut partition = Partition::new(LogId(1));
        partition.push(batch(0));
        partition.push(batch(3));
    }

    #[test]
    #[should_panic(expected = "high_watermark: 0")]
    fn a_log_that_starts_above_its_high_watermark_is_found() {
        let mut partition = Partition::new(LogId(1));
        partition.push(batch(0));
        partition.raise_start(2, 1);
    }
}
