//! The index of a sealed segment: where each batch lies, by partition and offset.
//!
//! An index can always be derived from its segment, and is never believed over it: each batch that is found through an
//! index is checked against its own bytes. An index is written once, when the segment is sealed, and read block by block.
//! In memory a partition keeps one [`Run`] per sealed segment.
//!
//! Every block is `crc u32 | count u32 | items`; the CRC also covers shard, generation and block number.
//! Block 0 is the header; then the table (one item per partition), then the entries, by partition and
//! offset.

use std::io;

use bytes::Bytes;

use crate::aligned::{AlignedBuf, BLOCK};
use crate::bytes_at::{count_le, i64_le, u32_le, u64_le};
use crate::disk::{DiskFile, DynFile, read_exact_at};
use crate::ids::{Generation, LogId, Offset, ShardId};
use crate::planted::{self, Bug};

use super::format::Entry;
use super::sealed::{Run, Sealed, SealedSegment};

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"KLindex1");
/// Version of the index format.
pub(crate) const VERSION: u32 = 3;
const BLOCK_HEADER: usize = 8;
const TABLE_ITEM: usize = 40;
const ENTRY_ITEM: usize = 32;
const TABLE_PER_BLOCK: usize = (BLOCK - BLOCK_HEADER) / TABLE_ITEM;
/// Blocks read at once when all entries are read.
const LOAD_BLOCKS: usize = 256;
/// Batches nearer to each other than this belong to one extent.
pub const GAP_BYTES: u64 = 64 << 10;
/// Entries in one block of an index.
pub const ENTRIES_PER_BLOCK: usize = (BLOCK - BLOCK_HEADER) / ENTRY_ITEM;

/// One batch of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Byte position in the segment.
    pub position: u32,
    /// Bytes of the batch.
    pub len: u32,
    /// Offsets that the batch spans.
    pub span: u32,
    /// Largest timestamp of the records, in milliseconds, whatever the batch's header says.
    pub max_timestamp: i64,
}

impl IndexEntry {
    /// Offset after the last one that the batch spans.
    pub fn end(&self) -> Offset {
        self.base_offset + u64::from(self.span)
    }

    /// Whether the batch lies in a segment whose data end there.
    pub fn is_before(&self, data_end: u64) -> bool {
        u64::from(self.position) + u64::from(self.len) <= data_end
    }

    /// The entry that the directory of a commit has for this batch; the position in the commit is left 0.
    pub fn in_directory(&self, log: LogId) -> Entry {
        Entry {
            log,
            len: self.len,
            at: 0,
            span: self.span,
            base_offset: self.base_offset,
            max_timestamp: self.max_timestamp,
        }
    }
}

/// Header and table of an index: the runs by partition, and the block at which the entries begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The segment.
    pub sealed: Sealed,
    /// Block of the first entry.
    pub entries_block: u32,
    /// Extents: stretches of neighbouring batches of one partition, each of which is read in one go.
    pub extents: u32,
    /// One run per partition.
    pub runs: Vec<(LogId, Run)>,
}

impl Index {
    /// Bytes of the index file.
    pub fn bytes(&self) -> u64 {
        let entries: u64 = self.runs.iter().map(|(_, run)| u64::from(run.entries)).sum();
        bytes_of(self.runs.len() as u64, entries)
    }

    /// Whether each run has entries, behind those of the run before it, and offsets that rise, and all entries lie in a file of
    /// this size.
    fn is_within(&self, size: u64) -> bool {
        let mut next = 0;
        let follows = self.runs.iter().all(|(_, run)| {
            let here = u64::from(run.first_entry) == next && run.entries > 0;
            next += u64::from(run.entries);
            here && run.base_offset < run.next_offset
        });
        follows && self.bytes() <= size
    }

    /// The sealed segment, without any runs: they are added by [`SealedSegment::add`].
    pub fn segment(&self) -> SealedSegment {
        let (sealed, entries_block, extents) = (self.sealed, self.entries_block, self.extents);
        SealedSegment { sealed, entries_block, extents, live_runs: 0, live_bytes: 0 }
    }
}

/// Bytes of an index with this many runs and entries.
pub fn bytes_of(runs: u64, entries: u64) -> u64 {
    let blocks = 1 + runs.div_ceil(TABLE_PER_BLOCK as u64) + entries.div_ceil(ENTRIES_PER_BLOCK as u64);
    blocks * BLOCK as u64
}

fn block_crc(shard: ShardId, generation: Generation, number: u32, content: &[u8]) -> u32 {
    let mut crc = crc32c::crc32c(&u32::from(shard.0).to_le_bytes());
    crc = crc32c::crc32c_append(crc, &generation.0.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &number.to_le_bytes());
    crc32c::crc32c_append(crc, content)
}

/// Checks a block and returns the number of items in it.
pub(crate) fn check_block(
    shard: ShardId,
    generation: Generation,
    number: u32,
    block: &[u8],
) -> Option<usize> {
    let content = block.get(4..BLOCK)?;
    let good = u32_le(block, 0)? == block_crc(shard, generation, number, content);
    (good || planted::is(Bug::IndexUnchecked)).then_some(())?;
    Some(u32_le(block, 4)? as usize)
}

struct Writer {
    shard: ShardId,
    generation: Generation,
    out: AlignedBuf,
    block: Vec<u8>,
    items: u32,
    number: u32,
}

impl Writer {
    fn item(&mut self, item: &[u8]) {
        if self.block.len() + item.len() > BLOCK {
            self.finish_block();
        }
        self.block.extend_from_slice(item);
        self.items += 1;
    }

    fn finish_block(&mut self) {
        self.block.resize(BLOCK, 0);
        self.block[4..8].copy_from_slice(&self.items.to_le_bytes());
        let crc = block_crc(self.shard, self.generation, self.number, &self.block[4..]);
        self.block[0..4].copy_from_slice(&crc.to_le_bytes());
        self.out.put(self.number as usize * BLOCK, &self.block);
        self.block.clear();
        self.block.resize(BLOCK_HEADER, 0);
        self.items = 0;
        self.number += 1;
    }
}

/// Builds the index of a segment from its batches, which are given by partition and, within one, by
/// offset. Returns the file's content and the runs.
pub fn build(shard: ShardId, sealed: Sealed, logs: &[(LogId, Vec<IndexEntry>)]) -> (Bytes, Index) {
    let entries: usize = logs.iter().map(|(_, e)| e.len()).sum();
    let table_blocks = logs.len().div_ceil(TABLE_PER_BLOCK);
    let blocks = 1 + table_blocks + entries.div_ceil(ENTRIES_PER_BLOCK);
    let entries_block = 1 + table_blocks as u32;
    let mut writer = Writer {
        shard,
        generation: sealed.generation,
        out: AlignedBuf::uninit(blocks * BLOCK),
        block: vec![0; BLOCK_HEADER],
        items: 0,
        number: 0,
    };
    let mut header = Vec::with_capacity(64);
    header.extend_from_slice(&MAGIC.to_le_bytes());
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&entries_block.to_le_bytes());
    header.extend_from_slice(&sealed.first_seq.to_le_bytes());
    header.extend_from_slice(&sealed.next_seq.to_le_bytes());
    header.extend_from_slice(&sealed.data_end.to_le_bytes());
    header.extend_from_slice(&(logs.len() as u32).to_le_bytes());
    header.extend_from_slice(&(entries as u32).to_le_bytes());
    let extents: u32 = logs.iter().map(|(_, e)| extents_of(e)).sum();
    header.extend_from_slice(&extents.to_le_bytes());
    writer.item(&header);
    writer.finish_block();
    let mut runs = Vec::with_capacity(logs.len());
    let mut first_entry = 0u32;
    for (log, batches) in logs {
        let run = run_of(sealed.generation, first_entry, batches);
        first_entry += run.entries;
        writer.item(&encode_run(*log, &run));
        runs.push((*log, run));
    }
    if writer.items > 0 {
        writer.finish_block();
    }
    for entry in logs.iter().flat_map(|(_, e)| e) {
        writer.item(&encode_entry(entry));
    }
    if writer.items > 0 {
        writer.finish_block();
    }
    assert_eq!(writer.number as usize, blocks, "index size");
    (writer.out.into_bytes(), Index { sealed, entries_block, extents, runs })
}

/// Extents of these batches: stretches with gaps of at most [`GAP_BYTES`].
fn extents_of(batches: &[IndexEntry]) -> u32 {
    let far = |pair: &&[IndexEntry]| {
        let end = u64::from(pair[0].position) + u64::from(pair[0].len);
        u64::from(pair[1].position) < end || u64::from(pair[1].position) - end > GAP_BYTES
    };
    u32::from(!batches.is_empty()) + batches.windows(2).filter(far).count() as u32
}

/// The run of a partition with these batches, at least one, in a segment.
pub(crate) fn run_of(generation: Generation, first_entry: u32, batches: &[IndexEntry]) -> Run {
    let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
        unreachable!("a partition without batches has no place in an index")
    };
    Run {
        generation,
        base_offset: first.base_offset,
        next_offset: last.end(),
        max_timestamp: batches.iter().map(|b| b.max_timestamp).max().unwrap_or(-1),
        bytes: batches.iter().fold(0, |sum: u32, b| sum.saturating_add(b.len)),
        first_entry,
        entries: batches.len() as u32,
    }
}

fn encode_run(log: LogId, run: &Run) -> [u8; TABLE_ITEM] {
    let mut out = [0u8; TABLE_ITEM];
    out[0..4].copy_from_slice(&log.0.to_le_bytes());
    out[4..8].copy_from_slice(&run.first_entry.to_le_bytes());
    out[8..12].copy_from_slice(&run.entries.to_le_bytes());
    out[12..16].copy_from_slice(&run.bytes.to_le_bytes());
    out[16..24].copy_from_slice(&run.base_offset.to_le_bytes());
    out[24..32].copy_from_slice(&run.next_offset.to_le_bytes());
    out[32..40].copy_from_slice(&run.max_timestamp.to_le_bytes());
    out
}

fn encode_entry(entry: &IndexEntry) -> [u8; ENTRY_ITEM] {
    let mut out = [0u8; ENTRY_ITEM];
    out[0..8].copy_from_slice(&entry.base_offset.to_le_bytes());
    out[8..12].copy_from_slice(&entry.position.to_le_bytes());
    out[12..16].copy_from_slice(&entry.len.to_le_bytes());
    out[16..20].copy_from_slice(&entry.span.to_le_bytes());
    out[24..32].copy_from_slice(&entry.max_timestamp.to_le_bytes());
    out
}

/// Reads header and table. `Ok(None)`: the file is no whole index of this segment, and has to be derived from it.
pub async fn load(file: &DynFile, shard: ShardId, generation: Generation) -> io::Result<Option<Index>> {
    let size = file.size().await?;
    if size < BLOCK as u64 {
        return Ok(None);
    }
    let header = read_exact_at(file, 0, BLOCK).await?;
    let Some((sealed, entries_block, logs, extents)) = decode_header(shard, generation, &header) else {
        return Ok(None);
    };
    let table_len = (entries_block as usize - 1) * BLOCK;
    if size < (BLOCK + table_len) as u64 {
        return Ok(None);
    }
    let mut runs = Vec::with_capacity(logs);
    if table_len > 0 {
        let table = read_exact_at(file, BLOCK as u64, table_len).await?;
        for (i, block) in table.chunks_exact(BLOCK).enumerate() {
            if decode_table_block(shard, generation, 1 + i as u32, block, &mut runs).is_none() {
                return Ok(None);
            }
        }
    }
    let index = Index { sealed, entries_block, extents, runs };
    Ok((index.runs.len() == logs && index.is_within(size)).then_some(index))
}

fn decode_header(shard: ShardId, generation: Generation, block: &[u8]) -> Option<(Sealed, u32, usize, u32)> {
    check_block(shard, generation, 0, block)?;
    if u64_le(block, 8)? != MAGIC || u32_le(block, 16)? != VERSION {
        return None;
    }
    let entries_block = u32_le(block, 20)?;
    let sealed = Sealed {
        generation,
        first_seq: count_le(block, 24)?,
        next_seq: count_le(block, 32)?,
        data_end: count_le(block, 40)?,
    };
    let logs = u32_le(block, 48)? as usize;
    let extents = u32_le(block, 56)?;
    let fits = entries_block as usize == 1 + logs.div_ceil(TABLE_PER_BLOCK);
    fits.then_some((sealed, entries_block, logs, extents))
}

fn decode_table_block(
    shard: ShardId,
    generation: Generation,
    number: u32,
    block: &[u8],
    runs: &mut Vec<(LogId, Run)>,
) -> Option<()> {
    let count = check_block(shard, generation, number, block)?;
    for item in block[BLOCK_HEADER..].chunks_exact(TABLE_ITEM).take(count) {
        let run = Run {
            generation,
            first_entry: u32_le(item, 4)?,
            entries: u32_le(item, 8)?,
            bytes: u32_le(item, 12)?,
            base_offset: count_le(item, 16)?,
            next_offset: count_le(item, 24)?,
            max_timestamp: i64_le(item, 32)?,
        };
        runs.push((LogId(u32_le(item, 0)?), run));
    }
    Some(())
}

/// Reads all entries of a segment, by run. `None`: a block is damaged, or leads beyond the segment.
pub async fn load_entries(
    file: &DynFile,
    shard: ShardId,
    index: &Index,
) -> io::Result<Option<Vec<IndexEntry>>> {
    let total: usize = index.runs.iter().map(|(_, r)| r.entries as usize).sum();
    let inside = |entry: &IndexEntry| entry.is_before(index.sealed.data_end);
    let mut out = Vec::with_capacity(total);
    let mut number = index.entries_block;
    while out.len() < total {
        let blocks = (total - out.len()).div_ceil(ENTRIES_PER_BLOCK).min(LOAD_BLOCKS);
        let bytes = read_exact_at(file, u64::from(number) * BLOCK as u64, blocks * BLOCK).await?;
        for block in bytes.chunks_exact(BLOCK) {
            match decode_entries(shard, index.sealed.generation, number, block) {
                Some(entries) if !entries.is_empty() && entries.iter().all(inside) => out.extend(entries),
                _ => return Ok(None),
            }
            number += 1;
        }
    }
    Ok((out.len() == total).then_some(out))
}

/// Reads the entries of one run. `None`: a block is damaged.
pub async fn load_run(
    file: &DynFile,
    shard: ShardId,
    entries_block: u32,
    run: &Run,
) -> io::Result<Option<Vec<IndexEntry>>> {
    let per_block = ENTRIES_PER_BLOCK as u32;
    let (first, last) = (run.first_entry / per_block, (run.first_entry + run.entries - 1) / per_block);
    let mut out = Vec::with_capacity(run.entries as usize);
    for number in entries_block + first..=entries_block + last {
        let block = read_exact_at(file, u64::from(number) * BLOCK as u64, BLOCK).await?;
        let Some(entries) = decode_entries(shard, run.generation, number, &block) else { return Ok(None) };
        out.extend(entries);
    }
    let skip = (run.first_entry % per_block) as usize;
    Ok(out.get(skip..skip + run.entries as usize).map(<[_]>::to_vec))
}

/// Decodes one block of entries. `None`: the block is damaged.
pub fn decode_entries(
    shard: ShardId,
    generation: Generation,
    number: u32,
    block: &[u8],
) -> Option<Vec<IndexEntry>> {
    let count = check_block(shard, generation, number, block)?;
    let mut out = Vec::with_capacity(count.min(ENTRIES_PER_BLOCK));
    for item in block[BLOCK_HEADER..].chunks_exact(ENTRY_ITEM).take(count) {
        let entry = IndexEntry {
            base_offset: count_le(item, 0)?,
            position: u32_le(item, 8)?,
            len: u32_le(item, 12)?,
            span: u32_le(item, 16)?,
            max_timestamp: i64_le(item, 24)?,
        };
        entry.base_offset.checked_add(u64::from(entry.span))?;
        out.push(entry);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(n: u64) -> Vec<IndexEntry> {
        (0..n)
            .map(|i| IndexEntry {
                base_offset: i * 3,
                position: 4096,
                len: 70,
                span: 3,
                max_timestamp: i as i64,
            })
            .collect()
    }

    #[test]
    fn blocks_decode_to_what_was_built_and_only_in_their_place() {
        let sealed = Sealed { generation: Generation(4), first_seq: 1, next_seq: 9, data_end: 8192 };
        let logs = [(LogId(1), entries(300)), (LogId(2), entries(5))];
        let (bytes, index) = build(ShardId(2), sealed, &logs);
        let mut found = Vec::new();
        for number in index.entries_block..(bytes.len() / BLOCK) as u32 {
            let block = &bytes[number as usize * BLOCK..][..BLOCK];
            found.extend(decode_entries(ShardId(2), Generation(4), number, block).unwrap());
            assert!(decode_entries(ShardId(2), Generation(4), number + 1, block).is_none());
            assert!(decode_entries(ShardId(2), Generation(5), number, block).is_none());
            assert!(decode_entries(ShardId(1), Generation(4), number, block).is_none());
        }
        assert_eq!(found, [entries(300), entries(5)].concat());
        assert_eq!((index.runs[0].1.next_offset, index.runs[1].1.first_entry), (900, 300));
    }

    #[test]
    fn a_flipped_byte_in_the_header_is_found() {
        let sealed = Sealed { generation: Generation(4), first_seq: 1, next_seq: 9, data_end: 8192 };
        let (bytes, _) = build(ShardId(0), sealed, &[(LogId(1), entries(1))]);
        assert!(decode_header(ShardId(0), Generation(4), &bytes[..BLOCK]).is_some());
        for at in 0..BLOCK {
            let mut bad = bytes[..BLOCK].to_vec();
            bad[at] ^= 1;
            assert!(decode_header(ShardId(0), Generation(4), &bad).is_none(), "byte {at}");
        }
    }
}
