//! Batches as readers get them.

use bytes::Bytes;

use crate::ids::Offset;
use crate::record_batch;

/// Batches as stored, in offset order. Neighbours in memory are one slice.
#[derive(Debug, Clone, Default)]
pub struct Batches {
    /// The bytes.
    pub slices: Vec<Bytes>,
    /// Bytes of all slices.
    pub bytes: usize,
    /// Offset after the last record. Without batches: the offset that was asked for.
    pub next_offset: Offset,
}

/// The answer of a read from memory.
#[derive(Debug)]
pub enum Cached {
    /// Batches from memory. At the high watermark there are none.
    Here(Batches),
    /// The batches are on the disk: use [`Shard::read`](crate::shard::Shard::read).
    OnDisk,
}

/// What a partition has for a reader, before anything is read from the disk.
#[derive(Debug)]
pub enum Offer {
    /// Batches from memory. At the high watermark there are none.
    Here(Batches),
    /// The batches are on the disk.
    OnDisk {
        /// Bytes of whole batches that can be read.
        bytes: usize,
        /// Bytes of the first batch.
        first: usize,
    },
}

impl Batches {
    /// Adds batches behind the others; `next_offset` is the offset after their last record.
    #[doc(hidden)]
    pub fn push(&mut self, slice: Bytes, next_offset: Offset) {
        self.bytes += slice.len();
        self.next_offset = next_offset;
        self.slices.push(slice);
    }

    /// Whether the first batch begins at this offset or before it.
    #[doc(hidden)]
    pub fn begin_by(&self, offset: Offset) -> bool {
        let first = self.slices.first().and_then(|s| record_batch::base_offset(s));
        first.is_some_and(|base| base <= offset)
    }

    /// The batches, one by one.
    pub fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.slices.iter().flat_map(|slice| {
            let mut rest = &slice[..];
            std::iter::from_fn(move || {
                let (batch, after) = rest.split_at_checked(record_batch::total_len(rest)?)?;
                rest = after;
                Some(batch)
            })
        })
    }

    /// Bytes of the first batch; 0 if there is none.
    pub fn first_len(&self) -> usize {
        self.slices.first().and_then(|s| record_batch::total_len(s)).unwrap_or(0)
    }

    /// Takes whole batches from the front, at least one, and at most `bytes_max` bytes of them.
    pub fn split_front(&mut self, bytes_max: usize) -> Self {
        if self.bytes <= bytes_max {
            return std::mem::take(self);
        }
        let mut front = Self { next_offset: self.next_offset, ..Self::default() };
        while let Some(first) = self.slices.first_mut() {
            let mut end = 0;
            while let Some(len) = first.get(end..).and_then(record_batch::total_len) {
                if front.bytes + end > 0 && front.bytes + end + len > bytes_max {
                    break;
                }
                front.next_offset = record_batch::end_offset(&first[end..]).unwrap_or(front.next_offset);
                end += len;
            }
            let whole = end >= first.len();
            if end > 0 {
                let slice = first.split_to(end);
                self.bytes -= end;
                front.bytes += end;
                front.slices.push(slice);
            }
            if !whole {
                break;
            }
            self.slices.remove(0);
        }
        front
    }
}
