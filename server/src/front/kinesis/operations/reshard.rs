//! SplitShard, MergeShards, UpdateShardCount.

use serde::{Deserialize, Serialize};

use crate::front::kinesis::answer::{Answer, Outcome};
use crate::front::kinesis::check::Checks;
use crate::front::kinesis::context::Context;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::names::{shard_id, shard_of};
use crate::service::streams::{self, HashRange, StreamError};

/// SplitShard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SplitRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_to_split: Option<String>,
    new_starting_hash_key: Option<String>,
}

fn shard(context: &Context, name: &str, id: Option<&str>) -> Result<usize, Fault> {
    let id = id.unwrap_or_default();
    shard_of(id).ok_or_else(|| context.no_shard(id, name))
}

/// Answers SplitShard.
pub async fn split(context: &Context, request: SplitRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("shardToSplit", &request.shard_to_split);
    checks.name("shardToSplit", request.shard_to_split.as_deref());
    checks.required("newStartingHashKey", &request.new_starting_hash_key);
    checks.hash("newStartingHashKey", request.new_starting_hash_key.as_deref());
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    context.find(&name)?;
    let shard = shard(context, &name, request.shard_to_split.as_deref())?;
    let hash = request.new_starting_hash_key.unwrap_or_default();
    let at = hash.parse().map_err(|_| Fault::argument("NewStartingHashKey is above 2^128 - 1."))?;
    let done = streams::split(&context.core, name.clone(), shard, at).await;
    done.map_err(|e| match e {
        StreamError::SplitAt(range) => not_inside(context, &name, shard, at, range),
        other => context.refused(&name, other),
    })?;
    Ok(Answer::Empty)
}

fn not_inside(context: &Context, name: &str, shard: usize, at: u128, range: HashRange) -> Fault {
    Fault::argument(format!(
        "NewStartingHashKey {at} used in SplitShard() on shard {} in stream {name} under account {} is not both greater \
         than one plus the shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
        shard_id(shard),
        context.account(),
        range.first,
        range.last
    ))
}

/// MergeShards.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MergeRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_to_merge: Option<String>,
    adjacent_shard_to_merge: Option<String>,
}

/// Answers MergeShards.
pub async fn merge(context: &Context, request: MergeRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("shardToMerge", &request.shard_to_merge);
    checks.name("shardToMerge", request.shard_to_merge.as_deref());
    checks.required("adjacentShardToMerge", &request.adjacent_shard_to_merge);
    checks.name("adjacentShardToMerge", request.adjacent_shard_to_merge.as_deref());
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    context.find(&name)?;
    let first = shard(context, &name, request.shard_to_merge.as_deref())?;
    let second = shard(context, &name, request.adjacent_shard_to_merge.as_deref())?;
    let done = streams::merge(&context.core, name.clone(), first, second).await;
    done.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

/// UpdateShardCount.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CountRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    target_shard_count: Option<i64>,
    scaling_type: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Counted {
    stream_name: String,
    current_shard_count: usize,
    target_shard_count: usize,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
}

/// Answers UpdateShardCount, within the bounds of one call: from half of the open shards to twice as many.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html>
pub async fn update_count(context: &Context, request: CountRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("targetShardCount", &request.target_shard_count);
    checks.range("targetShardCount", request.target_shard_count, 1, i64::MAX);
    checks.required("scalingType", &request.scaling_type);
    checks.word("scalingType", request.scaling_type.as_deref(), &["UNIFORM_SCALING"]);
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let topic = context.find(&name)?;
    let has = topic.stream().open_count();
    let target = usize::try_from(request.target_shard_count.unwrap_or(1)).unwrap_or(usize::MAX);
    let too_far = match target {
        // A stream whose shards the server counts is refused for that, whatever the number.
        _ if topic.stream().on_demand => None,
        target if target > has * 2 => Some("up over double"),
        target if target < has.div_ceil(2) => Some("down below half"),
        _ => None,
    };
    if let Some(far) = too_far {
        return Err(Fault::limit(format!(
            "UpdateShardCount cannot scale {far} your current open shard count. Current open shard count: {has} Target \
             shard count: {target}"
        )));
    }
    let done = streams::set_count(&context.core, name.clone(), target).await;
    let current_shard_count = done.map_err(|e| context.refused(&name, e))?;
    let stream_arn = context.arn(&name);
    context.answer(&Counted {
        stream_name: name,
        current_shard_count,
        target_shard_count: target,
        stream_arn,
    })
}
