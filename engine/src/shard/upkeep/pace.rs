//! Who comes first at the disk: commits, then readers, then background work.
//!
//! Background work waits while the log is busy, or somebody reads from its disk. Reads beside commits are bounded:
//! what is queued at the device before a commit's write or flush is time that a producer waits.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::aligned::{AlignedBuf, BLOCK};
use crate::disk::{DiskFile, DynFile, read_exact_at};

use crate::shard::{Counters, Inner, State};

/// How long the log is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Share of that time in which commits may be in flight, in percent.
const BUSY_PERCENT_MAX: u32 = 50;
/// Time between two looks at a busy log.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long a piece of background work may be put off by a busy log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// For ever.
    ForEver,
    /// About five seconds.
    AWhile,
    /// [`LOOK`]: work that must not fall behind.
    Moment,
    /// The next segment waits for it: [`LOOK`] at most, and not at all once a quarter of the active one is used.
    Haste,
}

/// Reads of the device at once: enough to keep it busy, and few enough that none of them waits for long.
pub(crate) const READS_MAX: usize = 64;
/// The same beside commits.
pub(crate) const PACED_READS_MAX: usize = 1;
/// Bytes that such a read has the device do at once.
const READ_SLICE: usize = 128 << 10;
/// How long a read waits for commits in flight to end.
const READ_PATIENCE: Duration = Duration::from_millis(2);
/// Commits that ended so short a time ago are followed by others.
const FLOW: Duration = Duration::from_millis(20);

/// Gives way to the log.
pub(crate) struct Pace {
    seen: u64,
}

impl Pace {
    pub fn new() -> Self {
        Self { seen: 0 }
    }

    /// Returns when a piece of background work may be done: at once if nothing was committed since the
    /// last time, else when the log is busy less than half of the time, or has been too busy for as long
    /// as `wait` says. `false`: the shard ends.
    pub async fn turn(&mut self, inner: &Inner, wait: Wait) -> bool {
        tokio::task::yield_now().await;
        let mut again = match wait {
            Wait::ForEver => u32::MAX,
            Wait::AWhile => 24,
            Wait::Moment => 0,
            Wait::Haste if inner.state.borrow().hurries() => return !inner.ends(),
            Wait::Haste => 0,
        };
        let reads = || inner.counters.disk_reads.load(Ordering::Relaxed);
        let active = || inner.durable_below.get() + reads();
        while active() != self.seen {
            if inner.ends() {
                return false;
            }
            self.seen = active();
            let (before, read_before) = (inner.busy_time(), reads());
            tokio::time::sleep(LOOK).await;
            let quiet =
                read_before == reads() && (inner.busy_time() - before) * 100 < LOOK * BUSY_PERCENT_MAX;
            if quiet || again == 0 {
                break;
            }
            again -= 1;
            tokio::time::sleep(PATIENCE).await;
        }
        !inner.ends()
    }
}

impl Inner {
    /// Whether the shard has failed or stops.
    pub(crate) fn ends(&self) -> bool {
        self.failure.get().is_some() || self.state.borrow().stopping
    }

    /// Reads as much as `buf` has room for at `at`. While commits flow, what is not in the page cache is read in slices
    /// that each let commits go first, one read after the other.
    pub(crate) async fn read_paced(&self, file: &DynFile, at: u64, mut buf: AlignedBuf) -> io::Result<Bytes> {
        let len = buf.capacity();
        let mut done = buf.split_front(0);
        let mut turn = None;
        while buf.capacity() > 0 {
            let pos = at + done.capacity() as u64;
            let flow = self.commits_flow();
            let slice = if flow { buf.capacity().min(READ_SLICE) } else { buf.capacity() };
            if flow && !self.is_cached(file, pos) {
                if turn.is_none() {
                    turn = self.paced_reads.acquire().await.ok();
                }
                self.let_commits_land().await;
            }
            let _room = self.reads.acquire().await;
            let (result, part) = self.read_some(file, pos, buf.split_front(slice)).await;
            if result? < slice {
                // Rare: a short read.
                return read_exact_at(file, at, len).await;
            }
            done.unsplit(part);
        }
        Ok(done.into_bytes())
    }

    /// Reads from the page cache, and what is not there from the device.
    async fn read_some(&self, file: &DynFile, at: u64, buf: AlignedBuf) -> (io::Result<usize>, AlignedBuf) {
        let len = buf.capacity();
        let (cached, buf) = file.read_cached(buf, at);
        if cached == len {
            return (Ok(len), buf);
        }
        Counters::add(&self.counters.disk_reads, 1);
        Counters::add(&self.counters.disk_read_bytes, (len - cached) as u64);
        file.read_at(buf, at).await
    }

    /// Whether the block at `at` is in the page cache. If not, it is now being read.
    fn is_cached(&self, file: &DynFile, at: u64) -> bool {
        file.read_cached(self.read_buffer(BLOCK), at).0 == BLOCK
    }

    /// Reads what lies in `range` of an index, at once, and returns the block at `at`.
    pub(crate) async fn read_block(&self, file: &DynFile, range: Range<u64>, at: u64) -> io::Result<Bytes> {
        let (cached, block) = file.read_cached(self.read_buffer(BLOCK), at);
        if cached == BLOCK {
            return Ok(block.into_bytes());
        }
        let near =
            self.read_paced(file, range.start, self.read_buffer((range.end - range.start) as usize)).await?;
        let from = (at - range.start) as usize;
        Ok(near.slice(from..from + BLOCK))
    }

    /// Whether commits are in flight, or were a moment ago.
    pub(crate) fn commits_flow(&self) -> bool {
        let state = self.state.borrow();
        state.busy_since.is_some() || state.landed_at.is_some_and(|at| at.elapsed() < FLOW)
    }

    /// Returns when no commit is in flight, or after a moment.
    pub(crate) async fn let_commits_land(&self) {
        let landed = self.landed.notified();
        if !self.state.borrow().in_flight.is_empty() {
            let _in_time = tokio::time::timeout(READ_PATIENCE, landed).await;
        }
    }

    /// Time in which commits were in flight.
    fn busy_time(&self) -> Duration {
        let state = self.state.borrow();
        state.busy + state.busy_since.map_or(Duration::ZERO, |since| Instant::now() - since)
    }
}

impl State {
    /// Whether so much of the active segment is used that the next one will soon be needed.
    fn hurries(&self) -> bool {
        self.active.position * 4 >= self.active.len
    }
}
