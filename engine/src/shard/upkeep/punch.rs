//! The space of deleted runs is given back to the file system, in segments that stay because other runs in them are still
//! needed: holes are punched into the file.
//!
//! This is done in the background and without haste. Most segments are freed as a whole soon after the first run in them
//! was deleted, and a segment without holes is then written again faster. Each hole costs a system call that holds up the
//! disk. So nothing is done in a segment for [`PATIENCE`] after the first run in it was deleted. After that the log is
//! given as long again to become quiet. A log that never becomes quiet pays a fixed part of its time.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::aligned::{round_down, round_up};
use crate::disk::DiskFile;
use crate::error::is_full;
use crate::ids::Generation;
use crate::log::index;
use crate::log::sealed::Run;
use crate::shard::inner::Inner;
use crate::shard::segments::free::{FREE_BYTES, rest};
use crate::shard::state::State;
use crate::shard::tasks::Task;

use super::deleted::Holes;
use super::pace::{Pace, Wait};

/// Smallest hole.
const HOLE_BYTES_MIN: u64 = 16 << 10;
/// How long a segment is given to be freed as a whole, and how long a busy log may put the work off after that.
const PATIENCE: Duration = Duration::from_secs(5);
/// On a busy log each hole is followed by a rest of this many times as long.
const REST: u32 = 9;

impl State {
    /// When the oldest run was deleted whose space has to be given back.
    fn oldest_hole(&self) -> Option<Instant> {
        let holes = self.deleted.holes().iter();
        holes.filter(|(g, h)| self.is_to_be_given_back(**g, h)).map(|(_, h)| h.since).min()
    }

    /// Whether the space of deleted runs is given back before their segment is freed. Where the bound is kept, commit
    /// segments are emptied and used again as a whole when the space is needed: holes would make them slow.
    fn is_to_be_given_back(&self, generation: Generation, holes: &Holes) -> bool {
        let emptied = self.space.limit.is_some() && !self.space.is_exceeded() && !generation.is_sorted();
        !emptied || holes.unbounded > 0
    }
}

/// Gives space back until the shard stops or fails.
pub async fn puncher(inner: Rc<Inner>) {
    while !inner.ends() {
        let woken = inner.tasks.woken(Task::Punch);
        let oldest = inner.state.borrow().oldest_hole();
        let Some(oldest) = oldest else {
            woken.await;
            continue;
        };
        if oldest.elapsed() < PATIENCE {
            tokio::select! {
                () = tokio::time::sleep_until(oldest + PATIENCE) => {}
                () = woken => {}
            }
            continue;
        }
        let quiet = match tokio::time::timeout(PATIENCE, Pace::new(Wait::ForEver).turn(&inner)).await {
            Ok(true) => true,
            Ok(false) => break,
            Err(_still_busy) => false,
        };
        if let Err(e) = give_back(&inner, quiet).await {
            // Nothing depends on it: the space comes back with the segment.
            tracing::warn!(%e, "space of deleted records could not be given back yet");
            tokio::select! {
                () = tokio::time::sleep(PATIENCE) => {}
                () = inner.tasks.woken(Task::Punch) => {}
            }
        }
    }
}

async fn give_back(inner: &Rc<Inner>, quiet: bool) -> io::Result<()> {
    // A start must know that the records are deleted before it meets the holes.
    match inner.refresh_checkpoint().await {
        // A full disk needs the space most. The commit log, too, states durably that the records are deleted.
        Err(e) if is_full(&e) => {}
        other => other?,
    }
    let mut generations: Vec<_> = {
        let state = inner.state.borrow();
        let old = state.deleted.holes().iter().filter(|(_, holes)| holes.since.elapsed() >= PATIENCE);
        let old = old.filter(|(generation, holes)| state.is_to_be_given_back(**generation, holes));
        old.map(|(generation, _)| *generation).collect()
    };
    generations.sort_unstable();
    for generation in generations {
        if inner.ends() {
            return Ok(());
        }
        let Some((holes, entries_block)) = inner.state.borrow_mut().begin_punching(generation) else {
            continue;
        };
        let punched = punch(inner, generation, entries_block, &holes.runs, quiet).await;
        inner.state.borrow_mut().deleted.end_punching();
        punched?;
    }
    Ok(())
}

impl State {
    /// Takes the deleted runs of a segment, and where the entries of its index begin. From now on the segment does not
    /// become another one. `None`: there is no such segment any more, or no deleted runs in it.
    fn begin_punching(&mut self, generation: Generation) -> Option<(Holes, u32)> {
        let entries_block = self.segments.sealed.get(&generation).map(|s| s.entries_block);
        let holes = self.deleted.forget_holes(generation)?;
        let entries_block = entries_block?;
        self.deleted.begin_punching(generation);
        Some((holes, entries_block))
    }
}

async fn punch(
    inner: &Rc<Inner>,
    generation: Generation,
    entries_block: u32,
    runs: &[Run],
    quiet: bool,
) -> io::Result<()> {
    let index = inner.dir.open_index(generation).await?;
    let file = inner.dir.open_segment(generation).await?;
    // The batches of one run can be small stretches between those of others, so all runs are taken together.
    let mut stretches = Vec::new();
    for run in runs {
        let shard = inner.dir.identity.shard;
        let Some(entries) = index::load_run(&index, shard, entries_block, run).await? else {
            // The index is damaged. A start derives it again, and the space is given back with the segment.
            return Ok(());
        };
        stretches.extend(joined(entries.iter().map(|e| (e.position, e.position.saturating_add(e.len)))));
    }
    stretches.sort_unstable();
    let parts = |(from, to): (u64, u64)| {
        (from..to).step_by(FREE_BYTES as usize).map(move |at| (at, to.min(at + FREE_BYTES)))
    };
    for (from, to) in whole_blocks(stretches).into_iter().flat_map(parts) {
        if inner.ends() {
            return Ok(());
        }
        let begun = Instant::now();
        match file.punch(from, to - from).await {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => return Ok(()),
            other => other?,
        }
        inner.state.borrow_mut().space.give_back(generation, to - from);
        if quiet {
            rest(inner, begun.elapsed()).await;
        } else {
            tokio::time::sleep(begun.elapsed() * REST).await;
        }
    }
    Ok(())
}

/// Stretches of a file in rising order, neighbours as one.
fn joined(stretches: impl IntoIterator<Item = (u32, u32)>) -> Vec<(u32, u32)> {
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (from, to) in stretches {
        match joined.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// The whole blocks of neighbouring stretches, where there are enough of them for a hole.
fn whole_blocks(stretches: Vec<(u32, u32)>) -> Vec<(u64, u64)> {
    let whole = |(from, to)| (round_up(from as usize) as u64, round_down(u64::from(to)));
    let blocks = joined(stretches).into_iter().map(whole);
    blocks.filter(|(from, to)| to.saturating_sub(*from) >= HOLE_BYTES_MIN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_hole_of_whole_blocks_and_small_ones_stay() {
        let stretches = [(100, 9_000), (9_000, 30_000), (40_960, 57_344), (60_000, 70_000)];
        assert_eq!(whole_blocks(stretches.to_vec()), [(4_096, 28_672), (40_960, 57_344)]);
        assert_eq!(whole_blocks(Vec::new()), []);
    }
}
