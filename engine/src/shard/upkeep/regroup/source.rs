//! Reads the batches of a segment that are still needed, so that the segment can be rewritten.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::aligned::{round_down, round_up};
use crate::disk::read_exact_at;
use crate::ids::{Generation, LogId};
use crate::log::index::{self, GAP_BYTES, IndexEntry};
use crate::partition::Partition;
use crate::shard::counters::Counters;
use crate::shard::inner::Inner;
use crate::shard::state::State;
use crate::shard::upkeep::pace::{Pace, Wait};
use crate::shard::upkeep::sorted_writer::Grouped;

/// Bytes read at once.
const READ_BYTES: u64 = 1 << 20;
/// Stretches that are read at once in haste.
const HASTY_READS: usize = 8;

/// The bytes of a segment that are needed: stretches of it, each with its position.
pub struct Stretches(Vec<(u64, Bytes)>);

impl Stretches {
    /// The bytes of a batch.
    pub fn batch(&self, entry: &IndexEntry) -> Option<&[u8]> {
        let at = u64::from(entry.position);
        let (start, bytes) = self.0.get(self.0.partition_point(|(start, _)| *start <= at).checked_sub(1)?)?;
        let from = (at - start) as usize;
        bytes.get(from..from + entry.len as usize)
    }
}

/// Lists the batches of a segment that are still needed. `None`: its index is damaged.
pub async fn load_groups(inner: &Rc<Inner>, generation: Generation) -> io::Result<Option<Grouped>> {
    let file = inner.dir.open_index(generation).await?;
    let shard = inner.dir.identity.shard;
    let Some(index) = index::load(&file, shard, generation).await? else { return Ok(None) };
    let Some(entries) = index::load_entries(&file, shard, &index).await? else { return Ok(None) };
    let state = inner.state.borrow();
    let mut groups = Vec::with_capacity(index.runs.len());
    for (log, run) in &index.runs {
        let from = run.first_entry as usize;
        let Some(all) = entries.get(from..from + run.entries as usize) else { return Ok(None) };
        let Some(start) = state.start_in(*log, generation) else { continue };
        let needed = |e: &&IndexEntry| e.end() > start;
        let group: Vec<_> = all.iter().filter(needed).copied().collect();
        if !group.is_empty() {
            groups.push((*log, group));
        }
    }
    Ok(Some(groups))
}

/// The stretches of a segment that hold the batches: whole blocks, by position, each batch wholly in one stretch.
fn needed(groups: &Grouped) -> Vec<(u64, u64)> {
    let bounds = |e: &IndexEntry| (u64::from(e.position), u64::from(e.position) + u64::from(e.len));
    let mut batches: Vec<_> = groups.iter().flat_map(|(_, group)| group).map(bounds).collect();
    batches.sort_unstable();
    let mut needed: Vec<(u64, u64)> = Vec::new();
    for (from, to) in batches {
        let (from, to) = (round_down(from), round_up(to as usize) as u64);
        match needed.last_mut() {
            Some((start, end)) if from <= *end + GAP_BYTES && to <= *start + READ_BYTES => *end = to,
            _ => needed.push((from, to)),
        }
    }
    needed
}

/// Reads the bytes of the batches. `None`: the shard ends.
pub async fn load_data(
    inner: &Rc<Inner>,
    generation: Generation,
    groups: &Grouped,
    pace: &mut Pace,
) -> io::Result<Option<Stretches>> {
    let file = inner.dir.open_segment(generation).await?;
    let at_once = if pace.wait == Wait::Haste { HASTY_READS } else { 1 };
    let mut stretches = Vec::new();
    for some in needed(groups).chunks(at_once) {
        if !pace.turn(inner).await {
            return Ok(None);
        }
        let read = async |&(from, to): &(u64, u64)| -> io::Result<_> {
            Ok((from, read_exact_at(&file, from, (to - from) as usize).await?))
        };
        stretches.extend(try_join_all(some.iter().map(read)).await?);
        let bytes = some.iter().map(|(from, to)| to - from).sum();
        Counters::add(&inner.counters.background_bytes, bytes);
    }
    Ok(Some(Stretches(stretches)))
}

impl State {
    /// Log start offset of a partition, if it has a run in this segment.
    pub(crate) fn start_in(&self, log: LogId, generation: Generation) -> Option<u64> {
        let has_run = |p: &&Partition| p.runs.iter().any(|r| r.generation == generation);
        self.partitions.get(self.partitions.find(log)?).filter(has_run).map(|p| p.start)
    }
}
