//! What a partition remembers of its idempotent producers (KIP-98).
//!
//! Promises: a batch that was accepted before, and is among the last five of its producer, is recognised
//! and answered with its first offset; a batch that leaves a gap is refused; an older epoch is fenced.
//! The state survives a restart: it is part of the checkpoint, and later commits are replayed.
//! At most [`PRODUCERS_MAX`] producers are remembered per partition; then the one whose last batch is
//! oldest is forgotten.

use std::collections::{HashMap, VecDeque};

use crate::ids::Offset;
use crate::record_batch::RecordBatch;

/// Producers remembered per partition.
pub const PRODUCERS_MAX: usize = 4096;
/// Durable batches remembered per producer, as clients expect.
const DURABLE_BATCHES: usize = 5;

/// One accepted batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Sequence of its first record.
    pub first: i32,
    /// Sequence of its last record.
    pub last: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
}

/// One producer's recent past in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Producer {
    /// Epoch of the producer.
    pub epoch: i16,
    /// The producer's last batches, oldest first: up to five durable ones, and those in flight.
    pub recent: VecDeque<Accepted>,
    /// The largest timestamp of its last batch, in milliseconds. It is not stored: after a start it is known again with the
    /// next batch.
    pub last_timestamp: Option<i64>,
}

/// What is known of a producer, for people who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownProducer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// The largest timestamp of its last batch, in milliseconds, if it is known.
    pub last_timestamp: Option<i64>,
}

/// Why a batch does not continue the sequence of its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceError {
    /// The batch leaves a gap, or repeats a batch that is older than those that are remembered.
    #[error("producer {producer_id} sent sequence {got} where {expected} is next")]
    OutOfOrder {
        /// The producer.
        producer_id: i64,
        /// The sequence that the batch begins with.
        got: i32,
        /// The sequence that is due.
        expected: i32,
    },
    /// A newer epoch of the same producer has written here.
    #[error("epoch {got} of producer {producer_id} is fenced by epoch {current}")]
    Fenced {
        /// The producer.
        producer_id: i64,
        /// The epoch of the batch.
        got: i16,
        /// The epoch in force.
        current: i16,
    },
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub struct ProducerTable {
    // Allocates nothing while it is empty, as it is in most partitions.
    producers: HashMap<i64, Producer>,
}

/// The sequence `by` steps after `from`; sequences wrap from 2^31 - 1 to 0.
pub fn sequence_after(from: i32, by: u32) -> i32 {
    ((i64::from(from) + i64::from(by)) % (i64::from(i32::MAX) + 1)) as i32
}

impl ProducerTable {
    /// Whether the batch continues its producer's sequence. `Ok(Some(offset))`: the batch is a duplicate and was accepted
    /// before at that offset. `Ok(None)`: the batch may be appended.
    pub fn check(&self, batch: &RecordBatch<'_>) -> Result<Option<Offset>, SequenceError> {
        let Some(known) = self.get(batch.producer_id) else { return Ok(None) };
        let out_of_order = |expected| SequenceError::OutOfOrder {
            producer_id: batch.producer_id,
            got: batch.base_sequence,
            expected,
        };
        if batch.producer_epoch < known.epoch {
            return Err(SequenceError::Fenced {
                producer_id: batch.producer_id,
                got: batch.producer_epoch,
                current: known.epoch,
            });
        }
        if batch.producer_epoch > known.epoch {
            return if batch.base_sequence == 0 { Ok(None) } else { Err(out_of_order(0)) };
        }
        let last = sequence_after(batch.base_sequence, batch.span - 1);
        let same = |a: &&Accepted| a.first == batch.base_sequence && a.last == last;
        if let Some(before) = known.recent.iter().rev().find(same) {
            return Ok(Some(before.base_offset));
        }
        let Some(newest) = known.recent.back() else { return Ok(None) };
        let expected = sequence_after(newest.last, 1);
        if batch.base_sequence == expected { Ok(None) } else { Err(out_of_order(expected)) }
    }

    /// Remembers an accepted batch. Batches below `durable_below` are durable: five of them are kept.
    pub fn record(&mut self, batch: &RecordBatch<'_>, base_offset: Offset, durable_below: Offset) {
        if batch.producer_id < 0 {
            return;
        }
        let table = &mut self.producers;
        if table.len() >= PRODUCERS_MAX && !table.contains_key(&batch.producer_id) {
            let oldest = table.iter().min_by_key(|(_, p)| p.recent.back().map(|a| a.base_offset));
            if let Some(id) = oldest.map(|(id, _)| *id) {
                table.remove(&id);
            }
        }
        let producer = table.entry(batch.producer_id).or_default();
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.recent.clear();
        }
        let last = sequence_after(batch.base_sequence, batch.span - 1);
        producer.recent.push_back(Accepted { first: batch.base_sequence, last, base_offset });
        producer.last_timestamp = Some(batch.max_timestamp);
        while producer.recent.get(DURABLE_BATCHES).is_some_and(|a| a.base_offset < durable_below) {
            producer.recent.pop_front();
        }
    }

    /// All producers, by id.
    pub fn known(&self) -> Vec<KnownProducer> {
        let known = self.producers.iter().filter_map(|(&id, producer)| {
            let last_sequence = producer.recent.back()?.last;
            let (epoch, last_timestamp) = (producer.epoch, producer.last_timestamp);
            Some(KnownProducer { id, epoch, last_sequence, last_timestamp })
        });
        let mut known: Vec<_> = known.collect();
        known.sort_by_key(|producer| producer.id);
        known
    }

    fn get(&self, producer_id: i64) -> Option<&Producer> {
        if producer_id < 0 { None } else { self.producers.get(&producer_id) }
    }

    /// What is known of batches below offset `below`, for a checkpoint: at most five batches of each producer.
    pub fn snapshot(&self, below: Offset) -> Vec<(i64, Producer)> {
        let mut out = Vec::with_capacity(self.producers.len());
        for (&id, producer) in &self.producers {
            let mut recent: VecDeque<_> =
                producer.recent.iter().filter(|a| a.base_offset < below).copied().collect();
            while recent.len() > DURABLE_BATCHES {
                recent.pop_front();
            }
            if !recent.is_empty() {
                out.push((id, Producer { epoch: producer.epoch, recent, ..Producer::default() }));
            }
        }
        out.sort_by_key(|(id, _)| *id);
        out
    }

    /// Puts back what [`ProducerTable::snapshot`] gave.
    pub fn restore(&mut self, producers: Vec<(i64, Producer)>) {
        self.producers = producers.into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::build_from;

    fn batch(epoch: i16, sequence: i32) -> Vec<u8> {
        build_from(&[(b"k", b"v"), (b"k", b"w")], 1, 7, epoch, sequence)
    }

    fn offer(
        table: &mut ProducerTable,
        epoch: i16,
        sequence: i32,
        at: Offset,
    ) -> Result<Option<Offset>, SequenceError> {
        let bytes = batch(epoch, sequence);
        let view = RecordBatch::check_stored(&bytes).unwrap();
        let answer = table.check(&view)?;
        if answer.is_none() {
            table.record(&view, at, at + 2);
        }
        Ok(answer)
    }

    #[test]
    fn the_last_five_are_recognised_and_a_sixth_is_not() {
        let mut table = ProducerTable::default();
        for i in 0..6 {
            assert_eq!(offer(&mut table, 0, i * 2, i as u64 * 2), Ok(None));
        }
        for i in 1..6 {
            assert_eq!(offer(&mut table, 0, i * 2, 99), Ok(Some(i as u64 * 2)), "batch {i}");
        }
        assert!(matches!(offer(&mut table, 0, 0, 99), Err(SequenceError::OutOfOrder { expected: 12, .. })));
    }

    #[test]
    fn gaps_and_old_epochs_are_refused_and_a_new_epoch_begins_at_zero() {
        let mut table = ProducerTable::default();
        assert_eq!(offer(&mut table, 3, 0, 0), Ok(None));
        assert!(matches!(offer(&mut table, 3, 4, 2), Err(SequenceError::OutOfOrder { expected: 2, .. })));
        assert!(matches!(offer(&mut table, 2, 2, 2), Err(SequenceError::Fenced { current: 3, .. })));
        assert!(matches!(offer(&mut table, 4, 2, 2), Err(SequenceError::OutOfOrder { expected: 0, .. })));
        assert_eq!(offer(&mut table, 4, 0, 2), Ok(None));
    }

    #[test]
    fn sequences_wrap() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 1), i32::MAX);
    }

    #[test]
    fn a_snapshot_holds_nothing_that_is_not_durable() {
        let mut table = ProducerTable::default();
        for i in 0..4 {
            offer(&mut table, 0, i * 2, i as u64 * 2).unwrap();
        }
        let snapshot = table.snapshot(4);
        assert_eq!(snapshot[0].1.recent.back().unwrap().base_offset, 2);
        let mut again = ProducerTable::default();
        again.restore(snapshot.clone());
        assert_eq!(again.snapshot(u64::MAX), snapshot);
        assert!(table.snapshot(0).is_empty());
    }
}
