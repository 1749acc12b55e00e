//! GetShardIterator and GetRecords.

use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use keylane_engine::record_batch::{RecordBatch, total_len};
use keylane_engine::records::{MAX_UNCOMPRESSED, Opened};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use crate::core::MEMORY_UNIT;
use crate::front::kinesis::answer::{Answer, Outcome};
use crate::front::kinesis::check::Checks;
use crate::front::kinesis::context::Context;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::format::Format;
use crate::front::kinesis::iterator::Iterator as ShardIterator;
use crate::front::kinesis::names::{shard_id, shard_of};
use crate::front::kinesis::sequence::{self, Numbers};
use crate::front::kinesis::wire::{Data, Timestamp};
use crate::runtime::clock::now_ms;
use crate::service::by_time::{self, Wanted as ByTime};
use crate::service::error::ReadRefused;
use crate::service::read::{Wanted, read_all};
use crate::service::streams::Stream;
use crate::service::topics::{LocalTopic, TopicKey};

use super::shards::Range;

/// Most records of an answer, and bytes of them with their keys.
const RECORDS_MAX: usize = 10_000;
const BYTES_MAX: usize = 10 << 20;
/// Bytes that are read at once, at least.
const READ_BYTES: usize = 64 << 10;
/// A control batch: a message of the log to its readers.
const CONTROL: i16 = 0x20;

const TYPES: &[&str] =
    &["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"];

/// GetShardIterator.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IteratorRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_id: Option<String>,
    shard_iterator_type: Option<String>,
    starting_sequence_number: Option<String>,
    timestamp: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IteratorAnswer {
    shard_iterator: String,
}

/// Answers GetShardIterator.
pub async fn iterator(context: &Context, request: IteratorRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("shardId", &request.shard_id);
    checks.name("shardId", request.shard_id.as_deref());
    checks.required("shardIteratorType", &request.shard_iterator_type);
    checks.word("shardIteratorType", request.shard_iterator_type.as_deref(), TYPES);
    checks.sequence("startingSequenceNumber", request.starting_sequence_number.as_deref());
    checks.done()?;
    let name = context.name(request.stream_name.clone(), request.stream_arn.as_deref())?;
    let topic = context.usable(&name)?;
    let id = request.shard_id.as_deref().unwrap_or_default();
    let shard = shard_of(id).filter(|shard| *shard < topic.stream().shards.len());
    let shard = shard.ok_or_else(|| {
        let account = context.account();
        Fault::not_found(format!("Shard {id} in stream {name} under account {account} does not exist"))
    })?;
    let offset = start(context, &name, &topic, shard, &request).await?;
    let iterator = ShardIterator { topic: topic.topic.id, shard: shard as u32, offset };
    context.answer(&IteratorAnswer { shard_iterator: iterator.seal(&context.tokens, now_ms()) })
}

/// The offset at which an iterator begins.
async fn start(
    context: &Context,
    name: &str,
    topic: &LocalTopic,
    shard: usize,
    request: &IteratorRequest,
) -> Result<u64, Fault> {
    let kind = request.shard_iterator_type.as_deref().unwrap_or_default();
    let route = topic.route(shard as i32).map_err(ReadRefused::from)?;
    let find = async |wanted| Ok::<_, Fault>(by_time::find(&context.core, route, wanted).await?.map(|f| f.0));
    match kind {
        "TRIM_HORIZON" => Ok(find(ByTime::Start).await?.unwrap_or(0)),
        "LATEST" => Ok(find(ByTime::End).await?.unwrap_or(0)),
        "AT_TIMESTAMP" => {
            let time = request.timestamp.ok_or_else(|| {
                Fault::argument("Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP.")
            })?;
            if time.0 > now_ms().saturating_add(1000) {
                return Err(Fault::argument("The timestamp of an iterator cannot lie in the future."));
            }
            match find(ByTime::Time(time.0.max(0))).await? {
                Some(offset) => Ok(offset),
                None => Ok(find(ByTime::End).await?.unwrap_or(0)),
            }
        }
        kind => {
            let given = request.starting_sequence_number.as_deref();
            let given = given.ok_or_else(|| {
                Fault::argument(format!("Must specify startingSequenceNumber for iterator of type {kind}."))
            })?;
            let created_s = topic.stream().shards[shard].created_s;
            let place = sequence::parse(given)
                .filter(|place| place.shard as usize == shard && place.created_s == created_s)
                .ok_or_else(|| {
                    Fault::argument(format!(
                        "StartingSequenceNumber {given} used in GetShardIterator on shard {} in stream {name} under \
                         account {} is invalid because it did not come from this stream.",
                        shard_id(shard),
                        context.account()
                    ))
                })?;
            let at = kind == "AT_SEQUENCE_NUMBER";
            Ok(if at { place.position.saturating_sub(1) } else { place.position })
        }
    }
}

/// GetRecords.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RecordsRequest {
    shard_iterator: Option<String>,
    limit: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Child {
    shard_id: String,
    parent_shards: Vec<String>,
    hash_key_range: Range,
}

/// What an answer has behind its records.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rest {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
    millis_behind_latest: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    child_shards: Option<Vec<Child>>,
}

/// A record of an answer in CBOR.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Told<'a> {
    sequence_number: String,
    approximate_arrival_timestamp: Timestamp,
    data: Data<'a>,
    partition_key: &'a str,
}

/// Answers GetRecords.
pub async fn records(context: &Context, request: RecordsRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("shardIterator", &request.shard_iterator);
    if let Some(iterator) = &request.shard_iterator {
        checks.length("shardIterator", iterator, 1, 512);
    }
    checks.range("limit", request.limit, 1, RECORDS_MAX as i64);
    checks.done()?;
    let text = request.shard_iterator.unwrap_or_default();
    let iterator = ShardIterator::open(&context.tokens, &text, now_ms())?;
    let topic = context.core.topics.borrow().get(TopicKey::Id(iterator.topic)).cloned();
    let topic = topic.ok_or_else(|| Fault::not_found("The stream of this iterator was deleted."))?;
    let shard = iterator.shard as usize;
    let Some(of_stream) = topic.stream().shards.get(shard) else {
        return Err(Fault::argument("Invalid ShardIterator."));
    };
    let limit = request.limit.map_or(RECORDS_MAX, |limit| limit as usize);
    // The answer is paid for until it is sent.
    let units = (BYTES_MAX.min(limit << 20) * 3 / 2).div_ceil(MEMORY_UNIT) as u32;
    let mut paid = Arc::clone(&context.core.memory)
        .acquire_many_owned(units)
        .await
        .map_err(|_| Fault::unavailable("the server is stopping"))?;
    let numbers = Numbers::of(of_stream.created_s, iterator.shard);
    let mut page = Page::new(context.format, numbers, limit);
    let (next, tip) = read(context, &topic, &iterator, of_stream.ended.map(|e| e.0), &mut page).await?;
    let ended = of_stream.ended.is_some_and(|(end, _)| next >= end);
    let behind = if next >= tip { 0 } else { page.last_ms.map_or(0, |last| (now_ms() - last).max(0)) };
    let next = ShardIterator { offset: next, ..iterator };
    let rest = Rest {
        next_shard_iterator: (!ended).then(|| next.seal(&context.tokens, now_ms())),
        millis_behind_latest: behind,
        child_shards: ended.then(|| children(topic.stream(), shard)),
    };
    let out = page.finish(&rest);
    let spare = paid.num_permits().saturating_sub(out.len().div_ceil(MEMORY_UNIT));
    drop(paid.split(spare));
    Ok(Answer::Body(Bytes::from_owner(Paid { bytes: out, _paid: paid })))
}

/// Bytes that are paid for as long as they are there.
struct Paid {
    bytes: Vec<u8>,
    _paid: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Paid {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn children(stream: &Stream, shard: usize) -> Vec<Child> {
    let children = stream.children(shard).map(|(number, child)| Child {
        shard_id: shard_id(number),
        parent_shards: child.parents.iter().map(|parent| shard_id(*parent as usize)).collect(),
        hash_key_range: child.range.into(),
    });
    children.collect()
}

/// Reads records into a page until it is full or there is no more. Returns the next offset, and the one behind the last
/// record that there is.
async fn read(
    context: &Context,
    topic: &Rc<LocalTopic>,
    iterator: &ShardIterator,
    end: Option<u64>,
    page: &mut Page,
) -> Result<(u64, u64), Fault> {
    let route = topic.route(iterator.shard as i32).map_err(ReadRefused::from);
    let mut next = iterator.offset;
    loop {
        let bytes_max = (page.room() * 1024).clamp(READ_BYTES, BYTES_MAX);
        let wanted = [Wanted { route, offset: next, bytes_max }];
        let (mut found, _held) = read_all(&context.core, &wanted, bytes_max).await;
        let Some(found) = found.pop() else { return Ok((next, next)) };
        let tip = end.map_or(found.high_watermark, |end| end.min(found.high_watermark));
        match found.error {
            // What the iterator named is deleted: it goes on with what is left.
            Some(ReadRefused::OutOfRange) if next < found.log_start => {
                next = found.log_start;
                continue;
            }
            Some(ReadRefused::OutOfRange) => return Ok((next, next)),
            Some(refused) => return Err(refused.into()),
            None => {}
        }
        if found.batches.bytes == 0 || next >= tip {
            return Ok((next, tip));
        }
        for slice in &found.batches.slices {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() && next < tip && !page.is_full() {
                let len = total_len(rest).unwrap_or(rest.len()).clamp(1, rest.len());
                next = page.add(&rest[..len], next, tip)?;
                rest = &rest[len..];
            }
        }
        if page.is_full() || next >= tip {
            return Ok((next, tip));
        }
    }
}

/// Records of an answer.
struct Page {
    format: Format,
    numbers: Numbers,
    limit: usize,
    out: Vec<u8>,
    count: usize,
    bytes: usize,
    last_ms: Option<i64>,
    full: bool,
}

impl Page {
    fn new(format: Format, numbers: Numbers, limit: usize) -> Self {
        let out = match format {
            Format::Json => b"{\"Records\":[".to_vec(),
            // A map and a list of unknown length.
            Format::Cbor => b"\xbf\x67Records\x9f".to_vec(),
        };
        Self { format, numbers, limit, out, count: 0, bytes: 0, last_ms: None, full: false }
    }

    fn room(&self) -> usize {
        self.limit - self.count
    }

    fn is_full(&self) -> bool {
        self.full || self.count >= self.limit
    }

    /// Adds the records of a batch from an offset on, up to `end`. Returns the next offset.
    fn add(&mut self, batch: &[u8], from: u64, end: u64) -> Result<u64, Fault> {
        let unreadable = |cause: String| {
            tracing::error!(cause, offset = from, "a stored batch cannot be read");
            Fault::internal("a stored batch cannot be read; the server's log says which")
        };
        let opened = Opened::of(batch, MAX_UNCOMPRESSED).map_err(|e| unreadable(e.to_string()))?;
        let behind = opened.end_offset().max(from);
        if RecordBatch::peek(batch).is_some_and(|batch| batch.attributes & CONTROL != 0) {
            return Ok(behind);
        }
        for record in opened.records() {
            let record = record.map_err(|e| unreadable(e.to_string()))?;
            if record.offset < from {
                continue;
            }
            if record.offset >= end {
                return Ok(end);
            }
            let (key, data) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            let bytes = self.bytes + key.len() + data.len();
            if self.count >= self.limit || (self.count > 0 && bytes > BYTES_MAX) {
                self.full = true;
                return Ok(record.offset);
            }
            self.push(record.offset, record.timestamp, key, data);
            (self.bytes, self.last_ms) = (bytes, Some(record.timestamp));
        }
        Ok(behind)
    }

    fn push(&mut self, offset: u64, time_ms: i64, key: &[u8], data: &[u8]) {
        let key = String::from_utf8_lossy(key);
        let (number, time) = (self.numbers.of_offset(offset), Timestamp(time_ms));
        self.count += 1;
        if self.format == Format::Cbor {
            let told = Told {
                sequence_number: number,
                approximate_arrival_timestamp: time,
                data: Data(data),
                partition_key: &key,
            };
            return self.format.encode(&told, &mut self.out);
        }
        let out = &mut self.out;
        if self.count > 1 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"SequenceNumber\":\"");
        out.extend_from_slice(number.as_bytes());
        out.extend_from_slice(b"\",\"ApproximateArrivalTimestamp\":");
        Format::Json.encode(&time, out);
        out.extend_from_slice(b",\"PartitionKey\":");
        Format::Json.encode(&key, out);
        out.extend_from_slice(b",\"Data\":\"");
        let at = out.len();
        out.resize(at + base64::encoded_len(data.len(), true).unwrap_or(0), 0);
        let written = STANDARD.encode_slice(data, &mut out[at..]);
        debug_assert!(written.is_ok());
        out.extend_from_slice(b"\"}");
    }

    /// Ends the answer with what stands behind the records.
    fn finish(mut self, rest: &Rest) -> Vec<u8> {
        let mut fields = Vec::new();
        self.format.encode(rest, &mut fields);
        match self.format {
            Format::Json => {
                self.out.extend_from_slice(b"],");
                self.out.extend_from_slice(&fields[1..]);
            }
            Format::Cbor => {
                // The list ends, then come the fields without the head of their map, then the map ends.
                self.out.push(0xff);
                self.out.extend_from_slice(&fields[1..]);
                self.out.push(0xff);
            }
        }
        self.out
    }
}
