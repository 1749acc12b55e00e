//! One partition as its shard knows it: offsets, where its batches are, its producers, who waits.
//!
//! Invariants: `start <= high_watermark <= next`; offsets are dense, but for records that compaction took
//! away; `runs` and `tail` together name each batch from `start` to `next` at least once, in order;
//! everything below `high_watermark` is durable and nothing above it is shown to a reader.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::{Arc, LazyLock};
use std::task::{Poll, Waker};

use crate::ids::{CommitSeq, Generation, LogId, Offset};
use crate::log::checkpoint::Compacted;
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
    /// Where it begins in the commit.
    pub at: u32,
    /// Its bytes.
    pub len: u32,
    /// Offsets it spans.
    pub span: u32,
}

/// The part of a sealed segment that belongs to one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The segment.
    pub generation: Generation,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset after its last record.
    pub next_offset: Offset,
    /// Largest timestamp in it, in milliseconds.
    pub max_timestamp: i64,
    /// Bytes of its batches.
    pub bytes: u32,
    /// Number of its first entry in the segment's index.
    pub first_entry: u32,
    /// Its entries in the segment's index.
    pub entries: u32,
}

/// The settings of partitions to which nothing was said, shared by all of them.
fn keep_all() -> Arc<LogConfig> {
    static KEEP_ALL: LazyLock<Arc<LogConfig>> = LazyLock::new(|| Arc::new(LogConfig::keep_all()));
    Arc::clone(&KEEP_ALL)
}

/// State of one partition.
#[derive(Debug)]
pub struct Partition {
    /// Its log's id.
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
    pub tail: VecDeque<BatchRef>,
    /// Parts in sealed segments; by offset.
    pub runs: Vec<Run>,
    /// Idempotent producers.
    pub producers: ProducerTable,
    /// Told when the high watermark rises, and when the partition goes away.
    watchers: Vec<Weak<Watcher>>,
    /// The last segment it wrote into: kept in the list of what that segment holds.
    pub touched: Generation,
    /// The last segment at the end of which it was noted for a checkpoint.
    pub noted: Generation,
    /// Bytes of its durable batches in that segment.
    pub touched_bytes: u64,
    /// Bytes of its batches, and those of sealed segments that were deleted in part or are not freed yet.
    pub bytes: u64,
    /// The highest log start offset that was asked for, and the commit that states it.
    pub trim: (Offset, CommitSeq),
    /// What is kept of it.
    pub config: Arc<LogConfig>,
    /// What compaction has made of it.
    pub compacted: Option<Compacted>,
    /// What the cleaner knows of it.
    pub cleaning: Cleaning,
}

/// What the cleaner remembers of a partition, in memory only: without it, it looks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleaning {
    /// Up to where the last pass saw it, and whether something followed: as long as that is so, there is
    /// nothing more to do.
    pub settled: Option<(Offset, bool)>,
    /// The largest timestamp of the first dirty batch, and the offset where the dirty part began.
    pub oldest: Option<(Offset, i64)>,
    /// Not before this time, in milliseconds since 1970: the last try failed.
    pub not_before_ms: i64,
}

/// Where to look for an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// In `tail`, at this index.
    Tail(usize),
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
            tail: VecDeque::new(),
            runs: Vec::new(),
            producers: ProducerTable::default(),
            watchers: Vec::new(),
            touched: Generation(0),
            noted: Generation(0),
            touched_bytes: 0,
            bytes: 0,
            trim: (0, 0),
            config: keep_all(),
            compacted: None,
            cleaning: Cleaning::default(),
        }
    }

    /// Whether a batch, or a run, that ends at `end` in this segment was replaced by what compaction wrote.
    pub fn is_replaced(&self, generation: Generation, end: Offset) -> bool {
        self.compacted.as_ref().is_some_and(|c| c.replaces(generation, end))
    }

    /// Position in the tail of the batch that holds `offset`, or of the first one behind it.
    pub fn tail_position(&self, offset: Offset) -> usize {
        self.tail.partition_point(|b| b.base_offset + u64::from(b.span) <= offset)
    }

    /// Where the batch is that holds `offset`, or the first one behind it: compaction leaves gaps. What
    /// `tail` names is preferred if its commit is at or after `tail_from`.
    pub fn find(&self, offset: Offset, tail_from: CommitSeq) -> Option<Whereabouts> {
        let from = self.tail.partition_point(|b| b.seq < tail_from);
        let in_tail = |at: usize| (at < self.tail.len()).then_some(Whereabouts::Tail(at));
        if self.tail.get(from).is_some_and(|b| b.base_offset <= offset) {
            return in_tail(self.tail_position(offset));
        }
        let run = self.runs.partition_point(|r| r.next_offset <= offset);
        if run < self.runs.len() {
            return Some(Whereabouts::Run(run));
        }
        // What `tail` names before `from` and no run covers is neither here nor there.
        let passed = from.checked_sub(1).and_then(|before| self.tail.get(before));
        passed.is_none_or(|b| b.base_offset + u64::from(b.span) <= offset).then(|| in_tail(from))?
    }

    /// Raises the high watermark and wakes those who wait for it.
    pub fn advance(&mut self, to: Offset) {
        assert!(to >= self.high_watermark && to <= self.next, "high watermark out of range");
        self.high_watermark = to;
        self.wake_watchers();
    }

    /// Raises the log start offset. Batches before it in segments that are not sealed (from commit
    /// `sealed_below` on) count no more; runs are dropped by the segment.
    pub fn raise_start(&mut self, to: Offset, sealed_below: CommitSeq) {
        let end = |b: &BatchRef| b.base_offset + u64::from(b.span);
        let old = self.tail.partition_point(|b| b.seq < sealed_below || end(b) <= self.start);
        let gone = self.tail.range(old..).take_while(|b| end(b) <= to).map(|b| u64::from(b.len));
        self.bytes = self.bytes.saturating_sub(gone.sum());
        self.start = self.start.max(to);
    }

    /// Has a watcher told of the next change. Watchers that are gone are forgotten here.
    pub fn watch(&mut self, watcher: &Rc<Watcher>) {
        self.watchers.retain(|w| w.strong_count() > 0);
        self.watchers.push(Rc::downgrade(watcher));
    }

    /// Tells all who wait.
    pub fn wake_watchers(&mut self) {
        for watcher in self.watchers.drain(..) {
            if let Some(watcher) = watcher.upgrade() {
                watcher.fire();
            }
        }
    }
}

/// Somebody who waits for any of several partitions to change. Fires once.
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
