//! The checkpoint of a shard: the sealed segments, and the state of each partition at their end. A start reads the
//! checkpoint and scans only what was committed since.
//!
//! A segment belongs to the shard when the checkpoint names it. So the set of segments changes when the checkpoint is
//! replaced. Compaction writes segments of one log; where other segments still hold what these replace, it counts no more.
//! The checkpoint is replaced as a whole, and holds its content twice: damage to one copy is healed from the other.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::aligned::{AlignedBuf, BLOCK, round_up};
use crate::bytes_at::{COUNT_END, count_le, u32_le, u64_le};
use crate::disk::{Disk, DiskFile, DynDisk, read_exact_at};
use crate::ids::{CommitSeq, Generation, LogId, Offset, ShardId};
use crate::producer_state::{Accepted, Producer};

use super::files;
use super::format::FORMAT_VERSION;
use super::sealed::Sealed;

const MAGIC: u64 = u64::from_le_bytes(*b"KLcheckp");
const HEADER_BYTES: usize = 64;
/// Bytes of the header in version 1, which had one copy and neither sorted segments nor trims.
const HEADER_BYTES_V1: usize = 56;

/// State of one partition at the end of a commit segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The log.
    pub log: LogId,
    /// Log start offset.
    pub start: Offset,
    /// Log end offset.
    pub next: Offset,
    /// Idempotent producers.
    pub producers: Vec<(i64, Producer)>,
}

/// States of all partitions, encoded: there can be many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogStates {
    count: u32,
    bytes: Vec<u8>,
}

impl LogStates {
    /// Adds the state of a partition.
    pub fn push(&mut self, log: &LogState) {
        self.count += 1;
        let out = &mut self.bytes;
        out.extend_from_slice(&log.log.0.to_le_bytes());
        out.extend_from_slice(&(log.producers.len() as u32).to_le_bytes());
        put_all(out, &[log.start, log.next]);
        for (id, producer) in &log.producers {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&u32::from(producer.epoch as u16).to_le_bytes());
            out.extend_from_slice(&(producer.recent.len() as u32).to_le_bytes());
            for batch in &producer.recent {
                out.extend_from_slice(&batch.first.to_le_bytes());
                out.extend_from_slice(&batch.last.to_le_bytes());
                out.extend_from_slice(&batch.base_offset.to_le_bytes());
            }
        }
    }

    /// Decodes all states.
    pub fn decode(&self) -> Vec<LogState> {
        let mut cursor = Cursor { bytes: &self.bytes, at: 0 };
        (0..self.count).map_while(|_| cursor.log()).collect()
    }
}

/// How far a log was compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    /// The log.
    pub log: LogId,
    /// Of the batches that end at this offset or before it, only those in `segments` count.
    pub end: Offset,
    /// Records below this offset are clean. The dirty part begins here.
    pub clean_end: Offset,
    /// Bytes of the clean batches in the segment in which the dirty part begins.
    pub clean_bytes: u64,
    /// Numbers of the sorted segments that the last pass wrote.
    pub segments: Vec<u32>,
}

impl Compacted {
    /// Whether what a segment holds of the log, up to `end`, was replaced by compaction.
    pub fn replaces(&self, generation: Generation, end: Offset) -> bool {
        end <= self.end && !self.is_in(generation)
    }

    /// Whether the last pass wrote this segment.
    pub fn is_in(&self, generation: Generation) -> bool {
        generation.is_sorted()
            && u32::try_from(generation.number()).is_ok_and(|number| self.segments.contains(&number))
    }
}

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Every commit segment up to this generation is sealed; 0: none.
    pub through: u64,
    /// Sequence of the first commit after them.
    pub next_seq: CommitSeq,
    /// Number of the next sorted segment. Sorted segments with lower numbers that are not named are leftovers.
    pub next_sorted: u32,
    /// The segments that exist, by generation.
    pub segments: Vec<Sealed>,
    /// Log start offsets that were raised later than `logs` was taken.
    pub trims: Vec<(LogId, Offset)>,
    /// The logs that were compacted.
    pub compacted: Vec<Compacted>,
    /// The partitions, as they were at the end of the last sealed commit segment. Shared: there can be many.
    pub logs: Arc<LogStates>,
}

impl Checkpoint {
    /// The content of the file.
    pub fn encode(&self, shard: ShardId) -> Bytes {
        // The states of the partitions are large: they are copied once, to the memory that is written.
        let (mut body, logs) = (Vec::new(), &self.logs.bytes);
        for segment in &self.segments {
            put_all(
                &mut body,
                &[segment.generation.0, segment.first_seq, segment.next_seq, segment.data_end],
            );
        }
        for (log, start) in &self.trims {
            body.extend_from_slice(&log.0.to_le_bytes());
            body.extend_from_slice(&start.to_le_bytes());
        }
        for compacted in &self.compacted {
            body.extend_from_slice(&compacted.log.0.to_le_bytes());
            body.extend_from_slice(&(compacted.segments.len() as u32).to_le_bytes());
            put_all(&mut body, &[compacted.end, compacted.clean_end, compacted.clean_bytes]);
            compacted.segments.iter().for_each(|number| body.extend_from_slice(&number.to_le_bytes()));
        }
        let len = HEADER_BYTES + body.len() + logs.len();
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&u32::from(shard.0).to_le_bytes());
        put_all(&mut out, &[self.through, self.next_seq, (len - HEADER_BYTES) as u64]);
        let counts = [self.segments.len() as u32, self.logs.count, self.next_sorted, self.trims.len() as u32];
        for count in counts.into_iter().chain([self.compacted.len() as u32]) {
            out.extend_from_slice(&count.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&out), &body), logs);
        out.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(out.len(), HEADER_BYTES, "checkpoint header size");
        let copy = round_up(len);
        let mut buf = AlignedBuf::uninit(2 * copy);
        for at in [0, copy] {
            buf.put(at, &out);
            buf.put(at + HEADER_BYTES, &body);
            buf.put(at + HEADER_BYTES + body.len(), logs);
            buf.fill_zero(at + len, at + copy);
        }
        buf.into_bytes()
    }

    /// Decodes the file's content; `None` if neither copy is a whole checkpoint of this shard.
    pub fn decode(shard: ShardId, bytes: &[u8]) -> Option<Self> {
        Self::decode_copy(shard, bytes).or_else(|| Self::decode_copy(shard, bytes.get(bytes.len() / 2..)?))
    }

    /// Both copies in the file's content, `None` for a damaged copy. The only copy of version 1 counts as both.
    pub fn decode_copies(shard: ShardId, bytes: &[u8]) -> [Option<Self>; 2] {
        let first = Self::decode_copy(shard, bytes);
        if first.is_some() && u32_le(bytes, 8) == Some(1) {
            return [first.clone(), first];
        }
        [first, bytes.get(bytes.len() / 2..).and_then(|half| Self::decode_copy(shard, half))]
    }

    fn decode_copy(shard: ShardId, bytes: &[u8]) -> Option<Self> {
        if u64_le(bytes, 0)? != MAGIC || u32_le(bytes, 12)? != u32::from(shard.0) {
            return None;
        }
        let (header, next_sorted, trims, compacted) = match u32_le(bytes, 8)? {
            1 => (HEADER_BYTES_V1, 0, 0, 0),
            // In version 2 the last of these fields was zero.
            2..=FORMAT_VERSION => (HEADER_BYTES, u32_le(bytes, 48)?, u32_le(bytes, 52)?, u32_le(bytes, 56)?),
            _ => return None,
        };
        let body = bytes.get(header..)?.get(..usize::try_from(u64_le(bytes, 32)?).ok()?)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(bytes.get(..header - 4)?), body);
        if crc != u32_le(bytes, header - 4)? {
            return None;
        }
        let mut cursor = Cursor { bytes: body, at: 0 };
        let (through, next_seq) = (count_le(bytes, 16)?, count_le(bytes, 24)?);
        // It is counted on, and a segment's name has no more.
        (next_sorted < 1 << 31).then_some(())?;
        let mut out = Self { through, next_seq, next_sorted, ..Self::default() };
        for _ in 0..u32_le(bytes, 40)? {
            out.segments.push(Sealed {
                generation: cursor.generation()?,
                first_seq: cursor.count()?,
                next_seq: cursor.count()?,
                data_end: cursor.count()?,
            });
        }
        for _ in 0..trims {
            out.trims.push((LogId(cursor.u32()?), cursor.count()?));
        }
        for _ in 0..compacted {
            out.compacted.push(cursor.compacted()?);
        }
        let logs = LogStates { count: u32_le(bytes, 44)?, bytes: body.get(cursor.at..)?.to_vec() };
        (logs.decode().len() == logs.count as usize).then_some(())?;
        out.logs = Arc::new(logs);
        Some(out)
    }

    /// Reads the checkpoint of a shard. `None`: the file does not exist. `Some(None)`: the checkpoint is damaged.
    pub async fn load(disk: &DynDisk, dir: &str, shard: ShardId) -> io::Result<Option<Option<Self>>> {
        let Some(bytes) = Self::load_bytes(disk, dir).await? else { return Ok(None) };
        Ok(Some(Self::decode(shard, &bytes)))
    }

    /// The content of the checkpoint's file, empty if the file's size is impossible. `None`: the file does not exist.
    pub async fn load_bytes(disk: &DynDisk, dir: &str) -> io::Result<Option<Bytes>> {
        let file = match disk.open(&files::checkpoint(dir)).await {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let size = file.size().await? as usize;
        if size < BLOCK || size != round_up(size) {
            return Ok(Some(Bytes::new()));
        }
        Ok(Some(read_exact_at(&file, 0, size).await?))
    }

    /// Durably replaces the checkpoint of a shard.
    pub async fn store(&self, disk: &DynDisk, dir: &str, shard: ShardId) -> io::Result<()> {
        files::replace(disk, dir, &files::checkpoint(dir), self.encode(shard)).await
    }
}

fn put_all(out: &mut Vec<u8>, values: &[u64]) {
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn u32(&mut self) -> Option<u32> {
        self.at += 4;
        u32_le(self.bytes, self.at - 4)
    }

    fn u64(&mut self) -> Option<u64> {
        self.at += 8;
        u64_le(self.bytes, self.at - 8)
    }

    fn count(&mut self) -> Option<u64> {
        self.at += 8;
        count_le(self.bytes, self.at - 8)
    }

    fn generation(&mut self) -> Option<Generation> {
        self.u64().map(Generation).filter(|generation| generation.number() < COUNT_END)
    }

    fn compacted(&mut self) -> Option<Compacted> {
        let (log, segments) = (LogId(self.u32()?), self.u32()?);
        let (end, clean_end, clean_bytes) = (self.count()?, self.count()?, self.count()?);
        let segments = (0..segments).map(|_| self.u32()).collect::<Option<_>>()?;
        Some(Compacted { log, end, clean_end, clean_bytes, segments })
    }

    fn log(&mut self) -> Option<LogState> {
        let log = LogId(self.u32()?);
        let count = self.u32()?;
        let (start, next) = (self.count()?, self.count()?);
        let mut producers = Vec::new();
        for _ in 0..count {
            let id = self.u64()? as i64;
            let epoch = self.u32()? as u16 as i16;
            let mut producer = Producer { epoch, ..Producer::default() };
            for _ in 0..self.u32()? {
                producer.recent.push_back(Accepted {
                    first: self.u32()? as i32,
                    last: self.u32()? as i32,
                    base_offset: self.count()?,
                });
            }
            producers.push((id, producer));
        }
        Some(LogState { log, start, next, producers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let recent = [Accepted { first: 0, last: 4, base_offset: 10 }].into();
        let mut logs = LogStates::default();
        logs.push(&LogState {
            log: LogId(5),
            start: 2,
            next: 15,
            producers: vec![(9, Producer { epoch: 1, recent, ..Producer::default() })],
        });
        logs.push(&LogState { log: LogId(6), start: 0, next: 0, producers: vec![] });
        Checkpoint {
            through: 3,
            next_seq: 77,
            next_sorted: 2,
            segments: vec![Sealed {
                generation: Generation(3),
                first_seq: 1,
                next_seq: 77,
                data_end: 9 << 12,
            }],
            trims: vec![(LogId(6), 40)],
            compacted: vec![
                Compacted { log: LogId(5), end: 12, clean_end: 11, clean_bytes: 99, segments: vec![1, 7] },
                Compacted { log: LogId(6), end: 3, clean_end: 3, clean_bytes: 0, segments: vec![] },
            ],
            logs: Arc::new(logs),
        }
    }

    #[test]
    fn it_reads_back_and_belongs_to_one_shard() {
        let bytes = sample().encode(ShardId(1));
        assert_eq!(Checkpoint::decode(ShardId(1), &bytes), Some(sample()));
        assert_eq!(Checkpoint::decode(ShardId(2), &bytes), None);
        assert_eq!(sample().logs.decode().len(), 2);
    }

    #[test]
    fn counters_that_nothing_reaches_are_not_believed() {
        let with = |change: fn(&mut Checkpoint, u64), count| {
            let mut checkpoint = sample();
            change(&mut checkpoint, count);
            Checkpoint::decode(ShardId(1), &checkpoint.encode(ShardId(1)))
        };
        let changes: [fn(&mut Checkpoint, u64); 6] = [
            |checkpoint, count| checkpoint.through = count,
            |checkpoint, count| checkpoint.next_seq = count,
            |checkpoint, count| checkpoint.segments[0].generation = Generation(count),
            |checkpoint, count| checkpoint.segments[0].data_end = count,
            |checkpoint, count| checkpoint.trims[0].1 = count,
            |checkpoint, count| checkpoint.compacted[0].end = count,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(with(change, COUNT_END - 1).is_some(), "change {number}");
            assert_eq!(with(change, COUNT_END), None, "change {number}");
        }
    }

    #[test]
    fn what_was_compacted_counts_where_the_last_pass_wrote_it_and_nowhere_else() {
        let compacted = sample().compacted.remove(0);
        let replaced = |generation, end| compacted.replaces(generation, end);
        assert!(replaced(Generation(1), 12) && replaced(Generation::sorted(2), 5));
        assert!(!replaced(Generation::sorted(1), 12) && !replaced(Generation::sorted(7), 5));
        assert!(replaced(Generation(7), 12) && !replaced(Generation(7), 13));
    }

    #[test]
    fn damage_to_one_copy_is_healed_and_to_both_is_found() {
        let good = sample().encode(ShardId(1)).to_vec();
        let copy = good.len() / 2;
        let meaning = HEADER_BYTES + u64_le(&good, 32).unwrap() as usize;
        for at in 0..meaning {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(Checkpoint::decode(ShardId(1), &bad), Some(sample()), "byte {at}");
            bad[copy + at] ^= 0x10;
            assert_eq!(Checkpoint::decode(ShardId(1), &bad), None, "byte {at} of both");
        }
    }
}
