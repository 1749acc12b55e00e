//! The records in what a broker gave of a partition.
//!
//! Promises: batches of every codec are read, whatever broker stored them, and their checksums are checked; batches that
//! brokers write for themselves are passed over; with `committed`, so are the records of aborted transactions (KIP-98).
use std::collections::BTreeSet;

use keylane_engine::record_batch::{self, RecordBatch};
use keylane_engine::records::{APPEND_TIME, Opened};
use keylane_kafka::messages::fetch::FetchedPartition;

use super::span::Reading;
use crate::cli::failure::Failure;
use crate::cli::record::Found;

/// Most bytes of a batch, uncompressed.
const UNCOMPRESSED_MAX: usize = 512 << 20;
/// Bit of a batch's attributes: its records belong to a transaction.
const TRANSACTIONAL: i16 = 1 << 4;
/// Bit of a batch's attributes: a broker wrote it for its own use.
const CONTROL: i16 = 1 << 5;

/// The transactions that were aborted, as far as the records were read.
struct Aborted {
    /// Producer and first offset of those that come, the last one first.
    coming: Vec<(i64, i64)>,
    /// Producers whose records do not count now.
    now: BTreeSet<i64>,
}

impl Aborted {
    fn of(fetched: &FetchedPartition<'_>) -> Self {
        let told = fetched.aborted_transactions.iter().flatten();
        let mut coming: Vec<_> = told.map(|aborted| (aborted.producer_id, aborted.first_offset)).collect();
        coming.sort_unstable_by_key(|(_, first)| std::cmp::Reverse(*first));
        Self { coming, now: BTreeSet::new() }
    }

    /// Whether the records of the batch that comes next do not count.
    fn takes(&mut self, batch: &RecordBatch<'_>, last_offset: i64) -> bool {
        while let Some((producer, _)) = self.coming.pop_if(|(_, first)| *first <= last_offset) {
            self.now.insert(producer);
        }
        if batch.attributes & CONTROL != 0 {
            // The marker of its end.
            self.now.remove(&batch.producer_id);
            return false;
        }
        batch.attributes & TRANSACTIONAL != 0 && self.now.contains(&batch.producer_id)
    }
}

/// Hands the records out and moves the reading on. False: the taker has enough.
pub fn take(
    topic: &str,
    fetched: &FetchedPartition<'_>,
    reading: &mut Reading,
    committed: bool,
    taker: &mut impl FnMut(&Found<'_>) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let mut aborted = committed.then(|| Aborted::of(fetched));
    let mut rest = fetched.records.unwrap_or_default();
    // The last batch may be cut off.
    while let Some((batch, after)) = record_batch::total_len(rest).and_then(|len| rest.split_at_checked(len))
    {
        rest = after;
        let unreadable = |what: &dyn std::fmt::Display| {
            let (index, next) = (fetched.index, reading.next);
            Failure::Data(format!(
                "topic {topic}, partition {index}: the batch at offset {next} cannot be read: {what}"
            ))
        };
        let view = RecordBatch::peek(batch).ok_or_else(|| unreadable(&"it is cut off"))?;
        let end = record_batch::end_offset(batch).and_then(|end| i64::try_from(end).ok());
        let end = end.ok_or_else(|| unreadable(&"its offsets are wrong"))?;
        // Compaction may leave a batch without records.
        let is_empty = batch[16] == 2 && view.count == 0;
        if !is_empty {
            RecordBatch::check_stored(batch).map_err(|error| unreadable(&error))?;
            let passed_over = aborted.as_mut().is_some_and(|aborted| aborted.takes(&view, end - 1));
            if view.attributes & CONTROL == 0 && !passed_over && end > reading.next {
                let opened = Opened::of(batch, UNCOMPRESSED_MAX).map_err(|error| unreadable(&error))?;
                if !records(topic, fetched.index, &opened, reading, taker)? {
                    return Ok(false);
                }
            }
        }
        reading.next = reading.next.max(end);
        if reading.next >= reading.end {
            break;
        }
    }
    Ok(true)
}

fn records(
    topic: &str,
    partition: i32,
    opened: &Opened<'_>,
    reading: &mut Reading,
    taker: &mut impl FnMut(&Found<'_>) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let at = |offset: i64| format!("topic {topic}, partition {partition}, offset {offset}");
    for record in opened.records() {
        let record = record.map_err(|error| Failure::Data(format!("{}: {error}", at(reading.next))))?;
        let offset = i64::try_from(record.offset).unwrap_or(i64::MAX);
        // An answer begins with the batch that has the offset, which may begin before it.
        if offset < reading.next {
            continue;
        }
        if offset >= reading.end {
            break;
        }
        let malformed = || Failure::Data(format!("{}: its headers are malformed", at(offset)));
        let found = Found {
            topic,
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            is_append_time: opened.batch.attributes & APPEND_TIME != 0,
            key: record.key,
            value: record.value,
            headers: record.header_fields().ok_or_else(malformed)?,
        };
        reading.next = offset + 1;
        if !taker(&found)? {
            return Ok(false);
        }
    }
    Ok(true)
}
