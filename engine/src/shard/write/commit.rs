//! Group commit: one write and one flush for everything that was appended meanwhile.
//!
//! A few workers carry one commit at a time each. There is no artificial delay: an idle log commits at once, and what
//! arrives during a commit is the next one. Another commit is started beside one in flight only when enough bytes wait,
//! so that small commits do not multiply flushes. In whatever order the disk completes them, commits become visible in
//! sequence.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::disk::{DiskFile, DynFile, write_all_at};
use crate::ids::CommitSeq;
use crate::log::chunk::Slotted;
use crate::log::format::Place;
use crate::planted::{self, Bug};
use crate::shard::inner::Inner;
use crate::shard::partitions::PartitionRef;
use crate::shard::state::State;
use crate::shard::tasks::Task;

use super::commits::InFlight;
use super::roll;

/// Smallest rest of a chunk that is worth starting another commit in.
const REST_BYTES_MIN: usize = 64 << 10;

/// What a worker does next.
enum Step {
    Write { file: DynFile, bytes: Bytes, position: u64, seq: CommitSeq },
    Roll,
    Wait,
    Stop,
}

/// Carries commits to the disk until the shard stops or fails.
pub async fn worker(inner: Rc<Inner>) {
    loop {
        let woken = inner.tasks.woken(Task::Commit);
        match inner.next_step() {
            Step::Wait => woken.await,
            Step::Roll => {
                roll::roll(&inner).await;
                inner.state.borrow_mut().front.rolling = false;
                inner.tasks.wake_each(Task::Commit);
            }
            Step::Write { file, bytes, position, seq } => {
                if let Err(e) = planted::impatient(write_all_at(&file, bytes, position)).await
                    && !planted::is(Bug::WriteErrorIgnored)
                {
                    inner.fail(&format!("writing commit {seq}"), e);
                    continue;
                }
                if planted::is(Bug::AckBeforeFlush) {
                    inner.finish(seq);
                }
                if let Err(e) = file.sync().await
                    && !(planted::is(Bug::FlushRetried) && file.sync().await.is_ok())
                {
                    inner.fail(&format!("flushing commit {seq}"), e);
                    continue;
                }
                inner.finish(seq);
            }
            Step::Stop => break,
        }
    }
    inner.tasks.wake_each(Task::Commit);
}

impl Inner {
    fn next_step(&self) -> Step {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if self.failure.get().is_some() {
            return Step::Stop;
        }
        if state.front.rolling {
            return Step::Wait;
        }
        if state.front.roll_wanted && state.commits.none_in_flight() {
            if state.front.is_next_ready() && !state.stopping {
                state.front.roll_wanted = false;
                state.front.rolling = true;
                return Step::Roll;
            }
            self.want_next(state);
        }
        let commits = &state.commits;
        if commits.none_waits() {
            return if state.stopping && commits.none_in_flight() { Step::Stop } else { Step::Wait };
        }
        // About as much as is in flight, so that two large commits alternate instead of a large and a small one.
        let early = self.options.early_commit_bytes.max(commits.last_in_flight_len() / 4 * 3);
        let enough = commits.has_closed() || commits.open().disk_len() >= early;
        if !commits.none_in_flight() && !enough {
            return Step::Wait;
        }
        if commits.next_len() as u64 > state.front.active.room() {
            if !commits.none_in_flight() {
                return Step::Wait;
            }
            state.front.rolling = true;
            return Step::Roll;
        }
        self.submit(state)
    }

    /// Gives the next commit its place and begins its write.
    fn submit(&self, state: &mut State) -> Step {
        let closed = match state.commits.take_closed() {
            Some(closed) => closed,
            None => {
                let open = state.commits.open_mut();
                let closed = open.close();
                if open.room() < REST_BYTES_MIN.min(self.options.chunk_bytes / 4) {
                    open.renew(self.pool.take());
                }
                closed
            }
        };
        let (seq, disk_len) = (closed.seq, closed.disk_len());
        if state.commits.none_in_flight() {
            state.busy.begin();
        }
        let active = &mut state.front.active;
        let (generation, position) = (active.generation, active.position);
        active.position += disk_len as u64;
        if active.position * 2 >= active.len {
            self.want_next(state);
        }
        let place = Place { shard: self.dir.identity.shard, generation, position };
        let durable_below = self.durable_below.get();
        let (bytes, entries, waiters) = closed.seal(place, durable_below);
        state.recent.push(seq, bytes.clone(), generation, position);
        state.commits.begin(InFlight { seq, disk_len, durable_below, entries, waiters, done: false });
        Step::Write { file: state.front.active.file.clone(), bytes, position, seq }
    }

    /// A commit is on the disk: makes visible what is now durable in sequence.
    fn finish(&self, seq: CommitSeq) {
        if self.failure.get().is_some() {
            return;
        }
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        state.commits.landed(seq);
        let mut advanced = false;
        while let Some(commit) = state.commits.take_durable() {
            advanced = true;
            self.durable_below.set(commit.seq + 1);
            state.publish(&commit);
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
            self.counters.commit_bytes.fetch_add(commit.disk_len as u64, Ordering::Relaxed);
            self.counters.batches.fetch_add(commit.entries.len() as u64, Ordering::Relaxed);
            for waker in commit.waiters {
                waker.wake();
            }
        }
        if state.commits.none_in_flight() && state.busy.end() {
            self.landed.notify_waiters();
        }
        if advanced {
            state.commits.wake_appenders();
            self.tasks.wake(Task::Commit);
            self.tasks.wake(Task::Mark);
        }
        if state.deleted.is_to_be_looked_through() {
            self.tasks.wake(Task::Seal);
        }
    }
}

impl State {
    /// Raises the high watermarks and the log start offsets of the partitions in a durable commit.
    fn publish(&mut self, commit: &InFlight) {
        let generation = self.front.active.generation;
        let mut entries = commit.entries.iter().peekable();
        let mut bytes = 0;
        while let Some(slotted) = entries.next() {
            let entry = &slotted.entry;
            bytes += u64::from(entry.len);
            // Of neighbours of the same partition the last one says how far the high watermark rises.
            let same = |n: &&Slotted| n.slot == slotted.slot && n.entry.log == entry.log;
            if !entry.is_trim() && entries.peek().is_some_and(|n| same(n) && !n.entry.is_trim()) {
                continue;
            }
            let bytes = std::mem::take(&mut bytes);
            let at = PartitionRef::new(slotted.slot, entry.log);
            let Some(partition) = self.partitions.get_mut(at) else { continue };
            if let Some(noting) = self.segments.noting()
                && !planted::is(Bug::NotedTooLate)
            {
                noting.note(partition);
            }
            if entry.is_trim() {
                partition.raise_start(entry.base_offset, self.segments.sealed_below);
                self.deleted.start_raised(at, partition.start, generation);
                continue;
            }
            partition.advance(entry.end());
            if partition.touched != generation {
                partition.touched = generation;
                partition.touched_bytes = 0;
                self.front.active.touched.push(at);
            }
            partition.touched_bytes += bytes;
            self.front.roll_wanted |= partition.touched_bytes >= partition.config.segment_bytes;
        }
    }
}
