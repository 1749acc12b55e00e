//! The disk space that the files of a shard take, and how much of it retention by size allows.
//!
//! What the files take is counted as they are made, cut and removed.

use std::collections::{BTreeMap, HashMap};

use crate::ids::Generation;
use crate::log::sealed::SealedSegment;
use crate::shard::checked::Invariant;

/// Bytes of a segment's files.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    segment: u64,
    index: u64,
}

impl Taken {
    fn sum(self) -> u64 {
        self.segment + self.index
    }
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct DiskSpace {
    /// What each segment takes.
    taken: HashMap<Generation, Taken>,
    /// The sum of that.
    segments: u64,
    /// Bytes of the checkpoint in force, and of the one that has replaced it or is about to.
    checkpoints: [u64; 2],
    /// Bytes of the last index that was written: an estimate for the next ones.
    pub index_bytes: u64,
    /// Segments that a start found. What they take is not known yet.
    unmeasured: Vec<Generation>,
    /// Most bytes that all files may take. `None`: no partition has a bound by size.
    pub limit: Option<u64>,
    /// Bytes requested by optional work: regrouping waits for them, but the log does not depend on it.
    pub requested: u64,
    /// Bytes reserved for what has to stay of the segment that is emptied next.
    pub reserved: u64,
    /// The reclaimer is at work, or about to look: tasks that wait for space may still get it.
    pub coming: bool,
    /// The next segment is being made, and counted already.
    pub preparing: bool,
    /// Number of times that the reclaimer was asked to look.
    pub calls: u64,
}

impl DiskSpace {
    /// What a start found: sealed segments, and an active one of `active.1` bytes.
    pub fn at_start(sealed: &BTreeMap<Generation, SealedSegment>, active: (Generation, u64)) -> Self {
        let mut space = Self { unmeasured: sealed.keys().copied().collect(), ..Self::default() };
        space.set_segment(active.0, active.1);
        space
    }

    /// Bytes of all segments, and of the checkpoint with the one it replaces.
    pub fn used(&self) -> u64 {
        self.segments + self.checkpoints.iter().sum::<u64>()
    }

    /// Bytes of a segment and its index.
    pub fn of(&self, generation: Generation) -> u64 {
        self.taken.get(&generation).map_or(0, |taken| taken.sum())
    }

    fn change(&mut self, generation: Generation, change: impl FnOnce(&mut Taken)) {
        let taken = self.taken.entry(generation).or_default();
        let before = taken.sum();
        change(taken);
        self.segments = self.segments - before + taken.sum();
    }

    /// A segment's file has this many bytes.
    pub fn set_segment(&mut self, generation: Generation, bytes: u64) {
        self.change(generation, |t| t.segment = bytes);
    }

    /// A segment's index has this many bytes.
    pub fn set_index(&mut self, generation: Generation, bytes: u64) {
        self.change(generation, |t| t.index = bytes);
    }

    /// The next segment is about to be made.
    pub fn add_next(&mut self, generation: Generation, bytes: u64) {
        self.set_segment(generation, bytes);
        self.set_index(generation, self.index_bytes);
    }

    /// A checkpoint of this many bytes is written in place of the last one.
    pub fn set_checkpoint(&mut self, bytes: u64) {
        self.checkpoints = [self.checkpoints[1], bytes];
    }

    /// Whether the size of the checkpoint that a start found is known.
    pub fn knows_checkpoint(&self) -> bool {
        self.checkpoints[1] != 0
    }

    /// The checkpoint that a start found has this many bytes.
    pub fn found_checkpoint(&mut self, bytes: u64) {
        self.checkpoints[1] = bytes;
    }

    /// Takes a segment that a start found and whose size is not known yet.
    pub fn take_unmeasured(&mut self) -> Option<Generation> {
        self.unmeasured.pop()
    }

    /// The file system has taken this many bytes of a segment back.
    pub fn give_back(&mut self, generation: Generation, bytes: u64) {
        if self.taken.contains_key(&generation) {
            self.change(generation, |t| t.segment = t.segment.saturating_sub(bytes));
        }
    }

    /// The files of a segment are gone.
    pub fn remove(&mut self, generation: Generation) {
        if let Some(taken) = self.taken.remove(&generation) {
            self.segments -= taken.sum();
        }
    }

    /// Whether this many bytes more are within the bound, beside what is reserved.
    pub fn fits(&self, bytes: u64) -> bool {
        self.limit.is_none_or(|limit| self.used() + self.reserved + bytes <= limit)
    }

    /// Whether more is used than the bound allows.
    pub fn is_exceeded(&self) -> bool {
        self.limit.is_some_and(|limit| self.used() > limit)
    }
}

impl Invariant for DiskSpace {
    fn check(&self) {
        let sum: u64 = self.taken.values().map(|taken| taken.sum()).sum();
        assert_eq!(sum, self.segments, "the bytes of all segments are the sum of what each takes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> DiskSpace {
        let mut space = DiskSpace::at_start(&BTreeMap::new(), (Generation(1), 100));
        space.add_next(Generation(2), 100);
        space.set_index(Generation(1), 10);
        space
    }

    #[test]
    fn used_bytes_follow_the_files() {
        let mut space = space();
        space.set_checkpoint(5);
        assert_eq!((space.used(), space.of(Generation(1))), (215, 110));
        space.give_back(Generation(1), 60);
        space.give_back(Generation(9), 60);
        space.remove(Generation(2));
        assert_eq!(space.used(), 55);
        space.limit = Some(60);
        assert!(space.fits(5) && !space.fits(6) && !space.is_exceeded());
        space.check();
    }

    #[test]
    #[should_panic(expected = "the bytes of all segments are the sum")]
    fn bytes_that_no_file_has_are_found() {
        let mut space = space();
        space.segments += 1;
        space.check();
    }
}
