//! Commits that have a position in a segment: their memory while it is in the tail cache, and their positions while a
//! partition lists batches by their commits.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::{CommitSeq, Generation};
use crate::log::tail_cache::TailCache;
use crate::shard::checked::Invariant;

/// See the module's header.
pub struct RecentCommits {
    /// The memory of the last commits.
    pub cache: TailCache,
    /// Segment and position of each commit from `first` on.
    positions: VecDeque<(Generation, u64)>,
    /// The first commit whose position is known.
    first: CommitSeq,
}

impl RecentCommits {
    /// No commits; the first one will have the sequence `next`.
    pub fn new(next: CommitSeq, cache_bytes_max: usize) -> Self {
        Self { cache: TailCache::new(next, cache_bytes_max), positions: VecDeque::new(), first: next }
    }

    /// The next commit got its position.
    pub fn push(&mut self, seq: CommitSeq, bytes: Bytes, generation: Generation, position: u64) {
        assert_eq!(seq, self.first + self.positions.len() as u64, "commits get their positions in sequence");
        self.cache.push(seq, bytes);
        self.positions.push_back((generation, position));
    }

    /// Segment and position of a commit whose segment is not sealed yet, or that is still in the tail cache.
    pub fn position(&self, seq: CommitSeq) -> Option<(Generation, u64)> {
        self.positions.get(usize::try_from(seq.checked_sub(self.first)?).ok()?).copied()
    }

    /// Forgets the positions of commits below `sealed_below` that have left the tail cache.
    pub fn forget_sealed(&mut self, sealed_below: CommitSeq) {
        let end = sealed_below.min(self.cache.first());
        while self.first < end && self.positions.pop_front().is_some() {
            self.first += 1;
        }
    }
}

impl Invariant for RecentCommits {
    fn check(&self) {
        assert!(self.first <= self.cache.first(), "the position of each commit in the tail cache is known");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_known_while_the_commit_is_cached_or_its_segment_is_not_sealed() {
        let mut recent = RecentCommits::new(1, 2 << 20);
        for seq in 1..=4 {
            recent.push(seq, Bytes::from(vec![0; 1 << 20]), Generation(1), seq);
        }
        recent.forget_sealed(2);
        assert_eq!((recent.position(1), recent.position(2)), (None, Some((Generation(1), 2))));
        recent.forget_sealed(5);
        assert_eq!((recent.position(2), recent.position(3)), (None, Some((Generation(1), 3))));
        recent.check();
    }

    #[test]
    #[should_panic(expected = "the position of each commit in the tail cache is known")]
    fn a_cached_commit_without_a_position_is_found() {
        let mut recent = RecentCommits::new(1, 2 << 20);
        recent.push(1, Bytes::new(), Generation(1), 0);
        recent.first = 2;
        recent.check();
    }
}
