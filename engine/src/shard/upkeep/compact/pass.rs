//! One pass over a partition: the latest offset of each key in the dirty part is collected, then what is left of the
//! whole sealed part is written.

use std::collections::TryReserveError;
use std::io;
use std::rc::Rc;

use crate::compaction::{KeyOffsets, Pass, Rewritten};
use crate::error::ReadError;
use crate::ids::Offset;
use crate::log::checkpoint::Compacted;
use crate::log::sealed::Run;
use crate::record_batch;
use crate::records::RecordsError;
use crate::shard::counters::Counters;
use crate::shard::handle::Shard;
use crate::shard::inner::Inner;
use crate::shard::partitions::PartitionRef;
use crate::shard::state::State;
use crate::shard::upkeep::pace::Pace;

use super::exchange::exchange;
use super::output::Output;
use super::plan::Plan;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// Bytes of records looked at without a pause for others.
const WORK_BYTES: usize = 128 << 10;
/// Most bytes of a batch's records when uncompressed. A partition with a larger one is not compacted.
const RECORDS_BYTES_MAX: usize = 64 << 20;

/// Why a pass did not take effect.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The partition could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The records of a batch are malformed.
    #[error("the batch at offset {offset}: {cause}")]
    Records { offset: Offset, cause: RecordsError },
    /// There is no memory for the keys.
    #[error("no memory for its keys: {0}")]
    Memory(#[from] TryReserveError),
    /// What is left could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The shard stops or has failed, or the partition is gone.
    #[error("the shard ends")]
    Ends,
}

/// Compacts a partition, in as many passes as its keys need.
pub async fn compact(inner: &Rc<Inner>, at: PartitionRef, pace: &mut Pace) -> Result<(), PassError> {
    loop {
        let now_ms = inner.state.borrow().clock.now_ms().unwrap_or(0);
        let Some(plan) = inner.state.borrow().partitions.get(at).and_then(|p| p.plan(now_ms)) else {
            return Ok(());
        };
        let Some(keys) = collect_keys(inner, at, &plan, pace).await? else {
            inner.state.borrow_mut().settle(at, &plan);
            return Ok(());
        };
        let full = keys.full;
        let mut output = Output::new(inner, at.log(), &keys.offsets);
        let end = match rewrite_all(inner, at, &plan, &keys.offsets, &mut output, pace).await {
            Ok(end) => end,
            Err(e) => {
                output.discard().await?;
                return Err(e);
            }
        };
        let (log, clean_end) = (at.log(), keys.offsets.end());
        drop(keys);
        let (indexes, clean_bytes) = output.take();
        let segments = indexes.iter().map(|i| i.sealed.generation.number() as u32).collect();
        let compacted = Compacted { log, end, clean_end, clean_bytes, segments };
        if !exchange(inner, at, compacted, indexes).await? {
            return Err(PassError::Ends);
        }
        if !full {
            inner.state.borrow_mut().settle(at, &plan);
            return Ok(());
        }
    }
}

struct Keys {
    offsets: KeyOffsets,
    /// There is no memory for more keys: another pass follows.
    full: bool,
}

/// Collects the latest offsets of the keys in the dirty part. `None`: there is nothing that may be cleaned.
async fn collect_keys(
    inner: &Rc<Inner>,
    at: PartitionRef,
    plan: &Plan,
    pace: &mut Pace,
) -> Result<Option<Keys>, PassError> {
    let shard = Shard { inner: Rc::clone(inner) };
    let records = usize::try_from(plan.end - plan.clean_end).unwrap_or(usize::MAX);
    let mut offsets = KeyOffsets::new(plan.clean_end, inner.options.compaction_keys_bytes, records)?;
    let (mut full, mut worked) = (false, 0);
    let mut next = plan.clean_end;
    'read: while next < plan.end {
        if !pace.turn(inner).await {
            return Err(PassError::Ends);
        }
        let batches = shard.read_disk(at, next, READ_BYTES).await?;
        Counters::add(&inner.counters.background_bytes, batches.bytes as u64);
        // What was read may reach beyond what the pass covers.
        for batch in batches.each().take_while(|b| begins_below(b, plan.end)) {
            let is_last = record_batch::end_offset(batch).is_none_or(|end| end >= plan.end);
            if is_last && plan.is_last {
                break 'read;
            }
            if !offsets.add(batch, RECORDS_BYTES_MAX).map_err(|cause| in_batch(batch, cause))? {
                full = true;
                break 'read;
            }
            pause(batch, &mut worked).await;
        }
        next = batches.next_offset;
    }
    Ok((offsets.end() > plan.clean_end).then_some(Keys { offsets, full }))
}

/// Writes what is left of all runs that the keys cover. Returns the end of the last of these runs.
async fn rewrite_all(
    inner: &Rc<Inner>,
    at: PartitionRef,
    plan: &Plan,
    keys: &KeyOffsets,
    output: &mut Output<'_>,
    pace: &mut Pace,
) -> Result<Offset, PassError> {
    let shard = Shard { inner: Rc::clone(inner) };
    let now_ms = inner.state.borrow().clock.now_ms().unwrap_or(0);
    let delete_retention_ms = plan.policy.delete_retention_ms;
    let pass = Pass { keys, now_ms, delete_retention_ms, limit: RECORDS_BYTES_MAX };
    let end = {
        let state = inner.state.borrow();
        let partition = state.partitions.get(at).ok_or(ReadError::UnknownPartition)?;
        let covered = partition.runs.iter().find(|r| r.next_offset >= keys.end());
        let end = covered.map_or(plan.end, |r| r.next_offset);
        output.bytes_left = partition.runs.iter().filter(|r| r.next_offset <= end).map(rewritten_bytes).sum();
        end
    };
    let (mut next, mut worked) = (plan.start, 0);
    while next < end {
        if !pace.turn(inner).await {
            return Err(PassError::Ends);
        }
        let batches = shard.read_disk(at, next, READ_BYTES).await?;
        Counters::add(&inner.counters.background_bytes, batches.bytes as u64);
        for batch in batches.each().take_while(|b| begins_below(b, end)) {
            match pass.clean(batch).map_err(|cause| in_batch(batch, cause))? {
                Rewritten::Unchanged => output.push(batch).await?,
                Rewritten::Batch(batch) => output.push(&batch).await?,
                Rewritten::Empty => {}
            }
            pause(batch, &mut worked).await;
        }
        next = batches.next_offset;
    }
    output.finish().await?;
    Ok(end)
}

fn begins_below(batch: &[u8], end: Offset) -> bool {
    record_batch::base_offset(batch).is_some_and(|base| base < end)
}

/// Most bytes that a run takes when it is rewritten.
fn rewritten_bytes(run: &Run) -> u64 {
    u64::from(run.bytes) + u64::from(run.entries) * 32
}

fn in_batch(batch: &[u8], cause: RecordsError) -> PassError {
    PassError::Records { offset: record_batch::base_offset(batch).unwrap_or(0), cause }
}

/// Gives way to other tasks after some work.
async fn pause(batch: &[u8], worked: &mut usize) {
    *worked += batch.len();
    if *worked >= WORK_BYTES {
        *worked = 0;
        tokio::task::yield_now().await;
    }
}

impl State {
    /// There is nothing more to do for a partition until it changes.
    fn settle(&mut self, at: PartitionRef, plan: &Plan) {
        if let Some(partition) = self.partitions.get_mut(at) {
            partition.compaction.settled = Some((plan.end, !plan.is_last));
        }
    }
}
