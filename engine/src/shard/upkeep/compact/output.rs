//! The segments that a pass of compaction writes.

use std::io;
use std::rc::Rc;

use crate::compaction::KeyOffsets;
use crate::ids::{LogId, Offset};
use crate::log::index::{Index, IndexEntry};
use crate::record_batch::{self, RecordBatch};
use crate::shard::inner::Inner;
use crate::shard::segments::free::discard;
use crate::shard::upkeep::sorted_writer::{Origin, SortedWriter};

/// Smallest size at which a segment is followed by another.
const SPLIT_BYTES_MIN: u64 = 1 << 20;
/// Bytes of a segment's file beyond those of its batches, for the headers and directories of its commits.
const SPARE_BYTES: u64 = 1 << 20;

/// The segments that a pass writes.
pub struct Output<'a> {
    inner: &'a Rc<Inner>,
    log: LogId,
    /// Records below this offset are clean.
    clean_end: Offset,
    /// A segment of this size is followed by another.
    split: u64,
    /// Most bytes that are still to be written.
    pub bytes_left: u64,
    /// The segment that is being written.
    writer: Option<SortedWriter>,
    /// The segments that were written.
    indexes: Vec<Index>,
    /// Clean bytes in the segment that is being written.
    clean_bytes: u64,
    /// Clean bytes in the segment in which the dirty part begins, once it has begun.
    clean_beside_dirty: Option<u64>,
}

impl<'a> Output<'a> {
    /// Without a segment. `keys` are those of the pass.
    pub fn new(inner: &'a Rc<Inner>, log: LogId, keys: &KeyOffsets) -> Self {
        let split = inner.options.segment_bytes.max(SPLIT_BYTES_MIN);
        let (writer, indexes) = (None, Vec::new());
        let (clean_bytes, clean_beside_dirty) = (0, None);
        let clean_end = keys.end();
        Self { inner, log, clean_end, split, bytes_left: 0, writer, indexes, clean_bytes, clean_beside_dirty }
    }

    /// Writes a batch of the partition. Batches come by offset.
    pub async fn push(&mut self, batch: &[u8]) -> io::Result<()> {
        let malformed = || io::Error::other("bytes that were read are not a record batch");
        let view = RecordBatch::peek(batch).ok_or_else(malformed)?;
        let base_offset = record_batch::base_offset(batch).ok_or_else(malformed)?;
        if self.writer.as_ref().is_some_and(|w| w.len() + batch.len() as u64 > self.split) {
            self.finish().await?;
        }
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let number = self.inner.state.borrow_mut().segments.take_sorted();
                let number = number.ok_or_else(|| io::Error::other("no number is left for a segment"))?;
                self.clean_bytes = 0;
                let bytes = self.bytes_left.min(self.split) + SPARE_BYTES;
                SortedWriter::create(self.inner, number, Origin::Compacted, bytes).await?
            }
        };
        if !writer.fits(batch.len()) {
            let flushed = writer.flush(self.inner, batch.len()).await;
            if let Err(e) = flushed {
                self.writer = Some(writer);
                return Err(e);
            }
        }
        let (len, span, max_timestamp) = (batch.len() as u32, view.span, view.max_timestamp);
        let entry = IndexEntry { base_offset, position: 0, len, span, max_timestamp };
        writer.push(self.log, &entry, batch);
        self.writer = Some(writer);
        self.bytes_left = self.bytes_left.saturating_sub(batch.len() as u64);
        if entry.end() <= self.clean_end {
            self.clean_bytes += batch.len() as u64;
        } else {
            self.clean_beside_dirty.get_or_insert(self.clean_bytes);
        }
        Ok(())
    }

    /// Ends the segment that is being written.
    pub async fn finish(&mut self) -> io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let generation = writer.generation();
        match writer.finish(self.inner).await {
            Ok(index) => self.indexes.push(index),
            Err(e) => {
                discard(self.inner, generation).await?;
                return Err(e);
            }
        }
        Ok(())
    }

    /// The indexes of what was written, and the clean bytes in the segment in which the dirty part begins.
    pub fn take(self) -> (Vec<Index>, u64) {
        (self.indexes, self.clean_beside_dirty.unwrap_or(0))
    }

    /// Removes what was written.
    pub async fn discard(self) -> io::Result<()> {
        let open = self.writer.map(|w| w.generation());
        for generation in self.indexes.iter().map(|i| i.sealed.generation).chain(open) {
            discard(self.inner, generation).await?;
        }
        Ok(())
    }
}
