//! From located batches to their bytes: reads the extents, checks each batch, joins neighbours.
//!
//! Each batch is checked against its index entry and its checksum before a reader gets it. Extents are read side by side,
//! and no reader waits for another one. Sealed segments are read through the system's page cache: what was read ahead, or
//! for another reader, is there already.

use std::ops::Range;

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::error::ReadError;
use crate::ids::{Generation, LogId, Offset};
use crate::log::format::check_entry;
use crate::shard::inner::Inner;

use super::batches::Batches;
use super::extents::{Extent, extents};
use super::located::{Failed, Located};
use super::opened::Kind;

impl Inner {
    /// Reads located batches, and checks them.
    pub(crate) async fn fetch(&self, located: &[Located], offset: Offset) -> Result<Batches, Failed> {
        let extents = extents(located);
        let reads = extents.iter().map(|extent| async {
            let generation = extent.batches[0].generation;
            self.read_segment(generation, &extent.range).await.map_err(|e| (Some(generation), e))
        });
        let read = try_join_all(reads).await?;
        let mut out = Batches { next_offset: offset, ..Batches::default() };
        for (extent, bytes) in extents.iter().zip(&read) {
            let generation = extent.batches[0].generation;
            self.take_batches(extent, bytes, &mut out).map_err(|e| (Some(generation), e))?;
            // Checksums are most of the work: other tasks have their turn in between.
            tokio::task::yield_now().await;
        }
        Ok(out)
    }

    /// Checks the batches of an extent, and joins neighbours.
    fn take_batches(&self, extent: &Extent<'_>, bytes: &Bytes, out: &mut Batches) -> Result<(), ReadError> {
        let mut stretch: Option<(usize, usize, Offset)> = None;
        for batch in extent.batches {
            let entry = &batch.entry;
            let at = (u64::from(entry.position) - extent.range.start) as usize;
            let to = at + entry.len as usize;
            check_entry(&entry.in_directory(LogId(0)), &bytes[at..to]).map_err(|cause| {
                let what = cause.map_or("another batch than the index names".to_owned(), |c| c.to_string());
                self.damaged(batch.generation, u64::from(entry.position), what)
            })?;
            match &mut stretch {
                Some((_, end, next)) if *end == at => (*end, *next) = (to, entry.end()),
                other => {
                    if let Some((from, end, next)) = other.replace((at, to, entry.end())) {
                        out.push(bytes.slice(from..end), next);
                    }
                }
            }
        }
        if let Some((from, end, next)) = stretch {
            out.push(bytes.slice(from..end), next);
        }
        Ok(())
    }

    async fn read_segment(&self, generation: Generation, range: &Range<u64>) -> Result<Bytes, ReadError> {
        let kind = if self.state.borrow().is_unsealed(generation) { Kind::Unsealed } else { Kind::Sealed };
        let file = self.open_file(generation, kind, range.start).await?;
        let buf = self.reads.memory.take((range.end - range.start) as usize);
        let read = self.read_paced(&file, range.start, buf).await;
        read.map_err(|cause| ReadError::Io {
            shard: self.dir.identity.shard,
            generation,
            position: range.start,
            cause,
        })
    }
}
