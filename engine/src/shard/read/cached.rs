//! Reading from the tail cache: without a copy, and without the disk.

use crate::error::ReadError;
use crate::ids::Offset;
use crate::partition::{Partition, Whereabouts};
use crate::shard::handle::Shard;
use crate::shard::partitions::PartitionRef;
use crate::shard::state::State;

use super::batches::{Batches, Cached};

impl Shard {
    /// Reads from memory: batches from the one that holds `offset`, up to `bytes_max` bytes.
    pub fn read_cached(
        &self,
        at: PartitionRef,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Cached, ReadError> {
        let state = self.inner.state.borrow();
        let partition = state.check_range(at, offset)?;
        let mut out = Batches { next_offset: offset, ..Batches::default() };
        if offset == partition.high_watermark {
            return Ok(Cached::Here(out));
        }
        let Some(Whereabouts::Recent(index)) = partition.find(offset, state.recent.cache.first()) else {
            return Ok(Cached::OnDisk);
        };
        state.collect_cached(partition, index, bytes_max, &mut out);
        Ok(if out.slices.is_empty() { Cached::OnDisk } else { Cached::Here(out) })
    }
}

impl State {
    /// Collects batches from the tail cache, beginning with the one at `index`, while they are there.
    fn collect_cached(&self, partition: &Partition, index: usize, bytes_max: usize, out: &mut Batches) {
        // Batches that lie next to each other in one commit: its sequence, begin, end, and the offset after them.
        let mut stretch: Option<(u64, usize, usize, Offset)> = None;
        let mut bytes = 0;
        let flush = |stretch: Option<(u64, usize, usize, Offset)>, out: &mut Batches| {
            if let Some((seq, from, to, next)) = stretch
                && let Some(commit) = self.recent.cache.get(seq)
            {
                out.push(commit.slice(from..to), next);
            }
        };
        for batch in partition.recent.range(index..) {
            let next = batch.end();
            let full = bytes > 0 && bytes + batch.len as usize > bytes_max;
            if full || next > partition.high_watermark || batch.seq < self.recent.cache.first() {
                break;
            }
            bytes += batch.len as usize;
            let (from, to) = (batch.at as usize, batch.at as usize + batch.len as usize);
            match &mut stretch {
                Some((seq, _, end, offset)) if *seq == batch.seq && *end == from => {
                    (*end, *offset) = (to, next);
                }
                other => {
                    flush(other.take(), out);
                    *other = Some((batch.seq, from, to, next));
                }
            }
        }
        flush(stretch, out);
    }
}
