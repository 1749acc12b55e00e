//! The segment that commits go to, and the one after it.

use crate::aligned::BLOCK;
use crate::disk::DynFile;
use crate::ids::{CommitSeq, Generation};
use crate::shard::checked::Invariant;
use crate::shard::partitions::PartitionRef;

/// The segment that commits go to.
pub struct Active {
    /// Its file.
    pub file: DynFile,
    /// Bytes of the file.
    pub len: u64,
    /// Its generation.
    pub generation: Generation,
    /// Where the next commit goes.
    pub position: u64,
    /// Sequence of its first commit.
    pub first_seq: CommitSeq,
    /// The partitions with durable batches in it.
    pub touched: Vec<PartitionRef>,
}

impl Active {
    /// A segment without commits; the first one will be `first_seq`.
    pub fn new((file, len): (DynFile, u64), generation: Generation, first_seq: CommitSeq) -> Self {
        Self { file, len, generation, position: BLOCK as u64, first_seq, touched: Vec::new() }
    }

    /// Bytes that still fit.
    pub fn room(&self) -> u64 {
        self.len - self.position
    }
}

/// The segment after the active one.
pub enum Next {
    /// It is to be prepared.
    Wanted,
    /// It is prepared. `filling`: zeros are being written over it.
    Ready {
        /// Its file.
        file: DynFile,
        /// Bytes of the file.
        len: u64,
        /// Its generation.
        generation: Generation,
        /// Zeros are being written over it: it cannot become active before they are written.
        filling: bool,
    },
    /// There is no disk space for it. It is tried again from time to time.
    Full,
}

/// See the module's header.
pub struct Front {
    /// The segment that commits go to.
    pub active: Active,
    /// The segment after it.
    pub next: Next,
    /// The next segment is to be prepared now.
    pub next_wanted: bool,
    /// The active segment is to be left although it is not full: what is in it is to be sealed.
    pub roll_wanted: bool,
    /// A commit worker is on its way from the active segment to the next.
    pub rolling: bool,
}

impl Front {
    /// Commits go to `active`; there is no next one.
    pub fn new(active: Active) -> Self {
        Self { active, next: Next::Wanted, next_wanted: false, roll_wanted: false, rolling: false }
    }

    /// Whether the next segment is prepared.
    pub fn is_next_ready(&self) -> bool {
        matches!(self.next, Next::Ready { .. })
    }
}

impl Invariant for Front {
    fn check(&self) {
        let Active { position, len, .. } = self.active;
        assert!(position <= len && position.is_multiple_of(BLOCK as u64), "commits stay inside the segment");
        if let Next::Ready { generation, .. } = self.next {
            assert_eq!(generation, self.active.generation.next(), "the next segment follows the active one");
        }
    }
}
