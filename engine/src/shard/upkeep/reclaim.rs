//! Keeping the bound of retention by size: before the next segment is made, old ones are emptied until there is
//! room for it.
//!
//! `retention.bytes` of a partition bounds what it has, and all bounds together, with what other partitions have
//! and one segment, bound the space of the shard. A partition is cut back to no less than half of its bound for
//! the sake of others. So a segment is emptied by deleting what may go, and writing elsewhere what has to stay:
//! partitions that fill slowly, and those without a bound. The one is taken that costs least for what it gives
//! back, usually the oldest commit segment. It becomes the next segment as a whole.
//!
//! Half of the bounds, the active and the next segment and the one that is emptied need room in any case: with
//! bounds of less than about seven segments, [`limit`] is higher than they say.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use crate::error::TrimError;
use crate::ids::{CommitSeq, Generation, Offset};
use crate::log::index;
use crate::partition::{Partition, Run};

use super::pace::{Pace, Wait};
use super::regroup::{rewrite, sorted_bytes};
use crate::shard::segments::seal::drop_spare;
use crate::shard::{CommitState, Inner, PartitionRef, Shard, State};

/// Partitions looked at without giving way.
const AT_ONCE: usize = 1000;
/// If less than this part of a segment is still needed, nothing is deleted to empty it.
const LITTLE: u64 = 8;
/// A segment is worth emptying if it gives back this part of a whole one. As much more counts as its cost.
const WORTH: u64 = 16;
/// Pause after a segment could not be emptied.
const RETRY: Duration = Duration::from_millis(250);

/// Most bytes that the files of a shard may take, when its partitions may have so many. A little is left for what
/// the file system keeps of where they lie.
fn limit(allowed: u64, segment: u64) -> u64 {
    (allowed + segment).max(allowed / 2 + segment * 9 / 2) - segment / 256
}

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

/// What there is of a segment.
#[derive(Debug, Clone, Copy, Default)]
struct Content {
    /// What has to stay.
    stay: Amount,
    /// What may be deleted.
    may_go: Amount,
    /// Bytes to be deleted for that: with what is older of the same partitions.
    lost: u64,
    /// It was written by compaction, which has to know where that is.
    compacted: bool,
}

/// A segment to be emptied.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Victim {
    generation: Generation,
    /// Nothing is deleted.
    keeps_all: bool,
    /// Bytes that what stays will take.
    stay: u64,
    /// Bytes that it gives back in the end.
    gain: u64,
    /// Bytes that are copied or deleted for it.
    cost: u64,
}

/// What the reclaimer does next.
enum Step {
    Rest,
    /// Freed segments are on their way out.
    Wait,
    Empty(Victim),
    /// One is kept to be used again that takes room for something else.
    DropSpare(Generation),
}

/// Makes room until the shard stops or fails.
pub(crate) async fn reclaimer(inner: Rc<Inner>) {
    let mut left = HashSet::new();
    while !inner.ends() {
        let notified = inner.reclaiming.notified();
        let calls = inner.state.borrow().room.calls;
        match inner.next_to_reclaim(&left).await {
            Step::Rest => {
                {
                    let mut state = inner.state.borrow_mut();
                    state.room.coming = state.room.calls != calls;
                }
                inner.roll.notify_waiters();
                notified.await;
            }
            Step::Wait => notified.await,
            Step::DropSpare(generation) => drop_spare(&inner, generation).await,
            Step::Empty(victim) => {
                let emptied = inner.empty(&victim).await;
                inner.state.borrow_mut().room.held = 0;
                inner.roll.notify_waiters();
                if !emptied {
                    left.insert(victim.generation);
                }
            }
        }
    }
    inner.leave_keepers();
}

impl Partition {
    /// Its runs, each with the bytes of all up to it, and whether these may go: then at least half of its bound
    /// is left.
    fn cuts(&self) -> impl Iterator<Item = (&Run, u64, bool)> {
        let floor = self.bound().map(|bound| bound / 2);
        let mut through = 0;
        self.runs.iter().map(move |run| {
            through += u64::from(run.bytes);
            let left = self.bytes.saturating_sub(through);
            (run, through, floor.is_some_and(|floor| left >= floor))
        })
    }

    /// Where its log has to start for it to have nothing in a segment, if that may be.
    fn cut_behind(&self, generation: Generation) -> Option<Offset> {
        let mut cuts = self.cuts();
        cuts.find(|(run, ..)| run.generation == generation)
            .filter(|(_, _, may_go)| *may_go)
            .map(|(run, ..)| run.next_offset)
    }

    /// Adds its part to what there is of segments.
    fn add_content(&self, contents: &mut HashMap<Generation, Content>) {
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
    /// What it takes to empty a segment of `taken` bytes in a shard with segments of `whole` bytes, if that is
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

impl Inner {
    /// Calls `each` for every partition, some at a time.
    async fn each_partition(&self, mut each: impl FnMut(u32, &Partition)) {
        let mut at = 0;
        loop {
            {
                let state = self.state.borrow();
                let to = state.partitions.len().min(at + AT_ONCE);
                for (slot, partition) in (at as u32..).zip(&state.partitions[at..to]) {
                    partition.iter().for_each(|p| each(slot, p));
                }
                at = to;
                if at == state.partitions.len() {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Looks how much room there is and what is to be done for it.
    async fn next_to_reclaim(&self, left: &HashSet<Generation>) -> Step {
        let (mut bounded, mut allowed) = (false, 0u64);
        self.each_partition(|_, p| {
            bounded |= p.bound().is_some();
            allowed = allowed.saturating_add(p.bound().unwrap_or(p.bytes));
        })
        .await;
        if !bounded {
            self.state.borrow_mut().room.limit = None;
            return Step::Rest;
        }
        self.measure().await;
        let segment = self.options.segment_bytes;
        let short = {
            let mut state = self.state.borrow_mut();
            // What was never part of a bound is given back by and by.
            allowed = allowed.saturating_add(state.unbounded_holes()).min(u64::MAX / 4);
            state.room.limit = Some(limit(allowed, segment));
            state.room.held = 0;
            state.is_short_of(segment + state.room.asked, segment)
        };
        if short {
            let mut contents = HashMap::new();
            self.each_partition(|_, p| p.add_content(&mut contents)).await;
            let mut state = self.state.borrow_mut();
            if let Some(victim) = state.choose(&contents, left, segment) {
                // What stays needs room before the rest gives it back, if need be that of the next segment.
                state.room.held = victim.stay;
                if state.room.fits(0) {
                    return Step::Empty(victim);
                }
                return match state.let_go(0, 0) {
                    Step::Rest => Step::Empty(victim),
                    first => first,
                };
            }
        }
        let mut state = self.state.borrow_mut();
        let (asked, needed) = (state.room.asked, usize::from(state.next_is_open()));
        state.let_go(asked, needed)
    }

    /// Empties a segment. `false`: it stays as it is.
    async fn empty(self: &Rc<Self>, victim: &Victim) -> bool {
        if !victim.keeps_all {
            let mut due = Vec::new();
            let generation = victim.generation;
            self.each_partition(|slot, p| {
                let cut = p.cut_behind(generation).filter(|cut| *cut > p.start.max(p.trim.0));
                due.extend(cut.map(|cut| (PartitionRef { slot, log: p.log }, cut)));
            })
            .await;
            if !self.delete_durably(&due).await {
                return true;
            }
        }
        self.state.borrow_mut().drop_trimmed_runs();
        self.sealing.notify_one();
        if !self.state.borrow().segments.contains_key(&victim.generation) {
            return true;
        }
        match rewrite(self, victim.generation, &mut Pace::new(), Wait::Haste).await {
            Ok(true) => true,
            Ok(false) => !self.state.borrow().segments.contains_key(&victim.generation),
            Err(e) => {
                tracing::warn!(generation = %victim.generation, %e, "a segment could not be emptied yet");
                self.give_up_for_now().await;
                true
            }
        }
    }

    /// Raises log start offsets and waits until they are durable. `false`: the shard ends.
    async fn delete_durably(self: &Rc<Self>, due: &[(PartitionRef, Offset)]) -> bool {
        let shard = Shard { inner: Rc::clone(self) };
        let mut last: Option<CommitSeq> = None;
        for &(at, offset) in due {
            loop {
                match shard.trim(at, offset) {
                    Ok(seq) => last = last.max(Some(seq)),
                    // The segment is full, and the next one must not wait for this.
                    Err(TrimError::Busy | TrimError::DiskFull) if !self.ends() => {
                        self.give_up_for_now().await;
                        continue;
                    }
                    Err(TrimError::Busy | TrimError::DiskFull | TrimError::Failed(_)) => return false,
                    Err(TrimError::UnknownPartition | TrimError::OutOfRange { .. }) => {}
                }
                break;
            }
        }
        match last {
            Some(seq) => shard.committed(seq).await == CommitState::Durable,
            None => true,
        }
    }

    /// Lets those go on who wait for room, and waits a while.
    async fn give_up_for_now(&self) {
        self.state.borrow_mut().room.coming = false;
        self.roll.notify_waiters();
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = self.reclaiming.notified() => {}
        }
    }
}

impl State {
    /// Whether the bound has no room for the next segment and `more` bytes, if all that is free is used for it.
    fn is_short_of(&self, more: u64, segment: u64) -> bool {
        let next = if self.next_is_open() { segment + self.room.index_bytes } else { 0 };
        !self.could_take(next + more)
    }

    /// Whether so many bytes are within the bound, if all that is free is used for them.
    fn could_take(&self, bytes: u64) -> bool {
        let free: u64 = self.dead.iter().chain(&self.spares).map(|g| self.room.of(*g)).sum();
        let wanted = self.room.used().saturating_sub(free) + bytes;
        self.room.limit.is_none_or(|limit| wanted <= limit)
    }

    /// The segment that is best emptied, if one has to be.
    fn choose(
        &self,
        contents: &HashMap<Generation, Content>,
        left: &HashSet<Generation>,
        segment: u64,
    ) -> Option<Victim> {
        let victim = |generation: &Generation| {
            let content = contents.get(generation).copied().unwrap_or_default();
            content.victim(*generation, self.room.of(*generation), segment)
        };
        let there = self.segments.keys().filter(|g| !left.contains(g));
        let victims: Vec<_> = there.filter_map(victim).collect();
        // One for which there is no room is emptied only if there is no other.
        let is_best = |fit: bool| {
            let some = victims.iter().filter(|v| !fit || self.could_take(v.stay));
            some.copied().reduce(|a, b| if b.is_better(&a) { b } else { a })
        };
        let best = is_best(true).or_else(|| is_best(false))?;
        // What stays needs room before the rest gives it back.
        let needed = self.is_short_of(best.stay, segment);
        let wished = best.is_cheap() && self.is_short_of(best.stay + self.room.asked, segment);
        (needed || wished).then_some(best)
    }

    /// What is to be done for room for so many bytes before a segment is emptied, or when none has to be; so
    /// many freed segments stay.
    fn let_go(&mut self, bytes: u64, needed: usize) -> Step {
        if !self.room.fits(bytes)
            && self.spares.len() > needed
            && let Some(spare) = self.spares.pop()
        {
            return Step::DropSpare(spare);
        }
        if self.dead.is_empty() { Step::Rest } else { Step::Wait }
    }
}
