//! Shards as they are described, and ListShards.

use serde::{Deserialize, Serialize};

use crate::front::kinesis::answer::Outcome;
use crate::front::kinesis::check::Checks;
use crate::front::kinesis::context::Context;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::kept::{horizon_ms, kept};
use crate::front::kinesis::names::{shard_id, shard_of};
use crate::front::kinesis::reader::Range;
use crate::front::kinesis::sequence::Numbers;
use crate::front::kinesis::wire::Timestamp;
use crate::service::streams::{Stream, StreamShard};
use crate::service::topics::LocalTopic;

/// The kind of the token that goes on with a list of shards.
const KIND: u8 = 2;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Sequence {
    starting_sequence_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<String>,
}

/// A shard as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Told {
    shard_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: Range,
    sequence_number_range: Sequence,
}

/// A shard as it is told.
pub fn told(number: usize, shard: &StreamShard) -> Told {
    let numbers = Numbers::of(shard.created_s, number as u32);
    let parent = |n: usize| shard.parents.get(n).map(|parent| shard_id(*parent as usize));
    Told {
        shard_id: shard_id(number),
        parent_shard_id: parent(0),
        adjacent_parent_shard_id: parent(1),
        hash_key_range: shard.range.into(),
        sequence_number_range: Sequence {
            starting_sequence_number: numbers.at(0),
            ending_sequence_number: shard.ended.map(|(end, _)| numbers.of_offset(end)),
        },
    }
}

/// When a shard was made: when its parents ended.
fn made_ms(stream: &Stream, shard: &StreamShard) -> i64 {
    let ends = shard.parents.iter().filter_map(|p| stream.shards.get(*p as usize)?.ended);
    ends.map(|(_, at)| at).max().unwrap_or(stream.created_ms)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    r#type: Option<String>,
    shard_id: Option<String>,
    timestamp: Option<Timestamp>,
}

/// ListShards.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    exclusive_start_shard_id: Option<String>,
    max_results: Option<i64>,
    shard_filter: Option<Filter>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    shards: Vec<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

const FILTERS: &[&str] = &[
    "AFTER_SHARD_ID",
    "AT_TRIM_HORIZON",
    "FROM_TRIM_HORIZON",
    "AT_LATEST",
    "AT_TIMESTAMP",
    "FROM_TIMESTAMP",
];

fn check(request: &ListRequest) -> Result<(), Fault> {
    let mut checks = Checks::default();
    checks.range("maxResults", request.max_results, 1, 10_000);
    checks.name("exclusiveStartShardId", request.exclusive_start_shard_id.as_deref());
    if let Some(filter) = &request.shard_filter {
        checks.required("shardFilter.type", &filter.r#type);
        checks.word("shardFilter.type", filter.r#type.as_deref(), FILTERS);
    }
    checks.done()?;
    let named = request.stream_name.is_some() || request.stream_arn.is_some();
    if request.next_token.is_some() && named {
        return Err(Fault::argument("NextToken and StreamName cannot be provided together."));
    }
    Ok(())
}

/// Answers ListShards.
pub async fn list(context: &Context, request: ListRequest) -> Outcome {
    check(&request)?;
    let (name, from) = match &request.next_token {
        Some(token) => {
            let bytes = context.tokens.open(KIND, token);
            let split = bytes.as_deref().and_then(|bytes| bytes.split_first_chunk::<8>());
            let (from, name) = split.ok_or_else(|| Fault::argument("Invalid NextToken."))?;
            (String::from_utf8_lossy(name).into_owned(), u64::from_be_bytes(*from) as usize)
        }
        None => {
            let from = match &request.exclusive_start_shard_id {
                Some(id) => {
                    shard_of(id).ok_or_else(|| Fault::argument("Invalid ExclusiveStartShardId."))? + 1
                }
                None => 0,
            };
            (context.name(request.stream_name.clone(), request.stream_arn.as_deref())?, from)
        }
    };
    let topic = context.find(&name)?;
    let stream = topic.stream();
    let most = request.max_results.unwrap_or(1000) as usize;
    let wanted = picks(&topic, stream, request.shard_filter.as_ref())?;
    let mut all = kept(&topic, stream).filter(|(n, shard)| *n >= from && wanted(*n, shard));
    let shards: Vec<(usize, Told)> = all.by_ref().take(most).map(|(n, shard)| (n, told(n, shard))).collect();
    let next_token = all.next().map(|(next, _)| {
        let mut bytes = (next as u64).to_be_bytes().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        context.tokens.seal(KIND, &bytes)
    });
    context.answer(&Listed { shards: shards.into_iter().map(|(_, told)| told).collect(), next_token })
}

type Pick<'a> = Box<dyn Fn(usize, &StreamShard) -> bool + 'a>;

fn picks<'a>(topic: &LocalTopic, stream: &'a Stream, filter: Option<&Filter>) -> Result<Pick<'a>, Fault> {
    let Some(filter) = filter else { return Ok(Box::new(|_, _| true)) };
    let time =
        || filter.timestamp.map(|t| t.0).ok_or_else(|| Fault::argument("ShardFilter needs a Timestamp."));
    let horizon = horizon_ms(topic).max(stream.created_ms);
    let at = move |time: i64| -> Pick<'a> {
        Box::new(move |_, shard| {
            made_ms(stream, shard) <= time && shard.ended.is_none_or(|(_, end)| end > time)
        })
    };
    let from =
        |time: i64| -> Pick<'a> { Box::new(move |_, shard| shard.ended.is_none_or(|(_, end)| end >= time)) };
    Ok(match filter.r#type.as_deref().unwrap_or_default() {
        "AT_LATEST" => Box::new(|_, shard| shard.is_open()),
        "AT_TRIM_HORIZON" => at(horizon),
        "FROM_TRIM_HORIZON" => from(horizon),
        "AT_TIMESTAMP" => at(time()?.max(horizon)),
        "FROM_TIMESTAMP" => from(time()?.max(horizon)),
        _ => {
            let id = filter.shard_id.as_deref().and_then(shard_of);
            let after = id.ok_or_else(|| Fault::argument("ShardFilter needs a ShardId."))?;
            Box::new(move |n, _| n > after)
        }
    })
}
