//! Which segment is emptied: the one that costs least for what it gives back.

use std::collections::{HashMap, HashSet};

use crate::ids::{Generation, Offset};
use crate::log::index;
use crate::log::sealed::Run;
use crate::partition::Partition;
use crate::shard::state::State;
use crate::shard::upkeep::sorted_writer::sorted_bytes;

/// If less than this part of a segment is still needed, nothing is deleted to empty it.
const LITTLE: u64 = 8;
/// A segment is worth emptying if it gives back at least this part of a whole one. The same amount is added to its cost.
const WORTH: u64 = 16;

/// A part of a segment.
#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    bytes: u64,
    batches: u64,
    runs: u64,
}

impl Amount {
    fn add(&mut self, run: &Run) {
        self.bytes += u64::from(run.bytes);
        self.batches += u64::from(run.entries);
        self.runs += 1;
    }

    fn with(&self, other: &Self) -> Self {
        let (bytes, batches) = (self.bytes + other.bytes, self.batches + other.batches);
        Self { bytes, batches, runs: self.runs + other.runs }
    }

    /// Bytes that it takes when it is written elsewhere.
    fn moved_bytes(&self) -> u64 {
        if self.runs == 0 {
            return 0;
        }
        sorted_bytes(self.bytes, self.batches) + index::bytes_of(self.runs, self.batches)
    }
}

/// What is still needed of a segment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Content {
    /// What has to stay.
    stay: Amount,
    /// What may be deleted.
    may_go: Amount,
    /// Bytes that are deleted for that: older records of the same partitions have to go as well.
    lost: u64,
    /// Compaction wrote the segment, and has to know where what it wrote lies.
    compacted: bool,
}

/// A segment to be emptied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Victim {
    /// The segment.
    pub generation: Generation,
    /// Nothing is deleted.
    pub keeps_all: bool,
    /// Bytes that what stays will take.
    pub stay: u64,
    /// Bytes that it gives back in the end.
    gain: u64,
    /// Bytes that are copied or deleted for it.
    cost: u64,
}

impl Partition {
    /// Its runs, each with the bytes of all runs up to it, and whether these may go: then at least half of the bound is
    /// left.
    fn cuts(&self) -> impl Iterator<Item = (&Run, u64, bool)> {
        let floor = self.bound().map(|bound| bound / 2);
        let mut through = 0;
        self.runs.iter().map(move |run| {
            through += u64::from(run.bytes);
            let left = self.bytes.saturating_sub(through);
            (run, through, floor.is_some_and(|floor| left >= floor))
        })
    }

    /// The log start offset at which it has nothing in a segment any more, if the log may be cut there.
    pub(crate) fn cut_behind(&self, generation: Generation) -> Option<Offset> {
        let mut cuts = self.cuts();
        cuts.find(|(run, ..)| run.generation == generation)
            .filter(|(_, _, may_go)| *may_go)
            .map(|(run, ..)| run.next_offset)
    }

    /// Adds its part to the contents of segments.
    pub(crate) fn add_content(&self, contents: &mut HashMap<Generation, Content>) {
        let start = self.start.max(self.trim.0);
        let mut gone = 0;
        for (run, through, may_go) in self.cuts() {
            if run.next_offset <= start {
                gone = through;
                continue;
            }
            let content = contents.entry(run.generation).or_default();
            if may_go {
                content.may_go.add(run);
                content.lost += through - gone;
            } else {
                content.stay.add(run);
            }
            content.compacted |= self.compacted.as_ref().is_some_and(|c| c.is_in(run.generation));
        }
    }
}

impl Content {
    /// What it takes to empty a segment of `taken` bytes in a shard with segments of `whole` bytes. `None`: it is not
    /// worth it.
    fn victim(&self, generation: Generation, taken: u64, whole: u64) -> Option<Victim> {
        let all = self.stay.with(&self.may_go);
        let keeps_all = all.bytes * LITTLE <= taken;
        let (stay, lost) = if keeps_all { (all, 0) } else { (self.stay, self.lost) };
        let stay = stay.moved_bytes();
        let gain = taken.saturating_sub(stay);
        let worth = !self.compacted && gain * WORTH >= whole;
        worth.then_some(Victim { generation, keeps_all, stay, gain, cost: stay + lost + whole / WORTH })
    }
}

impl Victim {
    /// Whether it costs less for what it gives back.
    fn is_better(&self, than: &Self) -> bool {
        u128::from(self.cost) * u128::from(than.gain) < u128::from(than.cost) * u128::from(self.gain)
    }

    /// Whether hardly anything has to be copied.
    fn is_cheap(&self) -> bool {
        self.stay * LITTLE <= self.gain
    }
}

impl State {
    /// Whether the bound has no space for the next segment and `more` bytes, even if all that is free is used for them.
    pub(crate) fn is_short_of(&self, more: u64, segment: u64) -> bool {
        let next = if self.next_is_uncounted() { segment + self.space.index_bytes } else { 0 };
        !self.could_take(next + more)
    }

    /// Whether `bytes` are within the bound if all that is free is used for them.
    fn could_take(&self, bytes: u64) -> bool {
        let free = self.segments.dead.iter().chain(&self.segments.spares);
        let free: u64 = free.map(|g| self.space.of(*g)).sum();
        let wanted = self.space.used().saturating_sub(free) + bytes;
        self.space.limit.is_none_or(|limit| wanted <= limit)
    }

    /// The segment that is best emptied, if one has to be. Segments in `left` could not be emptied.
    pub(crate) fn choose_victim(
        &self,
        contents: &HashMap<Generation, Content>,
        left: &HashSet<Generation>,
        segment: u64,
    ) -> Option<Victim> {
        let victim = |generation: &Generation| {
            let content = contents.get(generation).copied().unwrap_or_default();
            content.victim(*generation, self.space.of(*generation), segment)
        };
        let there = self.segments.sealed.keys().filter(|g| !left.contains(g));
        let victims: Vec<_> = there.filter_map(victim).collect();
        // One for whose rest there is no space is emptied only if there is no other.
        let best_of = |fit: bool| {
            let some = victims.iter().filter(|v| !fit || self.could_take(v.stay));
            some.copied().reduce(|a, b| if b.is_better(&a) { b } else { a })
        };
        let best = best_of(true).or_else(|| best_of(false))?;
        // What stays needs space before the segment gives any back.
        let needed = self.is_short_of(best.stay, segment);
        let wished = best.is_cheap() && self.is_short_of(best.stay + self.space.requested, segment);
        (needed || wished).then_some(best)
    }
}
