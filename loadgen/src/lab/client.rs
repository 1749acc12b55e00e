//! A small client: one request, one answer. It assigns its own partitions and keeps its place by FindCoordinator,
//! OffsetCommit and OffsetFetch, as a consumer without a group protocol does.
//!
//! The versions are the last ones without compact types, which every broker serves that is not very old.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use keylane_engine::record_batch::{BatchFields, patch, put_record, seal};

use crate::batch::BatchView;
use crate::client::{FRAME_BYTES_MAX, connect, resolve};
use crate::fetch_shape::FetchPlan;
use crate::protocol::{self, CREATE_TOPICS, FETCH, LIST_OFFSETS, PRODUCE};
use crate::wire::{Put, Reader};

const PRODUCE_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 11;
const LIST_OFFSETS_VERSION: i16 = 5;
const CREATE_TOPICS_VERSION: i16 = 4;
const OFFSET_COMMIT: (i16, i16) = (8, 7);
const OFFSET_FETCH: (i16, i16) = (9, 5);
const FIND_COORDINATOR: (i16, i16) = (10, 2);

const TOPIC_ALREADY_EXISTS: i16 = 36;
/// A coordinator is loading, not there yet, or elsewhere until it is.
const NOT_READY: [i16; 3] = [14, 15, 16];
/// A broker that takes longer for an answer is broken.
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
pub struct Client {
    stream: TcpStream,
    correlation: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, correlation: 0 })
    }

    fn ask(&mut self, (api, version): (i16, i16), encode: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>> {
        self.correlation += 1;
        let mut frame = Vec::new();
        let start = protocol::begin_frame(&mut frame, api, version, self.correlation);
        encode(&mut frame);
        protocol::end_frame(&mut frame, start);
        self.stream.write_all(&frame).context("sending a request")?;
        let mut head = [0; 8];
        self.stream.read_exact(&mut head).context("waiting for an answer")?;
        let mut r = Reader::new(&head);
        let (length, correlation) = (r.i32()?, r.i32()?);
        ensure!(correlation == self.correlation, "an answer to another request");
        let length = usize::try_from(length)?.checked_sub(4).context("an answer without a body")?;
        ensure!(length <= FRAME_BYTES_MAX, "an answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).context("reading an answer")?;
        Ok(body)
    }

    /// Creates a topic under this name, or this name with a number if there is one already. Returns the name
    /// when every partition can be used.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> Result<String> {
        for attempt in 1..1000 {
            let topic = if attempt == 1 { name.to_owned() } else { format!("{name}-{attempt}") };
            let body = self.ask((CREATE_TOPICS, CREATE_TOPICS_VERSION), |out| {
                protocol::encode_create_topic(out, &topic, partitions, &[]);
            })?;
            match protocol::decode_create_topic(&body)? {
                (0, _) => return self.wait_for(&topic, partitions).map(|()| topic),
                (TOPIC_ALREADY_EXISTS, _) => {}
                (code, why) => {
                    return Err(anyhow!("creating topic {topic}: {} {why}", protocol::error_name(code)));
                }
            }
        }
        Err(anyhow!("there are a thousand topics named {name}: delete some"))
    }

    fn wait_for(&mut self, topic: &str, partitions: i32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.list_offsets(topic, partitions, protocol::LATEST)?;
            let Some((code, _)) = found.iter().find(|(code, _)| *code != 0) else { return Ok(()) };
            ensure!(Instant::now() < deadline, "topic {topic} is not ready: {}", protocol::error_name(*code));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn list_offsets(&mut self, topic: &str, partitions: i32, timestamp: i64) -> Result<Vec<(i16, i64)>> {
        let version = LIST_OFFSETS_VERSION;
        let body = self.ask((LIST_OFFSETS, version), |out| {
            protocol::encode_list_offsets(out, version, topic, partitions, timestamp);
        })?;
        Ok(protocol::decode_list_offsets(&body, version, partitions)?)
    }

    /// The first offset of each partition at or after a time, [`protocol::LATEST`] or [`protocol::EARLIEST`]. -1:
    /// there is none.
    pub fn offsets_at(&mut self, topic: &str, partitions: i32, timestamp: i64) -> Result<Vec<i64>> {
        let found = self.list_offsets(topic, partitions, timestamp)?;
        let offset = |(code, offset): (i16, i64)| {
            ensure!(code == 0, "offsets of {topic}: {}", protocol::error_name(code));
            Ok(offset)
        };
        found.into_iter().map(offset).collect()
    }

    /// Sends records as one batch; the offset of the first, when they are durable.
    pub fn produce(&mut self, topic: &str, partition: i32, records: &[Record]) -> Result<i64> {
        let batch = encode_batch(records);
        let body = self.ask((PRODUCE, PRODUCE_VERSION), |out| {
            out.i16(-1); // no transaction
            out.i16(-1); // acks=all
            out.i32(30_000);
            out.i32(1);
            out.string(topic, false);
            out.i32(1);
            out.i32(partition);
            out.i32(batch.len() as i32);
            out.extend_from_slice(&batch);
        })?;
        let done = protocol::decode_produce(&body, false)?;
        ensure!(done.error == 0, "producing to {topic}-{partition}: {}", protocol::error_name(done.error));
        Ok(done.base_offset)
    }

    /// What there is from an offset on, up to about `max_bytes`; nothing at the end.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64, max_bytes: i32) -> Result<Vec<Row>> {
        let plan = FetchPlan::without_session(vec![(partition, offset)]);
        let limits = protocol::FetchLimits { max_wait_ms: 0, max_bytes, partition_max_bytes: max_bytes };
        let body = self.ask((FETCH, FETCH_VERSION), |out| {
            protocol::encode_fetch(out, FETCH_VERSION, topic, limits, &plan);
        })?;
        let (mut rows, mut error) = (Vec::new(), 0);
        let mut malformed = false;
        let whole = protocol::decode_fetch(&body, FETCH_VERSION, |found| {
            error = found.error;
            let mut rest = found.records;
            while let Some(batch) = BatchView::split_first(&mut rest) {
                let read = batch.and_then(|batch| {
                    batch.for_each(|at, key, value| {
                        // An answer begins with the batch that holds the offset, which may begin before it.
                        if at >= offset {
                            let key = String::from_utf8_lossy(key).into_owned();
                            rows.push(Row { offset: at, key, value: value.to_vec() });
                        }
                    })
                });
                malformed |= read.is_err();
            }
        })?;
        let code = if whole.error != 0 { whole.error } else { error };
        ensure!(code == 0, "reading {topic}-{partition} at {offset}: {}", protocol::error_name(code));
        ensure!(!malformed, "reading {topic}-{partition} at {offset}: a batch cannot be read");
        Ok(rows)
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
        let mut found = None;
        self.until_there(&format!("the coordinator of {group}"), |client| {
            let body = client.ask(FIND_COORDINATOR, |out| {
                out.string(group, false);
                out.i8(0); // a group
            })?;
            let mut r = Reader::new(&body);
            r.i32()?;
            let code = r.i16()?;
            r.string(false)?;
            r.i32()?;
            found = Some((r.text(false)?, r.i32()?));
            Ok(code)
        })?;
        let (host, port) = found.context("an answer")?;
        resolve(&format!("{host}:{port}"))
    }

    /// Commits where a group is.
    pub fn commit(&mut self, group: &str, topic: &str, places: &[Place]) -> Result<()> {
        self.until_there(&format!("committing to {topic}"), |client| {
            let body = client.ask(OFFSET_COMMIT, |out| {
                out.string(group, false);
                out.i32(-1); // no member
                out.string("", false);
                out.i16(-1);
                out.i32(1);
                out.string(topic, false);
                out.i32(places.len() as i32);
                for place in places {
                    out.i32(place.partition);
                    out.i64(place.offset);
                    out.i32(-1); // leader epoch
                    out.string(&place.metadata, false);
                }
            })?;
            let mut r = Reader::new(&body);
            let mut worst = 0;
            r.i32()?;
            for _ in 0..r.count(false)? {
                r.string(false)?;
                for _ in 0..r.count(false)? {
                    r.i32()?;
                    worst = worst.max(r.i16()?);
                }
            }
            Ok(worst)
        })
    }

    /// Where a group is in each partition.
    pub fn committed(&mut self, group: &str, topic: &str, partitions: i32) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        self.until_there(&format!("offsets of {group}"), |client| {
            let body = client.ask(OFFSET_FETCH, |out| {
                out.string(group, false);
                out.i32(1);
                out.string(topic, false);
                out.i32(partitions);
                (0..partitions).for_each(|partition| out.i32(partition));
            })?;
            let mut r = Reader::new(&body);
            let mut worst = 0;
            places.clear();
            r.i32()?;
            for _ in 0..r.count(false)? {
                r.string(false)?;
                for _ in 0..r.count(false)? {
                    let (partition, offset) = (r.i32()?, r.i64()?);
                    r.i32()?;
                    let metadata = r.text(false)?;
                    worst = worst.max(r.i16()?);
                    places.push(Place { partition, offset, metadata });
                }
            }
            Ok(worst.max(r.i16()?))
        })?;
        places.sort_by_key(|place| place.partition);
        ensure!(places.len() == partitions as usize, "{} of {partitions} partitions answered", places.len());
        Ok(places)
    }

    /// Asks again while a coordinator is not ready yet; any other error is one.
    fn until_there(&mut self, what: &str, mut ask: impl FnMut(&mut Self) -> Result<i16>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let code = ask(self)?;
            if code == 0 {
                return Ok(());
            }
            let later = NOT_READY.contains(&code) && Instant::now() < deadline;
            ensure!(later, "{what}: {}", protocol::error_name(code));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
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
