//! A small client: one request, one answer. It assigns its own partitions and keeps its place by FindCoordinator,
//! OffsetCommit and OffsetFetch, as a consumer without a group protocol does.
//!
//! The versions are the last ones without compact types, which every broker serves that is not very old.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use keylane_engine::record_batch::{BatchFields, patch, put_record, seal};
use keylane_kafka::messages::fetch::FetchedPartition;
use keylane_kafka::messages::find_coordinator::FindCoordinatorRequest;
use keylane_kafka::messages::list_offsets::LATEST;
use keylane_kafka::messages::offset_commit::{OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic};
use keylane_kafka::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchTopic};
use keylane_kafka::messages::produce::{ProducePartition, ProduceRequest, ProduceTopic};
use keylane_kafka::{ApiKey, ErrorCode, TopicRef};

use crate::batch::BatchView;
use crate::client::{Admin, resolve};
use crate::fetch_shape::{FetchLimits, FetchPlan};
use crate::protocol::fetch_request;

const PRODUCE: i16 = 8;
const FETCH: i16 = 11;
const OFFSET_COMMIT: i16 = 7;
const OFFSET_FETCH: i16 = 5;
const FIND_COORDINATOR: i16 = 2;

/// A coordinator is loading, not there yet, or elsewhere until it is.
const NOT_READY: [ErrorCode; 3] =
    [ErrorCode::CoordinatorLoadInProgress, ErrorCode::CoordinatorNotAvailable, ErrorCode::NotCoordinator];
/// How long a coordinator or a topic may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// A record to be sent.
#[derive(Debug, Clone)]
pub struct Record {
    pub key: String,
    pub value: Vec<u8>,
    pub time_ms: i64,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub offset: i64,
    pub key: String,
    pub value: Vec<u8>,
}

/// Where a group is in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    /// The offset to read next; -1 for none.
    pub offset: i64,
    pub metadata: String,
}

/// One connection.
pub struct Client(Admin);

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Admin::connect(address).map(Self)
    }

    /// Whether the broker serves an API in a version that is known here.
    pub fn serves(&mut self, api: ApiKey) -> Result<bool> {
        let spec = api.spec();
        Ok(self.0.client.versions()?.highest(api, spec.min..=spec.max).is_some())
    }

    /// Creates a topic under this name, or this name with a number if there is one already. Returns the name
    /// when every partition can be used.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> Result<String> {
        for attempt in 1..1000 {
            let topic = if attempt == 1 { name.to_owned() } else { format!("{name}-{attempt}") };
            match self.0.try_create_topic(&topic, partitions, &[])? {
                (ErrorCode::None, _) => return self.wait_for(&topic, partitions).map(|()| topic),
                (ErrorCode::TopicAlreadyExists, _) => {}
                (code, why) => return Err(anyhow!("creating topic {topic}: {code} {why}")),
            }
        }
        Err(anyhow!("there are a thousand topics named {name}: delete some"))
    }

    fn wait_for(&mut self, topic: &str, partitions: i32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.0.try_offsets(topic, partitions, LATEST)?;
            let Some((code, _)) = found.iter().find(|(code, _)| !code.is_none()) else { return Ok(()) };
            ensure!(Instant::now() < deadline, "topic {topic} is not ready: {code}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The first offset of each partition at or after a time, [`LATEST`] or
    /// [`EARLIEST`](keylane_kafka::messages::list_offsets::EARLIEST). -1: there is none.
    pub fn offsets_at(&mut self, topic: &str, partitions: i32, timestamp: i64) -> Result<Vec<i64>> {
        self.0.offsets(topic, partitions, timestamp)
    }

    /// Sends records as one batch; the offset of the first, when they are durable.
    pub fn produce(&mut self, topic: &str, partition: i32, records: &[Record]) -> Result<i64> {
        let batch = encode_batch(records);
        let only = ProducePartition { index: partition, records: Some(&batch) };
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 30_000,
            topics: vec![ProduceTopic { topic: TopicRef::Name(topic), partitions: vec![only] }],
        };
        let answer = self.0.client.ask(PRODUCE, &request)?;
        let done = answer.topics.first().and_then(|topic| topic.partitions.first());
        let done = done.context("an answer about no partition")?;
        ensure!(done.error.is_none(), "producing to {topic}-{partition}: {}", done.error);
        Ok(done.base_offset)
    }

    /// What there is from an offset on, up to about `max_bytes`; nothing at the end.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64, max_bytes: i32) -> Result<Vec<Row>> {
        let plan = FetchPlan::without_session(vec![(partition, offset)]);
        let limits = FetchLimits { max_wait_ms: 0, max_bytes, partition_max_bytes: max_bytes };
        let answer = self.0.client.ask(FETCH, &fetch_request(topic, limits, &plan))?;
        let found = answer.topics.first().and_then(|topic| topic.partitions.first());
        let code =
            if answer.error.is_none() { found.map_or(ErrorCode::None, |f| f.error) } else { answer.error };
        let what = format!("reading {topic}-{partition} at {offset}");
        ensure!(code.is_none(), "{what}: {code}");
        found
            .map_or(Some(Vec::new()), |found| rows_from(found, offset))
            .with_context(|| format!("{what}: a batch cannot be read"))
    }

    /// All records of a partition, in their order.
    pub fn read_all(&mut self, topic: &str, partition: i32) -> Result<Vec<Row>> {
        let mut all: Vec<Row> = Vec::new();
        loop {
            let next = all.last().map_or(0, |row| row.offset + 1);
            let rows = self.fetch(topic, partition, next, 1 << 20)?;
            if rows.is_empty() {
                return Ok(all);
            }
            all.extend(rows);
        }
    }

    /// Where the coordinator of a group is.
    pub fn coordinator(&mut self, group: &str) -> Result<SocketAddr> {
        let request = FindCoordinatorRequest { key: group, ..Default::default() };
        let mut found = None;
        self.until_there(&format!("the coordinator of {group}"), |client| {
            let answer = client.0.client.ask(FIND_COORDINATOR, &request)?;
            found = Some(format!("{}:{}", answer.host, answer.port));
            Ok(answer.error)
        })?;
        resolve(&found.context("an answer")?)
    }

    /// Commits where a group is.
    pub fn commit(&mut self, group: &str, topic: &str, places: &[Place]) -> Result<()> {
        let partitions = places.iter().map(|place| OffsetCommitPartition {
            index: place.partition,
            offset: place.offset,
            leader_epoch: -1,
            metadata: Some(&place.metadata),
        });
        let partitions = partitions.collect();
        let topics = vec![OffsetCommitTopic { name: topic, partitions, ..Default::default() }];
        let request = OffsetCommitRequest { group, topics, ..Default::default() };
        self.until_there(&format!("committing to {topic}"), |client| {
            let answer = client.0.client.ask(OFFSET_COMMIT, &request)?;
            let outcomes = answer.topics.iter().flat_map(|topic| &topic.partitions);
            Ok(outcomes.map(|partition| partition.error).max().unwrap_or_default())
        })
    }

    /// Where a group is in each partition.
    pub fn committed(&mut self, group: &str, topic: &str, partitions: i32) -> Result<Vec<Place>> {
        let wanted =
            OffsetFetchTopic { name: topic, partitions: (0..partitions).collect(), ..Default::default() };
        let request = OffsetFetchRequest { group, topics: Some(vec![wanted]), ..Default::default() };
        let mut places = Vec::new();
        self.until_there(&format!("offsets of {group}"), |client| {
            let answer = client.0.client.ask(OFFSET_FETCH, &request)?;
            let mut worst = answer.error;
            places.clear();
            for found in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
                worst = worst.max(found.error);
                let metadata = found.metadata.unwrap_or_default().into_owned();
                places.push(Place { partition: found.index, offset: found.offset, metadata });
            }
            Ok(worst)
        })?;
        places.sort_by_key(|place| place.partition);
        ensure!(places.len() == partitions as usize, "{} of {partitions} partitions answered", places.len());
        Ok(places)
    }

    /// Asks again while a coordinator is not ready yet; any other error is one.
    fn until_there(&mut self, what: &str, mut ask: impl FnMut(&mut Self) -> Result<ErrorCode>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let code = ask(self)?;
            if code.is_none() {
                return Ok(());
            }
            let later = NOT_READY.contains(&code) && Instant::now() < deadline;
            ensure!(later, "{what}: {code}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The records of a partition from an offset on; `None` if a batch cannot be read.
fn rows_from(found: &FetchedPartition<'_>, offset: i64) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    let mut rest = found.records.unwrap_or_default();
    while let Some(batch) = BatchView::split_first(&mut rest) {
        let push = |at: i64, key: &[u8], value: &[u8]| {
            // An answer begins with the batch that holds the offset, which may begin before it.
            if at >= offset {
                let key = String::from_utf8_lossy(key).into_owned();
                rows.push(Row { offset: at, key, value: value.to_vec() });
            }
        };
        batch.and_then(|batch| batch.for_each(push)).ok()?;
    }
    Some(rows)
}

/// One batch, neither compressed nor idempotent.
fn encode_batch(records: &[Record]) -> Vec<u8> {
    let first = records.first().map_or(0, |record| record.time_ms);
    let latest = records.iter().map(|record| record.time_ms).max().unwrap_or(first);
    let fields = BatchFields { max_timestamp: latest, ..BatchFields::new(records.len() as i32, first) };
    let mut out = fields.header().to_vec();
    for (offset_delta, record) in (0i32..).zip(records) {
        let (key, value) = (record.key.as_bytes(), &record.value[..]);
        put_record(&mut out, record.time_ms - first, offset_delta, Some(key), Some(value), &[]);
    }
    patch(&mut out, 0, -1);
    seal(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_read_back_with_a_valid_crc() {
        let records: Vec<Record> = (0..70)
            .map(|n| Record {
                key: format!("k{n}"),
                value: vec![n; usize::from(n)],
                time_ms: 5 + i64::from(n),
            })
            .collect();
        let bytes = encode_batch(&records);
        let mut rest = &bytes[..];
        let batch = BatchView::split_first(&mut rest).unwrap().unwrap();
        assert!(rest.is_empty() && batch.crc_matches());
        let mut read = Vec::new();
        batch.for_each(|at, key, value| read.push((at, key.to_vec(), value.to_vec()))).unwrap();
        let sent = records.iter().enumerate();
        let sent: Vec<_> =
            sent.map(|(n, r)| (n as i64, r.key.clone().into_bytes(), r.value.clone())).collect();
        assert_eq!(read, sent);
    }
}
