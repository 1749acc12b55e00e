//! Records are gathered by partition and sent to the leaders.
//!
//! Promises: a batch is sent again only if the broker said that it did not take it; the records of a partition keep their
//! order.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use keylane_engine::partition_for;
use keylane_kafka::ErrorCode;
use keylane_kafka::TopicRef;
use keylane_kafka::cluster::{Cluster, Topic, passes};
use keylane_kafka::messages::produce::{ProducePartition, ProduceRequest, ProduceTopic, ProducedPartition};

use super::batch::Batch;
use crate::cli::connect::existing;
use crate::cli::failure::Failure;
use crate::cli::offsets::by_leader;
use crate::cli::record::New;
use crate::cli::time::now_ms;

/// Records that wait until they are sent together.
const WAITING_MAX: usize = 10_000;
/// Pause before a leader that has moved is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// What was written to a partition.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// How many.
    pub records: u64,
    /// Offset of the first one; -1 if nobody acknowledged it.
    pub first_offset: i64,
    /// Offset of the last one.
    pub last_offset: i64,
}

/// Gathers and sends.
pub struct Sender {
    cluster: Cluster,
    topic: Topic,
    partition: Option<i32>,
    codec: i16,
    acks: i16,
    waiting: BTreeMap<i32, Batch>,
    records: usize,
    /// Which partition records without a key go to, until they are sent.
    turn: usize,
    /// What was written, by partition.
    pub written: BTreeMap<i32, Written>,
}

impl Sender {
    /// A sender to a topic, or to one partition of it.
    pub fn new(
        cluster: Cluster,
        topic: Topic,
        partition: Option<i32>,
        codec: i16,
        acks: i16,
    ) -> Result<Self, Failure> {
        if let Some(index) = partition.filter(|index| topic.partitions.iter().all(|p| p.index != *index)) {
            let (name, count) = (&topic.name, topic.partitions.len());
            return Err(Failure::Unfit(format!(
                "topic {name} has no partition {index}; it has {count}, counted from 0"
            )));
        }
        let (waiting, written) = (BTreeMap::new(), BTreeMap::new());
        let turn = usize::try_from(now_ms()).unwrap_or(0);
        Ok(Self { cluster, topic, partition, codec, acks, waiting, records: 0, turn, written })
    }

    /// Whether records wait.
    pub fn has_unsent(&self) -> bool {
        self.records > 0
    }

    /// Takes a record; sends what waits if that is enough.
    pub fn add(&mut self, record: New) -> Result<(), Failure> {
        let index = self.partition_of(&record);
        let is_full = self.waiting.get(&index).is_some_and(|batch| !batch.has_room(&record));
        if is_full || self.records >= WAITING_MAX {
            self.flush()?;
        }
        self.waiting.entry(index).or_default().add(&record);
        self.records += 1;
        Ok(())
    }

    fn partition_of(&self, record: &New) -> i32 {
        let count = self.topic.partitions.len();
        let at = match (&self.partition, &record.key) {
            (Some(index), _) => return *index,
            (None, Some(key)) => partition_for(key, u32::try_from(count).unwrap_or(1)) as usize,
            (None, None) => self.turn % count,
        };
        self.topic.partitions[at].index
    }

    /// Sends all that waits, and returns when it is acknowledged.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.cluster.patience();
        let mut batches = BTreeMap::new();
        for (index, batch) in &self.waiting {
            batches.insert(*index, batch.bytes(self.codec)?);
        }
        while !batches.is_empty() {
            let refused = self.send(&mut batches)?;
            let Some((index, code)) = refused else { continue };
            if Instant::now() >= deadline {
                let doing = format!("writing to topic {}, partition {index}", self.topic.name);
                Failure::unless_none(doing, code, None)?;
            }
            std::thread::sleep(AGAIN);
            self.topic = existing(&mut self.cluster, &self.topic.name)?;
        }
        self.waiting.clear();
        self.records = 0;
        self.turn = self.turn.wrapping_add(1);
        Ok(())
    }

    /// Sends batches to their leaders. Those that were taken are removed; one that was not, for a reason that passes, is told.
    fn send(&mut self, batches: &mut BTreeMap<i32, Vec<u8>>) -> Result<Option<(i32, ErrorCode)>, Failure> {
        let mut refused = None;
        let timeout_ms = i32::try_from(self.cluster.patience().as_millis()).unwrap_or(i32::MAX);
        let leaders = by_leader(&self.topic, batches.keys());
        if leaders.is_empty() {
            return Ok(batches.keys().next().map(|index| (*index, ErrorCode::LeaderNotAvailable)));
        }
        for (leader, partitions) in leaders {
            let batch = |index: &i32| ProducePartition {
                index: *index,
                records: batches.get(index).map(Vec::as_slice),
            };
            let topic = ProduceTopic {
                topic: TopicRef::Name(&self.topic.name),
                partitions: partitions.iter().map(batch).collect(),
            };
            let topics = vec![topic];
            let request = ProduceRequest { acks: self.acks, timeout_ms, topics, ..ProduceRequest::default() };
            let broker = self.cluster.broker(leader)?;
            let sent = broker.send(&request)?;
            if self.acks == 0 {
                // Nothing comes back.
                for index in partitions {
                    batches.remove(&index);
                    note(&mut self.written, &self.waiting, index, -1);
                }
                continue;
            }
            let answer = broker.receive::<ProduceRequest<'_>>(sent)?;
            for told in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                if passes(told.error) {
                    refused = Some((told.index, told.error));
                    continue;
                }
                taken(&self.topic.name, told)?;
                batches.remove(&told.index);
                note(&mut self.written, &self.waiting, told.index, told.base_offset);
            }
        }
        Ok(refused)
    }
}

/// Notes that the batch of a partition was written at an offset; -1: nobody told.
fn note(written: &mut BTreeMap<i32, Written>, waiting: &BTreeMap<i32, Batch>, index: i32, base_offset: i64) {
    let count = waiting.get(&index).map_or(0, Batch::count);
    let all = Written { records: 0, first_offset: base_offset, last_offset: -1 };
    let all = written.entry(index).or_insert(all);
    all.records += u64::from(count.unsigned_abs());
    if base_offset >= 0 {
        all.last_offset = base_offset + i64::from(count) - 1;
    }
}

/// Whether a batch was taken. If not, the record to blame is told.
fn taken(topic: &str, told: &ProducedPartition<'_>) -> Result<(), Failure> {
    let mut message = told.error_message.as_deref().unwrap_or_default().to_owned();
    if let Some(first) = told.record_errors.first() {
        let what = first.message.as_deref().unwrap_or("refused");
        message = format!("{message} (record {} of its batch: {what})", first.batch_index).trim().to_owned();
    }
    Failure::unless_none(
        format!("writing to topic {topic}, partition {}", told.index),
        told.error,
        Some(&message),
    )
}
