//! The tail cache: the memory of recent commits, from which a consumer that keeps up is served without
//! a copy and without the disk.
//!
//! Commits are held in sequence, the oldest go first. A reader that still holds a slice keeps that
//! memory alive, not the cache's entry.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::CommitSeq;

/// Recent commits by sequence.
#[derive(Debug)]
pub struct Tail {
    first: CommitSeq,
    commits: VecDeque<Bytes>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// An empty cache of at most `bytes_max` bytes, whose first commit will be `first`.
    pub fn new(first: CommitSeq, bytes_max: usize) -> Self {
        Self { first, commits: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the next commit; drops the oldest beyond the limit.
    pub fn push(&mut self, seq: CommitSeq, commit: Bytes) {
        assert_eq!(seq, self.first + self.commits.len() as u64, "commits come in sequence");
        self.bytes += commit.len();
        self.commits.push_back(commit);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.commits.pop_front() else { break };
            self.bytes -= oldest.len();
            self.first += 1;
        }
    }

    /// The commit with this sequence, if it is still here.
    pub fn get(&self, seq: CommitSeq) -> Option<&Bytes> {
        self.commits.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// Sequence of the oldest commit here, or of the next one.
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

    #[test]
    fn the_oldest_goes_first() {
        let mut tail = Tail::new(1, 10);
        for seq in 1..=4 {
            tail.push(seq, Bytes::from(vec![seq as u8; 4]));
        }
        assert_eq!((tail.first(), tail.bytes()), (3, 8));
        assert!(tail.get(2).is_none() && tail.get(5).is_none());
        assert_eq!(tail.get(3).unwrap()[0], 3);
    }
}
