//! Types for the numbers of shards, logs and segments, so that one cannot be passed for another.

use std::fmt;

/// Position of a record in its partition: dense, from 0, never reused.
pub type Offset = u64;

/// Position of a commit in its shard's history: dense, from 1, never reused by a durable commit.
pub type CommitSeq = u64;

/// A shard of a data directory: one commit log and the partitions that write into it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardId(pub u16);

/// A shard of one data directory. Each file states it, so that no file is taken for one of another shard or directory.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The data directory's id.
    pub directory: [u8; 16],
    /// The shard.
    pub shard: ShardId,
}

/// The number of a partition's log, for the whole life of a data directory. A number is never used again, so that records of a
/// deleted topic are never taken for those of a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct LogId(pub u32);

/// Generation of a segment: each segment that was ever written in a shard has its own. Commit segments
/// and sorted segments are counted apart; the highest bit tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Generation(pub u64);

impl Generation {
    const SORTED: u64 = 1 << 63;

    /// The sorted segment with this number.
    pub fn sorted(number: u64) -> Self {
        Self(number | Self::SORTED)
    }

    /// Whether this is a sorted segment, which was written in the background, by partition.
    pub fn is_sorted(self) -> bool {
        self.0 & Self::SORTED != 0
    }

    /// The number of the segment among those of its kind.
    pub fn number(self) -> u64 {
        self.0 & !Self::SORTED
    }

    /// The generation of the next segment of the same kind.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_sorted() { "sorted " } else { "" }, self.number())
    }
}
