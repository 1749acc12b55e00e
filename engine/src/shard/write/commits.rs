//! Commits on their way to the disk: one that is open for batches, closed ones that wait for their turn, and those in
//! flight.

use std::collections::VecDeque;
use std::task::Waker;

use crate::aligned::AlignedBuf;
use crate::ids::CommitSeq;
use crate::log::chunk::{ClosedCommit, OpenCommit, Slotted};
use crate::planted::{self, Bug};
use crate::shard::checked::Invariant;

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitState {
    /// On its way to the disk.
    Pending,
    /// On the disk.
    Durable,
    /// It will never be durable: the shard has failed.
    Failed,
}

/// A commit whose write and flush have begun.
pub struct InFlight {
    /// Its sequence.
    pub seq: CommitSeq,
    /// Its bytes on the disk.
    pub disk_len: usize,
    /// Commits below this sequence were durable when this one was written.
    pub durable_below: CommitSeq,
    /// Its batches, and the log start offsets that it raises.
    pub entries: Vec<Slotted>,
    /// Tasks that wait until it is durable.
    pub waiters: Vec<Waker>,
    /// It is on the disk, but a commit before it may not be.
    pub done: bool,
}

/// See the module's header. The sequences of all of them are dense.
pub struct Commits {
    /// Takes batches.
    open: OpenCommit,
    /// Full commits, oldest first.
    closed: VecDeque<ClosedCommit>,
    /// Bytes of the closed commits on the disk.
    closed_bytes: usize,
    /// Commits whose write has begun, oldest first.
    in_flight: VecDeque<InFlight>,
    /// Bytes of the commits in flight on the disk.
    in_flight_bytes: usize,
    /// All durable commits that have entries are below this sequence.
    filled_below: CommitSeq,
    /// A durable commit states that all commits below this sequence are durable.
    proven_below: CommitSeq,
    /// Tasks that wait because `append` said `Busy`.
    appenders: Vec<Waker>,
}

impl Commits {
    /// No commits; the first one will have the sequence `next` and be built in `buf`.
    pub fn new(next: CommitSeq, buf: AlignedBuf) -> Self {
        Self {
            open: OpenCommit::new(next, buf),
            closed: VecDeque::new(),
            closed_bytes: 0,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            filled_below: next,
            proven_below: next,
            appenders: Vec::new(),
        }
    }

    /// The open commit.
    pub fn open(&self) -> &OpenCommit {
        &self.open
    }

    /// The open commit. It is closed by [`Self::close_open`] only.
    pub fn open_mut(&mut self) -> &mut OpenCommit {
        &mut self.open
    }

    /// Bytes that were appended and are not durable.
    pub fn uncommitted_bytes(&self) -> usize {
        self.waiting_bytes() + self.in_flight_bytes
    }

    /// Bytes that were appended and whose write has not begun.
    pub fn waiting_bytes(&self) -> usize {
        self.closed_bytes + self.open.disk_len()
    }

    /// Whether nothing waits for its write.
    pub fn none_waits(&self) -> bool {
        self.closed.is_empty() && self.open.is_empty()
    }

    /// Whether no write is under way.
    pub fn none_in_flight(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether a full commit waits for its write.
    pub fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Bytes of the commit that is next written.
    pub fn next_len(&self) -> usize {
        self.closed.front().map_or(self.open.disk_len(), |c| c.disk_len())
    }

    /// Bytes of the commit whose write began last. 0: none is in flight.
    pub fn last_in_flight_len(&self) -> usize {
        self.in_flight.back().map_or(0, |c| c.disk_len)
    }

    /// Closes the open commit, which holds something, so that it waits for its write.
    pub fn close_open(&mut self) {
        let closed = self.open.close();
        self.closed_bytes += closed.disk_len();
        self.closed.push_back(closed);
    }

    /// Takes the oldest full commit to be written.
    pub fn take_closed(&mut self) -> Option<ClosedCommit> {
        let closed = self.closed.pop_front()?;
        self.closed_bytes -= closed.disk_len();
        Some(closed)
    }

    /// The write of a commit begins.
    pub fn begin(&mut self, commit: InFlight) {
        self.in_flight_bytes += commit.disk_len;
        self.in_flight.push_back(commit);
    }

    /// A commit is on the disk.
    pub fn landed(&mut self, seq: CommitSeq) {
        if let Some(commit) = self.in_flight.iter_mut().find(|c| c.seq == seq) {
            commit.done = true;
        }
        if planted::is(Bug::CompletionOrder) {
            self.in_flight.iter_mut().for_each(|c| c.done |= c.seq < seq);
        }
    }

    /// Takes the oldest commit in flight, if it is on the disk: then it is durable, as all before it are.
    pub fn take_durable(&mut self) -> Option<InFlight> {
        let commit = self.in_flight.pop_front_if(|c| c.done)?;
        self.in_flight_bytes -= commit.disk_len;
        self.proven_below = self.proven_below.max(commit.durable_below);
        if !commit.entries.is_empty() {
            self.filled_below = commit.seq + 1;
        }
        Some(commit)
    }

    /// Whether no commit states yet that the last one with entries is durable.
    pub fn is_unproven(&self) -> bool {
        self.filled_below > self.proven_below
    }

    /// The tasks that wait for a commit. `None`: the commit is durable already.
    pub fn waiters(&mut self, seq: CommitSeq) -> Option<&mut Vec<Waker>> {
        if seq == self.open.seq {
            return Some(&mut self.open.waiters);
        }
        if let Some(commit) = self.in_flight.iter_mut().find(|c| c.seq == seq) {
            return Some(&mut commit.waiters);
        }
        self.closed.iter_mut().find(|c| c.seq == seq).map(|c| &mut c.waiters)
    }

    /// Wakes all tasks that wait for a commit, or to append, as nothing will become durable any more.
    pub fn wake_all(&mut self) {
        let in_flight = self.in_flight.iter_mut().map(|c| &mut c.waiters);
        let closed = self.closed.iter_mut().map(|c| &mut c.waiters);
        for waiters in in_flight.chain(closed).chain([&mut self.open.waiters]) {
            waiters.drain(..).for_each(Waker::wake);
        }
        self.wake_appenders();
    }

    /// Has `waker` woken when appending may succeed again.
    pub fn add_appender(&mut self, waker: Waker) {
        self.appenders.push(waker);
    }

    /// Wakes the tasks that wait to append.
    pub fn wake_appenders(&mut self) {
        self.appenders.drain(..).for_each(Waker::wake);
    }
}

impl Invariant for Commits {
    fn check(&self) {
        let closed: usize = self.closed.iter().map(ClosedCommit::disk_len).sum();
        assert_eq!(closed, self.closed_bytes, "bytes of closed commits");
        let in_flight: usize = self.in_flight.iter().map(|c| c.disk_len).sum();
        assert_eq!(in_flight, self.in_flight_bytes, "bytes of commits in flight");
        let seqs = self.in_flight.iter().map(|c| c.seq).chain(self.closed.iter().map(|c| c.seq));
        let first = self.open.seq - (self.in_flight.len() + self.closed.len()) as CommitSeq;
        assert!(seqs.eq(first..self.open.seq), "the sequences of commits are dense");
        assert!(self.filled_below <= first, "a commit that is not durable is not counted as filled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::BLOCK;

    fn commits() -> Commits {
        let mut commits = Commits::new(5, AlignedBuf::uninit(8 * BLOCK));
        for _ in 0..2 {
            commits.open_mut().mark();
            commits.close_open();
        }
        commits.check();
        commits
    }

    #[test]
    fn commits_become_durable_in_sequence() {
        let mut commits = commits();
        while let Some(closed) = commits.take_closed() {
            let (seq, disk_len) = (closed.seq, closed.disk_len());
            let (entries, waiters) = (Vec::new(), Vec::new());
            commits.begin(InFlight { seq, disk_len, durable_below: 5, entries, waiters, done: false });
            commits.check();
        }
        commits.landed(6);
        assert!(commits.take_durable().is_none(), "the one before it is not on the disk");
        commits.landed(5);
        assert_eq!([5, 6].map(|_| commits.take_durable().map(|c| c.seq)), [Some(5), Some(6)]);
        assert!(commits.none_in_flight() && commits.uncommitted_bytes() == 0);
        commits.check();
    }

    #[test]
    #[should_panic(expected = "the sequences of commits are dense")]
    fn a_commit_that_is_skipped_is_found() {
        let mut commits = commits();
        commits.take_closed();
        commits.closed_bytes = commits.closed.iter().map(ClosedCommit::disk_len).sum();
        commits.open.seq += 1;
        commits.check();
    }

    #[test]
    #[should_panic(expected = "bytes of closed commits")]
    fn bytes_that_are_counted_twice_are_found() {
        let mut commits = commits();
        commits.closed_bytes *= 2;
        commits.check();
    }
}
