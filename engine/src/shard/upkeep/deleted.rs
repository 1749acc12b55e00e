//! What was deleted, and what is still to be done about it.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio::time::Instant;

use crate::ids::{Generation, LogId, Offset};
use crate::log::sealed::Run;
use crate::shard::checked::Invariant;
use crate::shard::partitions::PartitionRef;

/// Deleted runs of a segment that is still in use.
pub struct Holes {
    /// When the first of them was deleted.
    pub since: Instant,
    /// The runs.
    pub runs: Vec<Run>,
    /// Bytes of the runs of partitions that have no bound by size.
    pub unbounded: u64,
}

/// See the module's header.
#[derive(Default)]
pub struct Deleted {
    /// Log start offsets that were raised since the last checkpoint, by log, each with the segment that was active then.
    starts: BTreeMap<LogId, (Generation, Offset)>,
    /// Partitions whose runs have to be looked through, because their log start offset was raised.
    raised: Vec<PartitionRef>,
    /// Deleted runs whose space can be given back to the file system, by segment.
    holes: HashMap<Generation, Holes>,
    /// Segments in which holes were made: as slow to write as new ones.
    holed: HashSet<Generation>,
    /// The segment in which holes are being made.
    punching: Option<Generation>,
}

impl Deleted {
    /// The log start offset of a partition was raised, durably, by a commit in the active segment.
    pub fn start_raised(&mut self, at: PartitionRef, start: Offset, active: Generation) {
        self.raised.push(at);
        self.starts.insert(at.log(), (active, start));
    }

    /// Has the runs of a partition looked through: the log start offset may have been raised before they were there.
    pub fn look_through(&mut self, at: PartitionRef) {
        self.raised.push(at);
    }

    /// Whether runs have to be looked through.
    pub fn is_to_be_looked_through(&self) -> bool {
        !self.raised.is_empty()
    }

    /// Takes the partitions whose runs have to be looked through.
    pub fn take_raised(&mut self) -> Vec<PartitionRef> {
        std::mem::take(&mut self.raised)
    }

    /// Log start offsets that were raised in segments after `through`.
    pub fn starts_after(&self, through: u64) -> impl Iterator<Item = (LogId, Offset)> {
        let later = self.starts.iter().filter(move |(_, (generation, _))| generation.0 > through);
        later.map(|(log, (_, start))| (*log, *start))
    }

    /// A checkpoint states the log start offsets that were raised up to this segment.
    pub fn checkpointed(&mut self, through: Generation) {
        self.starts.retain(|_, (generation, _)| *generation > through);
    }

    /// A log is gone.
    pub fn forget_log(&mut self, log: LogId) {
        self.starts.remove(&log);
    }

    /// A run was deleted of a segment that is still in use. `bounded`: its partition has a bound by size.
    pub fn add_hole(&mut self, run: Run, bounded: bool) {
        let new = || Holes { since: Instant::now(), runs: Vec::new(), unbounded: 0 };
        let holes = self.holes.entry(run.generation).or_insert_with(new);
        if !bounded {
            holes.unbounded += u64::from(run.bytes);
        }
        holes.runs.push(run);
    }

    /// Deleted runs, by segment.
    pub fn holes(&self) -> &HashMap<Generation, Holes> {
        &self.holes
    }

    /// A segment is no longer in use: it goes as a whole.
    pub fn forget_holes(&mut self, generation: Generation) -> Option<Holes> {
        self.holes.remove(&generation)
    }

    /// Deleted bytes that were never part of a bound, and will be given back.
    pub fn unbounded_bytes(&self) -> u64 {
        self.holes.values().map(|holes| holes.unbounded).sum()
    }

    /// Holes are being made in a segment: it must not become another one meanwhile.
    pub fn begin_punching(&mut self, generation: Generation) {
        self.holed.insert(generation);
        self.punching = Some(generation);
    }

    /// No holes are being made any more.
    pub fn end_punching(&mut self) {
        self.punching = None;
    }

    /// A segment is freed. `true`: it has no holes, and none are being made in it.
    pub fn take_whole(&mut self, generation: Generation) -> bool {
        let holed = self.holed.remove(&generation);
        self.punching != Some(generation) && !holed
    }
}

impl Invariant for Deleted {
    fn check(&self) {
        let bytes = |holes: &Holes| holes.runs.iter().map(|run| u64::from(run.bytes)).sum::<u64>();
        for (generation, holes) in &self.holes {
            assert!(holes.unbounded <= bytes(holes), "holes of segment {generation}: bytes without a bound");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(generation: u64, bytes: u32) -> Run {
        let generation = Generation(generation);
        Run {
            generation,
            base_offset: 0,
            next_offset: 1,
            max_timestamp: 0,
            bytes,
            first_entry: 0,
            entries: 1,
        }
    }

    #[test]
    fn a_segment_in_which_holes_are_being_made_is_not_whole() {
        let mut deleted = Deleted::default();
        deleted.begin_punching(Generation(1));
        assert!(!deleted.take_whole(Generation(1)) && !deleted.take_whole(Generation(1)));
        deleted.end_punching();
        assert!(deleted.take_whole(Generation(1)) && deleted.take_whole(Generation(2)));
    }

    #[test]
    #[should_panic(expected = "bytes without a bound")]
    fn bytes_that_are_counted_twice_are_found() {
        let mut deleted = Deleted::default();
        deleted.add_hole(run(1, 10), true);
        deleted.add_hole(run(1, 20), false);
        deleted.check();
        assert_eq!(deleted.unbounded_bytes(), 20);
        deleted.holes.values_mut().for_each(|holes| holes.unbounded *= 2);
        deleted.check();
    }
}
