//! The segments behind the active one: those that wait to be sealed, sealed ones, and freed ones.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::ids::{CommitSeq, Generation};
use crate::log::sealed::{Run, Sealed, SealedSegment};
use crate::shard::checked::Invariant;
use crate::shard::partitions::{PartitionRef, Partitions};

use super::base::{Base, Noting};

/// A segment that waits to be sealed.
#[derive(Clone)]
pub struct SealJob {
    /// The segment.
    pub sealed: Sealed,
    /// The partitions with batches in it.
    pub touched: Rc<Vec<PartitionRef>>,
    /// The partitions as they were at its end. `None`: that is being noted; only the newest job lacks it.
    pub base: Option<Rc<Base>>,
}

/// See the module's header.
pub struct SegmentSet {
    /// Segments to be sealed, oldest first.
    pub jobs: VecDeque<SealJob>,
    /// The sealed segments.
    pub sealed: BTreeMap<Generation, SealedSegment>,
    /// All commits below this sequence are in sealed segments.
    pub sealed_below: CommitSeq,
    /// Segments in which no partition has anything any more. They are to be taken out of the checkpoint, then freed.
    pub dead: Vec<Generation>,
    /// Freed segments that are kept to become the next one.
    pub spares: Vec<Generation>,
    /// Segments to regroup, oldest first.
    pub to_regroup: VecDeque<Generation>,
    /// The base of the last checkpoint.
    pub base: Rc<Base>,
    /// The base of the newest job, while it is being made.
    noting: Option<Noting>,
    /// Number of the next sorted segment.
    next_sorted: u32,
}

impl SegmentSet {
    /// The segments that a start found: all commits below `sealed_below` are in them.
    pub fn new(
        sealed: BTreeMap<Generation, SealedSegment>,
        sealed_below: CommitSeq,
        next_sorted: u32,
        base: Base,
    ) -> Self {
        Self {
            jobs: VecDeque::new(),
            sealed,
            sealed_below,
            dead: Vec::new(),
            spares: Vec::new(),
            to_regroup: VecDeque::new(),
            base: Rc::new(base),
            noting: None,
            next_sorted,
        }
    }

    /// Whether a segment waits to be sealed.
    pub fn waits(&self, generation: Generation) -> bool {
        self.jobs.iter().any(|job| job.sealed.generation == generation)
    }

    /// Number of the next sorted segment.
    pub fn next_sorted(&self) -> u32 {
        self.next_sorted
    }

    /// A new sorted segment. `None`: all numbers are used up.
    pub fn take_sorted(&mut self) -> Option<Generation> {
        let number = self.next_sorted;
        self.next_sorted = number.checked_add(1)?;
        Some(Generation::sorted(u64::from(number)))
    }

    /// Queues a full segment to be sealed. Called when all its commits are durable, and no later one is.
    pub fn queue(&mut self, sealed: Sealed, touched: Vec<PartitionRef>, partitions: &mut Partitions) {
        self.note_some(partitions, usize::MAX);
        self.noting = Some(Noting::new(sealed.generation.0, sealed.next_seq));
        self.jobs.push_back(SealJob { sealed, touched: Rc::new(touched), base: None });
    }

    /// Notes at most `count` more partitions for the base of the newest job. With the last one, the job has its base.
    pub fn note_some(&mut self, partitions: &mut Partitions, count: usize) {
        let Some(mut noting) = self.noting.take() else { return };
        if !noting.note_some(partitions, count) {
            self.noting = Some(noting);
        } else if let Some(job) = self.jobs.back_mut() {
            job.base = Some(Rc::new(noting.finish()));
        }
    }

    /// The base of the newest job, while it is being made: a partition has to be noted there before it changes.
    pub fn noting(&mut self) -> Option<&mut Noting> {
        self.noting.as_mut()
    }

    /// Adds a sealed segment; without runs it is dead at once.
    pub fn add(&mut self, segment: SealedSegment) {
        let generation = segment.sealed.generation;
        if segment.live_runs == 0 {
            self.dead.push(generation);
        } else {
            self.sealed.insert(generation, segment);
        }
    }

    /// Takes a run out of a segment. `true`: the segment is no longer needed.
    pub fn remove_run(&mut self, run: &Run) -> bool {
        let Some(segment) = self.sealed.get_mut(&run.generation) else { return true };
        segment.remove(run);
        if segment.live_runs > 0 {
            return false;
        }
        self.sealed.remove(&run.generation);
        self.dead.push(run.generation);
        true
    }
}

impl Invariant for SegmentSet {
    fn check(&self) {
        for (generation, segment) in &self.sealed {
            assert!(segment.live_runs > 0, "segment {generation} is sealed and in use, or dead");
        }
        let free = || self.dead.iter().chain(&self.spares);
        assert!(free().all(|g| !self.sealed.contains_key(g)), "a dead segment is not in use");
        assert!(free().all(|g| !self.waits(*g)), "a segment that waits to be sealed is not dead");
        let jobs = self.jobs.iter();
        let seqs = jobs.map(|job| (job.sealed.first_seq, job.sealed.next_seq));
        let mut next = self.sealed_below;
        for (first_seq, next_seq) in seqs {
            assert_eq!(first_seq, next, "segments are sealed in sequence");
            next = next_seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> SegmentSet {
        SegmentSet::new(BTreeMap::new(), 1, 1, Base::default())
    }

    fn sealed(generation: u64, first_seq: CommitSeq) -> Sealed {
        Sealed { generation: Generation(generation), first_seq, next_seq: first_seq + 9, data_end: 1 << 20 }
    }

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
    fn a_segment_is_dead_once_its_last_run_is_removed() {
        let mut set = set();
        let mut segment =
            SealedSegment { sealed: sealed(1, 1), entries_block: 2, extents: 2, live_runs: 0, live_bytes: 0 };
        segment.add(&run(1, 10));
        segment.add(&run(1, 20));
        set.add(segment);
        assert!(!set.remove_run(&run(1, 10)) && set.remove_run(&run(1, 20)));
        assert_eq!(set.dead, [Generation(1)]);
        set.check();
    }

    #[test]
    #[should_panic(expected = "segments are sealed in sequence")]
    fn a_segment_that_is_skipped_is_found() {
        let mut set = set();
        set.queue(sealed(1, 1), Vec::new(), &mut Partitions::default());
        set.check();
        set.queue(sealed(3, 20), Vec::new(), &mut Partitions::default());
        set.check();
    }

    #[test]
    #[should_panic(expected = "a segment that waits to be sealed is not dead")]
    fn a_segment_that_is_freed_too_early_is_found() {
        let mut set = set();
        set.queue(sealed(1, 1), Vec::new(), &mut Partitions::default());
        set.dead.push(Generation(1));
        set.check();
    }
}
