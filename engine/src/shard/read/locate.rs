//! Where batches lie on the disk: through the index of a sealed segment, or the list of what is not sealed yet.

use crate::disk::DiskFile;
use std::ops::Range;
use std::rc::Rc;

use crate::aligned::BLOCK;
use crate::error::ReadError;
use crate::ids::{Generation, Offset};
use crate::log::index::{ENTRIES_PER_BLOCK, IndexEntry, decode_entries};
use crate::partition::{Partition, Run, Whereabouts};

use super::opened::Kind;
use crate::shard::{Inner, PartitionRef, Shard, State};

/// Sealed segments of which one read takes something.
const RUNS_MAX: usize = 32;
/// Bytes of an index that are read at once.
const INDEX_READ_BYTES: u64 = 64 << 10;

/// One batch on the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub generation: Generation,
    pub entry: IndexEntry,
}

/// Bytes of batches.
pub(crate) fn bytes_of(batches: &[Located]) -> usize {
    batches.iter().map(|b| b.entry.len as usize).sum()
}

/// An error, and the segment that was read then, if it came to that.
pub(crate) type Failed = (Option<Generation>, ReadError);

/// Entries of one index block.
pub(crate) struct Entries {
    block: Rc<[IndexEntry]>,
    range: Range<usize>,
}

impl std::ops::Deref for Entries {
    type Target = [IndexEntry];

    fn deref(&self) -> &[IndexEntry] {
        &self.block[self.range.clone()]
    }
}

impl Shard {
    /// Finds where batches lie that are not in memory, from the one that holds `offset` up to `bytes_max` bytes of
    /// them: in one sealed segment after the other, or in those that are not sealed yet.
    pub(crate) async fn locate(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Located>, Failed> {
        let (runs, high_watermark) = {
            let state = self.inner.state.borrow();
            let partition = state.check_range(at, offset).map_err(|e| (None, e))?;
            match partition.find(offset, state.sealed_below) {
                Some(Whereabouts::Tail(index)) => {
                    state.tail.missed();
                    return Ok(state.locate_unsealed(partition, index, bytes_max));
                }
                Some(Whereabouts::Run(index)) => {
                    let runs = partition.runs.get(index..).unwrap_or_default();
                    (runs.iter().take(RUNS_MAX).copied().collect::<Vec<_>>(), partition.high_watermark)
                }
                None => {
                    let what = format!("no batch holds offset {offset} of log {}", at.log());
                    return Err((None, self.inner.damaged(Generation(0), 0, what)));
                }
            }
        };
        let mut out = Vec::new();
        let mut left = bytes_max;
        for run in runs {
            match self.inner.locate_in(&run, offset, high_watermark, &mut left, &mut out).await {
                Ok(true) => {}
                Ok(false) => break,
                // What lies before it can be read; who reads on meets the error again.
                Err(_) if !out.is_empty() => break,
                Err(e) => return Err((Some(run.generation), e)),
            }
        }
        Ok(out)
    }
}

impl State {
    fn locate_unsealed(&self, partition: &Partition, index: usize, bytes_max: usize) -> Vec<Located> {
        let (mut out, mut bytes) = (Vec::new(), 0);
        for batch in partition.tail.range(index..) {
            let next = batch.base_offset + u64::from(batch.span);
            let full = !out.is_empty() && bytes + batch.len as usize > bytes_max;
            if full || next > partition.high_watermark || self.tail.holds(batch.seq) {
                break;
            }
            let Some((generation, position)) = self.place(batch.seq) else { break };
            bytes += batch.len as usize;
            let entry = IndexEntry {
                base_offset: batch.base_offset,
                position: (position + u64::from(batch.at)) as u32,
                len: batch.len,
                span: batch.span,
                max_timestamp: batch.max_timestamp,
            };
            out.push(Located { generation, entry });
        }
        out
    }
}

impl Inner {
    /// Adds batches of one run, from the one that holds `offset`, and takes their bytes off `left`.
    /// `false`: there is no room for more.
    async fn locate_in(
        &self,
        run: &Run,
        offset: Offset,
        high_watermark: Offset,
        left: &mut usize,
        out: &mut Vec<Located>,
    ) -> Result<bool, ReadError> {
        let mut number = if offset <= run.base_offset { 0 } else { self.find_entry(run, offset).await? };
        while number < run.entries {
            let block = self.entries_from(run, number).await?;
            for entry in block.iter() {
                let full = !out.is_empty() && entry.len as usize > *left;
                if full || entry.end() > high_watermark {
                    return Ok(false);
                }
                *left = left.saturating_sub(entry.len as usize);
                out.push(Located { generation: run.generation, entry: *entry });
            }
            number += block.len() as u32;
        }
        Ok(*left > 0)
    }

    /// Number, within the run, of the entry of the batch that holds `offset` or is the first behind it.
    /// Guesses by proportion, then narrows block by block.
    async fn find_entry(&self, run: &Run, offset: Offset) -> Result<u32, ReadError> {
        let (mut low, mut high) = (0u32, run.entries);
        let (mut low_offset, mut high_offset) = (run.base_offset, run.next_offset);
        while low < high {
            let share = u128::from(offset.saturating_sub(low_offset)) * u128::from(high - low);
            let guess = low + (share / u128::from((high_offset - low_offset).max(1))) as u32;
            let guess = guess.clamp(low, high - 1);
            let start = self.block_start(run, guess);
            let block = self.entries_from(run, start).await?;
            let (Some(first), Some(last)) = (block.first(), block.last()) else { break };
            if offset < first.base_offset {
                (high, high_offset) = (start, first.base_offset);
            } else if offset >= last.end() {
                (low, low_offset) = (start + block.len() as u32, last.end());
            } else {
                let before = block.partition_point(|e| e.end() <= offset);
                return Ok(start + before as u32);
            }
        }
        if low < run.entries {
            return Ok(low);
        }
        Err(self.damaged(run.generation, 0, format!("its index names no batch with offset {offset}")))
    }

    /// The first entry of the run in the index block that holds entry `number` of the run.
    fn block_start(&self, run: &Run, number: u32) -> u32 {
        let absolute = run.first_entry + number;
        (absolute - absolute % ENTRIES_PER_BLOCK as u32).saturating_sub(run.first_entry)
    }

    /// The entries of the run from `number` to the end of that index block.
    pub(crate) async fn entries_from(&self, run: &Run, number: u32) -> Result<Entries, ReadError> {
        let entries_block = {
            let state = self.state.borrow();
            state.segments.get(&run.generation).map(|s| s.entries_block).ok_or(ReadError::UnknownPartition)?
        };
        let absolute = run.first_entry + number;
        let block_number = entries_block + absolute / ENTRIES_PER_BLOCK as u32;
        let block = self.index_block(run.generation, block_number).await?;
        let from = absolute as usize % ENTRIES_PER_BLOCK;
        let to = (from + (run.entries - number) as usize).min(block.len());
        match block.get(from..to) {
            Some(entries) if !entries.is_empty() => Ok(Entries { block, range: from..to }),
            _ => Err(self.damaged(run.generation, 0, format!("index block {block_number} ends early"))),
        }
    }

    /// A block of an index. What lies near it is read with it, and is in the page cache then.
    async fn index_block(&self, generation: Generation, number: u32) -> Result<Rc<[IndexEntry]>, ReadError> {
        if let Some(known) = self.opened.borrow().block(generation, number) {
            return Ok(known);
        }
        let at = u64::from(number) * BLOCK as u64;
        let io = |cause| ReadError::Io { shard: self.identity.shard, generation, position: at, cause };
        let file = self.open_file(generation, Kind::Index, at).await?;
        let near = at - at % INDEX_READ_BYTES;
        let size = file.size().await.map_err(io)?;
        let end = size.next_multiple_of(BLOCK as u64).min(near + INDEX_READ_BYTES);
        let block = self.read_block(&file, near..end.max(at + BLOCK as u64), at).await.map_err(io)?;
        let entries = decode_entries(self.identity.shard, generation, number, &block);
        let entries: Rc<[IndexEntry]> = entries.map(Rc::from).ok_or_else(|| {
            let what = format!(
                "index block {number} is damaged; a restart derives it anew once the index file is removed"
            );
            self.damaged(generation, at, what)
        })?;
        if self.state.borrow().exists(generation) {
            self.opened.borrow_mut().keep_block(generation, number, &entries);
        }
        Ok(entries)
    }
}
