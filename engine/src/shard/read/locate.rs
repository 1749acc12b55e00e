//! Where batches lie on the disk. For sealed segments their indexes state it; for segments that are not sealed yet, the
//! partition's list of recent batches does.

use crate::error::ReadError;
use crate::ids::{Generation, Offset};
use crate::log::index::ENTRIES_PER_BLOCK;
use crate::log::sealed::Run;
use crate::partition::{Partition, Whereabouts};
use crate::shard::handle::Shard;
use crate::shard::inner::Inner;
use crate::shard::partitions::PartitionRef;
use crate::shard::state::State;

use super::located::{Failed, Located};

/// Most sealed segments that one read takes batches from.
const RUNS_MAX: usize = 32;

impl Shard {
    /// Locates batches that are not in memory, from the one that holds `offset` and up to `bytes_max` bytes: in one sealed
    /// segment after the other, or in segments that are not sealed yet.
    pub(crate) async fn locate(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Located>, Failed> {
        let (runs, high_watermark) = {
            let state = self.inner.state.borrow();
            let partition = state.check_range(at, offset).map_err(|e| (None, e))?;
            match partition.find(offset, state.segments.sealed_below) {
                Some(Whereabouts::Recent(index)) => {
                    state.recent.cache.missed();
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
                // The batches before it can be read. The next read meets the error again.
                Err(_) if !out.is_empty() => break,
                Err(e) => return Err((Some(run.generation), e)),
            }
        }
        Ok(out)
    }
}

impl State {
    /// Locates batches that are neither sealed nor in the tail cache, from the recent batch at `index` on.
    fn locate_unsealed(&self, partition: &Partition, index: usize, bytes_max: usize) -> Vec<Located> {
        let (mut out, mut bytes) = (Vec::new(), 0);
        for batch in partition.recent.range(index..) {
            let full = !out.is_empty() && bytes + batch.len as usize > bytes_max;
            if full || batch.end() > partition.high_watermark || self.recent.cache.holds(batch.seq) {
                break;
            }
            let Some((generation, position)) = self.recent.position(batch.seq) else { break };
            bytes += batch.len as usize;
            out.push(Located { generation, entry: batch.index_entry(position) });
        }
        out
    }
}

impl Inner {
    /// Adds batches of one run, from the one that holds `offset`, and subtracts their bytes from `left`. `false`: the read
    /// is full.
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

    /// Number, within the run, of the entry whose batch holds `offset`, or of the first entry behind it. Interpolates
    /// between the offsets at both ends, and narrows the range by one index block at a time.
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
}
