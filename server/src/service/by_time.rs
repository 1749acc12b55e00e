//! Offsets by time: where a log starts and ends, the first record from a time on, the record of the largest time.
//!
//! A time gives the first record at or after it, not merely the batch that holds one. Promise: no offset below
//! the log start is ever named, also where the log starts in the midst of a batch: what was deleted does not count.

use std::rc::Rc;

use keylane_engine::shard::{PartitionRef, Shard};
use keylane_engine::{Offset, ReadError};

use crate::core::Core;
use crate::runtime::mesh::call;

use super::error::{NoPartition, ReadRefused};
use super::record_time::{self, RecordTimeError};
use super::topics::Route;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The end of the log: its high watermark.
    End,
    /// The start of the log.
    Start,
    /// The first of the records with the largest time.
    LargestTime,
    /// The first record of this time or a later one, in milliseconds.
    Time(i64),
}

/// An offset, and the time of its record where that was looked for. `None`: there is no such record.
pub type Found = Option<(Offset, Option<i64>)>;

/// Finds an offset, on whatever core the partition lives.
///
/// # Errors
/// [`ReadRefused`] if the partition is gone or what is stored cannot be read.
pub async fn find(core: &Rc<Core>, route: Route, wanted: Wanted) -> Result<Found, ReadRefused> {
    match route {
        Route::Here { shard, at } => find_here(&core.shards[shard], at, wanted).await,
        Route::There { core: to, shard, log } => {
            let found = call(core, to, move |core| async move {
                let shard = &core.shards[shard];
                match shard.partition(log) {
                    Some(at) => find_here(shard, at, wanted).await,
                    None => Err(NoPartition::Number.into()),
                }
            });
            found.await.unwrap_or(Err(ReadRefused::Stopping))
        }
    }
}

fn with_time(record: Option<(Offset, i64)>) -> Found {
    record.map(|(offset, time)| (offset, Some(time)))
}

async fn find_here(shard: &Shard, at: PartitionRef, wanted: Wanted) -> Result<Found, ReadRefused> {
    let plain = |offset: Offset| Ok(Some((offset, None)));
    let offsets = shard.offsets(at).map_err(|e| failed(&e))?;
    match wanted {
        Wanted::End => plain(offsets.high_watermark),
        Wanted::Start => plain(offsets.start),
        Wanted::LargestTime => largest_time(shard, at).await,
        Wanted::Time(time) => first_at_or_after(shard, at, time).await,
    }
}

fn failed(error: &ReadError) -> ReadRefused {
    tracing::warn!(%error, "looking for a timestamp failed");
    error.into()
}

fn unreadable(error: &RecordTimeError) -> ReadRefused {
    tracing::warn!(%error, "the records of a batch cannot be read");
    ReadRefused::Corrupt
}

/// The first record that is there still whose timestamp is `time` or later: its offset and its timestamp.
async fn first_at_or_after(shard: &Shard, at: PartitionRef, time: i64) -> Result<Found, ReadRefused> {
    let mut from = 0;
    loop {
        let found = shard.find_by_time(at, time, from).await.map_err(|e| failed(&e))?;
        let Some((first, batches)) = found else { return Ok(None) };
        let Some(batch) = batches.slices.first() else { return Ok(None) };
        if let Some(record) =
            record_time::first_at_or_after(batch, time, first).map_err(|e| unreadable(&e))?
        {
            return Ok(Some((record.0, Some(record.1))));
        }
        // The record that the batch was found for is deleted, or its header states a time that no record has.
        from = batches.next_offset.max(first + 1);
    }
}

/// The first of the records with the largest timestamp that are there still: its offset and its timestamp.
async fn largest_time(shard: &Shard, at: PartitionRef) -> Result<Found, ReadRefused> {
    let start = shard.offsets(at).map_err(|e| failed(&e))?.start;
    let mut from = start;
    let mut best: Option<(Offset, i64)> = None;
    loop {
        let found = shard.find_latest_time(at, from).await.map_err(|e| failed(&e))?;
        let Some((first, batches)) = found else { return Ok(with_time(best)) };
        let Some(batch) = batches.slices.first() else { return Ok(with_time(best)) };
        let record = record_time::latest(batch, first).map_err(|e| unreadable(&e))?;
        best = match (best, record) {
            (Some(best), Some(record)) if record.1 < best.1 || (record.1 == best.1 && record.0 > best.0) => {
                Some(best)
            }
            (best, record) => record.or(best),
        };
        // Only in the batch in whose midst the log starts can the record be deleted that its time is from.
        let cut =
            first == start && keylane_engine::record_batch::base_offset(batch).is_some_and(|b| b < start);
        if !cut || from > start {
            return Ok(with_time(best));
        }
        from = batches.next_offset.max(first + 1);
    }
}
