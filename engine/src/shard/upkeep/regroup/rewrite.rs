//! What is still needed of a segment is rewritten, by partition, into a sorted segment that takes its place.

use std::io;
use std::rc::Rc;

use crate::ids::{Generation, LogId};
use crate::log::format::check_entry;
use crate::log::index::{self, Index, IndexEntry};
use crate::shard::inner::Inner;
use crate::shard::segments::free::discard;
use crate::shard::state::State;
use crate::shard::upkeep::pace::{Pace, Wait};
use crate::shard::upkeep::sorted_writer::{Grouped, Origin, SortedWriter, sorted_bytes};

use super::exchange::exchange;
use super::source::{Stretches, load_data, load_groups};

/// Bytes copied without a pause for others.
const COPY_BYTES: usize = 128 << 10;

/// The batches of a segment that are needed, by partition, and their bytes.
struct Needed {
    generation: Generation,
    groups: Grouped,
    data: Stretches,
}

/// Rewrites what is still needed of a segment. `false`: the segment stays as it is.
pub async fn rewrite(inner: &Rc<Inner>, generation: Generation, pace: &mut Pace) -> io::Result<bool> {
    let Some(needed) = load(inner, generation, pace).await? else { return Ok(false) };
    let (bytes, index_bytes) = sorted_len(&needed.groups);
    // Without haste the rewrite is optional, and the bound is not: without space, the segment stays as it is.
    if pace.wait != Wait::Haste && !inner.space_for(bytes + index_bytes).await {
        return Ok(false);
    }
    let Some(new) = inner.state.borrow_mut().segments.take_sorted() else { return Ok(false) };
    inner.state.borrow_mut().count_sorted(new, bytes, index_bytes, pace.wait);
    match write_sorted(inner, new, needed, bytes, pace).await {
        Ok(Some(index)) => exchange(inner, generation, &index).await,
        Ok(None) => discard(inner, new).await.map(|()| false),
        Err(e) => {
            discard(inner, new).await?;
            Err(e)
        }
    }
}

/// Reads what is needed of a segment. `None`: the segment is gone, its index is damaged, or the shard ends.
async fn load(inner: &Rc<Inner>, generation: Generation, pace: &mut Pace) -> io::Result<Option<Needed>> {
    let is_there = || inner.state.borrow().segments.sealed.contains_key(&generation);
    if !is_there() {
        return Ok(None);
    }
    let Some(groups) = load_groups(inner, generation).await? else {
        tracing::warn!(%generation, "its index is damaged: the segment is not regrouped");
        return Ok(None);
    };
    match load_data(inner, generation, &groups, pace).await {
        Ok(data) => Ok(data.map(|data| Needed { generation, groups, data })),
        // The segment was freed meanwhile, and its file cut.
        Err(_) if !is_there() => Ok(None),
        Err(e) => Err(e),
    }
}

impl State {
    /// Counts the space of a sorted segment that is about to be written. In haste, the space was reserved.
    fn count_sorted(&mut self, new: Generation, bytes: u64, index_bytes: u64, wait: Wait) {
        if wait == Wait::Haste {
            self.space.reserved = 0;
        }
        self.space.set_segment(new, bytes);
        self.space.set_index(new, index_bytes);
    }
}

/// Writes a sorted segment. `None`: a batch is damaged, the old segment is gone, or the shard ends.
async fn write_sorted(
    inner: &Rc<Inner>,
    new: Generation,
    needed: Needed,
    bytes: u64,
    pace: &mut Pace,
) -> io::Result<Option<Index>> {
    let mut writer = SortedWriter::create(inner, new, Origin::Regrouped, bytes).await?;
    let copied = copy(inner, &needed, &mut writer, pace).await?;
    // The memory is large, and not needed any more.
    drop(needed);
    if copied { writer.finish(inner).await.map(Some) } else { Ok(None) }
}

/// Bytes that the groups take in a sorted segment, or a little more, and those of its index.
fn sorted_len(groups: &Grouped) -> (u64, u64) {
    let entries = groups.iter().flat_map(|(_, group)| group);
    let (bytes, count) = entries.fold((0, 0), |(bytes, count), e| (bytes + u64::from(e.len), count + 1));
    (sorted_bytes(bytes, count), index::bytes_of(groups.len() as u64, count))
}

/// Copies the batches. `false`: a batch is damaged, the segment is gone, or the shard ends.
async fn copy(
    inner: &Rc<Inner>,
    needed: &Needed,
    writer: &mut SortedWriter,
    pace: &mut Pace,
) -> io::Result<bool> {
    let mut copied = 0;
    for (log, group) in &needed.groups {
        for entry in group {
            let raw = needed.data.batch(entry);
            let Some(raw) = raw.filter(|raw| check_entry(&entry.in_directory(*log), raw).is_ok()) else {
                if inner.state.borrow().was_deleted(needed.generation, *log, entry) {
                    continue;
                }
                return Ok(false);
            };
            if !writer.fits(raw.len()) {
                if !pace.turn(inner).await {
                    return Ok(false);
                }
                writer.flush(inner, raw.len()).await?;
            }
            writer.push(*log, entry, raw);
            copied += raw.len();
            if copied >= COPY_BYTES {
                copied = 0;
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(true)
}

impl State {
    /// Whether a batch that is not whole was deleted since it was listed, so that its space was given back. `false`: its
    /// segment is gone, or the batch is damaged.
    fn was_deleted(&self, generation: Generation, log: LogId, entry: &IndexEntry) -> bool {
        if !self.segments.sealed.contains_key(&generation) {
            return false;
        }
        let deleted = self.start_in(log, generation).is_none_or(|start| entry.end() <= start);
        if !deleted {
            let at = entry.position;
            tracing::error!(%generation, at, "a batch is damaged: its segment is not regrouped");
        }
        deleted
    }
}
