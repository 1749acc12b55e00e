//! A commit while it is being filled in memory.
//!
//! Batches are copied in once, next to each other, directly into the memory that is written to the disk and that readers
//! are served from afterwards. The directory is written behind the batches when the commit is closed. The header is
//! written when the commit is submitted, because only then its place is known.

use std::task::Waker;

use bytes::Bytes;

use crate::aligned::{AlignedBuf, BLOCK};
use crate::ids::{CommitSeq, LogId, Offset};
use crate::record_batch;
use crate::records::Restated;

use super::format::{
    COMMIT_HEADER_BYTES, CommitHeader, ENTRY_BYTES, Entry, LEADER_EPOCH, Place, commit_len, directory_start,
};

/// A batch in a commit, and the slot of its partition in the shard.
#[derive(Debug, Clone, Copy)]
pub struct Slotted {
    /// The entry of the directory.
    pub entry: Entry,
    /// Slot of the partition.
    pub slot: u32,
}

/// A commit that takes batches.
pub struct OpenCommit {
    /// The sequence that the commit will have.
    pub seq: CommitSeq,
    buf: AlignedBuf,
    payload_len: usize,
    /// Whether the commit is written even if it is empty.
    marked: bool,
    /// The batches of the commit.
    pub entries: Vec<Slotted>,
    /// Tasks that wait until it is durable.
    pub waiters: Vec<Waker>,
}

/// A commit that is complete but for its header: its place is not known yet.
pub struct ClosedCommit {
    /// Sequence of the commit.
    pub seq: CommitSeq,
    buf: AlignedBuf,
    payload_len: usize,
    directory_crc: u32,
    /// The batches of the commit.
    pub entries: Vec<Slotted>,
    /// Tasks that wait until it is durable.
    pub waiters: Vec<Waker>,
}

impl OpenCommit {
    /// An empty commit that will be built in `buf`.
    pub fn new(seq: CommitSeq, buf: AlignedBuf) -> Self {
        Self { seq, buf, payload_len: 0, marked: false, entries: Vec::new(), waiters: Vec::new() }
    }

    /// Whether the commit need not be written.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.marked
    }

    /// Has the commit written even if it stays empty, for what its header states.
    pub fn mark(&mut self) {
        assert!(self.fits(0), "the caller checks that it fits");
        if self.is_empty() {
            self.buf.put(0, &[0; COMMIT_HEADER_BYTES]);
        }
        self.marked = true;
    }

    /// Bytes on disk with the present batches; 0 when empty.
    pub fn disk_len(&self) -> usize {
        if self.is_empty() { 0 } else { commit_len(self.payload_len, self.entries.len()) }
    }

    /// Bytes on disk with one more batch of `len` bytes.
    pub fn disk_len_with(&self, len: usize) -> usize {
        commit_len(self.payload_len + len, self.entries.len() + 1)
    }

    /// Whether a batch of `len` bytes fits the memory.
    pub fn fits(&self, len: usize) -> bool {
        self.disk_len_with(len) <= self.buf.capacity()
    }

    /// Copies a batch in, writes its base offset and leader epoch into the copy, and returns the position of the copy.
    /// `read_soon`: a reader will want the batch while the processor's caches can still hold it.
    pub fn push(&mut self, batch: &[u8], mut slotted: Slotted, read_soon: bool) -> u32 {
        assert!(self.fits(batch.len()), "the caller checks that the batch fits");
        if self.is_empty() {
            self.buf.put(0, &[0; COMMIT_HEADER_BYTES]);
        }
        let at = COMMIT_HEADER_BYTES + self.payload_len;
        if read_soon {
            self.buf.put(at, batch);
        } else {
            self.buf.put_past_cache(at, batch);
        }
        record_batch::patch(&mut self.buf.as_mut_slice()[at..], slotted.entry.base_offset, LEADER_EPOCH);
        self.payload_len += batch.len();
        slotted.entry.at = at as u32;
        self.entries.push(slotted);
        at as u32
    }

    /// Writes header fields into the copy of a batch that was pushed to `at`.
    pub fn restate(&mut self, at: u32, fields: &Restated) {
        fields.write_to(&mut self.buf.as_mut_slice()[at as usize..]);
    }

    /// States a new log start offset.
    pub fn push_trim(&mut self, log: LogId, slot: u32, offset: Offset) {
        assert!(self.fits(0), "the caller checks that the entry fits");
        if self.is_empty() {
            self.buf.put(0, &[0; COMMIT_HEADER_BYTES]);
        }
        let at = (COMMIT_HEADER_BYTES + self.payload_len) as u32;
        self.entries.push(Slotted { entry: Entry { at, ..Entry::trim(log, offset) }, slot });
    }

    /// Memory left for the next commit once this one is closed.
    pub fn room(&self) -> usize {
        self.buf.capacity() - self.disk_len()
    }

    /// Goes on in other memory. Only while the commit is empty.
    pub fn renew(&mut self, buf: AlignedBuf) {
        assert!(self.is_empty(), "a commit stays in its memory");
        self.buf = buf;
    }

    /// Writes the directory and returns the commit. `self` becomes the next commit, empty, in the rest of the memory.
    pub fn close(&mut self) -> ClosedCommit {
        assert!(!self.is_empty(), "an empty commit is never written");
        let start = directory_start(self.payload_len);
        let len = self.disk_len();
        self.buf.fill_zero(COMMIT_HEADER_BYTES + self.payload_len, start);
        let mut at = start;
        for slotted in &self.entries {
            self.buf.put(at, &slotted.entry.encode());
            at += ENTRY_BYTES;
        }
        let directory_crc = crc32c::crc32c(&self.buf.as_slice()[start..at]);
        self.buf.fill_zero(at, len);
        let like_this = self.entries.len();
        let closed = ClosedCommit {
            seq: self.seq,
            buf: self.buf.split_front(len),
            payload_len: self.payload_len,
            directory_crc,
            entries: std::mem::replace(&mut self.entries, Vec::with_capacity(like_this)),
            waiters: std::mem::take(&mut self.waiters),
        };
        self.seq += 1;
        self.payload_len = 0;
        self.marked = false;
        closed
    }
}

impl ClosedCommit {
    /// Bytes on disk.
    pub fn disk_len(&self) -> usize {
        self.buf.capacity()
    }

    /// Writes the header for this place, and freezes the bytes.
    pub fn seal(mut self, place: Place, durable_below: CommitSeq) -> (Bytes, Vec<Slotted>, Vec<Waker>) {
        let header = CommitHeader {
            place,
            seq: self.seq,
            durable_below,
            payload_len: self.payload_len as u32,
            entries: self.entries.len() as u32,
            directory_crc: self.directory_crc,
        };
        assert_eq!(header.total_len(), self.buf.capacity(), "length in the header and in memory differ");
        assert!(place.position.is_multiple_of(BLOCK as u64), "commits begin on a block");
        self.buf.as_mut_slice()[..COMMIT_HEADER_BYTES].copy_from_slice(&header.encode());
        let len = self.buf.capacity();
        (self.buf.split_to_bytes(len), self.entries, self.waiters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Generation, ShardId};
    use crate::log::format::{CommitError, check_commit};

    fn commit() -> (Place, Vec<u8>) {
        let mut open = OpenCommit::new(5, AlignedBuf::uninit(4 * BLOCK));
        for base_offset in [10, 12] {
            let batch = record_batch::build(&[(b"k", b"one"), (b"k", b"two")], 3);
            let entry = Entry {
                log: LogId(1),
                len: batch.len() as u32,
                at: 0,
                span: 2,
                base_offset,
                max_timestamp: 3,
            };
            open.push(&batch, Slotted { entry, slot: 0 }, base_offset == 10);
        }
        let closed = open.close();
        assert_eq!((open.room(), open.seq), (3 * BLOCK, 6));
        let place = Place { shard: ShardId(1), generation: Generation(9), position: BLOCK as u64 };
        (place, closed.seal(place, 5).0.to_vec())
    }

    #[test]
    fn what_is_sealed_checks_and_lists_its_batches() {
        let (place, bytes) = commit();
        let header = CommitHeader::decode(&bytes, place).unwrap();
        let entries = check_commit(&header, &bytes).unwrap();
        assert_eq!(entries.iter().map(|e| e.base_offset).collect::<Vec<_>>(), [10, 12]);
    }

    #[test]
    fn a_commit_is_refused_in_any_other_place() {
        let (place, bytes) = commit();
        for other in [
            Place { shard: ShardId(2), ..place },
            Place { generation: Generation(8), ..place },
            Place { position: 2 * BLOCK as u64, ..place },
        ] {
            assert_eq!(CommitHeader::decode(&bytes, other), None);
        }
    }

    #[test]
    fn every_flipped_byte_of_a_commit_is_found() {
        let (place, good) = commit();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            let found = CommitHeader::decode(&bad, place).map(|h| check_commit(&h, &bad));
            assert!(!matches!(found, Some(Ok(_))), "byte {at}");
        }
        assert!(matches!(CommitHeader::decode(&good, place).map(|h| check_commit(&h, &good)), Some(Ok(_))));
    }

    #[test]
    fn a_truncated_commit_is_refused() {
        let (place, bytes) = commit();
        let header = CommitHeader::decode(&bytes, place).unwrap();
        assert_eq!(check_commit(&header, &bytes[..BLOCK / 2]), Err(CommitError::Lengths));
    }
}
