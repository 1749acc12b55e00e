//! Which segments belong to the shard: what the checkpoint names. A change of segments happens when the
//! checkpoint is replaced, and only one is made at a time: who changes it holds `Inner::manifest`.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::ids::{CommitSeq, Generation};
use crate::log::checkpoint::{Checkpoint, Compacted, LogState, LogStates};
use crate::log::files;
use crate::log::index::Sealed;
use crate::partition::Partition;

use crate::shard::{Inner, State};

/// The partitions at the end of a commit segment.
#[derive(Debug, Default)]
pub(crate) struct Base {
    through: u64,
    next_seq: CommitSeq,
    logs: Arc<LogStates>,
}

/// A base in the making. It states how the partitions were when it was begun: there can be very many, so each
/// is noted before its high watermark or its start changes, and the others a few at a time.
#[derive(Debug)]
pub(crate) struct Noting {
    through: u64,
    next_seq: CommitSeq,
    logs: LogStates,
    /// Slots before are noted.
    at: usize,
}

impl Noting {
    fn new(through: u64, next_seq: CommitSeq) -> Self {
        Self { through, next_seq, logs: LogStates::default(), at: 0 }
    }

    /// Notes a partition, unless it has been noted.
    pub(crate) fn note(&mut self, p: &mut Partition) {
        if p.noted.0 != self.through {
            p.noted = Generation(self.through);
            let producers = p.producers.snapshot(p.high_watermark);
            self.logs.push(&LogState { log: p.log, start: p.start, next: p.high_watermark, producers });
        }
    }
}

impl State {
    /// Begins to note the partitions for the last seal job. Called when nothing beyond `next_seq` is durable:
    /// then the high watermarks are the ends of the logs.
    pub(crate) fn begin_noting(&mut self, through: u64, next_seq: CommitSeq) {
        self.note_some(usize::MAX);
        self.noting = Some(Noting::new(through, next_seq));
    }

    /// Notes so many more partitions; with the last one, the base is there.
    pub(crate) fn note_some(&mut self, count: usize) {
        let Some(mut noting) = self.noting.take() else { return };
        let to = noting.at.saturating_add(count).min(self.partitions.len());
        for partition in self.partitions[noting.at..to].iter_mut().flatten() {
            noting.note(partition);
        }
        noting.at = to;
        if to < self.partitions.len() {
            self.noting = Some(noting);
        } else if let Some(job) = self.seal_jobs.back_mut() {
            let Noting { through, next_seq, logs, .. } = noting;
            job.base = Some(Rc::new(Base { through, next_seq, logs: Arc::new(logs) }));
        }
    }

    /// The partitions as a start found them.
    pub(crate) fn base_at_start(&mut self, through: u64, next_seq: CommitSeq) -> Base {
        let mut noting = Noting::new(through, next_seq);
        self.partitions.iter_mut().flatten().for_each(|p| noting.note(p));
        Base { through, next_seq, logs: Arc::new(noting.logs) }
    }
}

impl Inner {
    /// Durably states which segments there are: those in memory, without `gone` and with `new`; and what was
    /// compacted, with `compacted` in the place of what is in memory of the same log.
    pub(crate) async fn store_checkpoint(
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
            let slots = state.compacted.iter();
            let known =
                slots.filter_map(|slot| state.partitions[*slot as usize].as_ref()?.compacted.as_ref());
            let known = known.filter(|c| compacted.is_none_or(|new| new.log != c.log));
            let trims = state.trims.iter().filter(|(_, (generation, _))| generation.0 > base.through);
            Checkpoint {
                through: base.through,
                next_seq: base.next_seq,
                next_sorted: state.next_sorted,
                segments: stay.chain(new.iter().copied()).collect(),
                trims: trims.map(|(log, (_, start))| (*log, *start)).collect(),
                compacted: known.chain(compacted).cloned().collect(),
                logs: Arc::clone(&base.logs),
            }
        };
        let content = checkpoint.encode(self.identity.shard);
        self.state.borrow_mut().room.set_checkpoint(content.len() as u64);
        files::replace(&self.disk, &self.dir, &files::checkpoint(&self.dir), content).await
    }
}
