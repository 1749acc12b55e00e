//! The tail cache: the memory of recent commits, from which a consumer that keeps up is served without
//! a copy and without the disk.
//!
//! Commits are held in sequence, and the oldest leave first. The number of commits follows the readers, because memory
//! that is not read is better used again soon, while the processor's caches still hold it:
//!
//! * Commits that a reader asked for stay, and so do those up to twice as far back.
//! * A reader that comes too late makes the cache grow to its limit.
//! * Without readers the cache shrinks to [`FLOOR_BYTES`], and appends write past the processor's caches.
//!
//! A reader that holds a slice keeps its memory alive, also when the commit has left the cache.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::CommitSeq;

/// Bytes held in any case, if the limit allows it.
pub const FLOOR_BYTES: usize = 4 << 20;
/// After each push of this many bytes the cache gives up half of what readers wanted. A reader that asks again restores it.
const DECAY_BYTES: u64 = 128 << 20;
/// The cache counts as unread when this many bytes were pushed since a reader last asked.
const UNREAD_BYTES: u64 = 32 << 20;

/// Recent commits by sequence.
#[derive(Debug)]
pub struct TailCache {
    /// Sequence of the oldest commit here, or of the next one.
    first: CommitSeq,
    /// Each commit with the number of bytes that were pushed before it.
    commits: VecDeque<(u64, Bytes)>,
    /// Bytes pushed since the start.
    pushed: u64,
    bytes: usize,
    bytes_max: usize,
    /// Bytes back from the end that readers want.
    wanted: Cell<usize>,
    /// Bytes that had been pushed when a reader last asked.
    asked_at: Cell<u64>,
    /// When `pushed` reaches this, half of `wanted` is given up.
    decay_at: u64,
}

impl TailCache {
    /// An empty cache of at most `bytes_max` bytes, whose first commit will be `first`.
    pub fn new(first: CommitSeq, bytes_max: usize) -> Self {
        // The first reader finds what was written before it came.
        let wanted = Cell::new(bytes_max);
        Self {
            first,
            commits: VecDeque::new(),
            pushed: 0,
            bytes: 0,
            bytes_max,
            wanted,
            asked_at: Cell::new(0),
            decay_at: DECAY_BYTES,
        }
    }

    /// Adds the next commit; drops the oldest ones that no reader wants, or that exceed the limit.
    pub fn push(&mut self, seq: CommitSeq, commit: Bytes) {
        assert_eq!(seq, self.first + self.commits.len() as u64, "commits come in sequence");
        self.bytes += commit.len();
        self.commits.push_back((self.pushed, commit.clone()));
        self.pushed += commit.len() as u64;
        if self.pushed >= self.decay_at {
            self.wanted.set(self.wanted.get() / 2);
            self.decay_at = self.pushed + DECAY_BYTES;
        }
        let limit = self.wanted.get().max(FLOOR_BYTES).min(self.bytes_max);
        while self.bytes > limit {
            let Some((_, oldest)) = self.commits.pop_front() else { break };
            self.bytes -= oldest.len();
            self.first += 1;
        }
    }

    /// The commit with this sequence, if it is cached; counts as a request of a reader.
    pub fn get(&self, seq: CommitSeq) -> Option<&Bytes> {
        let (start, commit) = self.commits.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)?;
        self.asked_at.set(self.pushed);
        let behind = usize::try_from(self.pushed - start).unwrap_or(usize::MAX);
        self.wanted.set(self.wanted.get().max(behind.saturating_mul(2)));
        Some(commit)
    }

    /// Notes that a reader asked for a commit that was dropped already.
    pub fn missed(&self) {
        self.asked_at.set(self.pushed);
        self.wanted.set(self.bytes_max);
    }

    /// Whether readers follow what is written.
    pub fn is_read(&self) -> bool {
        self.pushed - self.asked_at.get() < UNREAD_BYTES
    }

    /// Whether the commit with this sequence is cached.
    pub fn holds(&self, seq: CommitSeq) -> bool {
        seq >= self.first && seq < self.first + self.commits.len() as u64
    }

    /// Sequence of the oldest cached commit, or of the next commit if the cache is empty.
    pub fn first(&self) -> CommitSeq {
        self.first
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn push(tail: &mut TailCache, seqs: std::ops::RangeInclusive<u64>) {
        seqs.for_each(|seq| tail.push(seq, Bytes::from(vec![seq as u8; MIB])));
    }

    #[test]
    fn the_oldest_goes_first_and_the_limit_holds() {
        let mut tail = TailCache::new(1, 3 * MIB);
        tail.missed();
        push(&mut tail, 1..=4);
        assert_eq!((tail.first(), tail.bytes()), (2, 3 * MIB));
        assert!(tail.get(1).is_none() && tail.get(5).is_none() && !tail.holds(1) && tail.holds(4));
        assert_eq!(tail.get(3).unwrap()[0], 3);
    }

    #[test]
    fn it_grows_with_what_readers_want_and_shrinks_without_readers() {
        let mut tail = TailCache::new(1, 64 * MIB);
        push(&mut tail, 1..=100);
        assert_eq!(tail.bytes(), 64 * MIB);
        push(&mut tail, 101..=2_000);
        assert_eq!(tail.bytes(), FLOOR_BYTES);
        assert!(tail.get(1_997).is_some());
        push(&mut tail, 2_001..=2_040);
        assert_eq!(tail.bytes(), 8 * MIB, "twice as far back as was asked for");
        tail.missed();
        push(&mut tail, 2_041..=2_105);
        assert!(tail.bytes() >= 32 * MIB);
    }

    #[test]
    fn it_is_read_while_a_reader_asks_now_and_then() {
        let mut tail = TailCache::new(1, 64 * MIB);
        push(&mut tail, 1..=31);
        assert!(tail.is_read());
        push(&mut tail, 32..=32);
        assert!(!tail.is_read());
        assert!(tail.get(32).is_some() && tail.is_read());
        push(&mut tail, 33..=64);
        assert!(!tail.is_read());
        tail.missed();
        assert!(tail.is_read());
    }
}
