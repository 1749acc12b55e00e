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

#[cfg(test)]
mod tests {
    use keylane_engine::record_batch::{BatchFields, patch, put_record, seal};
    use keylane_kafka::messages::fetch::AbortedTransaction;

    use super::*;

    /// A batch of one record at an offset.
    fn batch(offset: u64, value: &[u8], attributes: i16, producer_id: i64) -> Vec<u8> {
        let mut records = Vec::new();
        put_record(&mut records, 0, 0, None, Some(value), &[]);
        let fields = BatchFields { attributes, producer_id, ..BatchFields::new(1, 1000) };
        let mut bytes = fields.around(&records);
        patch(&mut bytes, offset, 0);
        bytes
    }

    fn read(records: &[u8], from: Reading, aborted: &[(i64, i64)], committed: bool) -> (Vec<String>, i64) {
        let aborted = aborted
            .iter()
            .map(|&(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset });
        let fetched = FetchedPartition {
            aborted_transactions: Some(aborted.collect()),
            records: Some(records),
            ..FetchedPartition::default()
        };
        let (mut reading, mut seen) = (from, Vec::new());
        let mut taker = |found: &Found<'_>| {
            seen.push(format!("{}:{}", found.offset, String::from_utf8_lossy(found.value.unwrap())));
            Ok(true)
        };
        assert!(take("t", &fetched, &mut reading, committed, &mut taker).unwrap());
        (seen, reading.next)
    }

    const ALL: Reading = Reading { next: 0, end: i64::MAX };

    #[test]
    fn aborted_records_and_what_brokers_write_for_themselves_are_passed_over() {
        const MARKER: i16 = TRANSACTIONAL | CONTROL;
        let log = [
            batch(0, b"plain", 0, -1),
            batch(1, b"aborted", TRANSACTIONAL, 7),
            batch(2, b"other", TRANSACTIONAL, 8),
            batch(3, b"", MARKER, 7),
            batch(4, b"later", TRANSACTIONAL, 7),
            batch(5, b"", MARKER, 8),
            batch(6, b"", MARKER, 7),
        ]
        .concat();
        let (seen, next) = read(&log, ALL, &[(7, 1)], true);
        assert_eq!((seen, next), (["0:plain", "2:other", "4:later"].map(str::to_owned).to_vec(), 7));
        let (seen, next) = read(&log, ALL, &[(7, 1)], false);
        assert_eq!((seen.len(), next), (4, 7));
        let (seen, next) = read(&log, Reading { next: 2, end: 4 }, &[(7, 1)], true);
        assert_eq!((seen, next), (vec!["2:other".to_owned()], 4));
    }

    /// Compaction keeps the header of a batch without records, which stands for its offsets.
    #[test]
    fn batches_without_records_and_cut_ones_are_no_fault_and_damaged_ones_are() {
        let mut empty = BatchFields::new(0, 0).header().to_vec();
        // It spans five offsets.
        empty[23..27].copy_from_slice(&4i32.to_be_bytes());
        seal(&mut empty);
        patch(&mut empty, 3, 0);
        let good = batch(8, b"good", 0, -1);
        let (seen, next) = read(&[&empty[..], &good, &good[..good.len() - 1]].concat(), ALL, &[], true);
        assert_eq!((seen, next), (vec!["8:good".to_owned()], 9));
        let mut damaged = good.clone();
        *damaged.last_mut().unwrap() ^= 1;
        let fetched = FetchedPartition { records: Some(&damaged), ..FetchedPartition::default() };
        let failed = take("t", &fetched, &mut ALL.clone(), false, &mut |_| Ok(true)).unwrap_err();
        assert!(
            failed.to_string().starts_with("topic t, partition 0: the batch at offset 0 cannot be read"),
            "{failed}"
        );
    }
}
