//! Checks the index of a sealed segment: the checksum of every block, and the entries against the batches of the segment.

use std::collections::HashMap;
use std::io;

use crate::aligned::BLOCK;
use crate::bytes_at::{u32_le, u64_le};
use crate::disk::{Disk, DiskFile, DynDisk, read_exact_at};
use crate::error::OpenError;
use crate::ids::{LogId, ShardId};
use crate::log::index::{self, ENTRIES_PER_BLOCK, Index, IndexEntry};
use crate::log::scan::Scan;
use crate::log::sealed::Sealed;

const READ_BYTES: u64 = 1 << 20;

/// The state of an index.
pub(super) enum IndexState {
    /// The file does not exist.
    Missing,
    /// The index has an older version: the next start derives it from the segment.
    Older,
    /// The index is damaged: byte position, and what is wrong.
    Damaged(u64, String),
    /// The index is good; the entries are in the order of the runs.
    Good(Index, Vec<IndexEntry>),
}

/// Reads an index with all of its blocks.
pub(super) async fn read(
    disk: &DynDisk,
    path: &str,
    shard: ShardId,
    sealed: &Sealed,
) -> Result<IndexState, OpenError> {
    let io = || OpenError::io(format!("reading {path}"));
    let file = match disk.open(path).await {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(IndexState::Missing),
        other => other.map_err(io())?,
    };
    let size = file.size().await.map_err(io())?;
    if size == 0 || !size.is_multiple_of(BLOCK as u64) {
        return Ok(IndexState::Damaged(0, format!("it has {size} bytes")));
    }
    let mut position = 0;
    while position < size {
        let bytes =
            read_exact_at(&file, position, READ_BYTES.min(size - position) as usize).await.map_err(io())?;
        for block in bytes.chunks_exact(BLOCK) {
            let number = (position / BLOCK as u64) as u32;
            if index::check_block(shard, sealed.generation, number, block).is_none() {
                return Ok(IndexState::Damaged(position, "the checksum of the block is wrong".to_owned()));
            }
            let older = || u32_le(block, 16).is_some_and(|version| version < index::VERSION);
            if number == 0 && u64_le(block, 8) == Some(index::MAGIC) && older() {
                return Ok(IndexState::Older);
            }
            position += BLOCK as u64;
        }
    }
    let Some(index) = index::load(&file, shard, sealed.generation).await.map_err(io())? else {
        return Ok(IndexState::Damaged(0, "its header is not that of an index of this segment".to_owned()));
    };
    if index.sealed != *sealed {
        return Ok(IndexState::Damaged(0, "it states other sequences than the checkpoint".to_owned()));
    }
    let total: usize = index.runs.iter().map(|(_, r)| r.entries as usize).sum();
    let blocks = u64::from(index.entries_block) + total.div_ceil(ENTRIES_PER_BLOCK) as u64;
    if size != blocks * BLOCK as u64 {
        let what = format!("it has {size} bytes; {blocks} blocks are stated");
        return Ok(IndexState::Damaged(size.min(blocks * BLOCK as u64), what));
    }
    let entries = index::load_entries(&file, shard, &index).await.map_err(io())?;
    Ok(match entries {
        Some(entries) => IndexState::Good(index, entries),
        None => IndexState::Damaged(
            u64::from(index.entries_block) * BLOCK as u64,
            "entries are missing".to_owned(),
        ),
    })
}

/// Compares an index with the batches of its segment. `needed` names the batches that must be in the index; `damaged` names
/// positions in the segment that could not be read. `Some`: position and description of a contradiction.
pub(super) fn compare(
    index: &Index,
    entries: &[IndexEntry],
    scan: &Scan,
    needed: impl Fn(LogId, &IndexEntry) -> bool,
    damaged: impl Fn(u32) -> bool,
) -> Option<(u64, String)> {
    let table = BLOCK as u64;
    let mut first = 0;
    for (log, run) in &index.runs {
        let slice = entries.get(first..first + run.entries as usize).unwrap_or_default();
        let number = first as u32;
        if slice.is_empty() || index::run_of(run.generation, number, slice) != *run {
            return Some((table, format!("its table and its entries disagree about log {log}")));
        }
        let there = scan.logs.get(log).map_or(&[][..], Vec::as_slice);
        for (i, entry) in slice.iter().enumerate() {
            let same = there.binary_search_by_key(&entry.base_offset, |e| e.base_offset);
            if same.is_ok_and(|at| there[at] == *entry) || damaged(entry.position) {
                continue;
            }
            let what = format!("it names a batch of log {log} at {} that is not there", entry.position);
            return Some((entry_position(index, first + i), what));
        }
        first += slice.len();
    }
    let runs: HashMap<_, _> = index.runs.iter().copied().collect();
    for (log, there) in &scan.logs {
        let run = runs.get(log);
        let slice = run.map_or(&[][..], |r| &entries[r.first_entry as usize..][..r.entries as usize]);
        let listed = |e: &IndexEntry| slice.binary_search_by_key(&e.base_offset, |s| s.base_offset).is_ok();
        if let Some(absent) = there.iter().find(|e| needed(*log, e) && !listed(e)) {
            return Some((table, format!("the batch of log {log} at {} is not in it", absent.position)));
        }
    }
    None
}

fn entry_position(index: &Index, number: usize) -> u64 {
    let block = u64::from(index.entries_block) + (number / ENTRIES_PER_BLOCK) as u64;
    block * BLOCK as u64 + 8 + 32 * (number % ENTRIES_PER_BLOCK) as u64
}
