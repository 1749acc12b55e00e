//! What changes in a shard, in parts that each keep their invariants.

use crate::aligned::AlignedBuf;
use crate::error::ReadError;
use crate::ids::{Generation, Offset};
use crate::log::sealed::Run;
use crate::partition::Partition;

use super::checked::Invariant;
use super::options::ShardOptions;
use super::partitions::{PartitionRef, Partitions};
use super::segments::front::{Active, Front};
use super::segments::set::SegmentSet;
use super::segments::space::DiskSpace;
use super::upkeep::clock::Clock;
use super::upkeep::deleted::Deleted;
use super::write::busy::BusyTime;
use super::write::commits::Commits;
use super::write::recent::RecentCommits;

/// See the module's header.
pub struct State {
    /// The partitions.
    pub partitions: Partitions,
    /// Commits on their way to the disk.
    pub commits: Commits,
    /// Commits that have a position: the tail cache, and where they lie.
    pub recent: RecentCommits,
    /// The segment that commits go to, and the next one.
    pub front: Front,
    /// All other segments.
    pub segments: SegmentSet,
    /// What was deleted, and is not done with.
    pub deleted: Deleted,
    /// The disk space.
    pub space: DiskSpace,
    /// How busy the log is.
    pub busy: BusyTime,
    /// The time.
    pub clock: Clock,
    /// The shard is being closed: it takes nothing more.
    pub stopping: bool,
}

impl State {
    /// A shard that commits nothing yet: the first commit will be built in `buf` and go to `active`.
    pub fn new(
        partitions: Partitions,
        segments: SegmentSet,
        active: Active,
        buf: AlignedBuf,
        options: &ShardOptions,
    ) -> Self {
        let next_seq = active.first_seq;
        Self {
            partitions,
            commits: Commits::new(next_seq, buf),
            recent: RecentCommits::new(next_seq, options.tail_cache_bytes),
            space: DiskSpace::at_start(&segments.sealed, (active.generation, active.len)),
            front: Front::new(active),
            segments,
            deleted: Deleted::default(),
            busy: BusyTime::default(),
            clock: Clock::default(),
            stopping: false,
        }
    }

    /// Whether commits go to a segment, or it waits to be sealed.
    pub fn is_unsealed(&self, generation: Generation) -> bool {
        generation == self.front.active.generation || self.segments.waits(generation)
    }

    /// Whether a segment is in use: sealed, or not sealed yet.
    pub fn exists(&self, generation: Generation) -> bool {
        self.is_unsealed(generation) || self.segments.sealed.contains_key(&generation)
    }

    /// Whether a partition has a run in a segment, or may have batches in it that are not sealed yet.
    pub fn holds(&self, at: PartitionRef, generation: Generation) -> bool {
        let has_run = |p: &Partition| p.runs.iter().any(|r| r.generation == generation);
        self.is_unsealed(generation) || self.partitions.get(at).is_some_and(has_run)
    }

    /// The partition, if a reader may ask for `offset`.
    pub fn check_range(&self, at: PartitionRef, offset: Offset) -> Result<&Partition, ReadError> {
        let partition = self.partitions.get(at).ok_or(ReadError::UnknownPartition)?;
        if offset < partition.start || offset > partition.high_watermark {
            return Err(ReadError::OutOfRange {
                offset,
                start: partition.start,
                high_watermark: partition.high_watermark,
            });
        }
        Ok(partition)
    }

    /// A run of a partition, with or without a bound by size, is no longer needed. That it was deleted is durable. Its
    /// space can be given back, and its segment be freed if that was its last run. `true`: its segment is not needed.
    pub fn release(&mut self, run: Run, bounded: bool) -> bool {
        if self.segments.remove_run(&run) {
            self.deleted.forget_holes(run.generation);
            return true;
        }
        self.deleted.add_hole(run, bounded);
        false
    }
}

impl Invariant for State {
    fn check(&self) {
        self.partitions.check();
        self.commits.check();
        self.recent.check();
        self.front.check();
        self.segments.check();
        self.deleted.check();
        self.space.check();
        assert_eq!(
            self.busy.is_busy(),
            !self.commits.none_in_flight(),
            "the log is busy while commits are in flight"
        );
        let holes = self.deleted.holes().keys();
        assert!(
            holes.clone().all(|g| self.segments.sealed.contains_key(g)),
            "only a segment that is in use has holes"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::aligned::BLOCK;
    use crate::disk::uring::UringDisk;
    use crate::disk::{Disk, DynDisk};
    use crate::shard::segments::base::Base;

    /// Changes the state of a shard in which nothing has happened, and checks it before and afterwards.
    fn check_after(change: impl FnOnce(&mut State)) {
        let dir = tempfile::tempdir().unwrap();
        tokio_uring::start(async {
            let len = 16 * BLOCK as u64;
            let file = DynDisk::new(UringDisk::new(dir.path(), false)).create("segment", len).await.unwrap();
            let segments = SegmentSet::new(BTreeMap::new(), 1, 1, Base::default());
            let (active, buf) = (Active::new((file, len), Generation(1), 1), AlignedBuf::uninit(BLOCK));
            let options = ShardOptions::default();
            let mut state = State::new(Partitions::default(), segments, active, buf, &options);
            state.check();
            change(&mut state);
            state.check();
        });
    }

    #[test]
    #[should_panic(expected = "the log is busy while commits are in flight")]
    fn a_log_that_is_busy_with_nothing_is_found() {
        check_after(|state| state.busy.begin());
    }

    #[test]
    #[should_panic(expected = "only a segment that is in use has holes")]
    fn holes_in_a_segment_that_was_freed_are_found() {
        let run = Run {
            generation: Generation(1),
            base_offset: 0,
            next_offset: 1,
            max_timestamp: 0,
            bytes: 10,
            first_entry: 0,
            entries: 1,
        };
        check_after(|state| state.deleted.add_hole(run, true));
    }

    #[test]
    #[should_panic(expected = "commits stay inside the segment")]
    fn a_commit_beyond_the_end_of_its_segment_is_found() {
        check_after(|state| state.front.active.position = state.front.active.len + BLOCK as u64);
    }
}
