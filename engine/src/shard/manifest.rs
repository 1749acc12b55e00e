//! Which segments belong to the shard: what the checkpoint names. A change of segments happens when the
//! checkpoint is replaced, and only one is made at a time: who changes it holds `Inner::manifest`.

use std::io;

use crate::disk::Disk;
use crate::ids::{CommitSeq, Generation};
use crate::log::checkpoint::{Checkpoint, Compacted, LogState, LogStates};
use crate::log::index::Sealed;

use super::{Inner, State};

/// The partitions at the end of a commit segment.
#[derive(Debug, Default)]
pub(super) struct Base {
    through: u64,
    next_seq: CommitSeq,
    logs: LogStates,
}

impl<F> State<F> {
    /// The partitions as they are. Called when nothing beyond `next_seq` is durable: then the high
    /// watermarks are the ends of the logs.
    pub(super) fn snapshot(&self, through: u64, next_seq: CommitSeq) -> Base {
        let mut logs = LogStates::default();
        for p in self.partitions.iter().flatten() {
            let producers = p.producers.snapshot(p.high_watermark);
            logs.push(&LogState { log: p.log, start: p.start, next: p.high_watermark, producers });
        }
        Base { through, next_seq, logs }
    }
}

impl<D: Disk> Inner<D> {
    /// Durably states which segments there are: those in memory, without `gone` and with `new`; and what was
    /// compacted, with `compacted` in the place of what is in memory of the same log.
    pub(super) async fn store_checkpoint(
        &self,
        base: &Base,
        new: &[Sealed],
        gone: &[Generation],
        compacted: Option<&Compacted>,
    ) -> io::Result<()> {
        let checkpoint = {
            let state = self.state.borrow();
            let stay = state.segments.values().map(|s| s.sealed);
            let stay = stay.filter(|s| !gone.contains(&s.generation));
            let known = state.partitions.iter().flatten().filter_map(|p| p.compacted.as_ref());
            let known = known.filter(|c| compacted.is_none_or(|new| new.log != c.log));
            let trims = state.trims.iter().filter(|(_, (generation, _))| generation.0 > base.through);
            Checkpoint {
                through: base.through,
                next_seq: base.next_seq,
                next_sorted: state.next_sorted,
                segments: stay.chain(new.iter().copied()).collect(),
                trims: trims.map(|(log, (_, start))| (*log, *start)).collect(),
                compacted: known.chain(compacted).cloned().collect(),
                logs: base.logs.clone(),
            }
        };
        checkpoint.store(&self.disk, &self.dir, self.identity.shard).await
    }
}
