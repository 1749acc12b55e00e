//! The partitions as they were at the end of a commit segment: the part of a checkpoint that can be large.

use std::sync::Arc;

use crate::ids::{CommitSeq, Generation};
use crate::log::checkpoint::{LogState, LogStates};
use crate::partition::Partition;
use crate::shard::partitions::Partitions;

/// The partitions at the end of a commit segment.
#[derive(Debug, Default)]
pub struct Base {
    /// The segment, as a number. Every commit segment up to it is sealed.
    pub through: u64,
    /// Sequence of the first commit after it.
    pub next_seq: CommitSeq,
    /// The partitions.
    pub logs: Arc<LogStates>,
}

/// A base in the making. It states how the partitions were when it was begun. There can be very many, so each one is
/// noted before its high watermark or its start changes, and the others a few at a time.
#[derive(Debug)]
pub struct Noting {
    through: u64,
    next_seq: CommitSeq,
    logs: LogStates,
    /// The partitions in slots before this one are noted.
    at: usize,
}

impl Noting {
    /// Begins with no partition noted. Called when no commit from `next_seq` on is durable: then the high watermarks are
    /// the ends of the logs.
    pub fn new(through: u64, next_seq: CommitSeq) -> Self {
        Self { through, next_seq, logs: LogStates::default(), at: 0 }
    }

    /// Notes a partition, unless it has been noted.
    pub fn note(&mut self, p: &mut Partition) {
        if p.noted.0 != self.through {
            p.noted = Generation(self.through);
            let producers = p.producers.snapshot(p.high_watermark);
            self.logs.push(&LogState { log: p.log, start: p.start, next: p.high_watermark, producers });
        }
    }

    /// Notes at most `count` more partitions. `true`: all are noted.
    pub fn note_some(&mut self, partitions: &mut Partitions, count: usize) -> bool {
        let to = self.at.saturating_add(count).min(partitions.slots());
        partitions.range_mut(self.at, to).for_each(|partition| self.note(partition));
        self.at = to;
        to == partitions.slots()
    }

    /// The base, once all partitions are noted.
    pub fn finish(self) -> Base {
        Base { through: self.through, next_seq: self.next_seq, logs: Arc::new(self.logs) }
    }
}
