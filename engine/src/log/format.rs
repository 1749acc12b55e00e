//! The bytes of the commit log. `docs/format.md` draws them. No other code knows them.
//!
//! A segment is a segment header block followed by commits. A commit is
//! `header | record batches | directory | zeros`, padded to whole blocks. Each checksum covers *where*
//! its bytes belong (shard, generation, position, sequence), so that a stale, misdirected or zeroed block
//! is told from a good one. Little endian.

use crate::aligned::{BLOCK, round_up};
use crate::bytes_at::{count_le, i64_le, u32_le, u64_le};
use crate::ids::{CommitSeq, Generation, LogId, Offset, ShardId};
use crate::planted::{self, Bug};
use crate::record_batch::{self, BatchError, RecordBatch};

/// Version of all files of a data directory. A directory of a newer version is refused. A directory of an older version is
/// read, and raised to this version when it is opened.
pub const FORMAT_VERSION: u32 = 4;
/// Since this version the headers of stored batches state the largest timestamp of their records, and so do directories and
/// indexes. Before it, a header stated what its producer claimed.
const TRUE_TIMES_SINCE: u32 = 4;

const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"KLsegmnt");
const COMMIT_MAGIC: u64 = u64::from_le_bytes(*b"KLcommit");

/// Bytes of a commit header; the first batch follows.
pub const COMMIT_HEADER_BYTES: usize = 64;
/// Bytes of one directory entry.
pub const ENTRY_BYTES: usize = 32;
/// The field `durable_below` in the commits of a sorted segment that compaction wrote.
pub const COMPACTED: CommitSeq = 1;
/// Leader epoch written into every stored batch: a single node has had one leader only.
pub const LEADER_EPOCH: i32 = 0;

const _: () = assert!(COMMIT_HEADER_BYTES.is_multiple_of(8) && ENTRY_BYTES.is_multiple_of(8));
const _: () = assert!(COMMIT_HEADER_BYTES + ENTRY_BYTES < BLOCK);

/// The first block of a segment. Durable before anything is committed to the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The data directory's own id.
    pub directory: [u8; 16],
    /// The shard that the segment belongs to.
    pub shard: ShardId,
    /// Generation of the segment.
    pub generation: Generation,
}

impl SegmentHeader {
    /// The header as one block.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK);
        out.extend_from_slice(&SEGMENT_MAGIC.to_le_bytes());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&u32::from(self.shard.0).to_le_bytes());
        out.extend_from_slice(&self.directory);
        out.extend_from_slice(&self.generation.0.to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.resize(BLOCK, 0);
        out
    }

    /// Whether the times in a segment with this header block are those that producers claimed, not those of the records.
    pub fn has_untrue_times(block: &[u8]) -> bool {
        Self::decode(block).is_some() && u32_le(block, 8).is_some_and(|version| version < TRUE_TIMES_SINCE)
    }

    /// Decodes a block; `None` if the block is no whole segment header.
    pub fn decode(block: &[u8]) -> Option<Self> {
        if u64_le(block, 0)? != SEGMENT_MAGIC || !(1..=FORMAT_VERSION).contains(&u32_le(block, 8)?) {
            return None;
        }
        if crc32c::crc32c(block.get(..40)?) != u32_le(block, 40)? || block.get(44..)?.iter().any(|&b| b != 0)
        {
            return None;
        }
        Some(Self {
            directory: block.get(16..32)?.try_into().ok()?,
            shard: ShardId(u16::try_from(u32_le(block, 12)?).ok()?),
            generation: Generation(u64_le(block, 32)?),
        })
    }
}

/// Where a commit belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Shard of the log.
    pub shard: ShardId,
    /// Generation of the segment.
    pub generation: Generation,
    /// Byte position in the segment.
    pub position: u64,
}

/// The header of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitHeader {
    /// Where the commit belongs.
    pub place: Place,
    /// Sequence of the commit.
    pub seq: CommitSeq,
    /// Every commit with a sequence below this one was durable when this one was written.
    pub durable_below: CommitSeq,
    /// Bytes of record batches, which follow the header.
    pub payload_len: u32,
    /// Entries in the directory.
    pub entries: u32,
    /// Checksum of the directory.
    pub directory_crc: u32,
}

impl CommitHeader {
    /// The encoded bytes.
    pub fn encode(&self) -> [u8; COMMIT_HEADER_BYTES] {
        let mut out = [0u8; COMMIT_HEADER_BYTES];
        out[0..8].copy_from_slice(&COMMIT_MAGIC.to_le_bytes());
        out[12..16].copy_from_slice(&u32::from(self.place.shard.0).to_le_bytes());
        out[16..24].copy_from_slice(&self.place.generation.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.place.position.to_le_bytes());
        out[32..40].copy_from_slice(&self.seq.to_le_bytes());
        out[40..48].copy_from_slice(&self.durable_below.to_le_bytes());
        out[48..52].copy_from_slice(&self.payload_len.to_le_bytes());
        out[52..56].copy_from_slice(&self.entries.to_le_bytes());
        out[56..60].copy_from_slice(&self.directory_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes the first bytes of a block; `None` if they are no commit header for this place.
    pub fn decode(bytes: &[u8], place: Place) -> Option<Self> {
        if u64_le(bytes, 0)? != COMMIT_MAGIC {
            return None;
        }
        if crc32c::crc32c(bytes.get(12..COMMIT_HEADER_BYTES)?) != u32_le(bytes, 8)? {
            return None;
        }
        let found = Place {
            shard: ShardId(u16::try_from(u32_le(bytes, 12)?).ok()?),
            generation: Generation(u64_le(bytes, 16)?),
            position: count_le(bytes, 24)?,
        };
        (found == place || planted::is(Bug::PlaceUnchecked)).then_some(())?;
        Some(Self {
            place,
            seq: count_le(bytes, 32)?,
            durable_below: count_le(bytes, 40)?,
            payload_len: u32_le(bytes, 48)?,
            entries: u32_le(bytes, 52)?,
            directory_crc: u32_le(bytes, 56)?,
        })
    }

    /// Bytes of the whole commit on disk.
    pub fn total_len(&self) -> usize {
        commit_len(self.payload_len as usize, self.entries as usize)
    }
}

/// Where the directory of a commit begins, relative to the commit.
pub const fn directory_start(payload_len: usize) -> usize {
    (COMMIT_HEADER_BYTES + payload_len).next_multiple_of(8)
}

/// Bytes of a commit on disk.
pub const fn commit_len(payload_len: usize, entries: usize) -> usize {
    round_up(directory_start(payload_len) + entries * ENTRY_BYTES)
}

/// One batch in a commit. Without bytes: the new log start offset of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The partition's log.
    pub log: LogId,
    /// Bytes of the batch.
    pub len: u32,
    /// Position of the batch in the commit.
    pub at: u32,
    /// Offsets that the batch spans: last offset delta + 1. That is the number of its records unless it was compacted.
    pub span: u32,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Largest timestamp of the records, in milliseconds, as the batch's header states it.
    pub max_timestamp: i64,
}

impl Entry {
    /// An entry that raises the log start offset of a log to `offset`.
    pub fn trim(log: LogId, offset: Offset) -> Self {
        Self { log, len: 0, at: 0, span: 0, base_offset: offset, max_timestamp: -1 }
    }

    /// Whether the entry raises a log start offset, and is no batch.
    pub fn is_trim(&self) -> bool {
        self.len == 0
    }

    /// Offset after the last one that the batch spans.
    pub fn end(&self) -> Offset {
        self.base_offset + u64::from(self.span)
    }

    /// The encoded bytes.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0u8; ENTRY_BYTES];
        out[0..4].copy_from_slice(&self.log.0.to_le_bytes());
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..12].copy_from_slice(&self.at.to_le_bytes());
        out[12..16].copy_from_slice(&self.span.to_le_bytes());
        out[16..24].copy_from_slice(&self.base_offset.to_le_bytes());
        out[24..32].copy_from_slice(&self.max_timestamp.to_le_bytes());
        out
    }

    /// Decodes bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            log: LogId(u32_le(bytes, 0)?),
            len: u32_le(bytes, 4)?,
            at: u32_le(bytes, 8)?,
            span: u32_le(bytes, 12)?,
            base_offset: count_le(bytes, 16)?,
            max_timestamp: i64_le(bytes, 24)?,
        })
    }
}

/// What is wrong with a commit whose header was good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The lengths lead beyond the segment, or contradict each other.
    #[error("the lengths in the commit header do not fit the segment")]
    Lengths,
    /// The directory's checksum is wrong.
    #[error("the commit's directory is damaged")]
    Directory,
    /// A batch is not the one that the directory names.
    #[error("batch {0} of the commit is not the one that its directory names")]
    Mismatch(usize),
    /// A batch is damaged.
    #[error("batch {index} of the commit is damaged: {cause}")]
    Batch {
        /// Place of the batch in the commit, from 0.
        index: usize,
        /// What is wrong with the batch.
        cause: BatchError,
    },
    /// The padding is not zero.
    #[error("the padding after the commit is not zero")]
    Padding,
}

/// Checks a whole commit and lists its batches. `bytes` begins with the header and holds at least
/// [`CommitHeader::total_len`] bytes.
pub fn check_commit(header: &CommitHeader, bytes: &[u8]) -> Result<Vec<Entry>, CommitError> {
    check_commit_but(header, bytes, |_| false)
}

/// As [`check_commit`], but the bytes of batches that are `dead` are not checked: their space may have been given back to
/// the file system.
pub fn check_commit_but(
    header: &CommitHeader,
    bytes: &[u8],
    dead: impl Fn(&Entry) -> bool,
) -> Result<Vec<Entry>, CommitError> {
    let at = directory_start(header.payload_len as usize);
    let end = at + header.entries as usize * ENTRY_BYTES;
    let bytes = bytes.get(..header.total_len()).ok_or(CommitError::Lengths)?;
    let directory = bytes.get(at..end).ok_or(CommitError::Lengths)?;
    if crc32c::crc32c(directory) != header.directory_crc {
        return Err(CommitError::Directory);
    }
    let mut entries = Vec::with_capacity(header.entries as usize);
    let mut next = COMMIT_HEADER_BYTES;
    for (index, raw) in directory.chunks_exact(ENTRY_BYTES).enumerate() {
        let entry = Entry::decode(raw).ok_or(CommitError::Directory)?;
        if entry.at as usize != next {
            return Err(CommitError::Mismatch(index));
        }
        next += entry.len as usize;
        let raw = bytes.get(entry.at as usize..next).ok_or(CommitError::Lengths)?;
        if !entry.is_trim() && !dead(&entry) {
            check_batch(&entry, raw, true).map_err(|e| match e {
                Some(cause) => CommitError::Batch { index, cause },
                None => CommitError::Mismatch(index),
            })?;
        }
        entries.push(entry);
    }
    if next != COMMIT_HEADER_BYTES + header.payload_len as usize {
        return Err(CommitError::Lengths);
    }
    let gap_is_zero = |range: &[u8]| range.iter().all(|&b| b == 0);
    if !gap_is_zero(&bytes[next..at]) || !gap_is_zero(&bytes[end..]) {
        return Err(CommitError::Padding);
    }
    Ok(entries)
}

/// Checks that stored bytes are the batch that an index entry names. `Err(None)`: they are another batch. The largest
/// timestamp is not compared: that of an index comes from the records, and a header of an old version may state another.
pub fn check_entry(entry: &Entry, raw: &[u8]) -> Result<(), Option<BatchError>> {
    check_batch(entry, raw, false)
}

/// As [`check_entry`]. With `by_directory`, the header must state the largest timestamp that the commit's directory states.
fn check_batch(entry: &Entry, raw: &[u8], by_directory: bool) -> Result<(), Option<BatchError>> {
    let zeros = |raw: &[u8]| raw.iter().all(|b| *b == 0);
    if planted::is(Bug::ChecksumSkipped) || planted::is(Bug::ZerosBelieved) && zeros(raw) {
        return Ok(());
    }
    let batch = RecordBatch::check_stored(raw).map_err(Some)?;
    let same = record_batch::base_offset(raw) == Some(entry.base_offset)
        && record_batch::leader_epoch(raw) == Some(LEADER_EPOCH)
        && batch.span == entry.span
        && (!by_directory || batch.max_timestamp == entry.max_timestamp);
    if same { Ok(()) } else { Err(None) }
}
