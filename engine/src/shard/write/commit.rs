//! Group commit: one write and one flush for everything that was appended meanwhile.
//!
//! A few workers each carry one commit at a time. There is no artificial delay: an idle log commits at
//! once, and what arrives during a commit is the next one. Another commit is started beside one in
//! flight only when enough bytes wait, so that small commits do not multiply flushes. Whatever order
//! the disk completes them in, commits become visible in sequence.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::time::Instant;

use crate::disk::{DiskFile, DynFile, write_all_at};
use crate::ids::CommitSeq;
use crate::log::chunk::Slotted;
use crate::log::format::Place;
use crate::planted::{self, Bug};

use crate::shard::{InFlight, Inner, State, roll};

/// Smallest rest of a chunk that is worth starting another commit in.
const REST_BYTES_MIN: usize = 64 << 10;

enum Step {
    Write { file: DynFile, bytes: Bytes, position: u64, seq: CommitSeq },
    Roll,
    Wait,
    Stop,
}

/// Carries commits to the disk until the shard stops or fails.
pub(crate) async fn worker(inner: Rc<Inner>) {
    loop {
        let notified = inner.work.notified();
        let step = inner.next_step();
        match step {
            Step::Wait => notified.await,
            Step::Roll => {
                roll::roll(&inner).await;
                inner.state.borrow_mut().rolling = false;
                inner.work.notify_waiters();
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
    inner.state.borrow_mut().running -= 1;
    inner.work.notify_waiters();
    inner.sealing.notify_one();
}

impl Inner {
    fn next_step(&self) -> Step {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if self.failure.get().is_some() {
            return Step::Stop;
        }
        if state.rolling {
            return Step::Wait;
        }
        if state.roll_wanted && state.in_flight.is_empty() {
            if matches!(state.next, roll::Next::Ready { .. }) && !state.stopping {
                state.roll_wanted = false;
                state.rolling = true;
                return Step::Roll;
            }
            self.want_next(state);
        }
        if state.closed.is_empty() && state.open.is_empty() {
            return if state.stopping && state.in_flight.is_empty() { Step::Stop } else { Step::Wait };
        }
        // As much as most of the one in flight, so that two large commits alternate instead of a large
        // and a small one.
        let in_flight = state.in_flight.back().map_or(0, |c| c.disk_len);
        let early = self.options.early_commit_bytes.max(in_flight / 4 * 3);
        let enough = !state.closed.is_empty() || state.open.disk_len() >= early;
        if !state.in_flight.is_empty() && !enough {
            return Step::Wait;
        }
        let len = state.closed.front().map_or(state.open.disk_len(), |c| c.disk_len());
        if len as u64 > state.active.room() {
            if !state.in_flight.is_empty() {
                return Step::Wait;
            }
            state.rolling = true;
            return Step::Roll;
        }
        self.submit(state)
    }

    /// Gives the next commit its place and takes it out of the queue.
    fn submit(&self, state: &mut State) -> Step {
        let closed = match state.closed.pop_front() {
            Some(closed) => {
                state.closed_bytes -= closed.disk_len();
                closed
            }
            None => {
                let closed = state.open.close();
                if state.open.room() < REST_BYTES_MIN.min(self.options.chunk_bytes / 4) {
                    state.open.renew(self.pool.take());
                }
                closed
            }
        };
        let (seq, disk_len) = (closed.seq, closed.disk_len());
        let position = state.active.position;
        state.active.position += disk_len as u64;
        if state.in_flight.is_empty() {
            state.busy_since = Some(Instant::now());
        }
        if state.active.position * 2 >= state.active.len {
            self.want_next(state);
        }
        let generation = state.active.generation;
        let place = Place { shard: self.identity.shard, generation, position };
        let durable_below = self.durable_below.get();
        let (bytes, entries, waiters) = closed.seal(place, durable_below);
        state.tail.push(seq, bytes.clone());
        assert_eq!(seq, state.places_first + state.places.len() as u64, "commits are placed in sequence");
        state.places.push_back((generation, position));
        state.in_flight_bytes += disk_len;
        state.in_flight.push_back(InFlight { seq, disk_len, durable_below, entries, waiters, done: false });
        Step::Write { file: state.active.file.clone(), bytes, position, seq }
    }

    /// Notes that a commit is on the disk; makes visible what is now durable in sequence.
    fn finish(&self, seq: CommitSeq) {
        if self.failure.get().is_some() {
            return;
        }
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if let Some(commit) = state.in_flight.iter_mut().find(|c| c.seq == seq) {
            commit.done = true;
        }
        if planted::is(Bug::CompletionOrder) {
            state.in_flight.iter_mut().for_each(|c| c.done |= c.seq < seq);
        }
        let mut advanced = false;
        while state.in_flight.front().is_some_and(|c| c.done) {
            let Some(commit) = state.in_flight.pop_front() else { break };
            advanced = true;
            state.in_flight_bytes -= commit.disk_len;
            self.durable_below.set(commit.seq + 1);
            state.proven_below = state.proven_below.max(commit.durable_below);
            if !commit.entries.is_empty() {
                state.filled_below = commit.seq + 1;
            }
            state.publish(&commit);
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
            self.counters.commit_bytes.fetch_add(commit.disk_len as u64, Ordering::Relaxed);
            self.counters.batches.fetch_add(commit.entries.len() as u64, Ordering::Relaxed);
            for waker in commit.waiters {
                waker.wake();
            }
        }
        if state.in_flight.is_empty()
            && let Some(since) = state.busy_since.take()
        {
            let now = Instant::now();
            state.busy += now - since;
            state.landed_at = Some(now);
            self.landed.notify_waiters();
        }
        if advanced {
            state.wake_space();
            self.work.notify_one();
            self.marking.notify_one();
        }
        if !state.trimmed.is_empty() {
            self.sealing.notify_one();
        }
    }
}

impl State {
    /// Raises the high watermarks of the partitions in a durable commit.
    fn publish(&mut self, commit: &InFlight) {
        let generation = self.active.generation;
        let mut entries = commit.entries.iter().peekable();
        let mut bytes = 0;
        while let Some(slotted) = entries.next() {
            let entry = &slotted.entry;
            bytes += u64::from(entry.len);
            // Neighbours of the same partition: the last one decides.
            let same = |n: &&Slotted| n.slot == slotted.slot && n.entry.log == entry.log;
            if !entry.is_trim() && entries.peek().is_some_and(|n| same(n) && !n.entry.is_trim()) {
                continue;
            }
            let bytes = std::mem::take(&mut bytes);
            let partition = self.partitions.get_mut(slotted.slot as usize).and_then(Option::as_mut);
            let Some(partition) = partition.filter(|p| p.log == entry.log) else { continue };
            if let Some(noting) = &mut self.noting
                && !planted::is(Bug::NotedTooLate)
            {
                noting.note(partition);
            }
            if entry.is_trim() {
                partition.raise_start(entry.base_offset, self.sealed_below);
                self.trimmed.push((slotted.slot, entry.log));
                self.trims.insert(entry.log, (generation, partition.start));
                continue;
            }
            partition.advance(entry.end());
            if partition.touched != generation {
                partition.touched = generation;
                partition.touched_bytes = 0;
                self.active.touched.push((slotted.slot, entry.log));
            }
            partition.touched_bytes += bytes;
            self.roll_wanted |= partition.touched_bytes >= partition.config.segment_bytes;
        }
    }
}
