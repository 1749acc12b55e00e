//! One partition as its shard knows it: offsets, where its batches are, its producers, who waits.
//!
//! Invariants: `start <= high_watermark <= next`; offsets are dense from `start`; `runs` and `tail`
//! together name each batch from `start` to `next` at least once, in order; everything below
//! `high_watermark` is durable and nothing above it is shown to a reader.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use crate::ids::{CommitSeq, Generation, LogId, Offset};
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
    /// Number of its first entry in the segment's index.
    pub first_entry: u32,
    /// Its entries in the segment's index.
    pub entries: u32,
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
        }
    }

    /// The place in `tail` of the batch that holds `offset`, if it is named there.
    pub fn tail_index(&self, offset: Offset) -> Option<usize> {
        let after = self.tail.partition_point(|b| b.base_offset <= offset);
        let index = after.checked_sub(1)?;
        let batch = self.tail.get(index)?;
        (offset < batch.base_offset + u64::from(batch.span)).then_some(index)
    }

    /// The sealed run that holds `offset`.
    pub fn run_of(&self, offset: Offset) -> Option<&Run> {
        let after = self.runs.partition_point(|r| r.base_offset <= offset);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (offset < run.next_offset).then_some(run)
    }

    /// Raises the high watermark and wakes those who wait for it.
    pub fn advance(&mut self, to: Offset) {
        assert!(to >= self.high_watermark && to <= self.next, "high watermark out of range");
        self.high_watermark = to;
        self.wake_watchers();
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
