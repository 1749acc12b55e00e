//! Giving the space of deleted runs back, in segments that stay because others still live in them.
//!
//! In the background and without haste: most segments are freed as a whole soon after the first run in them
//! was deleted, and are then written again faster if they have no holes; and each stretch costs a system call
//! that holds up the disk. So nothing is done in a segment for [`PATIENCE`] after the first run in it was
//! deleted; then the log is given as long again to become quiet, and one that never does pays a fixed part of
//! its time.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::aligned::{round_down, round_up};
use crate::disk::{Disk, DiskFile};
use crate::ids::Generation;
use crate::log::{files, index};
use crate::partition::Run;

use super::pace::{Pace, Wait};
use crate::shard::segments::free::{FREE_BYTES, rest};
use crate::shard::segments::seal::no_space;
use crate::shard::{Inner, State};

/// A stretch is given back when it has at least so many bytes.
const HOLE_BYTES_MIN: u64 = 16 << 10;
/// How long a segment is given to be freed as a whole, and how long a busy log may put it off after that.
const PATIENCE: Duration = Duration::from_secs(5);
/// On a busy log each stretch is followed by a rest of so many times as long.
const REST: u32 = 9;

/// Deleted runs of a segment.
pub(crate) struct Holes {
    /// When the first of them was deleted.
    since: Instant,
    runs: Vec<Run>,
    /// Bytes of those that belonged to partitions without a bound.
    unbounded: u64,
}

impl Default for Holes {
    fn default() -> Self {
        Self { since: Instant::now(), runs: Vec::new(), unbounded: 0 }
    }
}

impl Holes {
    /// A run of a partition with or without a bound was deleted.
    pub fn add(&mut self, run: Run, bounded: bool) {
        if !bounded {
            self.unbounded += u64::from(run.bytes);
        }
        self.runs.push(run);
    }
}

impl State {
    /// When the first was deleted of what has to be given back in some segment. Where a bound is kept, commit
    /// segments are emptied and used again as a whole when the space is needed: holes would make them slow.
    fn oldest_hole(&self) -> Option<Instant> {
        self.holes.iter().filter(|(g, h)| self.is_to_be_given_back(**g, h)).map(|(_, h)| h.since).min()
    }

    fn is_to_be_given_back(&self, generation: Generation, holes: &Holes) -> bool {
        let emptied = self.room.limit.is_some() && !self.room.is_exceeded() && !generation.is_sorted();
        !emptied || holes.unbounded > 0
    }

    /// Deleted bytes that were never part of a bound, and will be given back.
    pub(crate) fn unbounded_holes(&self) -> u64 {
        self.holes.values().map(|holes| holes.unbounded).sum()
    }
}

/// Gives space back until the shard stops or fails.
pub(crate) async fn puncher(inner: Rc<Inner>) {
    while !inner.ends() {
        let notified = inner.punching.notified();
        let oldest = inner.state.borrow().oldest_hole();
        let Some(oldest) = oldest else {
            notified.await;
            continue;
        };
        if oldest.elapsed() < PATIENCE {
            tokio::select! {
                () = tokio::time::sleep_until(oldest + PATIENCE) => {}
                () = notified => {}
            }
            continue;
        }
        let quiet = match tokio::time::timeout(PATIENCE, Pace::new().turn(&inner, Wait::ForEver)).await {
            Ok(true) => true,
            Ok(false) => break,
            Err(_still_busy) => false,
        };
        if let Err(e) = give_back(&inner, quiet).await {
            // Nothing depends on it: the space comes back with the segment.
            tracing::warn!(%e, "space of deleted records could not be given back yet");
            tokio::select! {
                () = tokio::time::sleep(PATIENCE) => {}
                () = inner.punching.notified() => {}
            }
        }
    }
    inner.leave_keepers();
}

async fn give_back(inner: &Rc<Inner>, quiet: bool) -> io::Result<()> {
    // What is taken for deleted space at a start must be known there to be deleted.
    {
        let _manifest = inner.manifest.lock().await;
        let base = Rc::clone(&inner.state.borrow().base);
        match inner.store_checkpoint(&base, &[], &[], None).await {
            // A full disk needs the space most; that the records are deleted is durable without a checkpoint.
            Err(e) if no_space(&e) => {}
            other => other?,
        }
    }
    let mut generations: Vec<_> = {
        let state = inner.state.borrow();
        let old = state.holes.iter().filter(|(_, holes)| holes.since.elapsed() >= PATIENCE);
        let old = old.filter(|(generation, holes)| state.is_to_be_given_back(**generation, holes));
        old.map(|(generation, _)| *generation).collect()
    };
    generations.sort_unstable();
    for generation in generations {
        if inner.ends() {
            return Ok(());
        }
        let Some(Holes { runs, .. }) = inner.state.borrow_mut().holes.remove(&generation) else { continue };
        let Some(entries_block) = inner.begin(generation) else { continue };
        let punched = punch(inner, generation, entries_block, &runs, quiet).await;
        inner.punched.set(None);
        punched?;
    }
    Ok(())
}

impl Inner {
    /// Notes that holes are made in a segment, so that it does not become another one meanwhile. Returns where
    /// the entries of its index begin; `None`: there is no such segment any more.
    fn begin(&self, generation: Generation) -> Option<u32> {
        let mut state = self.state.borrow_mut();
        let entries_block = state.segments.get(&generation)?.entries_block;
        state.holed.insert(generation);
        self.punched.set(Some(generation));
        Some(entries_block)
    }
}

async fn punch(
    inner: &Rc<Inner>,
    generation: Generation,
    entries_block: u32,
    runs: &[Run],
    quiet: bool,
) -> io::Result<()> {
    let index = inner.disk.open(&files::index(&inner.dir, generation)).await?;
    let file = inner.disk.open(&files::segment(&inner.dir, generation)).await?;
    // Of all runs together: where several partitions wrote in turn, the batches of one are small stretches.
    let mut places = Vec::new();
    for run in runs {
        let Some(entries) = index::load_run(&index, inner.identity.shard, entries_block, run).await? else {
            // The index is damaged: a start derives it anew, and the space is given back with the segment.
            return Ok(());
        };
        places.extend(merged(entries.iter().map(|e| (e.position, e.position.saturating_add(e.len)))));
    }
    places.sort_unstable();
    let parts = |(from, to): (u64, u64)| {
        (from..to).step_by(FREE_BYTES as usize).map(move |at| (at, to.min(at + FREE_BYTES)))
    };
    for (from, to) in stretches(places).into_iter().flat_map(parts) {
        if inner.ends() {
            return Ok(());
        }
        let begun = Instant::now();
        match file.punch(from, to - from).await {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => return Ok(()),
            other => other?,
        }
        inner.state.borrow_mut().room.give_back(generation, to - from);
        if quiet {
            rest(inner, begun.elapsed()).await;
        } else {
            tokio::time::sleep(begun.elapsed() * REST).await;
        }
    }
    Ok(())
}

/// Places in rising order, neighbours as one.
fn merged(places: impl IntoIterator<Item = (u32, u32)>) -> Vec<(u32, u32)> {
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (from, to) in places {
        match merged.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// The whole blocks of neighbouring places, where they are worth it.
fn stretches(places: Vec<(u32, u32)>) -> Vec<(u64, u64)> {
    let whole = |(from, to)| (round_up(from as usize) as u64, round_down(u64::from(to)));
    let blocks = merged(places).into_iter().map(whole);
    blocks.filter(|(from, to)| to.saturating_sub(*from) >= HOLE_BYTES_MIN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_stretch_of_whole_blocks_and_small_ones_stay() {
        let places = [(100, 9_000), (9_000, 30_000), (40_960, 57_344), (60_000, 70_000)];
        assert_eq!(stretches(places.to_vec()), [(4_096, 28_672), (40_960, 57_344)]);
        assert_eq!(stretches(Vec::new()), []);
    }
}
