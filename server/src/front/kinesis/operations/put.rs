//! PutRecord and PutRecords. Promise: a record is answered after the flush; records of one request with the same key keep
//! their order; those for one shard become one batch where its topic takes one so large.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use keylane_engine::record_batch::{BatchFields, HEADER_BYTES, put_record, seal};
use serde::{Deserialize, Serialize};

use crate::front::kinesis::answer::Outcome;
use crate::front::kinesis::check::{Checks, at_most_long};
use crate::front::kinesis::context::Context;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::names::shard_id;
use crate::front::kinesis::sequence::Numbers;
use crate::front::kinesis::wire::{Blob, List, Text};
use crate::runtime::clock::now_ms;
use crate::runtime::mesh::AppendFailed;
use crate::service::append::{durable, hand};
use crate::service::error::AppendRefused;
use crate::service::streams::{may_put, of_key};
use crate::service::topics::LocalTopic;

/// The header of a record that has its explicit hash key.
pub const HASH_HEADER: &str = "keylane.explicit-hash-key";
/// Most records of a request, and bytes of them with their keys.
const RECORDS_MAX: usize = 500;
const BYTES_MAX: usize = 10 << 20;
/// Bytes of one batch, unless one record alone has more.
const BATCH_BYTES: usize = 1 << 20;
/// What a record has beside key, data and hash key, at most.
const RECORD_OVERHEAD: usize = 128;
/// How often a put looks for the children of a shard that has ended, and how long it waits between two looks.
const LOOKS: usize = 2_000;
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// PutRecord.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RecordRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    data: Option<Blob>,
    partition_key: Option<Text>,
    explicit_hash_key: Option<Text>,
    sequence_number_for_ordering: Option<String>,
}

/// PutRecords.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RecordsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    records: Option<List<Entry, { RECORDS_MAX + 1 }>>,
}

/// A record of a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    data: Option<Blob>,
    partition_key: Option<Text>,
    explicit_hash_key: Option<Text>,
}

/// A record that was checked: where its data lies, its key, its hash.
struct Record<'a> {
    data: Range<usize>,
    key: &'a str,
    explicit: Option<&'a str>,
    hash: u128,
}

/// Where a record came to lie: its shard and its sequence number.
struct Placed {
    shard: Rc<str>,
    number: String,
}

fn check_entry(checks: &mut Checks, at: fmt::Arguments<'_>, entry: &Entry) {
    checks.required(format_args!("{at}data"), &entry.data);
    checks.required(format_args!("{at}partitionKey"), &entry.partition_key);
    if let Some(key) = &entry.partition_key {
        checks.length(format_args!("{at}partitionKey"), &key.0, 1, 256);
    }
    let hash = entry.explicit_hash_key.as_ref().map(|hash| &*hash.0);
    checks.hash(format_args!("{at}explicitHashKey"), hash);
}

/// Checks a record, and adds its data to `arena`.
fn checked<'a>(entry: &'a Entry, arena: &mut Vec<u8>) -> Result<Record<'a>, Fault> {
    let from = arena.len();
    let data = entry.data.as_ref().and_then(|data| data.put(arena));
    data.ok_or_else(|| Fault::serialization("Data is not in base64"))?;
    let key = entry.partition_key.as_ref().map_or("", |key| &*key.0);
    let explicit = entry.explicit_hash_key.as_ref().map(|hash| &*hash.0);
    let hash = match explicit {
        None => of_key(key.as_bytes()),
        Some(text) => text.parse().map_err(|_| {
            Fault::argument(format!(
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
            ))
        })?,
    };
    Ok(Record { data: from..arena.len(), key, explicit, hash })
}

fn check_size(at: fmt::Arguments<'_>, record: &Record<'_>, bytes_max: usize) -> Result<(), Fault> {
    if record.data.len() + record.key.len() > bytes_max {
        let mut checks = Checks::default();
        checks.wrong_untold(format_args!("{at}data"), &at_most_long(bytes_max));
        checks.done()?;
    }
    Ok(())
}

fn bytes_max(topic: &LocalTopic) -> usize {
    (topic.stream().record_kib_max as usize) << 10
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RecordAnswer {
    shard_id: Rc<str>,
    sequence_number: String,
}

/// Answers PutRecord.
pub async fn record(context: &Context, request: RecordRequest) -> Outcome {
    let RecordRequest { data, partition_key, explicit_hash_key, .. } = request;
    let entry = Entry { data, partition_key, explicit_hash_key };
    let mut checks = Checks::default();
    check_entry(&mut checks, format_args!(""), &entry);
    checks.sequence("sequenceNumberForOrdering", request.sequence_number_for_ordering.as_deref());
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let topic = context.usable(&name)?;
    let mut arena = Vec::with_capacity(entry.data.as_ref().map_or(0, Blob::len_max));
    let record = checked(&entry, &mut arena)?;
    check_size(format_args!(""), &record, bytes_max(&topic))?;
    let placed = put_all(context, &name, &[record], &arena).await?.pop();
    let placed = placed.unwrap_or_else(|| Err(Fault::internal("the record has no answer")))?;
    context.answer(&RecordAnswer { shard_id: placed.shard, sequence_number: placed.number })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EntryAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_id: Option<Rc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RecordsAnswer {
    failed_record_count: usize,
    records: Vec<EntryAnswer>,
}

/// Answers PutRecords.
pub async fn records(context: &Context, request: RecordsRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("records", &request.records);
    if let Some(records) = &request.records {
        checks.items("records", records.count, 1, RECORDS_MAX);
        for (n, entry) in records.kept.iter().take(RECORDS_MAX).enumerate() {
            check_entry(&mut checks, format_args!("records.{}.member.", n + 1), entry);
        }
    }
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let topic = context.usable(&name)?;
    let entries = request.records.map(|records| records.kept).unwrap_or_default();
    let estimate = entries.iter().filter_map(|entry| entry.data.as_ref()).map(Blob::len_max).sum();
    let mut arena = Vec::with_capacity(estimate);
    let mut records = Vec::with_capacity(entries.len());
    let mut bytes = 0;
    for (n, entry) in entries.iter().enumerate() {
        let record = checked(entry, &mut arena)?;
        check_size(format_args!("records.{}.member.", n + 1), &record, bytes_max(&topic))?;
        bytes += record.data.len() + record.key.len();
        records.push(record);
    }
    if bytes > BYTES_MAX {
        return Err(Fault::argument("Records size exceeds 10 MB limit"));
    }
    let placed = put_all(context, &name, &records, &arena).await?;
    let failed_record_count = placed.iter().filter(|placed| placed.is_err()).count();
    let told = |placed: Result<Placed, Fault>| match placed {
        Ok(Placed { shard, number }) => EntryAnswer {
            sequence_number: Some(number),
            shard_id: Some(shard),
            error_code: None,
            error_message: None,
        },
        Err(fault) => EntryAnswer {
            sequence_number: None,
            shard_id: None,
            error_code: Some(if fault.status.is_server_error() { "InternalFailure" } else { fault.kind }),
            error_message: Some(fault.message),
        },
    };
    let records = placed.into_iter().map(told).collect();
    context.answer(&RecordsAnswer { failed_record_count, records })
}

/// Puts records, and waits until all that can be are durable. Says of each where it lies, or why not.
async fn put_all(
    context: &Context,
    name: &str,
    records: &[Record<'_>],
    arena: &[u8],
) -> Result<Vec<Result<Placed, Fault>>, Fault> {
    let mut placed: Vec<Option<Result<Placed, Fault>>> = records.iter().map(|_| None).collect();
    let mut left: Vec<usize> = (0..records.len()).collect();
    for _ in 0..LOOKS {
        let topic = context.usable(name)?;
        left = put_once(context, &topic, records, arena, &left, &mut placed).await;
        if left.is_empty() {
            break;
        }
        // Their shard has just ended; its children are known in a moment.
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let missing = || Err(Fault::internal("the shard has ended, and there is none in its place"));
    Ok(placed.into_iter().map(|placed| placed.unwrap_or_else(missing)).collect())
}

/// Puts the records of these numbers once. Returns those whose shard has ended.
async fn put_once(
    context: &Context,
    topic: &LocalTopic,
    records: &[Record<'_>],
    arena: &[u8],
    which: &[usize],
    placed: &mut [Option<Result<Placed, Fault>>],
) -> Vec<usize> {
    let stream = topic.stream();
    let mut by_shard: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut again = Vec::new();
    for n in which {
        match stream.shard_of(records[*n].hash) {
            Some(shard) => by_shard.entry(shard).or_default().push(*n),
            None => again.push(*n),
        }
    }
    let mut handed = Vec::new();
    for (shard, mut list) in by_shard {
        if context.core.config.kinesis_throttle {
            throttle(context, topic, shard, records, &mut list, placed).await;
        }
        let mut ended = false;
        for part in parts(records, &list, topic.max_message_bytes) {
            if ended {
                again.extend_from_slice(part);
                continue;
            }
            match hand(&context.core, topic, shard as i32, batch_of(records, arena, part)).await {
                Ok(batch) => handed.push((shard, part.to_vec(), batch)),
                Err(AppendRefused::Failed(AppendFailed::Ended)) => {
                    ended = true;
                    again.extend_from_slice(part);
                }
                Err(refused) => {
                    let fault = Fault::from(refused);
                    part.iter().for_each(|n| placed[*n] = Some(Err(fault.clone())));
                }
            }
        }
    }
    for (shard, list, batch) in handed {
        match durable(&context.core, batch).await {
            Ok(done) => {
                let numbers = Numbers::of(stream.shards[shard].created_s, shard as u32);
                let id: Rc<str> = shard_id(shard).into();
                for (offset, n) in (done.base_offset..).zip(list) {
                    placed[n] = Some(Ok(Placed { shard: Rc::clone(&id), number: numbers.of_offset(offset) }));
                }
            }
            Err(AppendFailed::Ended) => again.extend(list),
            Err(failed) => {
                let fault = Fault::from(failed);
                list.iter().for_each(|n| placed[*n] = Some(Err(fault.clone())));
            }
        }
    }
    again.sort_unstable();
    again
}

/// Takes those records from a list that the rates of their shard do not allow.
async fn throttle(
    context: &Context,
    topic: &LocalTopic,
    shard: usize,
    records: &[Record<'_>],
    list: &mut Vec<usize>,
    placed: &mut [Option<Result<Placed, Fault>>],
) {
    let Ok(route) = topic.route(shard as i32) else { return };
    let sizes = list.iter().map(|n| records[*n].data.len() + records[*n].key.len()).collect();
    let mut taken = may_put(&context.core, route, sizes).await.into_iter();
    list.retain(|n| {
        let taken = taken.next().unwrap_or(true);
        if !taken {
            placed[*n] = Some(Err(context.too_fast(shard, &topic.topic.name)));
        }
        taken
    });
}

/// A list of records in parts that fit into a batch.
fn parts<'a>(records: &[Record<'_>], list: &'a [usize], bytes_max: usize) -> Vec<&'a [usize]> {
    let most = bytes_max.min(BATCH_BYTES);
    let size = |n: usize| records[n].data.len() + records[n].key.len() + RECORD_OVERHEAD;
    let (mut out, mut from, mut bytes) = (Vec::new(), 0, HEADER_BYTES);
    for (at, n) in list.iter().enumerate() {
        if at > from && bytes + size(*n) > most {
            out.push(&list[from..at]);
            (from, bytes) = (at, HEADER_BYTES);
        }
        bytes += size(*n);
    }
    if from < list.len() {
        out.push(&list[from..]);
    }
    out
}

fn batch_of(records: &[Record<'_>], arena: &[u8], list: &[usize]) -> Bytes {
    let bytes: usize =
        list.iter().map(|n| records[*n].data.len() + records[*n].key.len() + RECORD_OVERHEAD).sum();
    let mut out = Vec::with_capacity(HEADER_BYTES + bytes);
    out.extend_from_slice(&BatchFields::new(list.len() as i32, now_ms()).header());
    for (delta, n) in (0i32..).zip(list) {
        let record = &records[*n];
        let data = &arena[record.data.clone()];
        let header = record.explicit.map(|hash| (HASH_HEADER.as_bytes(), Some(hash.as_bytes())));
        put_record(&mut out, 0, delta, Some(record.key.as_bytes()), Some(data), header.as_slice());
    }
    seal(&mut out);
    out.into()
}
