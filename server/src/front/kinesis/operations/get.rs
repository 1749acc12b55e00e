//! GetShardIterator and GetRecords.

use serde::{Deserialize, Serialize};

use crate::front::kinesis::answer::{Answer, Outcome};
use crate::front::kinesis::check::Checks;
use crate::front::kinesis::context::Context;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::iterator::Iterator as ShardIterator;
use crate::front::kinesis::page::Room;
use crate::front::kinesis::reader::{Child, EITHER, Position, TYPES, children, read, start};
use crate::front::kinesis::wire::Timestamp;
use crate::runtime::clock::now_ms;
use crate::service::streams;
use crate::service::topics::TopicKey;

/// Most records of an answer, and bytes of them with their keys.
const RECORDS_MAX: usize = 10_000;
const BYTES_MAX: usize = 10 << 20;

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
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let topic = context.usable(&name)?;
    let shard = context.shard_to_read(&topic, request.shard_id.as_deref().unwrap_or_default())?;
    if let (Some(_), Some(kind @ ("TRIM_HORIZON" | "LATEST"))) =
        (&request.starting_sequence_number, request.shard_iterator_type.as_deref())
    {
        return Err(Fault::argument(format!(
            "{EITHER} Request specified {kind} and also a StartingSequenceNumber."
        )));
    }
    let position = Position {
        kind: request.shard_iterator_type.unwrap_or_default(),
        number: request.starting_sequence_number,
        time: request.timestamp,
    };
    let offset = start(context, &topic, shard, &position).await?;
    let iterator = ShardIterator { topic: topic.topic.id, shard: shard as u32, offset };
    context.answer(&IteratorAnswer { shard_iterator: iterator.seal(&context.tokens, now_ms()) })
}

/// GetRecords.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RecordsRequest {
    shard_iterator: Option<String>,
    limit: Option<i64>,
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
    if shard >= topic.stream().shards.len() {
        return Err(Fault::argument("Invalid ShardIterator."));
    }
    let throttled = context.core.config.kinesis_throttle.then(|| topic.route(shard as i32).ok()).flatten();
    if let Some(route) = throttled
        && !streams::may_read(&context.core, route).await
    {
        return Err(context.too_fast(shard, &topic.topic.name));
    }
    let records = request.limit.map_or(RECORDS_MAX, |limit| limit as usize);
    let found = read(context, &topic, shard, iterator.offset, Room { records, bytes: BYTES_MAX }).await?;
    if let Some(route) = throttled {
        streams::note_read(&context.core, route, found.page.bytes()).await;
    }
    let next = ShardIterator { offset: found.next, ..iterator };
    let rest = Rest {
        next_shard_iterator: (!found.ended).then(|| next.seal(&context.tokens, now_ms())),
        millis_behind_latest: found.behind_ms(),
        child_shards: found.ended.then(|| children(topic.stream(), shard)),
    };
    Ok(Answer::Body(found.page.finish(&rest)))
}
