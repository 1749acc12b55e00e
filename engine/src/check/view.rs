//! What is known of a shard while it is checked.

use std::collections::{BTreeMap, HashSet};

use crate::ids::{CommitSeq, Generation, Identity, LogId, Offset};
use crate::log::checkpoint::{Checkpoint, Compacted};
use crate::log::files;
use crate::log::format::Entry;
use crate::log::sealed::Run;

/// A log, as the checkpoint and the segments state it.
#[derive(Debug, Default)]
pub struct LogView {
    /// Log start offset that the checkpoint states; the space of batches before it may have been given back.
    pub start_sealed: Offset,
    /// Log start offset.
    pub start: Offset,
    /// Log end offset that the checkpoint states.
    pub next_sealed: Offset,
    /// Log end offset.
    pub next: Offset,
    /// Runs in sealed segments.
    pub runs: Vec<Run>,
}

/// What is known of a shard.
pub struct View<'a> {
    /// The shard.
    pub identity: &'a Identity,
    /// Its directory.
    pub dir: String,
    /// The logs that the catalog places here. `None`: there is no catalog.
    pub live: Option<&'a HashSet<LogId>>,
    /// The segments in the directory, by generation.
    pub generations: Vec<Generation>,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The logs.
    pub logs: BTreeMap<LogId, LogView>,
    /// Whether damage hides which offsets the segments hold.
    pub partial: bool,
}

impl<'a> View<'a> {
    /// What the checkpoint states.
    pub fn new(
        identity: &'a Identity,
        live: Option<&'a HashSet<LogId>>,
        generations: Vec<Generation>,
        checkpoint: Checkpoint,
    ) -> Self {
        let mut logs: BTreeMap<LogId, LogView> = BTreeMap::new();
        for state in checkpoint.logs.decode() {
            let (start, next) = (state.start, state.next);
            let view = LogView { start_sealed: start, start, next_sealed: next, next, runs: Vec::new() };
            logs.insert(state.log, view);
        }
        for (log, start) in &checkpoint.trims {
            if let Some(view) = logs.get_mut(log) {
                view.start = view.start.max(*start);
                view.start_sealed = view.start;
            }
        }
        let dir = files::shard_dir(identity.shard);
        Self { identity, dir, live, generations, checkpoint, logs, partial: false }
    }

    /// Whether a log exists.
    pub fn is_live(&self, log: LogId) -> bool {
        is_live(self.live, log)
    }

    /// Whether the space of a batch in a segment may have been given back.
    pub fn is_dead(&self, generation: Generation, entry: &Entry) -> bool {
        let start = self.logs.get(&entry.log).map(|view| view.start_sealed);
        !self.is_live(entry.log)
            || start.is_none_or(|start| entry.end() <= start)
            || self.is_replaced(generation, entry.log, entry.end())
    }

    /// Whether compaction replaced a batch, or a run, of this segment that ends at `end`.
    pub fn is_replaced(&self, generation: Generation, log: LogId, end: Offset) -> bool {
        self.compacted(log).is_some_and(|c| c.replaces(generation, end))
    }

    /// How far a log was compacted.
    pub fn compacted(&self, log: LogId) -> Option<&Compacted> {
        self.checkpoint.compacted.iter().find(|c| c.log == log)
    }

    /// Adds a run that an index or a segment states.
    pub fn add_run(&mut self, log: LogId, run: Run) {
        if self.is_replaced(run.generation, log, run.next_offset) {
            return;
        }
        // Without a catalog, logs that the checkpoint does not state count as deleted.
        if self.live.is_some_and(|live| live.contains(&log)) {
            self.logs.entry(log).or_default().runs.push(run);
        } else if let (None, Some(view)) = (self.live, self.logs.get_mut(&log)) {
            view.runs.push(run);
        }
    }

    /// Whether readers can reach a batch.
    pub fn is_needed(&self, generation: Generation, log: LogId, end: Offset) -> bool {
        let there = self.logs.get(&log).is_some_and(|view| end > view.start);
        self.is_live(log) && there && !self.is_replaced(generation, log, end)
    }
}

/// Whether a log exists, by the catalog; without a catalog every log counts as existing.
fn is_live(live: Option<&HashSet<LogId>>, log: LogId) -> bool {
    live.is_none_or(|live| live.contains(&log))
}

/// Sequence of the first commit that the checkpoint does not cover.
pub fn next_seq(checkpoint: &Checkpoint) -> CommitSeq {
    checkpoint.next_seq.max(1)
}
