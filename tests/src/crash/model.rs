//! What was sent, and what was promised of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use keylane_engine::record_batch::{self, HEADER_BYTES, RecordBatch, put_record, seal};
use keylane_engine::records::{APPEND_TIME, Opened};
use keylane_engine::{LogId, Offset};
use keylane_sim_disk::Rng;

/// Time of the first batches, in milliseconds.
pub const TIME_MS: i64 = 1_700_000_000_000;

/// A batch that was appended.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The offset it was given.
    pub base_offset: Offset,
    /// Its records.
    pub count: u32,
    /// As it has to be stored, but that the offset in its header is not set; [`lying`] is what was sent.
    pub bytes: Bytes,
}

impl Sent {
    /// Offset after its last record.
    pub fn end(&self) -> Offset {
        self.base_offset + u64::from(self.count)
    }

    /// Whether these stored bytes are this batch at its offset.
    pub fn is(&self, stored: &[u8]) -> bool {
        stored.len() == self.bytes.len()
            && record_batch::base_offset(stored) == Some(self.base_offset)
            && stored[8..12] == self.bytes[8..12]
            && stored[16..] == self.bytes[16..]
    }
}

/// One log, from its first batch.
#[derive(Debug, Default)]
pub struct Log {
    /// Every batch that was appended, in order.
    pub sent: Vec<Sent>,
    /// So many of them were acknowledged, or shown to a reader.
    pub acked: usize,
    /// Whether its batches carry a producer id and sequences.
    pub idempotent: bool,
    /// Whether it is compacted, its tombstones kept for ever: batches may lose records, or go.
    pub compacted: bool,
    /// Bytes to which it is kept: then its start may rise as long as half of them are left.
    pub bound: Option<u64>,
    /// Whether its records are large.
    pub large: bool,
    /// The highest log start offset that was asked for.
    pub trim_asked: Offset,
    /// The highest log start offset that was acknowledged, or shown to a reader.
    pub trimmed: Offset,
}

impl Log {
    /// Offset after the last batch.
    pub fn end(&self) -> Offset {
        self.end_of(self.sent.len())
    }

    /// Offset after the first `batches` batches.
    pub fn end_of(&self, batches: usize) -> Offset {
        batches.checked_sub(1).map_or(0, |last| self.sent[last].end())
    }

    /// Number of the batch that holds an offset.
    pub fn batch_at(&self, offset: Offset) -> Option<usize> {
        let after = self.sent.partition_point(|sent| sent.base_offset <= offset);
        after.checked_sub(1).filter(|_| offset < self.end())
    }

    /// The highest log start offset that retention by size may come to in a log that ends at `end`; `added` is
    /// its last batch if that is none of those that were sent.
    pub fn deletable(&self, end: Offset, added: Option<&Sent>) -> Offset {
        let Some(bound) = self.bound else { return 0 };
        let sent_end = added.map_or(end, |added| added.base_offset);
        let sent = &self.sent[..self.sent.partition_point(|batch| batch.end() <= sent_end)];
        let mut left = 0;
        let from = added.into_iter().chain(sent.iter().rev()).find(|batch| {
            left += batch.bytes.len() as u64;
            left >= bound / 2
        });
        from.map_or(0, |batch| batch.base_offset)
    }

    /// A batch that could be sent after `batches` batches of this log.
    pub fn make(&self, log: LogId, batches: usize, rng: &mut Rng) -> Sent {
        let count = rng.between(1, 4);
        let records: Vec<(Vec<u8>, Vec<u8>)> = (0..count)
            .map(|record| {
                let usual = if self.large { 3000 } else { 120 };
                let len = if rng.one_in(40) { rng.below(5000) } else { rng.below(usual) } as usize;
                let mut value = format!("log {log} batch {batches} record {record} ").into_bytes();
                let text = value.len();
                value.resize(text + len, 0);
                rng.fill(&mut value[text..]);
                (format!("key {}", rng.below(10)).into_bytes(), value)
            })
            .collect();
        let records: Vec<(&[u8], &[u8])> = records.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        let time = TIME_MS + batches as i64;
        let bytes = match self.idempotent {
            true => {
                let sequence = self.end_of(batches) as i32;
                record_batch::build_from(&records, time, i64::from(log.0), 0, sequence)
            }
            false => record_batch::build(&records, time),
        };
        let bytes = if self.compacted { with_tombstones(bytes) } else { bytes };
        debug_assert!(RecordBatch::check_stored(&bytes).is_ok());
        Sent { base_offset: self.end_of(batches), count: count as u32, bytes: bytes.into() }
    }
}

/// A batch as it is sent: for most, by their checksum, with a header that lies about the time of the records, as some clients
/// write it and a hostile one could. The log has to store the truth, which is `batch`.
pub fn lying(batch: &[u8]) -> Vec<u8> {
    let mut sent = batch.to_vec();
    let append_time = |sent: &mut [u8]| sent[22] |= APPEND_TIME as u8;
    let max_timestamp = |sent: &mut [u8], time: i64| sent[35..43].copy_from_slice(&time.to_be_bytes());
    match batch[20] % 8 {
        0 => max_timestamp(&mut sent, 0),
        1 => max_timestamp(&mut sent, i64::MAX),
        2 => max_timestamp(&mut sent, -1),
        3 => append_time(&mut sent),
        4 => {
            append_time(&mut sent);
            max_timestamp(&mut sent, TIME_MS * 2);
        }
        _ => return sent,
    }
    seal(&mut sent);
    sent
}

/// The same batch, in which some records, by their last byte, have no value.
pub fn with_tombstones(mut batch: Vec<u8>) -> Vec<u8> {
    let mut plain = Vec::new();
    let Ok(opened) = Opened::of(&batch, batch.len()) else { return batch };
    for record in opened.records().flatten() {
        let value = record.value.filter(|v| !v.ends_with(b" ") && v.last().is_some_and(|b| b % 8 != 0));
        put_record(&mut plain, 0, record.offset_delta, record.key, value, &[]);
    }
    batch.truncate(HEADER_BYTES);
    batch.extend(plain);
    seal(&mut batch);
    batch
}

/// How far a topic has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its creation was begun.
    Creating,
    /// Its creation was acknowledged.
    Live,
    /// Its deletion was begun.
    Deleting,
    /// Its deletion was acknowledged.
    Deleted,
}

/// A topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// How far it has come.
    pub stage: Stage,
    /// Logs of its partitions; not known while it is being created.
    pub logs: Vec<LogId>,
}

/// Everything that was sent and promised in a run.
#[derive(Debug, Default)]
pub struct Model {
    /// By name; names are not used twice.
    pub topics: BTreeMap<String, Topic>,
    /// By number.
    pub logs: BTreeMap<LogId, Log>,
    /// Negative control: a batch counts as acknowledged as soon as it was appended.
    pub acks_at_once: bool,
}

/// What was promised at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The topics.
    pub topics: Rc<BTreeMap<String, Topic>>,
    /// By log.
    pub logs: Vec<(LogId, Promise)>,
}

/// What was promised of one log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Promise {
    /// Batches acknowledged.
    pub acked: usize,
    /// Batches sent.
    pub sent: usize,
    /// Log start offset acknowledged.
    pub trimmed: Offset,
    /// Log start offset asked for.
    pub trim_asked: Offset,
}

impl Model {
    /// What is promised now.
    pub fn snapshot(&self) -> Snapshot {
        let logs = self.logs.iter().map(|(id, log)| {
            let acked = if self.acks_at_once { log.sent.len() } else { log.acked };
            (*id, Promise { acked, sent: log.sent.len(), trimmed: log.trimmed, trim_asked: log.trim_asked })
        });
        Snapshot { topics: Rc::new(self.topics.clone()), logs: logs.collect() }
    }

    /// Notes that the first `batches` batches of a log are durable.
    pub fn ack(&mut self, log: LogId, batches: usize) {
        if let Some(log) = self.logs.get_mut(&log) {
            log.acked = log.acked.max(batches);
        }
    }

    /// Notes that a log was seen to start at `offset`.
    pub fn saw_start(&mut self, log: LogId, offset: Offset) {
        if let Some(log) = self.logs.get_mut(&log) {
            log.trimmed = log.trimmed.max(offset);
        }
    }

    /// Batches sent so far, over all logs.
    pub fn sent(&self) -> usize {
        self.logs.values().map(|log| log.sent.len()).sum()
    }

    /// Sets the stage of a topic.
    pub fn set_stage(&mut self, topic: &str, stage: Stage) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.stage = stage;
        }
    }
}

impl Snapshot {
    /// What was promised of one log.
    pub fn of(&self, log: LogId) -> Promise {
        let found = self.logs.binary_search_by_key(&log, |(id, _)| *id);
        found.map_or(Promise::default(), |at| self.logs[at].1)
    }
}
